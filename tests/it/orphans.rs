//! After `kill -9` of procpool, at any moment, nothing in its groups lives on for more than a second.

use std::time::{Duration, Instant};

use crate::common::{Crew, Test, leftovers, wait_for};
use rustix::process::Signal;

/// Starts that are under way when procpool is killed: with this many tries many of them are hit.
const TRIES: u64 = 30;

/// Starts a run that is to be killed, whatever it has printed until then.
fn victim(test: Test) -> crate::common::Running {
    test.any_stdout().any_stderr().killed_by(Signal::KILL).spawn()
}

/// Kills a run, and asserts that a second later all of its crew are gone.
#[track_caller]
fn kill(run: crate::common::Running, crew: &Crew) {
    run.signal(Signal::KILL);
    run.finish();
    crew.assert_gone();
}

/// Kills runs of `jobs` commands while they are started. `$0` is a number to sleep for.
fn kill_during_starts(max_procs: &str, jobs: usize, script: &str) {
    for number in 0..TRIES {
        // A number that nobody else sleeps for.
        let mark = format!("300.{:08}{jobs}{number:03}", std::process::id());
        let run = victim(
            Test::new().args([max_procs, "sh", "-c", script, &mark]).stdin("x\n".repeat(jobs)),
        );
        // Somewhere between its first process and its last.
        assert!(!run.ends_within(Duration::from_millis(3 + number * 7 % 40)), "it has ended");
        run.signal(Signal::KILL);
        run.finish();
        let end = Instant::now() + Duration::from_secs(1);
        wait_for("all processes to be gone", || {
            let left = leftovers(&mark);
            assert!(left.is_empty() || Instant::now() < end, "try {number}: {left:?}");
            left.is_empty()
        });
    }
}

#[test]
fn killed_while_it_starts_commands() {
    if !crate::common::heavy() {
        return;
    }
    // Before, what was started and not yet on the guardian's list lived on: in two of three tries.
    kill_during_starts("-j40", 40, "sleep $0; :");
}

#[test]
fn killed_while_it_starts_commands_that_are_gone_before_their_children() {
    if !crate::common::heavy() {
        return;
    }
    // Whoever is found then is not the leader of its group.
    kill_during_starts("-j2", 3000, "sleep $0 &");
    kill_during_starts("-j8", 300, "(sh -c 'sleep $0; :' $0 &) & exec sh -c 'sleep $0 & :' $0");
}

#[test]
fn killed_while_it_starts_workers() {
    if !crate::common::heavy() {
        return;
    }
    for number in 0..TRIES / 2 {
        let crew = Crew::new();
        let flags = "--ignore-eof --ignore-term --sleep-at-start 300000";
        let run = victim(Test::new().workers(20, crew.worker(flags)).jobs(["echo"; 20]));
        assert!(!run.ends_within(Duration::from_millis(3 + number * 7 % 40)), "it has ended");
        kill(run, &crew);
    }
}

#[test]
fn killed_on_busy_jobs_whose_workers_have_children() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let run = victim(Test::new().workers(3, crew.worker("--ignore-eof --ignore-term")).jobs([
        "ignore_term",
        "grandchild_hang [\"--ignore-term\"]",
        "grandchild_hang",
    ]));
    wait_for("all five", || crew.left().len() == 5);
    kill(run, &crew);
}

#[test]
fn killed_during_a_stop() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let run = victim(
        Test::new()
            .workers(2, crew.worker("--ignore-eof --ignore-term"))
            .args(["--grace", "1m"])
            .jobs(["grandchild_hang [\"--ignore-term\"]", "never_answer"]),
    );
    wait_for("all three", || crew.left().len() == 3);
    run.signal(Signal::TERM);
    assert!(!run.ends_within(Duration::from_millis(100)), "it waits for its jobs");
    kill(run, &crew);
}

#[test]
fn killed_during_a_timeout() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let run = victim(
        Test::new()
            .workers(1, crew.worker("--ignore-eof --ignore-term"))
            .args(["--grace", "1m", "--timeout", "0.1s", "--format", "value"])
            .jobs(["grandchild_hang [\"--ignore-term\"]", "echo"]),
    );
    run.await_stderr("timed out");
    kill(run, &crew);
}

#[test]
fn killed_while_workers_are_recycled() {
    if !crate::common::heavy() {
        return;
    }
    for number in 0..TRIES / 2 {
        let crew = Crew::new();
        let run = victim(
            Test::new()
                .workers(4, crew.worker("--ignore-eof --ignore-term"))
                .args(["--max-reqs", "3", "--grace", "0.1s"])
                .stdin_endless("grandchild_stdout [\"--ignore-term\"]\nfirst [1]\n"),
        );
        crew.await_logged("start", 8);
        assert!(!run.ends_within(Duration::from_millis(number * 7 % 40)), "it has ended");
        kill(run, &crew);
    }
}

#[test]
fn killed_while_all_is_stopped() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let run = victim(
        Test::new()
            .workers(2, crew.worker("--ignore-eof --ignore-term"))
            .jobs(["grandchild_hang [\"--ignore-term\"]", "never_answer"]),
    );
    crew.await_processes(3);
    run.signal(Signal::TSTP);
    wait_for("all to be stopped", || crew.states() == ['T'; 3]);
    kill(run, &crew);
}

#[test]
fn what_others_have_started_lives_on() {
    // The guardian of a run that was killed during its start looks at all processes there are.
    let mut other = std::process::Command::new("sleep")
        .arg("300")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    for number in 0..5 {
        let crew = Crew::new();
        let run = victim(
            Test::new()
                .workers(20, crew.worker("--ignore-eof --sleep-at-start 300000"))
                .jobs(["echo"; 20]),
        );
        assert!(!run.ends_within(Duration::from_millis(5 + number * 5)), "it has ended");
        kill(run, &crew);
    }
    assert!(matches!(other.try_wait(), Ok(None)), "it was killed with the run");
    other.kill().expect("it lives");
    other.wait().expect("it is ours");
}
