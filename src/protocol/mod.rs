//! The protocols of workers, in two layers that do no IO: a framing (bytes ↔ messages) and an envelope
//! (messages ↔ jobs). A protocol is one of each.

mod bulk;
pub mod envelope;
pub mod exchange;
pub mod fail_on;
mod fields;
pub mod framing;
mod hint;
pub mod mark;
pub mod notice;

use std::fmt;
use std::sync::Arc;

pub(crate) use bulk::Bulk;
use envelope::bazel::{self, BAZEL};
use envelope::code::CODE;
use envelope::dap::DAP;
use envelope::jsonrpc::JSONRPC;
use envelope::procpool::PROCPOOL;
use envelope::raw::RAW;
use envelope::sh::SH;
use envelope::{Envelope, Message, Notice};
use exchange::{Banner, Exchange, ExchangeError};
use framing::content_length::CONTENT_LENGTH;
use framing::json::JSON;
use framing::line::LINE;
use framing::nul::NUL;
use framing::varint::VARINT;
use framing::{Framing, LINES_AND_NULS, Scan, Split};
use mark::Mark;

use crate::job::Job;

/// A way to speak to a worker: the contents of messages, and where they begin and end.
///
/// ```
/// use procpool::Protocol;
///
/// assert!(Protocol::JSONRPC.with_framing("content-length").is_some());
/// assert!(Protocol::RAW.with_framing("no such framing").is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Protocol {
    /// Its name.
    #[doc(hidden)]
    pub name: &'static str,
    /// The contents of messages.
    #[doc(hidden)]
    pub envelope: &'static Envelope,
    /// Where requests begin and end.
    #[doc(hidden)]
    pub framing: &'static Framing,
    /// Where replies begin and end.
    #[doc(hidden)]
    pub replies: &'static Framing,
    /// How many messages a reply consists of.
    reply_messages: usize,
    /// What else a program needs; `None`: nothing.
    exchange: Option<Arc<Exchange>>,
}

/// All protocols that the user can choose. The first is the default.
pub static PROTOCOLS: &[Protocol] =
    &[Protocol::JSONL, Protocol::RAW, Protocol::JSONRPC, Protocol::BAZEL, Protocol::DAP];

/// The protocol of procpool's own workers for code in other languages than `sh`.
pub static OF_CODE: Protocol = Protocol::pair("code", &CODE, &LINE);

/// The protocol of procpool's own worker for `sh`.
pub static OF_SH: Protocol = Protocol::pair("sh", &SH, &LINES_AND_NULS);

impl Protocol {
    /// procpool's own: a line `{"id":1,"cmd":"resize","args":["a.png"]}` is a request, a line `{"result":…}`
    /// or `{"error":…}` the reply. A reply may have the `id` of its request. The default.
    pub const JSONL: Self = Self::pair("jsonl", &PROCPOOL, &LINE);

    /// A line is a request, and the line that answers it is the result: a [`String`] or
    /// [`Bytes`](crate::Bytes). A string as args is sent as it is, and so is the only string of a list; other
    /// args are sent as JSON. The `cmd` of a call is ignored.
    pub const RAW: Self = Self::pair("raw", &RAW, &LINE);

    /// JSON-RPC 2.0, as language servers and MCP servers speak it. `cmd` is the method.
    pub const JSONRPC: Self = Self::pair("jsonrpc", &JSONRPC, &LINE);

    /// The protocol of Bazel's persistent workers.
    pub const BAZEL: Self = Self::pair("bazel", &BAZEL, &VARINT);

    /// The Debug Adapter Protocol. `cmd` is the command, and an object as args has the arguments.
    pub const DAP: Self = Self::pair("dap", &DAP, &CONTENT_LENGTH);

    /// The same protocol with a framing of this name: `line`, `nul`, `netstring`, `content-length`, `u32`,
    /// `u32le`, `varint`, `json`. `None`: there is no such framing.
    pub fn with_framing(self, name: &str) -> Option<Self> {
        framing::named(name).map(|framing| self.framed(framing))
    }

    const fn pair(
        name: &'static str,
        envelope: &'static Envelope,
        framing: &'static Framing,
    ) -> Self {
        Self { name, envelope, framing, replies: framing, reply_messages: 1, exchange: None }
    }

    /// The protocol of this name.
    #[doc(hidden)]
    pub fn named(name: &str) -> Option<Self> {
        PROTOCOLS.iter().find(|protocol| protocol.name == name).cloned()
    }

    /// The same protocol with another framing.
    #[doc(hidden)]
    #[must_use]
    pub fn framed(self, framing: &'static Framing) -> Self {
        // Bazel's workers speak protocol buffers or JSON, and each has a framing of its own.
        let is_bazel_json = std::ptr::eq(self.envelope, &BAZEL) && std::ptr::eq(framing, &JSON);
        let envelope = if is_bazel_json { &bazel::JSON } else { self.envelope };
        Self { envelope, framing, replies: framing, ..self }
    }

    /// The same protocol with a framing for requests, and another one for replies.
    #[doc(hidden)]
    #[must_use]
    pub fn framed_as(self, requests: &'static Framing, replies: &'static Framing) -> Self {
        Self { replies, ..self.framed(requests) }
    }

    /// The same protocol for a program that needs more than that.
    ///
    /// # Errors
    /// The protocol has no such exchange.
    #[doc(hidden)]
    pub fn with_exchange(self, exchange: Exchange) -> Result<Self, ExchangeError> {
        exchange.check(&self)?;
        Ok(Self { exchange: Some(Arc::new(exchange)), ..self })
    }

    /// What a fresh worker prints unasked.
    pub(crate) fn banner(&self) -> Option<&Banner> {
        self.exchange()?.banner.as_ref()
    }

    /// Looks for the first message of the banner, as [`Protocol::split`] does for a reply.
    pub(crate) fn split_banner(&self, bytes: &[u8], scan: &mut Scan) -> Split {
        match self.banner() {
            Some(Banner::Until(mark)) => mark.split(false, bytes, scan),
            _ => self.split(bytes, scan),
        }
    }

    /// What else the program needs.
    pub(crate) fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_deref()
    }

    /// The same protocol, but a reply consists of `count` messages. They keep the bytes that separate
    /// them.
    ///
    /// # Errors
    /// The protocol has no replies of this many messages.
    #[doc(hidden)]
    pub fn with_reply_messages(self, count: usize) -> Result<Self, ReplyMessagesError> {
        let has_ends = [&LINE, &NUL].iter().any(|framing| std::ptr::eq(*framing, self.replies));
        match count {
            0 => Err(ReplyMessagesError::Zero),
            1 => Ok(self),
            _ if self.is_raw() && has_ends => Ok(Self { reply_messages: count, ..self }),
            _ => Err(ReplyMessagesError::NotSeparable),
        }
    }

    /// Looks for the first reply in some bytes, as [`Framing::split`] does for a message.
    #[doc(hidden)]
    pub fn split(&self, bytes: &[u8], scan: &mut Scan) -> Split {
        if let Some(exchange) = &self.exchange
            && let Some(end) = &exchange.reply_end
        {
            return end.split(exchange.keep_end, bytes, scan);
        }
        framing::split_many(self.replies, self.reply_messages, bytes, scan)
    }

    /// Appends the request for a job as a message, with what else is sent with it.
    ///
    /// # Errors
    /// Why the job can't be put into a request, as a sentence. The caller cuts `out` to its old length.
    pub(crate) fn write(&self, out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String> {
        if let Some(exchange) = &self.exchange {
            return exchange.write(out, self, id, job);
        }
        let start = out.len();
        (self.envelope.request)(out, id, job)?;
        (self.framing.seal)(out, start)
    }

    /// Reads a message of a worker. A result may be a failure.
    ///
    /// # Errors
    /// What is wrong with the message, as a phrase.
    pub(crate) fn read<'a>(&self, message: &'a [u8]) -> Result<Message<'a>, String> {
        let message = (self.envelope.read)(message)?;
        match &self.exchange {
            Some(exchange) if !exchange.fail_on.is_empty() => Ok(exchange.judge(message)),
            _ => Ok(message),
        }
    }

    /// The id of the request that a reply begins with, even if it is no whole reply.
    pub(crate) fn id_in(&self, reply: &[u8]) -> Option<u64> {
        if self.is_raw() { None } else { envelope::first_id(reply) }
    }

    /// Whether these bytes of a worker that has answered all requests mean nothing: blank lines, if these end
    /// a reply. Some programs print more than one.
    pub(crate) fn is_idle_output(&self, bytes: &[u8]) -> bool {
        let end = self.exchange().and_then(|exchange| exchange.reply_end.as_ref());
        matches!(end, Some(Mark::BlankLine)) && bytes.iter().all(|&b| matches!(b, b'\n' | b'\r'))
    }

    /// Whether a reply is only complete with a mark.
    pub(crate) fn has_marks(&self) -> bool {
        self.exchange().is_some_and(|exchange| exchange.reply_end.is_some())
    }

    /// The function that writes a message without a reply.
    ///
    /// # Errors
    /// Why the protocol has no such message, as a phrase.
    pub(crate) fn notice(&self) -> Result<Notice, String> {
        self.envelope.notice.ok_or_else(|| {
            let name = self.name;
            format!("the protocol {name} has no message without a reply; raw and jsonrpc have one")
        })
    }

    /// The bytes without blanks around them, if the framing ignores blanks.
    pub(crate) fn without_blanks<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if std::ptr::eq(self.replies, &JSON) { bytes.trim_ascii() } else { bytes }
    }

    /// The value of a worker's `PROCPOOL_PROTOCOL`: the name, then a plus and the framing if that is not
    /// the usual one.
    #[doc(hidden)]
    pub fn label(&self) -> String {
        match Self::named(self.name) {
            _ if !std::ptr::eq(self.framing, self.replies) => {
                format!("{}+{},{}", self.name, self.framing.name, self.replies.name)
            }
            Some(usual) if !std::ptr::eq(usual.framing, self.framing) => {
                format!("{}+{}", self.name, self.framing.name)
            }
            _ => self.name.to_owned(),
        }
    }

    /// Whether a newline ends each message, so that none can have one.
    #[doc(hidden)]
    pub fn ends_with_newline(&self) -> bool {
        std::ptr::eq(self.framing, &LINE)
    }

    /// Whether each message is a job, of any bytes.
    #[doc(hidden)]
    pub fn is_raw(&self) -> bool {
        std::ptr::eq(self.envelope, &RAW)
    }
}

/// A pattern of the user. `^` and `$` match at each line.
///
/// # Errors
/// Why it is no pattern.
#[cfg(feature = "unstable-engine")]
fn pattern(text: &str) -> Result<regex::bytes::Regex, String> {
    let regex = regex::bytes::RegexBuilder::new(text).multi_line(true).crlf(true).build();
    regex.map_err(|error| {
        let text = error.to_string();
        // The last line says why; those before it show where.
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// A protocol has no replies of this many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyMessagesError {
    /// A reply consists of at least one message.
    Zero,
    /// Several messages are one reply only with the protocol `raw` and a byte that ends each message.
    NotSeparable,
}

impl fmt::Display for ReplyMessagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "a reply is at least one message",
            Self::NotSeparable => {
                "a reply can be more than one message only with the protocol raw and the framing line \
                 or nul"
            }
        })
    }
}

impl std::error::Error for ReplyMessagesError {}

impl Default for Protocol {
    fn default() -> Self {
        Self::JSONL
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.envelope, other.envelope)
            && std::ptr::eq(self.framing, other.framing)
            && std::ptr::eq(self.replies, other.replies)
            && self.reply_messages == other.reply_messages
            && match (&self.exchange, &other.exchange) {
                (None, None) => true,
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels() {
        let raw = Protocol::named("raw").expect("a protocol");
        assert_eq!(raw.label(), "raw");
        let framed = raw.clone().framed(framing::named("u32").expect("a framing"));
        assert_eq!(framed.label(), "raw+u32");
        assert!(framed.is_raw());
        let (requests, replies) = framing::pair("line,u32").expect("framings");
        assert_eq!(raw.framed_as(requests, replies).label(), "raw+line,u32");
        assert_eq!(Protocol::default().label(), "jsonl");
        assert!(Protocol::named("soap").is_none());
    }

    #[test]
    fn which_replies_may_be_many_messages() {
        let raw = Protocol::named("raw").expect("a protocol");
        let nul = raw.clone().framed(&NUL);
        assert_ne!(nul.clone().with_reply_messages(3), Ok(nul.clone()));
        assert_eq!(nul.clone().with_reply_messages(1), Ok(nul));
        assert!(raw.clone().with_reply_messages(2).is_ok());
        assert!(raw.clone().with_reply_messages(0).is_err());
        assert!(raw.framed(&VARINT).with_reply_messages(2).is_err());
        assert!(Protocol::default().with_reply_messages(2).is_err());
    }

    #[test]
    fn bazel_in_json() {
        let json = Protocol::named("bazel").expect("a protocol").framed(&JSON);
        assert!(std::ptr::eq(json.envelope, &bazel::JSON));
        assert_eq!(json.label(), "bazel+json");
    }
}
