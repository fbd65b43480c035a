//! Signals end a run, whatever else is stuck. A thread of its own listens to them. It waits for no
//! stream, no job and no file, tells the run what to do, and ends the process itself if the run does not
//! come to its end in time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};

use crate::exit::Status;
use crate::pools::Lanes;
use crate::report::console::Console;
use crate::signals::{Caught, Signals};

/// Signals that come so close together are one: coreutils' `timeout` signals its child and then the group,
/// and a wrapper passes on what the terminal has sent to both.
const ONE: Duration = Duration::from_millis(100);

/// What gets TERM at the second signal gets KILL after so long.
const SECOND_GRACE: Duration = Duration::from_secs(1);

/// A run whose processes were killed has so long to see them gone, to print the rest and to write its files.
const LAST: Duration = Duration::from_secs(5);

/// What a run is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// No job is begun any more. Those that run have the grace period to finish, then they get TERM.
    Stop,
    /// All processes get TERM now.
    Terminate,
    /// All processes get KILL now.
    Kill,
    /// Say what runs, and go on.
    Report,
}

/// What signals can reach.
pub struct Interrupts {
    pub pool: Lanes,
    pub console: Arc<Console>,
    /// Set when no job is to be begun any more.
    pub stop: Arc<AtomicBool>,
    pub grace: Duration,
    /// Where the run listens.
    pub orders: UnboundedSender<Order>,
    /// The signal that the process is to die of; 0: none has come.
    pub signal: Arc<AtomicI32>,
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// A handler can't be installed, or no thread be started.
    pub fn listen(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::listen()?
        };
        let watch = Watch {
            reach: self,
            signals,
            stage: None,
            counted: None,
            kill_at: None,
            leave_at: None,
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                // Without it nothing could end the run but KILL.
                if catch_unwind(AssertUnwindSafe(|| runtime.block_on(watch.run()))).is_err() {
                    Status::Trouble.leave();
                }
            })
            .map(drop)
    }
}

/// How far the end of a run has come, and what comes next.
struct Watch {
    reach: Interrupts,
    signals: Signals,
    /// What the run was told last, to end.
    stage: Option<Order>,
    /// When the last signal was taken notice of.
    counted: Option<Instant>,
    /// When all processes are to be killed…
    kill_at: Option<Instant>,
    /// …and when the process ends, whatever the run is at.
    leave_at: Option<Instant>,
}

impl Watch {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                caught = self.signals.next() => self.take(caught),
                () = until(self.leave_at) => {
                    Status::Signal(self.reach.signal.load(Ordering::Acquire)).leave();
                }
                () = until(self.kill_at) => self.tell(Order::Kill),
            }
        }
    }

    fn take(&mut self, caught: Caught) {
        match caught {
            Caught::Report => drop(self.reach.orders.send(Order::Report)),
            Caught::Suspend if self.stage != Some(Order::Kill) => self.suspend(),
            Caught::Suspend => {}
            Caught::Quit(signal) => self.end(signal, Order::Kill),
            Caught::End(_) if self.counted.is_some_and(|last| last.elapsed() < ONE) => {}
            Caught::End(signal) => {
                let order = match self.stage {
                    None => Order::Stop,
                    Some(Order::Stop) => Order::Terminate,
                    Some(_) => Order::Kill,
                };
                self.end(signal, order);
            }
        }
    }

    /// The run is to end, and the process to die of this signal.
    fn end(&mut self, signal: i32, order: Order) {
        self.reach.signal.store(signal, Ordering::Release);
        // Whoever asks a question has the terminal until then.
        self.reach.stop.store(true, Ordering::Release);
        self.reach.console.hurry();
        self.tell(order);
        self.counted = Some(Instant::now());
    }

    fn tell(&mut self, order: Order) {
        let now = Instant::now();
        let at = match order {
            Order::Stop => now.checked_add(self.reach.grace.saturating_mul(2)),
            Order::Terminate => now.checked_add(SECOND_GRACE),
            Order::Kill | Order::Report => None,
        };
        self.kill_at = match (self.kill_at, at) {
            (Some(before), Some(at)) => Some(before.min(at)),
            (_, at) => at,
        };
        if order == Order::Kill {
            self.leave_at.get_or_insert(now + LAST);
        }
        self.stage = Some(order);
        // If nobody listens, the run is at its end.
        let _ = self.reach.orders.send(order);
    }

    /// Stands still until told to go on. No time passes meanwhile.
    fn suspend(&mut self) {
        let began = Instant::now();
        self.reach.pool.pause();
        self.reach.console.make_way(&mut || self.signals.suspend());
        self.reach.pool.resume();
        let paused = began.elapsed();
        for at in [&mut self.kill_at, &mut self.leave_at, &mut self.counted] {
            *at = at.and_then(|at| at.checked_add(paused));
        }
    }
}

/// Waits for a moment, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
