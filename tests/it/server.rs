//! A pool behind a socket: what callers print is what a local run prints, callers share the slots, and the
//! server is renewed and ended without a loss.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Crew, Test, assert_has, need, result, wait_for, worker};
use crate::hosts_kit::assert_same;
use crate::server_kit::Served;

/// Runs it here and at a server.
#[track_caller]
fn compare(served: &Served, pool: &[&str], input: &str, args: &[&str]) {
    let local = Test::new().arg("-j2").args(pool).args(args).stdin(input);
    assert_same(local, served.call().args(args).stdin(input));
}

fn numbers(count: u32) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

#[test]
fn workers_print_what_they_would_print_without_a_server() {
    let worker = worker("");
    let pool = ["-w", &worker, "--pipeline", "4", "--max-reqs", "50"];
    let served = Served::with(2, &pool);
    let jobs: String =
        (0..100).map(|n| format!("echo [{n}]\nfail [{n}]\nnonsense\" {{\n")).collect();
    let compare = |input: &str, args: &[&str]| compare(&served, &pool, input, args);
    compare(&jobs, &[]);
    compare(&jobs, &["--format", "value"]);
    compare("", &[]);
    compare("echo [1]", &["--format", "text"]);
    compare("die []\necho [1]\n", &["--retries", "1", "--retry-delay", "0.01"]);
    compare("stderr_exit [\"last words\"]\n", &[]);
    // Where no worker has ever answered, the message also says which protocols there are.
    let answered = |input: &str, args: &[&str]| {
        let input = format!("echo [1]\n{input}");
        let local = Test::new().arg("-j1").args(pool).args(args).stdin(&input);
        assert_same(local, served.call().args(args).stdin(&input));
    };
    answered("{\"cmd\":\"sleep\",\"args\":[9000],\"timeout\":0.1,\"id\":\"x\"}\n", &[]);
    answered("sleep [9000]\n", &["--timeout", "0.1"]);
    compare("echo [1]\n", &["--header", "--input", "csv"]);
    compare(
        "",
        &["--tag", "--format", "text", "echo", "x", ":::", "a", "b", ":::", "c", "d\u{e9}"],
    );
}

#[test]
fn filters_and_code_print_what_they_would_print_without_a_server() {
    let pool = ["--protocol", "raw", "--pipeline", "auto", "-w", "sed -u s/1/x/"];
    let served = Served::with(2, &pool);
    compare(&served, &pool, &numbers(3_000), &[]);
    compare(&served, &pool, "a\nno end", &["--tag"]);
    if need("python3") {
        let crew = Crew::new();
        let file = crew.file(
            "ops.py",
            "def half(n):\n    return 10 // n\ndef both(*n): return n\ndef doubled(n): return [2 * m for m in n]\n",
        );
        for (pool, args) in [
            (
                &["--python", "a[int(x)] // (int(x) % 9)", "--setup", "a = list(range(99))"][..],
                &[][..],
            ),
            (&["--python", &file], &["half", ":::", "1", "0"]),
            (&["--python", &file], &["-n3", "both"]),
            (&["--python", &file], &["-n3", "--each", "doubled"]),
        ] {
            let served = Served::with(1, pool);
            let local = Test::new().arg("-j1").args(pool).args(args).stdin(numbers(40));
            assert_same(local, served.call().args(args).stdin(numbers(40)));
        }
    }
}

#[test]
fn named_workers_each_have_their_jobs() {
    let (one, two) = (worker(""), worker("--raw"));
    let pool = ["-w", &format!("one={one}"), "-w", &format!("two={}", two.replace(" --raw", ""))];
    let served = Served::with(1, &pool);
    let jobs = "{\"cmd\":\"echo\",\"worker\":\"one\",\"args\":[1]}\n\
                {\"cmd\":\"echo\",\"worker\":\"two\",\"args\":[2]}\n";
    compare(&served, &pool, jobs, &[]);
}

#[test]
fn the_files_of_a_run_are_those_of_a_local_run() {
    let served = Served::with_workers(2, "", &[]);
    let [journal, failed, joblog, report] =
        ["journal", "failed", "joblog", "report.json"].map(|name| served.crew.path(name));
    let jobs: String = (1..=40).map(|n| format!("echo [{n}]\nfail [{n}]\n")).collect();
    let call = || served.call().args(["--journal", &journal, "--failed", &failed]).stdin(&jobs);
    let first = call().args(["--joblog", &joblog, "--report", &report]).any_stdout();
    let first = first.any_stderr().status(1).run();
    let lines = |path: &str| fs::read_to_string(path).expect("a file").lines().count();
    assert_eq!((lines(&journal), lines(&failed), lines(&joblog)), (80, 40, 81));
    assert_has(&fs::read_to_string(&report).expect("a report"), &["\"failed\""]);
    let done = served.status()["jobs"]["done"].clone();
    let again = call().args(["--resume"]).any_stdout().any_stderr().status(1).run();
    assert_eq!(again.stdout, first.stdout);
    assert!(!again.stderr.contains("nothing was run"), "{}", again.stderr);
    assert_eq!(served.status()["jobs"]["done"].as_u64(), done.as_u64().map(|done| done + 40));
}

/// Results of a worker without request ids are recorded before a caller ends.
#[test]
fn results_that_must_be_proven_are_recorded_before_the_end() {
    let served = Served::with(1, &["--protocol", "raw", "-w", "sed -u s/1/x/"]);
    let journal = served.crew.path("journal");
    served.call().args(["--journal", &journal]).stdin("1\n2\n").stdout("x\n2\n").run();
    assert_eq!(fs::read_to_string(&journal).expect("a journal").matches("\"ok\":true").count(), 2);
}

#[test]
fn the_stderr_of_a_worker_goes_to_the_caller_whose_job_it_has() {
    let served = Served::with(1, &["--sh", "echo \"$1\" >&2"]);
    for word in ["one", "two"] {
        let output = served.call().args([":::", word]).any_stdout().any_stderr().run();
        assert_eq!(output.stderr, format!("{word}\n"));
    }
}

#[test]
fn the_status_tells_of_workers_callers_and_jobs() {
    let served = Served::with_workers(3, "", &[]);
    served.call().stdin("echo [1]\nfail []\n").any_stdout().any_stderr().status(1).run();
    let gate = served.crew.path("gate");
    let caller = served.call().stdin(format!("await_file [\"{gate}\"]\n")).any_stdout().spawn();
    served.crew.await_logged("job", 3);
    wait_for("the first caller to be forgotten", || served.status()["callers"] == 1);
    let status = served.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["slots"], &status["callers"]), (&Value::from(3), &Value::from(1)));
    assert_eq!(status["jobs"], serde_json::json!({"done": 2, "failed": 1}));
    assert_eq!((&status["queue"], &status["running"]), (&Value::from(0), &Value::from(1)));
    let worker = &status["workers"][0];
    assert!(worker["pid"].is_u64() && worker["memory"].as_u64() > Some(10_000), "{worker}");
    assert!(worker["age"].is_f64() && worker["jobs"].is_u64() && status["uptime"].is_f64());
    let text = Test::new().args(["--status", &served.socket(), "--format", "prometheus"]);
    let text = text.any_stdout().run();
    assert_has(
        &String::from_utf8_lossy(&text.stdout),
        &[
            "# TYPE procpool_jobs_done_total counter\nprocpool_jobs_done_total 2\n",
            "\nprocpool_callers 1\n",
        ],
    );
    fs::write(gate, "").expect("a file");
    caller.finish();
}

#[test]
fn a_caller_with_many_jobs_holds_up_none_with_one() {
    let served = Served::with_workers(1, "", &[]);
    let gate = served.crew.path("gate");
    let jobs = format!("await_file [\"{gate}\"]\n") + &"sleep [5]\n".repeat(200);
    let many = served.call().stdin(jobs).any_stdout().spawn();
    served.crew.await_logged("job", 1);
    let one = served.call().args(["echo", ":::", "1"]).any_stdout().spawn();
    wait_for("both to be there", || {
        served.status()["callers"] == 2 && served.status()["queue"] == 1
    });
    fs::write(gate, "").expect("a file");
    one.finish();
    many.finish();
    let log = served.crew.logged("job");
    assert_eq!(log.iter().position(|line| line[3] == "echo"), Some(1));
}

/// A server waits for ten seconds for the first words of whoever connects.
#[test]
fn a_caller_whose_input_takes_its_time_is_a_caller_from_the_start() {
    let served = Served::with_workers(1, "", &[]);
    let mut caller = served.call().stdin_open().any_stdout().spawn();
    wait_for("the caller", || served.status()["callers"] == 1);
    caller.write("echo [1]\n");
    caller.line();
    caller.close_stdin();
    caller.finish();
}

#[test]
fn callers_share_the_slots() {
    let crew = Crew::new();
    let (worker, gate) = (crew.batch(""), crew.path("gate"));
    let served = Served::start(crew, 2, &["-w", &worker]);
    let jobs = format!("await_file [9,\"{gate}\"]\n").repeat(2);
    let first = served.call().stdin(jobs).any_stdout().spawn();
    served.crew.await_logged("begin", 2);
    let callers: Vec<_> = (0..6)
        .map(|at| {
            served.call().stdin(format!("nap [{at},2000]\n").repeat(150)).any_stdout().spawn()
        })
        .collect();
    // They begin together.
    wait_for("all to be there", || {
        let status = served.status();
        status["callers"] == 7 && status["queue"].as_u64() >= Some(6)
    });
    fs::write(gate, "").expect("a file");
    first.finish();
    callers.into_iter().for_each(|caller| drop(caller.finish()));
    assert_eq!(served.status()["jobs"]["done"], 902);
    // When the first of them has all its results, the others are far.
    let mut counts = std::collections::BTreeMap::new();
    let end = served.crew.logged("begin").into_iter().position(|line| {
        let count = counts.entry(line[2].clone()).or_insert(0);
        *count += 1;
        *count == 150
    });
    assert!(end > Some(300), "{counts:?}");
}

#[test]
fn a_caller_that_dies_takes_its_jobs_with_it() {
    let served = Served::with_workers(2, "", &[]);
    let jobs = "sleep [60000]\n".repeat(20);
    let caller = served.call().stdin(&jobs).any_stdout().any_stderr().any_status().spawn();
    served.crew.await_logged("job", 2);
    caller.signal(Signal::KILL);
    caller.ends_within(Duration::from_secs(5));
    served.assert_well();
    served.assert_well();
    wait_for("the queue to be empty", || {
        let status = served.status();
        status["queue"] == 0 && status["running"] == 0 && status["callers"] == 0
    });
    assert_eq!(served.crew.logged("job").len(), 4);
    drop(caller.finish());
}

/// A slot that leaked would be missed soon.
#[test]
fn no_slot_is_lost_with_callers_that_die() {
    let served = Served::with_workers(2, "", &[]);
    for round in 0..30 {
        let caller = served.call().stdin("echo [1]\n".repeat(100_000)).any_stdout().any_stderr();
        let mut caller = caller.any_status().spawn();
        if round % 3 > 0 {
            caller.line();
        }
        caller.signal(Signal::KILL);
        drop(caller.finish());
    }
    let gate = served.crew.path("gate");
    let jobs = format!("await_file [\"{gate}\"]\n").repeat(2);
    let caller = served.call().stdin(jobs).any_stdout().spawn();
    wait_for("both slots to be at work", || served.status()["running"] == 2);
    fs::write(gate, "").expect("a file");
    caller.finish();
    let status = served.status();
    assert_eq!((&status["queue"], &status["running"]), (&Value::from(0), &Value::from(0)));
}

#[test]
fn interrupted_callers_end_as_local_runs_do() {
    let served = Served::with_workers(1, "", &[]);
    let jobs = "sleep [60000]\necho [1]\n";
    let caller = served.call().args(["--grace", "0.1"]).stdin(jobs).any_stdout().any_stderr();
    let caller = caller.killed_by(Signal::INT).spawn();
    served.crew.await_logged("job", 1);
    caller.signal(Signal::INT);
    let output = caller.finish();
    assert_has(&String::from_utf8_lossy(&output.stdout), &["\"kind\":\"cancelled\""]);
    assert_has(&output.stderr, &["1 job read and not run"]);
    served.assert_well();
    // A job that waits at a gate of the server has not begun.
    let served = Served::with_workers(1, "", &["--delay", "60"]);
    served.assert_well();
    let caller = served.call().args(["--grace", "1h", "echo", ":::", "1", "2"]).any_stderr();
    let caller = caller.killed_by(Signal::INT).spawn();
    wait_for("a job at the gate", || served.status()["running"] == 1);
    caller.signal(Signal::INT);
    assert_has(&caller.finish().stderr, &["2 jobs read and not run"]);
}

#[test]
fn a_server_that_is_killed_is_reported_and_replaced() {
    let mut served = Served::with_workers(2, "", &[]);
    let jobs = "sleep [60000]\n".repeat(5);
    // Nothing waits until the server has been silent for its time.
    let caller = served.call().args(["--host-timeout", "1h"]).stdin(jobs);
    let caller = caller.any_stdout().any_stderr().status(125).spawn();
    served.crew.await_logged("job", 2);
    served.signal(Signal::KILL);
    let output = caller.finish();
    let kinds = output.records();
    assert!(kinds.len() == 2 && kinds.iter().all(|record| record["error"]["kind"] == "lost"));
    assert_has(&output.stderr, &["is lost: it has ended", "3 jobs read and not run"]);
    served.crew.assert_gone();
    served.call().stdin("").stderr_has("no server runs at").status(125).run();
    let worker = served.crew.worker("");
    served.start_again(1, &["-w", &worker]);
    served.assert_well();
}

#[test]
fn a_hangup_replaces_all_workers_and_loses_no_job() {
    let served = Served::with_workers(3, "", &[]);
    let callers: Vec<_> = (0..4)
        .map(|_| served.call().stdin("sleep [4]\n".repeat(250)).any_stdout().spawn())
        .collect();
    served.crew.await_logged("done", 50);
    let before: Vec<Value> = pids(&served);
    served.signal(Signal::HUP);
    callers.into_iter().for_each(|caller| drop(caller.finish()));
    wait_for("other workers", || {
        let now = pids(&served);
        now.len() == 3 && now.iter().all(|pid| !before.contains(pid))
    });
    // Workers without a job are replaced as well.
    let before = pids(&served);
    served.signal(Signal::HUP);
    wait_for("other workers", || pids(&served).iter().all(|pid| !before.contains(pid)));
    assert_eq!(served.status()["jobs"], serde_json::json!({"done": 1000, "failed": 0}));
}

fn pids(served: &Served) -> Vec<Value> {
    let status = served.status();
    let workers = status["workers"].as_array().expect("a list");
    let workers = workers.iter().filter(|worker| worker["state"] != "ending");
    workers.map(|worker| worker["pid"].clone()).collect()
}

#[test]
fn a_worker_goes_on_if_its_replacement_does_not_start() {
    let crew = Crew::new();
    let script = crew.file("handler", "while read -r line; do echo '{\"result\":1}'; done\n");
    let served = Served::start(crew, 1, &["-w", &format!("sh {script}")]);
    let one = |pid: &mut Value| {
        let record = served.call().args(["--detail", "x", ":::", "1"]).records().remove(0);
        assert_eq!(*result(&record), 1);
        *pid = record["pid"].clone();
    };
    let (mut before, mut after) = (Value::Null, Value::Null);
    one(&mut before);
    fs::write(&script, "echo broken >&2; exit 3\n").expect("it is ours");
    served.signal(Signal::HUP);
    served.server.as_ref().expect("a server").await_stderr("was not replaced, and goes on");
    one(&mut after);
    assert_eq!(before, after);
}

#[test]
fn a_term_drains_and_a_second_one_ends_at_once() {
    let served = Served::with_workers(1, "", &[]);
    let gate = served.crew.path("gate");
    let jobs = format!("await_file [\"{gate}\"]\necho [1]\n");
    let caller = served.call().stdin(jobs).any_stdout().spawn();
    served.crew.await_logged("job", 1);
    served.signal(Signal::TERM);
    wait_for("the socket to be gone", || !fs::exists(served.socket()).expect("a folder"));
    fs::write(&gate, "").expect("a file");
    assert_eq!(caller.finish().lines().len(), 2);
    let (_, crew) = served.end();
    crew.assert_gone();

    let served = Served::with_workers(1, "", &[]);
    let caller = served.call().stdin("sleep [60000]\n").any_stdout().any_stderr().status(125);
    let caller = caller.spawn();
    served.crew.await_logged("job", 1);
    served.signal(Signal::TERM);
    wait_for("the socket to be gone", || !fs::exists(served.socket()).expect("a folder"));
    served.signal(Signal::TERM);
    caller.finish();
    let (_, crew) = served.end();
    crew.assert_gone();
}

#[test]
fn a_server_is_stopped_by_its_socket() {
    let served = Served::with_workers(1, "", &[]);
    served.assert_well();
    Test::new().args(["--stop", &served.socket()]).run();
    assert!(!fs::exists(served.socket()).expect("a folder"));
    let (_, crew) = served.end();
    crew.assert_gone();
    Test::new().args(["--stop", &crew.path("s")]).stderr_has("no server runs at").status(125).run();
}

#[test]
fn workers_that_do_not_start_end_a_call_and_not_the_server() {
    let crew = Crew::new();
    let script = crew.file("handler", "exit 3\n");
    let served = Served::start(crew, 1, &["-w", &format!("sh {script}"), "--start-limit", "2"]);
    let run = |test: Test| {
        let output = test.stdin("x [1]\n").any_stdout().any_stderr().status(126).run();
        let kind = output.records()[0]["error"]["kind"].clone();
        assert_has(&output.stderr, &["failed: x(1): ", "(2 times in a row)", "1 of 1 jobs failed"]);
        (output.stderr.lines().count(), kind)
    };
    let local = Test::new().args(["-j1", "-w", &format!("sh {script}"), "--start-limit", "2"]);
    assert_eq!(run(served.call()), run(local));
    fs::write(&script, "while read -r line; do echo '{\"result\":1}'; done\n").expect("ours");
    served.call().args(["x", ":::", "1"]).stdout("{\"id\":1,\"ok\":true,\"result\":1}\n").run();
}

/// A server with more slots does not run more jobs of a caller at a time than that wants.
#[test]
fn a_caller_may_use_fewer_slots() {
    let served = Served::with_workers(3, "", &[]);
    let caller = served.call().args(["-j1", "--fail-fast"]).stdin("fail [1]\necho [2]\necho [3]\n");
    let caller = caller.any_stdout().stderr_has("2 jobs read and not run").status(1);
    assert_eq!(caller.run().records().len(), 1);
    assert_eq!(served.crew.logged("job").len(), 1);
}

#[test]
fn options_are_for_the_server_or_for_callers() {
    let served = Served::with(1, &["--sh", "echo x"]);
    let (socket, procs) = (served.socket(), served.crew.file("procs", "2"));
    for (args, part) in [
        (&["--connect", &socket, "-w", "cat"][..], "--worker is for the server"),
        (&["--connect", &socket, "--setup", "x"], "--setup is for the server"),
        (&["--connect", &socket, "-n2"], "-n changes the x of an expression"),
        (&["--connect", &socket, "-S", "alpha"], "a server runs jobs itself"),
        (&["--connect", &socket, "--shell"], "--shell is for the server"),
        (&["--connect", &socket, "--stdin"], "has no effect with code"),
        (&["--connect", &socket, "--route", "1"], "--route has no meaning"),
        (&["--connect", &socket, "--max-load", "9"], "--max-load is for the server"),
        (&["--connect", &socket, "--no-rerun"], "--no-rerun is for other machines"),
        (&["--connect", &socket, "--host-timeout", "0"], "must be more than 0"),
        (&["--connect", &socket, "--max-line", "1G"], "--max-line is more than the 67108864 bytes"),
        (&["--connect", &socket, "--queue-limit", "1"], "--queue-limit is for a queue"),
        (&["--connect", &socket, &format!("-j@{procs}")], "@FILE has no effect with --connect"),
        (
            &["--serve", &socket, "-w", "cat", &format!("-j@{procs}")],
            "@FILE has no effect with --serve",
        ),
        (&["--keep", "1s", "-w", "cat", &format!("-j@{procs}")], "@FILE has no effect with --keep"),
        (&["--serve", &socket], "--serve keeps workers"),
        (&["--serve", &socket, "-w", "cat", "x"], "--serve runs no COMMAND"),
        (&["--serve", &socket, "-w", "cat", "--tag"], "--tag is for callers"),
        (&["--serve", &socket, "-w", "cat", "--route", "1"], "--route has no meaning"),
        (&["--serve", &socket, "--connect", &socket], "cannot be used with"),
        (&["--status", &socket, "--tag"], "--tag has no effect with --status"),
        (&["--status", &socket, "--format", "text"], "--status prints JSON"),
        (&["--format", "prometheus", "cat"], "is for the --status of a server"),
        (&["--stop", &socket, "x"], "--stop runs no COMMAND"),
    ] {
        Test::new().args(args).stderr_has(part).status(2).run();
    }
    let mode = fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Presets that mean nothing on their side are left out.
    let presets =
        "-j@/dev/null --max-load 9 --route 1 --stdin --max-line 1G -n2 --tag --format text";
    let presets = presets.replace("/dev/null", &procs);
    served.call().env("PROCPOOL_OPTIONS", &presets).args([":::", "1"]).any_stdout().run();
    let with =
        |args: &[&str]| Test::new().env("PROCPOOL_OPTIONS", "--tag --format text -S a").args(args);
    with(&["--status", &socket]).any_stdout().run();
    with(&["--stop", &socket]).run();
}

/// It ends neither the call nor the server.
#[test]
fn a_job_that_is_longer_than_the_server_takes_fails_alone() {
    let served = Served::with_workers(1, "", &["--max-line", "1000"]);
    let (long, many) = ("x".repeat(3_000_000), "x".repeat(900) + "\n");
    let call = |args: &[&str]| served.call().args(args).any_stderr();
    let fails = |test: Test, part: &str| {
        let output = test.any_stdout().status(1).run();
        assert_has(&String::from_utf8_lossy(&output.stdout), &["\"kind\":\"invalid\"", part]);
    };
    fails(call(&["first"]).stdin(&long), "longer than the limit of 1000 bytes");
    fails(call(&["-n2000", "first"]).stdin(many.repeat(2_000)), "takes 1049576 at most");
    served.assert_well();
}

/// nohup has a process ignore HUP.
#[test]
fn a_server_that_is_to_outlive_its_terminal_is_renewed_as_others() {
    let crew = Crew::new();
    let (worker, socket) = (crew.worker(""), crew.path("s"));
    let server = Test::through_shell("trap '' HUP; exec \"$@\"").any_stderr();
    let server = server.args(["--serve", &socket, "-j1", "-w", &worker]).spawn();
    server.await_stderr("serving at");
    let call =
        || Test::new().args(["--connect", &socket, "pid", ":::", "1"]).any_stdout().run().stdout;
    let before = call();
    server.signal(Signal::HUP);
    wait_for("another worker", || call() != before);
    Test::new().args(["--stop", &socket]).run();
    server.finish();
}

/// Whether somebody has connected and was not let in yet.
fn is_readable(listener: &std::os::unix::net::UnixListener) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
}

/// A launcher that opens the socket, as systemd does.
#[test]
fn a_socket_that_systemd_has_opened_is_used() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixListener;
    let crew = Crew::new();
    let socket = crew.path("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let worker = crew.worker("");
    let launch = "LISTEN_PID=$$ LISTEN_FDNAMES=x LISTEN_FDS=1 exec \"$@\" 3<&0 0</dev/null";
    // The first call is why it is started.
    let call = Test::new().args(["--connect", &socket, "--format", "value", ":::", "1"]);
    let call = call.stdout("\"1\"\n").spawn();
    wait_for("a call", || is_readable(&listener));
    let server = Test::through_shell(launch)
        .args(["--serve", &socket, "--keep", "0.1s", "--sh", "env | grep LISTEN_ || echo $1"])
        .stdin_file(&OwnedFd::from(listener).into())
        .any_stderr()
        .spawn();
    call.finish();
    server.finish();
    // It belongs to whoever has opened it.
    assert!(fs::exists(&socket).expect("a folder"));
    crew.assert_gone();
    let launch = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3</dev/null";
    let wrong = Test::through_shell(launch).args(["--serve", &socket, "-w", &worker]);
    wrong.stderr_has("LISTEN_FDS gives no Unix socket").status(125).run();
    // Variables that are for another process say nothing.
    let launch = "LISTEN_FDS=1 exec \"$@\"";
    let other = Test::through_shell(launch).args(["--serve", &crew.path("t"), "-w", &worker]);
    let other = other.any_stderr().spawn();
    other.await_stderr("serving at");
    Test::new().args(["--stop", &crew.path("t")]).run();
    other.finish();
}
