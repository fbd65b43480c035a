//! What a submitted line or job means on the machine that runs it.

use crate::input::Form;
use crate::input::job_lines::{self, Fields, Invalid};
use crate::input::plain_lines::{self, Packed, Plain, Target};
use crate::job::{Failure, Job, Kind, naming};

/// Makes jobs of what was submitted. The command or worker of this machine decides how a line is read, unless the
/// submitter has decided it.
#[derive(Clone, Debug)]
pub struct JobReader {
    /// What a line is here.
    pub form: Form,
    /// Results are printed as text by default here, not as records.
    pub is_text: bool,
}

/// How the machine that ran a job has read its line. Messages and tags depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineNature {
    /// A whole job.
    Job = 0,
    /// The args of a job.
    Args = 1,
    /// A message.
    Message = 2,
}

impl LineNature {
    pub(super) const ALL: [Self; 3] = [Self::Job, Self::Args, Self::Message];

    /// The job that a line was there: one for a command, or one for a worker.
    pub(super) fn rebuild(self, submitted: Job, is_command: bool) -> Job {
        let Some(line) = submitted.line.clone().filter(|_| self != Self::Job) else {
            return submitted;
        };
        let seq = submitted.seq;
        let job = match self {
            Self::Message => Job::message(seq, &line),
            Self::Args if !is_command => {
                let args = serde_json::json!([String::from_utf8_lossy(&line)]);
                Job::new(seq, "", &args.to_string(), "")
            }
            Self::Job | Self::Args => Job::words(seq, &[&line, &b"\0"[..]].concat()),
        };
        let mut job = replace(&submitted, job);
        (job.line, job.key) = (submitted.line, submitted.key);
        job
    }
}

impl JobReader {
    /// What a line is here.
    pub(super) fn line_form(&self) -> LineNature {
        match &self.form {
            Form::Job => LineNature::Job,
            Form::Plain(_) => LineNature::Args,
            Form::Message | Form::Blocks(_) => LineNature::Message,
        }
    }

    /// The job as it is run here.
    ///
    /// # Errors
    /// It can't be run here: the line is no job, or it is for programs of another kind.
    pub(super) fn adapt(&self, submitted: Job) -> Result<Job, Box<Failure>> {
        let mut job = match &self.form {
            Form::Job => as_job_line(submitted)?,
            Form::Plain(plain) => as_args(plain, submitted)?,
            Form::Message | Form::Blocks(_) => as_message(submitted)?,
        };
        job.line = None;
        Ok(job)
    }
}

/// What a line becomes keeps its number, its place and its limits.
fn replace(submitted: &Job, mut job: Job) -> Job {
    job.place = submitted.place;
    job.timeout = submitted.timeout.or(job.timeout);
    job.retries = submitted.retries.or(job.retries);
    job
}

fn of_fields(submitted: &Job, fields: &Fields<'_>) -> Job {
    let mut job = Job::new(submitted.seq, &fields.cmd, &fields.args, fields.id);
    (job.timeout, job.retries) = (fields.timeout, fields.retries);
    replace(submitted, job)
}

fn invalid(submitted: &Job, invalid: &Invalid) -> Box<Failure> {
    let place = naming::place(submitted.place, &[]).unwrap_or_default();
    Box::new(Failure::new(Kind::Invalid, invalid.describe(&place)))
}

fn unfit(message: &str) -> Box<Failure> {
    Box::new(Failure::new(Kind::Invalid, message))
}

fn as_job_line(submitted: Job) -> Result<Job, Box<Failure>> {
    if !submitted.cmd().is_empty() {
        return Ok(submitted);
    }
    let Some(line) = submitted.line() else {
        return Err(unfit(
            "it has the args of a COMMAND, but the machine that took it runs jobs that name their command: submit \
             job lines, or name a COMMAND there as well",
        ));
    };
    match job_lines::parse(line) {
        Ok(Some(fields)) => Ok(of_fields(&submitted, &fields)),
        Ok(None) => Err(unfit("it is blank or a comment, and no job")),
        Err(why) => Err(invalid(&submitted, &why)),
    }
}

fn as_args(plain: &Plain, submitted: Job) -> Result<Job, Box<Failure>> {
    if let Some(line) = submitted.line() {
        return line_as_args(plain, &submitted, line);
    }
    if let (Target::Worker { cmd, head }, Some(words)) = (&plain.target, submitted.arg_words()) {
        let quote = |word: &[u8]| serde_json::to_string(&String::from_utf8_lossy(word));
        let words: Vec<String> = words.filter_map(|word| quote(word).ok()).collect();
        let args = format!("[{head}{}]", words.join(","));
        return Ok(replace(&submitted, Job::new(submitted.seq, cmd, &args, "")));
    }
    if submitted.as_message().is_some() {
        return Err(unfit("it is a message, but the machine that took it runs jobs with args"));
    }
    Ok(submitted)
}

fn line_as_args(plain: &Plain, submitted: &Job, line: &[u8]) -> Result<Job, Box<Failure>> {
    if plain.is_simple() {
        return match plain.parse(line) {
            Ok(Some(fields)) => Ok(of_fields(submitted, &fields)),
            Ok(None) => Err(unfit("it is blank, and no JSON")),
            Err(why) => Err(invalid(submitted, &why)),
        };
    }
    let mut packed = Packed::default();
    plain
        .add(&mut packed, &plain_lines::split(plain.columns, line))
        .map_err(|why| invalid(submitted, &why))?;
    let job = plain.take(&mut packed, submitted.seq).ok_or_else(|| unfit("it has no args"))?;
    Ok(replace(submitted, job))
}

fn as_message(submitted: Job) -> Result<Job, Box<Failure>> {
    match submitted.line() {
        Some(line) => Ok(replace(&submitted, Job::message(submitted.seq, line))),
        None if submitted.as_message().is_some() => Ok(submitted),
        None => Err(unfit(
            "it has a command and args, but the worker of the machine that took it takes whole messages",
        )),
    }
}
