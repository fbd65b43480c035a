complete -c procpool -s w -l worker -d 'The worker to start: its command line, split as a shell does' -r -f -a "(__fish_complete_command)"
complete -c procpool -s j -s P -l max-procs -d 'At most N workers at a time [default: the number of CPUs]' -r
complete -c procpool -l pipeline -d 'Requests in flight at each worker: a number, or auto' -r
complete -c procpool -l max-reqs -d 'Replace a worker after N jobs; 0: never' -r
complete -c procpool -l max-reqs-jitter -d 'Give each worker up to N jobs more than that, at random' -r
complete -c procpool -l max-age -d 'Replace a worker that has lived for TIME, once it has no job' -r
complete -c procpool -l max-rss -d 'Replace a worker that holds more memory than SIZE, once it has no job' -r
complete -c procpool -l idle-timeout -d 'End a worker that has had no job for TIME' -r
complete -c procpool -l standby -d 'At most N replacements started ahead of need [default: one per worker]' -r
complete -c procpool -l start-limit -d 'End the run after N failed start-ups in a row; 0: never' -r
complete -c procpool -l max-reply -d 'The longest reply that a worker may give' -r
complete -c procpool -s a -l arg-file -d 'Read jobs from FILE instead of stdin; may be repeated' -r -F
complete -c procpool -l input -d 'What a COMMAND\'s lines are' -r -f -a "lines\t'The line is one string arg'
json\t'The line is a JSON value, and that is the args'"
complete -c procpool -l max-line -d 'The longest input line' -r
complete -c procpool -l format -d 'How results look' -r -f -a "record\t'One JSON object a job, failed jobs too'
value\t'The bare result as JSON; failures go to stderr'
text\t'Strings as they are, other results as JSON; failures go to stderr'"
complete -c procpool -l buffer -d 'Memory for results that wait for their turn' -r
complete -c procpool -l progress -d 'Show a progress line' -r -f -a "auto\t'When stderr is a terminal'
always\t'Always'
never\t'Never'"
complete -c procpool -l timeout -d 'End a worker whose job takes longer; the job fails' -r
complete -c procpool -l grace -d 'How long a worker may take to end before it is killed' -r
complete -c procpool -s 0 -l null -d 'Lines end with a NUL byte instead of a newline'
complete -c procpool -l detail -d 'Add seq, cmd, args, slot, pid, attempt, start and seconds to records'
complete -c procpool -l stream -d 'Print each result as its job finishes, not in input order'
complete -c procpool -s k -l keep-order -d 'Print results in input order: the default'
complete -c procpool -s h -l help -d 'Print help (-h: a summary; --help: everything)'
complete -c procpool -s V -l version -d 'Print the version'
