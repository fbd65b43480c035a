//! A terminal with a shell in it, and what a person sees there: a real pseudo-terminal, whose output
//! goes through an emulator.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rexpect::process::PtyProcess;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::common::{PATIENCE, need};

/// A shell with job control in a terminal.
pub(crate) struct Screen {
    file: File,
    seen: Arc<Seen>,
    _shell: PtyProcess,
}

#[derive(Default)]
struct Seen {
    state: Mutex<Option<Emulator>>,
    changed: Condvar,
}

struct Emulator {
    parser: vt100::Parser,
    /// All that was written since the last command.
    raw: String,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Option<Emulator>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words of procpool in the shell.
const SETUP: &str = "unset PROMPT_COMMAND PYTHONUNBUFFERED; PS1='$ '; stty echo; cd";

impl Screen {
    /// A terminal of this size. The shell is in `folder`, and calls procpool `pp`.
    pub(crate) fn new(columns: u16, rows: u16, folder: &str) -> Option<Self> {
        if !need("bash") {
            return None;
        }
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "--noediting", "-i"]);
        bash.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env("PS1", "$ ").env_remove("CI");
        bash.env_remove("NO_COLOR").env("PROCPOOL", env!("CARGO_BIN_EXE_procpool"));
        let mut shell = PtyProcess::new(bash).expect("a shell in a terminal");
        // TERM does not end a shell at a terminal.
        shell.set_kill_timeout(Some(0));
        let file = shell.get_file_handle().expect("the terminal");
        let seen = Arc::new(Seen::default());
        let mut screen = Self { file, seen, _shell: shell };
        screen.resize(columns, rows);
        screen.listen();
        screen.send(&format!("{SETUP} {}", shell_words::quote(folder)));
        screen.send("pp() { \"$PROCPOOL\" \"$@\"; }; clear() { printf '\\033[2J\\033[H'; }");
        screen.send("echo set $((40 + 2)) up");
        screen.see("the setup", |screen| screen.contains("set 42 up"));
        screen.clear();
        Some(screen)
    }

    fn listen(&self) {
        let mut file = self.file.try_clone().expect("a second handle");
        let seen = Arc::clone(&self.seen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end is an error if the shell is gone.
            while let Ok(count @ 1..) = file.read(&mut bytes) {
                if let Some(emulator) = seen.lock().as_mut() {
                    emulator.parser.process(&bytes[..count]);
                    emulator.raw.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
                seen.changed.notify_all();
            }
        });
    }

    /// Gives the terminal another size. This emulator does not wrap rows anew.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        let number = |n| NonZeroU16::new(n).expect("not 0");
        // What was drawn for the old size is shown in that size, however late it is read.
        let end = Instant::now() + PATIENCE;
        while rustix::io::ioctl_fionread(&self.file).unwrap_or(0) > 0 && Instant::now() < end {
            thread::yield_now();
        }
        let mut state = self.seen.lock();
        match state.as_mut() {
            Some(emulator) => emulator.parser.set_size(number(rows), number(columns)),
            None => {
                let parser = vt100::Parser::new(number(rows), number(columns), 1_000);
                *state = Some(Emulator { parser, raw: String::new() });
            }
        }
        // The reader can't go on meanwhile, so it sees in the new size what is drawn for it.
        tcsetwinsize(&self.file, size).expect("a terminal has a size");
    }

    /// Types a line, and Enter.
    pub(crate) fn send(&mut self, line: &str) {
        if let Some(emulator) = self.seen.lock().as_mut() {
            emulator.raw.clear();
        }
        self.keys(&format!("{line}\n"));
    }

    /// Runs a shell script, which may be longer than a row: the first row has `$ run`, and nothing else is
    /// on the screen.
    #[track_caller]
    pub(crate) fn run(&mut self, script: &str) {
        self.send(&format!("run() {{ {script}; }}"));
        self.clear();
        self.send("run");
    }

    /// Clears the screen, and waits for the prompt.
    #[track_caller]
    pub(crate) fn clear(&mut self) {
        self.send("clear");
        let end = Instant::now() + PATIENCE;
        while !self.raw().contains("\u{1b}[H$ ") {
            assert!(Instant::now() < end, "the screen is not cleared: {}", self.raw());
            thread::park_timeout(Duration::from_millis(3));
        }
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.file.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until the screen is as it should be. Returns its text.
    #[track_caller]
    pub(crate) fn see(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut state = self.seen.lock();
        loop {
            let text = state.as_ref().map(Emulator::text).unwrap_or_default();
            if is_there(&text) {
                return text;
            }
            let left = end.saturating_duration_since(Instant::now());
            let raw = || state.as_ref().map(|emulator| emulator.raw.clone());
            assert!(
                !left.is_zero(),
                "waited in vain for {what}; the screen shows:\n{text}\nafter {:?}",
                raw()
            );
            let waited = self.seen.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a row with this text. Returns the row.
    #[track_caller]
    pub(crate) fn see_row(&self, part: &str) -> String {
        let has_part = |row: &&str| row.contains(part);
        // The first row has the command itself.
        let find = |text: &str| text.lines().skip(1).find(has_part).map(str::to_owned);
        let text = self.see(part, |text| find(text).is_some());
        find(&text).expect("it was seen")
    }

    /// Waits for the prompt after a command. Returns the rows between the two: what the command has left
    /// behind.
    #[track_caller]
    pub(crate) fn rows_at_prompt(&self) -> Vec<String> {
        let text = self.see("the prompt", |text| text.lines().count() > 1 && text.ends_with("\n$"));
        let rows: Vec<String> = text.lines().map(|row| row.trim_end().to_owned()).collect();
        rows[1..rows.len() - 1].to_vec()
    }

    /// All that was written since the last line was sent.
    pub(crate) fn raw(&self) -> String {
        self.seen.lock().as_ref().map(|emulator| emulator.raw.clone()).unwrap_or_default()
    }

    /// Looks at the emulator's screen.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.seen.lock().as_ref().expect("it is there").parser.screen())
    }
}

impl Emulator {
    fn text(&self) -> String {
        let screen = self.parser.screen();
        let columns = screen.size().1.get();
        let rows: Vec<String> = screen.rows(0, columns).collect();
        rows.join("\n").trim_end().to_owned()
    }
}
