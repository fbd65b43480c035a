//! Envelopes: messages of a worker → outcomes, jobs → requests. All of it is tried as a message; up
//! to the first NUL byte it is a command, and after that args.

use procpool::engine::Job;
use procpool::engine::protocol::PROTOCOLS;
use procpool::engine::protocol::envelope::{Envelope, Message, bazel, sh};
use procpool::engine::protocol::framing::line::LINE;
use procpool::engine::protocol::framing::{FRAMINGS, varint};
use serde_json::value::RawValue;

use super::assert_json;

/// All of them, with whether what they say is JSON.
fn envelopes() -> Vec<(&'static str, &'static Envelope, bool)> {
    let usual = PROTOCOLS.iter().map(|protocol| {
        let is_json = matches!(protocol.name, "jsonl" | "jsonrpc");
        (protocol.name, protocol.envelope, is_json)
    });
    usual.chain([("bazel in JSON", &bazel::JSON, true), ("sh", &sh::SH, false)]).collect()
}

/// No message and no args make them panic, and what they pass on is what it has to be.
pub fn check(data: &[u8]) {
    for (name, envelope, _) in envelopes() {
        read(name, envelope, data);
    }
    let end = data.iter().position(|&byte| byte == 0);
    let (cmd, args) = end.map_or((data, &b"[]"[..]), |at| (&data[..at], &data[at + 1..]));
    let (Ok(cmd), Ok(args)) = (std::str::from_utf8(cmd), std::str::from_utf8(args)) else {
        return;
    };
    // A library's caller may make a job of any text.
    let jobs = [
        Job::new(1, cmd, args, ""),
        Job::message(1, data),
        Job::words(1, data),
        Job::words(1, b""),
    ];
    for (_, envelope, _) in envelopes() {
        for job in &jobs {
            let _ = (envelope.request)(&mut Vec::new(), 1, job);
            let _ = envelope.notice.map(|notice| notice(&mut Vec::new(), job));
        }
    }
    let Ok(args) = serde_json::from_str::<&RawValue>(args) else { return };
    let args = args.get().replace(['\n', '\r'], " ");
    let cmd = serde_json::to_string(cmd).expect("a string");
    let job = Job::new(1, &cmd, &args, "");
    for (name, envelope, is_json) in envelopes() {
        request(name, envelope, is_json, &job);
    }
}

fn read(name: &str, envelope: &Envelope, message: &[u8]) {
    match (envelope.read)(message) {
        Ok(Message::Reply { outcome: Ok(body), .. }) => {
            assert_json(body.value().to_json().get().as_bytes())
        }
        Ok(Message::Reply { outcome: Err(failure), .. }) => {
            if let Some(data) = failure.data {
                assert_json(data.get().as_bytes());
            }
        }
        Ok(Message::Question(answer)) => {
            assert_json(&answer);
            for framing in FRAMINGS {
                // The length may be one too many for two bytes.
                let sealed = (framing.seal)(&mut answer.clone(), 0);
                assert!(sealed.is_ok() || framing.name == "u16", "{name} in {}", framing.name);
            }
        }
        Ok(Message::Progress(line)) => assert!(!line.contains('\n'), "{name}"),
        Ok(Message::Part { part, .. }) => {
            let part = part.map(|part| part.value().to_json());
            assert_json(part.as_ref().map_or(b"null", |part| part.get().as_bytes()));
        }
        Ok(Message::Nothing | Message::Concurrent) => {}
        Err(why) => assert!(!why.is_empty()),
    }
}

fn request(name: &str, envelope: &Envelope, is_json: bool, job: &Job) {
    let mut out = Vec::new();
    if (envelope.request)(&mut out, 300, job).is_err() {
        // `jsonl` takes all args there are.
        return assert_ne!(name, "jsonl");
    }
    if is_json {
        assert_json(&out);
    }
    if is_json || name == "sh" {
        assert_eq!((LINE.seal)(&mut out, 0), Ok(()), "{name}");
    }
    match (name, serde_json::from_slice::<Vec<String>>(job.args())) {
        ("jsonl", _) => {
            let expected =
                [&b"{\"id\":300,\"cmd\":"[..], job.cmd(), b",\"args\":", job.args(), b"}\n"]
                    .concat();
            assert_eq!(out, expected);
        }
        ("bazel", Ok(args)) => assert_eq!(arguments(&out), args),
        _ => {}
    }
}

/// The first field of a `WorkRequest`, as often as it is there.
fn arguments(mut bytes: &[u8]) -> Vec<String> {
    let mut arguments = Vec::new();
    while number(&mut bytes) == 1 << 3 | 2 {
        let len = usize::try_from(number(&mut bytes)).expect("short");
        let (text, rest) = bytes.split_at(len);
        arguments.push(String::from_utf8(text.to_vec()).expect("UTF-8"));
        bytes = rest;
    }
    arguments
}

fn number(bytes: &mut &[u8]) -> u64 {
    let (number, len) = varint::read(bytes).expect("64 bits").expect("a whole number");
    *bytes = &bytes[len..];
    number
}
