//! What workers inherit of the files that procpool was given itself (`procpool … 3<file`, bash's
//! `<(…)`): what they are told of, and nothing else. A worker lives as long as the run, and would hold
//! the rest open for as long: the other end of such a pipe would wait for its end until then.
//!
//! Commands inherit them all, as those of xargs do.

use std::collections::BTreeSet;

use crate::cli::Options;

/// How a command line, or code, names an open file: as a path, or to redirect it in a shell.
const NAMES: [&str; 4] = ["/dev/fd/", "/proc/self/fd/", "<&", ">&"];

/// What stands before the two ends of the pipe of make's jobserver in MAKEFLAGS. A worker may run `make`
/// itself, which takes its tokens from there.
const JOBSERVER: [&str; 2] = ["--jobserver-auth=", "--jobserver-fds="];

/// No open file has a number as large as this.
const MOST: i32 = 1 << 24;

/// Has the files that workers are not told of closed when they are started. To be called before
/// anything is started, by the command only: a library can't know whose they are.
pub fn keep_from_workers(options: &Options) {
    let code = [&options.python, &options.perl, &options.node, &options.ruby, &options.sh];
    let texts = options.worker.iter().chain(code.into_iter().flatten()).chain(&options.setup);
    let mut told: BTreeSet<i32> = texts.clone().flat_map(|text| named(text)).collect();
    if texts.count() > 0 {
        told.extend(std::env::var("MAKEFLAGS").iter().flat_map(|flags| jobserver(flags)));
        close_fds::set_fds_cloexec(3, &told.into_iter().collect::<Vec<_>>());
    }
}

/// The open files that a text names.
fn named(text: &str) -> Vec<i32> {
    let behind = |name| text.split(name).skip(1).filter_map(number);
    NAMES.into_iter().flat_map(behind).collect()
}

/// Both ends of the pipe of make's jobserver.
fn jobserver(flags: &str) -> Vec<i32> {
    let words = flags.split_whitespace();
    let pipes = words.filter_map(|word| JOBSERVER.iter().find_map(|name| word.strip_prefix(name)));
    pipes.flat_map(|pipe| pipe.split(',').filter_map(number)).collect()
}

/// The number that a text begins with.
fn number(text: &str) -> Option<i32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok().filter(|&number| number < MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named() {
        assert_eq!(named("cat /dev/fd/63 /proc/self/fd/7/x"), [63, 7]);
        assert_eq!(named("sh -c 'exec cat <&3 4>&10'"), [3, 10]);
        assert!(named("/dev/fd/ /dev/fd/x /dev/fd/99999999999 a >&- b 5").is_empty());
        assert_eq!(jobserver("w -j4 --jobserver-auth=3,4"), [3, 4]);
        assert_eq!(jobserver("--jobserver-auth=fifo:/tmp/x --jobserver-fds=-2,5"), [5]);
    }
}
