//! procpool: xargs with warm workers, as a library.
//!
//! A [`Pool`] runs jobs (a command and JSON args) in persistent worker processes, which it speaks to
//! over their stdin and stdout. Workers are started as they are needed, at most
//! [`Builder::max_procs`]; a caller waits for a free one; a worker is replaced after
//! [`Builder::max_reqs`] jobs; one that dies, stalls or talks nonsense costs its own job only.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! // Any program that answers each line with a line `{"result": …}` is a worker.
//! let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
//! let pool = procpool::Pool::builder(worker).max_procs(4).max_reqs(100).build()?;
//! assert_eq!(pool.process("answer", ["everything"]).await?, 42);
//! pool.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! The command `procpool` is a user of this library.
//!
//! # Layout
//!
//! Data flows one way: input → queue → slot → output. A slot pulls; there is no dispatcher.
//!
//! | file | what it owns |
//! |---|---|
//! | `job` | the words all others use: [`Job`], [`Done`], [`Failure`], [`Kind`] |
//! | [`input`] | bytes → jobs |
//! | `queue` | bounded; warm slots first; fair portions; back-pressure |
//! | `pool` | [`Pool`]: the public face; starts slots, shuts them down |
//! | `builder`, `config` | the description of a pool; plain settings |
//! | `calls` | calls that wait for jobs: [`Deferred`], [`Pipeline`] |
//! | `shared` | what all slots of a pool share, and must agree on |
//! | `slot` | one slot: take jobs, keep its worker, deliver the outcomes, recycle |
//! | `warm_up` | what a fresh worker is asked before its first job |
//! | `worker`, `window` | a worker: its process, its requests, its replies; how many it may have |
//! | `command`, `capture` | a command that runs for one job; what it prints, in memory or in a file |
//! | `gates`, `jobserver` | what a job waits for besides a slot: pauses, load, memory, make's tokens |
//! | `interpreter` | the workers for Python, Perl, Node.js, Ruby and sh, which run code as the job |
//! | `process` | processes: groups, pipes, the ladder that ends them; alone in signalling children |
//! | `guardian` | kills the workers if procpool was killed itself |
//! | [`protocol`] | framings and envelopes: pure bytes |
//! | [`output`] | order, spill, formats; alone in writing stdout |
//! | [`journal`] | what came of each job, for a run that goes on where another was cut short |
//! | `durations` | how long jobs took, for the summary and for timeouts by the median |
//! | `clock` | the clock that stands still while the run is stopped |
//! | `usual` | how much of an emptied buffer is worth keeping |
//! | `remedy` | what to do about a worker that holds its replies back |
//! | `program` | whether a program can be run, told before it is |
//!
//! The command itself is `main`, `cli` (its options), `plan` (what they ask for), `run` (one run), `lanes` (several pools in one run), `tally` (what is counted, and
//! may end it), `halt`, `signals`, `inherit`, `files`, `progress` (what goes to stderr) and `exit` (its status).

mod builder;
mod calls;
mod capture;
mod clock;
mod command;
mod config;
mod doubt;
mod durations;
mod gates;
mod guardian;
pub mod input;
mod interpreter;
mod job;
mod jobserver;
pub mod journal;
pub mod output;
mod pool;
mod process;
mod program;
pub mod protocol;
mod queue;
mod remedy;
mod shared;
mod slot;
mod usual;
mod warm_up;
mod window;
mod worker;

pub use builder::{BuildError, Builder};
pub use calls::{Deferred, Pipeline};
pub use capture::{Capture, Printed, Spool};
pub use command::Commands;
pub use config::{Timeout, parse_duration};
pub use durations::Durations;
pub use gates::Limits;
pub use interpreter::{Code, CodeError, Language};
pub use job::{Done, Failure, Job, Kind, Place, Run, Sink, Value, Watcher, printable};
pub use pool::{Feed, Pool};
pub use program::ProgramError;
pub use protocol::Protocol;
pub use queue::Closed;
pub use warm_up::{Init, parse_init};
pub use window::Depth;
