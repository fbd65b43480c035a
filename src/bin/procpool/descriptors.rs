//! What workers inherit of the files that procpool was given itself (`procpool … 3<file`, bash's
//! `<(…)`): what they are told of, and nothing else. A worker lives as long as the run, and would hold
//! the rest open for as long: the other end of such a pipe would wait for its end until then.
//!
//! Commands inherit them all, as those of xargs do.
//!
//! And its three, as its caller has left them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{Stat, fstat};
use rustix::io::{Errno, fcntl_getfd};
use rustix::stdio as given;

use crate::cli::Options;

/// One of the three that every process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// Which of the three were closed when the process began, a bit each.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Looks which of the three are closed. Before `main`, Rust's library opens `/dev/null` in the place of
/// each of them that is, and what it has opened looks like what Python's `DEVNULL` and others give a
/// process that is to be silent. So this is called by the system's loader, before Rust's library has
/// done anything; it may use nothing of that library that needs it to be set up.
#[ctor::ctor]
fn look() {
    let closed = [Stream::Stdin, Stream::Stdout, Stream::Stderr].map(|stream| {
        let is_closed = fcntl_getfd(borrowed(stream)) == Err(Errno::BADF);
        u8::from(is_closed) << stream as u8
    });
    CLOSED.store(closed.into_iter().sum(), Ordering::Relaxed);
}

/// Whether the caller has closed it (`>&-`).
pub fn is_closed(stream: Stream) -> bool {
    CLOSED.load(Ordering::Relaxed) >> stream as u8 & 1 == 1
}

/// What it is.
pub fn found(stream: Stream) -> Option<Stat> {
    fstat(borrowed(stream)).ok()
}

/// stdin, to be asked about.
pub fn stdin() -> BorrowedFd<'static> {
    borrowed(Stream::Stdin)
}

/// It once more, with the same place in the file.
///
/// # Errors
/// There is no room for another open file.
pub fn copy(stream: Stream) -> io::Result<OwnedFd> {
    borrowed(stream).try_clone_to_owned()
}

fn borrowed(stream: Stream) -> BorrowedFd<'static> {
    match stream {
        Stream::Stdin => given::stdin(),
        Stream::Stdout => given::stdout(),
        Stream::Stderr => given::stderr(),
    }
}

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
    let code = [
        &options.code.python,
        &options.code.perl,
        &options.code.node,
        &options.code.ruby,
        &options.code.sh,
    ];
    let texts =
        options.workers.worker.iter().chain(code.into_iter().flatten()).chain(&options.code.setup);
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
