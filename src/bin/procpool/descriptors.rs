//! The open files that the caller has given to procpool: stdin, stdout, stderr, and others (`3<file`, `<(list)` in bash).
//! Workers inherit only those that their command lines name, because a worker that holds a pipe open keeps the other
//! end of that pipe waiting until the run ends. Commands inherit all, as with xargs.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{Stat, fstat};
use rustix::io::{Errno, fcntl_getfd};
use rustix::stdio as given;

use crate::cli::Options;

/// One of the three streams that every process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// The streams that were closed when the process began, a bit each.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Finds out which of the streams are closed. Before `main`, Rust's library opens `/dev/null` in place of a closed
/// stream. That looks like the `/dev/null` that a caller gives on purpose. So the system's loader calls this function
/// before Rust's library has done anything. It must not use a part of that library that needs a set-up.
#[ctor::ctor]
fn look() {
    let closed = [Stream::Stdin, Stream::Stdout, Stream::Stderr].map(|stream| {
        let is_closed = fcntl_getfd(borrowed(stream)) == Err(Errno::BADF);
        u8::from(is_closed) << stream as u8
    });
    CLOSED.store(closed.into_iter().sum(), Ordering::Relaxed);
}

/// Whether the caller has closed the stream (`>&-`).
pub fn is_closed(stream: Stream) -> bool {
    CLOSED.load(Ordering::Relaxed) >> stream as u8 & 1 == 1
}

/// The system's facts about the file that the stream is connected to. `None`: the stream is closed.
pub fn found(stream: Stream) -> Option<Stat> {
    fstat(borrowed(stream)).ok()
}

/// stdin, to ask the system about it.
pub fn stdin() -> BorrowedFd<'static> {
    borrowed(Stream::Stdin)
}

/// Another descriptor of the stream, with the same position in the file.
///
/// # Errors
/// The process has no room for another open file.
pub fn copy(stream: Stream) -> io::Result<OwnedFd> {
    borrowed(stream).try_clone_to_owned()
}

/// The stream, for questions about it.
pub fn borrowed(stream: Stream) -> BorrowedFd<'static> {
    match stream {
        Stream::Stdin => given::stdin(),
        Stream::Stdout => given::stdout(),
        Stream::Stderr => given::stderr(),
    }
}

/// The text before the number of an open file in a command line or in code: a path, or a redirection of a shell.
const NAMES: [&str; 4] = ["/dev/fd/", "/proc/self/fd/", "<&", ">&"];

/// The text before the pipe of make's jobserver in MAKEFLAGS. A worker may run `make`, which takes its tokens from
/// there.
const JOBSERVER: [&str; 2] = ["--jobserver-auth=", "--jobserver-fds="];

/// A number from here on is not taken for that of an open file.
const MOST: i32 = 1 << 24;

/// If the run has workers, marks the open files that their command lines do not name, so that no worker inherits
/// them. This is called before anything is started. The library does not do it, because it can't know whose files
/// they are.
pub fn keep_from_workers(options: &Options) {
    let code = [
        &options.code.python,
        &options.code.perl,
        &options.code.node,
        &options.code.ruby,
        &options.code.sh,
    ];
    let texts =
        options.workers.worker.iter().chain(code.into_iter().flatten()).chain(&options.code.setup);
    let mut kept: BTreeSet<i32> = texts.clone().flat_map(|text| named(text)).collect();
    if texts.count() > 0 {
        kept.extend(std::env::var("MAKEFLAGS").iter().flat_map(|flags| jobserver(flags)));
        close_fds::set_fds_cloexec(3, &kept.into_iter().collect::<Vec<_>>());
    }
}

/// Marks all open files but the three streams, so that no program inherits them.
pub fn keep_from_all() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// The numbers of the open files that a text names.
fn named(text: &str) -> Vec<i32> {
    let after = |name| text.split(name).skip(1).filter_map(number);
    NAMES.into_iter().flat_map(after).collect()
}

/// The numbers of both ends of the pipe of make's jobserver.
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
