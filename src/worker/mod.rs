//! A worker: a persistent process, the requests it has been sent, and the replies it sends back.
//! `worker.rs` has the steps that a slot takes with it. Each other file has one part of its state.

mod asides;
pub(crate) mod buffering;
mod card;
mod flights;
mod inbox;
mod outbox;
mod pace;
mod parts;
mod reading;
mod replies;
mod service;
mod together;
mod unproven;
mod violation;
mod window;
#[expect(clippy::module_inception, reason = "the folder is named after what this file owns")]
mod worker;

pub(crate) use card::{Duty, WorkerCard, WorkerId};
pub(crate) use flights::Flight;
pub(crate) use pace::Pace;
pub(crate) use reading::Reading;
pub(crate) use replies::{Received, Reply};
pub(crate) use violation::{Violation, unasked_at_start};
#[cfg(feature = "nats")]
pub(crate) use window::AT_A_TIME;
pub(crate) use worker::{Refused, Worker};
