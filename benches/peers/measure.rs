//! Runs one command and measures it.
//!
//! CPU time and memory are read from `/proc`: there is no other way to them without `unsafe`. A
//! process that has ended, and has not been waited for, still shows its own time apart from that of
//! its children. So the cost of a tool is known apart from that of its workers.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// A run that takes longer hangs, or nobody would wait for it.
const PATIENCE: Duration = Duration::from_secs(1200);

/// How often the memory is read. The kernel keeps a high-water mark, so only memory that was added
/// after the last look is missed.
const LOOK: Duration = Duration::from_millis(20);

/// `/proc` counts time in these, on all of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// From the start to the end, in seconds.
    pub(crate) wall: f64,
    /// CPU seconds, user and system, of the process itself with all its threads.
    pub(crate) own: Option<f64>,
    /// The same together with all processes that it started and waited for.
    pub(crate) cpu: Option<f64>,
    /// The most memory that was resident for the process itself, in bytes.
    pub(crate) peak: Option<u64>,
}

/// Takes the lines that a command prints, without their newlines; an error ends it all.
pub(crate) type Check<'a> = dyn FnMut(&[u8]) -> Result<(), String> + Send + 'a;

/// Runs a command with a file as its stdin, and its stdout thrown away unless there is a `check`
/// that wants to see it.
pub(crate) fn run(
    argv: &[OsString],
    stdin: &Path,
    check: Option<&mut Check<'_>>,
) -> Result<Usage, String> {
    let mut stderr =
        tempfile::tempfile().map_err(|error| format!("no file for stderr: {error}"))?;
    let jobs = File::open(stdin).map_err(|error| format!("{}: {error}", stdin.display()))?;
    let errors = stderr.try_clone().map_err(|error| format!("no file for stderr: {error}"))?;
    let mut command = command(&argv[0]);
    command
        .args(&argv[1..])
        .stdin(jobs)
        .stdout(if check.is_some() { Stdio::piped() } else { Stdio::null() })
        .stderr(errors);

    let begin = Instant::now();
    let mut child =
        command.spawn().map_err(|error| format!("{} can't be run: {error}", argv[0].display()))?;
    let pid = Pid::from_child(&child);
    let has_ended = AtomicBool::new(false);
    let output = child.stdout.take();
    let (checked, wall, own_and_all, peak) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(pid, begin, &has_ended));
        let checked = match (check, output) {
            (Some(check), Some(output)) => lines(output, check),
            _ => Ok(()),
        };
        // Not waited for in earnest yet, so that its figures can be read.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
        let wall = begin.elapsed().as_secs_f64();
        let own_and_all = cpu(pid);
        has_ended.store(true, Ordering::Release);
        watcher.thread().unpark();
        (checked, wall, own_and_all, watcher.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|error| format!("it can't be waited for: {error}"))?;
    checked?;
    if !status.success() {
        let mut text = String::new();
        let _ = stderr.rewind().and_then(|()| stderr.read_to_string(&mut text));
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(5)..];
        return Err(format!("{status}: {}", last.join(" | ")));
    }
    Ok(Usage {
        wall,
        own: own_and_all.map(|(own, _)| own),
        cpu: own_and_all.map(|(_, all)| all),
        peak,
    })
}

/// A command in an environment that favours nobody.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // It would slow down those peers in Python that print many small results; procpool sets it for
    // its own workers.
    command.env_remove("PYTHONUNBUFFERED").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn lines(output: ChildStdout, check: &mut Check<'_>) -> Result<(), String> {
    let mut output = BufReader::with_capacity(256 << 10, output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = output.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if count == 0 {
            return Ok(());
        }
        check(line.strip_suffix(b"\n").ok_or("its last line has no end")?)?;
    }
}

/// Looks at a process until it has ended; kills it when it takes too long. Returns its peak memory.
fn watch(pid: Pid, begin: Instant, has_ended: &AtomicBool) -> Option<u64> {
    let mut peak = None;
    let mut pause = Duration::from_millis(1);
    while !has_ended.load(Ordering::Acquire) {
        thread::park_timeout(pause);
        pause = (2 * pause).min(LOOK);
        peak = high_water(pid).max(peak);
        if begin.elapsed() > PATIENCE {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    peak
}

/// The most memory that has been resident for a living process, in bytes.
fn high_water(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// The CPU seconds of a process, and those of it and all that it has waited for.
fn cpu(pid: Pid) -> Option<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything, comes field 3; utime is field 14.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |field: usize| {
        fields.get(field - 3)?.parse::<f64>().ok().map(|ticks| ticks / TICKS_PER_SECOND)
    };
    let own = seconds(14)? + seconds(15)?;
    Some((own, own + seconds(16)? + seconds(17)?))
}
