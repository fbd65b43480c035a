// Puts the program in place of the script bin/procpool, so that no Node.js is started for each run. Where that does not
// work, or scripts are not run, bin/procpool stays the script that starts the program.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const find = require('./find.js');

const place = path.join(__dirname, 'bin', 'procpool');
try {
  const program = find();
  const link = `${place}.new`;
  fs.rmSync(link, { force: true });
  try {
    fs.linkSync(program, link);
  } catch {
    fs.copyFileSync(program, link);
  }
  fs.chmodSync(link, 0o755);
  fs.renameSync(link, place);
} catch (error) {
  console.error(`procpool: ${error.message}`);
}
