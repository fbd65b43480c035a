//! Many requests and many results at once: those of a bundle of jobs, in a protocol of lines.

use super::Protocol;
use super::framing::line::LINE;
use crate::job::Job;
use crate::util::json::Json;

/// How an envelope writes many requests and reads many results, each of them a line. What is not in the usual shape is
/// left to [`Envelope::read`](super::envelope::Envelope::read).
#[derive(Debug)]
pub(crate) struct Bulk {
    /// Appends a request for each job of a bundle of JSON, with ids from `id` on, and where each ends to `ends`.
    pub(crate) requests: fn(out: &mut Vec<u8>, id: u64, bundle: &Job, ends: &mut Vec<usize>),
    /// Reads results as [`Bulk::read`] does, but does not check whether they are UTF-8.
    pub(crate) results: ReadResults,
}

type ReadResults =
    for<'a> fn(bytes: &'a [u8], id: u64, longest: usize, values: &mut [Json<'a>]) -> (usize, usize);

impl Bulk {
    /// Reads the results of successive requests, of which `id` is the first, as far as they are at the beginning of
    /// these bytes and there is room for them in `values`. A line of more than `longest` bytes is left. Returns how
    /// many results there are, and the length of their lines.
    pub(crate) fn read<'a>(
        &self,
        bytes: &'a [u8],
        id: u64,
        longest: usize,
        values: &mut [Json<'a>],
    ) -> (usize, usize) {
        let (count, len) = (self.results)(bytes, id, longest, values);
        if bytes[..len].is_ascii() {
            return (count, len);
        }
        match std::str::from_utf8(&bytes[..len]) {
            Ok(_) => (count, len),
            Err(error) => (self.results)(&bytes[..error.valid_up_to()], id, longest, values),
        }
    }
}

impl Protocol {
    /// How many requests are written and many results are read at once. `None`: they go one at a time.
    pub(crate) fn bulk(&self) -> Option<&'static Bulk> {
        let has_lines =
            [self.framing, self.replies].iter().all(|framing| std::ptr::eq(*framing, &LINE));
        let is_plain = has_lines && self.reply_messages == 1 && self.exchange.is_none();
        self.envelope.bulk.filter(|_| is_plain)
    }

    /// Appends a request for each job of a bundle of JSON, with ids from `id` on. Returns where each ends in `out`.
    /// `None`: they must be written one at a time, and nothing was appended.
    pub(crate) fn write_all(&self, out: &mut Vec<u8>, id: u64, bundle: &Job) -> Option<Vec<usize>> {
        let bulk = self.bulk()?;
        let start = out.len();
        let mut ends = Vec::with_capacity(bundle.count());
        (bulk.requests)(out, id, bundle, &mut ends);
        // A newline in a request would end it.
        if memchr::memchr_iter(b'\n', &out[start..]).count() > ends.len() {
            out.truncate(start);
            return None;
        }
        Some(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Place;
    use crate::job::bundle::Bundler;
    use crate::protocol::envelope::{Body, Message};
    use crate::protocol::framing::{Scan, Split};
    use crate::protocol::{OF_CODE, PROTOCOLS};
    use crate::util::nearly::nearly;
    use proptest::prelude::*;

    /// Pieces of replies.
    const PIECES: &[&str] = &[
        "{\"id\":9,\"result\":1}\n",
        "{\"id\":10,\"result\":[1,\"é\"]}\n",
        "{\"id\": 11, \"result\": {}}\n",
        "{\"id\":12,\"result\":\"\"}\r\n",
        "{\"id\":",
        "{\"result\":1}\n",
        "{\"id\":9,\"error\":1}\n",
        "09",
        "9",
        "10",
        ",\"result\":",
        "null",
        "1e5",
        "}",
        "\n",
        " ",
        "\t",
    ];

    /// What the envelope reads, one line after the other: the results of requests from `id` on.
    fn one_at_a_time(protocol: &Protocol, bytes: &[u8], mut id: u64) -> (Vec<String>, usize) {
        let (mut values, mut at) = (Vec::new(), 0);
        while let Split::Message { begin, end, next } =
            protocol.split(&bytes[at..], &mut Scan::default())
        {
            match protocol.read(&bytes[at + begin..at + end]) {
                Ok(Message::Reply { id: Some(found), outcome: Ok(Body::Json(json)) })
                    if found == id =>
                {
                    values.push(json.get().to_owned());
                }
                _ => break,
            }
            id += 1;
            at += next;
        }
        (values, at)
    }

    proptest! {
        #[test]
        fn many_results_are_what_they_are_one_at_a_time(
            text in nearly(PIECES, 0..8),
            at in 0_usize..100,
            byte in prop::option::of(any::<u8>()),
        ) {
            let mut bytes = text.into_bytes();
            if let (Some(byte), true) = (byte, at < bytes.len()) {
                bytes[at] = byte;
            }
            for protocol in PROTOCOLS.iter().chain([&OF_CODE]) {
                let Some(bulk) = protocol.bulk() else { continue };
                for (id, room) in [(9, 64), (10, 64), (9, 1)] {
                    let mut values = [Json::NULL; 64];
                    let (count, len) = bulk.read(&bytes, id, usize::MAX, &mut values[..room]);
                    let (expected, end) = one_at_a_time(protocol, &bytes, id);
                    let found: Vec<_> = values[..count].iter().map(|json| json.get()).collect();
                    prop_assert_eq!(&found[..], &expected[..count]);
                    prop_assert!(len <= end && (count < expected.len() || len == end));
                }
            }
        }

        #[test]
        fn many_requests_are_what_they_are_one_at_a_time(
            args in prop::collection::vec(prop_oneof!["\\[[0-9]{1,9}\\]", "\"[a-zé\n ]{0,20}\"", "\\{\\}"], 2..20),
            id in prop_oneof![Just(1_u64), Just(95), Just(99_999)],
        ) {
            let mut bundler = Bundler::default();
            for (nth, args) in args.iter().enumerate() {
                let place = Place { source: 0, line: 1 + nth as u64 };
                prop_assert!(bundler.add((1 + nth as u64, place), "\"f\"", args, ""));
            }
            let bundle = bundler.take().expect("a bundle");
            for protocol in PROTOCOLS.iter().chain([&OF_CODE]) {
                let (mut out, mut expected) = (b"before".to_vec(), b"before".to_vec());
                let mut ends = Vec::new();
                let written = (0..args.len()).try_for_each(|nth| {
                    protocol.write(&mut expected, id + nth as u64, &bundle.nth(nth))?;
                    ends.push(expected.len());
                    Ok::<_, String>(())
                });
                match protocol.write_all(&mut out, id, &bundle) {
                    Some(found) => {
                        prop_assert!(written.is_ok());
                        prop_assert_eq!((found, out), (ends, expected));
                    }
                    None => {
                        prop_assert_eq!(&out[..], b"before");
                        prop_assert!(written.is_err() || protocol.bulk().is_none());
                    }
                }
            }
        }
    }

    #[test]
    fn usual_results_are_read_together() {
        let protocol = Protocol::JSONL;
        let lines: String =
            (95..105).map(|id| format!("{{\"id\":{id},\"result\":\"{id}\"}}\n")).collect();
        let bulk = protocol.bulk().expect("a protocol of lines");
        let read = |bytes: &[u8], longest| {
            let mut values = [Json::NULL; 64];
            bulk.read(bytes, 95, longest, &mut values)
        };
        assert_eq!(read(lines.as_bytes(), 100), (10, lines.len()));
        // The lines from 100 on are longer.
        assert_eq!(read(lines.as_bytes(), 23), (5, 5 * 24));
        let mut bytes = lines.into_bytes();
        bytes[3 * 24 + 20] = 0xff;
        assert_eq!(read(&bytes, 100), (3, 3 * 24));
    }
}
