//! A message with results: of a whole bundle, of the jobs that were done when a bundle was split, or of one job. A
//! result that is too long for a message is in parts.

use std::time::Duration;

use super::line::LineNature;
use crate::job::printed::Printed;
use crate::job::{Done, Run};
use crate::link::frame;
use crate::link::from_agent::{FromAgent, PIECE, RemoteCommand, RemoteOutcome};
use crate::util::bytes::{ByteReader, put_bytes, put_number};

/// The first byte. Another format has another one.
const VERSION: u8 = 1;

/// The frame before a result: which try it was, and when it began.
const TRY: u8 = 100;

/// The kinds of messages with results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultKind {
    /// It has all results of its jobs.
    Whole = 0,
    /// The bundle was split: the results of the other jobs have messages of their own.
    Split = 1,
    /// The result is in parts.
    Parts = 2,
}

/// The beginning of a message with results.
#[derive(Debug)]
pub(super) struct ResultHead<'a> {
    pub(super) kind: ResultKind,
    /// The machine.
    pub(super) host: &'a str,
    /// How the machine reads lines and prints results.
    pub(super) nature: Nature,
    /// How long the machine took for the jobs of the message.
    pub(super) time: Duration,
    /// The frames, or where the parts are.
    pub(super) rest: &'a [u8],
}

/// How a machine reads lines, and how it prints results by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nature {
    pub(super) is_text: bool,
    pub(super) lines: LineNature,
}

impl Nature {
    fn byte(self) -> u8 {
        u8::from(self.is_text) | (self.lines as u8) << 1
    }

    fn read(byte: u8) -> Option<Self> {
        let lines = *LineNature::ALL.get(usize::from(byte >> 1))?;
        Some(Self { is_text: byte & 1 == 1, lines })
    }
}

/// Makes a message.
pub(super) fn seal(
    kind: ResultKind,
    host: &str,
    nature: Nature,
    time: Duration,
    frames: &[&[u8]],
) -> Vec<u8> {
    let len: usize = frames.iter().map(|frames| frames.len()).sum();
    let mut out = Vec::with_capacity(len + host.len() + 8);
    out.extend_from_slice(&[VERSION, kind as u8, nature.byte()]);
    put_bytes(host.as_bytes(), &mut out);
    put_number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), &mut out);
    frames.iter().for_each(|frames| out.extend_from_slice(frames));
    out
}

/// Reads the beginning of a message. `None`: the bytes are no message with results.
pub(super) fn open(message: &[u8]) -> Option<ResultHead<'_>> {
    let (head, rest) = message.split_first_chunk::<3>()?;
    let kind = match *head {
        [VERSION, 0, _] => ResultKind::Whole,
        [VERSION, 1, _] => ResultKind::Split,
        [VERSION, 2, _] => ResultKind::Parts,
        _ => return None,
    };
    let mut from = ByteReader(rest);
    let (host, time) = (from.text()?, Duration::from_nanos(from.number()?));
    Some(ResultHead { kind, host, nature: Nature::read(head[2])?, time, rest: from.0 })
}

/// Where the parts of a long result are: a name, and how many.
pub(super) fn put_parts(token: &str, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(token.as_bytes(), &mut out);
    put_number(count as u64, &mut out);
    out
}

/// Reads what [`put_parts`] wrote.
pub(super) fn parts(bytes: &[u8]) -> Option<(&str, usize)> {
    let mut from = ByteReader(bytes);
    Some((from.text()?, from.small()?))
}

/// Appends the result of a job, which has this index in its bundle.
///
/// # Errors
/// What a command printed can't be read back.
pub(super) fn put(index: usize, done: &Done<'_>, out: &mut Vec<u8>) -> std::io::Result<()> {
    let seq = index as u64;
    let command = done.printed.map(|printed| put_printed(seq, printed, out)).transpose()?;
    if let Some(Run { attempt, start, .. }) = done.run {
        frame::seal(TRY, out, |out| {
            put_number(u64::from(attempt), out);
            out.extend_from_slice(&start.to_bits().to_le_bytes());
        });
    }
    let outcome = RemoteOutcome { unproven: None, ..RemoteOutcome::of(seq, done, command) };
    FromAgent::Done(outcome).put(out);
    Ok(())
}

fn put_printed(seq: u64, printed: &Printed, out: &mut Vec<u8>) -> std::io::Result<RemoteCommand> {
    for (capture, is_stderr) in [(&printed.stdout, false), (&printed.stderr, true)] {
        capture.each(|bytes| {
            for bytes in bytes.chunks(PIECE) {
                FromAgent::Printed { seq, is_stderr, bytes }.put(out);
            }
            Ok(())
        })?;
    }
    Ok(RemoteCommand::of(printed))
}

/// A frame of a message with results.
#[derive(Debug)]
pub(super) enum ResultFrame<'a> {
    /// Which try the next result is of, and when it began, in seconds since 1970.
    Try { attempt: u32, start: f64 },
    /// A piece of what the command of the next result printed.
    Printed { is_stderr: bool, bytes: &'a [u8] },
    /// A result. `seq` is the index in the bundle.
    Done(RemoteOutcome<'a>),
}

/// Takes the next frame off the front. `None`: there is none.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Option<ResultFrame<'a>> {
    let frame::FrameSplit::Frame { kind, message, len } = frame::split(rest, frame::LONGEST) else {
        return None;
    };
    *rest = &rest[len..];
    if kind == TRY {
        let mut from = ByteReader(message);
        let attempt = from.small()?;
        let bits = u64::from_le_bytes(*from.0.first_chunk()?);
        return Some(ResultFrame::Try { attempt, start: f64::from_bits(bits) });
    }
    match FromAgent::read(kind, message)? {
        FromAgent::Printed { is_stderr, bytes, .. } => {
            Some(ResultFrame::Printed { is_stderr, bytes })
        }
        FromAgent::Done(done) => Some(ResultFrame::Done(done)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Failure, Job, Kind, Value};
    use proptest::prelude::*;

    const NATURE: Nature = Nature { is_text: true, lines: LineNature::Message };

    #[test]
    fn results_come_out_as_they_went_in() {
        let job = Job::new(1, "", "", "");
        let failure = Failure::new(Kind::Lost, "why");
        let run = Some(Run { slot: 2, pid: 3, attempt: 4, start: 5.5, seconds: 0.25, host: None });
        let mut frames = Vec::new();
        for (index, outcome) in [(0, Ok(Value::Bytes(b"\xff"))), (9, Err(&failure))] {
            let done = Done { job: &job, outcome, printed: None, run, unproven: None };
            put(index, &done, &mut frames).expect("nothing is read back");
        }
        let message = seal(ResultKind::Split, "alpha", NATURE, Duration::from_nanos(7), &[&frames]);
        let head = open(&message).expect("a message");
        assert_eq!((head.kind, head.host, head.nature), (ResultKind::Split, "alpha", NATURE));
        assert_eq!(head.time, Duration::from_nanos(7));
        let mut rest = head.rest;
        let mut indices = Vec::new();
        while let Some(frame) = next(&mut rest) {
            match frame {
                ResultFrame::Try { attempt, start } => assert_eq!((attempt, start), (4, 5.5)),
                ResultFrame::Done(done) => indices.push(done.seq),
                ResultFrame::Printed { .. } => panic!("no command"),
            }
        }
        assert_eq!(indices, [0, 9]);
        assert!(rest.is_empty());
        assert_eq!(parts(&put_parts("token", 3)), Some(("token", 3)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let bytes = [&[VERSION, 0, 0][..], &bytes].concat();
            if let Some(head) = open(&bytes) {
                let mut rest = head.rest;
                while next(&mut rest).is_some() {}
                parts(head.rest);
            }
        }
    }
}
