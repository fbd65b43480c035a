//! The worker of `handler.py` in Rust: `count`, `hash` and `longest` of a file.
//!
//! ```sh
//! cargo build --release --example handler
//! procpool --worker target/release/examples/handler < examples/jobs.jsonl
//! ```

use std::fs;
use std::io::{self, BufRead, BufWriter, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// What procpool asks: `{"id":17,"cmd":"count","args":["a.txt"]}`.
#[derive(Deserialize)]
struct Request<'a> {
    id: u64,
    cmd: String,
    #[serde(borrow)]
    args: &'a RawValue, // as it came: procpool takes any JSON there
}

/// What it is answered: `{"id":17,"result":…}` or `{"id":17,"error":"…"}`.
#[derive(Serialize)]
struct Reply {
    id: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Answer),
    Error(String),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Count { lines: usize, words: usize, bytes: usize },
    Hash(String),
    Longest { line: usize, text: String },
}

fn main() -> io::Result<()> {
    let mut requests = io::stdin().lock();
    let mut replies = BufWriter::new(io::stdout().lock());
    let mut line = Vec::new();

    // Ends when stdin does.
    while requests.read_until(b'\n', &mut line)? > 0 {
        let request: Request<'_> = serde_json::from_slice(&line)?;
        let outcome = match run(&request.cmd, request.args.get()) {
            Ok(answer) => Outcome::Result(answer),
            Err(message) => Outcome::Error(message), // this job failed; the worker goes on
        };
        let id = request.id;
        serde_json::to_writer(&mut replies, &Reply { id, outcome })?;
        replies.write_all(b"\n")?;
        replies.flush()?; // or procpool waits for ever
        line.clear();
    }
    Ok(())
}

fn run(cmd: &str, args: &str) -> Result<Answer, String> {
    let function: fn(&[u8]) -> Answer = match cmd {
        "count" => count,
        "hash" => hash,
        "longest" => longest,
        _ => {
            let known = "count, hash, longest";
            return Err(format!("unknown command '{cmd}', expected one of: {known}"));
        }
    };
    let args: Vec<&RawValue> = serde_json::from_str(args).unwrap_or_default();
    let path: String = args
        .first()
        .and_then(|path| serde_json::from_str(path.get()).ok())
        .ok_or_else(|| format!(r#"{cmd} needs a path, as in {cmd} ["a.txt"]"#))?;
    let data = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(function(&data))
}

fn count(data: &[u8]) -> Answer {
    let is_space = |byte: &u8| b" \t\n\r\x0b\x0c".contains(byte);
    Answer::Count {
        lines: data.iter().filter(|&&byte| byte == b'\n').count(),
        words: data.split(is_space).filter(|word| !word.is_empty()).count(),
        bytes: data.len(),
    }
}

fn hash(data: &[u8]) -> Answer {
    Answer::Hash(format!("{:x}", Sha256::digest(data)))
}

fn longest(data: &[u8]) -> Answer {
    let (mut number, mut longest) = (0, &data[..0]);
    for (index, line) in data.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if index == 0 || line.len() > longest.len() {
            (number, longest) = (index + 1, line);
        }
    }
    Answer::Longest { line: number, text: String::from_utf8_lossy(longest).into_owned() }
}
