complete -c procpool -s w -l worker -d 'The worker to start: its command line, split as a shell does' -r -f -a "(__fish_complete_command)"
complete -c procpool -l protocol -d 'How it is spoken to: jsonl, raw, jsonrpc or bazel' -r -f -a "jsonl\t''
raw\t''
jsonrpc\t''
bazel\t''"
complete -c procpool -l framing -d 'Where messages begin and end [default: the protocol\'s own]' -r -f -a "line\t''
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
complete -c procpool -l init -d 'Send each fresh worker this job line first; may be repeated' -r
complete -c procpool -l notify -d 'The same for a message that has no reply (jsonrpc, raw)' -r
complete -c procpool -s j -s P -l max-procs -d 'At most N jobs at a time, each in a process [default: the number of CPUs]' -r
complete -c procpool -l pipeline -d 'Requests in flight at each worker, or auto [default: 1; for code: auto]' -r
complete -c procpool -l max-reqs -d 'Replace a worker after N jobs; 0: never' -r
complete -c procpool -l start-limit -d 'End the run after N failed start-ups in a row; 0: never [default: 5; for code: 1]' -r
complete -c procpool -l start-timeout -d 'How long a worker may take to start' -r
complete -c procpool -l max-reply -d 'The longest reply that a worker may give' -r
complete -c procpool -l max-reqs-jitter -d 'Give each worker up to N jobs more than that, at random' -r
complete -c procpool -l max-age -d 'Replace a worker that has lived for TIME, once it has no job' -r
complete -c procpool -l max-rss -d 'Replace a worker that holds more memory than SIZE, once it has no job' -r
complete -c procpool -l idle-timeout -d 'End a worker that has had no job for TIME' -r
complete -c procpool -l standby -d 'At most N replacements started ahead of need [default: one per worker]' -r
complete -c procpool -l python -d 'Evaluate CODE for each line (x); or --perl, --node, --ruby, --sh' -r -F
complete -c procpool -l perl -d 'The same in Perl: @_ and $_ are the args; also a class with new and run' -r -F
complete -c procpool -l node -d 'The same in Node.js: x, args, cmd; what a FILE exports' -r -F
complete -c procpool -l ruby -d 'The same in Ruby: x, args, cmd' -r -F
complete -c procpool -l sh -d 'The same in sh: "$@" are the args; what it prints is the result' -r -F
complete -c procpool -l setup -d 'Run CODE once in each process before its first job; may be repeated' -r
complete -c procpool -s I -l replace -d 'STR stands for the args in COMMAND; braces mean nothing then' -r
complete -c procpool -l env -d 'Set a variable for COMMAND; VALUE may have placeholders' -r
complete -c procpool -l cwd -d 'Run COMMAND in DIR, which may have placeholders' -r -f -a "(__fish_complete_directories)"
complete -c procpool -l delay -d 'Wait TIME between one start of a job and the next' -r
complete -c procpool -l rate -d 'Start at most so many jobs in a time: 10/s, 100/m, 1000/h' -r
complete -c procpool -l max-load -d 'Start no job while the load average is above N' -r
complete -c procpool -l min-free-memory -d 'Start no job while less memory than SIZE is free' -r
complete -c procpool -l nice -d 'Run jobs with a lower priority: 1 (a little) to 39' -r
complete -c procpool -s a -l arg-file -d 'Read jobs from FILE instead of stdin (-: stdin); may be repeated' -r -F
complete -c procpool -l input -d 'What a COMMAND\'s lines are' -r -f -a "lines\t'The line is one string arg'
json\t'The line is a JSON value, and that is the args'
csv\t'Comma-separated values, an arg each'
tsv\t'Values with tabs between them, an arg each'"
complete -c procpool -s n -l max-args -d 'Make one job of N lines; max: of as many as a command can take' -r
complete -c procpool -s d -l delimiter -d 'Lines end with CHAR instead of a newline: a byte, or \\n, \\r, \\t, \\0, \\xHH' -r
complete -c procpool -l max-line -d 'The longest input line' -r
complete -c procpool -l format -d 'How results look: record (default with a worker), value, text (otherwise)' -r -f -a "record\t'One JSON object a job, failed jobs too'
value\t'The bare result as JSON; failures go to stderr'
text\t'Strings, and what commands print, as they are; failures go to stderr'"
complete -c procpool -l buffer -d 'Memory for results that wait for their turn' -r
complete -c procpool -l report -d 'Write a report at the end: FILE.html, .json, .xml (JUnit), .md' -r -F
complete -c procpool -l trace -d 'Write when each job ran where to FILE, for Perfetto or chrome://tracing' -r -F
complete -c procpool -l results -d 'Keep what each job printed, and its record, in a folder of its own in DIR' -r -f -a "(__fish_complete_directories)"
complete -c procpool -l joblog -d 'Log each job that is over to FILE, as GNU parallel does' -r -F
complete -c procpool -l progress -d 'Show a progress line' -r -f -a "auto\t'When stderr is a terminal'
always\t'Always'
never\t'Never'"
complete -c procpool -l timeout -d 'End a job that takes longer, and its process; it fails' -r
complete -c procpool -l retries -d 'Try a job that failed again, up to N times' -r
complete -c procpool -l retry-on -d 'The failures after which a job is tried again' -r
complete -c procpool -l retry-delay -d 'How long a job waits for its second try' -r
complete -c procpool -l failed -d 'Write the input lines of failed jobs to FILE, to be fed in again' -r -F
complete -c procpool -l grace -d 'How long a process may take to end before it is killed' -r
complete -c procpool -l halt -d 'End the run when jobs fail: now,fail=1 or soon,fail=10%' -r
complete -c procpool -l journal -d 'Record what comes of each job in FILE, so that the run can be resumed' -r -F
complete -c procpool -l pty -d 'Give the worker a terminal for its stdout'
complete -c procpool -l shell -d 'Run COMMAND by sh -c; what {} stands for stays data, whatever it is'
complete -c procpool -l stdin -d 'Feed the args to COMMAND\'s stdin, one a line, not to its arguments'
complete -c procpool -l dry-run -d 'Print each command instead of running it, quoted for a shell'
complete -c procpool -s p -l confirm -d 'Ask on the terminal before each command is run'
complete -c procpool -l header -d 'The first line names the columns: {name} stands for one'
complete -c procpool -s r -l no-run-if-empty -d 'With no input run nothing: the default'
complete -c procpool -s 0 -l null -d 'Lines end with a NUL byte instead of a newline'
complete -c procpool -l tag -d 'Begin each line with the args of its job and a tab'
complete -c procpool -l live -d 'Pass on lines while a command runs, as soon as it is its turn'
complete -c procpool -l detail -d 'Add seq, cmd, args, slot, pid, attempt, start and seconds to records'
complete -c procpool -l stream -d 'Print each result as its job finishes, not in input order'
complete -c procpool -s k -l keep-order -d 'Print results in input order: the default'
complete -c procpool -l summary -d 'Say at the end what a run came to: jobs, failures, durations'
complete -c procpool -l fail-fast -d 'End the run at the first job that fails: --halt now,fail=1'
complete -c procpool -l resume -d 'Go on with the run that the journal is of: print what succeeded, run the rest'
complete -c procpool -l fsync -d 'Have each record on the disk before its result is printed'
complete -c procpool -s h -l help -d 'Print help (-h: a summary; --help: everything)'
complete -c procpool -s V -l version -d 'Print the version'
