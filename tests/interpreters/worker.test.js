// node --test worker.test.js: each test starts the worker as a process, as procpool does.
'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');

const source = fs.readFileSync(path.join(__dirname, '../../src/interpreter/worker.js'), 'utf8');
const options = { timeout: 60_000 };

function start(...args) {
  const worker = spawn(process.execPath, ['-e', source, '--', ...args]);
  worker.stdin.on('error', () => {}); // it may have exited
  for (const stream of [worker.stdout, worker.stderr]) stream.setEncoding('utf8');
  return worker;
}

const request = (args, cmd = '') => `${JSON.stringify({ id: 1, cmd, args })}\n`;

// With files for stdin, stdout and stderr: those of `start` are sockets, which the worker treats
// differently.
async function run(args, ...lines) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'worker-'));
  try {
    const [input, output, errors] = ['in', 'out', 'err'].map((name) => path.join(directory, name));
    fs.writeFileSync(input, lines.join(''));
    const stdio = [fs.openSync(input, 'r'), fs.openSync(output, 'a'), fs.openSync(errors, 'a')];
    const worker = spawn(process.execPath, ['-e', source, '--', ...args], { stdio });
    const [status, signal] = await once(worker, 'close');
    stdio.forEach((file) => fs.closeSync(file));
    const [out, err] = [output, errors].map((file) => fs.readFileSync(file, 'utf8'));
    let replies = out.split('\n').slice(0, -1).map((line) => JSON.parse(line));
    if (replies.some((reply) => reply.concurrent)) {
      replies = replies.filter((reply) => !reply.concurrent).sort((a, b) => (a.id ?? 0) - (b.id ?? 0));
      for (const reply of replies) delete reply.id;
    }
    return { out, err, status: signal ?? status, replies };
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

async function results(code, setups, ...jobs) {
  const { replies, err, status } = await run(['expression', code, ...setups], ...jobs.map((job) => request(job)));
  assert.equal(status, 0, err);
  return replies.map((reply) => ('result' in reply ? reply.result : reply));
}

const error = async (code, setups = [], job = []) => (await results(code, setups, job))[0].error;

test('values', options, async () => {
  const values = [0, -1, 1.5, true, null, '', 'é\n"😀', [], [1, [2]], { ü: { a: null } }];
  assert.deepEqual(await results('x', [], ...values.map((value) => [value])), values);
  assert.deepEqual(await results('[x, args, cmd]', [], [1, 2], { a: 1 }, 's'),
    [[1, [1, 2], ''], [{ a: 1 }, { a: 1 }, ''], ['s', 's', '']]);
  assert.deepEqual(await results('x === undefined', [], [], null), [true, true]);
  assert.deepEqual(await results('{ a: x } // comment', [], [1]), [{ a: 1 }]);
  assert.deepEqual(await results('x * 2;', [], ['21']), [42]);
  assert.deepEqual(await results('const y = x; return y + 1', [], [1]), [2]);
  const { out } = await run(['expression', '"\\udc80é"'], request([]));
  assert.equal(out, '{"result":"\\udc80é"}\n');
});

test('types', options, async () => {
  for (const [code, expected] of [
    ['undefined', null], ['10n', 10], ['2n ** 70n', 2 ** 70], ['new Map([["a", 1]])', { a: 1 }],
    ['[new Set([1, new Map()])]', [[1, {}]]], ['new Uint8Array([1, 2])', [1, 2]], ['[1].values()', [1]],
    ['(function* () { yield 1; })()', [1]], ['(async function* () { yield 1; yield 2; })()', [1, 2]],
    ['new Date(0)', '1970-01-01T00:00:00.000Z'],
  ]) assert.deepEqual(await results(code, [], []), [expected], code);
  for (const code of ['NaN', '[Infinity]', '() => 1', 'Symbol()']) {
    assert.match((await error(code)).message, /has no form in JSON/, code);
  }
});

test('a large argument', options, async () => {
  assert.deepEqual(await results('[x.length, x]', [], ['é'.repeat(5e6)]), [[5e6, 'é'.repeat(5e6)]]);
});

test('promises', options, async () => {
  const setups = ['const f = async (y) => { await null; if (!y) throw new RangeError("oh"); return y; }'];
  assert.deepEqual(await results('f(x)', setups, [1], [2]), [1, 2]);
  assert.deepEqual(await results('await f(x) + 1', setups, [1]), [2]);
  assert.equal((await error('f(x)', setups, [0])).class, 'RangeError');
});

test('errors', options, async () => {
  const failure = await error('null.a');
  assert.equal(failure.class, 'TypeError');
  assert.match(failure.message, /^TypeError: Cannot read/);
  assert.match(failure.data, /^<expression>:1\nnull\.a\n[^]*at .*<expression>:1/);
  assert.doesNotMatch(failure.data, /\[eval\]|node:/);
  assert.match((await error('f()', ['', 'function f() {\n  throw new Error("no");\n}'])).data,
    /^<setup 2>:2\n  throw new Error\("no"\);\n/);
  assert.equal((await error('f()', ['function f() { f(); }'])).class, 'RangeError');
  assert.match((await error('a', ['const a = {}; a.a = a'])).message, /circular/);
  assert.deepEqual(await error('(() => { throw "text"; })()'), { message: 'thrown: text', data: null });
  assert.match((await error('fs2')).message, /fs2 is not defined/);
});

test('the names of the worker are its own', options, async () => {
  assert.deepEqual(await results('[fs, typeof main]', ['const fs = 5, path = 6'], []), [[5, 'undefined']]);
});

test('stdin and stdout', options, async () => {
  const code = 'console.log("pröt"), cp.execSync("echo child", { stdio: "inherit" }), 5';
  const { replies, err } = await run(['expression', code, 'const cp = require("child_process")'], request([]));
  assert.deepEqual(replies, [{ result: 5 }]);
  assert.equal(err, 'pröt\nchild\n');
  const read = '[require("fs").readFileSync(0, "utf8"), '
    + 'require("child_process").execSync("cat", { stdio: ["inherit", "pipe"] }).toString()]';
  assert.deepEqual(await results(read, [], [], []), [['', ''], ['', '']]);
});

test('exit', options, async () => {
  for (const [code, expected] of [
    ['process.exit(3)', 3], ['process.kill(process.pid, "SIGKILL"), new Promise(() => {})', 'SIGKILL'],
    ['process.abort()', 'SIGABRT'],
  ]) {
    const { replies, status } = await run(['expression', `x && (${code})`], ...[0, 0, 1, 0].map((n) => request([n])));
    assert.deepEqual([replies, status], [[{ result: 0 }, { result: 0 }], expected]);
  }
  const { status, err } = await run(['expression', 'x', 'setInterval(() => {}, 1e6)'], request([1]));
  assert.deepEqual([status, err], [0, ''], 'timers do not keep it');
});

test('each reply comes at once', options, async () => {
  const worker = start('expression', 'x ? new Promise(() => setInterval(() => {}, 1e6)) : 7');
  for (const lines of [request([0]), request([0]), request([0]) + request([1])]) {
    worker.stdin.write(lines);
    assert.match((await once(worker.stdout, 'data'))[0], /^\{"result":7\}\n/);
  }
  worker.kill('SIGINT');
  assert.deepEqual(await once(worker, 'close'), [null, 'SIGINT']);
});

test('setups and checks', options, async () => {
  assert.deepEqual(await results('f(++n)', ['let n = 1', 'const f = (y) => `f${y}`'], [], []), ['f2', 'f3']);
  const broken = await run(['expression', '1', 'nope()'], request([]));
  assert.match(broken.err, /^<setup 1>:1\nnope\(\)\n/);
  assert.deepEqual([broken.status, broken.out], [1, '']);
  for (const [expected, message, mode, ...code] of [
    [0, /^$/, 'expression', 'await f(x)', 'nope()'],
    [1, /^<expression>:1\nint\(x \* 2\n\s*\^+\n\nSyntaxError: missing \)/, 'expression', 'int(x * 2'],
    [1, /^<setup 2>:1\n= 3\n\^\n\nSyntaxError/, 'expression', 'x', '2', '= 3'],
    [1, /none\.js/, 'file', '/nowhere/none.js'],
  ]) {
    const worker = start(`check-${mode}`, ...code); // its stdin stays open
    let err = '';
    worker.stderr.on('data', (text) => { err += text; });
    worker.stdout.resume();
    await once(worker.stderr, 'end');
    assert.match(err, message);
    const status = worker.exitCode ?? (await once(worker, 'exit'))[0];
    assert.equal(status, expected);
  }
});

test('file', options, async (t) => {
  const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'worker-')));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const write = (name, text) => {
    fs.writeFileSync(path.join(directory, name), text);
    return path.join(directory, name);
  };
  write('helper.js', 'exports.double = (y) => y * 2;');
  const tasks = write('tasks.js', `
    const { double } = require('./helper');
    if (require.main === module) throw new Error('run as a program');
    const limit = 5;
    module.exports = { double, limit, resize: (...args) => args, later: async ({ y }) => y + globalThis.offset,
      where: () => [__filename, process.argv[1]],
      bad() {
        throw new Error('bad thing');
      },
    };`);
  const { replies, err } = await run(['file', tasks, 'globalThis.offset = 10'], request([4], 'double'),
    request(['a', 5], 'resize'), request({ y: 1 }, 'later'), request([], 'where'));
  assert.deepEqual(replies.map((reply) => reply.result), [8, ['a', 5], 11, [tasks, tasks]], err);
  const bad = (await run(['file', tasks], request([], 'bad'), request([], 'limit'), request([], 'toString'))).replies;
  assert.match(bad[0].error.data, /tasks\.js:8\n +throw new Error\('bad thing'\);\n/);
  for (const [cmd, reply] of [['limit', bad[1]], ['toString', bad[2]]]) {
    assert.equal(reply.error.message,
      `Error: unknown command '${cmd}', expected one of: bad, double, later, resize, where`);
  }
  const esm = write('tasks.mjs', 'import os from "node:os"; export const f = (y) => y + 1; export default () => 3;');
  assert.deepEqual((await run(['file', esm], request([1], 'f'))).replies, [{ result: 2 }]);

  assert.deepEqual((await run(['check-file', tasks])).status, 0);
  const missing = await run(['check-file', write('b.js', "require('nonesuch');\n")]);
  assert.match(missing.err, /b\.js:1\nrequire\('nonesuch'\);[^]*Cannot find module 'nonesuch'/);
  const broken = await run(['check-file', write('c.js', 'let a = = 2;\n')]);
  assert.match(broken.err, /c\.js:1\nlet a = = 2;\n +\^\n\nSyntaxError/);
  assert.deepEqual([missing.status, broken.status], [1, 1]);
});
