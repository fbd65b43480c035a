//! Chaos: workers that at random crash, stall, garble, truncate, flood, leak and die at their start,
//! while this test kills, stops and continues them, stops procpool, fills its disk and signals it.
//! After each round: one result for each job that was read, the right one, in its place; nothing left
//! running, no descriptor too many, little memory, and no wait longer than the limits given.
//!
//! Rounds with a journal are cut short, some by `kill -9`, and resumed until they are done: what is
//! printed then is what a run prints that nothing befalls, and what was recorded is not run again.
//!
//! A seed decides on the events. It is printed if a round fails: `PROCPOOL_CHAOS_SEED=7` runs the rounds
//! of seed 7 again (as far as two processors do the same twice). `PROCPOOL_CHAOS_SECONDS` is how long the
//! test takes, 40 by default. `PROCPOOL_CHAOS_ROUND` is the first round.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::{Crew, Output, Running, SmallDisk, Test, end_all, leftovers, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A job takes no longer than this, by the option; and than this with all that comes with its end.
const TIMEOUT: f64 = 1.0;
const LONGEST: f64 = 6.0;

/// The most memory that procpool may hold, in KiB: a debug build, with four workers.
const MOST_MEMORY: u64 = 200 << 10;

/// Numbers that look random and can be had again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
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
    /// A result that is not known.
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
            line: format!("flood_stderr [100000,{number}]"),
            expected: Expected::Result(json!([100_000, number])),
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

/// What commands sleep for: a number that nobody else does.
fn sleep() -> String {
    format!("60.{:08}", std::process::id())
}

/// What those sleep for that commands leave running.
fn left_asleep() -> String {
    format!("61.{:08}", std::process::id())
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
        5 => ok(format!("sleep {} & echo {number}", left_asleep()), format!("{number}\n")),
        6 => {
            let line = format!("head -c 400000 /dev/zero | tr '\\0' x; echo {number}");
            ok(line, format!("{}{number}\n", "x".repeat(400_000)))
        }
        _ => ok(format!("echo {number}"), format!("{number}\n")),
    }
}

/// What a run writes to.
enum Disk {
    Roomy,
    /// No file may be larger than so.
    Limited,
    /// It is filled while the run is under way.
    Small(SmallDisk),
}

/// A round: what is run.
struct Round {
    options: Vec<String>,
    tasks: Vec<Task>,
    disk: Disk,
    /// Where temporary files go, and what the options name.
    folder: String,
    /// What its processes are known by.
    mark: String,
    /// Results alone are printed.
    is_text: bool,
    /// It has workers, not commands.
    has_workers: bool,
    has_journal: bool,
    /// It has a job log, and a file for the lines of failed jobs.
    has_logs: bool,
}

/// What befalls a run.
#[derive(Debug)]
struct Fate {
    /// What ends it before its time.
    end: Option<Signal>,
    /// Its disk is full soon.
    is_filled: bool,
    /// Its workers are killed and stopped.
    is_harassed: bool,
}

const CALM: Fate = Fate { end: None, is_filled: false, is_harassed: false };

/// A run that is over.
struct Ran {
    output: Output,
    /// How many workers were killed.
    killed: usize,
    /// Some of the input was not read.
    unfed: bool,
}

const KINDS: [fn(&mut Random, usize) -> Task; 4] =
    [worker_task, pipelined_task, raw_task, command_task];

impl Round {
    fn new(random: &mut Random, crew: &Crew) -> Self {
        let (kind, has_journal, has_logs) = (random.below(4), random.one_in(3), random.one_in(3));
        let count = match kind {
            0 | 1 => 60 + random.below(100),
            2 => 2_000 + random.below(10_000),
            _ => 30 + random.below(60),
        };
        // Of a result that is another one each time a resumed run can't be held against another.
        let make = if has_journal && kind == 0 { pipelined_task } else { KINDS[kind] };
        let small = || SmallDisk::new("16m").map_or(Disk::Limited, Disk::Small);
        let disk = match random.below(8) {
            0 if !has_journal => Disk::Limited,
            1 | 2 => small(),
            _ => Disk::Roomy,
        };
        let folder = match &disk {
            Disk::Small(disk) => disk.path().to_str().expect("UTF-8").to_owned(),
            _ => crew.path(""),
        };
        let mark = format!("chaos-{}-{}", std::process::id(), random.next());
        let mut round = Self {
            options: Vec::new(),
            tasks: (1..=count).map(|number| make(random, number)).collect(),
            disk,
            folder,
            mark: if kind < 3 { crew.path("log") } else { mark },
            // Bundles are made only where nothing but the results is asked for.
            is_text: kind == 2 && random.one_in(2),
            has_workers: kind < 3,
            has_journal,
            has_logs,
        };
        round.common_options(random);
        match kind {
            3 => round.command_options(crew),
            _ => round.worker_options(random, crew, kind),
        }
        round
    }

    fn option(&mut self, words: &[&str]) {
        self.options.extend(words.iter().map(|&word| word.to_owned()));
    }

    fn common_options(&mut self, random: &mut Random) {
        let procs = 1 + random.below(4);
        self.option(&[&format!("-j{procs}"), "--grace", "200ms"]);
        self.option(&["--timeout", &format!("{TIMEOUT}s")]);
        self.option(&["--buffer", random.pick(&["1K", "64K", "64M"])]);
        self.option(&["--format", if self.is_text { "text" } else { "record" }]);
        if !self.is_text && !self.has_journal {
            self.option(&["--detail"]);
        }
        if self.has_logs {
            let (joblog, failed) = (self.path("joblog"), self.path("failed"));
            self.option(&["--joblog", &joblog, "--failed", &failed]);
        }
    }

    fn worker_options(&mut self, random: &mut Random, crew: &Crew, kind: usize) {
        self.option(&["--start-limit", "0", "--max-reply", "100K"]);
        if random.one_in(2) {
            let few = if kind == 2 { 300 } else { 1 };
            self.option(&["--max-reqs", &(few + random.below(30 * few)).to_string()]);
            self.option(&["--standby", &random.below(3).to_string()]);
        }
        match kind {
            1 => self.option(&["--pipeline", random.pick(&["2", "16", "auto"])]),
            2 => self.option(&["--protocol", "raw", "--pipeline", "auto"]),
            _ => {}
        }
        let flags =
            random.pick(&["", "--ignore-term", "--ignore-eof", "--ignore-eof --ignore-term"]);
        let chance = format!("{}:{}", random.below(1000), random.pick(&[0, 0, 10, 30]));
        let taken = crew.path("taken");
        let raw = if kind == 2 { "--raw" } else { "" };
        let worker = format!("{flags} --die-chance {chance} --taken {taken} {raw}");
        self.option(&["--worker", &crew.worker(&worker)]);
    }

    fn command_options(&mut self, crew: &Crew) {
        let code = format!("printf '%s\\n' \"$1\" >> {}; eval \"$1\"", crew.path("taken"));
        let mark = self.mark.clone();
        self.option(&["sh", "-c", &code, &mark]);
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The run; if it is to be gone on with, with its journal.
    fn test(&self, has_journal: bool) -> Test {
        let shell = match self.disk {
            Disk::Limited => "ulimit -f 200; exec \"$@\"",
            Disk::Roomy | Disk::Small(_) => "exec \"$@\"",
        };
        let journal = ["--resume", "--journal", &self.path("journal")].map(str::to_owned);
        Test::through_shell(shell)
            .args(journal.iter().filter(|_| has_journal))
            .args(&self.options)
            .env("TMPDIR", &self.folder)
            .any_stdout()
            .any_stderr()
            .any_status()
            .patience(60)
            .stdin_open()
    }

    /// The lines of the jobs that the journal has as done.
    fn recorded(&self) -> HashSet<&str> {
        let text = fs::read_to_string(self.path("journal")).unwrap_or_default();
        // The last line may be torn.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let records = lines.map(crate::common::json).filter(|record| record["ok"] == true);
        let results: HashSet<String> = records
            .map(|record| {
                let bodies = ["result", "message", "printed"];
                let body = bodies.iter().find_map(|body| record.get(body));
                body.expect("a record has a result").to_string()
            })
            .collect();
        let by_result = self.tasks.iter().filter_map(|task| match &task.expected {
            Expected::Result(value) => Some((value.to_string(), task.line.as_str())),
            _ => None,
        });
        let by_result: HashMap<String, &str> = by_result.collect();
        results.iter().map(|result| by_result[result]).collect()
    }
}

impl Fate {
    fn new(random: &mut Random, round: &Round) -> Self {
        let ends = [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL];
        let often = if round.has_journal { 2 } else { 5 };
        Self {
            end: random.one_in(often).then(|| random.pick(&ends)),
            is_filled: match round.disk {
                Disk::Roomy => false,
                Disk::Limited => true,
                Disk::Small(_) => !random.one_in(4),
            },
            is_harassed: round.has_workers && random.one_in(2),
        }
    }
}

fn number_in(pid: Pid, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn is_stopped(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    status.is_ok_and(|text| text.contains("State:\tT"))
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
fn harass(random: &mut Random, run: &Running, mark: &str, fate: &Fate) -> usize {
    let mut killed = 0;
    match random.below(6) {
        0 | 1 if fate.is_harassed => {
            if let Some(pid) = a_worker(random, mark, run) {
                killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
            }
        }
        2 if fate.is_harassed => {
            if let Some(pid) = a_worker(random, mark, run) {
                // Less than a timeout.
                let _ = kill_process(pid, Signal::STOP);
                run.ends_within(Duration::from_millis(random.next() % 100));
                let _ = kill_process(pid, Signal::CONT);
            }
        }
        3 if !run.has_ended() => {
            // As somebody who does not ask, and as Ctrl-Z and `fg` do, which see the stop before they go on.
            let signal = random.pick(&[Signal::TSTP, Signal::STOP]);
            let _ = kill_process(run.pid(), signal);
            let asked = Instant::now();
            while !is_stopped(run.pid()) && asked.elapsed() < Duration::from_secs(2) {
                if run.ends_within(Duration::from_millis(1)) {
                    break;
                }
            }
            run.ends_within(Duration::from_millis(random.next() % 100));
            let _ = kill_process(run.pid(), Signal::CONT);
        }
        _ => {
            run.ends_within(Duration::from_millis(random.next() % 50));
        }
    }
    killed
}

/// Runs a round, until its end or for as long as it is let.
fn run(random: &mut Random, round: &Round, fate: &Fate, has_journal: bool) -> Ran {
    let mut run = round.test(has_journal).spawn();
    let lines: Vec<String> = round.tasks.iter().map(|task| format!("{}\n", task.line)).collect();
    let (mut killed, mut unfed) = (0, false);
    let pieces = 1 + random.below(8);
    let full_at = random.below(pieces);
    for (index, piece) in lines.chunks(lines.len().div_ceil(pieces)).enumerate() {
        if let Disk::Small(disk) = &round.disk
            && fate.is_filled
            && index == full_at
        {
            disk.fill();
        }
        // A run that has been ended reads no more.
        unfed |= !run.try_write(&piece.concat());
        killed += harass(random, &run, &round.mark, fate);
    }
    if let Some(signal) = fate.end {
        let _ = kill_process(run.pid(), signal);
    }
    killed += watch(random, round, fate, &run);
    let mut output = run.finish();
    if fate.end == Some(Signal::KILL) {
        // Its last line may be torn.
        let whole = output.stdout.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        output.stdout.truncate(whole);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    let no_room = output.stderr.contains("No space") || output.stderr.contains("too large");
    eprintln!("  {} lines, {killed} killed, no room {no_room}", output.lines().len());
    Ran { output, killed, unfed }
}

/// Goes on with what befalls a run that has all its input. Returns how many workers were killed.
fn watch(random: &mut Random, round: &Round, fate: &Fate, run: &Running) -> usize {
    let mut killed = 0;
    let begin = Instant::now();
    let is_seen = !(round.is_text || fate.end.is_some() || fate.is_filled);
    while is_seen && !run.has_ended() && begin.elapsed() < Duration::from_secs(40) {
        if random.one_in(3) && begin.elapsed() < Duration::from_secs(3) {
            killed += harass(random, run, &round.mark, fate);
        }
        if run.seen_lines() >= round.tasks.len() {
            break;
        }
        run.ends_within(Duration::from_millis(10));
    }
    if fate.end.is_none() && !fate.is_filled && !run.has_ended() {
        // All is done, but for text that is not counted here: nothing may have piled up.
        let most = if round.is_text { usize::MAX } else { 20 + 12 * 4 };
        wait_for("descriptors to be given back", || descriptors(run.pid()) <= most);
        let memory = number_in(run.pid(), "status", "VmHWM:").unwrap_or_default();
        assert!(memory < MOST_MEMORY, "{memory} KiB of memory");
    }
    killed
}

/// A second after the end of a run nothing may be alive.
fn assert_gone(round: &Round, crew: &Crew) {
    let end = Instant::now() + Duration::from_secs(1);
    while !leftovers(&round.mark).is_empty() {
        assert!(Instant::now() < end, "left behind: {:?}", leftovers(&round.mark));
        thread::park_timeout(Duration::from_millis(5));
    }
    crew.assert_gone();
    wait_for("what was running", || leftovers(&sleep()).is_empty());
    // Those of commands that have ended of themselves live on.
    end_all(&left_asleep());
}

fn one_round(random: &mut Random) {
    let crew = Crew::new();
    let round = Round::new(random, &crew);
    let count = round.tasks.len();
    eprintln!("  {:?}, {count} jobs, journal {}", round.options, round.has_journal);
    if !round.has_journal {
        let fate = Fate::new(random, &round);
        eprintln!("  {fate:?}");
        let ran = run(random, &round, &fate, false);
        check(&round, &fate, &ran);
        assert_gone(&round, &crew);
        return check_logs(&round, &fate, &ran);
    }
    for _ in 0..1 + random.below(3) {
        let fate = Fate::new(random, &round);
        go_on(random, &round, &crew, &fate);
    }
    let resumed = go_on(random, &round, &crew, &CALM);
    let whole = run(random, &round, &CALM, false);
    assert_gone(&round, &crew);
    assert_same(&round, &resumed.output, &whole.output);
}

/// Goes on with a run that has a journal.
fn go_on(random: &mut Random, round: &Round, crew: &Crew, fate: &Fate) -> Ran {
    eprintln!("  {fate:?}");
    if let Disk::Small(disk) = &round.disk {
        disk.make_room();
    }
    let _ = fs::remove_file(crew.path("taken"));
    let before = round.recorded();
    let ran = run(random, round, fate, true);
    assert_gone(round, crew);
    let after = round.recorded();
    assert!(after.is_superset(&before), "what was recorded is not any more");
    let taken = fs::read_to_string(crew.path("taken")).unwrap_or_default();
    let again: Vec<_> = taken.lines().filter(|line| before.contains(line)).collect();
    assert!(again.is_empty(), "recorded as done, and run again: {again:?}");
    check(round, fate, &ran);
    // A result without an id is recorded once it is known to be right. Of a worker that is killed, some never are.
    let is_raw = round.options.iter().any(|option| option == "raw");
    if !ran.output.stderr.contains("could not be recorded") {
        let mut results =
            good(round, &ran.output).filter(|line| !is_raw && !line.starts_with("no_id"));
        assert!(results.all(|line| after.contains(line)), "something is printed and not recorded");
    }
    ran
}

/// The lines of the jobs whose good results are printed.
fn good<'a>(round: &'a Round, output: &Output) -> impl Iterator<Item = &'a str> {
    let lines = output.lines();
    let numbers: HashSet<usize> = match round.is_text {
        true => lines.iter().map(|line| number_of(&json!(line.rsplit(' ').next()))).collect(),
        false => {
            let records = output.records().into_iter();
            records.filter(|record| record["ok"] == true).map(|record| seq(&record)).collect()
        }
    };
    let tasks = (1..).zip(&round.tasks).filter(move |(number, _)| numbers.contains(number));
    tasks.map(|(_, task)| task.line.as_str())
}

fn number_of(value: &Value) -> usize {
    value.as_str().and_then(|text| text.parse().ok()).expect("a number")
}

/// The number of the job that a record is of, which is its id as well.
fn seq(record: &Value) -> usize {
    usize::try_from(record["id"].as_u64().expect("a number")).expect("it is small")
}

/// Asserts that a resumed run has printed the same as a run that was not cut short. A failure may be
/// described in other words.
fn assert_same(round: &Round, resumed: &Output, whole: &Output) {
    if round.is_text {
        assert!(resumed.stdout == whole.stdout, "another output than that of a run by itself");
        return;
    }
    let (resumed, whole) = (resumed.lines(), whole.lines());
    assert_eq!(resumed.len(), round.tasks.len());
    assert_eq!(whole.len(), round.tasks.len());
    for (resumed, whole) in resumed.iter().zip(whole) {
        let is_ok = whole.contains("\"ok\":true");
        assert_eq!(resumed.contains("\"ok\":true"), is_ok, "{resumed:.400}\n{whole:.400}");
        assert!(!is_ok || *resumed == whole, "{resumed:.400}\n{whole:.400}");
    }
}

/// Holds the results against what was to come of the jobs.
fn check(round: &Round, fate: &Fate, ran: &Ran) {
    let Ran { output, killed, unfed } = ran;
    let is_recorded = !output.stderr.contains("could not be recorded");
    // With no room for what was done before, a run that is gone on with ends.
    let has_room = !output.stderr.contains("a result in the journal");
    let was_cut = fate.end.is_some() || *unfed || !is_recorded || !has_room;
    if fate.is_filled && output.stderr.contains("temporary file") {
        // It has said that it lost something: what it did print is right all the same.
        let mut lines = output.lines();
        assert!(lines.len() <= round.tasks.len());
        lines.sort_unstable();
        assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "a result is there twice");
        return;
    }
    if round.is_text {
        return check_text(round, output, *killed, was_cut);
    }
    let records = output.records();
    assert!(records.len() == round.tasks.len() || was_cut, "{} results", records.len());
    let mut blamed = 0;
    let mut before = 0;
    for record in &records {
        let seq = seq(record);
        // When a run is ended, jobs that waited have no result. A message on stderr says so.
        assert!(seq == before + 1 || (was_cut && seq > before), "after {before}: {record:.400}");
        before = seq;
        let task = &round.tasks[seq - 1];
        let what = format!("job {seq}: {}: {record:.400}", task.line);
        let seconds = record["seconds"].as_f64().unwrap_or_default();
        assert!(seconds < LONGEST, "{what}");
        let kind = record["error"]["kind"].as_str();
        let is_right = is_right(task, record, kind);
        // One that was killed, or stopped for long, while it was on another job.
        let is_blamed = fate.is_harassed && matches!(kind, Some("crash" | "timeout"));
        let is_cancelled = was_cut && kind == Some("cancelled");
        blamed += usize::from(is_blamed && !is_right);
        assert!(is_right || is_blamed || is_cancelled, "{what}");
    }
    assert!(blamed <= *killed, "{blamed} jobs are charged with {killed} deaths");
}

fn is_right(task: &Task, record: &Value, kind: Option<&str>) -> bool {
    match (&task.expected, kind) {
        (Expected::Result(value), None) => &record["result"] == value,
        (Expected::Any, None) => true,
        (Expected::Kinds(kinds), Some(kind)) => kinds.contains(&kind),
        _ => false,
    }
}

/// The files that tell of a run hold what its results say, as long as there is room for them.
fn check_logs(round: &Round, fate: &Fate, ran: &Ran) {
    if !round.has_logs || fate.is_filled || ran.unfed || fate.end.is_some() {
        return;
    }
    let joblog = fs::read_to_string(round.path("joblog")).expect("a job log");
    // Whatever a job holds, it is a line.
    let is_whole = |line: &str| line.split('\t').count() >= 9;
    assert!(joblog.ends_with('\n') && joblog.lines().all(is_whole), "{joblog:.2000}");
    if round.is_text {
        return;
    }
    let records = ran.output.records();
    let bad = records.iter().filter(|record| record["ok"] == false);
    let mut expected: Vec<&str> =
        bad.map(|record| round.tasks[seq(record) - 1].line.as_str()).collect();
    expected.sort_unstable();
    let failed = fs::read_to_string(round.path("failed")).expect("a file of failed lines");
    let mut failed: Vec<_> = failed.lines().collect();
    failed.sort_unstable();
    assert_eq!(failed, expected);
    let ran = records.iter().filter(|record| record["slot"].is_u64()).count();
    assert_eq!(joblog.lines().count(), 1 + ran);
}

/// The same where only good results are on stdout, and failures on stderr.
fn check_text(round: &Round, output: &Output, killed: usize, was_cut: bool) {
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
    let failures =
        output.stderr.lines().filter(|line| line.starts_with("procpool: failed: ")).count();
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

/// Plays rounds for a time, by the seed that the environment gives, or by one of its own.
pub(crate) fn play(seconds: u64, one_round: fn(&mut Random)) {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let seed = variable("PROCPOOL_CHAOS_SEED")
        .unwrap_or_else(|| u64::try_from(clock()).unwrap_or_default() % 1_000_000);
    let seconds = variable("PROCPOOL_CHAOS_SECONDS").unwrap_or(seconds);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = variable("PROCPOOL_CHAOS_ROUND").unwrap_or(0);
    while Instant::now() < end {
        eprintln!("round {rounds} of seed {seed}");
        // Each round has a seed of its own, so that no round changes the next.
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

#[test]
fn chaos() {
    if crate::common::heavy() {
        play(40, one_round);
    }
}
