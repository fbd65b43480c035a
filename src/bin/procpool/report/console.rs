//! The turns on stderr and on the terminal: messages, workers' stderr, questions and the progress line do not mix.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procpool::engine::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::canvas::Canvas;
use super::progress::manner::Surroundings;
use super::stderr::{StderrStream, TICK};
use crate::lock::lock;

/// Ctrl-Z stops the process after this time at the latest, even if somebody is writing.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);

/// After results have gone to a pipe, the progress line comes back when there was none for this long.
const QUIET: Duration = Duration::from_millis(200);

/// The way of all text to stderr. One writes at a time. Until [`Console::hurry`] is called, the others wait.
#[derive(Debug)]
pub struct Console {
    turns: Mutex<ConsoleTurns>,
    /// Notified when a turn is over, and when nobody is to wait much longer.
    free: Condvar,
    /// The last text of a worker has no newline at its end: a prompt, for example.
    in_line: AtomicBool,
    /// A message has ended that line.
    is_cut: AtomicBool,
    /// stdout is a pipe to a program that may write to the same terminal.
    is_piped: bool,
    stderr: StderrStream,
}

#[derive(Debug, Default)]
struct ConsoleTurns {
    /// Somebody has the turn.
    is_taken: bool,
    /// The number of those who wait for it.
    waiting: usize,
    /// Where the progress is drawn.
    canvas: Canvas,
    /// Results are being written to a pipe.
    is_piping: bool,
    /// When results were last written to a pipe.
    piped: Option<Instant>,
}

impl Console {
    /// A console without a progress line.
    pub fn new() -> Self {
        Self {
            turns: Mutex::default(),
            free: Condvar::new(),
            in_line: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            is_piped: Surroundings::of(&[]).may_meet_others(),
            stderr: StderrStream::new(),
        }
    }

    /// The run is to end: from now on nobody waits without a limit for stderr, or for the turn.
    pub fn hurry(&self) {
        self.stderr.hurry();
        self.lock().canvas.pressed_key();
        self.free.notify_all();
    }

    /// Prints a message. Text that it quotes can't control the terminal.
    pub fn say(&self, text: &str) {
        self.print(message(text).as_bytes());
    }

    /// Prints a message that is useful only at a terminal.
    pub fn hint(&self, text: &str) {
        if io::stderr().is_terminal() {
            self.say(text);
        }
    }

    /// Prints whole lines. If stderr is closed, they are lost.
    pub fn print(&self, lines: &[u8]) {
        if self.in_line.swap(false, Ordering::AcqRel) {
            self.is_cut.store(true, Ordering::Release);
            self.write(b"\n");
        }
        if self.is_piped {
            // The next program of the pipe may have drawn its progress in the same rows.
            let lines: Vec<&[u8]> = lines.split(|&byte| byte == b'\n').collect();
            self.write(&lines.join(&b"\x1b[K\n"[..]));
        } else {
            self.write(lines);
        }
    }

    /// Prints text from the stderr of a worker, which need not be whole lines.
    pub fn pass_on(&self, piece: &[u8]) {
        if self.is_cut.swap(false, Ordering::AcqRel) && piece == b"\n" {
            return;
        }
        self.write(piece);
        self.in_line.store(piece.last() != Some(&b'\n'), Ordering::Release);
    }

    fn write(&self, lines: &[u8]) {
        if let Some(turn) = self.turn(Duration::MAX) {
            turn.aside(lines, &mut || self.stderr.write(lines, true));
        }
    }

    /// Opens the terminal, where questions are asked.
    ///
    /// # Errors
    /// The process has no terminal.
    pub fn terminal() -> io::Result<File> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty")
    }

    /// Asks a question on the terminal and waits for a line, until `is_over`. Returns whether the answer was yes.
    ///
    /// # Errors
    /// The terminal can't be read or written.
    pub fn ask(&self, question: &[u8], is_over: &dyn Fn() -> bool) -> io::Result<bool> {
        let mut terminal = Self::terminal()?;
        let mut answer = Ok(Vec::new());
        self.aside(b"\n", &mut || {
            answer = converse(&mut terminal, question, is_over);
            if !answer.as_ref().is_ok_and(|answer| answer.ends_with(b"\n")) {
                // Ctrl-C has ended no line.
                let _ = terminal.write_all(b"\n");
            }
        });
        let answer = answer?;
        Ok(answer.trim_ascii().first().is_some_and(|c| c.eq_ignore_ascii_case(&b'y')))
    }

    /// Runs `act`, which brings `text` on the terminal, while the progress line is out of the way.
    pub fn aside(&self, text: &[u8], act: &mut dyn FnMut()) {
        match self.turn(Duration::MAX) {
            Some(turn) => turn.aside(text, act),
            // stderr was given up. So nobody else writes there.
            None => act(),
        }
    }

    /// Runs `act` while the progress line is out of the way, and does not bring it back: this process may be in the
    /// background then. Waits only briefly for another that writes.
    pub fn make_way(&self, act: &mut dyn FnMut()) {
        let turn = self.turn(SHORT_PATIENCE);
        if turn.is_some() {
            self.erase();
            self.lock().canvas.wrote(b"\n");
        }
        act();
    }

    /// Runs `write`, which writes results to a pipe. Its reader may bring them on the terminal, so the progress line
    /// goes away until there has been no result for a while.
    pub fn beside_pipe(&self, write: &mut dyn FnMut()) {
        if !self.is_piped || !self.lock().canvas.is_in_use() {
            return write();
        }
        let mut turns = self.lock();
        turns.is_piping = true;
        let is_drawn = turns.canvas.is_drawn();
        drop(turns);
        if is_drawn && let Some(_turn) = self.turn(SHORT_PATIENCE) {
            self.erase();
        }
        write();
        let mut turns = self.lock();
        turns.is_piping = false;
        turns.piped = Some(Instant::now());
    }

    /// Draws the progress in place of the last drawing, unless somebody else writes to the terminal.
    pub(super) fn draw(&self, rows: Vec<String>, columns: usize) {
        // This does not wait for the turn, which another may keep for long.
        let Some(_turn) = self.turn(Duration::ZERO) else { return };
        let mut turns = self.lock();
        let is_quiet = turns.piped.is_none_or(|piped| piped.elapsed() >= QUIET);
        // A terminal that is held up by Ctrl-S has no room.
        if !turns.is_piping && is_quiet && self.stderr.has_room(Duration::ZERO) {
            let text = turns.canvas.draw(rows, columns);
            drop(turns);
            self.stderr.write(text.as_bytes(), true);
        }
    }

    /// Removes the progress for good.
    pub(super) fn undraw(&self) {
        let turn = self.turn(Duration::MAX);
        self.lock().canvas.forget();
        if turn.is_some() {
            self.erase();
        }
    }

    /// Erases the progress. The caller has the turn.
    fn erase(&self) {
        let text = self.lock().canvas.erase();
        self.stderr.write(text.as_bytes(), true);
    }

    /// Waits for the turn. `None`: it did not come in time.
    pub(super) fn turn(&self, patience: Duration) -> Option<Turn<'_>> {
        let mut turns = self.lock();
        if turns.is_taken {
            let begin = Instant::now();
            while turns.is_taken {
                let left = patience.saturating_sub(begin.elapsed());
                if left.is_zero() || self.stderr.is_given_up(begin) {
                    return None;
                }
                turns.waiting += 1;
                let is_patient = !self.stderr.is_hurried() && patience == Duration::MAX;
                turns = if is_patient {
                    self.free.wait(turns).unwrap_or_else(PoisonError::into_inner)
                } else {
                    let waited = self.free.wait_timeout(turns, left.min(TICK));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                };
                turns.waiting -= 1;
            }
        }
        turns.is_taken = true;
        Some(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, ConsoleTurns> {
        lock(&self.turns)
    }
}

/// The right to write to the terminal, until it is dropped.
pub(super) struct Turn<'a>(&'a Console);

impl Turn<'_> {
    fn aside(&self, text: &[u8], act: &mut dyn FnMut()) {
        let console = self.0;
        let erased = console.lock().canvas.erase();
        console.stderr.write(erased.as_bytes(), true);
        act();
        let mut turns = console.lock();
        turns.canvas.wrote(text);
        if !erased.is_empty() {
            let again = turns.canvas.redraw();
            drop(turns);
            console.stderr.write(again.as_bytes(), true);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.lock();
        turns.is_taken = false;
        if turns.waiting > 0 {
            self.0.free.notify_one();
        }
    }
}

/// Writes a question to the terminal, and reads a line from there. The line is not complete if the terminal was
/// closed, or if it `is_over`.
fn converse(
    terminal: &mut File,
    question: &[u8],
    is_over: &dyn Fn() -> bool,
) -> io::Result<Vec<u8>> {
    let mut unasked = question;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") && !is_over() {
        let asks = !unasked.is_empty();
        let wanted = if asks { PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(terminal, wanted)];
        let tick = Timespec::try_from(TICK).ok();
        if !matches!(poll(&mut fds, tick.as_ref()), Ok(1..)) {
            continue;
        }
        let mut bytes = [0; 64];
        let moved = if asks { terminal.write(unasked) } else { terminal.read(&mut bytes) };
        match moved {
            Ok(0) => break,
            Ok(count) if asks => unasked = &unasked[count..],
            Ok(count) => answer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// A message as it is printed. Each of its lines is made fit for a terminal.
pub fn message(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    format!("procpool: {}\n", lines.join("\n"))
}
