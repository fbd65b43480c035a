//! How workers are spoken to, in two layers that do no IO: a framing (bytes ↔ messages) and an
//! envelope (messages ↔ jobs). A protocol is a pair of them.

pub mod envelope;
pub mod framing;
mod hint;

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

/// A way to speak to a worker.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What messages say.
    pub envelope: &'static Envelope,
    /// Where messages begin and end.
    pub framing: &'static Framing,
    /// A reply is so many messages.
    reply_messages: usize,
}

/// All of them; the first is the default.
pub static PROTOCOLS: [Protocol; 4] = [
    Protocol::pair("jsonl", &PROCPOOL, &LINE),
    Protocol::pair("raw", &RAW, &LINE),
    Protocol::pair("jsonrpc", &JSONRPC, &LINE),
    Protocol::pair("bazel", &BAZEL, &VARINT),
];

/// That of procpool's own worker for `sh`.
pub static OF_SH: Protocol = Protocol::pair("sh", &SH, &LINES_AND_NULS);

impl Protocol {
    const fn pair(
        name: &'static str,
        envelope: &'static Envelope,
        framing: &'static Framing,
    ) -> Self {
        Self { name, envelope, framing, reply_messages: 1 }
    }

    /// The protocol of this name.
    pub fn named(name: &str) -> Option<Self> {
        PROTOCOLS.iter().find(|protocol| protocol.name == name).copied()
    }

    /// The same with another framing.
    #[must_use]
    pub fn framed(self, framing: &'static Framing) -> Self {
        let is_bazel = std::ptr::eq(self.envelope, &BAZEL);
        // Bazel's workers speak protocol buffers or JSON, and frame each in its own way.
        let envelope = match is_bazel && std::ptr::eq(framing, &JSON) {
            true => &bazel::JSON,
            false => self.envelope,
        };
        Self { envelope, framing, ..self }
    }

    /// The same, but a reply is so many messages, which keep what separates them.
    ///
    /// # Errors
    /// Only bytes that a byte ends can be taken together so: why these can't, as a sentence.
    pub fn with_reply_messages(self, count: usize) -> Result<Self, String> {
        let has_ends = [&LINE, &NUL].iter().any(|framing| std::ptr::eq(*framing, self.framing));
        match count {
            0 => Err("a reply is one message at least".into()),
            1 => Ok(self),
            _ if self.is_raw() && has_ends => Ok(Self { reply_messages: count, ..self }),
            _ => Err("only with the protocol raw and the framing line or nul can a reply be more \
                      than one message"
                .into()),
        }
    }

    /// Looks for the first reply in some bytes, as [`Framing::split`] does for a message.
    pub fn split(&self, bytes: &[u8], scan: &mut Scan) -> Split {
        framing::split_many(self.framing, self.reply_messages, bytes, scan)
    }

    /// How a worker is told something.
    ///
    /// # Errors
    /// It can't be: why, as a phrase.
    pub(crate) fn notice(&self) -> Result<Notice, String> {
        self.envelope.notice.ok_or_else(|| {
            let name = self.name;
            format!("the protocol {name} has no message without a reply; raw and jsonrpc have")
        })
    }

    /// Bytes without those that are no part of any message.
    pub(crate) fn without_blanks<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if std::ptr::eq(self.framing, &JSON) { bytes.trim_ascii() } else { bytes }
    }

    /// What a worker finds in `PROCPOOL_PROTOCOL`: the name, and behind a plus the framing where it
    /// is not the usual one.
    pub fn label(&self) -> String {
        match Self::named(self.name) {
            Some(usual) if !std::ptr::eq(usual.framing, self.framing) => {
                format!("{}+{}", self.name, self.framing.name)
            }
            _ => self.name.to_owned(),
        }
    }

    /// Whether each message is a job by itself, whatever bytes it has.
    pub fn is_raw(&self) -> bool {
        std::ptr::eq(self.envelope, &RAW)
    }
}

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
