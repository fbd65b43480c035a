// The worker of the hook pre-commit that checks JavaScript files with eslint, which stays loaded.

import { createInterface } from "node:readline";
import { ESLint } from "eslint";

const eslint = new ESLint();
const formatter = await eslint.loadFormatter("stylish");

async function lint(path) {
  const results = await eslint.lintFiles([path]);
  const text = await formatter.format(results);
  if (results.some((result) => result.errorCount > 0)) throw new Error(text.trim());
  return text;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, args } = JSON.parse(line);
  const reply = await lint(args[0]).then(
    (result) => ({ id, result }),
    (error) => ({ id, error: error.message }),
  );
  process.stdout.write(JSON.stringify(reply) + "\n");
}
