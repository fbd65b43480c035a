complete -c procpool -s w -l worker -d 'Command line of the worker to start; no shell is run' -r -f -a "(__fish_complete_command)"
complete -c procpool -l protocol -d 'Protocol of the worker: jsonl, raw, jsonrpc or bazel' -r -f -a "jsonl\t''
raw\t''
jsonrpc\t''
bazel\t''"
complete -c procpool -l framing -d 'How messages are separated [default: that of the protocol]' -r -f -a "line\t''
nul\t''
u16\t''
u32\t''
u32le\t''
content-length\t''
netstring\t''
varint\t''
json\t''"
complete -c procpool -l reply-messages -d 'A reply is N messages instead of one (raw, with line or nul)' -r
complete -c procpool -l route -d 'Send jobs with equal KEYs to the same worker' -r
complete -c procpool -l init -d 'Send each new worker this job line first; may be repeated' -r
complete -c procpool -l notify -d 'Send each new worker this message, which has no reply (jsonrpc, raw)' -r
complete -c procpool -s j -s P -l max-procs -d 'Run at most N jobs at a time [default: the number of CPUs]' -r
complete -c procpool -l pipeline -d 'Requests in flight at each worker, or auto [default: 1; for code: auto]' -r
complete -c procpool -l max-reqs -d 'Replace a worker after N jobs; 0: never' -r
complete -c procpool -l start-limit -d 'End the run after N failed starts in a row; 0: never [default: 5; for code: 1]' -r
complete -c procpool -l start-timeout -d 'Time limit for the start of a worker' -r
complete -c procpool -l max-reply -d 'Size limit of a reply' -r
complete -c procpool -l max-reqs-jitter -d 'Add up to N jobs, at random, to the --max-reqs of each worker' -r
complete -c procpool -l max-age -d 'Replace a worker that is older than TIME, once it has no job' -r
complete -c procpool -l max-rss -d 'Replace a worker that uses more memory than SIZE, once it has no job' -r
complete -c procpool -l idle-timeout -d 'End a worker that has had no job for TIME' -r
complete -c procpool -l standby -d 'Start up to N replacement workers in advance [default: one per worker]' -r
complete -c procpool -l python -d 'Evaluate CODE for each line (x); or --perl, --node, --ruby, --sh' -r -F
complete -c procpool -l perl -d 'As --python, in Perl: @_ and $_ are the args; or a class with new and run' -r -F
complete -c procpool -l node -d 'As --python, in Node.js: x, args and cmd, or the exports of a FILE' -r -F
complete -c procpool -l ruby -d 'As --python, in Ruby: x, args and cmd' -r -F
complete -c procpool -l sh -d 'As --python, in sh: "$@" are the args, and the output is the result' -r -F
complete -c procpool -l setup -d 'Run CODE once in each process before its first job; may be repeated' -r
complete -c procpool -s I -l replace -d 'Use STR as the only placeholder in COMMAND, instead of braces' -r
complete -c procpool -l env -d 'Set a variable for COMMAND; VALUE may have placeholders' -r
complete -c procpool -l cwd -d 'Run COMMAND in DIR, which may have placeholders' -r -f -a "(__fish_complete_directories)"
complete -c procpool -l delay -d 'Wait TIME between the start of a job and the next' -r
complete -c procpool -l rate -d 'Start at most N jobs per unit of time: 10/s, 100/m, 1000/h' -r
complete -c procpool -l max-load -d 'Start no job while the load average is above N' -r
complete -c procpool -l min-free-memory -d 'Start no job while less memory than SIZE is free' -r
complete -c procpool -l nice -d 'Run jobs with a lower priority: 1 (a little) to 39' -r
complete -c procpool -s a -l arg-file -d 'Read jobs from FILE instead of stdin (-: stdin); may be repeated' -r -F
complete -c procpool -l input -d 'Format of the input lines' -r -f -a "lines\t'The line is one string'
json\t'The line is a JSON value: all the args'
csv\t'Comma-separated values: each is an arg'
tsv\t'Tab-separated values: each is an arg'"
complete -c procpool -s n -l max-args -d 'Make one job of N lines; max: as many as a command can take' -r
complete -c procpool -s d -l delimiter -d 'Lines end with CHAR instead of a newline: a byte, or \\n, \\r, \\t, \\0, \\xHH' -r
complete -c procpool -l max-line -d 'Size limit of an input line' -r
complete -c procpool -l format -d 'Format of results: record (default with a worker), value, text (otherwise)' -r -f -a "record\t'One JSON object per job, for failed jobs too'
value\t'The result alone, as JSON; failures go to stderr'
text\t'Strings and the output of commands, unchanged; failures go to stderr'"
complete -c procpool -l buffer -d 'Memory for results that wait for their turn' -r
complete -c procpool -l report -d 'Write a report at the end: FILE.html, .json, .xml (JUnit), .md' -r -F
complete -c procpool -l trace -d 'Write a timeline of all jobs to FILE, for Perfetto or chrome://tracing' -r -F
complete -c procpool -l results -d 'Keep the output and the record of each job in a folder of its own in DIR' -r -f -a "(__fish_complete_directories)"
complete -c procpool -l joblog -d 'Log each finished job to FILE, as GNU parallel does' -r -F
complete -c procpool -l progress -d 'Show a progress line' -r -f -a "auto\t'When stderr is a terminal'
always\t'Always'
never\t'Never'"
complete -c procpool -l timeout -d 'End a job that takes longer, and its process; the job fails' -r
complete -c procpool -l retries -d 'Try a failed job again, up to N times' -r
complete -c procpool -l retry-on -d 'Failures after which a job is tried again' -r
complete -c procpool -l retry-delay -d 'Wait before the second attempt of a job' -r
complete -c procpool -l failed -d 'Write the input lines of failed jobs to FILE, to run them again' -r -F
complete -c procpool -l grace -d 'Time that a process has to end before it is killed' -r
complete -c procpool -l halt -d 'End the run when jobs fail: now,fail=1 or soon,fail=10%' -r
complete -c procpool -l journal -d 'Record the outcome of each job in FILE, so that you can resume the run' -r -F
complete -c procpool -l pty -d 'Give the worker a terminal for its stdout'
complete -c procpool -l shell -d 'Run COMMAND with sh -c; placeholders are passed safely as arguments'
complete -c procpool -l stdin -d 'Write the args to the stdin of COMMAND, one per line'
complete -c procpool -l dry-run -d 'Print each command, quoted for a shell, instead of running it'
complete -c procpool -s p -l confirm -d 'Ask on the terminal before each command'
complete -c procpool -l header -d 'The first line names the columns: use {name} for one'
complete -c procpool -s r -l no-run-if-empty -d 'Run nothing if there is no input (this is the default)'
complete -c procpool -s 0 -l null -d 'Lines end with a NUL byte instead of a newline'
complete -c procpool -l tag -d 'Start each line with the args of its job and a tab'
complete -c procpool -l live -d 'Print a job\'s output while it runs, as soon as its turn comes'
complete -c procpool -l detail -d 'Add seq, cmd, args, slot, pid, attempt, start and seconds to records'
complete -c procpool -l stream -d 'Print each result as its job finishes, not in input order'
complete -c procpool -s k -l keep-order -d 'Print results in input order (this is the default)'
complete -c procpool -l summary -d 'Print totals, failures and durations at the end'
complete -c procpool -l fail-fast -d 'End the run at the first failed job: --halt now,fail=1'
complete -c procpool -l resume -d 'Continue the run of the journal: print what succeeded, run the rest'
complete -c procpool -l fsync -d 'Write each record to the disk before its result is printed'
complete -c procpool -s h -l help -d 'Print help (-h: a summary; --help: everything)'
complete -c procpool -s V -l version -d 'Print the version'
