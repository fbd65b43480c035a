//! A worker for the tests: it misbehaves on command.
//!
//! It speaks the `jsonl` protocol. Its commands are the arms of [`Worker::obey`]; its flags say how
//! it behaves from the start:
//!
//! | flag | behaviour |
//! |---|---|
//! | `--log FILE` | appends to FILE what it does: `start PID SLOT GENERATION`, `job PID ID CMD`, `done PID ID`, `eof PID` |
//! | `--taken FILE` | appends to FILE a line for each job it takes on, as it would be in the input |
//! | `--mark WORD` | nothing: tests find the process, and those it starts, by this word |
//! | `--die-at-start` | says so on stderr and exits with status 3 |
//! | `--die-times N` | dies at the start unless the log knows N starts before this one |
//! | `--live-every N` | dies at the start unless this is the Nth start in the log, or the 2Nth, … |
//! | `--sleep-at-start MS` | sleeps before it reads anything |
//! | `--greet` | prints a greeting on stdout, where it does not belong |
//! | `--no-read` | never reads its stdin |
//! | `--exit-after N` | exits with status 0 after N replies |
//! | `--ignore-eof` | lives on when its stdin ends |
//! | `--ignore-term` | ignores TERM |
//! | `--die-chance SEED:PERCENT` | dies at PERCENT of its starts, which follow from SEED, slot and generation |
//! | `--raw` | speaks `raw`: `<LINE` for each line, but for those that [`Worker::serve_raw`] names |
//! | `--linger` | does nothing at all, for five minutes: what its grandchildren do |

mod waiting;

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, StdoutLock, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio, exit};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use waiting::{FOR_EVER, Outcome, pause, wait_until};

#[derive(Default)]
struct Flags {
    log: Option<String>,
    taken: Option<String>,
    mark: Option<String>,
    die_at_start: bool,
    die_times: usize,
    live_every: usize,
    sleep_at_start: u64,
    greet: bool,
    no_read: bool,
    exit_after: usize,
    ignore_eof: bool,
    ignore_term: bool,
    linger: bool,
    raw: bool,
    die_chance: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    id: u64,
    cmd: String,
    #[serde(borrow)]
    args: &'a RawValue,
}

struct Worker {
    flags: Flags,
    log: Option<File>,
    taken: Option<File>,
    out: StdoutLock<'static>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faulty: {error}");
            ExitCode::from(70)
        }
    }
}

fn run() -> Outcome {
    let flags = parse(std::env::args().skip(1))?;
    if flags.ignore_term {
        ignore_term()?;
    }
    if flags.linger {
        pause(FOR_EVER);
        return Ok(());
    }
    let (log, taken) = (notes(flags.log.as_ref())?, notes(flags.taken.as_ref())?);
    let mut worker = Worker { flags, log, taken, out: io::stdout().lock() };
    worker.start()?;
    match worker.flags.raw {
        true => worker.serve_raw(),
        false => worker.serve(),
    }
}

fn notes(path: Option<&String>) -> Outcome<Option<File>> {
    let open = |path| OpenOptions::new().create(true).append(true).open(path);
    Ok(path.map(open).transpose()?)
}

fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Flags> {
    let mut flags = Flags::default();
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--log" => flags.log = Some(value()?),
            "--taken" => flags.taken = Some(value()?),
            "--mark" => flags.mark = Some(value()?),
            "--die-at-start" => flags.die_at_start = true,
            "--die-times" => flags.die_times = value()?.parse()?,
            "--live-every" => flags.live_every = value()?.parse()?,
            "--sleep-at-start" => flags.sleep_at_start = value()?.parse()?,
            "--greet" => flags.greet = true,
            "--no-read" => flags.no_read = true,
            "--exit-after" => flags.exit_after = value()?.parse()?,
            "--ignore-eof" => flags.ignore_eof = true,
            "--ignore-term" => flags.ignore_term = true,
            "--linger" => flags.linger = true,
            "--raw" => flags.raw = true,
            "--die-chance" => flags.die_chance = Some(value()?),
            unknown => return Err(format!("unknown flag {unknown}").into()),
        }
    }
    Ok(flags)
}

impl Worker {
    fn start(&mut self) -> Outcome {
        let slot = std::env::var("PROCPOOL_SLOT").unwrap_or_else(|_| "-".into());
        let generation = std::env::var("PROCPOOL_GENERATION").unwrap_or_else(|_| "-".into());
        self.note(&format!("start {} {slot} {generation}", std::process::id()))?;
        pause(Duration::from_millis(self.flags.sleep_at_start));
        let starts = self.count("start")?;
        let too_early = self.flags.die_times > 0 && starts <= self.flags.die_times;
        let out_of_turn = self.flags.live_every > 0 && starts % self.flags.live_every != 0;
        let out_of_luck = match &self.flags.die_chance {
            Some(chance) => {
                let (seed, percent) = chance.split_once(':').ok_or("no SEED:PERCENT")?;
                let mut hasher = DefaultHasher::new();
                (seed, &slot, &generation).hash(&mut hasher);
                hasher.finish() % 100 < percent.parse()?
            }
            None => false,
        };
        if out_of_luck || self.flags.die_at_start || too_early || out_of_turn {
            eprintln!("faulty: I die at the start");
            exit(3);
        }
        if self.flags.greet {
            writeln!(self.out, "Welcome to faulty!")?;
        }
        if self.flags.no_read {
            pause(FOR_EVER);
        }
        Ok(())
    }

    /// Many lines are answered in one write, as a filter does that reads as much as there is.
    fn serve_raw(&mut self) -> Outcome {
        let mut input = BufReader::with_capacity(64 << 10, io::stdin().lock());
        let mut replies = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(taken) = &mut self.taken {
                taken.write_all(&line)?;
            }
            let (word, _) = text.split_once(' ').unwrap_or_default();
            if matches!(word, "die" | "half" | "stall" | "exit") {
                // What came before it has been answered.
                self.print(&std::mem::take(&mut replies))?;
            }
            match word {
                "die" => die(Signal::KILL)?,
                "exit" => exit(0),
                "half" => {
                    self.print(b"<half")?;
                    die(Signal::SEGV)?;
                }
                "stall" => pause(FOR_EVER),
                _ => {
                    replies.push(b'<');
                    replies.extend_from_slice(&line);
                }
            }
            if input.buffer().is_empty() {
                self.print(&std::mem::take(&mut replies))?;
            }
        }
    }

    fn serve(&mut self) -> Outcome {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        let mut replies = 0;
        while input.read_until(b'\n', &mut line)? > 0 {
            let request: Request<'_> = serde_json::from_slice(&line)?;
            let pid = std::process::id();
            self.note(&format!("job {pid} {} {}", request.id, request.cmd))?;
            if let Some(taken) = &mut self.taken {
                taken.write_all(format!("{} {}\n", request.cmd, request.args).as_bytes())?;
            }
            if let Err(error) = self.obey(&request) {
                self.fail(request.id, &json!(format!("{}: {error}", request.cmd)))?;
            }
            line.clear();
            replies += 1;
            if replies == self.flags.exit_after {
                return Ok(());
            }
        }
        self.note(&format!("eof {}", std::process::id()))?;
        if self.flags.ignore_eof {
            pause(FOR_EVER);
        }
        Ok(())
    }

    /// Does what a request says. An error is its reply.
    fn obey(&mut self, request: &Request<'_>) -> Outcome {
        let id = request.id;
        let list: Vec<&RawValue> = serde_json::from_str(request.args.get()).unwrap_or_default();
        // A number may be too large for us, and still be echoed.
        let args: Vec<Value> =
            list.iter().map(|arg| serde_json::from_str(arg.get()).unwrap_or_default()).collect();
        match request.cmd.as_str() {
            // Good behaviour.
            "echo" => self.reply(id, request.args.get()),
            "first" => self.reply(id, list.first().ok_or("no arg")?.get()),
            "raw" => self.reply(id, text(&args, 0)?),
            "add" => {
                let sum: i64 = args.iter().filter_map(Value::as_i64).sum();
                self.reply(id, &sum.to_string())
            }
            "pid" => self.reply(id, &std::process::id().to_string()),
            "env" => {
                let value = std::env::var(text(&args, 0)?).ok();
                self.reply(id, &json!(value).to_string())
            }
            "sleep" => {
                pause(Duration::from_millis(number(&args, 0)?));
                self.reply(id, request.args.get())
            }
            // [VALUE, MICROSECONDS]: sleeps, and replies with the value.
            "nap" => {
                pause(Duration::from_micros(number(&args, 1)?));
                self.reply(id, list[0].get())
            }
            "await_file" => {
                let path = Path::new(text(&args, 0)?);
                wait_until(|| Ok(path.exists()))?;
                self.reply(id, "true")
            }
            // [WORD, N]: waits until the log has N lines that begin with the word.
            "await_log" => {
                let (word, enough) = (text(&args, 0)?, number(&args, 1)?);
                wait_until(|| Ok(self.count(word)? as u64 >= enough))?;
                self.reply(id, "true")
            }
            "no_id" => self.print(format!("{{\"result\":{}}}\n", request.args.get()).as_bytes()),
            "fail" => {
                let error = args.first().cloned().unwrap_or_else(|| json!("it failed"));
                self.fail(id, &error)
            }
            "fail_object" => {
                let error = json!({"message": "it failed", "code": 7});
                self.fail(id, args.first().unwrap_or(&error))
            }

            // Death.
            "die" => die(signal(args.first())?),
            "exit" => exit(i32::try_from(number(&args, 0).unwrap_or(0))?),
            "stderr_exit" => {
                eprintln!("{}", text(&args, 0)?);
                exit(i32::try_from(number(&args, 1)?)?)
            }
            "half" => {
                self.print(format!("{{\"id\":{id},\"resu").as_bytes())?;
                die(signal(args.first())?)
            }

            // Replies that are none.
            "garbage" => self.print(format!("{}\n", text(&args, 0)?).as_bytes()),
            "bytes" => {
                let mut bytes = (0..args.len())
                    .map(|at| Ok(u8::try_from(number(&args, at)?)?))
                    .collect::<Outcome<Vec<u8>>>()?;
                bytes.push(b'\n');
                self.print(&bytes)
            }
            "twice" => self.print(format!("{}{}", reply(id, "1"), reply(id, "2")).as_bytes()),
            "twice_late" => {
                self.reply(id, "1")?;
                pause(Duration::from_millis(50));
                self.reply(id, "2")
            }
            "blank_lines" => {
                self.print(format!("{}\n\r\n\n", reply(id, request.args.get())).as_bytes())
            }
            "unknown_id" => self.reply(987_654_321, "1"),
            "text_id" => self.print(format!("{{\"id\":\"{id}\",\"result\":1}}\n").as_bytes()),
            "extra_key" => {
                self.print(format!("{{\"id\":{id},\"result\":1,\"colour\":2}}\n").as_bytes())
            }
            "both" => self.print(format!("{{\"id\":{id},\"result\":1,\"error\":2}}\n").as_bytes()),
            "neither" => self.print(format!("{{\"id\":{id}}}\n").as_bytes()),
            // [BYTES]: a reply of that length, without the newline.
            "huge" => {
                let head = format!("{{\"id\":{id},\"result\":\"");
                let mut left = usize::try_from(number(&args, 0)?)? - head.len() - 2;
                self.print(head.as_bytes())?;
                let block = vec![b'x'; left.min(1 << 20)];
                while left > 0 {
                    let piece = left.min(block.len());
                    self.print(&block[..piece])?;
                    left -= piece;
                }
                self.print(b"\"}\n")
            }

            // Pipes and processes.
            "close_stdout" => {
                let null = OpenOptions::new().write(true).open("/dev/null")?;
                rustix::stdio::dup2_stdout(null)?;
                pause(FOR_EVER);
                Ok(())
            }
            "close_stdin" => {
                rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
                self.reply(id, "true")?;
                pause(FOR_EVER);
                Ok(())
            }
            "stop_reading" => {
                self.reply(id, "true")?;
                pause(FOR_EVER);
                Ok(())
            }
            // Reads a little of the next request, which has to be a long one, and dies.
            "die_reading" => {
                self.reply(id, "true")?;
                rustix::io::read(rustix::stdio::stdin(), &mut [0; 1000])?;
                die(Signal::KILL)
            }
            "never_answer" => {
                pause(FOR_EVER);
                Ok(())
            }
            "ignore_term" => {
                ignore_term()?;
                pause(FOR_EVER);
                Ok(())
            }
            "flood_stderr" => {
                let line = [&[b'.'; 79][..], b"\n"].concat();
                let block = line.repeat(800);
                let mut left = usize::try_from(number(&args, 0)?)?;
                while left > 0 {
                    let piece = left.min(block.len());
                    io::stderr().write_all(&block[..piece])?;
                    left -= piece;
                }
                self.reply(id, request.args.get())
            }
            "grandchild_stdout" => {
                let pid = self.grandchild(&args)?;
                self.reply(id, &pid.to_string())
            }
            "grandchild_exit" => {
                let pid = self.grandchild(&args)?;
                self.reply(id, &pid.to_string())?;
                exit(0)
            }
            "grandchild_die" => {
                self.grandchild(&args)?;
                exit(4)
            }
            "grandchild_hang" => {
                self.grandchild(&args)?;
                pause(FOR_EVER);
                Ok(())
            }
            unknown => Err(format!("unknown command {unknown}").into()),
        }
    }

    fn reply(&mut self, id: u64, result: &str) -> Outcome {
        self.note(&format!("done {} {id}", std::process::id()))?;
        self.print(reply(id, result).as_bytes())
    }

    fn fail(&mut self, id: u64, error: &Value) -> Outcome {
        self.note(&format!("done {} {id}", std::process::id()))?;
        self.print(format!("{{\"id\":{id},\"error\":{error}}}\n").as_bytes())
    }

    fn print(&mut self, bytes: &[u8]) -> Outcome {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }

    /// Starts a process that does nothing, with our stdout and stderr, and the flags in the args.
    fn grandchild(&self, args: &[Value]) -> Outcome<u32> {
        let child = Command::new(std::env::current_exe()?)
            .arg("--linger")
            .args(args.iter().filter_map(Value::as_str))
            .args(self.flags.mark.iter().flat_map(|mark| ["--mark", mark]))
            .stdin(Stdio::null())
            .spawn()?;
        Ok(child.id())
    }

    fn note(&mut self, line: &str) -> Outcome {
        if let Some(log) = &mut self.log {
            // One write, so that the lines of many workers do not mix.
            log.write_all(format!("{line}\n").as_bytes())?;
        }
        Ok(())
    }

    fn count(&self, word: &str) -> Outcome<usize> {
        let Some(path) = &self.flags.log else {
            return Ok(0);
        };
        let log = std::fs::read_to_string(path)?;
        Ok(log.lines().filter(|line| line.starts_with(word)).count())
    }
}

fn reply(id: u64, result: &str) -> String {
    format!("{{\"id\":{id},\"result\":{result}}}\n")
}

fn text(args: &[Value], at: usize) -> Outcome<&str> {
    let arg = args.get(at).and_then(Value::as_str);
    arg.ok_or_else(|| format!("arg {at} is not a string").into())
}

fn number(args: &[Value], at: usize) -> Outcome<u64> {
    let arg = args.get(at).and_then(Value::as_u64);
    arg.ok_or_else(|| format!("arg {at} is not a number").into())
}

fn signal(arg: Option<&Value>) -> Outcome<Signal> {
    let signal = match arg {
        None => Some(Signal::KILL),
        Some(Value::String(name)) => match name.trim_start_matches("SIG") {
            "ABRT" => Some(Signal::ABORT),
            "HUP" => Some(Signal::HUP),
            "INT" => Some(Signal::INT),
            "KILL" => Some(Signal::KILL),
            "SEGV" => Some(Signal::SEGV),
            "STOP" => Some(Signal::STOP),
            "TERM" => Some(Signal::TERM),
            _ => None,
        },
        Some(number) => Signal::from_named_raw(i32::try_from(number.as_i64().unwrap_or(0))?),
    };
    signal.ok_or_else(|| "unknown signal".into())
}

fn die(signal: Signal) -> Outcome {
    // The first SEGV only takes away the handler that the Rust runtime has for it.
    kill_process(getpid(), signal)?;
    kill_process(getpid(), signal)?;
    pause(FOR_EVER);
    Ok(())
}

fn ignore_term() -> io::Result<()> {
    // A handler that only sets a flag, which nobody looks at.
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, flag)?;
    Ok(())
}
