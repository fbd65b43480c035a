//! The command line, taken apart: the options, COMMAND, the lists of args, and the code.

use std::ffi::OsString;

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
    /// The args after each `:::`.
    pub lists: Vec<Vec<OsString>>,
    /// The code that workers run, if there is any.
    pub code: Option<Code>,
}

impl<'a> Invocation<'a> {
    /// # Errors
    /// COMMAND has a sign of GNU parallel that procpool does not know.
    pub fn new(options: &'a Options, machine: &'a Machine) -> Result<Self, Misuse> {
        refuse_foreign_lists(&options.command)?;
        let mut parts = options.command.split(|word| word == ":::");
        let words = parts.next().unwrap_or_default();
        let lists = parts.map(<[OsString]>::to_vec).collect();
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
        match self.options.input.format {
            InputFormat::Lines | InputFormat::Base64 => Columns::One,
            InputFormat::Json => Columns::Json,
            InputFormat::Csv => Columns::Csv,
            InputFormat::Tsv => Columns::Tsv,
        }
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

/// Refuses `::::` and `:::+` of GNU parallel. Otherwise they would be args of COMMAND.
fn refuse_foreign_lists(command: &[OsString]) -> Result<(), Misuse> {
    let hint = |word: &OsString| match word.to_str() {
        Some("::::" | "::::+") => Some("args from a FILE are read with -a FILE, before COMMAND"),
        Some(":::+") => {
            Some("write the args of a job as the columns of a line, with --input csv, tsv or json")
        }
        _ => None,
    };
    match command.iter().find_map(|word| Some((word, hint(word)?))) {
        Some((word, hint)) => Err(Misuse::new(format!("there is no '{}'; {hint}", word.display()))),
        None => Ok(()),
    }
}

/// The code that workers run, if there is any.
fn code(options: &Options) -> Option<Code> {
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
    let mut code = Code::guess(language, text, options.code.setup.clone(), lists);
    code.each = options.input.each;
    code.live = options.output.live;
    // Workers may be started elsewhere.
    Some(if options.commands.cwd.is_some() { code.with_absolute_path() } else { code })
}
