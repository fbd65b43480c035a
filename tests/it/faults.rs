//! A worker that misbehaves costs its own job only, and that job's result says what happened.

use std::collections::BTreeSet;

use crate::common::{Crew, Test, assert_has, message, result};
use serde_json::{Value, json};

/// Runs a job between good ones, with one worker and with two, and returns its record and what was
/// said on stderr. The good jobs have their own results, and nothing is left behind.
#[track_caller]
fn among_others(job: &str, options: &[&str], status: i32) -> (Value, String) {
    let mut seen = None;
    for max_procs in [1, 2] {
        let crew = Crew::new();
        let output = Test::new()
            .workers(max_procs, crew.worker(""))
            .args(options)
            .jobs(["echo [1]", "echo [2]", job, "echo [4]", "echo [5]", "echo [6]"])
            .any_stdout()
            .any_stderr()
            .status(status)
            .run();
        let records = output.records();
        assert_eq!(records.len(), 6, "{records:?}");
        for at in [1, 2, 4, 5, 6] {
            assert_eq!(records[at - 1], json!({"id": at, "ok": true, "result": [at]}));
        }
        assert_eq!(records[2]["id"], 3);
        crew.assert_gone();
        seen = Some((records[2].clone(), output.stderr));
    }
    seen.expect("it was run")
}

/// As [`among_others`], for a job that fails in this way; returns its message.
#[track_caller]
fn failure(job: &str, kind: &str) -> String {
    failure_with(job, kind, &[])
}

#[track_caller]
fn failure_with(job: &str, kind: &str, options: &[&str]) -> String {
    let (record, _) = among_others(job, options, 1);
    message(&record, kind).to_owned()
}

#[test]
fn an_error_is_no_fault() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker(""))
        .jobs([
            "fail [\"no such file\"]",
            "fail_object []",
            "fail [{\"code\":7}]",
            "fail [null]",
            "nonsense",
        ])
        .status(1)
        .records();
    let error =
        |message: &str, data: Value| json!({"kind": "error", "message": message, "data": data});
    // The message is there once.
    assert_eq!(records[0]["error"], json!({"kind": "error", "message": "no such file"}));
    assert_eq!(records[1]["error"], error("it failed", json!({"code": 7})));
    assert_eq!(records[2]["error"], error("{\"code\":7}", json!({"code": 7})));
    assert_eq!(records[3]["error"], error("null", json!(null)));
    assert_has(message(&records[4], "error"), &["nonsense"]);
    assert_eq!(crew.logged("start").len(), 1, "the worker goes on");
}

#[test]
fn a_reply_without_an_id_is_good() {
    let (record, stderr) = among_others("no_id [7]", &[], 0);
    assert_eq!(result(&record), &json!([7]));
    assert_eq!(stderr, "");
}

#[test]
fn killed_in_the_middle_of_a_job() {
    assert_has(&failure("die []", "crash"), &["SIGKILL"]);
}

#[test]
fn killed_by_another_signal() {
    assert_has(&failure("die [\"TERM\"]", "crash"), &["SIGTERM"]);
    assert_has(&failure("die [\"SEGV\"]", "crash"), &["SIGSEGV"]);
    assert_has(&failure("die [10]", "crash"), &["SIGUSR1"]);
}

#[test]
fn killed_from_outside() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(1, crew.worker(""))
        .jobs(["echo [1]", "never_answer", "echo [3]"])
        .any_stdout()
        .status(1)
        .spawn();
    assert_eq!(result(&run.record()), &json!([1]));
    crew.await_logged("job", 2);
    let pid = crew.logged("start")[0][1].parse().expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
    assert_has(message(&run.record(), "crash"), &["SIGKILL"]);
    assert_eq!(result(&run.record()), &json!([3]));
    run.finish();
}

#[test]
fn exits_without_an_answer() {
    assert_has(&failure("exit [0]", "crash"), &["status 0"]);
    assert_has(&failure("exit [3]", "crash"), &["status 3"]);
}

#[test]
fn the_last_words_of_a_worker_are_in_the_result() {
    let (record, stderr) = among_others("stderr_exit [\"one\\ntwo\\nout of cheese\",5]", &[], 1);
    assert_has(message(&record, "crash"), &["status 5", "out of cheese"]);
    assert_has(&stderr, &["one\n", "two\n", "out of cheese\n"]);
}

#[test]
fn the_first_job_of_all_is_charged_with_the_death_that_it_caused() {
    let crew = Crew::new();
    let records =
        Test::new().workers(1, crew.worker("")).jobs(["exit [9]", "echo [2]"]).status(1).records();
    assert_has(message(&records[0], "crash"), &["status 9"]);
    assert_eq!(result(&records[1]), &json!([2]));
    assert_eq!(crew.logged("start").len(), 2);
}

#[test]
fn prints_garbage() {
    let text = failure("garbage [\"hello world\"]", "protocol");
    assert_has(&text, &["hello world", "stderr"]);
}

#[test]
fn blank_lines_behind_a_reply_do_no_harm() {
    let (record, stderr) = among_others("blank_lines [7]", &[], 0);
    assert_eq!(result(&record), &json!([7]));
    assert_eq!(stderr, "");
}

#[test]
fn prints_another_kind_of_json() {
    assert_has(&failure("garbage [\"[1,2,3]\"]", "protocol"), &["[1,2,3]"]);
    assert_has(&failure("garbage [\"\\\"text\\\"\"]", "protocol"), &["text"]);
    assert_has(&failure("garbage [\"17\"]", "protocol"), &["17"]);
}

#[test]
fn prints_bytes_that_are_no_text() {
    // \xff \x00 a
    let text = failure("bytes [255,0,97]", "protocol");
    assert_has(&text, &["UTF-8"]);
    assert!(!text.contains('\0'), "control characters are quoted: {text:?}");
}

#[test]
fn a_long_offence_is_quoted_in_part() {
    let long = "spam ".repeat(100_000);
    let text = failure(&format!("garbage [\"{long}\"]"), "protocol");
    assert_has(&text, &["spam spam"]);
    assert!(text.len() < 2000, "{} bytes", text.len());
}

#[test]
fn an_offence_cannot_play_with_the_terminal() {
    let text = failure(r#"garbage ["\u001b[2Jgone\u0007"]"#, "protocol");
    assert_has(&text, &["gone"]);
    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
}

#[test]
fn prints_half_a_line_and_dies() {
    assert_has(&failure("half []", "crash"), &["SIGKILL"]);
}

#[test]
fn two_replies_at_once_for_one_request() {
    failure("twice []", "protocol");
}

#[test]
fn a_second_reply_after_a_while_costs_nobody() {
    for max_procs in [1, 2] {
        let crew = Crew::new();
        let output = Test::new()
            .workers(max_procs, crew.worker(""))
            .jobs(["echo [1]", "twice_late []", "echo [3]", "echo [4]"])
            .any_stdout()
            .any_stderr()
            .run();
        let records = output.records();
        let results: Vec<&Value> = records.iter().map(result).collect();
        assert_eq!(results, [&json!([1]), &json!(1), &json!([3]), &json!([4])]);
        if max_procs == 1 {
            assert_ne!(output.stderr, "", "it is said on stderr");
            assert_eq!(crew.logged("start").len(), 2, "the worker is replaced");
        }
        crew.assert_gone();
    }
}

#[test]
fn an_id_that_nobody_asked_for() {
    assert_has(&failure("unknown_id []", "protocol"), &["987654321"]);
}

#[test]
fn an_id_that_is_no_number() {
    assert_has(&failure("text_id []", "protocol"), &["id"]);
}

#[test]
fn a_key_too_many() {
    assert_has(&failure("extra_key []", "protocol"), &["colour"]);
}

#[test]
fn result_and_error() {
    assert_has(&failure("both []", "protocol"), &["result", "error"]);
}

#[test]
fn neither_result_nor_error() {
    assert_has(&failure("neither []", "protocol"), &["result", "error"]);
}

#[test]
fn a_reply_of_200_mb() {
    let text = failure("huge [200000000]", "protocol");
    assert_has(&text, &["--max-reply"]);
    assert!(text.len() < 2000, "{} bytes", text.len());
}

#[test]
fn a_reply_just_over_the_limit() {
    let limit = &["--max-reply", "1000"];
    assert_has(&failure_with("huge [1001]", "protocol", limit), &["--max-reply", "1000"]);
    let (record, _) = among_others("huge [1000]", limit, 0);
    assert!(result(&record).as_str().is_some_and(|text| text.len() > 900), "{record}");
}

#[test]
fn a_reply_of_many_megabytes_is_good() {
    if !crate::common::heavy() {
        return;
    }
    let (record, _) = among_others("huge [20000000]", &[], 0);
    assert!(result(&record).as_str().is_some_and(|text| text.len() > 19_000_000));
}

#[test]
fn closes_stdout_but_lives_on() {
    assert_has(&failure("close_stdout []", "crash"), &["stdout"]);
}

#[test]
fn closes_stdin_but_lives_on() {
    if !crate::common::heavy() {
        return;
    }
    // The next job was never read, and goes to another worker.
    let (record, _) = among_others("close_stdin []", &[], 0);
    assert_eq!(result(&record), true);
}

/// The requests after the first are in the pipe when the worker closes it, and are never read.
#[test]
fn closes_stdin_with_requests_unread() {
    if !crate::common::heavy() {
        return;
    }
    // They mostly wait, so they do it together.
    let mut runs = Vec::new();
    for (before, after) in [("", "exec <&-; "), ("exec <&-; sleep 0.3; ", "")] {
        let code = format!(
            "read -r line; sleep 0.3; {before}echo \"{{\\\"result\\\":1}}\"; {after}exec sleep 1000"
        );
        let worker = shell_words::join(["sh", "-c", &code]);
        for pipeline in ["1", "8"] {
            let run = Test::new()
                .workers(2, &worker)
                .args(["--grace=0.1s", "--detail", "--pipeline", pipeline])
                .jobs(vec!["x"; if pipeline == "1" { 4 } else { 40 }])
                .any_stdout()
                .any_stderr()
                .patience(120);
            runs.push(run.spawn());
        }
    }
    for record in runs.into_iter().flat_map(|run| run.finish().records()) {
        assert_eq!((result(&record), &record["attempt"]), (&json!(1), &json!(1)), "{record}");
    }
}

/// What it has answered does not wait for its end. It has a part of the second request.
#[test]
fn closes_stdin_and_takes_its_time_to_end() {
    let crew = Crew::new();
    let go = crew.path("go");
    let code = format!(
        "trap '' TERM; read -r line; head -c 5 >/dev/null; exec <&-; sleep 0.1; echo '{{\"result\":1}}'
         until test -e {go}; do sleep 0.01; done"
    );
    let mut run = Test::new()
        .workers(1, shell_words::join(["sh", "-c", &code]))
        .args(["--pipeline=2", "--grace=1h", "--format=value"])
        .jobs(["x", "x"])
        .stdout("1\n")
        .any_stderr()
        .status(1)
        .spawn();
    assert_eq!(run.line(), "1");
    crew.file("go", "");
    run.finish();
}

/// A worker that has never read anything has failed to start.
#[test]
fn closes_stdin_without_reading_anything() {
    let output = Test::new()
        .workers(1, "sh -c 'sleep 0.2; exec sleep 1000 <&-'")
        .args(["--grace=0.1s", "--start-limit=2"])
        .jobs(["x", "x"])
        .any_stdout()
        .any_stderr()
        .status(126)
        .run();
    assert_has(message(&output.records()[0], "spawn"), &["closed its stdin", "(2 times in a row)"]);
}

/// It has a part of the request, and will never have the rest.
#[test]
fn closes_stdin_with_a_part_of_a_request_unread() {
    let records = Test::new()
        .workers(1, "sh -c 'head -c 5 >/dev/null; sleep 0.2; exec sleep 1000 <&-'")
        .args(["--grace=0.1s"])
        .jobs(["x"])
        .status(1)
        .records();
    assert_has(message(&records[0], "crash"), &["closed its stdin but went on running"]);
}

/// What it has read it may answer, however long that takes.
#[test]
fn closes_stdin_when_it_has_read_all() {
    let code = "read -r line; exec <&-; sleep 2; echo \"{\\\"result\\\":1}\"";
    Test::new()
        .workers(1, shell_words::join(["sh", "-c", code]))
        .args(["--format=value"])
        .jobs(["x", "x"])
        .stdout("1\n1\n")
        .run();
}

#[test]
fn dies_while_a_long_request_is_written() {
    let crew = Crew::new();
    let long = "x".repeat(10_000_000);
    let records = Test::new()
        .workers(1, crew.worker(""))
        .jobs(["echo [1]", "die_reading", &format!("echo [\"{long}\"]"), "echo [4]"])
        .any_stderr()
        .any_status()
        .records();
    assert_eq!(records.len(), 4);
    assert_eq!(result(&records[0]), &json!([1]));
    assert_eq!(result(&records[1]), true);
    assert_has(message(&records[2], "crash"), &["SIGKILL"]);
    assert_eq!(result(&records[3]), &json!([4]));
    crew.assert_gone();
}

#[test]
fn never_reads_a_job_of_10_mb() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let long = "x".repeat(10_000_000);
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--timeout", "2s", "--grace", "0.2s"])
        .jobs(["echo [1]", "stop_reading", &format!("echo [\"{long}\"]"), "echo [4]"])
        .any_stderr()
        .status(1)
        .records();
    assert_eq!(result(&records[0]), &json!([1]));
    assert_eq!(result(&records[1]), true);
    message(&records[2], "timeout");
    assert_eq!(result(&records[3]), &json!([4]));
    crew.assert_gone();
}

#[test]
fn floods_stderr() {
    let (record, stderr) = among_others("flood_stderr [5000000]", &[], 0);
    assert_eq!(result(&record), &json!([5_000_000]));
    assert_eq!(stderr.len(), 5_000_000, "it is all passed on");
    assert!(stderr.lines().all(|line| line.len() == 79), "its lines are whole");
}

#[test]
fn leaves_a_grandchild_that_holds_stdout_open() {
    let (record, _) = among_others("grandchild_stdout []", &[], 0);
    assert!(result(&record).is_u64());
}

#[test]
fn leaves_a_grandchild_that_ignores_term() {
    let (record, _) =
        among_others("grandchild_stdout [\"--ignore-term\"]", &["--grace", "0.2s"], 0);
    assert!(result(&record).is_u64());
}

#[test]
fn answers_leaves_a_grandchild_and_exits() {
    let (record, _) = among_others("grandchild_exit []", &[], 0);
    assert!(result(&record).is_u64());
}

#[test]
fn dies_and_leaves_a_grandchild_that_holds_stdout_open() {
    assert_has(&failure("grandchild_die []", "crash"), &["status 4"]);
}

#[test]
fn greets_on_stdout() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker("--greet"))
        .jobs(["echo [1]", "echo [2]"])
        .any_stderr()
        .status(1)
        .records();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_has(message(record, "protocol"), &["Welcome to faulty!", "stderr"]);
    }
    crew.assert_gone();
}

#[test]
fn a_worker_that_broke_the_protocol_is_never_used_again() {
    let jobs =
        ["garbage [\"x\"]", "pid", "twice []", "pid", "unknown_id", "pid", "extra_key", "pid"];
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker(""))
        .arg("--detail")
        .jobs(jobs)
        .any_stderr()
        .status(1)
        .records();
    let offenders: Vec<&Value> = records.iter().step_by(2).map(|record| &record["pid"]).collect();
    let others: BTreeSet<String> =
        records.iter().skip(1).step_by(2).map(|record| result(record).to_string()).collect();
    for offender in offenders {
        // Each offender did the job before its own, but none after it.
        let at =
            records.iter().position(|record| &record["pid"] == offender && record["ok"] == false);
        let after = records.iter().skip(at.expect("it is there") + 1);
        assert!(after.clone().all(|record| &record["pid"] != offender), "{records:?}");
    }
    assert_eq!(others.len(), 4);
    assert_eq!(crew.logged("start").len(), 5);
}

#[test]
fn all_faults_at_once() {
    if !crate::common::heavy() {
        return;
    }
    let faults = [
        ("echo [1]", "ok"),
        ("die []", "crash"),
        ("exit [0]", "crash"),
        ("garbage [\"x\"]", "protocol"),
        ("add [1,2]", "ok"),
        ("half []", "crash"),
        ("twice []", "protocol"),
        ("unknown_id", "protocol"),
        ("fail [\"x\"]", "error"),
        ("huge [100000]", "protocol"),
        ("close_stdout", "crash"),
        ("no_id [1]", "ok"),
        ("{", "invalid"),
        ("never_answer", "timeout"),
        ("grandchild_stdout", "ok"),
        ("grandchild_die", "crash"),
        ("grandchild_exit", "ok"),
        ("ignore_term", "timeout"),
        ("flood_stderr [100000]", "ok"),
    ];
    // Each fault meets every other one as its neighbour: 19 is a prime, and 7 steps through all.
    let order: Vec<usize> =
        (1..=5).flat_map(|step| (0..19).map(move |at| at * step % 19)).collect();
    let crew = Crew::new();
    let records = Test::new()
        .workers(4, crew.worker(""))
        .args(["--timeout", "3s", "--grace", "0.1s", "--max-reply", "50K", "--max-reqs", "7"])
        .jobs(order.iter().map(|&at| faults[at].0))
        .any_stderr()
        .status(1)
        .patience(90)
        .records();
    assert_eq!(records.len(), order.len());
    for (record, &at) in records.iter().zip(&order) {
        let (job, expected) = faults[at];
        let kind = record["error"]["kind"].as_str().unwrap_or("ok");
        assert_eq!(kind, expected, "{job}: {record}");
    }
    crew.assert_gone();
}

#[test]
fn poison_at_the_head_of_the_input_costs_only_itself() {
    let jobs = ["die"; 7].into_iter().chain(["first [\"good\"]"]);
    let output = Test::new()
        .workers(1, crate::common::worker(""))
        .args(["--format", "value"])
        .jobs(jobs)
        .stdout("\"good\"\n")
        .any_stderr()
        .status(1)
        .run();
    assert_eq!(
        output.stderr.matches("procpool: failed: die(): the worker (pid ").count(),
        7,
        "{}",
        output.stderr
    );
}
