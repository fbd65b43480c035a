//! procpool: xargs with warm workers, as a library.
//!
//! A [`Pool`] runs jobs (a command and JSON args) in persistent worker processes. It talks to them over
//! their stdin and stdout. Workers are started when they are needed, at most [`Builder::max_procs`] of
//! them. A caller waits for a free worker. A worker is replaced after [`Builder::max_reqs`] jobs. A
//! worker that dies, stalls or breaks the protocol costs only its own job.
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
//! The command `procpool` uses this library.
//!
//! # Layout
//!
//! Data flows one way: input → queue → slot → output. A slot pulls; there is no dispatcher.
//!
//! Each folder is a layer, and uses only those before it:
//!
//! `util` < `job` < [`command`], [`journal`] < [`protocol`], `process`, [`output`] < `config`,
//! `interpreter` < `worker`, [`input`] < `pool`
//!
//! The first lines of each file say what it owns.

pub mod command;
mod config;
pub mod input;
mod interpreter;
mod job;
pub mod journal;
pub mod output;
mod pool;
mod process;
pub mod protocol;
mod util;
mod worker;

pub use command::Commands;
pub use config::{Depth, Init, Limits, Timeout};
pub use input::job_lines::{InitError, parse_init};
pub use interpreter::{Code, CodeError, CodeFileError, Language};
pub use job::naming::name;
pub use job::printed::{Capture, Printed, Spool};
pub use job::{
    Closed, Done, Failure, Feed, Job, Kind, Place, Run, Sink, Value, Watcher, Why, WorkerEnd,
};
pub use pool::Pool;
pub use pool::builder::{BuildError, Builder};
pub use pool::calls::{Deferred, Pipeline};
pub use pool::gates::Gate;
pub use pool::gates::memory::{FreeMemory, free_memory};
pub use pool::underway::Underway;
pub use process::lookup::{ProgramError, check as check_program, is_shell_word, locate};
pub use protocol::{Protocol, ReplyMessagesError};
pub use util::duration::{DurationError, parse_duration};
pub use util::files;
pub use util::histogram::Durations;
pub use util::similar::similar;
pub use util::text::{printable, printable_bytes};
