//! How results are printed.

use procpool::engine::output::format::Shape;
use procpool::engine::{Code, Protocol};

use super::invocation::Invocation;
use super::misuse::Misuse;
use super::queue::is_open;
use crate::cli::values::ResultFormat;

/// The shape of results.
pub fn shape(invocation: &Invocation<'_>, protocol: &Protocol) -> Result<Shape, Misuse> {
    let options = invocation.options;
    let gives_records =
        !options.workers.worker.is_empty() || invocation.code.as_ref().is_some_and(Code::is_file);
    let shape = match options.output.format {
        Some(ResultFormat::Record) => Shape::Record,
        Some(ResultFormat::Value) => Shape::Value,
        Some(ResultFormat::Text) => Shape::Text,
        Some(ResultFormat::Prometheus) => {
            return Err("--format prometheus is for the --status of a server".into());
        }
        Some(ResultFormat::Base64) => Shape::Base64,
        None if is_open(invocation) && options.output.detail => Shape::Record,
        // The machines that run the jobs decide it.
        None if is_open(invocation) && !options.output.tag => {
            Shape::Later(Box::leak(Box::default()))
        }
        None if gives_records && !protocol.is_raw() => Shape::Record,
        None => Shape::Text,
    };
    if options.output.detail && shape != Shape::Record {
        return Err("--detail adds fields to records: use it with --format record".into());
    }
    if options.output.tag && shape != Shape::Text {
        return Err("--tag marks lines of text: use it with --format text".into());
    }
    if options.output.live && shape != Shape::Text {
        return Err("--live passes lines on as they come: use it with --format text".into());
    }
    Ok(shape)
}
