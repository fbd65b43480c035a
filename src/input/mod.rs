//! Bytes → jobs. One thread reads the sources one after the other, splits them into lines, makes a
//! job of each line and feeds the jobs to the pool, as fast as the pool takes them.

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
mod reader;
pub mod remainder;
pub mod route;
mod rows;
mod run;
mod source;

pub use census::Census;
pub use intake::Intake;
pub use reader::{End, Form, Reader};
pub use source::Source;
