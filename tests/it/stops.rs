//! Processes that are stopped, for the terminal or by somebody; and unusual parents: one that ignores
//! SIGCHLD, and none at all, as for PID 1 of a container.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::{
    Crew, Running, Test, assert_has, failed, failures, lines_of, message, need, quoted, wait_for,
};
use crate::signals::Terminal;

const PROCPOOL: &str = env!("CARGO_BIN_EXE_procpool");

/// What to do about a job that wanted the terminal.
const ADVICE: &str = "jobs can't use the terminal: give it what it asks for as an argument, in a file or by \
                      an agent (as with 'ssh -o BatchMode=yes' or 'sudo -n'), or run it without procpool";

/// Runs procpool in a terminal with these arguments; returns its status and its records, in their order.
fn in_terminal(terminal: &mut Terminal, crew: &Crew, args: &[&str]) -> (String, Vec<Value>) {
    let out = crew.path("out");
    let words = shell_words::join([&[PROCPOOL, "--progress", "never"], args].concat());
    terminal.send(&format!("{words} > {out} 2> {out}.err"));
    terminal.prompt();
    let status = terminal.status();
    let text = fs::read_to_string(&out).expect("it was written");
    (status, text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect())
}

#[test]
fn a_command_that_touches_the_terminal_fails_at_once() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let read = "wanted to read from the terminal and was stopped (SIGTTIN)";
    let set = "wanted to set or to use the terminal and was stopped (SIGTTOU)";
    let other = "it has a process (";
    let cases: &[(&str, &str, &str)] = &[
        ("read x </dev/tty", "it ", read),
        ("exec stty -echo </dev/tty", "it ", set),
        // TERM does not end it.
        ("trap '' TERM; while :; do read x </dev/tty; done", "it ", read),
        // It takes no notice of the stop itself, and waits for one that is stopped.
        ("trap : TTIN; (read x </dev/tty; :); :", other, read),
        ("trap : TTOU; stty -echo </dev/tty; :", other, set),
        // Ended in good order, but not of itself.
        ("trap 'exit 0' TERM; while :; do read x </dev/tty; done", "it ", read),
    ];
    // TERM is followed by KILL after the grace period, which nobody waits for here, unless it is stopped again.
    let mut args = vec!["-j3", "--grace", "1h", "--format", "record"];
    args.extend(["sh", "-c", "eval \"$0\"", ":::", "echo well"]);
    args.extend(cases.iter().map(|(script, ..)| script));
    let (status, records) = in_terminal(&mut terminal, &crew, &args);
    assert_eq!(status, "1");
    assert_eq!(records[0]["result"]["stdout"], "well\n");
    assert_eq!(records.len(), 1 + cases.len());
    for (record, (script, begin, what)) in records[1..].iter().zip(cases) {
        let message = message(record, "exit");
        assert!(message.starts_with(begin), "{script}: {message}");
        assert!(message.ends_with(&format!("{what}; {ADVICE}")), "{script}: {message}");
    }
    let told = fs::read_to_string(crew.path("out.err")).expect("it was written");
    assert_eq!(failures(&told).len(), cases.len(), "{told}");
    assert_eq!(told.lines().count(), cases.len() + 1, "{told}");
}

#[test]
fn a_program_that_waits_for_one_that_is_stopped_is_no_reason_to_wait() {
    let Some(mut terminal) = Terminal::new() else { return };
    if !need("timeout") {
        return;
    }
    let crew = Crew::new();
    let args = ["--format", "record", "timeout", "100", "sh", "-c", "read x </dev/tty", ":::", "a"];
    let (status, records) = in_terminal(&mut terminal, &crew, &args);
    assert_eq!(status, "1");
    let message = message(&records[0], "exit");
    assert_has(
        message,
        &["it has a process (sh, pid ", "wanted to read from the terminal", ADVICE],
    );
}

#[test]
fn a_worker_that_touches_the_terminal_is_a_crash_or_a_failed_start() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let jobs = crew.file("jobs", "a\nb\n");
    let run = |terminal: &mut Terminal, options: &[&str], script: &str| {
        let worker = crew.file("worker", script);
        let worker = format!("sh {worker}");
        let args = [&["-j1", "-a", &jobs][..], options, &["-w", &worker]].concat();
        let (status, records) = in_terminal(terminal, &crew, &args);
        let err = fs::read_to_string(crew.path("out.err")).expect("it was written");
        (status, records, err)
    };
    let read = "wanted to read from the terminal and was stopped (SIGTTIN)";

    let answer = "echo '{\"result\":1}'";
    let at_job = format!(
        "while read -r job; do case $job in *'\"a\"'*) read x </dev/tty;; esac; {answer}; done"
    );
    let (status, records, err) = run(&mut terminal, &[], &at_job);
    assert_eq!((status.as_str(), failures(&err).len(), err.lines().count()), ("1", 1, 2), "{err}");
    let words = message(&records[0], "crash");
    assert!(words.starts_with("the worker (pid "), "{words}");
    assert!(words.ends_with(&format!("{read} before it answered; {ADVICE}")), "{words}");
    assert_eq!(records[1], json!({"id": 2, "ok": true, "result": 1}));

    let at_start = format!("read x </dev/tty; while read -r job; do {answer}; done");
    let (status, records, err) = run(&mut terminal, &["--start-limit", "2"], &at_start);
    assert_eq!(status, "126");
    let words = message(&records[0], "spawn");
    assert_has(words, &[&format!("{read} before it answered; {ADVICE} (2 times in a row)")]);
    assert_has(&err, &[read]);

    let options = ["--start-limit", "1", "--init", "hello"];
    let (status, records, _) = run(&mut terminal, &options, &at_start);
    assert_eq!(status, "126");
    assert_has(message(&records[0], "spawn"), &[read, ADVICE, "before it answered --init 'hello'"]);

    // A worker without a job is reported and replaced.
    let idle = format!(
        "read -r job; {answer}; [ ! -e '{0}' ] && : >'{0}' && read x </dev/tty; while read -r job; do {answer}; done",
        crew.path("once")
    );
    let slow = crew.file(
        "slow",
        format!(
            "cat '{0}'; while [ ! -e '{1}' ]; do sleep 0.05; done; sleep 0.3; cat '{0}'",
            jobs,
            crew.path("once")
        ),
    );
    let worker = crew.file("worker", idle);
    terminal.send(&format!(
        "sh {slow} | {PROCPOOL} --progress never -j1 -w 'sh {worker}' --format value"
    ));
    let seen = terminal.prompt();
    assert_eq!(seen.matches("1\r\n").count(), 4, "{seen}");
}

#[test]
fn a_secret_that_is_typed_is_not_shown_and_not_left_for_the_shell() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let scripts = [
        "printf %s%s Pass word: >/dev/tty; read x </dev/tty",
        // It has turned the echo off itself, and can't turn it on again.
        "trap '' TTOU; stty -echo </dev/tty; printf %s%s Pass word: >/dev/tty; read x </dev/tty",
    ];
    terminal.send("stty echo");
    terminal.prompt();
    for script in scripts {
        let go = crew.path("go");
        let wait = format!("while [ ! -e '{go}' ]; do sleep 0.05; done");
        let words = [PROCPOOL, "--progress", "never", "-j2", "sh", "-c", "eval \"$0\"", ":::"];
        terminal.send(&shell_words::join(words.into_iter().chain([script, &wait])));
        terminal.see("Password:");
        terminal.see("SIGTTIN");
        terminal.see("without procpool");
        terminal.send("hunter2");
        // Long enough for the terminal to show it.
        thread::park_timeout(Duration::from_millis(200));
        crew.file("go", "");
        let seen = terminal.prompt();
        assert!(!seen.contains("hunter2"), "{seen:?}");
        let _ = fs::remove_file(&go);
        terminal.send("stty -a | tr -s ' ;' '\\n' | grep -x -e -echo -e echo | tr a-z A-Z");
        let seen = terminal.prompt();
        assert!(!seen.contains("hunter2") && seen.contains("ECHO"), "{seen:?}");
        assert!(!seen.contains("-ECHO"), "{seen:?}");
    }
}

/// Asserts that a process is remarked on that has been stopped, and lets it go on.
#[track_caller]
fn continue_stopped(run: &Running, who: &str, crew: &Crew) -> String {
    wait_for("the process to say who it is", || {
        fs::read_to_string(crew.path("pid")).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid = fs::read_to_string(crew.path("pid")).expect("it was written");
    let pid = pid.trim();
    let who = who.replace("PID", pid);
    let remark = format!(
        "procpool: {who} was stopped by SIGSTOP (signal 19), not by procpool. procpool waits for it. To \
         continue it: kill -CONT {pid}\n"
    );
    run.await_stderr(&remark);
    // It is said once, however long it lasts.
    thread::park_timeout(Duration::from_millis(700));
    let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a process");
    kill_process(pid, Signal::CONT).expect("it lives");
    remark
}

#[test]
fn a_process_that_somebody_stops_is_remarked_on_once() {
    let crew = Crew::new();
    let stop = format!("echo $$ > '{0}'; kill -STOP $$; kill -STOP $$", crew.path("pid"));
    let run = Test::new().args(["sh", "-c", &format!("{stop}; echo on"), ":::", "a"]);
    let run = run.stdout("on\n").any_stderr().spawn();
    let remark = continue_stopped(&run, "the command of job 1", &crew);
    let pid = fs::read_to_string(crew.path("pid")).expect("it was written");
    let pid = Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process");
    wait_for("the end of one that is stopped again", || {
        let _ = kill_process(pid, Signal::CONT);
        run.has_ended()
    });
    assert_eq!(run.finish().stderr, remark);

    let crew = Crew::new();
    let stop = format!("echo $$ > '{0}'; kill -STOP $$", crew.path("pid"));
    let worker = crew.file("worker", format!("read -r job; {stop}; echo '{{\"result\":1}}'; cat"));
    let run = Test::new().workers(1, format!("sh {worker}")).jobs(["a"]);
    let run = run.stdout("{\"id\":1,\"ok\":true,\"result\":1}\n").any_stderr().spawn();
    let remark = continue_stopped(&run, "the worker (pid PID) on job 1 (line 1)", &crew);
    assert_eq!(run.finish().stderr, remark);
}

#[test]
fn a_process_that_is_stopped_still_has_its_timeout() {
    let output = Test::new()
        .args(["--timeout", "2", "sh", "-c", "kill -STOP $$", ":::", "a"])
        .stderr_has("was stopped by SIGSTOP (signal 19), not by procpool.")
        .stderr_has(failed("sh -c 'kill -STOP $$' a", "timed out after 2s", "job 1"))
        .status(1)
        .run();
    assert_eq!(output.stderr.lines().count(), 3, "{}", output.stderr);
}

#[test]
fn a_parent_that_ignores_sigchld_changes_nothing() {
    let ignoring = || Test::through_shell("trap '' CHLD; exec \"$@\"");
    ignoring().args(["echo", ":::", "a"]).stdout("a\n").run();
    ignoring()
        .args(["-j2", "sh", "-c", "exit $0", ":::", "0", "3"])
        .stderr(failed("sh -c 'exit $0' 3", "exit status 3", "job 2"))
        .status(1)
        .run();
    let crew = Crew::new();
    ignoring()
        .workers(2, crew.worker(""))
        .jobs(["echo [1]", "exit 3"])
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    // What is run does not inherit it: bit 16 of the mask.
    let show = "case $(grep ^SigIgn: /proc/self/status) in *[13579bdf]????) echo ignored;; esac";
    ignoring().args(["sh", "-c", show, ":::", "a"]).run();
    if need("python3") {
        ignoring().args(["--python", "int(x) * 2", ":::", "4"]).stdout("8\n").run();
    }
}

/// Runs procpool as PID 1 of a container of its own; `None`: that can't be done here.
fn as_pid_1() -> Option<Test> {
    if !need("unshare") {
        return None;
    }
    let options = ["--pid", "--fork", "--mount-proc"];
    if !Command::new("unshare")
        .args(options)
        .arg("true")
        .output()
        .is_ok_and(|run| run.status.success())
    {
        println!("skipped: unshare can't make a namespace of processes");
        return None;
    }
    Some(Test::through_shell("exec unshare --pid --fork --mount-proc \"$@\""))
}

/// The number of PID 1 as it is seen from here.
#[track_caller]
fn pid_1(run: &Running) -> Pid {
    let unshare = run.pid().as_raw_nonzero();
    let mut found = None;
    wait_for("the process in the container", || {
        let path = format!("/proc/{unshare}/task/{unshare}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        found = children.split(' ').find_map(|pid| Pid::from_raw(pid.parse().ok()?));
        found.is_some()
    });
    found.expect("it was found")
}

#[test]
fn pid_1_ends_with_the_status_of_a_signal() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let Some(test) = as_pid_1() else { return };
        let crew = Crew::new();
        let script = format!("touch '{}'; exec sleep 60", crew.path("begun"));
        let run = test
            .args(["--grace", "0.2", "sh", "-c", &script, ":::", "a"])
            .stderr_has(" a: it was running when the run was ended (job 1)\n")
            .status(128 + signal.as_raw())
            .spawn();
        wait_for("the job to begin", || fs::exists(crew.path("begun")).unwrap_or(false));
        kill_process(pid_1(&run), signal).expect("it lives");
        run.finish();
    }
    let Some(test) = as_pid_1() else { return };
    test.arg("echo").stdin_endless("a\n").head(1).any_stdout().status(141).run();
}

#[test]
fn pid_1_ends_by_a_signal_before_its_run_begins() {
    let Some(test) = as_pid_1() else { return };
    let crew = Crew::new();
    let begun = crew.path("begun");
    let python = crew.file("python3", format!("#!/bin/sh\ntouch '{begun}'\nexec sleep 60\n"));
    make_executable(&python);
    let path = format!("{}:{}", crew.path(""), std::env::var("PATH").unwrap_or_default());
    let run = test.env("PATH", path).args(["--python", "x", ":::", "a"]).status(143).spawn();
    wait_for("the code to be checked", || fs::exists(&begun).unwrap_or(false));
    kill_process(pid_1(&run), Signal::TERM).expect("it lives");
    run.finish();
}

fn make_executable(path: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn pid_1_reaps_orphans_and_steals_no_status() {
    let Some(test) = as_pid_1() else { return };
    // Each job leaves one behind; the last one waits until there are no zombies any more.
    let script = "zombies() { grep -ls '^State:.Z' /proc/[0-9]*/status | wc -l; }; \
                  if [ $0 -le 60 ]; then (setsid sleep 0.02 &); exit $(($0 % 3)); fi; \
                  for _ in $(seq 200); do [ $(zombies) = 0 ] && break; sleep 0.05; done; zombies";
    let numbers: Vec<String> = (1..=61).map(|number| number.to_string()).collect();
    let records = test
        .args(["-j4", "--format", "record", "sh", "-c", script, ":::"])
        .args(&numbers)
        .status(1)
        .records();
    for (number, record) in (1..).zip(&records[..60]) {
        let exit = number % 3;
        if exit == 0 {
            assert_eq!(record["result"]["exit"], 0, "{record}");
        } else {
            assert_eq!(message(record, "exit"), format!("exit status {exit}"));
        }
    }
    assert_eq!(records[60]["result"]["stdout"].as_str().map(str::trim), Some("0"));
}

#[test]
fn a_result_that_came_while_procpool_was_stopped_is_in_time() {
    let limit = Duration::from_secs(1);
    // On a machine that is too busy to begin the jobs in time, another round does it.
    let is_tried = (0..5).any(|_| {
        let crew = Crew::new();
        let (begun, go, done) = (crew.path("begun"), crew.path("go"), crew.path("done"));
        let job = format!(
            "echo >> {begun}; until [ -e {go} ]; do sleep 0.02; done; echo; echo >> {done}"
        );
        let worker = format!("sh -c {}", quoted(&format!("while read -r line; do {job}; done")));
        let began = Instant::now();
        let runs = [&["sh", "-c", &job][..], &["--protocol", "raw", "-w", &worker]].map(|how| {
            let test = Test::new().args(["-j4", "--timeout", "1"]).args(how);
            test.stdin("1\n2\n3\n4\n").any_stdout().any_stderr().any_status().spawn()
        });
        wait_for("all jobs to begin", || lines_of(&begun).len() == 8);
        runs.iter().for_each(|run| run.signal(Signal::STOP));
        let is_in_time = began.elapsed() < limit * 3 / 4;
        let stopped = Instant::now();
        crew.file("go", "");
        wait_for("all jobs to end", || lines_of(&done).len() == 8);
        while stopped.elapsed() < limit {
            thread::park_timeout(Duration::from_millis(20));
        }
        runs.iter().for_each(|run| run.signal(Signal::CONT));
        for output in runs.map(Running::finish) {
            assert!(!is_in_time || output.stdout == b"\n\n\n\n", "{}", output.stderr);
        }
        is_in_time
    });
    assert!(is_tried);
}
