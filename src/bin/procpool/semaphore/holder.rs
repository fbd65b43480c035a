//! Runs the command of a semaphore as the one job of a pool, with the streams of this process. If this process
//! is killed, the guardian of the pool ends the command.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use procpool::engine::{Commands, Done, Feed, Job, Pool, Sink, Watcher};
use tokio::sync::mpsc::unbounded_channel;

use crate::cli::Options;
use crate::exit::Status;
use crate::interrupts::{FatalSignal, Interrupts, SignalOrder};
use crate::lock::lock;
use crate::plan::Plan;
use crate::pools::Pools;
use crate::report::console::Console;
use crate::run::builders;
use crate::run::reporter::Reporter;
use crate::signals;

/// Runs the command. Returns its status.
///
/// # Errors
/// It can't be run.
pub fn run(options: &Options, plan: &Plan) -> anyhow::Result<Status> {
    signals::hear_of_children();
    let (events, _received) = unbounded_channel();
    let reporter = Arc::new(Reporter::new(events));
    let console = Arc::clone(&reporter.console);
    let outcome = Arc::new(CommandEnd::default());
    let sink = Arc::clone(&outcome) as Arc<dyn Sink>;
    let stop = Arc::clone(&reporter.stop);
    let watcher = reporter as Arc<dyn Watcher>;
    let pools = Pools::new(vec![pool(options, plan, &watcher, &sink)?], None);
    let (orders, mut ordered) = unbounded_channel();
    let signal = FatalSignal::default();
    let interrupts = Interrupts {
        pools: pools.clone(),
        console: Arc::clone(&console),
        stop,
        grace: options.failures.grace,
        orders,
        signal: signal.clone(),
    };
    interrupts.listen().context("no signal can be listened to")?;
    pools.feed(&mut vec![Job::words(1, b"")]).ok().context("the command can't be run")?;
    pools.finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        loop {
            tokio::select! {
                Some(order) = ordered.recv() => match order {
                    // There is nothing else to finish, so the command learns of it at once.
                    SignalOrder::Stop | SignalOrder::Terminate => pools.terminate(),
                    SignalOrder::Kill => pools.kill(),
                    SignalOrder::Report => {}
                },
                () = pools.ended() => break,
            }
        }
    });
    Ok(signal.status().unwrap_or_else(|| outcome.status(&console)))
}

/// Checks that the command can be run.
///
/// # Errors
/// It can't.
pub fn check(options: &Options, plan: &Plan) -> anyhow::Result<()> {
    let (events, _received) = unbounded_channel();
    let watcher = Arc::new(Reporter::new(events)) as Arc<dyn Watcher>;
    let sink = Arc::new(CommandEnd::default()) as Arc<dyn Sink>;
    pool(options, plan, &watcher, &sink).map(drop)
}

fn pool(
    options: &Options,
    plan: &Plan,
    watcher: &Arc<dyn Watcher>,
    sink: &Arc<dyn Sink>,
) -> anyhow::Result<Pool> {
    let commands = plan.commands.as_deref().context("there is no command")?;
    let is_interactive = options.commands.semaphore.fg && std::io::stdin().is_terminal();
    let commands = Commands {
        own_output: true,
        own_stdin: options.commands.semaphore.fg,
        tty: is_interactive,
        ..commands.clone()
    };
    builders::of_one_command(commands, options, watcher, sink)
}

/// How the command ended.
#[derive(Debug, Default)]
struct CommandEnd(Mutex<Option<Result<i32, String>>>);

impl CommandEnd {
    /// The status of the command, or a message.
    fn status(&self, console: &Console) -> Status {
        match lock(&self.0).take() {
            Some(Ok(status)) => Status::Command(status),
            Some(Err(message)) => {
                console.say(&message);
                Status::CannotRun
            }
            None => Status::Trouble,
        }
    }
}

impl Sink for CommandEnd {
    fn deliver(&self, done: &Done<'_>) {
        let exit = done.printed.and_then(|printed| printed.exit);
        let signal = done.printed.and_then(|printed| printed.signal).map(|signal| 128 + signal);
        let end = match (exit.or(signal), done.outcome) {
            (Some(status), _) => Ok(status),
            (None, Ok(_)) => Ok(0),
            (None, Err(failure)) => Err(failure.message.clone()),
        };
        *lock(&self.0) = Some(end);
    }

    fn texts(&self, _seq: u64, _count: u64, _texts: &[u8]) {}
}
