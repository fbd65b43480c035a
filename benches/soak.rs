//! A server for an hour: callers of all kinds, each output compared with what it must be, and the memory, the
//! descriptors and the threads of the server over time.
//!
//! ```sh
//! cargo build --release --example faulty && cargo bench --bench soak -- --minutes 60
//! ```

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The threads that call, one call after the other.
const CALLERS: u64 = 3;

/// A line is printed this often, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The first differences are printed, and kept to this number.
const MOST_SHOWN: u64 = 10;

/// What the callers share.
struct Soak {
    procpool: PathBuf,
    socket: PathBuf,
    pid: u32,
    is_over: AtomicBool,
    calls: AtomicU64,
    jobs: AtomicU64,
    wrong: AtomicU64,
    /// How many callers were killed, and how many connections were garbage.
    killed: AtomicU64,
    garbage: AtomicU64,
    renewals: AtomicU64,
    times: Mutex<Vec<u32>>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` measures nothing.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let value = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1);
    let minutes: f64 = value("--minutes").map_or(1.0, |text| text.parse().expect("minutes"));
    let procpool = value("--procpool").map_or(env!("CARGO_BIN_EXE_procpool"), String::as_str);
    let time = Duration::from_secs_f64(60.0 * minutes);
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, soak) = start(Path::new(procpool), folder.path());
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let soak = Arc::clone(&soak);
            thread::spawn(move || soak.call_on(caller))
        })
        .collect();
    watch(&soak, time);
    soak.is_over.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().expect("no panic"));
    let stopped = soak.run(&["--stop".as_ref(), soak.socket.as_os_str()], b"");
    let status = server.wait().expect("a status");
    let wrong = soak.wrong.load(Ordering::Relaxed);
    println!("the server has ended: {status}; --stop: {}; {wrong} wrong", stopped.status);
    assert!(status.success() && stopped.status.success() && wrong == 0, "something was wrong");
}

/// Starts the server, and waits until it listens.
fn start(procpool: &Path, folder: &Path) -> (Child, Arc<Soak>) {
    let profile = Path::new(env!("CARGO_BIN_EXE_procpool")).parent().expect("a folder");
    let worker = profile.join("examples/faulty");
    assert!(worker.exists(), "build it first: cargo build --release --example faulty");
    let socket = folder.join("s");
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let server = Command::new(procpool)
        .arg("--serve")
        .arg(&socket)
        .args(["-j2", "--max-reqs", "5000", "--grace", "1", "-w"])
        .arg(&worker)
        .stderr(log)
        .spawn()
        .expect("the server starts");
    while UnixStream::connect(&socket).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let soak = Soak {
        procpool: procpool.to_owned(),
        socket,
        pid: server.id(),
        is_over: AtomicBool::new(false),
        calls: AtomicU64::new(0),
        jobs: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        killed: AtomicU64::new(0),
        garbage: AtomicU64::new(0),
        renewals: AtomicU64::new(0),
        times: Mutex::default(),
    };
    (server, Arc::new(soak))
}

/// Prints a line from time to time.
fn watch(soak: &Soak, time: Duration) {
    let began = Instant::now();
    let pause = (time / 12).min(LONGEST_PAUSE);
    println!(
        "{:>8} {:>9} {:>9} {:>6} {:>7} {:>8} {:>8} {:>7} {:>5} {:>8} {:>8} {:>8}",
        "seconds",
        "calls",
        "jobs",
        "wrong",
        "killed",
        "garbage",
        "renewals",
        "MiB",
        "fds",
        "threads",
        "p50 ms",
        "p99 ms"
    );
    loop {
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(pause));
        let process = PathBuf::from(format!("/proc/{}", soak.pid));
        let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0)
        };
        let fds = std::fs::read_dir(process.join("fd")).map_or(0, Iterator::count);
        let mut times = std::mem::take(&mut *soak.times.lock().expect("no panic"));
        times.sort_unstable();
        let at = |share: f64| {
            let nth = (times.len() as f64 * share) as usize;
            times.get(nth).map_or(0.0, |micros| f64::from(*micros) / 1e3)
        };
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        println!(
            "{:>8.0} {:>9} {:>9} {:>6} {:>7} {:>8} {:>8} {:>7.1} {:>5} {:>8} {:>8.1} {:>8.1}",
            began.elapsed().as_secs_f64(),
            count(&soak.calls),
            count(&soak.jobs),
            count(&soak.wrong),
            count(&soak.killed),
            count(&soak.garbage),
            count(&soak.renewals),
            field("VmRSS:") / 1024.0,
            fds,
            field("Threads:"),
            at(0.5),
            at(0.99)
        );
    }
}

impl Soak {
    /// Makes calls until the end. Most have one job; the others take turns.
    fn call_on(&self, caller: u64) {
        let mut round = caller * 7;
        while !self.is_over.load(Ordering::Relaxed) {
            round += 1;
            match round % 200 {
                20 | 120 => self.many(round),
                40 | 140 => self.failing(),
                60 => self.dying(),
                80 => self.late(),
                100 => self.large(),
                150 => self.garbage(round),
                160 => self.killed(),
                180 => self.interrupted(),
                190 => self.looks(),
                199 if caller == 0 => self.renews(),
                _ => self.single(round),
            }
        }
    }

    fn command(&self, args: &[&std::ffi::OsStr]) -> Command {
        let mut command = Command::new(&self.procpool);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&std::ffi::OsStr], input: &[u8]) -> Output {
        let mut child = self.command(args).spawn().expect("procpool starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("an output");
        feeder.join().expect("no panic");
        output
    }

    fn connect(&self, args: &[&str], input: &[u8]) -> Output {
        let mut words = vec!["--connect".as_ref(), self.socket.as_os_str()];
        words.extend(args.iter().map(std::ffi::OsStr::new));
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.run(&words, input)
    }

    /// Notes a call that did not end as it must.
    fn expect(&self, what: &str, is_right: bool, output: &Output) {
        if !is_right && self.wrong.fetch_add(1, Ordering::Relaxed) < MOST_SHOWN {
            let text =
                |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
            println!(
                "wrong: {what}: {}: {} {}",
                output.status,
                text(&output.stdout),
                text(&output.stderr)
            );
        }
    }

    fn single(&self, round: u64) {
        let began = Instant::now();
        let word = format!("w{round}");
        let output = self.connect(&["--format", "value", "first", ":::", &word], b"");
        let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.times.lock().expect("no panic").push(micros);
        self.jobs.fetch_add(1, Ordering::Relaxed);
        let is_right =
            output.status.success() && output.stdout == format!("\"{word}\"\n").as_bytes();
        self.expect("one job", is_right, &output);
    }

    fn many(&self, round: u64) {
        let lines: String = (0..500).map(|n| format!("{}\n", round * 1_000 + n)).collect();
        let wanted: String = lines.lines().map(|line| format!("\"{line}\"\n")).collect();
        let output = self.connect(&["--format", "value", "first"], lines.as_bytes());
        self.jobs.fetch_add(500, Ordering::Relaxed);
        let is_right = output.status.success() && output.stdout == wanted.as_bytes();
        self.expect("500 jobs", is_right, &output);
    }

    fn failing(&self) {
        let output = self.connect(
            &["--retries", "1", "--retry-delay", "0.001"],
            b"fail [1]\necho [2]\nno job\n",
        );
        self.jobs.fetch_add(4, Ordering::Relaxed);
        let kinds = kinds(&output);
        let is_right = output.status.code() == Some(1) && kinds == ["error", "ok", "invalid"];
        self.expect("jobs that fail", is_right, &output);
    }

    fn dying(&self) {
        let output = self.connect(&[], b"die []\necho [1]\n");
        self.jobs.fetch_add(2, Ordering::Relaxed);
        let is_right = output.status.code() == Some(1) && kinds(&output) == ["crash", "ok"];
        self.expect("a worker that dies", is_right, &output);
    }

    fn late(&self) {
        let output = self.connect(&["--timeout", "0.1"], b"sleep [30000]\necho [1]\n");
        self.jobs.fetch_add(2, Ordering::Relaxed);
        let is_right = output.status.code() == Some(1) && kinds(&output) == ["timeout", "ok"];
        self.expect("a job that takes too long", is_right, &output);
    }

    fn large(&self) {
        let word = "x".repeat(1 << 20);
        let output = self.connect(&["--format", "value", "first"], format!("{word}\n").as_bytes());
        self.jobs.fetch_add(1, Ordering::Relaxed);
        let is_right =
            output.status.success() && output.stdout == format!("\"{word}\"\n").as_bytes();
        self.expect("a job of 1 MiB", is_right, &output);
    }

    /// Somebody who talks nonsense, or stops in the middle of it.
    fn garbage(&self, round: u64) {
        self.garbage.fetch_add(1, Ordering::Relaxed);
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return };
        let mut greeting = [0; 64];
        let _ = stream.read(&mut greeting);
        let text: &[u8] =
            if round.is_multiple_of(2) { b"GET / HTTP/1.1\r\n\r\n" } else { &[9, 0, 0] };
        let _ = stream.write_all(text);
    }

    /// A caller that is killed while it has jobs.
    fn killed(&self) {
        self.killed.fetch_add(1, Ordering::Relaxed);
        let args = ["--connect".as_ref(), self.socket.as_os_str()];
        let mut child = self.command(&args).spawn().expect("procpool starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let _ = stdin.write_all("sleep [30]\n".repeat(100).as_bytes());
        thread::sleep(Duration::from_millis(40));
        let _ = child.kill();
        let _ = child.wait();
    }

    /// A caller that is interrupted while it has jobs.
    fn interrupted(&self) {
        let args =
            ["--connect".as_ref(), self.socket.as_os_str(), "--grace".as_ref(), "0.1".as_ref()];
        let mut child = self.command(&args).spawn().expect("procpool starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let _ = stdin.write_all(b"sleep [20000]\n");
        thread::sleep(Duration::from_millis(80));
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::INT));
        drop(stdin);
        let output = child.wait_with_output().expect("an output");
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.expect("an interrupted caller", output.status.code().is_none(), &output);
    }

    fn looks(&self) {
        for args in [&[][..], &["--format", "prometheus"]] {
            let mut words = vec!["--status".as_ref(), self.socket.as_os_str()];
            words.extend(args.iter().map(std::ffi::OsStr::new));
            let output = self.run(&words, b"");
            let is_right = output.status.success() && !output.stdout.is_empty();
            self.expect("the status", is_right, &output);
        }
    }

    /// All workers are replaced.
    fn renews(&self) {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::HUP));
    }
}

/// How each job of an output ended: `ok`, or the kind of failure.
fn kinds(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let records =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    records.map(|record| record["error"]["kind"].as_str().unwrap_or("ok").to_owned()).collect()
}
