//! The command line, taken apart: the options, COMMAND, the lists of args, and the code.

use std::ffi::OsString;

use procpool::engine::input::arg_lists::{ArgList, ListSource};
use procpool::engine::input::plain_lines::Columns;
use procpool::engine::{Code, Language};

use super::machine::Machine;
use super::misuse::Misuse;
use crate::cli::Options;
use crate::cli::values::{InputFormat, MaxArgs};

/// The command line, taken apart.
pub struct Invocation<'a> {
    pub options: &'a Options,
    pub machine: &'a Machine,
    /// COMMAND and its ARGs.
    pub words: &'a [OsString],
    /// The lists after `:::` and `::::`.
    pub lists: Vec<ArgList>,
    /// The code that workers run, if there is any.
    pub code: Option<Code>,
}

impl<'a> Invocation<'a> {
    /// # Errors
    /// The lists of args make no sense.
    pub fn new(options: &'a Options, machine: &'a Machine) -> Result<Self, Misuse> {
        let is_sign = |word: &OsString| options.input.lists.sign(word).is_some();
        let end = options.command.iter().position(is_sign).unwrap_or(options.command.len());
        let (words, rest) = options.command.split_at(end);
        let lists = lists(options, rest)?;
        Ok(Self { options, machine, words, lists, code: code(options) })
    }

    /// Whether workers run the jobs: programs, or code.
    pub fn has_workers(&self) -> bool {
        self.code.is_some() || !self.options.workers.worker.is_empty()
    }

    /// The code, if it is an expression.
    pub fn expression(&self) -> Option<&Code> {
        self.code.as_ref().filter(|code| !code.is_file())
    }

    /// How a line is divided into args.
    pub fn columns(&self) -> Columns {
        if self.options.input.colsep.is_some() {
            return Columns::Separated;
        }
        match self.options.input.format {
            InputFormat::Lines | InputFormat::Base64 => Columns::One,
            InputFormat::Json => Columns::Json,
            InputFormat::Csv => Columns::Csv,
            InputFormat::Tsv => Columns::Tsv,
        }
    }

    /// Whether there are lists of args, and none of them is read from lines.
    pub fn has_only_words(&self) -> bool {
        let has_words = |list: &ArgList| matches!(list.from, ListSource::Words(_));
        !self.lists.is_empty() && self.lists.iter().all(has_words)
    }

    /// Whether the args of lines have names.
    pub fn has_arg_names(&self) -> bool {
        self.options.input.header || self.options.input.format == InputFormat::Json
    }

    /// The largest number of args of a job. `None`: it depends on the line.
    pub fn most_args(&self) -> Option<usize> {
        let lines = match self.options.input.max_args {
            None => 1,
            Some(MaxArgs::Lines(lines)) => lines,
            Some(MaxArgs::Max) => return None,
        };
        let is_plain = self.columns() == Columns::One;
        is_plain.then(|| lines.saturating_mul(self.lists.len().max(1)))
    }
}

/// The lists of args after COMMAND.
fn lists(options: &Options, words: &[OsString]) -> Result<Vec<ArgList>, Misuse> {
    let mut lists: Vec<ArgList> = Vec::new();
    let mut files = None;
    for word in words {
        let is_first = lists.is_empty();
        if let Some(sign) = options.input.lists.sign(word) {
            if is_first && sign.is_linked {
                let word = word.display();
                return Err(Misuse::new(format!(
                    "'{word}' pairs a list with the one before it, and there is none: leave out the +"
                )));
            }
            files = sign.has_files.then_some(sign.is_linked);
            if !sign.has_files {
                let from = ListSource::Words(Vec::new());
                lists.push(ArgList { from, is_linked: sign.is_linked });
            }
            continue;
        }
        match (files, lists.last_mut()) {
            (Some(is_linked), _) => {
                let is_stdin = word == "-";
                let file = || ListSource::File(word.into());
                let from = if is_stdin { ListSource::Stdin } else { file() };
                lists.push(ArgList { from, is_linked });
            }
            (None, Some(ArgList { from: ListSource::Words(words), .. })) => {
                words.push(word.clone());
            }
            (None, _) => {}
        }
    }
    Ok(lists)
}

/// The code that workers run, if there is any.
pub(super) fn code(options: &Options) -> Option<Code> {
    let languages = [
        (Language::Python, &options.code.python),
        (Language::Perl, &options.code.perl),
        (Language::Node, &options.code.node),
        (Language::Ruby, &options.code.ruby),
        (Language::Sh, &options.code.sh),
    ];
    let given = |(language, text): (Language, &Option<String>)| Some((language, text.clone()?));
    let (language, text) = languages.into_iter().find_map(given)?;
    let lists =
        !options.input.each && !matches!(options.input.max_args, None | Some(MaxArgs::Lines(1)));
    let shell = options.commands.shell.as_ref().map(|shell| shell.program().to_owned());
    let mut code = Code::guess(language, text, options.code.setup.clone(), lists);
    code.shell = shell;
    code.each = options.input.each;
    // A server does not know yet which callers want the values of a generator at once.
    let is_served = options.commands.server.serve.is_some();
    code.live = options.output.live || (is_served && !code.each);
    code.preload = options.code.preload;
    // Workers may be started elsewhere.
    Some(if options.commands.cwd.is_some() { code.with_absolute_path() } else { code })
}
