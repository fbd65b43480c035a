//! Bytes → jobs. One thread reads the sources one after the other, splits them into lines, makes a
//! job of each line and feeds the jobs to the pool, as fast as the pool takes them.

mod alike;
pub mod arg_lists;
pub mod blocks;
mod census;
pub mod coding;
mod combinations;
mod csv;
mod feeder;
mod intake;
pub mod job_lines;
pub mod joining;
pub mod lines;
pub mod plain_lines;
mod position;
mod prepared;
mod reader;
pub mod remainder;
pub mod route;
mod rows;
mod run;
#[cfg(feature = "unstable-engine")]
pub mod separator;
mod source;
mod whole;

pub use census::Census;
pub use intake::Intake;
pub use reader::{End, Form, KeptLines, Reader};
pub use source::Source;
pub use whole::Whole;
