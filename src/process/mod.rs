//! Processes: started in groups of their own, with pipes that never block, waited for, and ended by
//! the stop ladder. No other folder signals children.

mod affinity;
mod child;
mod crowd;
mod exit;
mod foreground;
mod forked;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod forked_guardian;
mod groups;
mod guardian;
mod ladder;
mod leader;
mod leftovers;
mod line;
pub(crate) mod lookup;
mod memory;
mod nursery_line;
mod pipe;
mod poll;
mod reap;
mod signal;
mod start;
mod stat;
mod stderr;
pub(crate) mod stops;
mod streams;
mod terminal;
mod wait;
mod wake;

pub(crate) use affinity::CpuShare;
pub(crate) use child::{OutputStream, Process, memory_of};
pub(crate) use crowd::{Crowd, CrowdEvent};
pub(crate) use exit::{describe, describe_exited, end_of_command};
pub(crate) use foreground::stop_own_group;
pub(crate) use forked::{Fork, ForkSpec};
#[cfg(all(feature = "cli", target_os = "linux"))]
pub use forked_guardian::{dismiss_guardian, fork_guardian};
pub(crate) use groups::Groups;
pub(crate) use ladder::Stop;
pub(crate) use line::SocketLine;
pub(crate) use nursery_line::NurseryLine;
pub(crate) use pipe::{PipeCopy, Transfer, widen};
pub(crate) use poll::pause;
pub(crate) use start::Spec;
pub(crate) use streams::{ProcessOutput, ProcessStdin};
pub(crate) use wait::Readiness;
pub(crate) use wake::Wake;
