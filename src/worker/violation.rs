//! Breaches of the protocol: the words for each, and the bytes that the worker printed.

use super::buffering;
use crate::protocol::Protocol;
use crate::util::setting::Setting;
use crate::util::text::quote;

/// The problem with a worker that does not wait for its request.
const EARLY: &str = "it printed this before it had read the request";

/// The problem with a worker that prints something before its first request, and what may be done about it.
pub(crate) fn unasked_at_start(protocol: &Protocol) -> String {
    if protocol.is_raw() && protocol.banner().is_none() {
        return format!("{EARLY} (if it prints this at each start, give {})", Setting::Banner);
    }
    EARLY.to_owned()
}

/// A message quotes at most this many bytes of output that is no message.
const QUOTED: usize = 200;

/// A worker has broken the protocol. Its oldest job is charged with that.
#[derive(Debug)]
pub(crate) struct Violation {
    /// The problem, as a phrase.
    pub(crate) what: String,
    /// The offending bytes.
    pub(crate) bytes: Vec<u8>,
    /// The worker printed a message too many. Earlier replies may belong to other requests.
    pub(crate) is_surplus: bool,
    /// The id of the request whose reply it is, as far as it shows.
    pub(crate) id: Option<u64>,
}

impl Violation {
    fn new(what: impl Into<String>, bytes: &[u8]) -> Self {
        Self { what: what.into(), bytes: bytes.to_vec(), is_surplus: false, id: None }
    }

    /// Says what is wrong, with the bytes and the rule.
    pub(crate) fn message(&self) -> String {
        format!("{}: {}{}", self.what, quote(&self.bytes), buffering::FOR_REPLIES)
    }

    /// The worker printed something before it read its request. `replies`: how many it has answered.
    pub(super) fn early(protocol: &Protocol, replies: u64, bytes: &[u8]) -> Self {
        let what = match replies {
            0 => unasked_at_start(protocol),
            // It may be the rest of the reply to the request before.
            _ => EARLY.to_owned() + &protocol.longer_replies(),
        };
        Self { is_surplus: true, ..Self::new(what, bytes) }
    }

    /// The worker printed `after` after the last reply that it was asked for.
    pub(super) fn surplus(
        protocol: &Protocol,
        id: Option<u64>,
        message: &[u8],
        after: &[u8],
    ) -> Self {
        let what = protocol.surplus(message, after);
        Self { is_surplus: id.is_none(), ..Self::new(what, &[message, after].concat()) }
    }

    /// The worker printed a reply, but has no request to answer.
    pub(super) fn unasked(message: &[u8]) -> Self {
        Self { is_surplus: true, ..Self::new("it printed a reply without being asked", message) }
    }

    /// No request has had this id.
    pub(super) fn unknown_id(id: u64, message: &[u8]) -> Self {
        Self::new(format!("its reply has an unknown id, {id}"), message)
    }

    /// The message is no reply: `what` is the error of its envelope.
    pub(super) fn no_reply(
        protocol: &Protocol,
        what: String,
        message: &[u8],
        after: &[u8],
    ) -> Self {
        let what = protocol.why(message, after, what);
        let id = protocol.id_in(message);
        Self { id, ..Self::new(format!("its output is no reply: {what}"), message) }
    }

    /// The bytes are no message in the protocol's framing: `what` says why.
    pub(super) fn no_message(protocol: &Protocol, what: &str, bytes: &[u8]) -> Self {
        let name = protocol.replies.name;
        let likely = protocol.likely_framing(bytes);
        let what = format!("its output is no message in the framing '{name}': {what}{likely}");
        Self::new(what, &bytes[..bytes.len().min(QUOTED)])
    }

    /// A reply is longer than `max_reply`. `bytes` are what has come of it. `len` is the length that it
    /// announces, as far as is known.
    pub(super) fn too_long(
        protocol: &Protocol,
        len: usize,
        bytes: &[u8],
        max_reply: usize,
    ) -> Self {
        let announced =
            if len > bytes.len() { format!(" (it announces {len})") } else { String::new() };
        let likely = protocol.likely_framing_of_endless(bytes);
        Self {
            id: protocol.id_in(bytes),
            ..Self::over_limit("its reply is", max_reply, &(announced + &likely), bytes)
        }
    }

    /// A whole reply is longer than `max_reply`.
    pub(super) fn whole_too_long(protocol: &Protocol, message: &[u8], max_reply: usize) -> Self {
        let id = protocol.id_in(message);
        Self { id, ..Self::over_limit("its reply is", max_reply, "", message) }
    }

    /// The parts of the result of request `id` are longer than `max_reply`.
    pub(super) fn parts_too_long(id: u64, message: &[u8], max_reply: usize) -> Self {
        let what = "the parts of its result are together";
        Self { id: Some(id), ..Self::over_limit(what, max_reply, "", message) }
    }

    fn over_limit(what: &str, max_reply: usize, more: &str, bytes: &[u8]) -> Self {
        let setting = Setting::MaxReply;
        let what = format!("{what} longer than the limit of {max_reply} bytes ({setting}){more}");
        Self::new(what, &bytes[..bytes.len().min(QUOTED)])
    }

    /// The worker asks questions and does not read the answers.
    pub(super) fn unread_answers(question: &[u8]) -> Self {
        Self::new("it asks many questions and does not read the answers", question)
    }
}
