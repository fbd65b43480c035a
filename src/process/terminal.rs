//! A pseudo-terminal as the stdout of a process. It passes on all bytes unchanged.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

/// The widest terminal there is, so that no program wraps its lines.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: u16::MAX, ws_xpixel: 0, ws_ypixel: 0 };

/// Opens a terminal: our end of it, and the end for the process.
pub(super) fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = open_ours()?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(path, flags, Mode::empty())?;
    let mut settings = tcgetattr(&theirs)?;
    settings.make_raw();
    tcsetattr(&theirs, OptionalActions::Now, &settings)?;
    tcsetwinsize(&theirs, SIZE)?;
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
