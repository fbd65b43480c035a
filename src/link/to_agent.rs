//! The messages of a coordinator to an agent.

use std::time::Duration;

use super::frame;
use crate::job::{Job, PartsConfig};
use crate::process::Stop;
use crate::util::bytes::{ByteReader, put_bytes, put_number, put_option};

/// A message to an agent.
#[derive(Debug)]
pub(crate) enum ToAgent<'a> {
    /// The task. It comes first, and once.
    Setup(Setup<'a>),
    /// The names of the args of the jobs that follow.
    Header(Vec<&'a [u8]>),
    /// A job, or a bundle of jobs.
    Job(Job),
    /// Nobody waits for the job with this number any more: it is ended, and comes back.
    Cancel(u64),
    /// Up to this many jobs that no slot has taken are wanted back, those that came last.
    Recall(u64),
    /// The run ends: no job is begun any more, and those that run are ended `after` this time, by this
    /// step. `None`: they are left to end.
    Stop { after: Option<Duration>, means: Stop },
    /// No more jobs come. The agent ends when it has finished those that it has.
    Finish,
    /// All processes are stopped, and no sign of life is expected.
    Pause,
    /// All processes go on.
    Resume,
    /// A sign of life. The stamp comes back.
    Ping(u64),
    /// The status of a server is wanted. It comes instead of [`ToAgent::Setup`].
    AskStatus,
    /// A server is to take no more callers, and to end after the present ones. It comes instead of
    /// [`ToAgent::Setup`].
    Drain,
}

/// The settings that an agent gets before its first job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setup<'a> {
    /// The name of the host.
    pub(crate) host: &'a str,
    /// How many slots it has; `None`: as many as it has CPUs.
    pub(crate) slots: Option<u64>,
    /// How many slots there are before its own.
    pub(crate) slots_before: u64,
    /// Without a sign of life for this long, the other end is gone.
    pub(crate) timeout: Duration,
    /// What happens to the parts of results that come before their ends. A server does this for the jobs of its caller.
    pub(crate) parts: PartsConfig,
    /// The folder to work in.
    pub(crate) folder: &'a [u8],
    /// The task. Only those who made it can read it.
    pub(crate) task: &'a [u8],
}

const SETUP: u8 = 1;
const HEADER: u8 = 2;
const JOB: u8 = 3;
const RECALL: u8 = 4;
const STOP: u8 = 5;
const FINISH: u8 = 6;
const PAUSE: u8 = 7;
const RESUME: u8 = 8;
const PING: u8 = 9;
const CANCEL: u8 = 10;
const ASK_STATUS: u8 = 11;
const DRAIN: u8 = 12;

impl ToAgent<'_> {
    /// Appends the message as a frame.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Setup(setup) => frame::seal(SETUP, out, |out| setup.put(out)),
            Self::Header(names) => frame::seal(HEADER, out, |out| {
                names.iter().for_each(|name| put_bytes(name, out));
            }),
            Self::Job(job) => put_job(job, out),
            Self::Cancel(seq) => frame::seal(CANCEL, out, |out| put_number(*seq, out)),
            Self::Recall(most) => frame::seal(RECALL, out, |out| put_number(*most, out)),
            Self::Stop { after, means } => frame::seal(STOP, out, |out| {
                put_option(after.map(millis), out);
                put_number(u64::from(*means == Stop::Kill), out);
            }),
            Self::Finish => frame::seal(FINISH, out, |_| ()),
            Self::Pause => frame::seal(PAUSE, out, |_| ()),
            Self::Resume => frame::seal(RESUME, out, |_| ()),
            Self::Ping(stamp) => frame::seal(PING, out, |out| put_number(*stamp, out)),
            Self::AskStatus => frame::seal(ASK_STATUS, out, |_| ()),
            Self::Drain => frame::seal(DRAIN, out, |_| ()),
        }
    }
}

/// Appends a job as a frame.
pub(crate) fn put_job(job: &Job, out: &mut Vec<u8>) {
    frame::seal(JOB, out, |out| job.put(out));
}

impl<'a> ToAgent<'a> {
    /// Reads a message. `None`: it is none.
    pub(crate) fn read(kind: u8, message: &'a [u8]) -> Option<Self> {
        let mut from = ByteReader(message);
        let read = match kind {
            SETUP => Self::Setup(Setup::read(&mut from)?),
            HEADER => {
                let mut names = Vec::new();
                while !from.is_empty() {
                    names.push(from.bytes()?);
                }
                Self::Header(names)
            }
            JOB => Self::Job(Job::take(&mut from)?),
            CANCEL => Self::Cancel(from.number()?),
            RECALL => Self::Recall(from.number()?),
            STOP => Self::Stop {
                after: from.option()?.map(Duration::from_millis),
                means: if from.number()? == 1 { Stop::Kill } else { Stop::Terminate },
            },
            FINISH => Self::Finish,
            PAUSE => Self::Pause,
            RESUME => Self::Resume,
            PING => Self::Ping(from.number()?),
            ASK_STATUS => Self::AskStatus,
            DRAIN => Self::Drain,
            _ => return None,
        };
        from.is_empty().then_some(read)
    }
}

impl<'a> Setup<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.host.as_bytes(), out);
        put_option(self.slots, out);
        put_number(self.slots_before, out);
        put_number(millis(self.timeout), out);
        put_number(u64::from(self.parts.are_passed_on), out);
        put_number(u64::from(self.parts.are_kept), out);
        put_bytes(self.folder, out);
        put_bytes(self.task, out);
    }

    fn read(from: &mut ByteReader<'a>) -> Option<Self> {
        Some(Self {
            host: from.text()?,
            slots: from.option()?,
            slots_before: from.number()?,
            timeout: Duration::from_millis(from.number()?),
            parts: PartsConfig {
                are_passed_on: from.number()? == 1,
                are_kept: from.number()? == 1,
            },
            folder: from.bytes()?,
            task: from.bytes()?,
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FrameSplit, LONGEST, split};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_message_is_the_same_at_the_other_end() {
        let setup = Setup {
            host: "alpha",
            slots: None,
            slots_before: 3,
            timeout: Duration::from_secs(15),
            parts: PartsConfig { are_passed_on: true, are_kept: false },
            folder: b"/tmp/\xff",
            task: b"a\0b",
        };
        let stop = |after, means| ToAgent::Stop { after, means };
        for message in [
            ToAgent::Setup(setup.clone()),
            ToAgent::Setup(Setup { slots: Some(0), parts: PartsConfig::default(), ..setup }),
            ToAgent::Header(vec![b"a", b""]),
            ToAgent::Job(Job::new(1, r#""f""#, "[]", "")),
            ToAgent::Cancel(1 << 62),
            ToAgent::Recall(7),
            stop(None, Stop::Terminate),
            stop(Some(Duration::from_secs(5)), Stop::Kill),
            ToAgent::Finish,
            ToAgent::Pause,
            ToAgent::Resume,
            ToAgent::Ping(u64::MAX),
            ToAgent::AskStatus,
            ToAgent::Drain,
        ] {
            let mut bytes = Vec::new();
            message.put(&mut bytes);
            let FrameSplit::Frame { kind, message: body, len } = split(&bytes, LONGEST) else {
                panic!("{message:?} is no frame");
            };
            assert_eq!(len, bytes.len());
            let read = ToAgent::read(kind, body).expect("a message");
            assert_eq!(format!("{read:?}"), format!("{message:?}"));
            // A message that is cut short is none.
            for end in 0..body.len() {
                let cut = ToAgent::read(kind, &body[..end]);
                assert!(cut.is_none() || matches!(message, ToAgent::Header(_)), "{cut:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0_u8..14, bytes: Vec<u8>) {
            let _ = ToAgent::read(kind, &bytes);
        }
    }
}
