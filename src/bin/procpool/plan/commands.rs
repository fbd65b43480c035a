//! The commands that are started for each job.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use procpool::engine::Commands;
use procpool::engine::command::{Names, Template, TemplateSettings};
use procpool::engine::input::{Form, Reader};

use super::invocation::Invocation;
use super::misuse::Misuse;
use super::stdin;

/// The template of the command of each job.
pub fn template(invocation: &Invocation<'_>) -> Result<Template, Misuse> {
    let (options, words) = (invocation.options, invocation.words);
    let has_names = invocation.has_arg_names() || words.is_empty();
    let settings = TemplateSettings {
        shell: options.commands.shell.clone(),
        replace: options.commands.replace.as_ref().map(|text| text.as_bytes().to_vec()),
        names: if has_names { Names::Any } else { Names::None },
        // The command of a semaphore has no args.
        stdin: options.commands.stdin || options.commands.semaphore.semaphore.is_some(),
        env: options.commands.env.clone(),
        cwd: options.commands.cwd.clone(),
    };
    let [program, ..] = words else {
        return Template::for_jobs(&settings).map_err(Misuse::new);
    };
    if program.is_empty() {
        return Err("COMMAND is an empty word".into());
    }
    let template = Template::new(words, &settings).map_err(Misuse::new)?;
    let Some(count) = invocation.most_args() else { return Ok(template) };
    template.with_count(count).map_err(|message| {
        Misuse::new(format!(
            "{message}; --input csv or tsv splits a line into args, -n N makes one job of N lines, and \
             each ::: gives an arg"
        ))
    })
}

/// The commands of a template, for the jobs of a reader.
pub fn commands(invocation: &Invocation<'_>, template: Template, reader: &Reader) -> Arc<Commands> {
    let options = invocation.options;
    Arc::new(Commands {
        in_jobs: invocation.words.is_empty(),
        stdin: options.commands.stdin,
        own_stdin: stdin::is_for_commands(invocation, &reader.sources),
        tty: options.commands.tty,
        pty: options.workers.pty,
        dry_run: options.commands.dry_run,
        confirm: options.commands.confirm,
        live: options.output.live,
        ok_exit: options.failures.ok_exit.unwrap_or_default(),
        header: match &reader.form {
            Form::Plain(plain) => Arc::clone(&plain.header),
            Form::Job | Form::Message | Form::Blocks(_) => Arc::default(),
        },
        ..Commands::new(template)
    })
}
