//! Implements the traits by which pools and the output report to the run: messages, questions, events.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use procpool::engine::output::{Screen, Trouble};
use procpool::engine::{Failure, Watcher, WorkerEnd, printable};
use tokio::sync::mpsc::UnboundedSender;

use super::events::Event;
use crate::lock::lock;
use crate::report::console::Console;
use crate::report::reports::Reports;
use crate::signals;
use crate::terminal;

/// Passes messages on to the console, and events to the run.
pub struct Reporter {
    pub console: Arc<Console>,
    events: UnboundedSender<Event>,
    /// Results and messages are on the same screen.
    stdout_is_terminal: bool,
    /// Set when no job is to be begun any more.
    pub stop: Arc<AtomicBool>,
    /// Held while a question is asked. Only one is asked at a time.
    asking: Mutex<()>,
    /// Lost output was reported. What happens to one slot often happens to the others.
    has_lost: AtomicBool,
    /// The reports that count workers.
    reports: OnceLock<Arc<Reports>>,
}

impl Reporter {
    /// A reporter of a run that listens at the other end of `events`.
    pub fn new(events: UnboundedSender<Event>) -> Self {
        Self {
            console: Arc::new(Console::new()),
            events,
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stop: Arc::new(AtomicBool::new(false)),
            asking: Mutex::new(()),
            has_lost: AtomicBool::new(false),
            reports: OnceLock::new(),
        }
    }

    /// Sets the reports that count workers.
    pub fn report_to(&self, reports: &Arc<Reports>) {
        // It is set once.
        let _ = self.reports.set(Arc::clone(reports));
    }

    /// The queue can't be used any more.
    #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "there is no queue"))]
    pub fn queue_failed(&self, message: String) {
        self.send(Event::Queue(message));
    }

    fn send(&self, event: Event) {
        // If nobody listens, the run is over.
        let _ = self.events.send(event);
    }
}

impl Watcher for Reporter {
    fn worker_stderr(&self, lines: &[u8]) {
        self.console.pass_on(lines);
    }

    fn note(&self, text: &str) {
        self.console.say(text);
    }

    fn doubtful(&self, text: &str) {
        self.console.say(text);
        self.send(Event::Doubtful);
    }

    fn terminal_wanted(&self) {
        terminal::silence();
    }

    fn may_stop(&self) -> bool {
        signals::can_be_continued()
    }

    fn interrupted(&self, signal: i32) {
        // The listener takes it as if it had come from the terminal.
        let _ = signal_hook::low_level::raise(signal);
    }

    fn start_limit_reached(&self, failure: &Failure) {
        self.send(Event::StartLimit(failure.clone()));
    }

    fn worker_ended(&self, worker: &WorkerEnd) {
        if let Some(reports) = self.reports.get() {
            reports.add_worker(worker);
        }
    }

    fn output_lost(&self, message: &str) {
        if !self.has_lost.swap(true, Ordering::AcqRel) {
            self.send(Event::Output(Trouble::Disordered(message.to_owned())));
        }
    }

    fn confirms(&self, command: &[u8]) -> bool {
        let _asking = lock(&self.asking);
        let is_over = || self.stop.load(Ordering::Acquire);
        if is_over() {
            return false;
        }
        // The user must see exactly what they confirm.
        let shown = printable(&String::from_utf8_lossy(command));
        let question = [shown.as_bytes(), b" ?..."].concat();
        match self.console.ask(&question, &is_over) {
            Ok(is_confirmed) => is_confirmed && !is_over(),
            Err(error) => {
                let message = format!("--confirm has no terminal to ask on: {error}");
                self.send(Event::Output(Trouble::Disordered(message)));
                false
            }
        }
    }
}

impl Screen for Reporter {
    fn failure(&self, lines: &[u8]) {
        self.console.print(lines);
    }

    fn around_write(&self, text: &[u8], write: &mut dyn FnMut()) {
        if self.stdout_is_terminal {
            self.console.aside(text, write);
        } else {
            // The write may block, and messages must not wait for it.
            self.console.beside_pipe(write);
        }
    }

    fn trouble(&self, trouble: Trouble) {
        self.send(Event::Output(trouble));
    }
}
