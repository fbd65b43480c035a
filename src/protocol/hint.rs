//! Hints for bytes that are no message or no reply: another framing that fits them, or a length that is
//! too small. Each is a phrase for a message to the user.

use super::Protocol;
use super::envelope::CUT;
use super::framing::content_length::CONTENT_LENGTH;
use super::framing::fixed::{U16, U32, U32LE};
use super::framing::json::JSON;
use super::framing::line::LINE;
use super::framing::netstring::NETSTRING;
use super::framing::nul::NUL;
use super::framing::size_line::{self, SIZE_LINE};
use super::framing::varint::VARINT;
use super::framing::{Framing, Scan, Split};
use crate::util::setting::Setting;

/// The framings that a hint may name. Those come first that seldom fit bytes of another framing.
static LIKELY: [&Framing; 9] =
    [&CONTENT_LENGTH, &NETSTRING, &U32, &U32LE, &U16, &LINE, &NUL, &JSON, &VARINT];

/// A hint takes four bytes for a length only if it is less than this.
const USUAL: usize = 16 << 20;

/// A hint looks at this many bytes.
const SAMPLE: usize = 4 << 10;

/// The probable cause of a length that is too small.
const CHARACTERS: &str = "its Content-Length is too small; perhaps it counts characters instead \
                          of bytes";

impl Protocol {
    /// Names another framing that fits bytes that are no whole message. The phrase is the end of a message.
    /// It is empty if no framing fits.
    pub(crate) fn likely_framing(&self, bytes: &[u8]) -> String {
        self.likely_among(bytes, |_| true)
    }

    /// The same for a message that is too long. A text that begins with a number is no stream of JSON values.
    pub(crate) fn likely_framing_of_endless(&self, bytes: &[u8]) -> String {
        self.likely_among(bytes, |framing| !std::ptr::eq(framing, &JSON))
    }

    fn likely_among(&self, bytes: &[u8], may_be: impl Fn(&'static Framing) -> bool) -> String {
        let is_it =
            |framing: &&&'static Framing| !std::ptr::eq(**framing, self.replies) && may_be(framing);
        let bytes = &bytes[..bytes.len().min(SAMPLE)];
        if std::ptr::eq(self.replies, &CONTENT_LENGTH) && has_header(bytes) {
            return String::new();
        }
        match LIKELY.iter().filter(is_it).find(|framing| fits(framing, bytes)) {
            Some(framing) => format!("; it looks like {}", self.named_as(framing, bytes)),
            None => String::new(),
        }
    }

    /// The settings for messages in a framing: another protocol, if the bytes are of one, and the framing
    /// unless that protocol has it anyway.
    fn named_as(&self, framing: &Framing, bytes: &[u8]) -> String {
        let spoken = spoken(framing, bytes).filter(|spoken| spoken.name != self.name);
        let protocol = match spoken {
            Some(spoken) => format!("{} {}", Setting::Protocol, spoken.name),
            None => String::new(),
        };
        match spoken {
            Some(spoken) if std::ptr::eq(spoken.replies, framing) => protocol,
            _ => {
                format!("{protocol} {} {}", Setting::Framing, framing.name).trim_start().to_owned()
            }
        }
    }

    /// Names another protocol that a message is of, with its framing. The phrase is the end of a message. It
    /// is empty if the message is of no other.
    fn likely_protocol(&self, message: &[u8]) -> String {
        let spoken = spoken(self.replies, message).filter(|spoken| spoken.name != self.name);
        match spoken {
            Some(_) => format!("; it looks like {}", self.named_as(self.replies, message)),
            // A filter for JSON prints values that are no replies.
            None if !self.is_raw()
                && std::ptr::eq(self.replies, &LINE)
                && serde_json::from_slice::<serde::de::IgnoredAny>(message).is_ok() =>
            {
                format!("; if each line is a result, give {} raw", Setting::Protocol)
            }
            None if !self.is_raw() && repeats_request(message) => {
                let raw = format!("{} raw", Setting::Protocol);
                format!("; it repeats the request: if it takes lines as they are, give {raw}")
            }
            None => String::new(),
        }
    }

    /// Names the framing that a program speaks of on its stderr. The phrase is the end of a message. It is
    /// empty if the program speaks of none, or of its own.
    pub(crate) fn mentioned(&self, stderr: &str) -> String {
        let words = stderr.to_ascii_lowercase();
        let is = |framing: &'static Framing| std::ptr::eq(self.framing, framing);
        if words.contains("content-length") && !is(&CONTENT_LENGTH) {
            return format!("; it may want {} {}", Setting::Framing, CONTENT_LENGTH.name);
        }
        if words.contains("protobuf") && !is(&VARINT) {
            return format!("; it may want {} bazel", Setting::Protocol);
        }
        String::new()
    }

    /// Says why a message is no reply. `what` is the error of the envelope, `after` are the bytes after the
    /// message.
    pub(crate) fn why(&self, message: &[u8], after: &[u8], what: String) -> String {
        let is_cut = what.starts_with(CUT);
        let is = |framing: &'static Framing| std::ptr::eq(self.replies, framing);
        if is(&LINE) && is_cut {
            return format!(
                "its JSON goes on after this line, and a reply is one line: print it on one line, or \
                 give {} json",
                Setting::Framing
            );
        }
        if is(&LINE) && has_header(message) {
            return format!("it looks like {}", self.named_as(&CONTENT_LENGTH, after));
        }
        if is(&CONTENT_LENGTH) && (is_cut || what.contains("not UTF-8")) {
            let why = "its Content-Length is too small";
            let why = if message.is_ascii() { why } else { CHARACTERS };
            return format!("its end is missing: {why}");
        }
        let likely = self.likely_protocol(message);
        what + &likely
    }

    /// What a worker may lack that has read its request and prints nothing, as a sentence with a blank before
    /// it; empty: nothing.
    pub(crate) fn silence(&self) -> String {
        let has_after = self.exchange().is_some_and(|exchange| exchange.after.is_some());
        if self.is_raw() && !has_after {
            return format!(
                " If it answers this request with nothing, {} makes it print a mark, and {} names the mark.",
                Setting::AfterRequest,
                Setting::ReplyEnd
            );
        }
        let advice = match self.name {
            "jsonl" => self.other_protocol(),
            _ => self.other_server(),
        };
        if advice.is_empty() { advice } else { format!(" I{}.", &advice[1..]) }
    }

    /// The protocols of workers that were not written for procpool, as a phrase; empty: the protocol is one of
    /// these.
    pub(crate) fn other_protocol(&self) -> String {
        if self.name != "jsonl" {
            return String::new();
        }
        let (protocol, framing) = (Setting::Protocol, Setting::Framing);
        let name = CONTENT_LENGTH.name;
        format!(
            "if it was not written for procpool, say how it speaks: {protocol} raw, or jsonrpc (with \
             {framing} {name} for a language server), bazel or dap"
        )
    }

    /// The framing of another kind of JSON-RPC server, which would print nothing, as a phrase; empty: there
    /// is no other.
    pub(crate) fn other_server(&self) -> String {
        let framing = Setting::Framing;
        let is = |framing: &'static Framing| std::ptr::eq(self.framing, framing);
        match self.name {
            "jsonrpc" if is(&LINE) => {
                format!("if it is a language server, give {framing} {}", CONTENT_LENGTH.name)
            }
            "jsonrpc" if is(&CONTENT_LENGTH) => {
                format!("if it is an MCP server, give {framing} {}", LINE.name)
            }
            _ => String::new(),
        }
    }

    /// What to do if a reply may be longer than one line, as the end of a phrase; empty: the protocol says where
    /// a reply ends.
    pub(crate) fn longer_replies(&self) -> String {
        let has_marks = self.has_marks();
        if has_marks || !(self.is_raw() && std::ptr::eq(self.replies, &LINE)) {
            return String::new();
        }
        format!(
            "; if replies have any number of lines, {} says where one ends, or {} {} if their first line ends \
             with their size",
            Setting::ReplyEnd,
            Setting::Framing,
            SIZE_LINE.name
        )
    }

    /// Says what is wrong if `after` follows the one reply that was asked for.
    pub(crate) fn surplus(&self, message: &[u8], after: &[u8]) -> String {
        let what = "it printed more than one reply to one request";
        if self.exchange().is_some_and(|exchange| exchange.reply_end.is_some()) {
            return format!(
                "{what} (or the reply has in it what {} says ends it: choose another end)",
                Setting::ReplyEnd
            );
        }
        if self.is_raw() && has_header(message) {
            return format!("{what}; it looks like {}", self.named_as(&CONTENT_LENGTH, after));
        }
        if self.is_raw() && std::ptr::eq(self.replies, &LINE) && size_line::fits(message, after) {
            return format!("{what}; it looks like {} {}", Setting::Framing, SIZE_LINE.name);
        }
        let has_ends = [&LINE, &NUL].iter().any(|framing| std::ptr::eq(*framing, self.replies));
        if self.is_raw() && has_ends {
            let whole = self.reply_messages + messages(self.replies, after);
            // Such a large number probably changes from reply to reply.
            let whole = if whole > 9 { "N".to_owned() } else { whole.to_string() };
            return format!(
                "{what}; if replies have any number of lines, {} says where one ends (if it is one \
                 reply, give {} {whole})",
                Setting::ReplyEnd,
                Setting::ReplyMessages
            );
        }
        let is_more = matches!(
            (self.replies.split)(after, &mut Scan::default()),
            Split::Message { .. } | Split::More(1..)
        );
        if std::ptr::eq(self.replies, &CONTENT_LENGTH)
            && !is_more
            && !(message.is_ascii() && after.is_ascii())
        {
            return format!("its reply goes on after its end: {CHARACTERS}");
        }
        what.to_owned()
    }
}

/// The protocol that bytes in a framing are of, as far as it shows.
fn spoken(framing: &Framing, bytes: &[u8]) -> Option<&'static Protocol> {
    let has = |text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
    let has_field = |name: &str, value: &str| {
        has(&format!("\"{name}\":\"{value}\"")) || has(&format!("\"{name}\": \"{value}\""))
    };
    let is_adapter =
        || ["response", "event"].iter().any(|kind| has_field("type", kind)) && has("\"seq\"");
    let name = if has("\"jsonrpc\"") {
        "jsonrpc"
    } else if is_adapter() {
        "dap"
    } else if has("\"exitCode\"")
        || has("\"exit_code\"")
        || (std::ptr::eq(framing, &VARINT) && std::str::from_utf8(bytes).is_err())
    {
        "bazel"
    } else if has("{\"result\"") || has("{\"id\"") || has("{\"error\"") {
        "jsonl"
    } else {
        return None;
    };
    super::PROTOCOLS.iter().find(|protocol| protocol.name == name)
}

/// How many messages these bytes are. The last may lack its end.
fn messages(framing: &Framing, mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Split::Message { next, .. } = (framing.split)(bytes, &mut Scan::default()) {
        count += 1;
        bytes = &bytes[next..];
    }
    count + usize::from(!bytes.is_empty())
}

/// Whether bytes begin with a header of the framing content-length, even if that is wrong.
fn has_header(bytes: &[u8]) -> bool {
    let name = b"content-length:";
    bytes.trim_ascii_start().get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

/// Whether bytes look like messages in this framing.
fn fits(framing: &Framing, bytes: &[u8]) -> bool {
    let is = |other: &'static Framing| std::ptr::eq(framing, other);
    let is_plain = |c: char| !c.is_control() || c.is_whitespace() || (c == '\0' && is(&NUL));
    let is_text = match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().all(is_plain),
        // The sample ends within a character.
        Err(error) => bytes.len() == SAMPLE && error.error_len().is_none(),
    };
    if (is(&LINE) || is(&NUL) || is(&JSON)) && !is_text {
        return false;
    }
    match (framing.split)(bytes, &mut Scan::default()) {
        Split::Message { begin, end, next } => {
            begin < end && (is(&LINE) || is(&NUL) || is(&JSON) || next == bytes.len())
        }
        // One of the four bytes of a length is zero, unless the message is very long.
        Split::More(len) if is(&U32) || is(&U32LE) => {
            (1..USUAL).contains(&len) && bytes.len() > 4 && bytes[..4].contains(&0)
        }
        Split::More(len) => is(&CONTENT_LENGTH) && len > 0,
        Split::Broken(_) => false,
    }
}

/// Whether the message has a request of procpool's own protocol in it, as it was sent.
fn repeats_request(message: &[u8]) -> bool {
    let find = |text: &[u8]| memchr::memmem::find(message, text);
    find(b"{\"id\":").is_some_and(|at| find(b",\"cmd\":\"").is_some_and(|cmd| cmd > at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::framing;

    fn of(protocol: &str, framing: &str) -> Protocol {
        let framing = framing::named(framing).expect("a framing");
        Protocol::named(protocol).expect("a protocol").framed(framing)
    }

    #[test]
    fn another_framing() {
        for (framing, bytes, expected) in [
            ("u32", &b"\x05\0\0\0hello"[..], "u32le"),
            ("u32le", b"\0\0\0\x05hello", "u32"),
            ("u32le", b"\0\0\0\x05hell", "u32"),
            ("u32", b"hello\n", "line"),
            ("u32", b"\0\x05hello", "u16"),
            ("u32", b"Content-Length: 5\r\n\r\nhel", "content-length"),
            ("line", b"\0\0\0\x05hello", "u32"),
            ("line", b"5:hello,", "netstring"),
            ("line", b"hello\0", "nul"),
            ("netstring", b"{}\n", "line"),
            ("content-length", b"\x05hello", "varint"),
        ] {
            let said = of("raw", framing).likely_framing(bytes);
            assert_eq!(said, format!("; it looks like framing {expected}"), "{bytes:?}");
        }
        for (framing, bytes) in [
            ("u32", &b"\xff\xff\xff\xffabc"[..]),
            ("line", b"hello"),
            ("u32", b""),
            ("content-length", b"Content-Length: -5\r\n\r\n{}"),
        ] {
            assert_eq!(of("raw", framing).likely_framing(bytes), "");
        }
    }

    #[test]
    fn another_protocol() {
        let server =
            &b"Content-Length: 39\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}"[..];
        let adapter = &b"Content-Length: 52\r\n\r\n{\"seq\":1,\"type\":\"event\",\"event\":\"x\",\"body\":null}  "[..];
        for (protocol, framing, bytes, expected) in [
            ("jsonl", "line", server, "protocol jsonrpc framing content-length"),
            ("dap", "content-length", b"{\"jsonrpc\":\"2.0\"}\n", "protocol jsonrpc"),
            ("jsonl", "line", adapter, "protocol dap"),
            ("jsonrpc", "line", adapter, "protocol dap"),
            ("raw", "line", b"\0\0\0\x05hello", "framing u32"),
            ("jsonl", "line", b"\x06\x08\x01\x12\x02\xff\xfe", "protocol bazel"),
            ("bazel", "varint", b"{\"id\":1,\"result\":2}\n", "protocol jsonl"),
            ("jsonrpc", "content-length", b"{\"id\":1,\"result\":2}\n", "protocol jsonl"),
        ] {
            let said = of(protocol, framing).likely_framing(bytes);
            assert_eq!(said, format!("; it looks like {expected}"), "{protocol} {bytes:?}");
        }
        for (protocol, framing, message, expected) in [
            ("jsonl", "line", &server[22..], "no; it looks like protocol jsonrpc"),
            (
                "jsonl",
                "line",
                b"{\"exitCode\":0,\"output\":\"\"}",
                "no; it looks like protocol bazel framing line",
            ),
            (
                "dap",
                "content-length",
                &server[22..],
                "no; it looks like protocol jsonrpc framing content-length",
            ),
            (
                "jsonrpc",
                "content-length",
                b"{\"seq\":1,\"type\":\"response\"}",
                "no; it looks like protocol dap",
            ),
            ("jsonl", "line", b"[1,2]", "no; if each line is a result, give protocol raw"),
            (
                "jsonl",
                "line",
                b"1\t{\"id\":1,\"cmd\":\"a\",\"args\":[]}",
                "no; it repeats the request: if it takes lines as they are, give protocol raw",
            ),
            ("jsonl", "line", b"hello", "no"),
        ] {
            assert_eq!(
                of(protocol, framing).why(message, b"", "no".to_owned()),
                expected,
                "{message:?}"
            );
        }
        let raw = of("raw", "line");
        assert!(
            raw.surplus(b"Content-Length: 2\r", b"\r\n{}")
                .contains("looks like framing content-length")
        );
        assert_eq!(raw.mentioned("Missing Content-Length"), "; it may want framing content-length");
        assert_eq!(raw.mentioned("no such file"), "");
    }

    #[test]
    fn a_header_is_no_line() {
        let what =
            of("jsonrpc", "line").why(b"Content-Length: 5\r", b"\r\n{}", "no JSON".to_owned());
        assert_eq!(what, "it looks like framing content-length");
    }

    #[test]
    fn too_many_messages() {
        let raw = Protocol::named("raw").expect("a protocol");
        for (protocol, after, part) in [
            (raw.clone(), &b"b\n"[..], "messages 2)"),
            (raw.clone(), b"b\nc", "messages 3)"),
            (raw.clone(), b"6 hel\nlo\n", "messages 3)"),
            (of("raw", "nul"), b"b\0c\0", "messages 3)"),
            (raw.clone().with_reply_messages(2).expect("lines"), b"c\n", "messages 3)"),
            (of("jsonl", "line"), b"b\n", "to one request"),
            (of("raw", "content-length"), "\u{e9}".as_bytes(), "counts characters"),
        ] {
            let said = protocol.surplus(b"a", after);
            assert!(said.ends_with(part) || said.contains("counts characters"), "{said}");
        }
    }
}
