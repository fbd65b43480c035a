//! Job lines: the whole input is one line. With a delimiter other than a newline, it may have newlines.

use procpool::engine::Job;
use procpool::engine::input::job_lines::{parse, usual};
use procpool::engine::protocol::PROTOCOLS;
use procpool::engine::protocol::framing::line::LINE;

use super::assert_json;

/// What is read as a job is sent on as one line of JSON; what is not says where it is wrong.
pub fn check(line: &[u8]) {
    if let Some(usual) = usual(line) {
        let fields = parse(line).ok().flatten().expect("the parser agrees");
        let texts = [&*fields.cmd, &*fields.args, fields.id].map(str::as_bytes);
        assert_eq!([usual.cmd, usual.args, usual.id], texts);
    }
    match parse(line) {
        Ok(None) => {}
        Ok(Some(fields)) => {
            for json in [&*fields.cmd, &*fields.args] {
                assert_json(json.as_bytes());
            }
            assert!(fields.cmd.starts_with('"'));
            assert_id(fields.id);
            let job = Job::new(1, &fields.cmd, &fields.args, fields.id);
            for (index, protocol) in PROTOCOLS.iter().enumerate() {
                let mut out = Vec::new();
                let asked = (protocol.envelope.request)(&mut out, 1, &job);
                assert!(asked.is_ok() || index > 0, "the default takes all jobs: {asked:?}");
                if asked.is_ok() && ["jsonl", "jsonrpc"].contains(&protocol.name) {
                    assert_json(&out);
                    assert_eq!((LINE.seal)(&mut out, 0), Ok(()));
                }
            }
        }
        Err(invalid) => {
            assert_id(&invalid.id);
            assert!(!invalid.message.is_empty());
            let is_in_line = |column| (1..=line.len() + 1).contains(&column);
            assert!(invalid.column.is_none_or(is_in_line), "{invalid:?}");
        }
    }
}

fn assert_id(id: &str) {
    if !id.is_empty() {
        assert_json(id.as_bytes());
        assert!(
            id.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
        );
    }
}
