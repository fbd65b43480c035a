// npm's piscina with two threads and results in order: piscina.mjs < jobs > results
//
// The module is looked for in the folder PISCINA (where `npm install piscina` was run), then where
// Node.js looks by itself, NODE_PATH included. With --version it prints the module's version.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

// Enough that no thread ever waits for the main one to think of a job; more only cost memory.
const OUTSTANDING = 1000;

export default function work(line) {
  const { cmd, args } = JSON.parse(line);
  if (cmd !== 'double') throw new Error(`unknown command ${cmd}`);
  return 2 * args[0];
}

async function main() {
  const from = process.env.PISCINA ? `${process.env.PISCINA}/` : import.meta.url;
  const require = createRequire(from);
  const { Piscina } = require('piscina');
  if (process.argv[2] === '--version') {
    console.log(Piscina.version ?? require('piscina/package.json').version);
    return;
  }
  const pool = new Piscina({
    filename: fileURLToPath(import.meta.url),
    minThreads: 2,
    maxThreads: 2,
  });
  const running = [];
  let out = '';
  const print = async () => {
    out += `${await running.shift()}\n`;
    if (out.length > 65536) {
      process.stdout.write(out);
      out = '';
    }
  };
  for await (const lines of chunks(process.stdin)) {
    for (const line of lines) {
      if (running.length >= OUTSTANDING) await print();
      running.push(pool.run(line));
    }
  }
  while (running.length > 0) await print();
  process.stdout.write(out);
  await pool.destroy();
}

/** The lines of a stream, as many at a time as were read. node:readline costs more than the pool. */
async function* chunks(stream) {
  let rest = '';
  for await (const data of stream.setEncoding('utf8')) {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    yield lines;
  }
  if (rest) yield [rest];
}

if (isMainThread) await main();
