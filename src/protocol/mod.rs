//! The protocols of workers, in two layers that do no IO: a framing (bytes ↔ messages) and an envelope
//! (messages ↔ jobs). A protocol is one of each.

pub mod envelope;
pub mod framing;
mod hint;

use std::fmt;

use envelope::bazel::{self, BAZEL};
use envelope::jsonrpc::JSONRPC;
use envelope::procpool::PROCPOOL;
use envelope::raw::RAW;
use envelope::sh::SH;
use envelope::{Envelope, Notice};
use framing::json::JSON;
use framing::line::LINE;
use framing::nul::NUL;
use framing::varint::VARINT;
use framing::{Framing, LINES_AND_NULS, Scan, Split};

/// A way to speak to a worker: the contents of messages, and where they begin and end.
///
/// ```
/// use procpool::Protocol;
///
/// assert!(Protocol::JSONRPC.with_framing("content-length").is_some());
/// assert!(Protocol::RAW.with_framing("no such framing").is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// Its name.
    #[doc(hidden)]
    pub name: &'static str,
    /// The contents of messages.
    #[doc(hidden)]
    pub envelope: &'static Envelope,
    /// Where messages begin and end.
    #[doc(hidden)]
    pub framing: &'static Framing,
    /// How many messages a reply consists of.
    reply_messages: usize,
}

/// All protocols that the user can choose. The first is the default.
pub static PROTOCOLS: &[Protocol] =
    &[Protocol::JSONL, Protocol::RAW, Protocol::JSONRPC, Protocol::BAZEL];

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
        Self { name, envelope, framing, reply_messages: 1 }
    }

    /// The protocol of this name.
    #[doc(hidden)]
    pub fn named(name: &str) -> Option<Self> {
        PROTOCOLS.iter().find(|protocol| protocol.name == name).copied()
    }

    /// The same protocol with another framing.
    #[doc(hidden)]
    #[must_use]
    pub fn framed(self, framing: &'static Framing) -> Self {
        // Bazel's workers speak protocol buffers or JSON, and each has a framing of its own.
        let is_bazel_json = std::ptr::eq(self.envelope, &BAZEL) && std::ptr::eq(framing, &JSON);
        let envelope = if is_bazel_json { &bazel::JSON } else { self.envelope };
        Self { envelope, framing, ..self }
    }

    /// The same protocol, but a reply consists of `count` messages. They keep the bytes that separate
    /// them.
    ///
    /// # Errors
    /// The protocol has no replies of this many messages.
    #[doc(hidden)]
    pub fn with_reply_messages(self, count: usize) -> Result<Self, ReplyMessagesError> {
        let has_ends = [&LINE, &NUL].iter().any(|framing| std::ptr::eq(*framing, self.framing));
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
        framing::split_many(self.framing, self.reply_messages, bytes, scan)
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
        if std::ptr::eq(self.framing, &JSON) { bytes.trim_ascii() } else { bytes }
    }

    /// The value of a worker's `PROCPOOL_PROTOCOL`: the name, then a plus and the framing if that is not
    /// the usual one.
    #[doc(hidden)]
    pub fn label(&self) -> String {
        match Self::named(self.name) {
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
        PROTOCOLS[0]
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.envelope, other.envelope)
            && std::ptr::eq(self.framing, other.framing)
            && self.reply_messages == other.reply_messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels() {
        let raw = Protocol::named("raw").expect("a protocol");
        assert_eq!(raw.label(), "raw");
        let framed = raw.framed(framing::named("u32").expect("a framing"));
        assert_eq!(framed.label(), "raw+u32");
        assert!(framed.is_raw());
        assert_eq!(Protocol::default().label(), "jsonl");
        assert!(Protocol::named("soap").is_none());
    }

    #[test]
    fn which_replies_may_be_many_messages() {
        let raw = Protocol::named("raw").expect("a protocol");
        let nul = raw.framed(&NUL);
        assert_ne!(nul.with_reply_messages(3), Ok(nul));
        assert_eq!(nul.with_reply_messages(1), Ok(nul));
        assert!(raw.with_reply_messages(2).is_ok());
        assert!(raw.with_reply_messages(0).is_err());
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
