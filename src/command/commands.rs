//! How a pool without workers makes the command of each job.

use std::ffi::OsString;
use std::sync::{Arc, OnceLock};

use super::args::Args;
use super::error::CommandError;
use super::line::{Command, command_line, quote};
use super::placeholder::{Names, TemplateSettings};
use super::template::Template;
use crate::job::Job;
use crate::util::exit_set::ExitSet;
use crate::util::json::error_text;

/// How a pool without workers makes the command of each job.
#[derive(Clone, Debug)]
pub struct Commands {
    /// The command, with placeholders for the args.
    pub template: Template,
    /// Each job names its program itself. Otherwise it has words for the template.
    pub in_jobs: bool,
    /// Args go to the command's stdin, one a line.
    pub stdin: bool,
    /// The command has the stdin of this process.
    pub own_stdin: bool,
    /// The command writes to the stdout and stderr of this process.
    pub own_output: bool,
    /// The command has the terminal of this process, and its stdout and stderr. Only one may run at a time.
    pub tty: bool,
    /// The command writes to a pseudo-terminal. What it writes to stderr is a part of its stdout.
    pub pty: bool,
    /// Nothing is run: the command line is printed instead.
    pub dry_run: bool,
    /// The watcher is asked before a command is run.
    pub confirm: bool,
    /// Lines are delivered while the command runs.
    pub live: bool,
    /// The exit statuses of success, besides 0.
    pub ok_exit: ExitSet,
    /// The names of the args, once the header of the input has been read.
    pub header: Arc<OnceLock<Vec<Vec<u8>>>>,
}

impl Commands {
    /// Runs a template for each job.
    pub fn new(template: Template) -> Self {
        Self {
            template,
            in_jobs: false,
            stdin: false,
            own_stdin: false,
            own_output: false,
            tty: false,
            pty: false,
            dry_run: false,
            confirm: false,
            live: false,
            ok_exit: ExitSet::default(),
            header: Arc::default(),
        }
    }

    /// Each job names its program: its command is the program, and its args are the arguments.
    ///
    /// # Errors
    /// None: the settings are plain.
    pub(crate) fn named_by_jobs() -> Result<Self, CommandError> {
        let template = Template::for_jobs(&TemplateSettings::default())?;
        Ok(Self { in_jobs: true, ..Self::new(template) })
    }

    /// Runs the command of these words for each job. `{}` and the like are placeholders for its args.
    ///
    /// # Errors
    /// A placeholder makes no sense.
    pub(crate) fn of_words(words: &[OsString]) -> Result<Self, CommandError> {
        let settings = TemplateSettings { names: Names::Any, ..TemplateSettings::default() };
        Template::new(words, &settings).map(Self::new)
    }

    /// The command of a job, and its stdin.
    ///
    /// # Errors
    /// The job has no command.
    pub fn of(&self, job: &Job, slot: usize) -> Result<(Command, Vec<u8>), CommandError> {
        let args = self.args(job)?;
        let command = if self.in_jobs {
            let not_text = |error: serde_json::Error| CommandError::NotText(error_text(&error));
            let cmd: String = serde_json::from_slice(job.cmd()).map_err(not_text)?;
            if args.whole.is_some() {
                return Err(CommandError::ArgsWithNames);
            }
            self.template.fill_job(cmd.as_bytes(), &args, job.seq, slot)?
        } else {
            self.template.fill(&args, job.seq, slot)?
        };
        let mut input = Vec::new();
        if self.stdin && job.block().is_none() {
            for word in args.whole.iter().chain(args.words.iter().filter(|_| args.whole.is_none()))
            {
                input.extend_from_slice(word);
                input.push(b'\n');
            }
        }
        Ok((command, input))
    }

    /// The command of a job as it can be typed into a shell, and how many bytes its stdin has. Empty: the
    /// job has no command.
    pub fn line(&self, job: &Job, slot: usize) -> (Vec<u8>, usize) {
        let of = self.of(job, slot);
        of.map(|(command, input)| (command_line(&command), input.len())).unwrap_or_default()
    }

    /// A command and its stdin as they can be typed into a shell.
    pub(crate) fn typed(&self, job: &Job, command: &Command, input: &[u8]) -> Vec<u8> {
        let line = command_line(command);
        if let Some(block) = job.block() {
            let len = block.len();
            let (begin, s) = (block.begin, if len == 1 { "" } else { "s" });
            [line, format!(" # stdin: {len} byte{s}, from byte {begin} on").into_bytes()].concat()
        } else if self.stdin {
            [b"printf %s ", quote(input).as_slice(), b" | ", &line].concat()
        } else {
            line
        }
    }

    /// The args of a job.
    ///
    /// # Errors
    /// They can't be the args of a command.
    pub fn args<'a>(&'a self, job: &'a Job) -> Result<Args<'a>, CommandError> {
        let Some(words) = job.arg_words() else { return Args::from_json(job.args()) };
        let names = self.header.get().map_or(&[][..], Vec::as_slice);
        Ok(Args {
            words: words.map(Into::into).collect(),
            names: names.iter().map(|name| name.as_slice().into()).collect(),
            whole: None,
        })
    }
}
