//! A pool of warm worker processes: jobs run in programs that were started before, in any language.
//!
//! # A whole worker
//!
//! Any program that reads a line of JSON and answers with a line of JSON is a worker. `worker.py`:
//!
//! ```python
//! import json, sys
//!
//! for line in sys.stdin:                            # {"id":1,"cmd":"count","args":["a.txt"]}
//!     args = json.loads(line)["args"]
//!     try:
//!         with open(args[0]) as file:
//!             reply = {"result": len(file.read().split())}
//!     except OSError as error:
//!         reply = {"error": str(error)}             # The job fails, and the worker goes on.
//!     print(json.dumps(reply), flush=True)          # One line, at once.
//! ```
//!
//! # A whole program
//!
//! ```toml
//! [dependencies]
//! procpool = { version = "0.2", default-features = false }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! It counts the words of two files, `a.txt` and `b.txt`, which lie beside `worker.py`:
//!
//! ```
//! # const WORKER: &str = r#"import json, sys
//! # for line in sys.stdin:
//! #     print(json.dumps({"result": len(json.loads(line)["args"][0])}), flush=True)"#;
//! use procpool::{Failure, Pool};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     # let folder = std::env::temp_dir().join(format!("procpool-doc-{}", std::process::id()));
//!     # std::fs::create_dir_all(&folder)?;
//!     # std::fs::write(folder.join("worker.py"), WORKER)?;
//!     # std::env::set_current_dir(&folder)?;
//!     # if std::process::Command::new("python3").arg("-V").output().is_err() { return Ok(()); }
//!     let pool = Pool::builder("python3 worker.py").max_procs(4).max_reqs(1000).build()?;
//!
//!     // One job: waits for a free worker, then for its reply, which is read as the type of `words`.
//!     let words: u64 = pool.process("count", ["a.txt"]).await?;
//!     println!("{words} words");
//!
//!     // Many jobs at a time; the outcomes are in the order of the args.
//!     let counts: Vec<Result<u64, Failure>> = pool.map("count", [["a.txt"], ["b.txt"]]).await;
//!     for count in counts {
//!         match count {
//!             Ok(words) => println!("{words} words"),
//!             Err(failure) => println!("{failure}"),
//!         }
//!     }
//!
//!     // Ends all workers. The next job would start new ones.
//!     pool.shutdown().await;
//!     # std::fs::remove_dir_all(&folder)?;
//!     Ok(())
//! }
//! ```
//!
//! Workers are started as they are needed, up to [`Builder::max_procs`]. A call waits for a free worker. If a
//! worker dies, hangs or prints nonsense, only the job that it was running fails. A worker is replaced after
//! [`Builder::max_reqs`] jobs. Its replacement is started before that, so that no job waits.
//!
//! | you have | you call |
//! |---|---|
//! | one job | [`Pool::process`]; with a timeout, retries, a key of its own: [`Pool::call`] |
//! | one job, awaited later | [`Pool::defer`] |
//! | a list of jobs | [`Pool::map`] |
//! | a list whose outcomes don't fit into memory | [`Pool::stream`] |
//! | tasks that make jobs, and others that take outcomes | [`Pool::pipeline`] |
//! | threads, and no runtime | [`Pool::blocking`] |
//!
//! # Protocol
//!
//! By default a request is one line, `{"id":1,"cmd":"count","args":["a.txt"]}`, and so is its reply:
//! `{"result":…}` with any JSON, or `{"error":…}` with a text or any JSON. `args` is what serde makes of
//! the args of the call: a tuple or a list becomes an array, a struct an object, `()` becomes `null`. A reply
//! with the request's `id` answers that request; one without answers the oldest. A worker must flush its
//! stdout after each reply, print nothing but replies there, and exit when its stdin ends.
//!
//! A worker gets one request at a time unless [`Builder::depth`] says otherwise. Programs that exist speak
//! other protocols: [`Protocol::RAW`] is for filters, a line in and a line out; [`Protocol::JSONRPC`] for
//! language servers and the like; [`Protocol::BAZEL`] for Bazel's workers; [`Protocol::DAP`] for debug adapters.
//!
//! A result is read as any type that serde can read. `Box<RawValue>` of serde_json (its feature `raw_value`)
//! takes the JSON as it came: large numbers, the order of keys and deep nesting are kept. The replies of [`Protocol::RAW`] are read as
//! [`String`] or [`Bytes`].
//!
//! # Code
//!
//! [`Pool::code`] needs no worker program: it keeps interpreters that run an expression or call the functions
//! of a file.
//!
//! ```
//! # if std::process::Command::new("python3").arg("-V").output().is_err() { return Ok(()); }
//! use procpool::{Code, Pool};
//!
//! let pool = Pool::code(&Code::python("re.sub('[aeiou]', '', x)").setup("import re")).build()?;
//! assert_eq!(pool.blocking().process::<String>("", ["a banana"])?, " bnn");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Commands
//!
//! [`Pool::command`] and [`Pool::commands`] start a process for each job. The result is a [`CommandOutput`]
//! with stdout and stderr as bytes. A command that fails is a [`Kind::Exit`]; [`Failure::exit_code`] and
//! [`Failure::output`] tell more. Large output is kept in a temporary file until the command has ended.
//!
//! # Errors
//!
//! [`Builder::build`] returns a [`BuildError`] for settings that make no sense. Each call returns its result or
//! a [`Failure`] of some [`Kind`]:
//!
//! | kind | what happened | did the job run? |
//! |---|---|---|
//! | [`Invalid`](Kind::Invalid) | the args can't be written as JSON | no |
//! | [`Error`](Kind::Error) | the worker replied with an error: [`Failure::data`] | yes |
//! | [`Exit`](Kind::Exit) | the command failed: [`Failure::exit_code`], [`Failure::output`] | yes |
//! | [`Crash`](Kind::Crash) | the worker died | in part |
//! | [`Timeout`](Kind::Timeout) | it took longer than it may, or was silent for too long, and its worker was ended | in part |
//! | [`Memory`](Kind::Memory) | its processes used more memory than [`Builder::max_memory`], and were killed | in part |
//! | [`Protocol`](Kind::Protocol) | the worker printed something that is no reply, and was ended | perhaps |
//! | [`Spawn`](Kind::Spawn) | the worker or the command could not be started | no |
//! | [`Cancelled`](Kind::Cancelled) | it was running when the pool was shut down or dropped | in part |
//! | [`Unstarted`](Kind::Unstarted) | it was still waiting when the pool was shut down or dropped | no |
//! | [`Expired`](Kind::Expired) | it waited for longer than [`Builder::queue_timeout`] | no |
//! | [`Full`](Kind::Full) | [`Builder::max_queue`] calls wait already | no |
//! | [`Mismatch`](Kind::Mismatch) | its result is not of the type that you ask for | yes |
//!
//! [`Failure::may_retry`] tells whether it is certain that the job was not begun. With [`Builder::retries`], the
//! pool tries again after failures that may pass. If a worker dies before it has read a job, no job fails: another
//! worker is started. After [`Builder::start_limit`] such starts in a row, the calls that wait fail.
//!
//! # Cancellation
//!
//! Dropping a future cancels what it waits for:
//!
//! | you drop | what happens |
//! |---|---|
//! | [`Pool::process`], [`Call::run`], a [`Deferred`] | a job that waits leaves the queue at once, and its args are freed; a running one has [`Builder::cancel_grace`] to end, then its worker is ended |
//! | [`Pool::map`], [`Outcomes`] | the same for all jobs that it has begun |
//! | [`Outcomes::next`], [`Pipeline::next`] | nothing is lost |
//! | [`Pipeline::queue`] | nothing is queued |
//! | a [`Pipeline`] | all its jobs are cancelled |
//! | [`Pool::join`] | nothing |
//! | [`Pool::shutdown`] | it goes on |
//! | the last clone of a [`Pool`] | all processes are killed; calls that wait fail |
//!
//! # Timeouts
//!
//! [`Builder::timeout`] limits the time of a job at its worker: from the moment when the worker has read the
//! request, or its command was started. The time in the queue has a limit of its own,
//! [`Builder::queue_timeout`], and so has the start of a worker, [`Builder::start_timeout`]. A worker whose
//! job takes too long gets TERM, and KILL after [`Builder::grace`].
//!
//! # Speed
//!
//! A call costs a request and a reply: some 10 to 30 µs where a worker answers at once. Many calls at a time
//! cost less each if a worker may have several requests in flight ([`Builder::depth_auto`]).
//!
//! A thread that makes a blocking call ([`Pool::blocking`]) writes to an idle worker and reads the reply itself. So
//! does a task that awaits each call before it makes the next, if its worker answers within 0.1 ms: it keeps its
//! thread for that time at most, as it would for a short computation, and every eighth call lets other tasks
//! have a turn. All other calls are handed to a thread of the pool.
//!
//! # Processes
//!
//! Each worker or command leads a process group of its own. Whatever ends it ends the whole group. A pool
//! starts one more process, a small `sh`. It kills all groups if this process is killed, so that nothing is left
//! running. All pools are independent of each other.
//!
//! Since workers have groups of their own, Ctrl-C in a terminal reaches this process alone. It ends, and
//! the workers end too. For an orderly end, wait for `tokio::signal::ctrl_c` and call [`Pool::shutdown`]. If a
//! worker tries to read from the terminal, its job fails.
//!
//! If your program ignores SIGCHLD, or a thread of it waits for all children, the pool does not get exit statuses.
//! Workers still work, but the pool does not know how they died. Commands fail.
//!
//! # Platforms
//!
//! The library is developed and tested on Linux. Other Unix systems should work, but there the pool knows neither
//! whether a worker has read its request, nor how much memory a worker uses. Windows is not supported. The pool has threads
//! of its own: one for each slot that was needed (with a stack of 256 KiB), and a few that wait. It works under
//! any runtime, or none.
//!
//! # Recipes
//!
//! ## An HTTP server whose clients may hang up
//!
//! axum drops the handler's future when its client disconnects. That cancels the call. If the job still waits, it
//! never runs. If it runs and ends soon, the worker continues. The folder `examples/axum` has this program:
//!
//! ```ignore
#![doc = include_str!("../docs/recipes/axum.rs")]
//! ```
//!
//! ## A batch of 100,000 jobs in bounded memory
//!
//! ```no_run
#![doc = include_str!("../examples/many.rs")]
//! ```
//!
//! ## Plain threads
//!
//! ```
#![doc = include_str!("../examples/threads.rs")]
//! ```
//!
//! # Features
//!
//! - `cli` (default): the command `procpool`. Programs that use the library set `default-features = false`:
//!   then the pool is all that is built, with some 28 crates.
//! - `tracing`: events for the crate `tracing` with the target `procpool`: workers that start and end, calls
//!   that end, notes.
//! - `unstable-engine`: the parts of the command. They may change in any version. `csv` and `journal` add input
//!   that is CSV, and the journal of a run.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "unstable-engine"),
    expect(dead_code, unused_imports, reason = "the command uses it")
)]

#[cfg(feature = "unstable-engine")]
mod agent;
mod command;
mod config;
#[cfg(feature = "unstable-engine")]
mod input;
mod interpreter;
#[cfg(feature = "nats")]
mod jetstream;
mod job;
#[cfg(feature = "unstable-engine")]
mod journal;
mod link;
#[cfg(feature = "unstable-engine")]
mod output;
mod pool;
mod process;
mod protocol;
#[cfg(feature = "unstable-engine")]
mod server;
mod util;
mod worker;

pub use bytes::Bytes;

pub use config::Timeout;
pub use interpreter::Code;
pub use job::{CommandOutput, Failure, Kind};
pub use pool::Pool;
pub use pool::blocking::Blocking;
pub use pool::build_error::BuildError;
pub use pool::builder::Builder;
pub use pool::call::Call;
pub use pool::deferred::Deferred;
pub use pool::pipeline::Pipeline;
pub use pool::stats::{Stats, WorkerState, WorkerStats};
pub use pool::stream::Outcomes;
pub use protocol::Protocol;

/// The parts of the command `procpool` besides the public items. They may change in any version.
#[cfg(feature = "unstable-engine")]
#[doc(hidden)]
pub mod engine {
    pub use crate::agent::{AgentEnd, AgentPool, AgentTask, run_agent};
    pub use crate::command::Commands;
    pub use crate::config::{Depth, Host, Hosts, Init, Limits, ServerLine, THIS_HOST};
    pub use crate::input::job_lines::{InitError, parse_init};
    pub use crate::interpreter::{CodeError, CodeFileError, Language};
    pub use crate::job::naming::name;
    pub use crate::job::printed::{Capture, Printed, Spool};
    pub use crate::job::{
        Block, Closed, Done, Feed, Job, Place, ResultStreak, Run, Sink, Value, Watcher, Why,
        WorkerEnd,
    };
    pub use crate::pool::gates::Gate;
    pub use crate::pool::gates::memory::{FreeMemory, free_memory};
    pub use crate::pool::program_hash;
    pub use crate::pool::underway::Underway;
    pub use crate::process::lookup::{ProgramError, check as check_program, is_shell_word, locate};
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub use crate::process::{dismiss_guardian, fork_guardian};
    pub use crate::protocol::ReplyMessagesError;
    pub use crate::server::client::Visit;
    pub use crate::server::socket::{ServerSocket, SocketError, await_free, fits};
    pub use crate::server::switchboard::Switchboard;
    pub use crate::server::{ServedPool, Server, ServerSettings};
    pub use crate::util::duration::{DurationError, parse_duration};
    pub use crate::util::exit_set::{ExitSet, ExitSetError};
    pub use crate::util::files;
    pub use crate::util::histogram::Durations;
    pub use crate::util::json::Json;
    pub use crate::util::setting::{Setting, name_settings};
    pub use crate::util::similar::similar;
    pub use crate::util::temporary::{set_temporary_folder, temporary_folder};
    pub use crate::util::text::{printable, printable_bytes};
    pub use crate::{BuildError, Builder, Code, Failure, Kind, Pool, Protocol, Timeout};

    /// A job → the command line that is run for it.
    pub mod command {
        pub use crate::command::*;
    }

    /// Input → jobs.
    pub mod input {
        pub use crate::input::*;
    }

    /// A durable queue of jobs on NATS JetStream.
    #[cfg(feature = "nats")]
    pub mod jetstream {
        pub use crate::jetstream::*;
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
