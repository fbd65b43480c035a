// Where the package for this kind of machine has the program.
'use strict';

module.exports = function find() {
  const name = `procpool-${process.platform}-${process.arch}`;
  try {
    return require.resolve(`${name}/bin/procpool`);
  } catch {
    throw new Error(
      `the package ${name} is not installed: npm leaves it out with --no-optional, and there may be none for this ` +
        'kind of machine. Then build procpool with cargo.'
    );
  }
};
