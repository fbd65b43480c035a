//! How signals end a run: which signal leads to which order, and when the process ends by force.
//! A separate thread does this. It waits for no stream, no job and no file.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};

use crate::exit::Status;
use crate::pools::Pools;
use crate::report::console::Console;
use crate::signals::{Caught, Signals};

/// Signals within this time count as one. coreutils' `timeout` signals its child and then the group, and a wrapper
/// passes on a signal that the terminal has sent to both.
const ONE: Duration = Duration::from_millis(100);

/// Processes that got TERM at the second signal get KILL after this time.
const SECOND_GRACE: Duration = Duration::from_secs(1);

/// After KILL, a run has this time to reap its processes, print the last results and write its files.
const LAST: Duration = Duration::from_secs(5);

/// An order to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalOrder {
    /// Begin no job. Running jobs get TERM after the grace period.
    Stop,
    /// Send TERM to all processes now.
    Terminate,
    /// Send KILL to all processes now.
    Kill,
    /// Print which jobs run, and go on.
    Report,
}

/// The signal that has ended the run, if one has. At the end, the process dies of it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FatalSignal(Arc<AtomicI32>);

impl FatalSignal {
    fn set(&self, signal: i32) {
        self.0.store(signal, Ordering::Release);
    }

    /// How the process ends. `None`: no signal has come.
    pub fn status(&self) -> Option<Status> {
        let signal = self.0.load(Ordering::Acquire);
        (signal != 0).then_some(Status::Signal(signal))
    }
}

/// The parts of a run that signals act on.
pub struct Interrupts {
    pub pools: Pools,
    pub console: Arc<Console>,
    /// Once it is set, no further job begins.
    pub stop: Arc<AtomicBool>,
    pub grace: Duration,
    /// Sends orders to the run.
    pub orders: UnboundedSender<SignalOrder>,
    pub signal: FatalSignal,
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// A handler can't be installed, or the thread can't be started.
    pub fn listen(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::listen()?
        };
        let listener = Listener {
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
                // Without this thread only KILL could end the run.
                if catch_unwind(AssertUnwindSafe(|| runtime.block_on(listener.run()))).is_err() {
                    Status::Trouble.leave();
                }
            })
            .map(drop)
    }
}

/// The state of the thread that listens.
struct Listener {
    reach: Interrupts,
    signals: Signals,
    /// The last order that was sent to end the run. `None`: no signal has ended it.
    stage: Option<SignalOrder>,
    /// The time of the last signal that counted.
    counted: Option<Instant>,
    /// When all processes are killed.
    kill_at: Option<Instant>,
    /// When the process ends, whatever the run is doing.
    leave_at: Option<Instant>,
}

impl Listener {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                caught = self.signals.next() => self.take(caught),
                () = until(self.leave_at) => {
                    self.reach.signal.status().unwrap_or(Status::Trouble).leave();
                }
                () = until(self.kill_at) => self.order(SignalOrder::Kill),
            }
        }
    }

    fn take(&mut self, caught: Caught) {
        match caught {
            Caught::Report => drop(self.reach.orders.send(SignalOrder::Report)),
            Caught::Suspend if self.stage != Some(SignalOrder::Kill) => self.suspend(),
            Caught::Suspend => {}
            Caught::Quit(signal) => self.end(signal, SignalOrder::Kill),
            Caught::End(_) if self.counted.is_some_and(|last| last.elapsed() < ONE) => {}
            Caught::End(signal) => {
                let order = match self.stage {
                    None => SignalOrder::Stop,
                    Some(SignalOrder::Stop) => SignalOrder::Terminate,
                    Some(_) => SignalOrder::Kill,
                };
                self.end(signal, order);
            }
        }
    }

    /// Ends the run by this order. The process will die of the signal.
    fn end(&mut self, signal: i32, order: SignalOrder) {
        self.reach.signal.set(signal);
        // This also ends a question of --confirm, which holds the terminal.
        self.reach.stop.store(true, Ordering::Release);
        self.reach.console.hurry();
        self.order(order);
        self.counted = Some(Instant::now());
    }

    fn order(&mut self, order: SignalOrder) {
        let now = Instant::now();
        let at = match order {
            SignalOrder::Stop => now.checked_add(self.reach.grace.saturating_mul(2)),
            SignalOrder::Terminate => now.checked_add(SECOND_GRACE),
            SignalOrder::Kill | SignalOrder::Report => None,
        };
        self.kill_at = match (self.kill_at, at) {
            (Some(before), Some(at)) => Some(before.min(at)),
            (_, at) => at,
        };
        if order == SignalOrder::Kill {
            self.leave_at.get_or_insert(now + LAST);
        }
        self.stage = Some(order);
        // Sending fails only if the run is already over.
        let _ = self.reach.orders.send(order);
    }

    /// Stops this process and its workers until a CONT. All deadlines move by that time.
    fn suspend(&mut self) {
        let began = Instant::now();
        self.reach.pools.pause();
        self.reach.console.make_way(&mut || self.signals.suspend());
        self.reach.pools.resume();
        let paused = began.elapsed();
        for at in [&mut self.kill_at, &mut self.leave_at, &mut self.counted] {
            *at = at.and_then(|at| at.checked_add(paused));
        }
    }
}

/// Waits until a moment. Without one it waits forever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
