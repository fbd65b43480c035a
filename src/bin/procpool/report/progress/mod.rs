//! The progress of a run on stderr: drawn again and again on a terminal, or printed now and then in a log.

mod bar;
mod facts;
mod layout;
pub mod manner;
mod rate;
mod rows;
mod segments;
pub mod view;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use self::layout::{Glyphs, line};
use self::manner::Manner;
use self::rows::rows;
use self::view::View;
use super::colors::Colors;
use super::console::Console;
use super::stderr::TICK;
use crate::signals::is_in_background;

/// The progress of a run. It is shown until this is dropped.
#[derive(Debug)]
pub struct ProgressLine {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Shows the facts of `view`.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        manner: Manner,
        colors: Colors,
        console: Arc<Console>,
        view: View,
    ) -> io::Result<Self> {
        if manner == Manner::Hidden {
            return Ok(Self { stop: None, thread: None });
        }
        let (stop, stopped) = channel();
        let show = move || match manner {
            Manner::Hidden => {}
            Manner::Drawn { has_rows } => draw(&console, &stopped, view, has_rows, colors),
            Manner::Lines { every, is_asked_for } => {
                print(&console, &stopped, view, every, is_asked_for);
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(show)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Removes it from the terminal.
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

/// Draws it again and again, and removes it at the end.
fn draw(console: &Console, stopped: &Receiver<()>, mut view: View, has_rows: bool, colors: Colors) {
    // A very short run shows nothing.
    if stopped.recv_timeout(2 * TICK) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let glyphs = Glyphs::of_locale(colors);
    loop {
        // In the background the terminal belongs to others.
        if !is_in_background(io::stderr()) {
            let (columns, height) = terminal_size();
            view.look();
            let facts = view.facts();
            let mut shown = vec![line(&facts, columns, &glyphs)];
            if has_rows {
                shown.extend(rows(&view.running(), columns, most_rows(height), &glyphs));
            }
            console.draw(shown, columns);
        }
        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    console.undraw();
}

/// How many rows there may be for running jobs. Where results are on the same screen, half of it is theirs.
fn most_rows(height: usize) -> usize {
    let is_shared = io::stdout().is_terminal();
    let rows = if is_shared { (height / 2).saturating_sub(1) } else { height.saturating_sub(3) };
    rows.max(1)
}

/// How many columns and rows the progress may take. The last column stays free: after it, some terminals go on to
/// the next row.
fn terminal_size() -> (usize, usize) {
    let size = tcgetwinsize(io::stderr()).ok();
    let known = |size: Option<u16>, usual: usize| match size {
        None | Some(0) => usual,
        Some(size) => usize::from(size),
    };
    let columns = known(size.map(|size| size.ws_col), 80);
    (columns.saturating_sub(1).max(1), known(size.map(|size| size.ws_row), 24))
}

/// Prints a line now and then: for a log, where nothing can be drawn over. If it was asked for, there is a line
/// at the end too.
fn print(
    console: &Console,
    stopped: &Receiver<()>,
    mut view: View,
    every: Duration,
    is_asked_for: bool,
) {
    let glyphs = Glyphs::of_locale(Colors::NONE).without_bar();
    let say = |view: &mut View| {
        // In the background a terminal belongs to others.
        if !is_in_background(io::stderr()) {
            view.look();
            console.say(&line(&view.facts(), usize::MAX, &glyphs));
        }
    };
    while waits(stopped, &mut view, every) {
        say(&mut view);
    }
    if is_asked_for {
        say(&mut view);
    }
}

/// Waits for this long. Returns whether the progress is still to be shown.
fn waits(stopped: &Receiver<()>, view: &mut View, time: Duration) -> bool {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(Duration::from_secs(1));
        if stopped.recv_timeout(step) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
        // The rate of the last seconds is known only if somebody looks now and then.
        view.note_rate();
        left = left.saturating_sub(step);
    }
    true
}
