// procpool's worker for Node: node -e SOURCE -- MODE CODE [SETUP...]
//
// MODE is `expression` (CODE is evaluated once per job) or `file` (the functions that the file CODE
// exports are the commands); `check-expression` and `check-file` only report whether CODE can be used.
// With `list-expression` x is the list of all args.
// Requests come on stdin and replies go to stdout, one line of JSON each, in the same order.

(() => { // a function, so that the code does not see these names
  'use strict';

  const fs = require('node:fs');
  const net = require('node:net');
  const path = require('node:path');
  const url = require('node:url');
  const vm = require('node:vm');

  const sources = new Map(); // file name => the code in it, for tracebacks

  async function main() {
    const [mode, code, ...setups] = process.argv.slice(process.argv[1] === '--' ? 2 : 1);
    const checking = mode.startsWith('check-');
    const { input, replies } = takeStdinAndStdout();
    let job;
    try {
      const isList = mode.startsWith('list-');
      job = mode.endsWith('file') ? await loadFile(code) : loadExpression(code, isList);
      for (const script of setups.map(compileSetup)) {
        if (!checking) script.runInThisContext();
      }
    } catch (error) {
      fs.writeSync(2, `${trace(error)}\n`);
      process.exit(1);
    }
    if (checking) process.exit(0);

    let pending = ''; // the beginning of a line that is not complete
    for await (const chunk of stream(input)) {
      const lines = chunk.split('\n');
      lines[0] = pending + lines[0];
      pending = lines.pop();
      for (const line of lines) {
        let reply;
        try {
          const { cmd, args } = JSON.parse(line);
          let value = job(cmd, args);
          if (value !== null && typeof value === 'object') value = await settled(value);
          reply = `{"result":${encode(value)}}\n`;
        } catch (error) {
          reply = `${JSON.stringify({ error: failure(error) })}\n`;
        }
        write(replies, reply); // at once: the next job may be slow, or end the process
      }
    }
    process.exit(); // even if the code has left timers running
  }

  // Requests and replies. The code must not get at them: its stdin is empty, its stdout is stderr.

  function takeStdinAndStdout() {
    const input = reopen(0, 'r');
    const replies = reopen(1, 'a');
    if (input !== 0) {
      fs.closeSync(0);
      fs.openSync('/dev/null', 'r'); // it gets the lowest free number, 0
    }
    if (replies !== 1) {
      fs.closeSync(1);
      if (reopen(2, 'a') === 2) fs.openSync('/dev/null', 'a');
    }
    Object.defineProperty(process, 'stdout', { value: process.stderr });
    return { input, replies };
  }

  // It begins to read at once, so it is made after the code has been loaded.
  function stream(input) {
    const stat = fs.fstatSync(input);
    const requests = stat.isFIFO() || stat.isSocket()
      ? new net.Socket({ fd: input, readable: true, writable: false })
      : fs.createReadStream('', { fd: input });
    return requests.setEncoding('utf8');
  }

  // Node has no dup(), but a pipe or a file can be opened again. A socket can't be, and keeps its
  // number.
  function reopen(number, flags) {
    try {
      return fs.openSync(`/dev/fd/${number}`, flags);
    } catch {
      return number;
    }
  }

  function write(file, text) {
    let data = Buffer.from(text);
    while (data.length > 0) data = data.subarray(fs.writeSync(file, data));
  }

  // The code.

  function loadExpression(code, isList) {
    const first = (args) => (Array.isArray(args) && !isList ? args[0] : args ?? undefined);
    const text = code.trim().replace(/;$/, '');
    sources.set('<expression>', text);
    const attempts = [
      `(x, args, cmd) => (\n${text}\n)`,
      `async (x, args, cmd) => (\n${text}\n)`,
      `(x, args, cmd) => {\n${text}\n}`, // statements, with `return`
      `async (x, args, cmd) => {\n${text}\n}`,
    ];
    let failed;
    for (const attempt of attempts) {
      try {
        const job = vm.runInThisContext(attempt, { filename: '<expression>', lineOffset: -1 });
        return (cmd, args) => job(first(args), args, cmd);
      } catch (error) {
        failed ??= error;
      }
    }
    new vm.Script(text, { filename: '<expression>' }); // this error is about the code alone
    throw failed;
  }

  async function loadFile(name) {
    const file = path.resolve(name);
    process.argv.splice(1, Infinity, file);
    const { default: exported, ...named } = await import(url.pathToFileURL(file));
    const commands = new Map(
      Object.entries({ ...exported, ...named }).filter(([, value]) => typeof value === 'function'),
    );
    return (cmd, args) => {
      if (!commands.has(cmd)) {
        const known = [...commands.keys()].sort().join(', ') || '(none)';
        throw new Error(`unknown command '${cmd}', expected one of: ${known}`);
      }
      const command = commands.get(cmd);
      return Array.isArray(args) ? command(...args) : command(args ?? undefined);
    };
  }

  function compileSetup(code, index) {
    const filename = `<setup ${index + 1}>`;
    sources.set(filename, code);
    return new vm.Script(code, { filename });
  }

  // Results.

  async function settled(value) {
    const result = await value;
    if (typeof result?.[Symbol.asyncIterator] !== 'function') return result;
    const items = [];
    for await (const item of result) items.push(item);
    return items;
  }

  function encode(value) {
    if (value === undefined) return 'null';
    const json = JSON.stringify(value, plain);
    if (json === undefined) throw new TypeError(`a ${typeof value} has no form in JSON`);
    return json;
  }

  function plain(key, value) {
    switch (typeof value) {
      case 'bigint':
        return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
      case 'number':
        if (!Number.isFinite(value)) throw new TypeError(`${value} has no form in JSON`);
        return value;
      case 'object':
        if (value instanceof Map) return Object.fromEntries(value);
        if (value instanceof Set || ArrayBuffer.isView(value)) return Array.from(value);
        if (typeof value?.next === 'function' && Symbol.iterator in value) return [...value];
    }
    return value;
  }

  // Errors.

  function failure(error) {
    if (!(error instanceof Error)) return { message: `thrown: ${text(error)}`, data: null };
    const name = error.constructor?.name || error.name;
    const failed = { message: `${name}: ${error.message}`, class: name, data: trace(error) };
    const at = placeOf(error);
    return at ? { ...failed, at } : failed;
  }

  // The innermost frame: `ops.js:3`, with the line in the code that led there.
  function placeOf(error) {
    const frames = String(error.stack).matchAll(/^ +at (?:.*\()?(.+?):(\d+):\d+\)?$/gm);
    const places = [...frames].map(([, file, line]) => [file.replace(/^file:\/\//, ''), line])
      .filter(([file]) => !/\[eval\]|node:/.test(file));
    if (places.length === 0) return undefined;
    const show = ([file, line]) => `${path.basename(file)}:${line}`;
    const isCode = ([file]) => sources.has(file) || file.startsWith('<') || file === process.argv[1];
    const called = places.find(isCode) ?? places[0];
    return called[0] === places[0][0]
      ? show(places[0]) : `${show(places[0])}, called from ${show(called)}`;
  }

  function text(value) {
    return typeof value === 'string' ? value : JSON.stringify(value) ?? String(value);
  }

  // The line of the code's first frame, and all of its frames.
  function trace(error) {
    if (typeof error?.stack !== 'string') return `thrown: ${text(error)}`;
    const stack = error.stack
      .split('\n')
      .filter((line) => !/^ +at .*(\[eval\]|node:)/.test(line))
      .join('\n');
    const [, place, line] = /^ +at (?:.*\()?(.+?):(\d+):\d+\)?$/m.exec(stack) ?? [];
    const source = place && sourceOf(place).split('\n')[line - 1];
    return source ? `${place}:${line}\n${source}\n\n${stack}` : stack;
  }

  function sourceOf(place) {
    if (!sources.has(place)) {
      try {
        const file = place.startsWith('file:') ? url.fileURLToPath(place) : place;
        sources.set(place, fs.readFileSync(file, 'utf8'));
      } catch {
        sources.set(place, '');
      }
    }
    return sources.get(place);
  }

  main();
})();
