//! The progress line on stderr: drawn over and over on a terminal, printed now and then elsewhere.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::tcgetwinsize;

use super::console::Console;
use super::stderr::{StderrStream, TICK};
use crate::cli::values::When;
use crate::lock::lock;

/// How often a line is printed where it can't be drawn over.
const SLOW_TICK: Duration = Duration::from_secs(5);

/// The progress line. It is shown until this is dropped.
#[derive(Debug)]
pub struct ProgressLine {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Shows how many jobs have succeeded and failed. `counts` returns both numbers.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        when: When,
        console: Arc<Console>,
        counts: impl Fn() -> (u64, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let is_terminal = io::stderr().is_terminal();
        let is_shown = match when {
            When::Auto => is_terminal,
            When::Always => true,
            When::Never => false,
        };
        if !is_shown {
            return Ok(Self { stop: None, thread: None });
        }
        let (stop, stopped) = channel();
        let show = move || {
            if is_terminal {
                draw(&console, &stopped, &counts);
            } else {
                print(&console, &stopped, &counts);
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(show)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Removes the line from the terminal.
    pub fn clear(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Draws the line over and over, and clears it at the end.
fn draw(console: &Console, stopped: &Receiver<()>, counts: &impl Fn() -> (u64, u64)) {
    let rate = &mut Rate::new();
    // A very short run shows nothing.
    if stopped.recv_timeout(2 * TICK) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let is_held = Arc::clone(&console.is_held);
    let stderr = Arc::clone(&console.stderr);
    let screen = ProgressRow { is_held, stderr, text: Mutex::default() };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(screen)));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    console.show(bar.clone());
    loop {
        let text = line(counts(), rate);
        // This does not wait for the turn, which another may keep for long.
        if let Some(_turn) = console.turn(Duration::ZERO) {
            bar.set_message(text);
            bar.tick();
        }
        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    let turn = console.turn(Duration::MAX);
    console.hide();
    if turn.is_some() {
        bar.finish_and_clear();
    }
}

/// Prints a line now and then: for a log, where nothing can be drawn over.
fn print(console: &Console, stopped: &Receiver<()>, counts: &impl Fn() -> (u64, u64)) {
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
    /// The number of jobs that were done at a moment, the oldest first: about one entry a second.
    marks: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// The number of seconds that count.
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

/// The row of the terminal in which the line is drawn.
#[derive(Debug)]
struct ProgressRow {
    /// The cursor is at the end of text without a newline. Drawing there would wipe the text out.
    is_held: Arc<AtomicBool>,
    stderr: Arc<StderrStream>,
    /// The text that the next flush writes at once.
    text: Mutex<String>,
}

impl ProgressRow {
    fn push(&self, text: &str) -> io::Result<()> {
        lock(&self.text).push_str(text);
        Ok(())
    }
}

impl TermLike for ProgressRow {
    fn width(&self) -> u16 {
        let columns = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        let columns = if columns == 0 { 80 } else { columns };
        // After the last column the cursor may go on to the next row, which is never cleared.
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

    /// Writes the text without the blanks that would fill the row. After them, what the terminal shows itself,
    /// such as `^C`, would go on to the next row, and stay there.
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(text.trim_end_matches(' '))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *lock(&self.text));
        if !self.is_held.load(Ordering::Acquire) {
            // The line is drawn again soon. So nothing waits for this write.
            self.stderr.write(text.as_bytes(), false);
        }
        Ok(())
    }
}
