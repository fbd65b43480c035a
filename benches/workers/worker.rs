//! The worker of the benchmarks: commands that take a known time or give results of a known size.
//!
//! | command | result |
//! |---|---|
//! | `double [N]` | 2 × N |
//! | `echo [VALUE]` | VALUE |
//! | `nap [VALUE, MICROSECONDS]` | VALUE, after a sleep |
//! | `fill [N, SIZE]` | N as a string of SIZE digits |
//!
//! With `--start MS` it sleeps before it reads anything. With `--slow HOST` naps take ten times as long on that host. `--once REQUEST` answers the request that
//! is its argument and exits, which is how tools work that start a process for each job.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::thread::sleep;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

const BUFFER: usize = 64 * 1024;

#[derive(Deserialize)]
struct Request<'a> {
    id: u64,
    #[serde(borrow)]
    cmd: Cow<'a, str>,
    #[serde(borrow)]
    args: Vec<&'a RawValue>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut replies = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let mut factor = 1;
    let mut flags = std::env::args().skip(1);
    while let Some(flag) = flags.next() {
        let value = flags.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--start" => sleep(Duration::from_millis(value.parse()?)),
            "--slow" if std::env::var("PROCPOOL_HOST").is_ok_and(|host| host == value) => {
                factor = 10
            }
            "--slow" => {}
            "--once" => {
                answer(&mut replies, value.as_bytes(), factor)?;
                return Ok(replies.flush()?);
            }
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let mut requests = BufReader::with_capacity(BUFFER, io::stdin().lock());
    let mut line = Vec::new();
    while requests.read_until(b'\n', &mut line)? > 0 {
        answer(&mut replies, &line, factor)?;
        if !requests.buffer().contains(&b'\n') {
            replies.flush()?;
        }
        line.clear();
    }
    Ok(())
}

fn answer(replies: &mut impl Write, request: &[u8], factor: u32) -> Result<(), Box<dyn Error>> {
    let Request { id, cmd, args } = serde_json::from_slice(request)?;
    let arg = |at: usize| args.get(at).map_or("", |arg| arg.get());
    write!(replies, "{{\"id\":{id},\"result\":")?;
    match &*cmd {
        "double" => write!(replies, "{}", 2 * arg(0).parse::<i64>()?)?,
        "echo" => replies.write_all(arg(0).as_bytes())?,
        "nap" => {
            sleep(factor * Duration::from_micros(arg(1).parse()?));
            replies.write_all(arg(0).as_bytes())?;
        }
        "fill" => write!(replies, "\"{:0>width$}\"", arg(0), width = arg(1).parse()?)?,
        _ => return Err(format!("unknown command {cmd}").into()),
    }
    Ok(replies.write_all(b"}\n")?)
}
