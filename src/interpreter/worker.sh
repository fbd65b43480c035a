# procpool's worker for POSIX sh: sh -c SOURCE sh MODE CODE [SETUP...]
#
# MODE is `expression` (CODE is run once per job) or `file` (the functions in the file CODE are the
# commands); `check-expression` and `check-file` only report whether CODE can be read.
# A request on stdin is a line of words in quotes, ID CMD ARG..., in which $procpool_nl is a newline. A
# reply on stdout is `ID STATUS TEXT` and a NUL byte; the status `?` says that TEXT is what is wrong.

procpool_nl='
'
procpool_mode=$1 procpool_code=$2
shift 2
case $procpool_mode in
*expression) procpool_text="procpool_job() {$procpool_nl$procpool_code$procpool_nl}" ;;
esac
case $procpool_mode in
check-expression) exec sh -n -c "$procpool_text" ;;
esac
case $procpool_code in
*/*) ;;
# Otherwise `.` would look for it in PATH.
*) procpool_code=./$procpool_code ;;
esac
case $procpool_mode in
check-file) exec sh -n "$procpool_code" ;;
esac

# The code must not get at requests and replies: its stdin is empty, its stdout is stderr.
exec 3<&0 4>&1 </dev/null >&2

procpool_load() {
    procpool_setup=$1
    shift
    set --
    eval "$procpool_setup"
}
for procpool_one; do
    procpool_load "$procpool_one"
done
set --
procpool_known=' '
case $procpool_mode in
expression) eval "$procpool_text" ;;
file) . "$procpool_code" ;;
esac

# With `set -e` the loop would end at the first job that fails: it is for the jobs alone.
case $- in
*e*) procpool_set='set -e' ;;
*) procpool_set=: ;;
esac
set +e

procpool_is_function() {
    case $procpool_known in
    *" $1 "*) return 0 ;;
    esac
    case $1 in
    '' | [0-9]* | *[!A-Za-z0-9_]* | procpool_*) return 1 ;;
    esac
    # All shells say so in their first line, and in these words if the language is C.
    case $(LC_ALL=C type "$1" 2>/dev/null) in
    "$1 is a function"* | "$1 is a shell function"*) procpool_known="$procpool_known$1 " ;;
    *) return 1 ;;
    esac
}

while IFS= read -r procpool_line <&3; do
    eval "set -- $procpool_line"
    procpool_id=$1 procpool_cmd=$2
    shift 2
    if [ "$procpool_mode" = expression ]; then
        procpool_cmd=procpool_job
    elif ! procpool_is_function "$procpool_cmd"; then
        printf '%s ? there is no function %s in %s\0' "$procpool_id" "$procpool_cmd" "$procpool_code" >&4
        continue
    fi
    procpool_text=$(exec 3<&- 4>&-; eval "$procpool_set"; "$procpool_cmd" "$@")
    printf '%s %s %s\0' "$procpool_id" "$?" "$procpool_text" >&4
done
