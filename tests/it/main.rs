//! The tests of procpool, through its binary and its public names: one crate, so that it is built and
//! linked once.

mod capture;
mod chaos;
mod code;
mod commands;
mod common;
mod docs;
mod examples;
mod faults;
mod formats;
mod from_parallel;
mod fuzz_corpus;
mod gates;
mod halt;
mod jobs;
mod journal;
mod lanes;
mod library;
mod limits;
mod order;
mod orphans;
mod pipeline;
mod protocols;
mod real_programs;
mod recycle;
mod reports;
mod retries;
mod security;
mod sh;
mod signals;
mod source;
mod spill;
mod standby;
mod startup;
mod stops;
mod timeouts;
