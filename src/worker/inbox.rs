//! The bytes that a worker has printed and that have not been taken as replies yet.

use super::violation::Violation;
use crate::process::{Process, Transfer};
use crate::protocol::Protocol;
use crate::protocol::envelope::Message;
use crate::protocol::framing::{Scan, Split};
use crate::util::buffer::TypicalSize;
use crate::util::setting::Setting;
use crate::util::text::quote;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    size: TypicalSize,
    /// How far the bytes were searched. They hold no whole message.
    scan: Scan,
}

impl Inbox {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The buffer, for another reader of the worker's output.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Reads once from the worker's stdout.
    pub(super) fn read(&mut self, process: &Process) -> Transfer {
        let progress = process.read(&mut self.bytes);
        self.scan.drop_owed_newline(&mut self.bytes);
        progress
    }

    /// Calls `take` for one message after the other. It returns how many bytes it took; 0: there is no
    /// whole message.
    ///
    /// # Errors
    /// The error of `take`. The messages before it have been taken.
    pub(super) fn take_messages(
        &mut self,
        mut take: impl FnMut(&[u8], &mut Scan) -> Result<usize, Violation>,
    ) -> Result<(), Violation> {
        let mut taken = 0;
        let outcome = loop {
            match take(&self.bytes[taken..], &mut self.scan) {
                Ok(0) => break Ok(()),
                Ok(len) => taken += len,
                Err(violation) => break Err(violation),
            }
            self.scan = self.scan.after_message();
        };
        if taken == self.bytes.len() {
            self.size.empty(&mut self.bytes);
        } else {
            drop(self.bytes.drain(..taken));
        }
        outcome
    }

    /// The last bytes, which are no whole message.
    pub(super) fn unparsed(&self) -> &[u8] {
        self.bytes.trim_ascii()
    }

    /// Describes the bytes of an incomplete message, as a phrase; empty: there are none.
    pub(super) fn describe_unparsed(&self, protocol: &Protocol) -> String {
        match self.unparsed() {
            [] => String::new(),
            bytes if protocol.has_marks() => format!(
                "it has printed {}, and not what {} says ends a reply",
                quote(bytes),
                Setting::ReplyEnd
            ),
            bytes => format!(
                "it has printed {}, which is no whole message{}",
                quote(bytes),
                protocol.likely_framing(&self.bytes)
            ),
        }
    }

    /// The bytes that would have been taken for a reply to another request, once the worker is at its end. If
    /// a mark ends each reply, some programs print other text at their end.
    pub(super) fn unasked_at_end(&self, protocol: &Protocol) -> &[u8] {
        let has_reply =
            || matches!(protocol.split(&self.bytes, &mut Scan::default()), Split::Message { .. });
        if protocol.has_marks() && (protocol.is_idle_output(&self.bytes) || !has_reply()) {
            return &[];
        }
        self.unasked(protocol)
    }

    /// The bytes that would be taken for a reply to the next request.
    pub(super) fn unasked(&self, protocol: &Protocol) -> &[u8] {
        if protocol.is_raw() {
            return protocol.without_blanks(&self.bytes);
        }
        let mut at = 0;
        while let Split::Message { begin, end, next } =
            protocol.split(&self.bytes[at..], &mut Scan::default())
        {
            let message = &self.bytes[at + begin..at + end];
            if let Ok(Message::Reply { id: None, .. }) = protocol.read(message) {
                return &self.bytes[at..];
            }
            at += next;
        }
        &[]
    }
}
