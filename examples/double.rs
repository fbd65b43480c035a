//! A worker with next to nothing to do, for measuring what a job costs: `double [21]` is 42.
//!
//! It is as fast with one request in flight as with many: replies are flushed whenever the next
//! request is not there as a whole, so that none is held back while the worker waits.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

const BUFFER: usize = 64 * 1024;

#[derive(Deserialize)]
struct Request<'a> {
    id: u64,
    #[serde(borrow)]
    cmd: Cow<'a, str>,
    #[serde(borrow)]
    args: &'a RawValue,
}

fn main() -> io::Result<()> {
    let mut requests = BufReader::with_capacity(BUFFER, io::stdin().lock());
    let mut replies = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let mut line = Vec::new();

    while requests.read_until(b'\n', &mut line)? > 0 {
        let (id, number) = match plain(&line) {
            Some((id, number)) => (id, Ok(number)),
            None => {
                let request: Request<'_> = serde_json::from_slice(&line)?;
                (request.id, number(&request))
            }
        };
        reply(&mut replies, id, number)?;
        if !requests.buffer().contains(&b'\n') {
            replies.flush()?;
        }
        line.clear();
    }
    Ok(())
}

/// The id and the number of a request that looks as nearly all do; `None`: parse it as JSON.
fn plain(request: &[u8]) -> Option<(u64, i64)> {
    let request = request.strip_prefix(br#"{"id":"#)?;
    let (id, request) = request.split_at(request.iter().position(|&byte| byte == b',')?);
    let number = request.strip_prefix(br#","cmd":"double","args":["#)?.strip_suffix(b"]}\n")?;
    // These refuse all that is not one JSON integer.
    let id = serde_json::from_slice(id).ok()?;
    let number = serde_json::from_slice(number).ok()?;
    Some((id, number))
}

fn number(request: &Request<'_>) -> Result<i64, String> {
    if request.cmd != "double" {
        return Err(format!("unknown command '{}', expected double", request.cmd));
    }
    let args: Vec<&RawValue> = serde_json::from_str(request.args.get()).unwrap_or_default();
    args.first()
        .and_then(|number| number.get().parse().ok())
        .ok_or_else(|| "double needs an integer of 64 bits, as in double [21]".into())
}

fn reply(out: &mut impl Write, id: u64, number: Result<i64, String>) -> io::Result<()> {
    out.write_all(br#"{"id":"#)?;
    serde_json::to_writer(&mut *out, &id)?;
    match number {
        Ok(number) => {
            out.write_all(br#","result":"#)?;
            serde_json::to_writer(&mut *out, &(2 * i128::from(number)))?;
        }
        Err(message) => {
            out.write_all(br#","error":"#)?;
            serde_json::to_writer(&mut *out, &message)?;
        }
    }
    out.write_all(b"}\n")
}
