//! What people see on stderr: messages, workers' stderr, and a line that shows how far the run is.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use procpool::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;

use crate::cli::When;

/// How often the line is drawn.
const TICK: Duration = Duration::from_millis(100);

/// How often a line is printed where it can't be drawn over.
const SLOW_TICK: Duration = Duration::from_secs(5);

/// What takes the line away, and leaves the cursor where it began.
const CLEAR: &str = "\r\x1b[K";

/// What turns while a run goes on.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Everything that goes to stderr goes through here, so that it does not mix with the progress
/// line.
#[derive(Debug, Default)]
pub struct Console {
    line: Mutex<Line>,
}

/// The progress line, as it is on the terminal.
#[derive(Debug, Default)]
struct Line {
    /// Empty: it is not shown.
    text: String,
    /// The cursor stands behind text that lacks its newline. To draw there would wipe that out.
    is_held: bool,
}

impl Line {
    fn draw(&self) {
        self.put(&self.text);
    }

    fn clear(&self) {
        self.put("");
    }

    /// Nobody is told if stderr is closed: there is no one to tell.
    fn put(&self, text: &str) {
        if !self.text.is_empty() && !self.is_held {
            let _ = io::stderr().lock().write_all(format!("{CLEAR}{text}").as_bytes());
        }
    }

    fn is_behind(&mut self, text: &[u8]) {
        self.is_held = text.last().map_or(self.is_held, |&last| last != b'\n');
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
        let mut line = self.lock();
        line.clear();
        act();
        line.is_behind(text);
        line.draw();
    }

    /// Shows the line; none, if the text is empty.
    fn show(&self, text: String) {
        let mut line = self.lock();
        if text.is_empty() {
            line.clear();
        }
        line.text = text;
        line.draw();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
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
    for spinner in SPINNER.into_iter().cycle() {
        let text = format!("{spinner} {}", line(counts(), rate));
        // In the last column the cursor may go on to the next row, of which nothing would be cleared.
        console.show(text.chars().take(width().saturating_sub(1)).collect());
        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    console.show(String::new());
}

/// How many columns the terminal has.
fn width() -> usize {
    let columns = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { 80 } else { columns.into() }
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
        grouped(done),
        grouped(per_second),
        grouped(failed),
        seconds / 60,
        seconds % 60,
    )
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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
