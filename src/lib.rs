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

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "unstable-engine"),
    expect(dead_code, unused_imports, reason = "the command uses it")
)]

mod command;
mod config;
#[cfg(feature = "unstable-engine")]
mod input;
mod interpreter;
mod job;
#[cfg(feature = "unstable-engine")]
mod journal;
#[cfg(feature = "unstable-engine")]
mod output;
mod pool;
mod process;
mod protocol;
mod util;
mod worker;

pub use bytes::Bytes;

pub use command::CommandError;
pub use config::{Depth, Timeout};
pub use interpreter::{Code, CodeError, CodeFileError, Language};
pub use job::{Closed, CommandOutput, Failure, Kind};
pub use pool::Pool;
pub use pool::blocking::{Blocking, BlockingOutcomes};
pub use pool::build::BuildError;
pub use pool::builder::Builder;
pub use pool::call::Call;
pub use pool::deferred::Deferred;
pub use pool::pipeline::Pipeline;
pub use pool::stats::{Stats, WorkerState, WorkerStats};
pub use pool::stderr::{StderrText, WorkerStderr};
pub use pool::stream::Outcomes;
pub use process::lookup::ProgramError;
pub use protocol::Protocol;

/// What the command `procpool` is made of besides the public items. It may change in any version.
#[cfg(feature = "unstable-engine")]
#[doc(hidden)]
pub mod engine {
    pub use crate::command::Commands;
    pub use crate::config::{Init, Limits};
    pub use crate::input::job_lines::{InitError, parse_init};
    pub use crate::job::naming::name;
    pub use crate::job::printed::{Capture, Printed, Spool};
    pub use crate::job::{Done, Feed, Job, Place, Run, Sink, Value, Watcher, Why, WorkerEnd};
    pub use crate::pool::underway::Underway;
    pub use crate::process::lookup::{check as check_program, is_shell_word};
    pub use crate::protocol::ReplyMessagesError;
    pub use crate::util::duration::{DurationError, parse_duration};
    pub use crate::util::files;
    pub use crate::util::histogram::Durations;
    pub use crate::util::similar::similar;
    pub use crate::util::text::printable;
    pub use crate::util::wording::name_options;
    pub use crate::{
        BuildError, Builder, Closed, Code, CodeError, CodeFileError, Depth, Failure, Kind, Language,
        Pool, ProgramError, Protocol, Timeout,
    };

    /// A job → the command line that is run for it.
    pub mod command {
        pub use crate::command::*;
    }

    /// Input → jobs.
    pub mod input {
        pub use crate::input::*;
    }

    /// The journal of a run.
    pub mod journal {
        pub use crate::journal::*;
    }

    /// Outcomes → stdout.
    pub mod output {
        pub use crate::output::*;
    }

    /// The protocols of workers.
    pub mod protocol {
        pub use crate::protocol::*;
    }
}
