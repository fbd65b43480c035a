//! The template of a command: words with placeholders, which the args of each job replace. A value is
//! never more than one argument, and never a part of the text of a shell command.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, OnceLock};

use super::args::Args;
use super::dialect::Shell;
use super::error::{CommandError, PlaceholderProblem};
use super::line::Command;
use super::placeholder::{
    Placeholder, PlaceholderKind, TemplateSettings, TemplateWord, Values, WordPart, parse, places,
    texts,
};
use super::script::{Script, ScriptPart};

/// How many bytes an argument takes besides its own: the NUL after it and a pointer to it.
const OVERHEAD: usize = 1 + 8;

/// The most digits of the numbers for `{#}` and `{%}`.
const NUMBER_SIZE: usize = 20;

/// A command with placeholders.
#[derive(Clone, Debug)]
pub struct Template {
    body: CommandBody,
    env: Vec<(OsString, TemplateWord)>,
    cwd: Option<TemplateWord>,
    stdin: bool,
    /// Args up to this number are empty if a job has fewer.
    count: usize,
    /// The number of all jobs, once it is known.
    total: Arc<OnceLock<u64>>,
}

/// The command itself.
#[derive(Clone, Debug)]
enum CommandBody {
    Words(Vec<TemplateWord>),
    Script(Box<Script>),
    /// Each job names it: a program, or the text of a shell command.
    Job {
        shell: Option<Shell>,
    },
}

impl Template {
    /// Reads the words of a command.
    ///
    /// # Errors
    /// The words or settings are misused.
    pub fn new(words: &[OsString], settings: &TemplateSettings) -> Result<Self, CommandError> {
        if words.is_empty() {
            return Err(CommandError::NoWords);
        }
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let body = match &settings.shell {
            Some(shell) => {
                CommandBody::Script(Box::new(Script::new(&words.join(&b' '), shell, settings)?))
            }
            None => CommandBody::Words(
                words.iter().map(|word| parse(word, settings)).collect::<Result<_, _>>()?,
            ),
        };
        let template = Self::with(body, settings)?;
        if let CommandBody::Script(script) = &template.body
            && !settings.stdin
            && template.body_places().all(|place| !place.is_arg() && !place.is_uncertain())
        {
            script.check_open()?;
        }
        Ok(template)
    }

    /// A template for jobs that name their command themselves.
    ///
    /// # Errors
    /// As for [`Template::new`].
    pub fn for_jobs(settings: &TemplateSettings) -> Result<Self, CommandError> {
        Self::with(CommandBody::Job { shell: settings.shell.clone() }, settings)
    }

    fn with(body: CommandBody, settings: &TemplateSettings) -> Result<Self, CommandError> {
        let mut env = Vec::with_capacity(settings.env.len());
        for text in &settings.env {
            let bytes = text.as_bytes();
            let Some(at) = memchr::memchr(b'=', bytes).filter(|&at| at > 0) else {
                return Err(CommandError::NoVariable(text.to_string_lossy().into_owned()));
            };
            let name = OsStr::from_bytes(&bytes[..at]).to_owned();
            env.push((name, parse(&bytes[at + 1..], settings)?));
        }
        let cwd = settings.cwd.as_ref().map(|cwd| parse(cwd.as_bytes(), settings)).transpose()?;
        Ok(Self { body, env, cwd, stdin: settings.stdin, count: 0, total: Arc::default() })
    }

    /// Checks that the header has each name that the template uses.
    ///
    /// # Errors
    /// A name is missing. The sentence names it and the known ones.
    pub fn check_names(&self, names: &[Vec<u8>]) -> Result<(), CommandError> {
        for place in self.body_places().chain(self.other_places()) {
            if let PlaceholderKind::Named(name) = &place.which
                && !names.contains(name)
            {
                return Err(place.error(PlaceholderProblem::NoColumn(texts(names))));
            }
        }
        Ok(())
    }

    /// Declares that each job has `count` args. The last job may have fewer: the missing ones are empty.
    /// Without this, a job is invalid if it has no arg for the number of a placeholder.
    ///
    /// # Errors
    /// A placeholder has a larger number.
    pub fn with_count(mut self, count: usize) -> Result<Self, CommandError> {
        for place in self.body_places().chain(self.other_places()) {
            if matches!(place.which, PlaceholderKind::Nth(number) if number > count) {
                return Err(place.error(PlaceholderProblem::Beyond { job: "a job", count }));
            }
        }
        self.count = count;
        Ok(self)
    }

    /// The command of a job.
    ///
    /// # Errors
    /// There is none for these args.
    pub fn fill(&self, args: &Args<'_>, seq: u64, slot: usize) -> Result<Command, CommandError> {
        let values = self.values(args, seq, slot);
        let appends = !self.stdin && !self.body_places().any(|place| values.uses_args(place));
        let argv = match &self.body {
            CommandBody::Words(words) => values.argv(words, appends)?,
            CommandBody::Script(script) => script.argv(values, appends)?,
            CommandBody::Job { .. } => return Err(CommandError::NoCommand),
        };
        self.command(argv, values)
    }

    /// The command of a job that names it itself: a program or, with a shell, the text of a command. The
    /// args are the program's arguments, or the `"$@"` of the text.
    ///
    /// # Errors
    /// There is none for these args.
    pub fn fill_job(
        &self,
        cmd: &[u8],
        args: &Args<'_>,
        seq: u64,
        slot: usize,
    ) -> Result<Command, CommandError> {
        let mut argv: Vec<Vec<u8>> = match &self.body {
            CommandBody::Job { shell: Some(shell) } => shell.argv(cmd),
            _ => vec![cmd.to_vec()],
        };
        if !self.stdin {
            argv.extend(args.all().map(<[u8]>::to_vec));
        }
        self.command(argv, self.values(args, seq, slot))
    }

    fn values<'a>(&self, args: &'a Args<'a>, seq: u64, slot: usize) -> Values<'a> {
        Values { args, seq, slot, count: self.count, total: self.total.get().copied() }
    }

    /// Whether a placeholder stands for the slot.
    pub fn uses_slot(&self) -> bool {
        use PlaceholderKind::{Slot, SlotFromZero};
        self.body_places().any(|place| matches!(place.which, Slot | SlotFromZero))
    }

    /// The place for the number of all jobs; `None`: no placeholder needs that. It must be known before the
    /// first job.
    pub fn total(&self) -> Option<&Arc<OnceLock<u64>>> {
        let mut places = self.body_places().chain(self.other_places());
        places.any(|place| place.which == PlaceholderKind::Total).then_some(&self.total)
    }

    fn command(&self, argv: Vec<Vec<u8>>, values: Values<'_>) -> Result<Command, CommandError> {
        if argv.first().is_none_or(Vec::is_empty) {
            return Err(CommandError::EmptyProgram);
        }
        let argv = argv.into_iter().map(|word| os_string(word, "an argument of the command"));
        let mut command = Command { argv: argv.collect::<Result<_, _>>()?, ..Command::default() };
        for (name, value) in &self.env {
            let value = os_string(values.one(value)?, "a variable of the environment")?;
            command.env.push((name.clone(), value));
        }
        if let Some(cwd) = &self.cwd {
            let cwd = values.one(cwd)?;
            if cwd.is_empty() {
                return Err(CommandError::EmptyDirectory);
            }
            command.cwd = Some(os_string(cwd, "the name of the directory to run in")?);
        }
        Ok(command)
    }

    /// The program, if it is the same for every job.
    pub fn program(&self) -> Option<&OsStr> {
        match &self.body {
            CommandBody::Script(script) => Some(script.shell.program()),
            CommandBody::Job { shell } => shell.as_ref().map(Shell::program),
            CommandBody::Words(words) => match words.first()?.as_slice() {
                [WordPart::Text(text)] => Some(OsStr::from_bytes(text)),
                _ => None,
            },
        }
    }

    /// Whether the command is looked up where procpool looks a program up: in the same `PATH`, and from the
    /// same directory. `sh` is always looked up there.
    pub fn finds_as_we_do(&self, program: &OsStr) -> bool {
        let program = program.as_bytes();
        match self.body {
            CommandBody::Words(_) if program.contains(&b'/') => {
                self.cwd.is_none() || program.starts_with(b"/")
            }
            CommandBody::Words(_) => !self.env.iter().any(|(name, _)| name == "PATH"),
            CommandBody::Script(_) | CommandBody::Job { .. } => true,
        }
    }

    /// Whether all args may be joined in one argument or variable. The system allows fewer bytes in one than
    /// in all together. The text of a shell command counts as one, since it may refer to each arg.
    pub fn joins(&self) -> bool {
        let is_all = |piece: &WordPart| {
            matches!(piece, WordPart::Placeholder(Placeholder { which: PlaceholderKind::All, .. }))
        };
        let in_words = match &self.body {
            CommandBody::Words(words) => {
                words.iter().any(|word| word.len() > 1 && word.iter().any(is_all))
            }
            CommandBody::Script(_) => true,
            CommandBody::Job { .. } => false,
        };
        let mut single = self.env.iter().map(|(_, value)| value).chain(&self.cwd);
        in_words || single.any(|word| word.iter().any(is_all))
    }

    /// The most copies of all args that a command and its environment hold.
    pub fn copies(&self) -> usize {
        let count = |places: &mut dyn Iterator<Item = &Placeholder>| {
            places.filter(|place| place.is_arg() || place.is_uncertain()).count()
        };
        let is_certain = self.body_places().any(Placeholder::is_arg);
        let appended = usize::from(!self.stdin && !is_certain);
        count(&mut self.body_places()) + count(&mut self.other_places()) + appended
    }

    /// How many bytes of argv are the same for every job, with a NUL and a pointer for each argument.
    /// Numbers count with their most digits.
    pub fn fixed_size(&self) -> usize {
        let of_place = |place: &Placeholder| match place.which {
            PlaceholderKind::Number
            | PlaceholderKind::Slot
            | PlaceholderKind::SlotFromZero
            | PlaceholderKind::Total => NUMBER_SIZE,
            PlaceholderKind::NameIfPresent(..) => place.spelled.len(),
            _ => 0,
        };
        match &self.body {
            CommandBody::Job { shell } => shell
                .as_ref()
                .map_or(0, |shell| 2 * shell.program().len() + b"-c".len() + 3 * OVERHEAD),
            CommandBody::Words(words) => words
                .iter()
                .map(|word| match word.as_slice() {
                    [WordPart::Placeholder(Placeholder { which: PlaceholderKind::All, .. })] => 0,
                    word => {
                        OVERHEAD
                            + word
                                .iter()
                                .map(|piece| match piece {
                                    WordPart::Text(text) => text.len(),
                                    WordPart::Placeholder(place) => of_place(place),
                                })
                                .sum::<usize>()
                    }
                })
                .sum(),
            CommandBody::Script(script) => {
                let parts = script.pieces.iter().map(|part| match part {
                    ScriptPart::Text(text) => text.len(),
                    // The reference is in the text, and the value is an argument after it.
                    ScriptPart::Placeholder { place, .. } => {
                        of_place(place) + NUMBER_SIZE + OVERHEAD
                    }
                });
                let shell = 2 * script.shell.program().len() + b"-c \"$@\"".len();
                shell + 4 * OVERHEAD + parts.sum::<usize>()
            }
        }
    }

    /// Whether the command itself has no placeholder.
    pub fn is_plain(&self) -> bool {
        self.body_places().next().is_none()
    }

    /// Whether it has a placeholder that is always replaced with args.
    pub fn has_args(&self) -> bool {
        self.body_places().chain(self.other_places()).any(Placeholder::is_arg)
    }

    /// The placeholders of the command itself.
    fn body_places(&self) -> impl Iterator<Item = &Placeholder> {
        let (words, parts) = match &self.body {
            CommandBody::Words(words) => (words.as_slice(), &[][..]),
            CommandBody::Script(script) => (&[][..], script.pieces.as_slice()),
            CommandBody::Job { .. } => (&[][..], &[][..]),
        };
        let in_parts = parts.iter().filter_map(|part| match part {
            ScriptPart::Placeholder { place, .. } => Some(place),
            ScriptPart::Text(_) => None,
        });
        words.iter().flat_map(|word| places(word)).chain(in_parts)
    }

    /// The placeholders of its environment and directory.
    fn other_places(&self) -> impl Iterator<Item = &Placeholder> {
        let words = self.env.iter().map(|(_, value)| value).chain(&self.cwd);
        words.flat_map(|word| places(word))
    }
}

fn os_string(bytes: Vec<u8>, what: &'static str) -> Result<OsString, CommandError> {
    match memchr::memchr(0, &bytes) {
        None => Ok(OsString::from_vec(bytes)),
        Some(_) => Err(CommandError::Nul(what)),
    }
}

#[cfg(test)]
mod tests;
