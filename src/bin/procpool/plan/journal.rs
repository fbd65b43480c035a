//! The settings of the journal, and the context of its records.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use procpool::engine::Protocol;
use procpool::engine::input::Form;
use procpool::engine::input::plain_lines::{Pack, Plain};
use procpool::engine::journal::{Context, JournalSettings};

use super::invocation::Invocation;
use crate::cli::CommandOptions;

/// The settings of the journal, if there is one. `names`: those of the workers.
pub fn settings(
    invocation: &Invocation<'_>,
    protocol: &Protocol,
    form: &Form,
    names: &[String],
) -> Option<JournalSettings> {
    let options = &invocation.options.journal;
    let path = options.file.as_ref()?;
    let header = match form {
        Form::Plain(plain) => Arc::clone(&plain.header),
        Form::Job | Form::Message | Form::Blocks(_) => Arc::default(),
    };
    let parts = parts(invocation, protocol);
    let context = Context::new(parts.iter().map(Vec::as_slice), header);
    Some(JournalSettings {
        path: path.clone(),
        resume: options.resume,
        sync: options.fsync,
        context: context.with_workers(names.to_vec()),
        pack: match form {
            Form::Plain(Plain { pack: Pack::Bytes { most, .. }, .. }) => Some(*most),
            _ => None,
        },
    })
}

/// The parts of a job's key besides its line: the command or the expression. If job lines name their commands, the
/// command line of the worker is no part of the key, so that you can mend the worker and resume the run.
fn parts(invocation: &Invocation<'_>, protocol: &Protocol) -> Vec<Vec<u8>> {
    if let Some(code) = invocation.expression() {
        let name = code.language.name();
        let setup = code.setup.iter().map(|setup| setup.clone().into_bytes());
        return [b"code".to_vec(), name.into(), code.text.clone().into()]
            .into_iter()
            .chain(setup)
            .collect();
    }
    match invocation.options.workers.worker.as_slice() {
        _ if invocation.code.is_some() => Vec::new(),
        [worker] if protocol.is_raw() => vec![b"raw".to_vec(), worker.clone().into()],
        [] => command_parts(invocation),
        _ => Vec::new(),
    }
}

/// The shell as the key of a job has it.
fn shell(commands: &CommandOptions) -> String {
    match &commands.shell {
        None => "false".to_owned(),
        Some(shell) if shell.is_usual() => "true".to_owned(),
        Some(shell) => shell.program().to_string_lossy().into_owned(),
    }
}

/// The same for a job that a command runs.
fn command_parts(invocation: &Invocation<'_>) -> Vec<Vec<u8>> {
    let (commands, words) = (&invocation.options.commands, invocation.words);
    let mut parts = vec![format!("command of {} words", words.len()).into_bytes()];
    parts.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    parts.push(format!("shell {}, stdin {}", shell(commands), commands.stdin).into_bytes());
    let texts = [("replace", &commands.replace), ("cwd", &commands.cwd)];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
    let env = commands.env.iter().map(|variable| ("env", variable));
    let texts = texts.chain(env);
    parts.extend(texts.map(|(name, text)| [name.as_bytes(), b" ", text.as_bytes()].concat()));
    parts
}
