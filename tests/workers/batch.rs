//! A worker for the tests of deep pipelines and of recycling: it has more than one request at a
//! time, answers in orders of its own, and keeps a log of what it does and when.
//!
//! It speaks the `jsonl` protocol. Each job is `COMMAND [KEY,…]`, and the key names the job in the
//! log: a number. Its flags say how it behaves from the start:
//!
//! | flag | behaviour |
//! |---|---|
//! | `--log FILE` | appends to FILE what it does: `start PID SLOT GENERATION`, `ready PID`, `begin PID KEY TIME`, `end PID KEY TIME`, `eof PID`, `exit PID` |
//! | `--mark WORD` | nothing: tests find the process by this word |
//! | `--sleep-at-start MS` | sleeps before it is ready |
//! | `--one-at-a-time` | reads no more than one request at a time, byte by byte: the others stay in the pipe |
//! | `--reverse` | takes all requests that are there, and works them off last come, first served |
//! | `--at-end` | answers nothing before its stdin has ended |
//! | `--no-ids` | its replies have no id |
//! | `--empty-lines` | prints an empty line after each reply |
//! | `--exit-after N` | exits with status 0 after N replies |
//! | `--close-after N` | reads all requests that are there, byte by byte; closes its stdin after the Nth, answers those, and exits with status 0 |
//! | `--leak MB` | keeps MB megabytes more with each job |

mod waiting;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;

use waiting::{FOR_EVER, Outcome, pause, wait_until};

#[derive(Default)]
struct Flags {
    log: Option<String>,
    sleep_at_start: u64,
    one_at_a_time: bool,
    reverse: bool,
    at_end: bool,
    no_ids: bool,
    empty_lines: bool,
    exit_after: usize,
    close_after: usize,
    leak: usize,
}

struct Request {
    id: u64,
    cmd: String,
    /// The first arg, as it came.
    key: String,
    /// The args after it, as they came.
    rest: String,
}

struct Worker {
    flags: Flags,
    log: Option<File>,
    input: Vec<u8>,
    /// stdin has ended, or was closed.
    is_over: bool,
    requests: VecDeque<Request>,
    read: usize,
    replies: usize,
    leaked: Vec<Vec<u8>>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batch: {error}");
            ExitCode::from(70)
        }
    }
}

fn run() -> Outcome {
    let flags = parse(std::env::args().skip(1))?;
    let log = match &flags.log {
        Some(path) => Some(OpenOptions::new().create(true).append(true).open(path)?),
        None => None,
    };
    Worker {
        flags,
        log,
        input: Vec::new(),
        is_over: false,
        requests: VecDeque::new(),
        read: 0,
        replies: 0,
        leaked: Vec::new(),
    }
    .serve()
}

fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Flags> {
    let mut flags = Flags::default();
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--log" => flags.log = Some(value()?),
            "--mark" => drop(value()?),
            "--sleep-at-start" => flags.sleep_at_start = value()?.parse()?,
            "--one-at-a-time" => flags.one_at_a_time = true,
            "--reverse" => flags.reverse = true,
            "--at-end" => flags.at_end = true,
            "--no-ids" => flags.no_ids = true,
            "--empty-lines" => flags.empty_lines = true,
            "--exit-after" => flags.exit_after = value()?.parse()?,
            "--close-after" => flags.close_after = value()?.parse()?,
            "--leak" => flags.leak = value()?.parse()?,
            unknown => return Err(format!("unknown flag {unknown}").into()),
        }
    }
    Ok(flags)
}

impl Worker {
    fn serve(&mut self) -> Outcome {
        let slot = std::env::var("PROCPOOL_SLOT").unwrap_or_else(|_| "-".into());
        let generation = std::env::var("PROCPOOL_GENERATION").unwrap_or_else(|_| "-".into());
        self.note("start", &format!("{slot} {generation}"))?;
        pause(Duration::from_millis(self.flags.sleep_at_start));
        self.note("ready", "")?;
        while let Some(request) = self.next()? {
            self.note_at("begin", &request.key)?;
            self.leaked.push(vec![1; self.flags.leak << 20]);
            let reply = self.obey(&request)?;
            // Before the reply: then no other job can begin before this is in the log.
            self.note_at("end", &request.key)?;
            self.print(&reply)?;
            self.replies += 1;
            if self.replies == self.flags.exit_after {
                return self.note("exit", "");
            }
        }
        self.note("eof", "")
    }

    /// The next request that it is to work on; `None`: there will be none.
    fn next(&mut self) -> Outcome<Option<Request>> {
        while !self.is_over && (self.requests.is_empty() || self.flags.at_end) {
            self.fill()?;
        }
        let reads_ahead = self.flags.reverse || self.flags.close_after > 0;
        while reads_ahead && !self.is_over && stdin_has_more()? {
            self.fill()?;
        }
        Ok(match self.flags.reverse {
            true => self.requests.pop_back(),
            false => self.requests.pop_front(),
        })
    }

    /// Reads once, and takes the whole requests.
    fn fill(&mut self) -> Outcome {
        let is_careful = self.flags.one_at_a_time || self.flags.close_after > 0;
        let mut buffer = vec![0; if is_careful { 1 } else { 64 << 10 }];
        let count = rustix::io::read(rustix::stdio::stdin(), &mut buffer)?;
        self.is_over |= count == 0;
        let mut seen = self.input.len();
        self.input.extend_from_slice(&buffer[..count]);
        let mut at = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.input[seen..]) {
            let end = seen + end;
            self.requests.push_back(request(std::str::from_utf8(&self.input[at..end])?)?);
            at = end + 1;
            seen = at;
            self.read += 1;
            if self.read == self.flags.close_after {
                rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
                self.note("closed", "")?;
                self.is_over = true;
                break;
            }
        }
        self.input.drain(..at);
        Ok(())
    }

    /// Does what a request says; returns what is to be printed.
    fn obey(&mut self, request: &Request) -> Outcome<Vec<u8>> {
        let Request { id, cmd, key, rest } = request;
        if cmd == "nap" {
            // Without a parser: there are hundreds of thousands of them.
            pause(Duration::from_micros(rest.parse()?));
            return Ok(self.reply(*id, key));
        }
        let args: Vec<Value> = serde_json::from_str(&format!("[{rest}]"))?;
        let text = |at: usize| args.get(at).and_then(Value::as_str).ok_or("an arg is no string");
        let number = |at: usize| args.get(at).and_then(Value::as_u64).ok_or("an arg is no number");
        match cmd.as_str() {
            // [KEY, WORD, N]: waits until the log has N lines that begin with the word.
            "await_log" => {
                let (word, enough) = (text(0)?, number(1)?);
                wait_until(|| Ok(self.count(word)? >= enough))?;
            }
            // [KEY, FILE]
            "await_file" => wait_until(|| Ok(Path::new(text(0)?).exists()))?,
            // [KEY, FILE]: the same, and talks on stderr meanwhile.
            "chat" => wait_until(|| {
                eprintln!("still waiting");
                Ok(Path::new(text(0)?).exists())
            })?,
            // [KEY, BYTES, …]: a result of the key and BYTES bytes.
            "big" => {
                let filler = "x".repeat(usize::try_from(number(0)?)?);
                return Ok(self.reply(*id, &format!("\"{key}{filler}\"")));
            }
            "pid" => return Ok(self.reply(*id, &std::process::id().to_string())),
            "fail" => return Ok(format!("{{\"id\":{id},\"error\":{key}}}\n").into_bytes()),
            "garbage" => return Ok(b"no reply at all\n".to_vec()),
            "never" => pause(FOR_EVER),
            "die" => {
                kill_process(getpid(), Signal::KILL)?;
                pause(FOR_EVER);
            }
            unknown => return Err(format!("unknown command {unknown}").into()),
        }
        Ok(self.reply(*id, key))
    }

    fn reply(&self, id: u64, result: &str) -> Vec<u8> {
        let end = if self.flags.empty_lines { "\n\n" } else { "\n" };
        match self.flags.no_ids {
            true => format!("{{\"result\":{result}}}{end}").into_bytes(),
            false => format!("{{\"id\":{id},\"result\":{result}}}{end}").into_bytes(),
        }
    }

    fn print(&self, bytes: &[u8]) -> Outcome {
        // Not through a buffer that looks for lines: a reply is one write.
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    fn note(&mut self, word: &str, rest: &str) -> Outcome {
        if let Some(log) = &mut self.log {
            let space = if rest.is_empty() { "" } else { " " };
            // One write, so that the lines of many workers do not mix.
            log.write_all(format!("{word} {}{space}{rest}\n", std::process::id()).as_bytes())?;
        }
        Ok(())
    }

    /// Notes a time as well, in nanoseconds.
    fn note_at(&mut self, word: &str, key: &str) -> Outcome {
        match self.log {
            Some(_) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                self.note(word, &format!("{key} {}", now.as_nanos()))
            }
            None => Ok(()),
        }
    }

    fn count(&self, word: &str) -> Outcome<u64> {
        let path = self.flags.log.as_ref().ok_or("there is no log")?;
        let log = std::fs::read_to_string(path)?;
        Ok(log.lines().filter(|line| line.split(' ').next() == Some(word)).count() as u64)
    }
}

/// Takes a request apart: `{"id":1,"cmd":"nap","args":[7,100]}`.
fn request(line: &str) -> Outcome<Request> {
    let parts = || {
        let (id, line) = line.strip_prefix("{\"id\":")?.split_once(",\"cmd\":\"")?;
        let (cmd, line) = line.split_once("\",\"args\":[")?;
        let args = line.strip_suffix("]}")?;
        let (key, rest) = args.split_once(',').unwrap_or((args, ""));
        Some(Request { id: id.parse().ok()?, cmd: cmd.into(), key: key.into(), rest: rest.into() })
    };
    parts().ok_or_else(|| format!("no request: {line}").into())
}

fn stdin_has_more() -> Outcome<bool> {
    let stdin = rustix::stdio::stdin();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&now))? > 0)
}
