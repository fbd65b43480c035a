//! A job: a unit of work, its texts, and facts about it.

use std::sync::Arc;
use std::time::Duration;

use super::block::Block;
use super::caller::Caller;
use super::key::Key;
use super::parts::PartsConfig;

/// A unit of work: a command and its JSON args.
///
/// The texts of a job lie in one buffer, as JSON, one after the other: command, args, id. So a job
/// costs at most one allocation, and a request is written with two copies.
#[derive(Debug)]
pub struct Job {
    /// Its number among all jobs, from 1. Results are ordered by it.
    pub seq: u64,
    /// Where its line is in the input.
    pub place: Place,
    /// How long it may take; `None`: as long as the pool's setting allows.
    pub timeout: Option<Duration>,
    /// How often it may be tried again; `None`: as often as the pool's setting allows.
    pub retries: Option<u32>,
    /// Which of several pools runs it, from 0.
    pub pool: usize,
    /// Which try this is, from 1.
    pub(crate) attempt: u32,
    /// It may have ended a process that was on other jobs, too: it runs alone in its process.
    pub(crate) is_suspect: bool,
    /// How many machines were lost while it ran there.
    pub(crate) losses: u32,
    /// The lines that it was made of, if they are kept.
    pub(crate) line: Option<Arc<[u8]>>,
    /// Its key in the journal. `None`: it is not recorded.
    pub(crate) key: Option<Key>,
    /// Its result was recorded by an earlier run.
    pub(crate) is_recorded: bool,
    /// The caller that waits for it; `None`: the result goes to the pool's sink.
    pub(crate) caller: Option<Caller<Job>>,
    /// What says whether another procpool still wants it; `None`: it does.
    /// It is rare, so it is in a box: jobs are moved often.
    pub(crate) leash: Option<Box<Arc<dyn Leash>>>,
    pub(super) body: JobBody,
}

/// Holds a job that another procpool has sent for a call. It is dropped with the job.
pub(crate) trait Leash: std::fmt::Debug + Send + Sync {
    /// Whether the call was dropped.
    fn is_cut(&self) -> bool;

    /// Whether the job is wanted back if it has not begun.
    fn is_recalled(&self) -> bool {
        false
    }

    /// What happens to the parts of its result; `None`: what the pool's setting says.
    fn parts(&self) -> Option<PartsConfig> {
        None
    }
}

/// The texts of a job.
#[derive(Debug)]
pub(super) struct JobBody {
    /// Command, args and id, one after the other.
    pub(super) text: Vec<u8>,
    /// The bytes before this one are no longer a part of the job.
    pub(super) begin: usize,
    /// Where the args begin: at most at `id_at`, which is at most the length of the text.
    pub(super) args_at: usize,
    /// Where the id begins.
    pub(super) id_at: usize,
    pub(super) form: JobForm,
}

/// The kinds of args.
#[derive(Debug)]
pub(super) enum JobForm {
    /// A JSON value.
    Json,
    /// Words that end with a NUL byte each.
    Words,
    /// A message: bytes that only the worker understands.
    Message,
    /// This many messages, at least 2, with a newline after each.
    Lines(usize),
    /// Jobs with a JSON value each.
    Parts(Box<BundleParts>),
    /// No args: the bytes for the stdin of a command.
    Block(Box<Block>),
    /// Args for several jobs, at least one: see [`Job::join`].
    Joint(Box<JoinedJobs>),
}

/// The jobs of a joint job. A job is moved often, so it must be small.
#[derive(Debug)]
pub(super) struct JoinedJobs(pub(super) Vec<Job>);

/// Where the jobs of a bundle of JSON are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BundleParts {
    pub(super) all: Vec<Part>,
    /// The parts from this one on are jobs, at least 2. The first one begins at `begin` of the body.
    pub(super) first: usize,
}

impl BundleParts {
    pub(super) fn new(all: Vec<Part>) -> Box<Self> {
        Box::new(Self { all, first: 0 })
    }
}

/// Where the texts of one job in a bundle are. They begin where the texts of the job before it end. The id
/// is the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) args_at: u32,
    pub(super) id_at: u32,
    pub(super) end: u32,
}

/// Where the line of a job is in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which input, counted from 0 in the order they were given.
    pub source: u32,
    /// The line's number in that input, from 1; 0: the job did not come from a line.
    pub line: u64,
}

impl Place {
    /// The place this many lines further on.
    pub(super) fn after(self, lines: usize) -> Self {
        Self { line: self.line + lines as u64, ..self }
    }
}

impl Job {
    /// Makes a job. `cmd` is a JSON string, `args` a JSON value, `id` a JSON string, a number or empty. They
    /// are passed on unchanged, so they must not have line breaks between their parts.
    pub fn new(seq: u64, cmd: &str, args: &str, id: &str) -> Self {
        let mut text = Vec::with_capacity(cmd.len() + args.len() + id.len());
        text.extend_from_slice(cmd.as_bytes());
        text.extend_from_slice(args.as_bytes());
        text.extend_from_slice(id.as_bytes());
        Self {
            seq,
            place: Place::default(),
            timeout: None,
            retries: None,
            pool: 0,
            attempt: 1,
            is_suspect: false,
            losses: 0,
            caller: None,
            leash: None,
            line: None,
            key: None,
            is_recorded: false,
            body: JobBody {
                text,
                begin: 0,
                args_at: cmd.len(),
                id_at: cmd.len() + args.len(),
                form: JobForm::Json,
            },
        }
    }

    /// A job for the pool's one command. `words` are its args, each followed by a NUL byte. No argument of a
    /// command can hold this byte.
    pub fn words(seq: u64, words: &[u8]) -> Self {
        Self::bytes(seq, words, JobForm::Words)
    }

    /// A job that is a message. It is sent to a worker unchanged.
    pub fn message(seq: u64, message: &[u8]) -> Self {
        Self::bytes(seq, message, JobForm::Message)
    }

    /// A job for the pool's one command, whose stdin is the block. The command has no args.
    pub fn of_block(seq: u64, block: Block) -> Self {
        Self::bytes(seq, &[], JobForm::Block(Box::new(block)))
    }

    pub(super) fn bytes(seq: u64, bytes: &[u8], form: JobForm) -> Self {
        let body = JobBody { text: bytes.into(), begin: 0, args_at: 0, id_at: bytes.len(), form };
        Self { body, ..Self::new(seq, "", "", "") }
    }

    /// A job that could not be read from its line: it has no command and no args.
    pub fn unreadable(seq: u64, place: Place, id: &str) -> Self {
        let mut job = Self::new(seq, "", "", id);
        job.place = place;
        job
    }

    /// The command, as a JSON string; empty if the line was not a job.
    pub fn cmd(&self) -> &[u8] {
        &self.body.text[..self.body.args_at]
    }

    /// The args, as a JSON value; empty if the line was not a job, or if the args are not JSON.
    pub fn args(&self) -> &[u8] {
        match self.body.form {
            JobForm::Json | JobForm::Joint(_) => {
                &self.body.text[self.body.args_at..self.body.id_at]
            }
            JobForm::Words
            | JobForm::Message
            | JobForm::Lines(_)
            | JobForm::Parts(_)
            | JobForm::Block(_) => &[],
        }
    }

    /// The message, if the job is one.
    pub fn as_message(&self) -> Option<&[u8]> {
        matches!(self.body.form, JobForm::Message).then_some(&self.body.text[..])
    }

    /// The block, if the job is one.
    pub fn block(&self) -> Option<&Block> {
        match &self.body.form {
            JobForm::Block(block) => Some(block),
            _ => None,
        }
    }

    /// The args of a job that [`Job::words`] has made: words of any bytes. A block has none.
    pub fn arg_words(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let words = &self.body.text[self.body.args_at..self.body.id_at];
        let words = words.strip_suffix(b"\0").map(|words| words.split(|&byte| byte == 0));
        let has_words = matches!(self.body.form, JobForm::Words | JobForm::Block(_));
        has_words.then(|| words.into_iter().flatten())
    }

    /// The id that the job names, as JSON. `None`: it names none, and its id is `seq`.
    pub fn id(&self) -> Option<&[u8]> {
        Some(&self.body.text[self.body.id_at..]).filter(|id| !id.is_empty())
    }

    /// The lines of input that it was made of, unchanged, with the delimiter between them. `None`: they
    /// were not kept.
    pub fn line(&self) -> Option<&[u8]> {
        self.line.as_deref()
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether its result comes from the journal, since an earlier run has run it.
    pub fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// How much memory the job's text holds, in bytes.
    pub fn size(&self) -> usize {
        let line = self.line.as_ref().map_or(0, |line| line.len());
        let block = self.block().map_or(0, Block::memory);
        self.body.text.len() - self.body.begin + self.size_of_parts() + line + block
    }

    /// Whether the call that waited for this job was dropped, here or at another procpool.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.caller.as_ref().is_some_and(Caller::is_gone)
            || self.leash.as_ref().is_some_and(|leash| leash.is_cut())
    }

    /// Whether it is not to begin: nobody waits for it, or another procpool wants it back.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.is_abandoned() || self.leash.as_ref().is_some_and(|leash| leash.is_recalled())
    }

    /// Whether a call waits for it, which may be dropped.
    pub(crate) fn is_of_call(&self) -> bool {
        self.caller.is_some() || self.leash.is_some()
    }
}
