#!/bin/sh
# Installs procpool from a release: downloads the archive for this machine, checks its SHA-256 sum, and copies the
# program, the man pages and the completions into a folder.
#
#     install.sh [--prefix DIR] [--from URL|DIR] [--target TRIPLE]
#
# DIR: ~/.local by default, or /usr/local for root. URL or DIR: where the archive and SHA256SUMS are.
set -eu

version=@VERSION@
repository=@REPOSITORY@

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

main() {
    prefix='' from='' target=''
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix | --from | --target) [ $# -gt 1 ] || fail "$1 needs a value" ;;
        esac
        case $1 in
            --prefix) prefix=$2 && shift 2 ;;
            --from) from=$2 && shift 2 ;;
            --target) target=$2 && shift 2 ;;
            -h | --help) usage && exit ;;
            *) fail "there is no option $1; see --help" ;;
        esac
    done
    if [ -z "$prefix" ]; then
        if [ "$(id -u)" -eq 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
    fi
    [ -n "$target" ] || target=$(machine)
    if [ -z "$from" ]; then
        [ -n "$repository" ] || fail 'the address of the repository is unset: say where the archive is with --from'
        from=$repository/releases/download/v$version
    fi

    archive=procpool-$version-$target.tar.gz
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    fetch SHA256SUMS
    wanted=$(awk -v name="$archive" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
    [ -n "$wanted" ] || fail "there is no archive for $target in $from: build procpool with cargo"
    fetch "$archive"
    found=$(sum "$work/$archive")
    [ "$found" = "$wanted" ] || fail "the SHA-256 sum of $archive is $found, and should be $wanted: nothing is installed"

    tar -x -z -f "$work/$archive" -C "$work"
    folder=$work/procpool-$version-$target
    "$folder/procpool" --version >/dev/null || fail "the program for $target does not run on this machine"
    put 755 "$folder/procpool" bin/procpool
    put 644 "$folder/man/procpool.1" share/man/man1/procpool.1
    put 644 "$folder/man/procpool-from-parallel.7" share/man/man7/procpool-from-parallel.7
    put 644 "$folder/completions/procpool.bash" share/bash-completion/completions/procpool
    put 644 "$folder/completions/_procpool" share/zsh/site-functions/_procpool
    put 644 "$folder/completions/procpool.fish" share/fish/vendor_completions.d/procpool.fish
    printf 'procpool %s is installed: %s\n' "$version" "$prefix/bin/procpool"
    case :$PATH: in
        *":$prefix/bin:"*) ;;
        *) printf 'Add it to your PATH: export PATH="%s/bin:$PATH"\n' "$prefix" ;;
    esac
}

usage() {
    cat <<'END'
install.sh [--prefix DIR] [--from URL|DIR] [--target TRIPLE]
  --prefix DIR      install into DIR: ~/.local by default, /usr/local for root
  --from URL|DIR    where the archive and SHA256SUMS are
  --target TRIPLE   the kind of machine: that of this machine by default
END
}

# The kind of this machine.
machine() {
    case $(uname -m) in
        x86_64 | amd64) cpu=x86_64 ;;
        aarch64 | arm64) cpu=aarch64 ;;
        *) fail "there is no archive for $(uname -m): build procpool with cargo" ;;
    esac
    case $(uname -s) in
        Linux) printf '%s-unknown-linux-musl\n' "$cpu" ;;
        Darwin) printf '%s-apple-darwin\n' "$cpu" ;;
        FreeBSD) printf '%s-unknown-freebsd\n' "$cpu" ;;
        *) fail "there is no archive for $(uname -s): build procpool with cargo" ;;
    esac
}

# Copies or downloads a file to the work folder.
fetch() {
    case $from in
        *://*)
            if command -v curl >/dev/null; then
                curl -fsSL -o "$work/$1" "$from/$1" || fail "can't download $from/$1"
            elif command -v wget >/dev/null; then
                wget -q -O "$work/$1" "$from/$1" || fail "can't download $from/$1"
            else
                fail 'neither curl nor wget is installed'
            fi
            ;;
        *) cp "$from/$1" "$work/$1" || fail "there is no file $from/$1" ;;
    esac
}

sum() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1" | cut -d ' ' -f 1
    elif command -v shasum >/dev/null; then
        shasum -a 256 "$1" | cut -d ' ' -f 1
    elif command -v sha256 >/dev/null; then
        sha256 -q "$1"
    else
        fail 'there is no program that makes SHA-256 sums'
    fi
}

# Copies a file, in one step for whoever uses the old one.
put() {
    place=$prefix/$3
    mkdir -p "${place%/*}"
    cp "$2" "$place.new"
    chmod "$1" "$place.new"
    mv -f "$place.new" "$place"
}

# A download that is cut off must not run half of the script.
main "$@"
