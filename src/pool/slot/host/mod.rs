//! The slots of another machine: one thread serves all of them over one connection to an agent.

mod booting;
mod carrier;
mod connection;
mod job_rate;
mod loss;
mod preparation;
mod preparing;
mod quiet;
mod receive;
mod record;
mod said;
mod serve;
mod speak;
mod state;

pub(crate) use serve::HostEnd;
pub(crate) use state::HostSlot;
