#!/bin/sh
# Tests of procpool's worker for sh, in sh: `sh test_worker.sh`, in this folder.

worker=$(cat ../../src/interpreter/worker.sh)
failed=0

# Runs the worker on the requests on stdin. The NUL after each reply becomes a newline.
run() { sh -c "$worker" sh "$@" 2>/dev/null | tr '\0' '\n'; }

# check NAME EXPECTED ACTUAL
check() {
    if [ "$2" = "$3" ]; then
        echo "ok - $1"
    else
        printf 'not ok - %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"
        failed=1
    fi
}

check 'the args are "$@"' '7 0 <a b> 2' \
    "$(echo "7 '' 'a b' 'c'" | run expression 'echo "<$1> $#"')"
check 'an arg is data' '1 0 $(exit 3)`x`";' \
    "$(echo "1 '' '\$(exit 3)\`x\`\";'" | run expression 'printf "%s" "$1"')"
check 'a newline in an arg' "$(printf '1 0 a\nb')" \
    "$(echo "1 '' 'a'\"\$procpool_nl\"'b'" | run expression 'echo "$1"')"
check 'a status is told' "$(printf '1 3 out\n2 0 out')" \
    "$(printf "1 '' '3'\n2 '' '0'\n" | run expression 'echo out; return "$1"')"
check 'an exit ends its job alone' "$(printf '1 5 \n2 0 b')" \
    "$(printf "1 '' 'a'\n2 '' 'b'\n" | run expression 'test "$1" = a && exit 5; echo "$1"')"
check 'what a job sets is gone with it' "$(printf '1 0 0a\n2 0 0b')" \
    "$(printf "1 '' 'a'\n2 '' 'b'\n" | run expression 'echo "$n$1"; n=1' 'n=0')"
check 'its stdin is empty' '1 0 <>' \
    "$(printf "1 '' 'a'\n" | run expression 'echo "<$(cat)>"')"
check 'setups come before all jobs, in their order' '1 0 12' \
    "$(printf "1 ''\n" | run expression 'f' 'a=1' 'f() { echo "${a}2"; }')"

check 'what is left running is waited for while it prints' "$(printf '1 0 a\nb')" \
    "$(printf "1 ''\n" | run expression '(sleep 0.2; echo b) & echo a')"
check 'what is left running is not waited for to its end' '1 0 a' \
    "$(printf "1 ''\n" | PROCPOOL_GRACE=100 run expression 'sleep 5 & echo a')"
check '&& and redirections start nothing' '1 0 a' \
    "$(printf "1 ''\n" | run expression 'true && echo a 2>&1 >&1')"

functions=$(mktemp)
trap 'rm -f "$functions"' EXIT
echo 'add() { echo $(($1 + $2)); }' >"$functions"
check 'the functions of a file' '1 0 3' "$(echo "1 'add' '1' '2'" | run file "$functions")"
check 'no other command' "1 ? there is no function ls in $functions" \
    "$(echo "1 'ls'" | run file "$functions")"

sh -c "$worker" sh check-expression 'echo $(' 2>/dev/null
check 'a syntax error is found' 'not 0' "$([ $? -ne 0 ] && echo 'not 0')"
sh -c "$worker" sh check-expression 'echo; exit 3'
check 'a check runs nothing' 0 $?

exit "$failed"
