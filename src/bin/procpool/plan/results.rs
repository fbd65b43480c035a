//! How results are printed.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use procpool::engine::command::{CommandError, Names, Template, TemplateSettings};
use procpool::engine::output::format::{Shape, Tag};
use procpool::engine::{Code, Protocol};

use super::invocation::Invocation;
use super::misuse::Misuse;
use super::queue::is_open;
use crate::cli::Options;
use crate::cli::values::ResultFormat;

/// What each line of text begins with.
pub fn tag(invocation: &Invocation<'_>) -> Result<Tag, Misuse> {
    let options = invocation.options;
    let Some(text) = &options.output.lines.tag_string else {
        return Ok(if options.output.tag { Tag::Args } else { Tag::None });
    };
    let has_names = invocation.has_arg_names() || invocation.words.is_empty();
    let settings = TemplateSettings {
        names: if has_names { Names::Any } else { Names::None },
        replace: options.commands.replace.as_ref().map(|text| text.as_bytes().to_vec()),
        // Otherwise the args would be appended.
        stdin: true,
        ..TemplateSettings::default()
    };
    let wrong = |error: CommandError| Misuse::new(format!("--tag-string: {error}"));
    let parts = parts_between_hosts(options, text);
    if parts.len() > 1 && options.output.live {
        return Err("--tag-string can't have the name of the host, {host}, with --live".into());
    }
    let part = |text: &OsString| {
        let template = Template::new(std::slice::from_ref(text), &settings).map_err(wrong)?;
        if template.uses_slot() {
            return Err(
                "--tag-string can't have the slot, {%}: write --detail to see it in records".into(),
            );
        }
        if template.has_args() && options.input.blocks.block.is_some() {
            return Err("--tag-string can't have args, because a block has none: write {#}".into());
        }
        if template.total().is_some() {
            return Err("--tag-string can't have the number of jobs, {total}".into());
        }
        match invocation.most_args() {
            Some(count) => template.with_count(count).map_err(wrong),
            None => Ok(template),
        }
    };
    Ok(Tag::Text(parts.iter().map(part).collect::<Result<_, Misuse>>()?))
}

/// The parts of a tag with `{host}` between each two, where that is the name of the host of a job, as in a
/// command.
fn parts_between_hosts(options: &Options, text: &OsString) -> Vec<OsString> {
    let has_hosts = options.commands.hosts.are_given()
        && !options.input.header
        && options.workers.worker.is_empty()
        && options.commands.replace.is_none();
    match text.to_str().filter(|_| has_hosts) {
        Some(text) => text.split("{host}").map(OsString::from).collect(),
        None => vec![text.clone()],
    }
}

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
    if options.output.lines.tag_string.is_some() && shape != Shape::Text {
        return Err("--tag-string marks lines of text: use it with --format text".into());
    }
    if options.output.lines.newline && shape != Shape::Text {
        return Err("--newline is for text: other formats have a newline after each result".into());
    }
    if options.output.tag && shape != Shape::Text {
        return Err("--tag marks lines of text: use it with --format text".into());
    }
    if options.commands.tty && shape != Shape::Text {
        return Err("--tty does not keep what a job prints: leave out --format".into());
    }
    if (options.output.selection.skip_null || options.output.selection.unpack)
        && !matches!(shape, Shape::Text | Shape::Value)
    {
        let name = if options.output.selection.skip_null { "--skip-null" } else { "--unpack" };
        return Err(Misuse::new(format!(
            "{name} is about bare results: use it with --format text or value"
        )));
    }
    if options.output.live && shape != Shape::Text {
        return Err("--live passes lines on as they come: use it with --format text".into());
    }
    Ok(shape)
}
