//! A job that takes too long ends with its worker, and with all that the worker has started.

use std::time::Duration;

use crate::common::{Crew, Test, assert_has, message, need, result, wait_for};
use serde_json::{Value, json};

/// Runs a job that never ends between good ones, and returns its message.
#[track_caller]
fn too_long(job: &str, options: &[&str]) -> String {
    too_long_in(Test::new(), job, options)
}

/// The same, in a run with more expectations.
#[track_caller]
fn too_long_in(test: Test, job: &str, options: &[&str]) -> String {
    let crew = Crew::new();
    let output = test
        .workers(1, crew.worker(""))
        .args(options)
        .jobs([&in_time("pid", "[]"), job, &in_time("pid", "[]"), &in_time("echo", "[4]")])
        .any_stdout()
        .status(1)
        .run();
    let records = output.records();
    assert_eq!(records.len(), 4, "{records:?}");
    assert_ne!(result(&records[0]), result(&records[2]), "the next job runs on a new worker");
    assert_eq!(result(&records[3]), &json!([4]));
    crew.assert_gone();
    message(&records[1], "timeout").to_owned()
}

/// A job that is to succeed, on whatever machine: it has more time than the others.
fn in_time(cmd: &str, args: &str) -> String {
    format!(r#"{{"cmd":"{cmd}","args":{args},"timeout":20}}"#)
}

const HALF: &[&str] = &["--timeout", "0.5s", "--grace", "0.3s"];

#[test]
fn a_worker_that_never_answers() {
    assert_has(&too_long("never_answer", HALF), &["500ms"]);
}

#[test]
fn a_worker_that_ignores_term() {
    too_long("ignore_term", HALF);
}

#[test]
fn a_worker_that_ignores_term_is_killed_only_after_the_grace_period() {
    let crew = Crew::new();
    let output = Test::new()
        .workers(1, crew.worker(""))
        .args(["--timeout", "0.2s", "--grace", "1s"])
        .jobs(["ignore_term", "echo [2]"])
        .any_stdout()
        .status(1)
        .run();
    assert!(output.elapsed > Duration::from_millis(1200), "{:?}", output.elapsed);
}

#[test]
fn a_worker_that_is_stopped() {
    let test = Test::new().stderr_has("was stopped by SIGSTOP (signal 19), not by procpool.");
    // It is looked for twice a second.
    too_long_in(test, "die [\"STOP\"]", &["--timeout", "2s", "--grace", "0.3s"]);
}

#[test]
fn a_grandchild() {
    too_long("grandchild_hang", HALF);
    too_long("grandchild_hang [\"--ignore-term\"]", HALF);
}

#[test]
fn a_worker_that_floods_stderr_for_long() {
    let (timeout, grace) = ("0.5s", "0.2s");
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--timeout", timeout, "--grace", grace])
        .env("RUST_BACKTRACE", "0")
        .jobs([&in_time("echo", "[1]"), "flood_stderr [1000000000000]", &in_time("echo", "[3]")])
        .drop_stderr()
        .status(1)
        .records();
    assert_eq!(result(&records[0]), &json!([1]));
    message(&records[1], "timeout");
    assert_eq!(result(&records[2]), &json!([3]));
    crew.assert_gone();
}

#[test]
fn a_job_may_have_its_own_timeout() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--grace", "0.2s"])
        .jobs([
            r#"{"cmd":"never_answer","timeout":0.3}"#,
            r#"{"cmd":"never_answer","timeout":"300ms"}"#,
            r#"{"cmd":"never_answer","timeout":"0.3"}"#,
            r#"{"cmd":"echo","args":[4],"timeout":"1m30s"}"#,
        ])
        .status(1)
        .records();
    for record in &records[..3] {
        message(record, "timeout");
    }
    assert_eq!(result(&records[3]), &json!([4]));
}

#[test]
fn the_timeout_of_a_job_comes_before_the_option() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--timeout", "0.4", "--grace", "0.2s"])
        .jobs([r#"{"cmd":"sleep","args":[1000],"timeout":20}"#, r#"{"cmd":"sleep","args":[1000]}"#])
        .status(1)
        .records();
    assert_eq!(result(&records[0]), &json!([1000]));
    message(&records[1], "timeout");
}

#[test]
fn waiting_in_the_queue_does_not_count() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--timeout", "3s"])
        .jobs(vec!["sleep [900]"; 4])
        .records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    assert_eq!(results, vec![&json!([900]); 4]);
    assert_eq!(crew.logged("start").len(), 1);
}

#[test]
fn waiting_for_a_turn_in_the_output_does_not_count() {
    let crew = Crew::new();
    Test::new()
        .workers(2, crew.worker(""))
        .jobs([r#"{"cmd":"sleep","args":[2000]}"#, r#"{"cmd":"echo","args":[2],"timeout":1.5}"#])
        .stdout("{\"id\":1,\"ok\":true,\"result\":[2000]}\n{\"id\":2,\"ok\":true,\"result\":[2]}\n")
        .run();
}

#[test]
fn every_job_may_time_out() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(4, crew.worker(""))
        .args(["--timeout", "0.3s", "--grace", "0.1s"])
        .jobs(vec!["never_answer"; 12])
        .status(1)
        .records();
    assert_eq!(records.len(), 12);
    for record in &records {
        message(record, "timeout");
    }
    crew.assert_gone();
}

#[test]
fn a_worker_that_keeps_silent_is_remarked_on_while_it_is_waited_for() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let output = Test::new()
        .workers(2, crew.worker(""))
        .jobs(["await_log [\"done\",1]", "sleep [10500]"])
        .any_stdout()
        .stderr_has("flush")
        .run();
    assert_eq!(output.stderr.lines().count(), 1, "it is said once: {}", output.stderr);
    assert_eq!(output.records().len(), 2);
}

#[test]
fn so_many_times_the_median_for_commands() {
    Test::new()
        .args(["-j2", "--timeout", "2000%", "--grace", "1s", "--tag", "sh", "-c"])
        .args(["sleep \"$0\"; echo done"])
        .stdin("0.05\n0.05\n0.05\n600\n0.1\n")
        .stdout("0.05\tdone\n0.05\tdone\n0.05\tdone\n0.1\tdone\n")
        .stderr_has("(job 4, line 4")
        .stderr_has(": timed out after ")
        .status(1)
        .run();
}

#[test]
fn so_many_times_the_median_for_workers() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--timeout", "10000%", "--grace", "1s"])
        .jobs(["sleep [50]", "sleep [50]", "sleep [50]", "never_answer", "echo [5]"])
        .any_status()
        .records();
    assert_has(message(&records[3], "timeout"), &["timed out after "]);
    assert_eq!(result(&records[4]), &json!([5]));
}

#[test]
fn a_percentage_of_nothing() {
    for wrong in ["0%", "-1%", "x%"] {
        let timeout = format!("--timeout={wrong}");
        Test::new().args([&timeout, "true"]).stderr_has("percentage").status(2).run();
    }
}

// When a job's time begins.

/// Jobs that take less than the timeout, at workers that need longer than that to start.
#[track_caller]
fn all_in_time(flags: &str, options: &[&str], jobs: &[String]) {
    let crew = Crew::new();
    let output = Test::new()
        .workers(1, crew.worker(&format!("--sleep-at-start 2500 {flags}")))
        .args(options)
        .jobs(jobs)
        .any_stdout()
        .run();
    let records = output.records();
    assert_eq!(records.len(), jobs.len());
    assert!(records.iter().all(|record| record["ok"] == true), "{options:?}: {records:?}");
    assert_eq!(crew.logged("start").len(), 1, "{options:?}");
}

#[test]
fn the_start_of_a_worker_does_not_count() {
    if !crate::common::heavy() {
        return;
    }
    let short: Vec<String> = (0..4).map(|at| format!("sleep [{}]", at * 50)).collect();
    let large = vec![format!("echo [\"{}\"]", "x".repeat(300_000))];
    let own = vec![r#"{"cmd":"sleep","args":[100],"timeout":1.6}"#.to_owned()];
    for options in [&["--timeout=1.6"][..], &["--timeout=1.6", "--pipeline=4"]] {
        all_in_time("", options, &short);
        all_in_time("", options, &large);
    }
    all_in_time("", &["--timeout=1.6", "--pipeline=auto"], &short);
    all_in_time("", &[], &own);
}

#[test]
fn the_start_of_an_interpreter_does_not_count() {
    if !crate::common::heavy() {
        return;
    }
    for (option, setup, code) in [
        ("--python", "import time; time.sleep(2.5)", "x * 2"),
        ("--perl", "sleep 3", "$_ x 2"),
        ("--sh", "sleep 3", "echo \"$1$1\""),
        ("--ruby", "sleep 3", "x * 2"),
        ("--node", "const end = Date.now() + 2500; while (Date.now() < end);", "x + x"),
    ] {
        let program = if option == "--python" { "python3" } else { &option[2..] };
        if !need(program) {
            continue;
        }
        Test::new()
            .args(["-j1", "--timeout=1.6", "--setup", setup, option, code])
            .stdin("a\nb\n")
            .stdout("aa\nbb\n")
            .run();
    }
}

/// After a crash the next worker is started with a timeout that is known.
#[test]
fn the_start_after_a_crash_does_not_count_for_a_percentage() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker("--sleep-at-start 2500"))
        .args(["--timeout=2000%"])
        .jobs(["sleep [50]", "sleep [51]", "sleep [52]", "die", "sleep [53]", "sleep [54]"])
        .any_stderr()
        .status(1)
        .records();
    message(&records[3], "crash");
    for at in [0, 1, 2, 4, 5] {
        result(&records[at]);
    }
}

/// What a worker does after its reply is not the next job's, whose time begins when its request is
/// read.
#[test]
fn what_a_worker_does_between_two_jobs_does_not_count() {
    if !crate::common::heavy() {
        return;
    }
    let worker = "sh -c 'while read -r line; do echo \"{\\\"result\\\":1}\"; sleep 1.8; done'";
    for pipeline in ["--pipeline=1", "--pipeline=8"] {
        Test::new()
            .workers(1, worker)
            .args(["--timeout=1.2", "--format=value", pipeline])
            .stdin("a\nb\nc\n")
            .stdout("1\n1\n1\n")
            .run();
    }
}

#[test]
fn a_job_is_ended_also_where_its_worker_was_slow_to_start() {
    let crew = Crew::new();
    let output = Test::new()
        .workers(1, crew.worker("--sleep-at-start 700"))
        .args(["--timeout=0.4", "--grace=0.2"])
        .jobs(["never_answer", &in_time("sleep", "[20]")])
        .any_stdout()
        .status(1)
        .run();
    let records = output.records();
    assert_has(message(&records[0], "timeout"), &["timed out after 400ms"]);
    assert_eq!(result(&records[1]), &json!([20]));
    assert_eq!(crew.logged("job").len(), 2);
}

/// The time of a job runs while its worker has read a part of the request and reads no more.
#[test]
fn a_request_of_which_a_part_is_read() {
    let long = format!("echo [\"{}\"]\n", "x".repeat(3_000_000));
    for read in ["sleep 0.6; head -c 1000 >/dev/null", "head -c 2000000 >/dev/null"] {
        let worker = format!("sh -c '{read}; exec sleep 1000'");
        let records = Test::new()
            .workers(1, &worker)
            .args(["--timeout=0.4", "--grace=0.2"])
            .stdin(&long)
            .status(1)
            .records();
        message(&records[0], "timeout");
    }
}

/// Many jobs at a worker that works on several at a time: each has the time from when it was read.
#[test]
fn the_start_of_a_worker_without_order_does_not_count() {
    if !need("python3") {
        return;
    }
    let code = "import json, sys, threading, time\n\
        def work(request):\n\
        \x20   time.sleep(0.05 * (8 - request['args'][0]))\n\
        \x20   sys.stdout.write(json.dumps({'id': request['id'], 'result': 1}) + '\\n')\n\
        \x20   sys.stdout.flush()\n\
        time.sleep(2.5)\n\
        for line in sys.stdin:\n\
        \x20   threading.Thread(target=work, args=[json.loads(line)]).start()\n";
    let worker = shell_words::join(["python3", "-c", code]);
    let jobs: String = (0..24).map(|at| format!("x [{}]\n", at % 8)).collect();
    let records = Test::new()
        .workers(1, worker)
        .args(["--timeout=1.8", "--pipeline=24"])
        .stdin(jobs)
        .records();
    assert_eq!(records.len(), 24);
    assert!(records.iter().all(|record| record["ok"] == true), "{records:?}");
}

/// With --live no output of a running job waits for the reader of stdout.
#[test]
fn a_timeout_of_live_commands_whose_output_nobody_reads() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut run = Test::new()
        .cwd(folder.path())
        .args(["-j48", "--live", "--stream", "--tag", "--timeout=1s", "--grace=0.2s"])
        .args(["sh", "-c", "echo $$ >> pids; exec yes a", ":::"])
        .args((1..=48).map(|job| job.to_string()))
        .hold_stdout()
        .any_stdout()
        .any_stderr()
        .status(1)
        .spawn();
    let pids = || {
        let text = std::fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    wait_for("all commands to run", || pids().len() == 48);
    wait_for("all commands to be ended", || {
        pids().iter().all(|pid| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            !matches!(comm.trim(), "yes" | "sh")
        })
    });
    run.release_stdout();
    run.finish();
}
