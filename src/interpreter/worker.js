// procpool's worker for Node: node -e SOURCE -- MODE CODE [SETUP...]
//
// MODE is `expression` (CODE is evaluated once per job) or `file` (the functions that the file CODE
// exports are the commands); `check-expression` and `check-file` only report whether CODE can be used.
// With `list-expression` x is the list of all args. With `live-` what a generator yields is sent at once.
// Requests come on stdin and replies go to stdout, one line of JSON each. A request is the args, or an
// object with `cmd` and `args`. Replies are in the same order until a result is a promise. From then on
// each reply names its request by its number.

(() => { // a function, so that the code does not see these names
  'use strict';

  const fs = require('node:fs');
  const net = require('node:net');
  const path = require('node:path');
  const url = require('node:url');
  const vm = require('node:vm');

  const { AsyncLocalStorage } = require('node:async_hooks');

  const HOLD = 1; // a reply waits up to this many milliseconds, to be written with others
  const MANY = 16; // with fewer requests at a time, each reply is written by itself
  const ROOM = 1 << 18; // the bytes of replies that wait
  const sources = new Map(); // file name => the code in it, for tracebacks
  const mark = `procpool-${Math.random()}-${Math.random()}:`; // before a large integer, in a string

  const floats = new Set(); // numbers of requests that are beyond 2^53 and no integers
  const running = new AsyncLocalStorage(); // the number of the request that the code runs for, or SETUP
  const SETUP = 'setup';
  const exit = process.exit.bind(process);

  let job; // the function of cmd and args
  let isLive = false;
  let replies; // the descriptor
  let waiting = null; // the replies that are not written yet, once there are many
  let requested = 0; // how many requests have been begun
  let current = ''; // the requests that have come last, as text
  let concurrent = null; // once a result is a promise: the requests under way, by number
  let isOver = false; // no more requests come
  const [most, mostBy] = limit(process.env.PROCPOOL_MAX_REPLY); // the bytes that a generator may yield
  delete process.env.PROCPOOL_MAX_REPLY;

  async function main() {
    const [mode, code, ...setups] = process.argv.slice(process.argv[1] === '--' ? 2 : 1);
    const how = mode.split('-');
    const checking = how.includes('check');
    isLive = how.includes('live');
    const taken = takeStdinAndStdout();
    ({ replies } = taken);
    try {
      const isList = how.includes('list');
      job = await running.run(SETUP, mode.endsWith('file') ? loadFile : loadExpression, code, isList);
      for (const script of setups.map(compileSetup)) {
        if (!checking) running.run(SETUP, () => script.runInThisContext());
      }
    } catch (error) {
      fs.writeSync(2, `${trace(error)}\n`);
      process.exit(1);
    }
    if (checking) process.exit(0);

    flushBefore(process, 'kill', 'abort'); // the process may end in it
    process.on('exit', flush);
    process.on('uncaughtException', caught);
    if (job.isAsync) becomeConcurrent();
    let pending = []; // the beginning of a line that is not complete
    const requests = stream(taken.input);
    requests.on('data', (chunk) => {
      const end = chunk.lastIndexOf('\n');
      if (end >= 0) {
        pending.push(chunk.slice(0, end));
        answer(pending.length === 1 ? pending[0] : pending.join(''));
        pending = [];
      }
      if (end + 1 < chunk.length) pending.push(chunk.slice(end + 1));
    });
    requests.on('end', () => {
      isOver = true;
      leave();
    });
  }

  // Exits, even if the code has left timers running. The jobs under way are answered first.
  function leave() {
    if (isOver && !concurrent?.size) exit();
  }

  function answer(lines) {
    let requests;
    try {
      requests = parse(`[${lines.replaceAll('\n', ',')}]`);
    } catch { // at least one is not JSON: find out which
      for (const line of lines.split('\n')) {
        let request;
        try {
          request = parse(line);
        } catch (error) {
          send(++requested, `"error":${JSON.stringify(failure(error))}`);
          continue;
        }
        begin(request);
      }
      return flush();
    }
    if (requests.length >= MANY) waiting ??= new Waiting();
    waiting?.begin();
    for (const request of requests) begin(request);
    waiting?.end();
    flush();
  }

  // Begins to answer a request, or ends the job that it names.
  function begin(request) {
    let [cmd, args] = ['', request];
    if (request !== null && typeof request === 'object' && !Array.isArray(request)) {
      if ('cancel' in request) return cancel(request.cancel);
      ({ cmd, args } = request);
    }
    const number = ++requested;
    try {
      const value = concurrent ? running.run(number, job, cmd, args) : job(cmd, args);
      switch (typeof value) {
        case 'number':
          if (!Number.isSafeInteger(value)) break;
          return send(number, `"result":${value}`);
        case 'string':
          return send(number, `"result":${JSON.stringify(value)}`);
        case 'object':
          if (value !== null && (typeof value.then === 'function' || Symbol.asyncIterator in value)) {
            if (!concurrent) becomeConcurrent();
            concurrent.add(number);
            finish(number, value);
            return undefined;
          }
          if (isLive && isIterator(value)) return sendParts(number, value);
      }
      return send(number, `"result":${encode(value)}`);
    } catch (error) {
      return send(number, `"error":${JSON.stringify(failure(error))}`);
    }
  }

  function send(number, reply) {
    const text = concurrent ? `{"id":${number},${reply}}\n` : `{${reply}}\n`;
    if (waiting) waiting.add(text);
    else write(text);
  }

  function sendParts(number, items) {
    send(number, '"parts":[]');
    for (const item of items) send(number, `"part":${encode(item)}`);
    send(number, '"result":null');
  }

  function flush() {
    waiting?.flush();
  }

  function flushBefore(object, ...names) {
    for (const name of names) {
      const original = object[name];
      object[name] = function (...args) {
        flush();
        return original.apply(this, args);
      };
    }
  }

  // Several requests at a time.

  // The requests under way. A job that exits, or whose callback throws, fails alone.
  class Concurrent extends Set {
    first = requested; // this request began before it was known that it is one of several
  }

  class Exit extends Error {}

  function becomeConcurrent() {
    flush();
    concurrent = new Concurrent();
    write('{"concurrent":true}\n');
    remember();
    process.exit = (code) => {
      const number = running.getStore() ?? concurrent.first;
      if (number === SETUP) exit(code);
      fail(number, { message: `process.exit(${code ?? ''})`, data: null });
      throw new Exit();
    };
  }

  // An exception in a callback. If its job has been answered, it must cost no other job.
  function caught(error) {
    if (error instanceof Exit) return;
    const number = running.getStore() ?? concurrent?.first;
    if (concurrent && fail(number, failure(error))) return;
    fs.writeSync(2, `${trace(error)}\n`);
    if (number === SETUP) exit(1);
  }

  // Whether the request was under way.
  function fail(number, error) {
    const isOpen = concurrent.delete(number);
    if (isOpen) sendSoon(number, `"error":${JSON.stringify(error)}`);
    return isOpen;
  }

  // A promise goes on, but nobody waits for it.
  function cancel(number) {
    fail(number, { message: 'cancelled', data: null });
  }

  async function finish(number, value) {
    let reply;
    try {
      let result = await value;
      const isStream = typeof result?.[Symbol.asyncIterator] === 'function';
      if (isStream || (isLive && result !== null && typeof result === 'object' && isIterator(result))) {
        const items = new Limited();
        if (isLive) send(number, '"parts":[]');
        let turn = performance.now() + HOLD;
        for await (const item of result) {
          if (isLive) send(number, `"part":${encode(item)}`);
          else items.add(item);
          // Other jobs have a turn even if the generator never waits.
          if (performance.now() > turn) {
            flush();
            await new Promise(setImmediate);
            turn = performance.now() + HOLD;
          }
          if (!concurrent.has(number)) return; // it was cancelled
        }
        result = isLive ? null : items.list;
      }
      reply = `"result":${encode(result)}`;
    } catch (error) {
      reply = `"error":${JSON.stringify(failure(error))}`;
    }
    if (concurrent.delete(number)) sendSoon(number, reply);
  }

  function sendSoon(number, reply) {
    send(number, reply);
    setImmediate(() => {
      flush();
      leave();
    });
  }

  // Replies that wait to be written together. A slow job must not delay the replies to earlier jobs, so a
  // thread writes them if this one does not.
  class Waiting {
    constructor() {
      this.shared = new SharedArrayBuffer(16 + ROOM);
      this.state = new Int32Array(this.shared, 0, 4); // lock, filled, written, whether jobs run
      this.bytes = Buffer.from(this.shared, 16);
      const workerData = { shared: this.shared, hold: HOLD, file: replies };
      const { Worker } = require('node:worker_threads');
      this.isReady = false;
      new Worker(`(${helper})()`, { eval: true, workerData, stdin: false, stdout: false })
        .on('message', () => { this.isReady = true; })
        .on('error', () => { this.isReady = false; })
        .unref();
    }

    begin() {
      if (!this.isReady) return;
      Atomics.store(this.state, 3, 1);
      Atomics.notify(this.state, 3);
    }

    end() {
      Atomics.store(this.state, 3, 0);
    }

    add(text) {
      const filled = this.state[1];
      const isFull = text.length * 3 > ROOM - filled;
      if (isFull) this.flush();
      if (!this.isReady || (isFull && text.length * 3 > ROOM)) {
        this.flush();
        return write(text);
      }
      Atomics.store(this.state, 1, this.state[1] + this.bytes.write(text, this.state[1]));
    }

    flush() {
      const { state } = this;
      while (Atomics.compareExchange(state, 0, 0, 1) !== 0) Atomics.wait(state, 0, 1);
      writeAll(replies, this.bytes.subarray(state[2], state[1]));
      state[1] = state[2] = 0;
      Atomics.store(state, 0, 0);
      Atomics.notify(state, 0);
    }
  }

  function helper() {
    const { workerData: { shared, hold, file }, parentPort } = require('node:worker_threads');
    const { writeSync } = require('node:fs');
    const state = new Int32Array(shared, 0, 4);
    const bytes = Buffer.from(shared, 16);
    parentPort.postMessage('ready');
    for (;;) {
      Atomics.wait(state, 3, 0);
      Atomics.wait(state, 3, 1, hold);
      while (Atomics.compareExchange(state, 0, 0, 1) !== 0) Atomics.wait(state, 0, 1);
      while (state[2] < state[1]) state[2] += writeSync(file, bytes, state[2], state[1] - state[2]);
      Atomics.store(state, 0, 0);
      Atomics.notify(state, 0);
    }
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

  function write(text) {
    writeAll(replies, Buffer.from(text));
  }

  function writeAll(file, data) {
    while (data.length > 0) data = data.subarray(fs.writeSync(file, data));
  }

  // Requests. An integer that a number can't hold exactly is a BigInt.
  function parse(json) {
    current = json;
    if (concurrent) remember();
    if (!/[0-9]{16}/.test(json)) return JSON.parse(json);
    const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9.]+(?:[eE][-+]?[0-9]+)?/g;
    const isLarge = (token) => /^-?[0-9]{16,}$/.test(token) && !Number.isSafeInteger(Number(token));
    const marked = json.replace(tokens, (token) => (isLarge(token) ? `"${mark}${token}"` : token));
    return JSON.parse(marked, (key, value) => (
      typeof value === 'string' && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value));
  }

  // Remembers the numbers beyond 2^53 that are no integers. As a result they are as good as they came.
  function remember() {
    if (floats.size > 1000) floats.clear();
    for (const [token] of current.matchAll(/-?[0-9][0-9.]*[eE]\+?[0-9]+|-?[0-9]{16,}\.[0-9]+/g)) {
      if (Math.abs(Number(token)) > Number.MAX_SAFE_INTEGER) floats.add(Number(token));
    }
  }

  function hasCome(number) {
    if (!concurrent) remember();
    return floats.has(number);
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
    for (const [index, attempt] of attempts.entries()) {
      try {
        const code = vm.runInThisContext(attempt, { filename: '<expression>', lineOffset: -1 });
        const call = (cmd, args) => code(first(args), args, cmd);
        call.isAsync = index % 2 === 1;
        return call;
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
    const isAsync = ({ constructor }) => /^Async/.test(constructor.name);
    const call = (cmd, args) => {
      if (!commands.has(cmd)) {
        const known = [...commands.keys()].sort().join(', ') || '(none)';
        throw new Error(`unknown command '${cmd}', expected one of: ${known}`);
      }
      const command = commands.get(cmd);
      if (args === null) return command();
      return Array.isArray(args) ? command(...args) : command(args);
    };
    call.isAsync = [...commands.values()].some(isAsync);
    return call;
  }

  function compileSetup(code, index) {
    const filename = `<setup ${index + 1}>`;
    sources.set(filename, code);
    return new vm.Script(code, { filename });
  }

  // Results.

  function encode(value) {
    if (value === undefined) return 'null';
    const json = JSON.stringify(value, plain);
    if (json === undefined) throw new TypeError(`a ${typeof value} has no form in JSON`);
    return json.includes(mark) ? json.replace(new RegExp(`"${mark}(-?[0-9]+)"`, 'g'), '$1') : json;
  }

  // What a generator yields. It may have no end, so a result has a limit.
  class Limited {
    list = [];
    size = 0;

    add(item) {
      this.list.push(item);
      this.size += 1 + (typeof item === 'string' ? item : encode(item)).length;
      if (this.size <= most) return;
      throw new RangeError(`a generator yields more than ${most} bytes${mostBy}`);
    }
  }

  function collect(items) {
    const values = new Limited();
    for (const item of items) values.add(item);
    return values.list;
  }

  function limit(text = '67108864') {
    const [bytes, ...by] = text.split(' ');
    return [Number(bytes), by.length > 0 ? ` (${by.join(' ')})` : ''];
  }

  function isIterator(value) {
    return typeof value?.next === 'function' && Symbol.iterator in value;
  }

  function plain(key, value) {
    switch (typeof value) {
      case 'bigint':
        return Number.isSafeInteger(Number(value)) ? Number(value) : mark + value;
      case 'number':
        if (!Number.isFinite(value)) throw new TypeError(`${value} has no form in JSON`);
        if (Math.abs(value) > Number.MAX_SAFE_INTEGER && !hasCome(value)) {
          throw new RangeError(`${value} is a number beyond 2^53, and may have lost its last digits: use a `
            + 'BigInt, or a string');
        }
        return value;
      case 'object':
        if (value instanceof Map) return Object.fromEntries(value);
        if (value instanceof Set || ArrayBuffer.isView(value)) return Array.from(value);
        if (isIterator(value)) return collect(value);
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
