//! The text of `-h`: one screen of 24 lines and 80 columns. The usage is between its two parts.

pub const BEFORE_USAGE: &str = "\
Examples:
  find . -name '*.png' | procpool convert {} {.}.jpg   # a command for each line
  seq 1000 | procpool --python 'int(x) * 2'            # code in warm processes
  procpool -j4 --worker ./handler < jobs.jsonl         # a worker of your own";

pub const AFTER_USAGE: &str = "\
{} line, {.} no extension, {/} base name, {//} folder, {1} column, {#} number

  -j, --max-procs N     Run at most N jobs at a time [default: number of CPUs]
      --shell           Run COMMAND with sh -c; --dry-run prints commands only
  -a, --arg-file FILE   Read lines from FILE, not stdin (::: A B: from here)
  -n, --max-args N      Make one job of N lines; -0: lines end with a NUL byte
      --input FORMAT    A line is: lines (one argument), json, csv, tsv
      --python CODE     Evaluate CODE for each line, x; --perl, --node, --ruby …
  -w, --worker CMDLINE  Send jobs to a process that stays alive between jobs
      --timeout TIME    End a job that takes longer; --retries N tries it again
      --format FORMAT   Results are: record, value, text; --tag names the job
      --failed FILE     Keep the lines of failed jobs; --fail-fast ends the run
      --journal FILE    Record results; --resume goes on where a run ended
      --summary         Print totals at the end; --report FILE.html: a page

procpool --help explains all options; --example-worker LANG prints a worker";
