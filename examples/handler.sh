#!/bin/sh
# The worker of handler.py in POSIX sh: count, hash and longest of a file, with the usual tools.
#
#     procpool --worker examples/handler.sh < examples/jobs.jsonl
#
# A shell reads no JSON. This worker cuts requests apart at the punctuation that procpool writes,
# {"id":17,"cmd":"count","args":["a.txt"]}, and refuses those with a backslash in them: paths that
# hold ", \ or control characters, or are written with \u escapes. `longest` expects UTF-8 text.

LC_ALL=C # bytes, not characters
export LC_ALL

count() {
    # Each word becomes one x, and what stands between words is deleted.
    words=$(tr -cs '[:space:]' '[x*]' <"$1" | tr -d '[:space:]' | wc -c)
    lines=$(wc -l <"$1")
    bytes=$(wc -c <"$1")
    printf '{"lines":%d,"words":%d,"bytes":%d}' "$lines" "$words" "$bytes"
}

sha256() {
    sum=$(sha256sum <"$1") || return
    printf '"%s"' "${sum%% *}"
}

longest() {
    reply=$(awk '
        BEGIN {
            max = -1
            for (i = 1; i < 32; i++) escaped[sprintf("%c", i)] = sprintf("\\u%04x", i)
            escaped["\""] = "\\\""
            escaped["\\"] = "\\\\"
        }
        length($0) > max { max = length($0); line = NR; text = $0 }
        END {
            printf "{\"line\":%d,\"text\":\"", line
            for (i = 1; i <= max; i++) {
                c = substr(text, i, 1)
                printf "%s", (c in escaped) ? escaped[c] : c
            }
            printf "\"}"
        }' <"$1")
    # A reply must be UTF-8.
    printf '%s' "$reply" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 || fail "$1 is not UTF-8"
    printf '%s' "$reply"
}

# Ends `run`, which is a subshell: what it printed is the error.
fail() {
    printf '%s' "$1"
    exit 1
}

# Prints the result as JSON, or what went wrong.
run() {
    case $request in *\\*) fail 'this worker reads no backslashes' ;; esac
    case $cmd in
        count | longest) function=$cmd ;;
        hash) function=sha256 ;;
        *) fail "unknown command '$cmd', expected one of: count, hash, longest" ;;
    esac
    case $args in
        '["'* | '[ "'*) path=${args#*'"'} path=${path%%'"'*} ;;
        *) fail "$cmd needs a path, as in $cmd [\\\"a.txt\\\"]" ;;
    esac
    [ -f "$path" ] || fail "no such file: $path"
    [ -r "$path" ] || fail "not readable: $path"
    "$function" "$path"
}

while IFS= read -r request; do # ends when stdin does
    case $request in
        '{"id":'[0-9]*',"cmd":"'*'","args":'*) ;;
        *) printf 'not written as procpool does: %s\n' "$request" >&2 && exit 1 ;;
    esac
    id=${request#'{"id":'} id=${id%%,*}
    cmd=${request#*',"cmd":"'} cmd=${cmd%%'"'*}
    args=${request#*'","args":'}
    # Without </dev/null, what `run` starts could eat the requests that are still to come.
    if output=$(run </dev/null); then
        printf '{"id":%s,"result":%s}\n' "$id" "$output"
    else
        printf '{"id":%s,"error":"%s"}\n' "$id" "$output"
    fi
done
