//! What people see on stderr: messages, workers' stderr, and a line that shows how far the run is.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use procpool::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;

use crate::cli::When;

/// How often the line is drawn.
const TICK: Duration = Duration::from_millis(100);

/// How often a line is printed where it can't be drawn over.
const SLOW_TICK: Duration = Duration::from_secs(5);

/// Everything that goes to stderr goes through here, so that it does not mix with the progress
/// line.
#[derive(Debug, Default)]
pub struct Console {
    /// The line, while it is shown.
    bar: Mutex<Option<ProgressBar>>,
    /// The cursor stands behind text that lacks its newline. To draw there would wipe that out.
    is_held: Arc<AtomicBool>,
    /// What a worker wrote last has no end: it waits behind a prompt, say.
    in_line: AtomicBool,
    /// A message has ended that line.
    is_cut: AtomicBool,
}

/// The terminal, where the line is drawn: one row of it.
#[derive(Debug)]
struct Screen {
    is_held: Arc<AtomicBool>,
    /// What is to be written, at once.
    text: Mutex<String>,
}

impl Screen {
    fn push(&self, text: &str) -> io::Result<()> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        let columns = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        let columns = if columns == 0 { 80 } else { columns };
        // In the last column the cursor may go on to the next row, of which nothing would be cleared.
        columns.saturating_sub(1).max(1)
    }

    fn move_cursor_up(&self, _rows: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _rows: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.push(&format!("{text}\n"))
    }

    /// Without the blanks that would fill the row: what the terminal shows behind it, such as `^C`,
    /// would go on to the next row, and stay there.
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(text.trim_end_matches(' '))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner));
        match self.is_held.load(Ordering::Acquire) {
            true => Ok(()),
            false => io::stderr().lock().write_all(text.as_bytes()),
        }
    }
}

impl Console {
    /// A console without a progress line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints a message. Whatever it quotes stays text.
    pub fn say(&self, text: &str) {
        self.print(message(text).as_bytes());
    }

    /// Prints a message that only a person who sits there can use.
    pub fn hint(&self, text: &str) {
        if io::stderr().is_terminal() {
            self.say(text);
        }
    }

    /// Prints whole lines. Nobody is told if stderr is closed: there is no one to tell.
    pub fn print(&self, lines: &[u8]) {
        if self.in_line.swap(false, Ordering::AcqRel) {
            self.is_cut.store(true, Ordering::Release);
            self.write(b"\n");
        }
        self.write(lines);
    }

    /// Prints what a worker wrote to its stderr, which need not be whole lines.
    pub fn pass_on(&self, piece: &[u8]) {
        if self.is_cut.swap(false, Ordering::AcqRel) && piece == b"\n" {
            return;
        }
        self.write(piece);
        self.in_line.store(piece.last() != Some(&b'\n'), Ordering::Release);
    }

    fn write(&self, lines: &[u8]) {
        self.aside(lines, &mut || drop(io::stderr().lock().write_all(lines)));
    }

    /// The terminal, where questions are asked.
    pub fn terminal() -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open("/dev/tty")
    }

    /// Asks a question on the terminal and waits for a line, until `is_over`. Whether the answer was
    /// yes.
    pub fn ask(&self, question: &[u8], is_over: &dyn Fn() -> bool) -> io::Result<bool> {
        let mut terminal = Self::terminal()?;
        let mut answer = Vec::new();
        let mut asked = Ok(());
        self.aside(b"\n", &mut || {
            asked = terminal.write_all(question);
            while asked.is_ok() && !answer.ends_with(b"\n") && !is_over() {
                let mut fds = [PollFd::new(&terminal, PollFlags::IN)];
                let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                if !matches!(poll(&mut fds, Some(&tick)), Ok(1..)) {
                    continue;
                }
                let mut bytes = [0; 64];
                match terminal.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => answer.extend_from_slice(&bytes[..count]),
                    Err(error) => asked = Err(error),
                }
            }
            if !answer.ends_with(b"\n") {
                // Whoever pressed Ctrl-C ended no line.
                let _ = terminal.write_all(b"\n");
            }
        });
        asked.map(|()| answer.trim_ascii().first().is_some_and(|c| c.eq_ignore_ascii_case(&b'y')))
    }

    /// Brings `text` on the terminal while the line is out of the way.
    pub fn aside(&self, text: &[u8], act: &mut dyn FnMut()) {
        let mut act = || {
            act();
            if let Some(last) = text.last() {
                self.is_held.store(*last != b'\n', Ordering::Release);
            }
        };
        let bar = self.lock();
        match &*bar {
            Some(bar) => bar.suspend(act),
            None => act(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message as it is printed. It may have several lines, each of which is made fit for a terminal.
pub fn message(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    format!("procpool: {}\n", lines.join("\n"))
}

/// The progress line, shown until this is dropped.
#[derive(Debug)]
pub struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows how many jobs have succeeded and failed, which `counts` tells.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        when: When,
        console: Arc<Console>,
        counts: impl Fn() -> (u64, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let is_terminal = io::stderr().is_terminal();
        let wanted = match when {
            When::Auto => is_terminal,
            When::Always => true,
            When::Never => false,
        };
        if !wanted {
            return Ok(Self { stop: None, thread: None });
        }
        let (stop, stopped) = channel();
        let thread =
            thread::Builder::new().name("progress".into()).spawn(move || match is_terminal {
                true => draw(&console, &stopped, &counts),
                false => report(&console, &stopped, &counts),
            })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Draws the line over and over, and clears it at the end.
fn draw(console: &Console, stopped: &Receiver<()>, counts: &impl Fn() -> (u64, u64)) {
    let rate = &mut Rate::new();
    // A run that is over in no time shows nothing.
    if stopped.recv_timeout(2 * TICK) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let screen = Screen { is_held: Arc::clone(&console.is_held), text: Mutex::default() };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(screen)));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    *console.lock() = Some(bar.clone());
    loop {
        bar.set_message(line(counts(), rate));
        bar.tick();
        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    bar.finish_and_clear();
    *console.lock() = None;
}

/// Prints a line now and then: for a log, where nothing can be drawn over.
fn report(console: &Console, stopped: &Receiver<()>, counts: &impl Fn() -> (u64, u64)) {
    let rate = &mut Rate::new();
    loop {
        let outcome = stopped.recv_timeout(SLOW_TICK);
        console.say(&line(counts(), rate));
        if outcome != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn line((succeeded, failed): (u64, u64), rate: &mut Rate) -> String {
    let done = succeeded + failed;
    let per_second = rate.update(done);
    let seconds = rate.start.elapsed().as_secs();
    format!(
        "{} done, {}/s, {} failed, {}:{:02}",
        HumanCount(done),
        HumanCount(per_second),
        HumanCount(failed),
        seconds / 60,
        seconds % 60,
    )
}

/// The rate of the last few seconds.
#[derive(Debug)]
struct Rate {
    start: Instant,
    /// What was done when, oldest first: one entry a second or so.
    marks: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// How many seconds count.
    const SPAN: usize = 5;

    fn new() -> Self {
        let start = Instant::now();
        Self { start, marks: VecDeque::from([(start, 0)]) }
    }

    /// Jobs a second.
    fn update(&mut self, done: u64) -> u64 {
        let now = Instant::now();
        if self.marks.back().is_some_and(|(last, _)| now - *last >= Duration::from_secs(1)) {
            self.marks.push_back((now, done));
        }
        if self.marks.len() > Self::SPAN + 1 {
            self.marks.pop_front();
        }
        let (then, before) = self.marks.front().copied().unwrap_or((self.start, 0));
        let millis = u64::try_from((now - then).as_millis()).unwrap_or(u64::MAX).max(1);
        (done - before) * 1000 / millis
    }
}
