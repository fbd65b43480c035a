//! Without the feature `nats`: no queue.

use std::sync::Arc;

use procpool::engine::input::End;
use procpool::engine::{Closed, Job, Pool, Sink};

use super::QueuePlan;
use crate::cli::Options;
use crate::plan::Misuse;

const ABSENT: &str = "this procpool was built without queues: install a released one, or build it with \
                      `cargo install --path . --features nats`";

/// There is none.
#[derive(Debug)]
pub enum NoQueue {}

impl NoQueue {
    /// # Errors
    /// Always.
    pub fn start(_plan: &QueuePlan<'_>) -> anyhow::Result<Self> {
        Err(Misuse::from(ABSENT).into())
    }

    pub fn sink(&self) -> Option<Arc<dyn Sink>> {
        match *self {}
    }

    pub fn feed(&self, _: &mut Vec<Job>) -> Result<(), Closed> {
        match *self {}
    }

    pub fn work(&self, _: &Pool) -> Option<End> {
        match *self {}
    }

    pub fn finish(&self) {
        match *self {}
    }

    pub fn stop(&self) {
        match *self {}
    }

    pub fn left(&self) -> usize {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as with queues")]
    pub async fn ended(&self) {
        match *self {}
    }
}

/// # Errors
/// Always.
pub fn print_dead(_: &Options, _: &str) -> anyhow::Result<()> {
    Err(Misuse::from(ABSENT).into())
}
