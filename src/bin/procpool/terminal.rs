//! The terminal, after a job has asked for a password there. The job is stopped and fails, but the user may be typing
//! already. That text is neither shown nor left for the shell to run.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};

use crate::lock::lock;
use crate::signals::is_in_background;

/// The terminal of the whole process.
static TERMINAL: OnceLock<Terminal> = OnceLock::new();

struct Terminal {
    device: OwnedFd,
    /// The settings at the start.
    settings: Termios,
    /// No other process of the pipeline uses it, such as a pager or a menu.
    is_alone: bool,
    /// Typed text is not shown.
    is_silent: Mutex<bool>,
}

/// Remembers the settings of the terminal. In the background they are the shell's, and do not concern this process.
pub fn remember() {
    if let Some(terminal) = Terminal::open().filter(Terminal::is_ours) {
        let _ = TERMINAL.set(terminal);
    }
}

/// Throws typed text away, and hides text that is typed from now on.
pub fn silence() {
    if let Some(terminal) = TERMINAL.get().filter(|terminal| terminal.is_ours()) {
        terminal.silence();
    }
}

/// Throws away text that was typed since [`silence`], and restores the settings of the start.
pub fn restore() {
    if let Some(terminal) = TERMINAL.get().filter(|terminal| terminal.is_ours()) {
        terminal.restore();
    }
}

impl Terminal {
    fn open() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let device = open("/dev/tty", flags, Mode::empty()).ok()?;
        let settings = tcgetattr(&device).ok()?;
        let input = fstat(rustix::stdio::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let is_piped = matches!(input, Ok(FileType::Fifo | FileType::Socket));
        let is_alone = std::io::stdout().is_terminal() && !is_piped;
        Some(Self { device, settings, is_alone, is_silent: Mutex::new(false) })
    }

    /// Whether this process is in the foreground. Otherwise the terminal belongs to another.
    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.device).is_ok() && !is_in_background(&self.device)
    }

    fn silence(&self) {
        let mut is_silent = lock(&self.is_silent);
        let Ok(mut settings) = tcgetattr(&self.device) else { return };
        // Another process uses a terminal that is read key by key.
        if settings.local_modes.contains(LocalModes::ICANON) || self.is_alone {
            settings.local_modes.remove(LocalModes::ECHO);
            // `Now` does not wait for output, so a held terminal (Ctrl-S) does not hold up the run.
            let _ = tcsetattr(&self.device, OptionalActions::Now, &settings);
            let _ = tcflush(&self.device, QueueSelector::IFlush);
            *is_silent = true;
        }
    }

    fn restore(&self) {
        let mut is_silent = lock(&self.is_silent);
        let Ok(settings) = tcgetattr(&self.device) else { return };
        let is_free = settings.local_modes.contains(LocalModes::ICANON) || self.is_alone;
        if std::mem::take(&mut *is_silent) && is_free {
            let _ = tcflush(&self.device, QueueSelector::IFlush);
            let _ = tcsetattr(&self.device, OptionalActions::Now, &self.settings);
        }
    }
}
