#!/usr/bin/env node
// A worker for procpool. Save it as worker.js and try it:
//
//     printf 'greet ["Ada"]\ngreet ["Grace"]\n' | procpool --worker 'node worker.js'
'use strict';

// What takes long to load or to open is loaded here, once: modules, models, connections.

// The cmd of a job, and its function. A function may be async.
const commands = {
  greet(name) {
    return `hello, ${name}`;
  },
};

async function answer(line) {
  const { id, cmd, args } = JSON.parse(line);
  let reply;
  try {
    if (!Object.hasOwn(commands, cmd)) throw new Error(`there is no command '${cmd}'`);
    // Args that are an object, as with --header, are one value.
    const result = await (Array.isArray(args) ? commands[cmd](...args) : commands[cmd](args));
    reply = { id, result: result === undefined ? null : result };
  } catch (error) {
    reply = { id, error: String(error) }; // this job fails, and the worker goes on
  }
  // stdout is for replies. Print everything else to stderr: console.error(…).
  process.stdout.write(JSON.stringify(reply) + '\n');
}

// Node exits when procpool closes stdin and nothing is left to do.
let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  lines.forEach(answer);
});
