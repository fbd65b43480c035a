//! The journal: a run that was cut short at any point can be resumed, and then prints the same as a run
//! that was not cut short.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::{
    Crew, Output, SmallDisk, Test, assert_has, failed, need, quoted, without_times, worker,
};
use rustix::process::{Signal, getuid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The records of a journal.
fn records(folder: &TempDir) -> Vec<Value> {
    read(journal_of(folder)).lines().map(crate::common::json).collect()
}

fn journal_of(folder: &TempDir) -> PathBuf {
    folder.path().join("journal")
}

/// A run of two jobs in this folder, which prints `1` and `2`.
fn echo_twice(folder: &TempDir) -> Test {
    resume(folder).args(["-j1", "echo"]).stdin("1\n2\n").stdout("1\n2\n")
}

/// Runs two jobs, and returns the journal, its bytes and the length of its first line.
fn two_lines(folder: &TempDir) -> (PathBuf, Vec<u8>, usize) {
    echo_twice(folder).run();
    let path = journal_of(folder);
    let bytes = fs::read(&path).expect("a journal");
    let first = bytes.iter().position(|&byte| byte == b'\n').expect("two lines") + 1;
    (path, bytes, first)
}

/// The message for an incomplete last line.
fn cut_off(bytes: usize) -> String {
    let s = if bytes == 1 { "" } else { "s" };
    format!(
        "procpool: the last line of the journal 'journal' was incomplete and has been cut off \
         ({bytes} byte{s}): its job will be run again\n"
    )
}

/// The message for a line that is not a record.
fn no_record(line: usize) -> String {
    format!(
        "procpool: the journal 'journal' can't be used: line {line} is not a record; if the file is a \
         journal, remove that line, and its job will be run again\n"
    )
}

/// A run in this folder, which has a journal.
fn resume(folder: &TempDir) -> Test {
    Test::new().cwd(folder.path()).args(["--journal", "journal", "--resume"])
}

/// The message that nothing was run, since the journal has all jobs.
fn nothing_run(jobs: usize) -> String {
    let s = if jobs == 1 { "" } else { "s" };
    format!(
        "procpool: nothing was run: all results come from the journal 'journal' ({jobs} job{s})\n"
    )
}

/// A command that notes in the file `runs` what it is run for, and prints that.
const NOTE: &str = "echo \"$0\" >> runs; echo \"$0\"";

/// What was noted since this was asked last.
fn runs(folder: &TempDir) -> Vec<String> {
    let path = folder.path().join("runs");
    let text = read(&path);
    let _ = fs::remove_file(path);
    let mut runs: Vec<_> = text.lines().map(str::to_owned).collect();
    runs.sort_unstable();
    runs
}

// ---- Killed at random moments

/// Numbers that look random; the same for the same seed.
struct Random(u64);

impl Random {
    fn new(name: &str) -> Self {
        let seed = std::env::var("PROCPOOL_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = seed.unwrap_or(u64::from(now.subsec_nanos()) | 1);
        println!("{name}: PROCPOOL_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A kind of jobs, which note in the file `log` the run they are of and what they are run for.
struct Jobs {
    name: &'static str,
    input: String,
    args: Vec<String>,
    /// What a job is run for, by what was recorded of it.
    what: fn(&Value) -> String,
}

/// How often each thing was recorded as done.
fn recorded(folder: &TempDir, jobs: &Jobs) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let text = read(journal_of(folder));
    // The last line may be torn.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let record = crate::common::json(line);
        if record["ok"] == true {
            *counts.entry((jobs.what)(&record)).or_default() += 1;
        }
    }
    counts
}

/// How often each thing was begun in a run.
fn begun(folder: &TempDir, run: u64) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let mark = format!("{run} ");
    for what in read(folder.path().join("log")).lines().filter_map(|line| line.strip_prefix(&mark))
    {
        *counts.entry(what.to_owned()).or_default() += 1;
    }
    counts
}

/// Kills procpool again and again, and goes on each time until the input is done; then anew.
fn kill_again_and_again(jobs: &Jobs, kills: u64) {
    let mut random = Random::new(jobs.name);
    let all = folder();
    let start = |folder: &TempDir, run: u64, args: &[&str]| {
        let test = Test::new().cwd(folder.path()).env("RUN", run.to_string()).args(args);
        test.args(&jobs.args).stdin(&jobs.input).any_stdout().any_stderr().any_status()
    };
    let whole = start(&all, 0, &[]).run();
    let wanted = begun(&all, 0);
    let (mut killed, mut cycles, mut most) = (0, 0, 0);
    while killed < kills {
        cycles += 1;
        let folder = folder();
        for run in 1.. {
            assert!(run < 500, "{}: it does not get on", jobs.name);
            let before = recorded(&folder, jobs);
            let running = start(&folder, run, &["--journal", "journal", "--resume"]).spawn();
            // Where that is too short to get on, later runs have longer.
            let moment = Duration::from_micros((5_000 + random.below(55_000)) * (1 + run / 20));
            let is_killed =
                !running.ends_within(moment) && kill_process(running.pid(), Signal::KILL).is_ok();
            let output = running.finish();
            for (what, count) in begun(&folder, run) {
                let left = wanted[&what] - before.get(&what).copied().unwrap_or_default();
                assert!(count <= left, "{what} is begun {count} times, and {left} were left to do");
            }
            if is_killed {
                killed += 1;
                most = most.max(run);
            } else {
                assert_eq!(
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&whole.stdout)
                );
                // The last kill may have come when all was recorded.
                let notes = |line: &&str| {
                    !line.contains("the last line of the journal")
                        && !line.contains("nothing was run")
                };
                // The advice of the last line is to resume.
                let told = |output: &Output| {
                    let stderr = without_times(&output.stderr);
                    let lines = stderr.lines().filter(notes);
                    let lines = lines.map(|line| line.split_inclusive(" jobs failed").next());
                    lines.map(|line| line.unwrap_or_default().to_owned()).collect::<Vec<_>>()
                };
                assert_eq!(told(&output), told(&whole));
                break;
            }
        }
    }
    println!("{}: {killed} kills, {cycles} times to the end, {most} at most", jobs.name);
}

fn kills() -> u64 {
    std::env::var("PROCPOOL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(150)
}

#[test]
fn killed_again_and_again_with_workers() {
    if !crate::common::heavy() {
        return;
    }
    // Some jobs have ids, some are equal, and one fails.
    let worker = r#"sh -c 'while read -r line; do
        args=${line##*\"args\":}; args=${args%\}}
        echo "$RUN $args" >> log
        sleep 0.002
        case $args in
            *fail*) echo "{\"error\":\"no\"}";;
            *) echo "{\"result\":$args}";;
        esac
    done'"#;
    let mut input = String::new();
    for n in 1..=150 {
        input.push_str(&match n % 5 {
            0 => format!("{{\"cmd\":\"work\",\"args\":[{n}],\"id\":\"j{n}\"}}\n"),
            1 => format!("work [{}]\n", n % 3),
            _ => format!("work [{n}, \"é\"]\n"),
        });
    }
    input.push_str("work [\"fail\"]\n");
    let args = ["-j2", "--pipeline", "4", "--worker", worker].map(str::to_owned).to_vec();
    let what = |record: &Value| {
        let text = record["result"].to_string();
        // As it came.
        text.replace("],", "], ").replace(",\"", ", \"")
    };
    kill_again_and_again(&Jobs { name: "workers", input, args, what }, kills());
}

#[test]
fn killed_again_and_again_with_commands() {
    if !crate::common::heavy() {
        return;
    }
    let script = "echo \"$RUN $0\" >> log; echo \"$0\"; echo \"about $0\" >&2; test \"$0\" != fail";
    let mut input: String = (1..=120).map(|n| format!("{}\n", n % 90)).collect();
    input.push_str("fail\n");
    let args = ["-j2", "sh", "-c", script].map(str::to_owned).to_vec();
    let what = |record: &Value| {
        record["printed"]["stdout"].as_str().unwrap_or_default().trim_end().to_owned()
    };
    kill_again_and_again(&Jobs { name: "commands", input, args, what }, kills());
}

// ---- Lines that come, go and change places

#[test]
fn only_what_is_not_recorded_is_run() {
    let folder = folder();
    let run = |input: &str, stdout: &str, expected: &[&str]| {
        let jobs = input.lines().count();
        let stderr = if expected.is_empty() { nothing_run(jobs) } else { String::new() };
        resume(&folder).args(["sh", "-c", NOTE]).stdin(input).stdout(stdout).stderr(stderr).run();
        assert_eq!(runs(&folder), expected);
    };
    run("a\nb\nc\n", "a\nb\nc\n", &["a", "b", "c"]);
    run("a\nb\nc\n", "a\nb\nc\n", &[]);
    // Other places, new lines, lines that are gone; some equal to one that was there once.
    run("c\nx\na\n", "c\nx\na\n", &["x"]);
    run("b\nb\ny\nb\n", "b\nb\ny\nb\n", &["b", "b", "y"]);
    run("b\nb\nb\nb\na\n", "b\nb\nb\nb\na\n", &["b"]);
    assert_eq!(records(&folder).len(), 3 + 1 + 3 + 1);
}

#[test]
fn an_id_is_the_key_where_there_is_one() {
    let folder = folder();
    let run = |line: &str, stdout: &str| {
        let test = resume(&folder).args(["--format", "value"]).workers(1, worker(""));
        test.stdin(line).stdout(stdout).any_stderr().run();
    };
    run("{\"cmd\":\"echo\",\"args\":[1],\"id\":\"a\"}\n", "[1]\n");
    // Other args, and the same id.
    run("{\"cmd\":\"echo\",\"args\":[2],\"id\":\"a\"}\n", "[1]\n");
    run("{\"cmd\":\"echo\",\"args\":[1],\"id\":\"b\"}\n", "[1]\n");
    run("echo [2]\n{\"cmd\":\"echo\",\"args\":[3],\"id\":\"a\"}\n", "[2]\n[1]\n");
    // The second job with an id is another one.
    let twice = "{\"cmd\":\"echo\",\"args\":[7],\"id\":\"a\"}\n".repeat(2);
    run(&twice, "[1]\n[7]\n");
    assert_eq!(records(&folder).len(), 4);
}

#[test]
fn another_command_has_other_jobs() {
    let folder = folder();
    let run = |args: &[&str], stdout: &str| {
        let test = resume(&folder).args(args).stdin("1\n").stdout(stdout).any_stderr();
        test.run();
    };
    run(&["echo"], "1\n");
    run(&["echo", "x{}"], "x1\n");
    run(&["echo", "x", "{}"], "x 1\n");
    run(&["--shell", "echo x {}"], "x 1\n");
    run(&["--stdin", "cat"], "1\n");
    run(&["--env", "A=1", "sh", "-c", "echo $A$0"], "11\n");
    run(&["--env", "A=2", "sh", "-c", "echo $A$0"], "21\n");
    let count = records(&folder).len();
    run(&["echo"], "1\n");
    run(&["--env", "A=2", "sh", "-c", "echo $A$0"], "21\n");
    assert_eq!(records(&folder).len(), count);
    if need("python3") {
        run(&["--python", "int(x) + 1"], "2\n");
        run(&["--python", "int(x) + 2"], "3\n");
        run(&["--python", "int(x) + 1"], "2\n");
    }
}

#[test]
fn columns_go_by_their_names() {
    let folder = folder();
    let run = |input: &str, stdout: &str| {
        let test = resume(&folder).args(["--input", "csv", "--header", "echo", "{a}"]);
        test.stdin(input).stdout(stdout).any_stderr().run();
    };
    run("a,b\n1,2\n", "1\n");
    run("b,a\n1,2\n", "2\n");
    run("a,b\n1,2\n", "1\n");
    assert_eq!(records(&folder).len(), 2);
}

#[test]
fn a_journal_of_another_input_is_added_to() {
    let folder = folder();
    resume(&folder).arg("echo").stdin("1\n2\n").stdout("1\n2\n").run();
    resume(&folder)
        .arg("echo")
        .stdin("3\n")
        .stdout("3\n")
        .stderr("procpool: none of the jobs that the journal has is in this input\n")
        .run();
    let again = resume(&folder).arg("echo").stdin("3\n1\n").stdout("3\n1\n");
    again.stderr(nothing_run(2)).run();
}

#[test]
fn what_failed_is_run_again() {
    let folder = folder();
    let script = "echo \"$0\" >> runs; test -e there && echo \"$0\"";
    let failure = failed(&format!("sh -c {} a", quoted(script)), "exit status 1", "job 1, line 1");
    resume(&folder).args(["sh", "-c", script]).stdin("a\n").stderr(failure).status(1).run();
    assert_eq!(records(&folder)[0]["error"]["kind"], "exit");
    fs::write(folder.path().join("there"), "").expect("a file");
    resume(&folder).args(["sh", "-c", script]).stdin("a\n").stdout("a\n").run();
    let again = resume(&folder).args(["sh", "-c", script]).stdin("a\n").stdout("a\n");
    again.stderr(nothing_run(1)).run();
    assert_eq!(runs(&folder), ["a", "a"]);
}

// ---- What is printed

/// Runs jobs with a journal, then again: the second time none is run, and all is printed alike.
#[track_caller]
fn prints_the_same(args: &[&str], input: &str) {
    let folder = folder();
    let first = resume(&folder).args(args).stdin(input).any_stdout().any_stderr().run();
    let journal = read(journal_of(&folder));
    let again = resume(&folder).args(args).stdin(input).any_stdout().any_stderr().run();
    let jobs = input.lines().count();
    assert_eq!(first.stderr + &nothing_run(jobs), again.stderr, "{args:?}");
    assert!(first.stdout == again.stdout, "{args:?}");
    assert_eq!(journal, read(journal_of(&folder)), "{args:?}");
}

#[test]
fn results_come_out_as_they_were_recorded() {
    if !crate::common::heavy() {
        return;
    }
    let script = "printf '%s\\n\\t\"\\\\\\001' \"$0\"; printf 'no line end: %s' \"$0\" >&2";
    let bytes = "printf 'a\\377b'; printf '\\376' >&2";
    let much = "seq $0; seq 5 >&2; yes \"\\\"é$0\" | head -n $0 >&2";
    for format in ["record", "value", "text"] {
        for script in [script, bytes] {
            prints_the_same(&["--format", format, "sh", "-c", script], "1\né\n");
        }
        prints_the_same(&["--format", format, "sh", "-c", much], "10\n200000\n3\n150000\n");
        prints_the_same(
            &["--format", format, "--worker", &worker("")],
            "echo [1.50, {\"b\":1,\"a\":[ ]}]\n",
        );
        let raw = ["--format", format, "--protocol", "raw", "--worker", "sed -u s/a/b/"];
        prints_the_same(&raw, "a \"x\"\nb\n");
    }
    prints_the_same(&["--tag", "sh", "-c", much], "10\n150000\n");
    prints_the_same(&["--detail", "--format", "record", "sh", "-c", script], "1\n2\n3\n");
    prints_the_same(&["--detail", "--worker", &worker("")], "echo [1]\necho [2]\n");
    let fails_once = "test -e $0 && echo there; test -e $0 || { : > $0; exit 1; }";
    let retries = ["--retries", "2", "--retry-delay", "1ms", "--format", "record", "--detail"];
    prints_the_same(&[&retries[..], &["sh", "-c", fails_once]].concat(), "x\ny\n");
    prints_the_same(&["--fsync", "echo"], "1\n2\n");
}

#[test]
fn what_is_printed_is_recorded() {
    for option in ["--stream", "--fsync"] {
        let folder = folder();
        let mut running =
            resume(&folder).args([option, "-j1", "echo"]).stdin_open().any_stdout().spawn();
        for n in 1..=20 {
            running.write(&format!("{n}\n"));
            assert_eq!(running.line(), n.to_string());
            assert_eq!(records(&folder).len(), n);
        }
        running.finish();
    }
}

#[test]
fn jobs_are_recorded_as_they_finish() {
    let folder = folder();
    let script = "test $0 != 1 || while ! test -e go; do sleep 0.01; done; echo $0";
    let running = resume(&folder).args(["-j2", "sh", "-c", script]).stdin("1\n2\n3\n");
    let running = running.stdout("1\n2\n3\n").spawn();
    crate::common::wait_for("two records", || records(&folder).len() == 2);
    fs::write(folder.path().join("go"), "").expect("a file");
    running.finish();
    let printed: Vec<_> =
        records(&folder).iter().map(|record| record["printed"]["stdout"].clone()).collect();
    assert_eq!(printed, ["2\n", "3\n", "1\n"]);
}

#[test]
fn what_is_interrupted_is_not_recorded() {
    let folder = folder();
    let running = resume(&folder)
        .args(["-j1", "--grace", "0.1s", "sh", "-c", "echo began >&2; : > began; sleep 30"])
        .stdin("1\n")
        .any_stderr()
        .killed_by(Signal::TERM)
        .spawn();
    crate::common::wait_for("the job", || folder.path().join("began").exists());
    running.signal(Signal::TERM);
    running.finish();
    assert_eq!(records(&folder), [json!(null); 0]);
}

#[test]
fn a_summary_and_a_job_log_tell_them_apart() {
    let folder = folder();
    let first = resume(&folder).args(["--joblog", "log", "echo"]);
    first.stdin("1\n2\n").stdout("1\n2\n").run();
    let output = resume(&folder)
        .args(["--summary", "--joblog", "log", "echo"])
        .stdin("1\n3\n2\n")
        .stdout("1\n3\n2\n")
        .any_stderr()
        .run();
    assert_has(&output.stderr, &["3 jobs: 3 ok, 0 failed", "\n  2 of them from the journal"]);
    let log = read(folder.path().join("log"));
    assert_eq!(log.lines().count(), 1 + 2 + 1, "{log}");
    assert_eq!(log.matches("Seq").count(), 1, "{log}");
    assert_has(&log, &["\techo 3\n"]);
}

// ---- What can be wrong with a journal

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_is_torn() {
    if !crate::common::heavy() {
        return;
    }
    let folder = folder();
    let (path, journal, first) = two_lines(&folder);
    for cut in first + 1..journal.len() {
        fs::write(&path, &journal[..cut]).expect("the journal can be written");
        echo_twice(&folder).stderr(cut_off(cut - first)).run();
        let records = records(&folder);
        assert_eq!(records.len(), 2, "{cut}");
        assert_eq!(records[1]["printed"]["stdout"], "2\n");
    }
}

#[test]
fn a_last_line_is_torn_where_zeros_follow() {
    let folder = folder();
    let (path, journal, first) = two_lines(&folder);
    for (begun, zeros) in [(0, 4096), (1, 1), (1, 4096), (4, 3 << 20), (7, 50), (8, 50), (99, 4096)]
    {
        let text = [&journal[..first + begun], &vec![0; zeros]].concat();
        fs::write(&path, text).expect("the journal can be written");
        echo_twice(&folder).stderr(cut_off(begun + zeros)).run();
        assert_eq!(records(&folder).len(), 2, "{begun}, {zeros}");
    }
}

#[test]
fn damage_in_a_long_record_is_no_output() {
    let folder = folder();
    let print = "yes é | head -c 3000000";
    resume(&folder).args(["sh", "-c", print]).stdin("a\n").any_stdout().run();
    let path = journal_of(&folder);
    let good = fs::read(&path).expect("a journal");
    for (at, bad) in [
        (2_000_000, &[0; 4096][..]),
        (1_048_570, &[0; 4096]),
        (2_000_000, b"\0"),
        (2_000_000, b"\t"),
        (2_000_000, b"\r"),
        (2_000_000, b"\x1f"),
        (2_000_000, b"\xff"),
    ] {
        let mut text = good.clone();
        text[at..at + bad.len()].copy_from_slice(bad);
        fs::write(&path, &text).expect("the journal can be written");
        resume(&folder)
            .args(["sh", "-c", print])
            .stdin("a\n")
            .stderr(no_record(1))
            .status(125)
            .run();
        assert!(fs::read(&path).expect("a journal") == text, "it is left alone");
    }
    // Between the values of what a worker has answered, tabs are fine.
    let worker = "sh -c 'read -r l; printf \"{\\\"result\\\":[1,\\t\\\"\"; \
                  head -c 2000000 /dev/zero | tr \"\\0\" x; echo \"\\\"]}\"; cat'";
    fs::remove_file(&path).expect("it is there");
    let run = || resume(&folder).workers(1, worker).args(["--format", "value"]).stdin("a [1]\n");
    let whole = run().any_stdout().run().stdout;
    assert!(whole.len() > 2_000_000 && whole.starts_with(b"[1,\t"));
    run().stdout(whole).stderr(nothing_run(1)).run();
}

#[test]
fn lines_are_packed_as_in_the_first_run() {
    let folder = folder();
    let lines: String = (1..=60_000).map(|n| format!("line number {n}\n")).collect();
    let run = |variable: usize, limit: &str| {
        let script = format!("ulimit -s {limit}; exec \"$@\"");
        Test::through_shell(&script)
            .cwd(folder.path())
            .env("GROWN", "x".repeat(variable))
            .args(["--journal", "journal", "--resume", "-j1", "-n", "max"])
            .args(["sh", "-c", "echo run >> runs; echo $#"])
            .stdin(&lines)
            .any_stdout()
            .any_stderr()
    };
    let first = run(0, "8192").run();
    assert!(runs(&folder).len() > 1 && first.stderr.is_empty(), "{}", first.stderr);
    for variable in [10, 100_000] {
        let again = run(variable, "8192").run();
        assert_eq!(again.stdout, first.stdout);
        assert_has(&again.stderr, &["nothing was run"]);
    }
    // Where there is no room for as many, no other jobs are made.
    let output = run(0, "1024").stdout("").status(125).run();
    assert_has(&output.stderr, &["its jobs have up to", "now there is room for", "ulimit -s"]);
    assert!(runs(&folder).is_empty());
    // More lines make more jobs; those that were there are the same.
    let more: String = (1..=90_000).map(|n| format!("line number {n}\n")).collect();
    run(5000, "8192").stdin(&more).run();
    let count = runs(&folder).len();
    assert!((1..=first.lines().len()).contains(&count), "{count}");
}

#[test]
fn a_second_run_is_refused() {
    let folder = folder();
    let mut first = resume(&folder).args(["-j1", "cat"]).arg("--").stdin_open().any_stdout();
    first = first.any_stderr().any_status();
    let mut first = first.spawn();
    first.write("/dev/null\n");
    crate::common::wait_for("the first record", || records(&folder).len() == 1);
    resume(&folder)
        .arg("echo")
        .stdin("1\n")
        .stderr(
            "procpool: the journal 'journal' is in use by another run: wait for its end, or name \
             another file\n",
        )
        .status(125)
        .run();
    first.finish();
    resume(&folder).arg("echo").stdin("1\n").stdout("1\n").any_stderr().run();
}

#[test]
fn a_worker_that_lives_on_does_not_hold_the_lock() {
    let folder = folder();
    let worker = worker("--ignore-eof --ignore-term");
    let mut first = resume(&folder).workers(1, &worker).stdin_open().any_stdout().any_status();
    first = first.any_stderr();
    let mut first = first.spawn();
    first.write("echo [1]\n");
    first.line();
    first.signal(Signal::KILL);
    first.finish();
    let again = resume(&folder).workers(1, crate::common::worker("")).args(["--format", "value"]);
    again.stdin("echo [1]\n").stdout("[1]\n").stderr(nothing_run(1)).run();
}

#[test]
fn what_is_no_journal_is_left_alone() {
    let folder = folder();
    let path = journal_of(&folder);
    let record =
        "{\"key\":\"00000000000000000000000000000000\",\"nth\":1,\"ok\":true,\"attempt\":1}\n";
    let damaged = format!("{record}{}\n{record}", &record[..50]);
    let no_journal = "procpool: the file 'journal' is no journal: none of its lines is a record; \
                      name another file\n";
    for (text, said) in [
        ("my notes", no_journal),
        ("my notes\n", no_journal),
        ("{\"id\":1}\n", no_journal),
        (&damaged, &no_record(2)),
    ] {
        fs::write(&path, text).expect("a file");
        resume(&folder).arg("echo").stdin("1\n").stderr(said).status(125).run();
        assert_eq!(read(&path), text);
    }
}

#[test]
fn a_record_that_cant_be_read_back_ends_the_run() {
    let folder = folder();
    echo_twice(&folder).run();
    let path = journal_of(&folder);
    let journal = read(&path).replacen("\"stdout\"", "\"stdeux\"", 1);
    fs::write(&path, journal).expect("a file");
    let output = resume(&folder).args(["-j1", "echo"]).stdin("0\n1\n").any_stdout();
    let output = output.status(125).any_stderr().run();
    assert_has(
        &output.stderr,
        &["the record at byte 0 could not be read back", "remove that line"],
    );
}

#[test]
fn a_new_run_does_not_begin_in_an_old_journal() {
    let folder = folder();
    let path = journal_of(&folder);
    fs::write(&path, "").expect("a file");
    let begin =
        || Test::new().cwd(folder.path()).args(["--journal", "journal", "echo"]).stdin("1\n");
    begin().stdout("1\n").run();
    begin()
        .stderr(
            "procpool: the journal 'journal' has records of an earlier run: give --resume to \
             continue that run, or remove the file to start again\n",
        )
        .status(125)
        .run();
}

#[test]
fn a_journal_is_its_owners_and_no_link() {
    let folder = folder();
    resume(&folder).arg("echo").stdin("1\n").stdout("1\n").run();
    let metadata = fs::metadata(folder.path().join("journal")).expect("a journal");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let target = folder.path().join("target");
    symlink(&target, folder.path().join("link")).expect("a link");
    Test::new()
        .cwd(folder.path())
        .args(["--journal", "link", "echo"])
        .stdin("1\n")
        .stderr(
            "procpool: the journal 'link' can't be used: it is a symbolic link, and those are not \
             followed; name the file itself\n",
        )
        .status(125)
        .run();
    assert!(!target.exists());
    let output = Test::new().args(["--journal", "/", "echo"]).status(125).any_stderr().run();
    assert_has(&output.stderr, &["the journal '/' can't be opened"]);
}

/// A run that is refused since its journal can't be written, for this reason. Nothing is printed, since
/// nothing is run.
#[track_caller]
fn refused(test: Test, journal: &str, why: &str) {
    test.args(["--journal", journal, "echo"])
        .stdin("1\n")
        .stderr(format!("procpool: the journal '{journal}' can't be written: {why}\n"))
        .status(125)
        .run();
}

#[test]
fn a_journal_that_cant_be_written_is_told_before_anything_is_run() {
    let crew = Crew::new();
    let file = crew.file("journal", "");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o444)).expect("its owner may");
    let folder = crew.path("folder");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o555)).expect("its owner may");
    let copy = crew.open_copy();
    // Nothing is read-only for root.
    let script = match getuid().is_root() {
        true if !need("setpriv") => return,
        true => "shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$COPY\" \"$@\"",
        false => "exec \"$@\"",
    };
    for path in [file, format!("{folder}/new")] {
        for more in [&[][..], &["--fsync"], &["--resume"]] {
            let test = Test::through_shell(script).env("COPY", &copy).args(more);
            refused(test, &path, "Permission denied (os error 13)");
        }
    }
}

#[test]
fn a_journal_on_a_read_only_file_system_is_told_before_anything_is_run() {
    let Some(disk) = SmallDisk::new("1m") else { return };
    let there = disk.path().join("there");
    fs::write(&there, "").expect("a file");
    disk.forbid_writing();
    for path in [there, disk.path().join("new")] {
        let path = path.to_str().expect("UTF-8");
        for more in [&[][..], &["--resume"]] {
            refused(Test::new().args(more), path, "Read-only file system (os error 30)");
        }
    }
}

#[test]
fn on_a_full_disk_the_run_ends_and_nothing_done_is_lost() {
    // Files may have 4 KiB, or 8 where the shell counts otherwise; more is an error, not a signal.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let folder = folder();
    let jobs: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    let output = Test::through_shell(script)
        .cwd(folder.path())
        .args(["--journal", "journal", "-j2", "sh", "-c", NOTE])
        .stdin(&jobs)
        .any_stdout()
        .any_stderr()
        .status(125)
        .run();
    assert_has(
        &output.stderr,
        &["results could not be recorded in the journal 'journal': File too large"],
    );
    // All that was run is printed, and all records are whole and true.
    let mut printed: Vec<_> = output.lines().iter().map(|line| (*line).to_owned()).collect();
    printed.sort_unstable();
    let done = runs(&folder);
    assert_eq!(printed, done);
    let records = records(&folder);
    assert!(records.len() > 10 && records.len() < done.len(), "{} records", records.len());
    for record in &records {
        let stdout = record["printed"]["stdout"].as_str().expect("a command's");
        assert!(done.contains(&stdout.trim_end().to_owned()), "{record}");
    }
    // With room, the run goes on.
    let jobs: String = (1..=200).map(|n| format!("{n}\n")).collect();
    resume(&folder).args(["-j2", "sh", "-c", NOTE]).stdin(&jobs).stdout(&jobs).run();
    assert_eq!(runs(&folder).len(), 200 - records.len());
}

#[test]
fn a_large_result_comes_back_where_there_is_room_for_it() {
    let Some(disk) = SmallDisk::new("1m") else { return };
    let folder = folder();
    let print = "head -c $0 /dev/zero | tr '\\0' x; echo";
    let run = || Test::new().cwd(folder.path()).args(["--journal", "journal", "--resume", "-j1"]);
    let whole =
        run().args(["sh", "-c", print]).stdin("9\n600000\n").any_stdout().any_stderr().run().stdout;
    disk.fill();
    let output = run()
        .args(["sh", "-c", print])
        .stdin("9\n600000\n")
        .env("TMPDIR", disk.path())
        .any_stdout()
        .any_stderr()
        .status(125)
        .run();
    // The record is good, so nobody is to remove it.
    assert_has(
        &output.stderr,
        &[
            "a result in the journal 'journal' could not be kept in a temporary file in",
            "No space left",
        ],
    );
    assert!(!output.stderr.contains("remove"), "{}", output.stderr);
    disk.make_room();
    let run = run().args(["sh", "-c", print]).stdin("9\n600000\n").env("TMPDIR", disk.path());
    run.stdout(whole).any_stderr().run();
}

#[test]
fn a_large_result_on_a_full_disk_is_printed_and_not_recorded() {
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$@\"";
    // In the journal, which is JSON, it takes six times the room.
    let print = "head -c $0 /dev/zero | tr '\\0' '\\001'";
    let folder = folder();
    let output = Test::through_shell(script)
        .cwd(folder.path())
        .args(["--journal", "journal", "-j1", "sh", "-c", print])
        .stdin("9\n600000\n")
        .any_stdout()
        .any_stderr()
        .status(125)
        .run();
    assert_eq!(output.stdout.len(), 9 + 600_000);
    assert_has(&output.stderr, &["results could not be recorded"]);
    assert_eq!(records(&folder).len(), 1);
}

#[test]
fn a_device_that_is_full_is_told() {
    for more in [&[][..], &["--fsync"]] {
        let output = Test::new()
            .args(["--journal", "/dev/full"])
            .args(more)
            .args(["-j1", "echo"])
            .stdin("1\n")
            .stdout("1\n")
            .any_stderr()
            .status(125)
            .run();
        assert_has(&output.stderr, &["results could not be recorded in the journal '/dev/full'"]);
    }
}

#[test]
fn options_that_make_no_sense_together() {
    let misused = |args: &[&str], parts: &[&str]| {
        let output = Test::new().args(args).arg("echo").status(2).any_stderr().run();
        assert_has(&output.stderr, parts);
    };
    misused(&["--resume"], &["--journal"]);
    misused(&["--fsync"], &["--journal"]);
    misused(&["--journal", "j", "--live"], &["--journal", "--live"]);
    misused(&["--journal", "j", "--dry-run"], &["--journal", "--dry-run"]);
}

#[test]
fn the_worker_that_a_job_names_is_a_part_of_its_key() {
    let folder = TempDir::new().expect("a folder");
    let journal = folder.path().join("journal").display().to_string();
    let worker = |name: &str| {
        format!(
            "{name}=sh -c 'while read -r l; do echo \"{{\\\"result\\\":\\\"$0\\\"}}\"; done' {name}"
        )
    };
    let job = |name: &str| format!("{{\"cmd\":\"x\",\"worker\":\"{name}\"}}\n");
    let run = |jobs: [&str; 2], resume: &[&str]| {
        let output = Test::new()
            .args(["-j1", "-w", &worker("a"), "-w", &worker("b"), "--journal", &journal])
            .args(resume)
            .stdin(job(jobs[0]) + &job(jobs[1]))
            .any_stdout()
            .any_stderr()
            .run();
        assert_eq!(output.stderr.contains("nothing was run"), !resume.is_empty());
        let results: Vec<_> =
            output.records().iter().map(|record| record["result"].clone()).collect();
        results
    };
    assert_eq!(run(["a", "b"], &[]), ["a", "b"]);
    assert_eq!(run(["b", "a"], &["--resume"]), ["b", "a"]);
}
