//! Workers that are forked: a slot orders them from the nursery, whose thread is in `thread.rs`. The nursery
//! lives from the first order until the last slot that has ordered is gone.

pub(super) mod order;
mod parent;
pub(super) mod pass;
mod thread;
