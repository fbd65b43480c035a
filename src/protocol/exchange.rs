//! What a program needs that was not written as a worker: the end of its replies, the messages before and after each
//! request, the banner at its start, and which of its results are failures.

use std::fmt;

use super::Protocol;
use super::envelope::Message;
use super::fail_on::FailOn;
use super::framing::line::LINE;
use super::mark::Mark;
use super::notice::NoticeTemplate;
use crate::job::Job;
use crate::util::setting::Setting;

/// What a program needs, besides a framing and an envelope.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// What ends a reply; `None`: the framing says it.
    pub reply_end: Option<Mark>,
    /// The mark is a part of the reply.
    pub keep_end: bool,
    /// What is sent before each request.
    pub before: Option<Extra>,
    /// What is sent after each request.
    pub after: Option<Extra>,
    /// What a fresh worker prints before it is asked anything.
    pub banner: Option<Banner>,
    /// The results that are failures.
    pub fail_on: Vec<FailOn>,
}

/// What is sent with a request, and has no reply of its own.
#[derive(Clone, Debug)]
pub enum Extra {
    /// A message of these bytes.
    Text(Vec<u8>),
    /// A notification that is made of the args of the job.
    Notice(NoticeTemplate),
}

/// What a fresh worker prints unasked.
#[derive(Clone, Debug)]
pub enum Banner {
    /// This many messages.
    Messages(usize),
    /// All up to a mark.
    Until(Mark),
}

impl Banner {
    /// How many messages it has.
    pub(crate) fn messages(&self) -> usize {
        match self {
            Self::Messages(count) => *count,
            Self::Until(_) => 1,
        }
    }
}

/// A protocol has no such exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The framing of another protocol says where a reply ends.
    EndOfOther,
    /// A setting says where a reply ends, and so does another.
    TwoEnds,
    /// The protocol has no messages without a reply.
    NoExtra,
    /// The end of replies is to be kept, but no setting says what it is.
    NoEnd,
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfOther => write!(
                f,
                "{} is for the protocol raw: with others, the framing says where a reply ends",
                Setting::ReplyEnd
            ),
            Self::TwoEnds => write!(
                f,
                "{} says where a reply ends, and so does {} or the framing of replies: leave one out",
                Setting::ReplyEnd,
                Setting::ReplyMessages
            ),
            Self::NoExtra => {
                f.write_str("only the protocols raw and jsonrpc have messages without a reply")
            }
            Self::NoEnd => write!(f, "there is no end to keep: give {} as well", Setting::ReplyEnd),
        }
    }
}

impl std::error::Error for ExchangeError {}

impl Exchange {
    /// Checks that a protocol can have this exchange.
    pub(super) fn check(&self, protocol: &Protocol) -> Result<(), ExchangeError> {
        let is_pair = !std::ptr::eq(protocol.framing, protocol.replies);
        let has_end = self.reply_end.is_some();
        let has_extra = self.before.is_some() || self.after.is_some();
        if has_end && !protocol.is_raw() {
            Err(ExchangeError::EndOfOther)
        } else if has_end && (is_pair || protocol.reply_messages > 1) {
            Err(ExchangeError::TwoEnds)
        } else if self.keep_end && !has_end {
            Err(ExchangeError::NoEnd)
        } else if has_extra && protocol.envelope.notice.is_none() {
            Err(ExchangeError::NoExtra)
        } else {
            Ok(())
        }
    }

    /// Appends a request, with what is sent before and after it.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        protocol: &Protocol,
        id: u64,
        job: &Job,
    ) -> Result<(), String> {
        self.extra(out, protocol, self.before.as_ref(), Setting::BeforeRequest, job)?;
        let start = out.len();
        (protocol.envelope.request)(out, id, job)?;
        self.seal(out, protocol, start)?;
        self.extra(out, protocol, self.after.as_ref(), Setting::AfterRequest, job)
    }

    /// Turns a result that is a failure into a failure.
    pub(super) fn judge<'a>(&self, message: Message<'a>) -> Message<'a> {
        let Message::Reply { id, outcome: Ok(body) } = &message else { return message };
        let failure = self.fail_on.iter().find_map(|sign| sign.failure(body.value()));
        match failure {
            Some(failure) => Message::Reply { id: *id, outcome: Err(failure) },
            None => message,
        }
    }

    fn extra(
        &self,
        out: &mut Vec<u8>,
        protocol: &Protocol,
        extra: Option<&Extra>,
        setting: Setting,
        job: &Job,
    ) -> Result<(), String> {
        let Some(extra) = extra else { return Ok(()) };
        let start = out.len();
        match extra {
            Extra::Text(text) => {
                out.extend_from_slice(text);
                close(out, protocol, start)
            }
            // A message to a fresh worker is no job.
            Extra::Notice(_) if job.seq == 0 => Ok(()),
            Extra::Notice(notice) => {
                notice.write(out, job).map_err(|why| format!("{setting}: {why}"))?;
                (protocol.framing.seal)(out, start)
            }
        }
    }

    /// Makes a message of a request. If a mark ends the reply, a request may be several lines.
    fn seal(&self, out: &mut Vec<u8>, protocol: &Protocol, start: usize) -> Result<(), String> {
        if self.reply_end.is_some() {
            close(out, protocol, start)
        } else {
            (protocol.framing.seal)(out, start)
        }
    }
}

/// Makes a message of bytes that may be several lines.
fn close(out: &mut Vec<u8>, protocol: &Protocol, start: usize) -> Result<(), String> {
    if std::ptr::eq(protocol.framing, &LINE) {
        out.push(b'\n');
        return Ok(());
    }
    (protocol.framing.seal)(out, start)
}
