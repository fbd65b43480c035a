//! How the input is cut into blocks (`--block`).

use std::sync::Arc;

use procpool::engine::Protocol;
use procpool::engine::command::Template;
use procpool::engine::input::blocks::{BlockSize, Blocks, RecordEnd};
use procpool::engine::input::plain_lines::Columns;
use procpool::engine::input::{Form, Source};

use super::invocation::Invocation;
use super::misuse::Misuse;
use crate::cli::values::{BlockOption, InputFormat};

/// The form of an input that is cut into blocks. `template`: that of the commands, if there are any.
pub fn form(
    invocation: &Invocation<'_>,
    block: BlockOption,
    protocol: &Protocol,
    template: Option<&Template>,
) -> Result<Form, Misuse> {
    let (options, input) = (invocation.options, &invocation.options.input);
    if options.commands.hosts.are_given() {
        return Err("--block has no meaning on other hosts: -n N makes one job of N lines".into());
    }
    let has_reply_end = options.workers.exchange.reply_end.is_some();
    match template {
        Some(_) if !options.commands.stdin => {
            return Err("--block is for the stdin of COMMAND: give --stdin as well".into());
        }
        Some(template) if template.has_args() => {
            return Err("a block has no args: leave out the placeholders for them".into());
        }
        None if protocol.ends_with_newline() && !has_reply_end => {
            let why = "a block has many lines, and a worker that reads lines can't tell where it ends: \
                       give a --framing, such as u32, or leave out --block";
            return Err(why.into());
        }
        _ => {}
    }
    if input.lists.shuf.is_some() {
        return Err("--shuf is for lines that are jobs, and --block makes one job of many: leave out one of \
                    them, or write shuf | procpool --block …"
            .into());
    }
    if options.output.tag {
        return Err("--tag marks lines with the args of their job, and a block has none: write --tag-string '{#}'".into());
    }
    let records = record_end(invocation)?;
    if input.header && records.text().is_empty() {
        return Err("--header is the first record, so --recend must say where it ends".into());
    }
    let slots = options.workers.max_procs.unwrap_or_else(invocation.machine.cpus);
    Ok(Form::Blocks(Blocks {
        size: match block {
            BlockOption::Bytes(bytes) => BlockSize::Bytes(bytes as u64),
            BlockOption::PerSlot(count) => BlockSize::Parts(slots.saturating_mul(count) as u64),
        },
        records,
        has_header: input.header,
        are_messages: template.is_none(),
        lose_last_end: template.is_none() && protocol.ends_with_newline(),
        header_line: Arc::default(),
    }))
}

/// Where records end.
fn record_end(invocation: &Invocation<'_>) -> Result<RecordEnd, Misuse> {
    let input = &invocation.options.input;
    let is_told = input.blocks.recend.is_some() || input.blocks.recstart.is_some();
    match invocation.columns() {
        Columns::Csv if is_told || input.null || input.delimiter.is_some() => {
            return Err("the format CSV defines where a record ends: with --input csv, leave out \
                        --recend, --recstart, -0 and -d"
                .into());
        }
        Columns::Csv => return Ok(RecordEnd::Csv),
        Columns::One if input.format == InputFormat::Lines => {}
        Columns::One | Columns::Json | Columns::Tsv | Columns::Separated => {
            return Err("a block is not split into args: of the formats, only --input csv says \
                        where its records end"
                .into());
        }
    }
    let delimiter = if input.null { 0 } else { input.delimiter.unwrap_or(b'\n') };
    let is_default = !is_told || input.null || input.delimiter.is_some();
    let end = match &input.blocks.recend {
        Some(end) => end.0.clone(),
        None if is_default => vec![delimiter],
        None => Vec::new(),
    };
    let start = input.blocks.recstart.as_ref().map(|start| start.0.clone()).unwrap_or_default();
    Ok(RecordEnd::Text { end, start })
}

/// Checks that all sources can be cut.
pub fn check(form: &Form, sources: &[Source]) -> Result<(), Misuse> {
    match form {
        Form::Blocks(blocks) if !sources.iter().all(|source| blocks.can_cut(source)) => Err(
            "a negative --block divides an input whose length is known: give a file (-a FILE, or \
                 < FILE), or a size, such as --block 10M"
                .into(),
        ),
        _ => Ok(()),
    }
}
