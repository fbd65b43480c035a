# procpool's worker for POSIX sh, bash and zsh: sh -c SOURCE sh MODE CODE [SETUP...]
#
# MODE is `expression` (CODE is run once per job) or `file` (the functions in the file CODE are the
# commands); `check-expression` and `check-file` only report whether CODE can be read.
# A request on stdin is a line of words in quotes, ID CMD ARG..., in which $procpool_nl is a newline. A
# reply on stdout is `ID STATUS TEXT` and a NUL byte; with the status `?`, TEXT is an error message.

procpool_nl='
'
procpool_mode=$1 procpool_code=$2
shift 2
case $procpool_mode in
*expression) procpool_text="procpool_job() {$procpool_nl$procpool_code$procpool_nl}" ;;
esac
case $procpool_mode in
check-expression) exec "$0" -n -c "$procpool_text" ;;
esac
case $procpool_code in
*/*) ;;
# Without a slash, `.` would look for it in PATH.
*) procpool_code=./$procpool_code ;;
esac
case $procpool_mode in
check-file) exec "$0" -n "$procpool_code" ;;
esac

# The code must not get at requests and replies: its stdin is empty, its stdout is stderr.
exec 3<&0 4>&1 </dev/null >&2

# Whether the code starts something in the background: it has an & that is no part of && or of a
# redirection.
procpool_starts() {
    procpool_rest=$1
    while :; do
        case $procpool_rest in
        *'&'*) ;;
        *) return 1 ;;
        esac
        procpool_before=${procpool_rest%%'&'*}
        procpool_rest=${procpool_rest#*'&'}
        case $procpool_before in
        *'>' | *'<') continue ;;
        esac
        case $procpool_rest in
        '&'*) procpool_rest=${procpool_rest#'&'} ;;
        '>'*) ;;
        *) return 0 ;;
        esac
    done
}
procpool_grace=${PROCPOOL_GRACE:-5000} procpool_run=procpool_plainly
procpool_folder=${PROCPOOL_TMPDIR:-${TMPDIR:-/tmp}}
unset PROCPOOL_GRACE PROCPOOL_TMPDIR
case $procpool_mode in
file) procpool_text=$(cat -- "$procpool_code") ;;
esac
for procpool_one in "$procpool_text" "$@"; do
    if procpool_starts "$procpool_one"; then procpool_run=procpool_patiently; fi
done

# Reads what the code prints until no process has its stdout open.
procpool_plainly() {
    procpool_text=$(exec 3<&- 4>&-; eval "$procpool_set"; "$procpool_cmd" "$@")
    procpool_status=$?
}

# Says which processes hold the stdout of the code open, as far as the system tells.
procpool_leave() {
    procpool_names='' procpool_seen=" $procpool_reader $$ "
    for procpool_one in $(command find /proc/[0-9]*/fd -lname "*/procpool-$$-$procpool_id (deleted)" 2>/dev/null 3<&- 4>&-); do
        procpool_one=${procpool_one#/proc/}
        procpool_one=${procpool_one%%/*}
        case $procpool_seen in
        *" $procpool_one "*) continue ;;
        esac
        procpool_seen="$procpool_seen$procpool_one "
        procpool_new=$(command tr '\000-\037\177' '[ *]' <"/proc/$procpool_one/cmdline" 2>/dev/null | command cut -c 1-60)
        case $procpool_new in
        # It is a part of this shell.
        "sh -c # procpool"*) procpool_new=sh ;;
        esac
        procpool_names="$procpool_names, ${procpool_new% } (pid $procpool_one)"
    done
    procpool_names=${procpool_names:-, something}
    echo "procpool: the code has left running: ${procpool_names#, }; it holds stdout open and has printed nothing for $procpool_grace ms: what it prints from now on is lost" >&2
}

# Processes that the code leaves running may hold its stdout open for long, and print more. This waits
# until nothing has come for the grace period, in milliseconds. The files have no names once they are open.
procpool_patiently() {
    procpool_file=$procpool_folder/procpool-$$-$procpool_id
    if ! (umask 077; set -C; command mkfifo "$procpool_file" && : >"$procpool_file-out"); then
        procpool_plainly "$@"
        return
    fi
    command cat >"$procpool_file-out" <"$procpool_file" 3<&- 4>&- &
    procpool_reader=$!
    exec 5>"$procpool_file" 6<"$procpool_file-out"
    command rm -f -- "$procpool_file" "$procpool_file-out"
    (exec 3<&- 4>&- 5>&- 6<&-; eval "$procpool_set"; "$procpool_cmd" "$@") >&5
    procpool_status=$?
    exec 5>&-
    procpool_text='' procpool_silent=0 procpool_tick=10
    while :; do
        command kill -0 "$procpool_reader" 2>/dev/null
        procpool_is_over=$?
        procpool_new=$(command cat <&6 3<&- 4>&-; echo .)
        procpool_text=$procpool_text${procpool_new%.}
        if [ "$procpool_is_over" -ne 0 ]; then break; fi
        if [ "$procpool_new" != . ]; then procpool_silent=0 procpool_tick=10; fi
        if [ "$procpool_silent" -ge "$procpool_grace" ]; then
            procpool_leave
            break
        fi
        procpool_pause=$((1000 + procpool_tick))
        command sleep "0.${procpool_pause#1}" 3<&- 4>&- 2>/dev/null || command sleep 1 3<&- 4>&-
        procpool_silent=$((procpool_silent + procpool_tick))
        if [ "$procpool_tick" -lt 200 ]; then procpool_tick=$((2 * procpool_tick)); fi
    done
    exec 6<&-
    procpool_text=$(printf %s "$procpool_text")
}

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

# With `set -e` the loop would end at the first job that fails, so only the jobs get it.
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
    # All shells say so in the first line of `type`, in one of these forms if the language is C.
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
    "$procpool_run" "$@"
    printf '%s %s %s\0' "$procpool_id" "$procpool_status" "$procpool_text" >&4
done
