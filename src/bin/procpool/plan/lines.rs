//! What a line of the input is: a job, a message, or the args of a command or an expression.

use std::ffi::OsString;
use std::sync::Arc;

use procpool::engine::command::Template;
use procpool::engine::input::Form;
use procpool::engine::input::coding::Coding;
use procpool::engine::input::plain_lines::{Columns, Pack, Plain, Target};
use procpool::engine::{Code, Protocol};

use super::arg_space;
use super::blocks;
use super::invocation::Invocation;
use super::misuse::Misuse;
use crate::cli::Options;
use crate::cli::values::{InputFormat, MaxArgs};

/// What a line is. `template`: that of the commands, if there are any.
pub fn form(
    invocation: &Invocation<'_>,
    protocol: &Protocol,
    template: Option<&Template>,
) -> Result<Form, Misuse> {
    if let Some(block) = invocation.options.input.blocks.block {
        return blocks::form(invocation, block, protocol, template);
    }
    if let Some(code) = invocation.expression() {
        return expression_form(invocation, code);
    }
    if invocation.options.input.format == InputFormat::Base64 && !protocol.is_raw() {
        return Err(
            "--input base64 is for messages of bytes, as with --protocol raw: leave it out".into(),
        );
    }
    if protocol.is_raw() {
        return message_form(invocation);
    }
    if invocation.options.input.header && invocation.words.first().is_some_and(|word| word == ":") {
        return Err("--header has no value here: leave out ':'".into());
    }
    if invocation.words.is_empty() {
        return Ok(Form::Job);
    }
    let columns = invocation.columns();
    let target = match template {
        Some(template) => Target::Command(template.clone()),
        None => worker_target(invocation.words, columns)?,
    };
    plain_form(invocation, Plain::new(target, columns), template)
}

/// Lines that an expression is evaluated for.
fn expression_form(invocation: &Invocation<'_>, code: &Code) -> Result<Form, Misuse> {
    if !invocation.words.is_empty() {
        let text = &code.text;
        let is_word = text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
        let what = if is_word { format!("there is no file '{text}', and ") } else { String::new() };
        return Err(Misuse::new(format!(
            "{what}an expression needs no COMMAND: it is evaluated for each line; to call a function \
             for each line, name a FILE of functions, then the function as COMMAND"
        )));
    }
    let columns = invocation.columns();
    let mut plain = match columns {
        Columns::Json => Plain::json(""),
        _ => Plain::strings("", &[]),
    };
    plain.columns = columns;
    plain_form(invocation, plain, None)
}

/// Lines that are messages.
fn message_form(invocation: &Invocation<'_>) -> Result<Form, Misuse> {
    if !invocation.words.is_empty() {
        return Err("with --protocol raw each line is a whole message: leave out COMMAND".into());
    }
    match invocation.options.input.format {
        InputFormat::Lines | InputFormat::Json | InputFormat::Base64 => Ok(Form::Message),
        InputFormat::Csv | InputFormat::Tsv => Err(
            "with --protocol raw a line is one message, and has no columns: use --input lines, json or \
             base64"
                .into(),
        ),
    }
}

/// How the bytes of a message are written in its line.
pub fn coding(options: &Options) -> Coding {
    match options.input.format {
        InputFormat::Json => Coding::Json,
        InputFormat::Base64 => Coding::Base64,
        InputFormat::Lines | InputFormat::Csv | InputFormat::Tsv => Coding::Plain,
    }
}

/// Lines that are args, with the settings that concern all of them.
fn plain_form(
    invocation: &Invocation<'_>,
    mut plain: Plain,
    template: Option<&Template>,
) -> Result<Form, Misuse> {
    let input = &invocation.options.input;
    let columns = plain.columns;
    let is_packed = input.max_args.is_some() && !input.each;
    if columns == Columns::Json && (is_packed || input.header) {
        return Err(
            "with --input json a line is all the args of a job: leave out -n and --header".into()
        );
    }
    let is_split = input.null || input.delimiter.is_some();
    if columns == Columns::Csv && is_split {
        return Err(
            "the format CSV defines where a line ends: with --input csv, leave out -0 and -d"
                .into(),
        );
    }
    plain.separator = input.colsep.clone().map(Arc::new);
    plain.has_header = input.header;
    plain.pack = match input.max_args {
        None => Pack::Lines(1),
        // The lines are jobs, which are joined later.
        Some(_) if input.each => Pack::Lines(1),
        Some(MaxArgs::Lines(lines)) => Pack::Lines(lines),
        Some(MaxArgs::Max) => arg_space::pack(invocation, template),
    };
    Ok(Form::Plain(plain))
}

/// The command of a worker that lines are the args of.
fn worker_target(words: &[OsString], columns: Columns) -> Result<Target, Misuse> {
    let words: Option<Vec<String>> =
        words.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    let Some(words) = words else {
        return Err("COMMAND and its ARGs must be UTF-8 for a worker".into());
    };
    match Plain::strings(&words[0], &words[1..]).target {
        Target::Worker { head, .. } if columns == Columns::Json && !head.is_empty() => Err(
            "with --input json a line is all the args of a job: leave out the ARGs after COMMAND"
                .into(),
        ),
        target => Ok(target),
    }
}
