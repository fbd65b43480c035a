//! Chaos: workers that at random crash, stall, garble, truncate, flood, leak and die at their start,
//! while this test kills, stops and continues them, stops procpool, fills its disk and signals it.
//! After each round: one result for each job that was read, the right one, in its place; nothing left
//! running, no descriptor too many, little memory, and no wait longer than the limits given.
//!
//! What happens goes by a seed, which is printed if a round fails: `PROCPOOL_CHAOS_SEED=7` runs the
//! rounds of seed 7 again (as far as two processors do the same twice). `PROCPOOL_CHAOS_SECONDS`: how
//! long it goes on; 40 unless it is set. `PROCPOOL_CHAOS_ROUND`: which round it begins with.

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Crew, Running, Test, leftovers, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A job takes no longer than this, by the option; and than this with all that comes with its end.
const TIMEOUT: f64 = 1.0;
const LONGEST: f64 = 6.0;

/// procpool may hold so much memory, in KiB: a debug build, with four workers.
const MOST_MEMORY: u64 = 200 << 10;

/// Numbers that look random and can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A job, and what is to come of it.
struct Task {
    line: String,
    expected: Expected,
}

enum Expected {
    Result(Value),
    /// Failures of these kinds.
    Kinds(&'static [&'static str]),
    /// A result of which nothing is known.
    Any,
}

/// What a worker of faulty ones is asked.
fn worker_task(random: &mut Random, number: usize) -> Task {
    let fails = |line: &str, kinds| Task { line: line.into(), expected: Expected::Kinds(kinds) };
    if !random.one_in(4) {
        let expected = Expected::Result(json!(number));
        let line = match random.below(4) {
            0 => format!("nap [{number},{}]", random.below(3000)),
            1 => format!("no_id {number}"),
            _ => format!("first [{number}]"),
        };
        return Task { line, expected };
    }
    match random.below(17) {
        0 => fails("die", &["crash"]),
        1 => fails("exit [0]", &["crash"]),
        2 => fails("half", &["crash"]),
        3 => fails("stderr_exit [\"last words\",3]", &["crash"]),
        4 => fails("garbage [\"x\"]", &["protocol"]),
        5 => fails("bytes [255,0,10,97]", &["protocol"]),
        6 => fails("unknown_id", &["protocol"]),
        7 => fails("extra_key", &["protocol"]),
        8 => fails("huge [150000]", &["protocol"]),
        9 => fails("fail [\"x\"]", &["error"]),
        10 => fails("{\"cmd\":", &["invalid"]),
        11 => fails("grandchild_die", &["crash"]),
        12 => fails("close_stdout", &["crash"]),
        // They stall; the last one stops itself.
        13 if random.one_in(3) => fails("never_answer", &["timeout"]),
        14 if random.one_in(3) => fails("die [\"STOP\"]", &["timeout"]),
        15 => Task { line: "grandchild_exit".into(), expected: Expected::Any },
        _ => Task {
            line: "flood_stderr [100000]".into(),
            expected: Expected::Result(json!([100_000])),
        },
    }
}

/// With several requests at a worker, one that answers and then dies is blamed for the next, which it
/// may have read.
fn pipelined_task(random: &mut Random, number: usize) -> Task {
    loop {
        let task = worker_task(random, number);
        if !matches!(task.expected, Expected::Any) {
            return task;
        }
    }
}

fn raw_task(random: &mut Random, number: usize) -> Task {
    let word = match random.below(400) {
        0 if random.one_in(4) => "die",
        1 => "half",
        2 => "exit",
        3 if random.one_in(4) => "stall",
        _ => "go",
    };
    let line = format!("{word} {number}");
    let expected = match word {
        "stall" => Expected::Kinds(&["timeout"]),
        "go" => Expected::Result(json!(format!("<{line}"))),
        _ => Expected::Kinds(&["crash"]),
    };
    Task { line, expected }
}

/// What commands and their children sleep for: a number that nobody else does.
fn sleep() -> String {
    format!("60.{:08}", std::process::id())
}

/// Commands, as code for `sh`.
fn command_task(random: &mut Random, number: usize) -> Task {
    let ok = |line: String, stdout: String| Task {
        line,
        expected: Expected::Result(json!({"exit": 0, "stdout": stdout, "stderr": ""})),
    };
    let fails = |line: &str, kinds| Task { line: line.into(), expected: Expected::Kinds(kinds) };
    let sleep = format!("sleep {}", sleep());
    match random.below(24) {
        0 => fails("exit 3", &["exit"]),
        1 => fails("kill -9 $$", &["exit"]),
        2 if random.one_in(3) => fails(&sleep, &["timeout"]),
        3 if random.one_in(3) => fails(&format!("trap '' TERM; {sleep}"), &["timeout"]),
        4 if random.one_in(3) => fails(&format!("kill -STOP $$; {sleep}"), &["timeout"]),
        5 => ok(format!("{sleep} & echo {number}"), format!("{number}\n")),
        6 => ok("head -c 400000 /dev/zero | tr '\\0' x".into(), "x".repeat(400_000)),
        _ => ok(format!("echo {number}"), format!("{number}\n")),
    }
}

/// A round: what is run, and what befalls it.
struct Round {
    what: String,
    test: Test,
    tasks: Vec<Task>,
    /// What ends it before its time.
    end: Option<Signal>,
    /// Its disk is full soon.
    is_full: bool,
    /// Its workers are killed and stopped.
    is_harassed: bool,
}

fn round(random: &mut Random, crew: &Crew, mark: &str) -> Round {
    let kind = random.below(4);
    let procs = 1 + random.below(4);
    let is_full = random.below(8) == 0;
    let end = random.one_in(5).then(|| random.pick(&[Signal::INT, Signal::TERM, Signal::HUP]));
    let shell = if is_full { "ulimit -f 200; exec \"$@\"" } else { "exec \"$@\"" };
    let mut options: Vec<String> = vec![format!("-j{procs}")];
    let common = ["--format", "record", "--detail", "--grace", "200ms", "--max-reply", "100K"];
    options.extend(common.map(str::to_owned));
    let timeout = ["--timeout".to_owned(), format!("{TIMEOUT}s")];
    options.extend(timeout);
    options.extend(["--buffer".to_owned(), random.pick(&["1K", "64K", "64M"]).to_owned()]);
    let seed = random.below(1000);
    let flags = random.pick(&["", "--ignore-term", "--ignore-eof", "--ignore-eof --ignore-term"]);
    let mut worker =
        crew.worker(&format!("{flags} --die-chance {seed}:{}", random.pick(&[0, 0, 10, 30])));
    let count = match kind {
        0 => 60 + random.below(100),
        1 => 60 + random.below(100),
        2 => 2_000 + random.below(10_000),
        _ => 30 + random.below(60),
    };
    if kind < 3 {
        options.extend(["--start-limit", "0"].map(str::to_owned));
        if random.one_in(2) {
            let few = if kind == 2 { 300 } else { 1 };
            options.extend(["--max-reqs".to_owned(), (few + random.below(30 * few)).to_string()]);
            options.extend(["--standby".to_owned(), random.below(3).to_string()]);
        }
    }
    let make: fn(&mut Random, usize) -> Task = match kind {
        0 => worker_task,
        1 => {
            options.extend(["--pipeline", random.pick(&["2", "16", "auto"])].map(str::to_owned));
            pipelined_task
        }
        2 => {
            worker.push_str(" --raw");
            options.extend(["--protocol", "raw", "--pipeline", "auto"].map(str::to_owned));
            // Bundles are made only where nothing but the results is asked for.
            if random.one_in(2) {
                options.retain(|option| option != "--detail" && option != "record");
                options.retain(|option| option != "--format");
                options.extend(["--format", "text"].map(str::to_owned));
            }
            raw_task
        }
        _ => command_task,
    };
    match kind {
        3 => {
            let code = "eval \"$1\"";
            options.extend(["sh", "-c", code, mark].map(str::to_owned));
        }
        _ => options.extend(["--worker".to_owned(), worker]),
    }
    let tasks: Vec<Task> = (1..=count).map(|number| make(random, number)).collect();
    let what = format!("{options:?}, {count} jobs, end {end:?}, full {is_full}");
    let test = Test::through_shell(shell)
        .args(&options)
        .env("TMPDIR", crew.path(""))
        .any_stdout()
        .any_stderr()
        .any_status()
        .patience(60)
        .stdin_open();
    let is_harassed = kind < 3 && random.one_in(2);
    Round { what, test, tasks, end, is_full, is_harassed }
}

fn number_in(pid: Pid, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn descriptors(pid: Pid) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    fds.map_or(0, |fds| fds.flatten().count())
}

/// One of the workers, and not the shell that is about to become procpool.
fn a_worker(random: &mut Random, mark: &str, run: &Running) -> Option<Pid> {
    let mut all: Vec<Pid> = leftovers(mark).iter().filter_map(|line| pid_of(line)).collect();
    all.retain(|&pid| pid != run.pid());
    if all.is_empty() { None } else { Some(random.pick(&all)) }
}

fn pid_of(line: &str) -> Option<Pid> {
    let digits = line.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().ok().and_then(Pid::from_raw)
}

/// Does to the run and its workers what goes wrong in the world. Returns how many it has killed.
fn harass(random: &mut Random, run: &Running, mark: &str, round: &Round) -> usize {
    let mut killed = 0;
    match random.below(6) {
        0 | 1 if round.is_harassed => {
            if let Some(pid) = a_worker(random, mark, run) {
                killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
            }
        }
        2 if round.is_harassed => {
            if let Some(pid) = a_worker(random, mark, run) {
                // Less than a timeout.
                let _ = kill_process(pid, Signal::STOP);
                run.ends_within(Duration::from_millis(random.next() % 100));
                let _ = kill_process(pid, Signal::CONT);
            }
        }
        3 if !run.has_ended() => {
            // As Ctrl-Z and `fg` do, and as somebody who does not ask.
            run.signal(random.pick(&[Signal::TSTP, Signal::STOP]));
            run.ends_within(Duration::from_millis(random.next() % 100));
            run.signal(Signal::CONT);
        }
        _ => {
            run.ends_within(Duration::from_millis(random.next() % 50));
        }
    }
    killed
}

fn one_round(random: &mut Random) -> String {
    let crew = Crew::new();
    let mark = format!("chaos-{}-{}", std::process::id(), random.next());
    let Round { what, test, tasks, end, is_full, is_harassed } = round(random, &crew, &mark);
    let mark = match what.contains("--worker") {
        true => crew.path("log"),
        false => mark,
    };
    let round = Round { what, test: Test::new(), tasks, end, is_full, is_harassed };
    eprintln!("  {}", round.what);
    let mut run = test.spawn();
    let pid = run.pid();
    let lines: Vec<String> = round.tasks.iter().map(|task| format!("{}\n", task.line)).collect();
    let mut killed = 0;
    let pieces = 1 + random.below(8);
    let mut unfed = false;
    for piece in lines.chunks(lines.len().div_ceil(pieces)) {
        // A run that has been ended reads no more.
        unfed |= !run.try_write(&piece.concat());
        killed += harass(random, &run, &mark, &round);
    }
    if let Some(signal) = round.end
        && !run.has_ended()
    {
        run.signal(signal);
    }
    let begin = Instant::now();
    while !run.has_ended() && begin.elapsed() < Duration::from_secs(40) {
        if random.one_in(3) && begin.elapsed() < Duration::from_secs(3) {
            killed += harass(random, &run, &mark, &round);
        }
        let is_done = run.seen_lines() >= round.tasks.len();
        if is_done || round.end.is_some() || round.is_full || round.what.contains("\"text\"") {
            break;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    if round.end.is_none() && !round.is_full && !run.has_ended() {
        // All is done, but for text that is not counted here: nothing may have piled up.
        let most = 20 + 12 * 4;
        let most = if round.what.contains("\"text\"") { usize::MAX } else { most };
        wait_for("descriptors to be given back", || descriptors(pid) <= most);
        let memory = number_in(pid, "status", "VmHWM:").unwrap_or_default();
        assert!(memory < MOST_MEMORY, "{memory} KiB of memory");
    }
    let output = run.finish();
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    check(&round, &output, killed, unfed);
    // A second after its end nothing may be alive.
    let end = Instant::now() + Duration::from_secs(1);
    while !leftovers(&mark).is_empty() {
        assert!(Instant::now() < end, "left behind: {:?}", leftovers(&mark));
        thread::park_timeout(Duration::from_millis(5));
    }
    crew.assert_gone();
    wait_for("what commands have left behind", || leftovers(&sleep()).is_empty());
    round.what
}

/// Holds the results against what was to come of the jobs.
fn check(round: &Round, output: &common::Output, killed: usize, unfed: bool) {
    let was_cut = round.end.is_some() || unfed;
    let is_text = round.what.contains("\"text\"");
    if round.is_full && output.stderr.contains("temporary file") {
        // It has said that it lost something: what it did print is right all the same.
        let mut lines = output.lines();
        assert!(lines.len() <= round.tasks.len());
        lines.sort_unstable();
        assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "a result is there twice");
        return;
    }
    if is_text {
        return check_text(round, output, killed, was_cut);
    }
    let records = output.records();
    assert!(records.len() == round.tasks.len() || was_cut, "{} results", records.len());
    let mut blamed = 0;
    let mut before = 0;
    for record in &records {
        let seq = record["seq"].as_u64().unwrap_or_default();
        // Of a run that was ended, jobs that waited have no result: that is told on stderr.
        assert!(seq == before + 1 || (was_cut && seq > before), "behind {before}: {record:.400}");
        before = seq;
        let task = &round.tasks[usize::try_from(seq).expect("it is small") - 1];
        let what = format!("job {seq}: {}: {record:.400}", task.line);
        let seconds = record["seconds"].as_f64().unwrap_or_default();
        assert!(seconds < LONGEST, "{what}");
        let kind = record["error"]["kind"].as_str();
        let is_right = match (&task.expected, kind) {
            (Expected::Result(value), None) => &record["result"] == value,
            (Expected::Any, None) => true,
            (Expected::Kinds(kinds), Some(kind)) => kinds.contains(&kind),
            _ => false,
        };
        // One that was killed, or stopped for long, while it was on another job.
        let is_blamed = round.is_harassed && matches!(kind, Some("crash" | "timeout"));
        let is_cancelled = was_cut && kind == Some("cancelled");
        blamed += usize::from(is_blamed && !is_right);
        assert!(is_right || is_blamed || is_cancelled, "{what}");
    }
    assert!(blamed <= killed, "{blamed} jobs are charged with {killed} deaths");
}

/// The same where only good results are on stdout, and failures on stderr.
fn check_text(round: &Round, output: &common::Output, killed: usize, was_cut: bool) {
    let lines = output.lines();
    let good = |task: &Task| match &task.expected {
        Expected::Result(value) => value.as_str().map(str::to_owned),
        _ => None,
    };
    let mut printed = lines.iter().peekable();
    let mut missing = 0;
    for expected in round.tasks.iter().filter_map(good) {
        match printed.next_if(|line| **line == expected) {
            Some(_) => {}
            None => missing += 1,
        }
    }
    assert_eq!(printed.next(), None, "what is printed is in order, and each of it once");
    let failures = output.stderr.lines().filter(|line| line.starts_with("procpool: job ")).count();
    let total = round.tasks.len();
    assert!(
        lines.len() + failures >= total || was_cut,
        "{} and {failures} of {total}: {:.2000}",
        lines.len(),
        output.stderr
    );
    assert!(missing <= killed || was_cut, "{missing} results are missing, {killed} were killed");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn chaos() {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let seed = variable("PROCPOOL_CHAOS_SEED")
        .unwrap_or_else(|| u64::try_from(clock()).unwrap_or_default() % 1_000_000);
    let seconds = variable("PROCPOOL_CHAOS_SECONDS").unwrap_or(40);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = variable("PROCPOOL_CHAOS_ROUND").unwrap_or(0);
    while Instant::now() < end {
        eprintln!("round {rounds} of seed {seed}");
        // Each round has a seed of its own, lest what happens in one changes the next.
        let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(rounds));
        let outcome = catch_unwind(AssertUnwindSafe(|| one_round(&mut random)));
        if let Err(panic) = outcome {
            eprintln!("this was round {rounds} of PROCPOOL_CHAOS_SEED={seed}");
            resume_unwind(panic);
        }
        rounds += 1;
    }
    println!("{rounds} rounds of seed {seed} in {seconds} s");
}
