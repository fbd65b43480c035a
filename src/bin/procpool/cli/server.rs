//! The options of the heading Server: a pool that stays for several calls of procpool.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub struct ServerOptions {
    /// Keep the workers behind the Unix socket SOCKET, for other calls of procpool
    ///
    /// Give the options about workers here: -w or code, -j, --setup, --max-reqs and so on. procpool runs in
    /// the foreground and reads no input. All callers share the -j slots, in turns. SOCKET must be in a
    /// folder that only you can write to. A SOCKET that is left over is replaced. HUP replaces all workers
    /// one after the other, and no job is lost. TERM ends the server when its present callers have
    /// finished, and a second TERM ends it at once. If systemd has opened the socket, SOCKET is its name.
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath, conflicts_with_all = ["connect", "status", "stop"])]
    pub serve: Option<PathBuf>,

    /// Run the jobs at the server at SOCKET
    ///
    /// Options of input, output, failures and the journal mean the same as without a server. Those about
    /// workers are for the server. Lines mean the same as with the server's worker or code. -j limits how many
    /// slots of the server this call uses. Workers run in the folder and the environment of the server. If the
    /// server is lost, the exit status is 125.
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath, conflicts_with_all = ["status", "stop"])]
    pub connect: Option<PathBuf>,

    /// Keep the workers for TIME after this call, for the next call like it
    ///
    /// The first call starts a server in the background. Later calls use this server, so they don't wait for
    /// the start of a worker. They must have the same worker or code, options about workers, folder,
    /// environment and procpool. If a file changes that the worker's command line or code names, or a source
    /// that it imports, the next call starts another server. A server ends after TIME without a caller. With
    /// --serve, this is the time after which the server ends. The socket of the server, and a log of its
    /// messages, are in $XDG_RUNTIME_DIR/procpool, or in /tmp/procpool-UID.
    #[arg(long, value_name = "TIME", value_parser = procpool::engine::parse_duration, conflicts_with_all = ["connect", "status", "stop"])]
    pub keep: Option<Duration>,

    /// Print the status of the server at SOCKET as JSON, or with --format prometheus
    ///
    /// It has the version, the process id and the uptime in seconds, the slots, the callers, the jobs that
    /// are done and that have failed, the queue, and each worker with its age in seconds, jobs and memory in
    /// bytes.
    #[arg(hide_short_help = true, long, value_name = "SOCKET", value_hint = ValueHint::FilePath, conflicts_with = "stop")]
    pub status: Option<PathBuf>,

    /// End the server at SOCKET when its present callers have finished, and wait for that
    #[arg(hide_short_help = true, long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    pub stop: Option<PathBuf>,
}
