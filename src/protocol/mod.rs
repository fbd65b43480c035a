//! How workers are spoken to, in two layers that do no IO: a framing (bytes ↔ messages) and an
//! envelope (messages ↔ jobs). A protocol is a pair of them.

pub mod envelope;
pub mod framing;

use envelope::Envelope;
use envelope::bazel::{self, BAZEL};
use envelope::jsonrpc::JSONRPC;
use envelope::procpool::PROCPOOL;
use envelope::raw::RAW;
use framing::Framing;
use framing::json::JSON;
use framing::line::LINE;
use framing::varint::VARINT;

/// A way to speak to a worker.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What messages say.
    pub envelope: &'static Envelope,
    /// Where messages begin and end.
    pub framing: &'static Framing,
}

/// All of them; the first is the default.
pub static PROTOCOLS: [Protocol; 4] = [
    Protocol { name: "jsonl", envelope: &PROCPOOL, framing: &LINE },
    Protocol { name: "raw", envelope: &RAW, framing: &LINE },
    Protocol { name: "jsonrpc", envelope: &JSONRPC, framing: &LINE },
    Protocol { name: "bazel", envelope: &BAZEL, framing: &VARINT },
];

impl Protocol {
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

    /// What a worker finds in `PROCPOOL_PROTOCOL`: the name, and behind a plus the framing where it
    /// is not the usual one.
    pub fn label(&self) -> String {
        match Self::named(self.name) {
            Some(usual) if std::ptr::eq(usual.framing, self.framing) => self.name.to_owned(),
            _ => format!("{}+{}", self.name, self.framing.name),
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
        std::ptr::eq(self.envelope, other.envelope) && std::ptr::eq(self.framing, other.framing)
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
    fn bazel_in_json() {
        let json = Protocol::named("bazel").expect("a protocol").framed(&JSON);
        assert!(std::ptr::eq(json.envelope, &bazel::JSON));
        assert_eq!(json.label(), "bazel+json");
    }
}
