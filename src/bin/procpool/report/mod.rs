//! All that a run writes besides its results: messages and progress on stderr, the job log, the lines of failed jobs,
//! and the reports at its end.

pub mod again;
mod annotations;
pub mod bookkeeper;
mod canvas;
pub mod closing;
mod collector;
pub mod colors;
pub mod console;
pub mod failed;
pub mod few;
pub mod findings;
mod halting;
mod html;
mod joblog;
mod json;
mod junit;
mod longest;
mod markdown;
pub mod names;
pub mod progress;
pub mod reports;
mod results;
pub mod seconds;
mod series;
mod stderr;
mod summary;
mod totals;
mod trace;
mod track;
