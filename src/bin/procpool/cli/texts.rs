//! The texts of `--help` around the options, and its colors.

use clap::builder::styling::{AnsiColor, Styles};

pub const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default());

pub const ABOUT: &str = "xargs with warm workers";

pub const LONG_ABOUT: &str = "\
procpool runs one job per line of input, several at a time, and prints the results to stdout in the \
order of the input. A job runs a command, or goes to a worker: a process that stays alive between jobs.

Given a COMMAND, procpool runs it once per line. The line is its argument: it replaces {}, or is \
appended if there is no placeholder. No shell is run.

    find . -name '*.png' | procpool convert {} {.}.jpg

    {}  the line            {/}   without its folder        {1} {2} …  its columns; with -n, its lines
    {.} without extension   {//}  its folder                {name}     a column by its header
    {#} the job's number    {/.}  without both              {%}        the number of its slot

With --worker, jobs go to a worker: any program that reads a request, a line of JSON, from its stdin and prints a reply, \
a line of JSON, to its stdout:

    {\"id\":17,\"cmd\":\"resize\",\"args\":[\"a.png\"]}   the request
    {\"id\":17,\"result\":\"done\"}                   the reply, or
    {\"id\":17,\"error\":\"no such file\"}            the reply of a job that failed

A worker flushes its stdout after each reply, exits when its stdin ends, and writes diagnostics to stderr.";

pub const EXAMPLES: &str = "\
Examples:
  seq 1000 | procpool --python 'int(x) * 2'
  find . -name '*.png' | procpool convert {} {.}.jpg
  procpool -j4 --tag --timeout 1m ping -c1 ::: alpha beta gamma
  procpool --max-procs 4 --worker ./handler < jobs.jsonl
  find . -name '*.png' | procpool --worker ./handler resize
  find . -name '*.png' | procpool -S 8/alpha,8/beta,: convert {} {.}.jpg
  tail -f queue.jsonl | procpool --worker 'python3 handler.py' --timeout 30s

Jobs, one per line, if you give neither a COMMAND nor an expression:
  {\"cmd\":\"resize\",\"args\":[\"a.png\",{\"w\":100}],\"id\":\"j1\"}
  resize [\"a.png\", {\"w\":100}]

Exit status:
  0 all jobs succeeded; 1 some jobs failed or did not run; 2 wrong usage; 125 procpool itself failed;
  126 the worker or command can't be run; 127 it is not found; 128+N signal N ended procpool";
