//! Queues on real servers of NATS, each with a port and a folder of its own.

mod chaos;
mod faults;
mod kit;
mod limits;
mod machines;
mod repeated;
mod results;
mod slow;
