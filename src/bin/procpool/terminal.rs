//! The terminal, after a job wanted to use it. Such a job is stopped and fails, but a person may be typing
//! the password that it has asked for. That is neither shown nor left for the shell to run.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};

use crate::signals::is_in_background;

/// There is one for the whole process.
static TERMINAL: OnceLock<Terminal> = OnceLock::new();

struct Terminal {
    device: OwnedFd,
    /// How it was set at the start.
    settings: Termios,
    /// Nobody else in the pipeline may be using it: a pager, or a menu.
    is_alone: bool,
    /// What is typed is not shown.
    is_silent: Mutex<bool>,
}

/// Remembers how the terminal is set. In the background that is as the shell needs it for its prompt, and
/// does not concern this process.
pub fn remember() {
    if let Some(terminal) = Terminal::open().filter(Terminal::is_ours) {
        let _ = TERMINAL.set(terminal);
    }
}

/// What has been typed is thrown away, and what is typed from now on is not shown.
pub fn silence() {
    if let Some(terminal) = TERMINAL.get().filter(|terminal| terminal.is_ours()) {
        terminal.silence();
    }
}

/// Whatever was typed since [`silence`] is thrown away, and the terminal is set as at the start.
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

    /// Whether this process is in the foreground: otherwise the terminal is another's.
    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.device).is_ok() && !is_in_background(&self.device)
    }

    fn silence(&self) {
        let mut is_silent = self.is_silent.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(mut settings) = tcgetattr(&self.device) else { return };
        // One that is read key by key is being used by somebody else.
        if settings.local_modes.contains(LocalModes::ICANON) || self.is_alone {
            settings.local_modes.remove(LocalModes::ECHO);
            // At once: a terminal that is held (Ctrl-S) must not hold the run.
            let _ = tcsetattr(&self.device, OptionalActions::Now, &settings);
            let _ = tcflush(&self.device, QueueSelector::IFlush);
            *is_silent = true;
        }
    }

    fn restore(&self) {
        let mut is_silent = self.is_silent.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(settings) = tcgetattr(&self.device) else { return };
        let is_free = settings.local_modes.contains(LocalModes::ICANON) || self.is_alone;
        if std::mem::take(&mut *is_silent) && is_free {
            let _ = tcflush(&self.device, QueueSelector::IFlush);
            let _ = tcsetattr(&self.device, OptionalActions::Now, &self.settings);
        }
    }
}
