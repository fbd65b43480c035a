//! The messages of an agent to its coordinator.

use std::time::Duration;

use serde_json::value::RawValue;

use super::frame;
use crate::job::key::Key;
use crate::job::printed::Printed;
use crate::job::{Done, Failure, Kind, Run, Value};
use crate::util::bytes::{ByteReader, put_bytes, put_number, put_option};
use crate::util::json::Json;

/// The output of a command is sent in pieces of this many bytes.
pub(crate) const PIECE: usize = 64 << 10;

/// A message of an agent.
#[derive(Debug)]
pub(crate) enum FromAgent<'a> {
    /// It takes jobs, and runs this number at a time.
    Ready { slots: u64 },
    /// Each of its slots may have this many jobs at a time, even if jobs are slow: because its workers work on them at a
    /// time, or because the user says so.
    AtATime { jobs: u64, is_concurrent: bool },
    /// It can't run its task.
    Refused(&'a str),
    /// A slot has taken these successive jobs.
    Begun { slot: u64, seq: u64, count: u64 },
    /// The process that a slot has from now on.
    Process { slot: u64, pid: u32 },
    /// A piece of the output of a job's command. All pieces come before the outcome.
    Printed { seq: u64, is_stderr: bool, bytes: &'a [u8] },
    /// The result of a job.
    Done(RemoteOutcome<'a>),
    /// The results of successive jobs: texts with a newline after each.
    Texts { seq: u64, count: u64, texts: &'a [u8] },
    /// Lines that the command of a job has printed while it runs.
    Lines { seq: u64, out: &'a [u8], err: &'a [u8] },
    /// A part of the result of a job that goes on.
    Part { seq: u64, part: RemoteValue<'a> },
    /// The results with this number belong to their jobs.
    Proved(u64),
    /// The results with this number may be wrong.
    Unprovable(u64),
    /// The result of a job that was delivered may be wrong.
    Doubt { key: Key, failure: Failure },
    /// These successive jobs were not begun, and will not be.
    Returned { seq: u64, count: u64 },
    /// All jobs that were recalled have come back.
    Recalled,
    /// Whole lines that a worker wrote to stderr.
    Stderr(&'a [u8]),
    /// Something that a person should know.
    Note(&'a str),
    /// Results that were delivered may be wrong, as a sentence.
    Doubtful(&'a str),
    /// The output could not be kept there.
    OutputLost(&'a str),
    /// A worker has ended.
    WorkerEnded(RemoteWorkerEnd),
    /// No worker starts here.
    Unfit(&'a str),
    /// A sign of life: the stamp of a ping, or none.
    Pong(Option<u64>),
    /// The agent has finished. Nothing follows.
    Bye,
    /// A server says what its pool is, before anything else: words of a command line, each with a NUL byte
    /// after it.
    Pool(&'a [u8]),
    /// The status of a server, as JSON.
    Status(&'a str),
}

/// The result of a job at an agent.
#[derive(Debug)]
pub(crate) struct RemoteOutcome<'a> {
    pub(crate) seq: u64,
    pub(crate) run: Option<RemoteRun>,
    /// A command was started, and ended like this. Its output has come before.
    pub(crate) command: Option<RemoteCommand>,
    pub(crate) outcome: Result<RemoteValue<'a>, Failure>,
    /// The number under which a result is proven later.
    pub(crate) unproven: Option<u64>,
}

impl<'a> RemoteOutcome<'a> {
    /// The outcome of a job, under the number that its coordinator knows. `command`: the command that was started for it.
    pub(crate) fn of(seq: u64, done: &Done<'a>, command: Option<RemoteCommand>) -> Self {
        let run = done.run.map(|Run { slot, pid, seconds, .. }| RemoteRun {
            slot: slot as u64,
            pid,
            time: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        });
        let outcome = match done.outcome {
            Ok(value) => Ok(RemoteValue::of(value)),
            Err(failure) => Err(failure.clone()),
        };
        Self { seq, run, command, outcome, unproven: done.unproven }
    }
}

/// Where a job ran, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RemoteRun {
    pub(crate) slot: u64,
    pub(crate) pid: u32,
    pub(crate) time: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemoteCommand {
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// How many bytes of stdout and stderr were passed on while it ran.
    pub(crate) passed: [u64; 2],
}

impl RemoteCommand {
    pub(crate) fn of(printed: &Printed) -> Self {
        let passed = [printed.stdout.passed(), printed.stderr.passed()];
        Self { exit: printed.exit, signal: printed.signal, passed }
    }
}

/// The result of a job.
#[derive(Debug)]
pub(crate) enum RemoteValue<'a> {
    Json(Json<'a>),
    Bytes(&'a [u8]),
    /// Its parts have come before.
    Shown(Json<'a>),
}

/// A worker that has ended at an agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RemoteWorkerEnd {
    pub(crate) slot: u64,
    pub(crate) pid: u32,
    pub(crate) generation: u64,
    pub(crate) time: Duration,
    pub(crate) jobs: u64,
    /// The number of the reason among all reasons.
    pub(crate) why: u64,
}

const READY: u8 = 1;
const REFUSED: u8 = 2;
const BEGUN: u8 = 3;
const PRINTED: u8 = 4;
const DONE: u8 = 5;
const TEXTS: u8 = 6;
const LINES: u8 = 7;
const DOUBT: u8 = 8;
const RETURNED: u8 = 9;
const RECALLED: u8 = 10;
const STDERR: u8 = 11;
const NOTE: u8 = 12;
const DOUBTFUL: u8 = 13;
const OUTPUT_LOST: u8 = 14;
const WORKER_ENDED: u8 = 15;
const UNFIT: u8 = 16;
const PONG: u8 = 17;
const BYE: u8 = 18;
const PROVED: u8 = 19;
const UNPROVABLE: u8 = 20;
const PROCESS: u8 = 21;
const POOL: u8 = 22;
const STATUS: u8 = 23;
const PART: u8 = 24;
const AT_A_TIME: u8 = 25;

impl FromAgent<'_> {
    /// Appends the message as a frame.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut numbers = |kind, numbers: &[u64]| {
            frame::seal(kind, out, |out| {
                numbers.iter().for_each(|&number| put_number(number, out))
            });
        };
        match self {
            Self::Ready { slots } => numbers(READY, &[*slots]),
            Self::Begun { slot, seq, count } => numbers(BEGUN, &[*slot, *seq, *count]),
            Self::Process { slot, pid } => numbers(PROCESS, &[*slot, u64::from(*pid)]),
            Self::Returned { seq, count } => numbers(RETURNED, &[*seq, *count]),
            Self::Recalled => numbers(RECALLED, &[]),
            Self::Bye => numbers(BYE, &[]),
            Self::AtATime { jobs, is_concurrent } => {
                numbers(AT_A_TIME, &[*jobs, u64::from(*is_concurrent)]);
            }
            Self::Proved(number) => numbers(PROVED, &[*number]),
            Self::Unprovable(number) => numbers(UNPROVABLE, &[*number]),
            Self::Pong(stamp) => frame::seal(PONG, out, |out| put_option(*stamp, out)),
            Self::WorkerEnded(RemoteWorkerEnd { slot, pid, generation, time, jobs, why }) => {
                let (pid, time) = (u64::from(*pid), nanos(*time));
                numbers(WORKER_ENDED, &[*slot, pid, *generation, time, *jobs, *why]);
            }
            Self::Refused(text) => put_text(REFUSED, text.as_bytes(), out),
            Self::Stderr(lines) => put_text(STDERR, lines, out),
            Self::Note(text) => put_text(NOTE, text.as_bytes(), out),
            Self::Doubtful(text) => put_text(DOUBTFUL, text.as_bytes(), out),
            Self::OutputLost(text) => put_text(OUTPUT_LOST, text.as_bytes(), out),
            Self::Unfit(text) => put_text(UNFIT, text.as_bytes(), out),
            Self::Pool(words) => put_text(POOL, words, out),
            Self::Status(text) => put_text(STATUS, text.as_bytes(), out),
            Self::Printed { seq, is_stderr, bytes } => frame::seal(PRINTED, out, |out| {
                put_number(*seq, out);
                put_number(u64::from(*is_stderr), out);
                out.extend_from_slice(bytes);
            }),
            Self::Texts { seq, count, texts } => frame::seal(TEXTS, out, |out| {
                put_number(*seq, out);
                put_number(*count, out);
                out.extend_from_slice(texts);
            }),
            Self::Lines { seq, out: lines, err } => frame::seal(LINES, out, |out| {
                put_number(*seq, out);
                put_bytes(lines, out);
                out.extend_from_slice(err);
            }),
            Self::Part { seq, part } => frame::seal(PART, out, |out| {
                put_number(*seq, out);
                part.put(out);
            }),
            Self::Doubt { key, failure } => frame::seal(DOUBT, out, |out| {
                Key::put(Some(*key), out);
                put_failure(failure, out);
            }),
            Self::Done(done) => frame::seal(DONE, out, |out| done.put(out)),
        }
    }
}

fn put_text(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    frame::seal(kind, out, |out| out.extend_from_slice(text));
}

impl<'a> FromAgent<'a> {
    /// Reads a message. `None`: it is none.
    pub(crate) fn read(kind: u8, message: &'a [u8]) -> Option<Self> {
        let mut from = ByteReader(message);
        let text = || std::str::from_utf8(message).ok();
        let read = match kind {
            REFUSED => return Some(Self::Refused(text()?)),
            NOTE => return Some(Self::Note(text()?)),
            DOUBTFUL => return Some(Self::Doubtful(text()?)),
            OUTPUT_LOST => return Some(Self::OutputLost(text()?)),
            UNFIT => return Some(Self::Unfit(text()?)),
            STATUS => return Some(Self::Status(text()?)),
            STDERR => return Some(Self::Stderr(message)),
            POOL => return Some(Self::Pool(message)),
            PRINTED => {
                let (seq, stream) = (from.number()?, from.number()?);
                return Some(Self::Printed { seq, is_stderr: stream == 1, bytes: from.0 });
            }
            TEXTS => {
                let (seq, count) = (from.number()?, from.number()?);
                return Some(Self::Texts { seq, count, texts: from.0 });
            }
            LINES => {
                let (seq, out) = (from.number()?, from.bytes()?);
                return Some(Self::Lines { seq, out, err: from.0 });
            }
            PART => {
                let (seq, form) = (from.number()?, from.number()?);
                return Some(Self::Part { seq, part: RemoteValue::read(form, from.0)? });
            }
            READY => Self::Ready { slots: from.number()? },
            BEGUN => {
                Self::Begun { slot: from.number()?, seq: from.number()?, count: from.number()? }
            }
            PROCESS => Self::Process { slot: from.number()?, pid: from.small()? },
            DONE => return RemoteOutcome::read(from).map(Self::Done),
            DOUBT => Self::Doubt { key: Key::take(&mut from)??, failure: failure(&mut from)? },
            RETURNED => Self::Returned { seq: from.number()?, count: from.number()? },
            RECALLED => Self::Recalled,
            WORKER_ENDED => Self::WorkerEnded(RemoteWorkerEnd {
                slot: from.number()?,
                pid: from.small()?,
                generation: from.number()?,
                time: Duration::from_nanos(from.number()?),
                jobs: from.number()?,
                why: from.number()?,
            }),
            PONG => Self::Pong(from.option()?),
            BYE => Self::Bye,
            AT_A_TIME => Self::AtATime { jobs: from.number()?, is_concurrent: from.number()? == 1 },
            PROVED => Self::Proved(from.number()?),
            UNPROVABLE => Self::Unprovable(from.number()?),
            _ => return None,
        };
        from.is_empty().then_some(read)
    }
}

const NO_VALUE: u64 = 0;
const JSON: u64 = 1;
const BYTES: u64 = 2;
const SHOWN: u64 = 3;

impl<'a> RemoteValue<'a> {
    pub(crate) fn of(value: Value<'a>) -> Self {
        match value {
            Value::Json(json) => Self::Json(json),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Shown(json) => Self::Shown(json),
        }
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match *self {
            Self::Json(json) => Value::Json(json),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Shown(json) => Value::Shown(json),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (form, bytes) = match self {
            Self::Json(json) => (JSON, json.bytes()),
            Self::Bytes(bytes) => (BYTES, *bytes),
            Self::Shown(json) => (SHOWN, json.bytes()),
        };
        put_number(form, out);
        out.extend_from_slice(bytes);
    }

    /// `None`: these bytes are no value of this form.
    fn read(form: u64, bytes: &'a [u8]) -> Option<Self> {
        let json = || serde_json::from_slice(bytes).ok().map(Json::of);
        match form {
            JSON => json().map(Self::Json),
            BYTES => Some(Self::Bytes(bytes)),
            SHOWN => json().map(Self::Shown),
            _ => None,
        }
    }
}

impl<'a> RemoteOutcome<'a> {
    /// The value comes last, so that it can be large and is not copied.
    fn put(&self, out: &mut Vec<u8>) {
        put_number(self.seq, out);
        put_option(self.unproven, out);
        let run = self.run;
        put_option(run.map(|run| run.slot), out);
        if let Some(RemoteRun { pid, time, .. }) = run {
            put_number(u64::from(pid), out);
            put_number(nanos(time), out);
        }
        put_number(u64::from(self.command.is_some()), out);
        if let Some(RemoteCommand { exit, signal, passed }) = self.command {
            // As their bits: a status has no sign, and a signal is positive.
            let bits = |number: i32| u64::from(u32::from_ne_bytes(number.to_ne_bytes()));
            put_option(exit.map(bits), out);
            put_option(signal.map(bits), out);
            passed.iter().for_each(|&count| put_number(count, out));
        }
        match &self.outcome {
            Ok(value) => value.put(out),
            Err(failure) => {
                put_number(NO_VALUE, out);
                put_failure(failure, out);
            }
        }
    }

    fn read(mut from: ByteReader<'a>) -> Option<Self> {
        let seq = from.number()?;
        let unproven = from.option()?;
        let run = match from.option()? {
            None => None,
            Some(slot) => {
                let (pid, time) = (from.small()?, Duration::from_nanos(from.number()?));
                Some(RemoteRun { slot, pid, time })
            }
        };
        let command = match from.number()? {
            0 => None,
            _ => {
                let number =
                    |bits: u64| Some(i32::from_ne_bytes(u32::try_from(bits).ok()?.to_ne_bytes()));
                let (exit, signal) = (from.option()?, from.option()?);
                let exit = exit.map_or(Some(None), |bits| number(bits).map(Some))?;
                let signal = signal.map_or(Some(None), |bits| number(bits).map(Some))?;
                Some(RemoteCommand { exit, signal, passed: [from.number()?, from.number()?] })
            }
        };
        let outcome = match from.number()? {
            NO_VALUE => Err(failure(&mut from).filter(|_| from.is_empty())?),
            form => Ok(RemoteValue::read(form, from.0)?),
        };
        Some(Self { seq, run, command, outcome, unproven })
    }
}

fn put_failure(failure: &Failure, out: &mut Vec<u8>) {
    put_bytes(failure.kind.name().as_bytes(), out);
    put_bytes(failure.message.as_bytes(), out);
    put_bytes(failure.data.as_ref().map_or("", |data| data.get()).as_bytes(), out);
    put_number(u64::from(failure.is_shared), out);
}

fn failure(from: &mut ByteReader<'_>) -> Option<Failure> {
    let kind = Kind::named(from.text()?)?;
    let message = from.text()?.to_owned();
    let data = match from.text()? {
        "" => None,
        text => Some(RawValue::from_string(text.to_owned()).ok()?),
    };
    let is_shared = from.number()? != 0;
    Some(Failure { kind, message, data, output: None, is_shared })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::frame::{FrameSplit, LONGEST, split};
    use super::*;
    use crate::job::key::Digest128;
    use proptest::prelude::*;

    fn outcomes() -> Vec<FromAgent<'static>> {
        let run = RemoteRun { slot: 9, pid: 77, time: Duration::from_nanos(5) };
        let command = RemoteCommand { exit: Some(255), signal: None, passed: [3, 0] };
        let json: &RawValue = serde_json::from_str("{\"a\": [1 , 2]}").expect("JSON");
        let data = Some(RawValue::from_string("[1]".into()).expect("JSON"));
        let failure = Failure { data, is_shared: true, ..Failure::new(Kind::Error, "no \u{1b}") };
        let killed = RemoteCommand { exit: None, signal: Some(9), passed: [0, 0] };
        let done = |run, command, outcome| {
            FromAgent::Done(RemoteOutcome {
                seq: 1 << 40,
                run,
                command,
                outcome,
                unproven: Some(3),
            })
        };
        vec![
            done(Some(run), None, Ok(RemoteValue::Json(Json::of(json)))),
            done(Some(run), None, Ok(RemoteValue::Bytes(b"\0\xff\n"))),
            done(Some(run), None, Ok(RemoteValue::Shown(Json::of(json)))),
            done(Some(run), Some(command), Ok(RemoteValue::Json(Json::NULL))),
            done(Some(run), Some(killed), Err(failure.clone())),
            done(None, None, Err(Failure::new(Kind::Invalid, ""))),
            FromAgent::Doubt {
                key: Key { digest: Digest128([9; 16]), nth: NonZeroU32::MIN },
                failure,
            },
        ]
    }

    #[test]
    fn each_message_is_the_same_at_the_other_end() {
        let ended = RemoteWorkerEnd {
            slot: 1,
            pid: 2,
            generation: 3,
            time: Duration::from_millis(4),
            jobs: 5,
            why: 6,
        };
        let mut messages = outcomes();
        messages.extend([
            FromAgent::Ready { slots: 8 },
            FromAgent::AtATime { jobs: 16, is_concurrent: true },
            FromAgent::Refused("no such program"),
            FromAgent::Begun { slot: 1, seq: 2, count: 3 },
            FromAgent::Process { slot: 1, pid: 77 },
            FromAgent::Printed { seq: 1, is_stderr: true, bytes: b"\xff" },
            FromAgent::Texts { seq: 1, count: 2, texts: b"a\nb\n" },
            FromAgent::Lines { seq: 1, out: b"a\n", err: b"" },
            FromAgent::Returned { seq: 1, count: 2 },
            FromAgent::Part { seq: 1, part: RemoteValue::Json(Json::NULL) },
            FromAgent::Part { seq: 1, part: RemoteValue::Bytes(b"") },
            FromAgent::Recalled,
            FromAgent::Stderr(b"\xff\n"),
            FromAgent::Note("note"),
            FromAgent::Doubtful("doubt"),
            FromAgent::OutputLost("lost"),
            FromAgent::WorkerEnded(ended),
            FromAgent::Unfit("unfit"),
            FromAgent::Pong(None),
            FromAgent::Pong(Some(3)),
            FromAgent::Bye,
            FromAgent::Proved(1),
            FromAgent::Unprovable(2),
            FromAgent::Pool(b"-w\0x\0"),
            FromAgent::Status("{}"),
        ]);
        for message in messages {
            let mut bytes = Vec::new();
            message.put(&mut bytes);
            let FrameSplit::Frame { kind, message: body, len } = split(&bytes, LONGEST) else {
                panic!("{message:?} is no frame");
            };
            assert_eq!(len, bytes.len());
            let read = FromAgent::read(kind, body).expect("a message");
            assert_eq!(format!("{read:?}"), format!("{message:?}"));
        }
    }

    #[test]
    fn outcomes_that_are_cut_short_are_none() {
        for message in outcomes() {
            let mut bytes = Vec::new();
            message.put(&mut bytes);
            let FrameSplit::Frame { kind, message: body, .. } = split(&bytes, LONGEST) else {
                panic!("no frame");
            };
            for end in 0..body.len() {
                let cut = FromAgent::read(kind, &body[..end]);
                // Bytes may be of any length.
                let is_bytes = matches!(
                    cut,
                    Some(FromAgent::Done(RemoteOutcome { outcome: Ok(RemoteValue::Bytes(_)), .. }))
                );
                assert!(cut.is_none() || is_bytes, "{cut:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0_u8..27, bytes: Vec<u8>) {
            let _ = FromAgent::read(kind, &bytes);
        }
    }
}
