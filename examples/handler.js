#!/usr/bin/env node
// The worker of handler.py in JavaScript: Node, no packages.
//
//     procpool --worker examples/handler.js < examples/jobs.jsonl
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');

const commands = {
  count(path) {
    const data = fs.readFileSync(path);
    const text = data.toString('latin1'); // a character for each byte
    const lines = text.match(/\n/g) ?? [];
    const words = text.match(/[^ \t\n\r\f\v]+/g) ?? [];
    return { lines: lines.length, words: words.length, bytes: data.length };
  },

  hash(path) {
    return crypto.createHash('sha256').update(fs.readFileSync(path)).digest('hex');
  },

  longest(path) {
    const data = fs.readFileSync(path);
    let longest = { line: 0, text: data.subarray(0, 0) };
    for (let line = 1, start = 0; start < data.length; line++) {
      const newline = data.indexOf('\n', start);
      const end = newline < 0 ? data.length : newline;
      if (line === 1 || end - start > longest.text.length) {
        longest = { line, text: data.subarray(start, end) };
      }
      start = end + 1;
    }
    return { line: longest.line, text: longest.text.toString('utf8') };
  },
};

function run(cmd, args) {
  if (!Object.hasOwn(commands, cmd)) {
    const known = Object.keys(commands).join(', ');
    throw new Error(`unknown command '${cmd}', expected one of: ${known}`);
  }
  if (!Array.isArray(args) || typeof args[0] !== 'string') {
    throw new Error(`${cmd} needs a path, as in ${cmd} ["a.txt"]`);
  }
  return commands[cmd](args[0]);
}

function answer(line) {
  const { id, cmd, args } = JSON.parse(line);
  let reply;
  try {
    reply = { id, result: run(cmd, args) };
  } catch (error) {
    reply = { id, error: error.message }; // this job failed; the worker goes on
  }
  process.stdout.write(JSON.stringify(reply) + '\n');
}

// Lines are split here and not by `readline`, for which a line also ends at \r and, from Node 24 on,
// at U+2028, which may stand in JSON. All of this is synchronous, so requests are answered in order.
// When stdin ends there is nothing left to wait for, and Node exits.
let pending = ''; // the beginning of a line whose end is still to come
process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk) => {
  const lines = chunk.split('\n');
  lines[0] = pending + lines[0];
  pending = lines.pop();
  lines.forEach(answer);
});
