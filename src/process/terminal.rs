//! A pseudo-terminal for the output of a process. It passes on all bytes unchanged.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// The widest terminal there is, so that no program wraps its lines.
pub(super) const WIDEST: Winsize =
    Winsize { ws_row: 24, ws_col: u16::MAX, ws_xpixel: 0, ws_ypixel: 0 };

/// The size of a terminal for people, if this process has none to take the size from.
const USUAL: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// The size of the terminal of this process, if its stderr or stdin is one.
pub(super) fn own_size() -> Winsize {
    let streams = [rustix::stdio::stderr(), rustix::stdio::stdin()];
    let sizes = streams.into_iter().filter_map(|stream| tcgetwinsize(stream).ok());
    sizes.into_iter().find(|size| size.ws_col > 0).unwrap_or(USUAL)
}

/// Opens a terminal of this size: our end of it, and the end for the process.
pub(super) fn open_terminal(size: Winsize) -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = open_ours()?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(path, flags, Mode::empty())?;
    let mut settings = tcgetattr(&theirs)?;
    settings.make_raw();
    tcsetattr(&theirs, OptionalActions::Now, &settings)?;
    tcsetwinsize(&theirs, size)?;
    Ok((ours, theirs))
}

#[cfg(not(target_vendor = "apple"))]
fn open_ours() -> rustix::io::Result<OwnedFd> {
    openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

#[cfg(target_vendor = "apple")]
fn open_ours() -> rustix::io::Result<OwnedFd> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    super::pipe::keep(&ours)?;
    Ok(ours)
}

/// Variables that ask a program for plain text, since procpool reads its output, not a person. A `NO_COLOR`
/// that the user has set is kept.
pub(super) fn plain_text() -> impl Iterator<Item = (&'static OsStr, &'static OsStr)> {
    let no_color = std::env::var_os("NO_COLOR").is_none().then_some(("NO_COLOR", "1"));
    [("TERM", "dumb")]
        .into_iter()
        .chain(no_color)
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
}
