#!/bin/sh
# A worker for procpool. Save it as worker.sh and try it:
#
#     printf 'greet ["Ada"]\ngreet ["Grace"]\n' | procpool --worker 'sh worker.sh'
#
# A shell can't read JSON. This worker takes requests apart at the punctuation that procpool writes, and refuses
# arguments with a backslash: those with quotes, backslashes or control characters. If jobs need those, write
# `procpool --sh 'echo "$1"'`, which needs no worker, or a worker in another language.

# What takes long to load or to open is loaded here, once.

# The functions of jobs: they get the first argument, print the result as JSON, or print an error and fail.
greet() {
    printf '"hello, %s"' "$1"
}

run() {
    case $request in *\\*) echo 'this worker takes no backslashes' && return 1 ;; esac
    case $cmd in
        greet) ;;
        *) echo "there is no command '$cmd'" && return 1 ;;
    esac
    case $request in
        *'"args":["'*) "$cmd" "$arg" ;;
        *) echo "the first argument of $cmd must be a text" && return 1 ;;
    esac
}

while IFS= read -r request; do # it ends when procpool closes stdin
    id=${request#'{"id":'} id=${id%%,*}
    cmd=${request#*'"cmd":"'} cmd=${cmd%%'"'*}
    arg=${request#*'"args":["'} arg=${arg%%'"'*}
    # stdout is for replies. Print everything else to stderr: echo … >&2. The jobs on stdin are not for what runs.
    if reply=$(run </dev/null); then
        printf '{"id":%s,"result":%s}\n' "$id" "$reply"
    else
        printf '{"id":%s,"error":"%s"}\n' "$id" "$reply" # this job fails, and the worker goes on
    fi
done
