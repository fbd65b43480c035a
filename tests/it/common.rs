//! The tools of all tests: a builder that runs procpool and states its stdout, its stderr and its exit
//! status, and crews of faulty workers.
//!
//! Nothing here waits without a bound, and nothing waits for time to pass: everything waits for
//! something to happen, with a deadline that only a hang can reach.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

/// How long a run, or a wait, may last before it counts as a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nothing can be waited for.
const TICK: Duration = Duration::from_millis(3);

/// A run of procpool: its command line, its input, and what is expected of it.
///
/// Unless something else is said, it reads nothing, prints nothing and ends with status 0.
pub(crate) struct Test {
    command: Command,
    input: Input,
    head: Option<usize>,
    hold: bool,
    stdout_file: bool,
    stderr_dropped: bool,
    expected: Expected,
    patience: Duration,
}

enum Input {
    Bytes(Vec<u8>),
    Endless(Vec<u8>),
    Given,
    Open,
}

#[derive(Debug)]
struct Expected {
    /// `None`: the test looks at it by itself.
    stdout: Option<Vec<u8>>,
    stderr: Stderr,
    status: Ending,
}

#[derive(Debug)]
enum Stderr {
    /// There is a line for each failed record, and the last line that counts them. There is nothing else.
    OfFailures,
    Is(String),
    Has(Vec<String>),
}

#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Status(i32),
    Signal(i32),
    Any,
}

impl Test {
    pub(crate) fn new() -> Self {
        Self::of(Command::new(env!("CARGO_BIN_EXE_procpool")))
    }

    /// A run of another build of procpool.
    pub(crate) fn program(path: &Path) -> Self {
        Self::of(Command::new(path))
    }

    /// A run by a shell: in the script, `"$@"` is procpool and its arguments.
    pub(crate) fn through_shell(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_procpool")]);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        // What changes the output, and may be set where the tests run.
        for variable in [
            "CI",
            "NO_COLOR",
            "MAKEFLAGS",
            "GITHUB_STEP_SUMMARY",
            "PYTHONUNBUFFERED",
            "PROCPOOL_OPTIONS",
        ] {
            command.env_remove(variable);
        }
        command.process_group(0);
        Self {
            command,
            input: Input::Bytes(Vec::new()),
            head: None,
            hold: false,
            stdout_file: false,
            stderr_dropped: false,
            expected: Expected {
                stdout: Some(Vec::new()),
                stderr: Stderr::OfFailures,
                status: Ending::Status(0),
            },
            patience: PATIENCE,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// The options before the command, as words.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs with `--max-procs` workers of this command line.
    pub(crate) fn workers(self, max_procs: usize, worker: impl AsRef<str>) -> Self {
        let max_procs = max_procs.to_string();
        self.args(["--max-procs", &max_procs, "--worker", worker.as_ref()])
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub(crate) fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        self.input = Input::Bytes(text.as_ref().to_vec());
        self
    }

    /// Jobs, a line each.
    pub(crate) fn jobs<S: AsRef<str>>(self, lines: impl IntoIterator<Item = S>) -> Self {
        let text: String = lines.into_iter().map(|line| format!("{}\n", line.as_ref())).collect();
        self.stdin(text)
    }

    /// The open file itself is stdin: the test sees by its offset how much was read.
    pub(crate) fn stdin_file(mut self, file: &File) -> Self {
        self.command.stdin(file.try_clone().expect("a second handle of a file"));
        self.input = Input::Given;
        self
    }

    /// The text is repeated until nobody reads it any more.
    pub(crate) fn stdin_endless(mut self, text: &str) -> Self {
        self.input = Input::Endless(text.as_bytes().repeat(1 + 8192 / text.len()));
        self
    }

    /// The test writes stdin bit by bit, with [`Running::write`].
    pub(crate) fn stdin_open(mut self) -> Self {
        self.input = Input::Open;
        self
    }

    /// All of stdout.
    pub(crate) fn stdout(mut self, text: impl AsRef<[u8]>) -> Self {
        self.expected.stdout = Some(text.as_ref().to_vec());
        self
    }

    /// The test looks at stdout by itself.
    pub(crate) fn any_stdout(mut self) -> Self {
        self.expected.stdout = None;
        self
    }

    /// stdout is closed after `lines` lines, as `head` does.
    pub(crate) fn head(mut self, lines: usize) -> Self {
        self.head = Some(lines);
        self
    }

    /// stdout is not read before [`Running::release_stdout`].
    pub(crate) fn hold_stdout(mut self) -> Self {
        self.hold = true;
        self
    }

    /// stdout is this file; what the test sees of stdout is empty.
    pub(crate) fn stdout_to(mut self, path: &str) -> Self {
        let file = File::options().append(true).create(true).open(path);
        self.command.stdout(file.expect("a file for stdout"));
        self.stdout_file = true;
        self
    }

    /// All of stderr, without the times of failed jobs. If the text has not the last line, which counts the failed
    /// jobs, the number in that must be the number of lines about failed jobs.
    pub(crate) fn stderr(mut self, text: impl Into<String>) -> Self {
        self.expected.stderr = Stderr::Is(text.into());
        self
    }

    /// A part of stderr; may be said several times.
    pub(crate) fn stderr_has(mut self, part: impl Into<String>) -> Self {
        match &mut self.expected.stderr {
            Stderr::Has(parts) => parts.push(part.into()),
            Stderr::Is(_) | Stderr::OfFailures => {
                self.expected.stderr = Stderr::Has(vec![part.into()]);
            }
        }
        self
    }

    /// stderr is thrown away.
    pub(crate) fn drop_stderr(mut self) -> Self {
        self.stderr_dropped = true;
        self.any_stderr()
    }

    /// stderr may hold anything.
    pub(crate) fn any_stderr(self) -> Self {
        self.stderr_has("")
    }

    pub(crate) fn status(mut self, status: i32) -> Self {
        self.expected.status = Ending::Status(status);
        self
    }

    pub(crate) fn killed_by(mut self, signal: Signal) -> Self {
        self.expected.status = Ending::Signal(signal.as_raw());
        self
    }

    /// The test does not mind how it ends, as long as it does.
    pub(crate) fn any_status(mut self) -> Self {
        self.expected.status = Ending::Any;
        self
    }

    pub(crate) fn patience(mut self, seconds: u64) -> Self {
        self.patience = Duration::from_secs(seconds);
        self
    }

    /// Runs to the end, and compares the run with the expectations.
    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.spawn().finish()
    }

    /// Runs to the end; stdout is one JSON object a line.
    #[track_caller]
    pub(crate) fn records(self) -> Vec<Value> {
        self.any_stdout().run().records()
    }

    /// Starts the run.
    #[track_caller]
    pub(crate) fn spawn(mut self) -> Running {
        if !matches!(self.input, Input::Given) {
            self.command.stdin(Stdio::piped());
        }
        if !self.stdout_file {
            self.command.stdout(Stdio::piped());
        }
        self.command.stderr(if self.stderr_dropped { Stdio::null() } else { Stdio::piped() });
        let start = Instant::now();
        let mut child = self.command.spawn().expect("procpool starts");
        let group = Pid::from_child(&child);
        let shared = Arc::new(Shared::default());
        let stdin = feed(child.stdin.take(), self.input);
        let mut held = None;
        match child.stdout.take() {
            Some(pipe) if self.hold => held = Some(pipe),
            Some(pipe) => capture(pipe, Arc::clone(&shared), |state| &mut state.stdout, self.head),
            None => shared.lock().stdout.closed = true,
        }
        match child.stderr.take() {
            Some(pipe) => capture(pipe, Arc::clone(&shared), |state| &mut state.stderr, None),
            None => shared.lock().stderr.closed = true,
        }
        await_exit(child, Arc::clone(&shared));
        Running {
            what: format!("{:?}", self.command),
            expected: self.expected,
            start,
            deadline: start + self.patience,
            group,
            stdin,
            held,
            shared,
            seen: 0,
        }
    }
}

/// A run that is under way.
pub(crate) struct Running {
    what: String,
    expected: Expected,
    start: Instant,
    deadline: Instant,
    group: Pid,
    stdin: Option<ChildStdin>,
    held: Option<ChildStdout>,
    shared: Arc<Shared>,
    /// How much of stdout [`Running::line`] has handed out.
    seen: usize,
}

/// The output of a run so far, as the threads that read it have it.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stdout: Captured,
    stderr: Captured,
    status: Option<ExitStatus>,
    ended: Option<Instant>,
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    closed: bool,
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        self.group
    }

    /// Writes to stdin, which must be open.
    #[track_caller]
    pub(crate) fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(text.as_bytes()).expect("stdin is read");
    }

    /// Writes to stdin; returns whether it was read.
    pub(crate) fn try_write(&mut self, text: &str) -> bool {
        self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(text.as_bytes()).is_ok())
    }

    /// How many lines stdout has had.
    pub(crate) fn seen_lines(&self) -> usize {
        let state = self.shared.lock();
        state.stdout.bytes.iter().filter(|&&byte| byte == b'\n').count()
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Reads stdout from now on.
    pub(crate) fn release_stdout(&mut self) {
        if let Some(pipe) = self.held.take() {
            capture(pipe, Arc::clone(&self.shared), |state| &mut state.stdout, None);
        }
    }

    /// Signals procpool alone, not its group.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.group, signal).expect("procpool can be signalled");
    }

    /// Waits until procpool has taken the signals that were sent to it: none is pending, and none of its threads runs.
    #[track_caller]
    pub(crate) fn await_taken(&self) {
        let mut quiet = 0;
        wait_for("the signals to be taken", || {
            quiet = if is_at_rest(self.group) { quiet + 1 } else { 0 };
            // One look takes a moment, in which one thread may wake another.
            quiet == 2 || self.has_ended()
        });
    }

    /// Kills procpool alone, if it has not ended: where the machine decides how far a run comes.
    pub(crate) fn kill(&self) {
        if let Err(error) = kill_process(self.group, Signal::KILL) {
            assert_eq!(error, rustix::io::Errno::SRCH, "procpool can be killed");
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.shared.lock().status.is_some()
    }

    /// Waits for the end for at most this long. Returns whether it has come.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, time, |state| state.status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.status.is_some()
    }

    /// The next line of stdout, without its newline.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let seen = self.seen;
        let line = self.until("a line on stdout", |state| {
            let rest = &state.stdout.bytes[seen..];
            let end = rest.iter().position(|&byte| byte == b'\n');
            end.map(|end| String::from_utf8_lossy(&rest[..end]).into_owned())
                .ok_or(state.stdout.closed)
        });
        self.seen += line.len() + 1;
        line
    }

    /// The next line of stdout, which is JSON.
    #[track_caller]
    pub(crate) fn record(&mut self) -> Value {
        json(&self.line())
    }

    /// Waits until stderr holds this.
    #[track_caller]
    pub(crate) fn await_stderr(&self, part: &str) {
        self.until(&format!("{part:?} on stderr"), |state| {
            let text = String::from_utf8_lossy(&state.stderr.bytes);
            text.contains(part).then_some(()).ok_or(state.stderr.closed)
        });
    }

    /// Whether stderr holds this.
    pub(crate) fn has_said(&self, part: &str) -> bool {
        String::from_utf8_lossy(&self.shared.lock().stderr.bytes).contains(part)
    }

    /// Waits for the end, and compares the run with the expectations.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        if self.stdin.is_some() {
            self.close_stdin();
        }
        self.outcome()
    }

    /// As [`Running::finish`], but stdin stays open.
    #[track_caller]
    pub(crate) fn finish_by_itself(mut self) -> Output {
        self.outcome()
    }

    #[track_caller]
    fn outcome(&mut self) -> Output {
        let (status, ended) =
            self.until("its end", |state| state.status.zip(state.ended).ok_or(false));
        self.until("the end of stdout and stderr, though it has ended", |state| {
            (state.stdout.closed && state.stderr.closed).then_some(()).ok_or(false)
        });
        let state = self.shared.lock();
        let output = Output {
            stdout: state.stdout.bytes.clone(),
            stderr: String::from_utf8_lossy(&state.stderr.bytes).into_owned(),
            elapsed: ended - self.start,
        };
        drop(state);
        let ending = match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Status(code),
            (None, signal) => Ending::Signal(signal.unwrap_or(0)),
        };
        let mut wrong = Vec::new();
        if ending != self.expected.status && self.expected.status != Ending::Any {
            wrong.push(format!("ended with {ending:?} instead of {:?}", self.expected.status));
        }
        if let Some(expected) = &self.expected.stdout {
            wrong.extend(difference("stdout", &output.stdout, expected));
        }
        match &self.expected.stderr {
            Stderr::OfFailures => wrong.extend(unexpected(&output, ending == Ending::Status(0))),
            Stderr::Is(text) => {
                let seen = without_times(&output.stderr);
                let seen =
                    if text.contains(" jobs failed") { seen } else { without_closing(&seen) };
                wrong.extend(difference("stderr", seen.as_bytes(), text.as_bytes()));
            }
            Stderr::Has(parts) => {
                let seen = without_times(&output.stderr);
                let is_there = |part: &String| output.stderr.contains(part) || seen.contains(part);
                let missing = parts.iter().filter(|part| !is_there(part));
                wrong.extend(missing.map(|part| format!("stderr lacks {part:?}")));
            }
        }
        assert!(wrong.is_empty(), "{}{}", self.report(), wrong.join("\n"));
        output
    }

    /// Waits for something to be seen. `Err(true)`: it will never be seen.
    #[track_caller]
    fn until<T>(&self, what: &str, mut look: impl FnMut(&State) -> Result<T, bool>) -> T {
        let mut state = self.shared.lock();
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match look(&state) {
                Ok(seen) => return seen,
                Err(hopeless) if hopeless || left.is_zero() => {
                    drop(state);
                    panic!("{}waited in vain for {what}", self.report());
                }
                Err(_) => {}
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn report(&self) -> String {
        let state = self.shared.lock();
        format!(
            "\n{}\nstatus: {:?}\nstdout: {}\nstderr: {}\n",
            self.what,
            state.status,
            shorten(&state.stdout.bytes),
            shorten(&state.stderr.bytes)
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.shared.lock().status.is_none() {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// The output of a run, and how long it took.
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) elapsed: Duration,
}

impl Output {
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<&str> {
        let text = std::str::from_utf8(&self.stdout).expect("stdout is UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "an unfinished line: {text:?}");
        text.lines().collect()
    }

    #[track_caller]
    pub(crate) fn records(&self) -> Vec<Value> {
        self.lines().into_iter().map(json).collect()
    }
}

fn feed(pipe: Option<ChildStdin>, input: Input) -> Option<ChildStdin> {
    let mut pipe = pipe?;
    match input {
        Input::Open | Input::Given => return Some(pipe),
        // procpool may end before it has read everything: that is no error here.
        Input::Bytes(bytes) => thread::spawn(move || drop(pipe.write_all(&bytes))),
        Input::Endless(bytes) => thread::spawn(move || while pipe.write_all(&bytes).is_ok() {}),
    };
    None
}

fn capture(
    pipe: impl Read + Send + 'static,
    shared: Arc<Shared>,
    which: fn(&mut State) -> &mut Captured,
    head: Option<usize>,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        let mut lines = 0;
        let mut open = Some(pipe);
        while let Some(pipe) = &mut open {
            let count = pipe.read(&mut buffer).unwrap_or(0);
            let bytes = &buffer[..count];
            lines += bytes.iter().filter(|&&byte| byte == b'\n').count();
            if count == 0 || head.is_some_and(|head| lines >= head) {
                // Before the line is seen: what is printed after that must find nobody who reads.
                open = None;
            }
            shared.change(|state| which(state).bytes.extend_from_slice(bytes));
        }
        shared.change(|state| which(state).closed = true);
    });
}

fn await_exit(mut child: Child, shared: Arc<Shared>) {
    thread::spawn(move || {
        let status = child.wait().expect("procpool is our child");
        shared.change(|state| {
            state.status = Some(status);
            state.ended = Some(Instant::now());
        });
    });
}

/// The line about a failed job, without its time: what ran, why it failed, and where it is.
pub(crate) fn failed(what: &str, why: &str, details: &str) -> String {
    format!("procpool: failed: {what}: {why} ({details})\n")
}

/// A word as a line about a failed job has it.
pub(crate) fn quoted(word: &str) -> String {
    String::from_utf8_lossy(&procpool::engine::command::quote(word.as_bytes())).into_owned()
}

/// The stderr of a run without the times of failed jobs.
pub(crate) fn without_times(stderr: &str) -> String {
    let lines = stderr.split_inclusive('\n').map(|line| match line.rsplit_once(" (job ") {
        Some((before, details)) if line.contains("procpool: failed: ") => {
            let is_time = |part: &str| {
                let number = part.trim_end_matches([')', '\n']).strip_suffix(" s");
                number.is_some_and(|number| number.parse::<f64>().is_ok())
            };
            let is_last = details.rsplit(", ").next().is_some_and(is_time);
            let kept: Vec<&str> = details.split(", ").filter(|part| !is_time(part)).collect();
            format!("{before} (job {}{}", kept.join(", "), if is_last { ")\n" } else { "" })
        }
        _ => line.to_owned(),
    });
    lines.collect()
}

/// The lines about failed jobs.
pub(crate) fn failures(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.contains("procpool: failed: ")).collect()
}

/// The stderr of a run without the last line, which counts the failed jobs rightly.
fn without_closing(stderr: &str) -> String {
    let begin = stderr.trim_end_matches('\n').rfind('\n').map_or(0, |at| at + 1);
    let count = stderr[begin..].strip_prefix("procpool: ").and_then(|line| {
        let (count, rest) = line.split_once(" of ")?;
        rest.contains(" jobs failed").then(|| count.parse::<usize>().ok())?
    });
    let is_right = count.is_some() && count == Some(failures(stderr).len());
    stderr[..if is_right { begin } else { stderr.len() }].to_owned()
}

/// The stderr without a line for each failed record and without the last line.
fn unexpected(output: &Output, is_well: bool) -> Option<String> {
    let stderr = without_closing(&output.stderr);
    let (about, others): (Vec<&str>, Vec<&str>) =
        stderr.lines().partition(|line| line.starts_with("procpool: failed: "));
    let stdout = String::from_utf8_lossy(&output.stdout);
    // On a slow machine that is right of any worker.
    let is_hint =
        |line: &&str| line.starts_with("procpool: ") && line.ends_with(" s. Still waiting.");
    let others: Vec<&str> = others.into_iter().filter(|line| !is_hint(line)).collect();
    let has_failed = |line: &&str| {
        let record = serde_json::from_str::<Value>(line);
        line.contains("\"ok\":false") && record.is_ok_and(|record| record["ok"] == false)
    };
    let records = if is_well { 0 } else { stdout.lines().filter(has_failed).count() };
    let is_right = others.is_empty() && about.len() == records;
    (!is_right).then(|| {
        format!("stderr has no line for each of {records} failures alone: {:?}", output.stderr)
    })
}

fn difference(name: &str, seen: &[u8], expected: &[u8]) -> Option<String> {
    if seen == expected {
        return None;
    }
    let same = seen.iter().zip(expected).take_while(|(a, b)| a == b).count();
    Some(format!(
        "{name} differs from byte {same} on: {} instead of {}",
        shorten(&seen[same..]),
        shorten(&expected[same..])
    ))
}

fn shorten(bytes: &[u8]) -> String {
    const LONGEST: usize = 3000;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
    match bytes.len().checked_sub(LONGEST) {
        None | Some(0) => format!("{text:?}"),
        Some(more) => format!("{text:?} and {more} bytes more"),
    }
}

/// Parses a line of output.
#[track_caller]
pub(crate) fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line:?}"))
}

/// The result of a record that is ok.
#[track_caller]
pub(crate) fn result(record: &Value) -> &Value {
    assert_eq!(record["ok"], true, "{record}");
    &record["result"]
}

/// The message of a record that failed in this way.
#[track_caller]
pub(crate) fn message<'a>(record: &'a Value, kind: &str) -> &'a str {
    assert_eq!(record["ok"], false, "{record}");
    assert_eq!(record["error"]["kind"], kind, "{record}");
    record["error"]["message"].as_str().expect("a message is a string")
}

/// A shell script as a command; its `$1` is the arg of the job.
pub(crate) fn sh(script: &str) -> [&str; 4] {
    ["sh", "-c", script, "sh"]
}

/// A line of shell that waits until a file is there, or its folder is gone.
pub(crate) fn until(path: &str) -> String {
    let folder = Path::new(path).parent().expect("a folder").display();
    format!("until test -e '{path}' -o ! -d '{folder}'; do sleep 0.02; done")
}

/// The lines of a file. A file that is not there has none.
pub(crate) fn lines_of(path: &str) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Asserts that a text holds all these parts.
#[track_caller]
pub(crate) fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// The command line of a faulty worker with these flags (see `tests/workers/faulty.rs`).
#[track_caller]
pub(crate) fn worker(flags: &str) -> String {
    let path = faulty();
    let path = path.to_str().expect("the path of the build is UTF-8");
    format!("{} {flags}", shell_words::quote(path))
}

/// The command line of a worker of `tests/workers/batch.rs` with these flags.
#[track_caller]
pub(crate) fn batch(flags: &str) -> String {
    worker(flags).replacen("/examples/faulty", "/examples/batch", 1)
}

#[track_caller]
fn faulty() -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_procpool")).parent();
    let path = profile.expect("a directory").join("examples/faulty");
    let age = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workers/faulty.rs");
    assert!(
        age(&path).is_some() && age(&path) >= age(&source),
        "{} is missing, or older than its source: run `cargo build --example faulty`, or \
         `cargo test` without --test, which builds it",
        path.display()
    );
    path
}

/// Faulty workers that share a log and a directory, and can be found by their mark.
pub(crate) struct Crew {
    mark: String,
    directory: TempDir,
}

impl Crew {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            mark: format!("crew-{}-{count}-", std::process::id()),
            directory: TempDir::new().expect("a directory for temporary files"),
        }
    }

    /// The command line of a worker with these flags.
    #[track_caller]
    pub(crate) fn worker(&self, flags: &str) -> String {
        let log = self.path("log");
        worker(&format!("--mark {} --log {} {flags}", self.mark, shell_words::quote(&log)))
    }

    /// The command line of a worker of `tests/workers/batch.rs` with these flags.
    #[track_caller]
    pub(crate) fn batch(&self, flags: &str) -> String {
        self.worker(flags).replacen("/examples/faulty", "/examples/batch", 1)
    }

    /// The path of a file in the crew's directory.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().expect("the path is UTF-8").to_owned()
    }

    /// A copy of procpool that every user may run: the directory of the build may be closed to them.
    pub(crate) fn open_copy(&self) -> String {
        let copy = self.path("procpool");
        if !Path::new(&copy).exists() {
            fs::copy(env!("CARGO_BIN_EXE_procpool"), &copy).expect("there is room for it");
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(self.path(""), open).expect("it is ours");
        }
        copy
    }

    /// Makes a file in the crew's directory.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("the directory can be written to");
        path
    }

    /// Makes a FIFO in the crew's directory, which is open for reading and for writing.
    pub(crate) fn fifo(&self, name: &str) -> (String, File) {
        let path = self.path(name);
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
        let file = File::options().read(true).write(true).open(&path).expect("it is there");
        (path, file)
    }

    /// A file with this content, opened at its start.
    pub(crate) fn open(&self, name: &str, content: impl AsRef<[u8]>) -> File {
        File::open(self.file(name, content)).expect("the file can be read")
    }

    /// What the workers have logged, as words.
    pub(crate) fn log(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// What the workers have logged of this kind: `start`, `job`, `done` or `eof`.
    pub(crate) fn logged(&self, kind: &str) -> Vec<Vec<String>> {
        let mut log = self.log();
        log.retain(|line| line[0] == kind);
        log
    }

    /// Waits until the workers have logged `count` lines of this kind.
    #[track_caller]
    pub(crate) fn await_logged(&self, kind: &str, count: usize) {
        wait_for(&format!("{count} times {kind:?} in the log"), || {
            self.logged(kind).len() >= count
        });
    }

    /// The living processes of the crew, grandchildren too.
    pub(crate) fn left(&self) -> Vec<String> {
        leftovers(&self.mark)
    }

    /// Waits until this number of its processes is alive, and each has begun its program. Until then whoever has started
    /// it waits for it (`D`), and can't be stopped.
    #[track_caller]
    pub(crate) fn await_processes(&self, count: usize) {
        wait_for(&format!("{count} processes"), || {
            let states = self.states();
            states.len() == count && !states.contains(&'D')
        });
    }

    /// Waits until it has this number of processes, and all are stopped.
    #[track_caller]
    pub(crate) fn await_stopped(&self, count: usize) {
        wait_for("all to be stopped", || self.states() == vec!['T'; count]);
    }

    /// Their states, as in `ps`: `T` is stopped.
    pub(crate) fn states(&self) -> Vec<char> {
        let states = processes(&self.mark).into_iter().map(|(pid, _)| state(pid));
        states.flatten().collect()
    }

    /// Asserts that a second after procpool has ended nothing of the crew is alive.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        let end = Instant::now() + Duration::from_secs(1);
        while !self.left().is_empty() {
            assert!(Instant::now() < end, "left behind: {:?}", self.left());
            thread::park_timeout(TICK);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        end_all(&self.mark);
    }
}

/// The living processes, but for procpool itself, whose command line holds this word.
pub(crate) fn leftovers(mark: &str) -> Vec<String> {
    processes(mark).into_iter().map(|(pid, command)| format!("{pid:?} {command}")).collect()
}

/// Ends the living processes whose command line holds this word.
pub(crate) fn end_all(mark: &str) {
    for (pid, _) in processes(mark) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn processes(mark: &str) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("a /proc file system").flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        // A process that has ended by now is none.
        let Ok(command) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let is_procpool = command.starts_with(env!("CARGO_BIN_EXE_procpool"));
        if command.contains(mark) && !is_procpool && state(pid).is_some() {
            found.push((pid, command));
        }
    }
    found
}

/// The state of a process; `None` if it has ended, even if nobody has waited for it yet.
pub(crate) fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let state = stat.rsplit(") ").next()?.chars().next()?;
    (!matches!(state, 'Z' | 'X')).then_some(state)
}

/// Whether no signal is pending for a process, and none of its threads runs.
fn is_at_rest(pid: Pid) -> bool {
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let mut tasks = fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten();
    pending.is_some_and(|mask| mask.trim().bytes().all(|digit| digit == b'0'))
        && tasks.all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
        })
}

/// A port that nobody uses, also if it is asked for several times at once. The system gives none of these to a
/// connection, and the claim keeps other tests off it, also those of other processes.
pub(crate) fn free_port() -> u16 {
    static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    loop {
        let port = 10_000 + u16::try_from(RandomState::new().hash_one(()) % 20_000).expect("small");
        let here = ("127.0.0.1", port);
        if let Ok(claim) = UdpSocket::bind(here)
            && TcpListener::bind(here).is_ok()
        {
            CLAIMS.lock().expect("no panic").push(claim);
            return port;
        }
    }
}

/// Waits for a condition to hold.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::park_timeout(TICK);
    }
}

/// Waits until a number has not changed for half a second.
#[track_caller]
pub(crate) fn wait_for_rest(what: &str, mut look: impl FnMut() -> u64) -> u64 {
    let (mut last, mut since) = (look(), Instant::now());
    wait_for(what, || {
        let now = look();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    });
    last
}

/// How much of a file that is somebody's stdin was read.
pub(crate) fn offset(mut file: &File) -> u64 {
    file.stream_position().expect("a file has an offset")
}

/// The time that a process has spent on a CPU, in ticks of 10 ms.
pub(crate) fn cpu_time(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let stat = stat.expect("procpool lives");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// The most memory that a process has held, in bytes.
pub(crate) fn peak_memory(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

/// Whether a program is there that a test needs. Where `PROCPOOL_TEST_REQUIRE=all` is set, a missing
/// one fails the test.
#[track_caller]
pub(crate) fn need(program: &str) -> bool {
    let found = find_program(program).is_some();
    if !found {
        let required = std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
        assert!(!required, "{program} is not installed");
        println!("skipped: {program} is not installed");
    }
    found
}

/// Whether this test, which is heavy, is to run: with `PROCPOOL_TEST_REQUIRE=all`, or if its name or its area was given
/// (`cargo test --test it -- chaos::`). If not, the test says so.
pub(crate) fn heavy() -> bool {
    let thread = thread::current();
    let name = thread.name().unwrap_or_default();
    let is_named = std::env::args().skip(1).any(|arg| arg.len() > 3 && name.contains(&arg));
    let required = std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
    if !required && !is_named {
        println!("skipped: {name} is a heavy test: give its name, or PROCPOOL_TEST_REQUIRE=all");
    }
    required || is_named
}

/// Whether a file of a package is there. If not, the test says so, as [`need`] does.
pub(crate) fn is_there(file: &str, package: &str) -> bool {
    let found = Path::new(file).exists();
    if !found {
        let required = std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
        assert!(!required, "{package} is not installed");
        println!("skipped: {package} is not installed");
    }
    found
}

/// Where a program is.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(program));
    places.find(|place| place.is_file())
}

/// A small file system of its own, which is gone with this.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`: it takes root to make one.
    pub(crate) fn new(size: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let made = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !made {
            let required =
                std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
            assert!(!required, "no small file system can be made");
            println!("skipped: no small file system can be made");
        }
        made.then_some(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file needs no room");
        for piece in [64 << 10, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    /// Gives back the room that [`SmallDisk::fill`] has taken.
    pub(crate) fn make_room(&self) {
        let _ = fs::remove_file(self.filler());
    }

    /// Nobody can write to it any more.
    pub(crate) fn forbid_writing(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "it can be made read-only");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
