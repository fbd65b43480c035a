//! A job that takes too long ends with its worker, and with all that the worker has started.

use std::time::Duration;

use crate::common::{Crew, Test, assert_has, message, result};
use serde_json::{Value, json};

/// Runs a job that never ends between good ones, and returns its message.
#[track_caller]
fn too_long(job: &str, options: &[&str]) -> String {
    too_long_in(Test::new(), job, options)
}

/// The same in a run of which more is expected.
#[track_caller]
fn too_long_in(test: Test, job: &str, options: &[&str]) -> String {
    let crew = Crew::new();
    let output = test
        .workers(1, crew.worker(""))
        .args(options)
        .jobs(["pid", job, "pid", "echo [4]"])
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
    too_long_in(test, "die [\"STOP\"]", HALF);
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
        .jobs(["echo [1]", "flood_stderr [1000000000000]", "echo [3]"])
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
        .jobs([r#"{"cmd":"sleep","args":[1500]}"#, r#"{"cmd":"echo","args":[2],"timeout":1}"#])
        .stdout("{\"id\":1,\"ok\":true,\"result\":[1500]}\n{\"id\":2,\"ok\":true,\"result\":[2]}\n")
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
    let output = Test::new()
        .args(["-j2", "--timeout", "2000%", "--grace", "1s", "--tag", "sh", "-c"])
        .args(["sleep \"$0\"; echo done"])
        .stdin("0.05\n0.05\n0.05\n600\n0.1\n")
        .stdout("0.05\tdone\n0.05\tdone\n0.05\tdone\n0.1\tdone\n")
        .stderr_has("job 4 (line 4): timeout: it took longer than ")
        .status(1)
        .run();
    assert!(output.elapsed < Duration::from_secs(60), "{:?}", output.elapsed);
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
    assert_has(message(&records[3], "timeout"), &["it took longer than "]);
    assert_eq!(result(&records[4]), &json!([5]));
}

#[test]
fn a_percentage_of_nothing() {
    for wrong in ["0%", "-1%", "x%"] {
        let timeout = format!("--timeout={wrong}");
        Test::new().args([&timeout, "true"]).stderr_has("percentage").status(2).run();
    }
}
