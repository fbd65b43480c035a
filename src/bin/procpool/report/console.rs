//! What people see on stderr: messages, workers' stderr, and a line that shows how far the run is.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use procpool::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};
use rustix::io::Errno;
use rustix::stdio::stderr;
use rustix::termios::tcgetwinsize;

use crate::cli::values::When;
use crate::signals::writes_in_vain;

/// How often the line is drawn.
const TICK: Duration = Duration::from_millis(100);

/// How often a line is printed where it can't be drawn over.
const SLOW_TICK: Duration = Duration::from_secs(5);

/// Once the run is to end, so long is waited for a stderr that takes nothing; then it is given up.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who stops the process on Ctrl-Z waits no longer than this for whoever writes just then.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);

/// Where the system may hold up a write that is longer, no more than this is written at a time.
const PIECE: usize = 512;

/// Everything that goes to stderr goes through here, so that it does not mix with the progress
/// line. One writes at a time. Until [`Console::hurry`] is called, the others wait.
#[derive(Debug)]
pub struct Console {
    state: Mutex<State>,
    /// Told when a turn is over, and when nobody is to wait much longer.
    free: Condvar,
    /// The cursor stands behind text that lacks its newline. To draw there would wipe that out.
    is_held: Arc<AtomicBool>,
    /// What a worker wrote last has no end: it waits behind a prompt, say.
    in_line: AtomicBool,
    /// A message has ended that line.
    is_cut: AtomicBool,
    stderr: Arc<Stderr>,
}

#[derive(Debug, Default)]
struct State {
    /// It is somebody's turn…
    is_taken: bool,
    /// …and so many wait for theirs.
    waiting: usize,
    /// The line, while it is shown.
    bar: Option<ProgressBar>,
}

/// stderr, which perhaps nobody reads, or which is a terminal that was told to hold on (Ctrl-S).
#[derive(Debug)]
struct Stderr {
    /// The same pipe, opened anew, so that no write to it waits and that concerns nobody else.
    own: Option<OwnedFd>,
    /// A write to what was given as stderr may wait.
    may_block: bool,
    /// When the run was told to end.
    hurried: OnceLock<Instant>,
    /// It was waited for in vain, so nobody waits for it any more.
    is_deaf: AtomicBool,
}

impl Stderr {
    fn new() -> Self {
        let stat = fstat(stderr());
        let kind = stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // Elsewhere to open it anew may be to have the same once more, with all its settings.
        let may_open = cfg!(target_os = "linux") && kind == Ok(FileType::Fifo);
        let own = may_open.then(|| open("/proc/self/fd/2", flags, Mode::empty()).ok()).flatten();
        let is_same = |own: &OwnedFd| {
            let place = |stat: Stat| (stat.st_dev, stat.st_ino);
            fstat(own).map(place) == stat.map(place)
        };
        Self {
            own: own.filter(is_same),
            may_block: kind != Ok(FileType::RegularFile),
            hurried: OnceLock::new(),
            is_deaf: AtomicBool::new(false),
        }
    }

    /// Writes all of it. Waits for room, but once the run is to end, not much longer; then the rest is
    /// dropped.
    fn write(&self, mut bytes: &[u8], waits: bool) {
        if self.hurried.get().is_some() && writes_in_vain() {
            return;
        }
        while !bytes.is_empty() {
            match self.write_some(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    if self.is_deaf.load(Ordering::Relaxed) {
                        self.is_deaf.store(false, Ordering::Relaxed);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if waits && self.has_come_to_room() => {}
                // There is no one to tell.
                Err(_) => return,
            }
        }
    }

    fn write_some(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match &self.own {
            Some(own) => rustix::io::write(own, bytes),
            None if !self.may_block => rustix::io::write(stderr(), bytes),
            None if self.has_room(Duration::ZERO) => {
                rustix::io::write(stderr(), &bytes[..bytes.len().min(PIECE)])
            }
            None => Err(Errno::AGAIN),
        }
    }

    /// Waits until something can be written. Returns whether it can.
    fn has_come_to_room(&self) -> bool {
        let begin = Instant::now();
        while !self.is_given_up(begin) {
            if self.has_room(TICK) {
                return true;
            }
        }
        false
    }

    /// Whether one who has waited since `begin` is to wait no longer.
    fn is_given_up(&self, begin: Instant) -> bool {
        let Some(hurried) = self.hurried.get() else { return false };
        let is_over = begin.max(*hurried).elapsed() >= PATIENCE;
        if is_over {
            self.is_deaf.store(true, Ordering::Relaxed);
        }
        is_over || self.is_deaf.load(Ordering::Relaxed)
    }

    fn has_room(&self, patience: Duration) -> bool {
        let fd = self.own.as_ref().map_or(stderr(), AsFd::as_fd);
        let patience = Timespec::try_from(patience).ok();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        matches!(poll(&mut fds, patience.as_ref()), Ok(1..))
    }
}

/// The terminal, where the line is drawn: one row of it.
#[derive(Debug)]
struct Screen {
    is_held: Arc<AtomicBool>,
    stderr: Arc<Stderr>,
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
        if !self.is_held.load(Ordering::Acquire) {
            // It is drawn again soon: nothing waits for that.
            self.stderr.write(text.as_bytes(), false);
        }
        Ok(())
    }
}

impl Console {
    /// A console without a progress line.
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            free: Condvar::new(),
            is_held: Arc::default(),
            in_line: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            stderr: Arc::new(Stderr::new()),
        }
    }

    /// The run is to end: from now on nobody waits without a bound for stderr, or for whoever writes to it.
    pub fn hurry(&self) {
        let _ = self.stderr.hurried.set(Instant::now());
        drop(self.lock());
        self.free.notify_all();
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
        if let Some(turn) = self.turn(Duration::MAX) {
            turn.aside(lines, &mut || self.stderr.write(lines, true));
        }
    }

    /// The terminal, where questions are asked.
    pub fn terminal() -> io::Result<File> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty")
    }

    /// Asks a question on the terminal and waits for a line, until `is_over`. Whether the answer was
    /// yes.
    pub fn ask(&self, question: &[u8], is_over: &dyn Fn() -> bool) -> io::Result<bool> {
        let mut terminal = Self::terminal()?;
        let mut answer = Vec::new();
        let mut asked = Ok(());
        let mut rest = question;
        self.aside(b"\n", &mut || {
            while asked.is_ok() && !answer.ends_with(b"\n") && !is_over() {
                let wanted = if rest.is_empty() { PollFlags::IN } else { PollFlags::OUT };
                let mut fds = [PollFd::new(&terminal, wanted)];
                let tick = Timespec::try_from(TICK).ok();
                if !matches!(poll(&mut fds, tick.as_ref()), Ok(1..)) {
                    continue;
                }
                let mut bytes = [0; 64];
                let moved =
                    if rest.is_empty() { terminal.read(&mut bytes) } else { terminal.write(rest) };
                match moved {
                    Ok(0) => break,
                    Ok(count) if rest.is_empty() => answer.extend_from_slice(&bytes[..count]),
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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
        match self.turn(Duration::MAX) {
            Some(turn) => turn.aside(text, act),
            // Nobody writes to stderr any more that would be in its way.
            None => act(),
        }
    }

    /// Acts while the line is out of the way, or after a moment where something else is.
    pub fn make_way(&self, act: &mut dyn FnMut()) {
        match self.turn(SHORT_PATIENCE) {
            Some(turn) => turn.aside(b"\n", act),
            None => act(),
        }
    }

    /// Waits for a turn; `None`: it did not come.
    fn turn(&self, patience: Duration) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if state.is_taken {
            let begin = Instant::now();
            while state.is_taken {
                let left = patience.saturating_sub(begin.elapsed());
                if left.is_zero() || self.stderr.is_given_up(begin) {
                    return None;
                }
                state.waiting += 1;
                let is_patient = self.stderr.hurried.get().is_none() && patience == Duration::MAX;
                state = if is_patient {
                    self.free.wait(state).unwrap_or_else(PoisonError::into_inner)
                } else {
                    let waited = self.free.wait_timeout(state, left.min(TICK));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                };
                state.waiting -= 1;
            }
        }
        state.is_taken = true;
        Some(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write to the terminal, until it is dropped.
struct Turn<'a>(&'a Console);

impl Turn<'_> {
    fn aside(&self, text: &[u8], act: &mut dyn FnMut()) {
        let mut act = || {
            act();
            if let Some(last) = text.last() {
                self.0.is_held.store(*last != b'\n', Ordering::Release);
            }
        };
        let bar = self.0.lock().bar.clone();
        match bar {
            Some(bar) => bar.suspend(act),
            None => act(),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_taken = false;
        if state.waiting > 0 {
            self.0.free.notify_one();
        }
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
    let (is_held, stderr) = (Arc::clone(&console.is_held), Arc::clone(&console.stderr));
    let screen = Screen { is_held, stderr, text: Mutex::default() };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(screen)));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    console.lock().bar = Some(bar.clone());
    loop {
        let text = line(counts(), rate);
        // Whoever has the turn may have it for long.
        if let Some(_turn) = console.turn(Duration::ZERO) {
            bar.set_message(text);
            bar.tick();
        }
        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    let turn = console.turn(Duration::MAX);
    console.lock().bar = None;
    if turn.is_some() {
        bar.finish_and_clear();
    }
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
