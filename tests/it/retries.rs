//! Jobs that fail and are tried again, and the file of those that failed in the end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::{Crew, Test, assert_has, failed, message, quoted, result, wait_for};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

/// Fails until it has run as often as its argument says. Each run is a line in the file `runs`.
const UNTIL: &str = "echo \"$0\" >> runs; test $(grep -c \"^$0\\$\" runs) -ge \"$0\" && echo done";

fn runs(folder: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(folder.path().join("runs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_job_is_tried_until_it_succeeds() {
    let folder = TempDir::new().expect("a folder");
    let output = Test::new()
        .cwd(folder.path())
        .args(["-j1", "--retries", "3", "--retry-delay", "10ms", "--format", "record"])
        .args(["sh", "-c", UNTIL])
        .stdin("3\n1\n2\n")
        .any_stdout()
        .run();
    let attempts: Vec<_> =
        output.records().iter().map(|record| record["attempts"].clone()).collect();
    assert_eq!(attempts, [json!(3), json!(null), json!(2)], "{}", output.stderr);
    assert_eq!(runs(&folder).len(), 6);
}

/// The only slot that has a thread takes the next job: another one is started for the second try.
#[test]
fn a_second_try_waits_for_no_other_job() {
    let crew = Crew::new();
    let [tried, go] = ["tried", "go"].map(|name| crew.path(name));
    let script = format!(
        "case {{}} in
         again) test -e {tried} || {{ >{tried}; exit 1; }};;
         long) until test -e {go}; do sleep 0.01; done;;
         esac; echo {{}}"
    );
    let mut run = Test::new()
        .args(["-j2", "--retries=1", "--retry-delay=0.3s", "--stream", "--shell", &script])
        .stdin_open()
        .stdout("again\nlong\n")
        .spawn();
    run.write("again\n");
    wait_for("the first try", || Path::new(&tried).exists());
    run.write("long\n");
    assert_eq!(run.line(), "again");
    crew.file("go", "");
    run.close_stdin();
    run.finish();
}

/// In a large pool slots are held back while jobs may be quick, but not the one that the second try needs.
#[test]
fn a_second_try_waits_for_no_other_job_in_a_large_pool() {
    let crew = Crew::new();
    let [tried, go] = ["tried", "go"].map(|name| crew.path(name));
    let code = format!(
        "case $1 in
         again) test -e {tried} || {{ >{tried}; exit 1; }};;
         *) until test -e {go}; do sleep 0.01; done;;
         esac; echo $1"
    );
    let mut run = Test::new()
        .args(["-j20", "--retries=1", "--retry-delay=1s", "--stream", "--sh", &code])
        .stdin_open()
        .any_stdout()
        .spawn();
    run.write("1\n2\n3\n4\n5\n6\n7\nagain\n");
    wait_for("the first try", || Path::new(&tried).exists());
    run.write("8\n");
    assert_eq!(run.line(), "again");
    crew.file("go", "");
    run.close_stdin();
    assert_eq!(run.finish().lines().len(), 9);
}

/// Jobs that wait for their second try keep no slot idle: those after them are read and run.
#[test]
fn jobs_that_wait_to_be_tried_again_hold_back_no_others() {
    let crew = Crew::new();
    let jobs = (0..12_000).map(|_| "{\"cmd\":\"fail\",\"retries\":1}");
    let run = Test::new()
        .workers(2, crew.worker(""))
        .args(["--pipeline=64", "--retry-delay=1h"])
        .jobs(jobs)
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::INT)
        .patience(120)
        .spawn();
    crew.await_logged("done", 12_000);
    run.signal(Signal::INT);
    run.finish();
}

#[test]
fn a_job_that_fails_each_time_fails_once() {
    let folder = TempDir::new().expect("a folder");
    Test::new()
        .cwd(folder.path())
        .args(["-j2", "--retries=2", "--retry-delay=1ms", "sh", "-c", UNTIL])
        .stdin("1\n9\n2\n")
        .stdout("done\ndone\n")
        .stderr(failed(
            &format!("sh -c {} 9", quoted(UNTIL)),
            "exit status 1",
            "job 2, line 2, attempt 3",
        ))
        .status(1)
        .run();
    assert_eq!(runs(&folder).iter().filter(|run| *run == "9").count(), 3);
}

#[test]
fn poison_costs_only_its_own_attempts() {
    let crew = Crew::new();
    let mut jobs = vec!["die [\"KILL\"]".to_owned()];
    jobs.extend((1..=200).map(|n| format!("echo [{n}]")));
    let output = Test::new()
        .workers(2, crew.worker(""))
        .args(["--retries", "3", "--retry-delay", "5ms"])
        .jobs(&jobs)
        .any_stdout()
        .status(1)
        .run();
    let records = output.records();
    assert_eq!(records.len(), 201);
    message(&records[0], "crash");
    assert_eq!(records[0]["attempts"], json!(4));
    for (n, record) in records.iter().enumerate().skip(1) {
        assert_eq!(result(record), &json!([n]));
        assert_eq!(record["attempts"], json!(null), "{record}");
    }
    // Each attempt has cost a worker, and nothing else has.
    assert!(crew.logged("start").len() <= 2 + 4, "{:?}", crew.logged("start"));
}

#[test]
fn only_after_the_failures_that_are_named() {
    let folder = TempDir::new().expect("a folder");
    let test = |kinds: &str| {
        let _ = fs::remove_file(folder.path().join("runs"));
        let retry_on = format!("--retry-on={kinds}");
        Test::new()
            .cwd(folder.path())
            .args(["--retries=4", "--retry-delay=1ms", &retry_on, "sh", "-c", UNTIL])
            .stdin("2\n")
            .any_stdout()
            .any_stderr()
            .any_status()
            .run();
        runs(&folder).len()
    };
    assert_eq!(test("timeout,crash"), 1);
    assert_eq!(test("timeout,exit"), 2);
    Test::new().args(["--retry-on", "invalid", "true"]).stderr_has("error, exit").status(2).run();
}

#[test]
fn a_job_overrides_the_option() {
    let records = Test::new()
        .args(["--retries", "1", "--retry-delay", "1ms", "--format", "record"])
        .jobs([
            "{\"cmd\":\"false\"}",
            "{\"cmd\":\"false\",\"retries\":0}",
            "{\"cmd\":\"false\",\"retries\":2}",
        ])
        .any_status()
        .records();
    let attempts: Vec<_> = records.iter().map(|record| record["attempts"].clone()).collect();
    assert_eq!(attempts, [json!(2), json!(null), json!(3)]);
}

#[test]
fn each_try_waits_longer() {
    let folder = TempDir::new().expect("a folder");
    Test::new()
        .cwd(folder.path())
        .args(["-j2", "--retries=2", "--retry-delay=200ms", "sh", "-c"])
        .arg("date +%s%N >> times; exit 1")
        .stdin("1\n")
        .any_stderr()
        .status(1)
        .run();
    let text = fs::read_to_string(folder.path().join("times")).expect("it ran");
    let times: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
    let waits: Vec<Duration> =
        times.windows(2).map(|pair| Duration::from_nanos(pair[1] - pair[0])).collect();
    assert_eq!(waits.len(), 2, "{times:?}");
    assert!(waits[0] >= Duration::from_millis(100), "{waits:?}");
    assert!(waits[1] >= Duration::from_millis(200), "{waits:?}");
}

#[test]
fn a_job_that_waits_for_its_try_is_cancelled_at_the_end() {
    let folder = TempDir::new().expect("a folder");
    let run = Test::new()
        .cwd(folder.path())
        .args(["-j1", "--retries=2", "--retry-delay=1h", "--format=record", "sh", "-c", UNTIL])
        .stdin("3\n1\n")
        .any_stdout()
        .killed_by(Signal::INT)
        .spawn();
    // The one slot has put the first job off when it takes the second.
    wait_for("the second job", || runs(&folder).len() == 2);
    // The second is a minute away at least: there is no hurry.
    run.signal(Signal::INT);
    let output = run.finish();
    let records = output.records();
    assert_eq!(records.len(), 2);
    message(&records[0], "cancelled");
}

#[test]
fn none_of_many_is_lost() {
    let jobs: Vec<String> = (1..=3000).map(|n| format!("{}\n", n % 3)).collect();
    let output = Test::new()
        .args(["-j4", "--retries=2", "--retry-delay=5ms", "--format=record"])
        .args(["--python", "int(x) if x != '0' else 1 / 0"])
        .stdin(jobs.concat())
        .any_stdout()
        .any_status()
        .any_stderr();
    if !crate::common::need("python3") {
        return;
    }
    let records = output.run().records();
    assert_eq!(records.len(), 3000);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record["id"], json!(index + 1));
        assert_eq!(record["ok"], json!((index + 1) % 3 != 0));
        if (index + 1) % 3 == 0 {
            assert_eq!(record["attempts"], json!(3));
        }
    }
}

#[test]
fn failed_lines_can_be_fed_in_again() {
    let folder = TempDir::new().expect("a folder");
    let failed = folder.path().join("failed").display().to_string();
    let test = |args: &[&str], input: &[u8], kept: &[u8]| {
        Test::new()
            .args(["-j1", "--failed", &failed])
            .args(args)
            .stdin(input)
            .any_stdout()
            .any_stderr()
            .any_status()
            .run();
        let found = fs::read(&failed).expect("the file is there");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&found), text(kept), "{args:?}");
    };
    test(&["false"], b"a b\n \xffc\nlast", b"a b\n \xffc\nlast\n");
    test(&["true"], b"a\nb\n", b"");
    test(&["test", "-n"], b"a\n\nb\n", b"\n");
    test(&["-0", "false"], b"a\nb\0c\0", b"a\nb\0c\0");
    test(&["-n2", "false"], b"a\nb\nc\n", b"a\nb\nc\n");
    let csv = b"n,m\n0,\"x\ny\"\n1,z\n0,\n";
    test(&["--input=csv", "--header", "test", "{n}", "=", "1"], csv, b"n,m\n0,\"x\ny\"\n0,\n");
    let jobs = b"true\n{\"cmd\":\"false\",  \"id\":1}\n# no job\nwhat [\nfalse [ ]\n";
    // An invalid line is reported when it is read, which may be before others have failed.
    test(&["--format=record"], &jobs[..34], b"{\"cmd\":\"false\",  \"id\":1}\n");
    test(&["--format=record"], b"what [\n", b"what [\n");
    Test::new()
        .args(["--failed", "/nonexistent/file", "true"])
        .stdin("a\n")
        .stderr_has("the lines of failed jobs can't be written to '/nonexistent/file'")
        .status(125)
        .run();
    let output = Test::new()
        .args(["--failed", &failed, "true", ":::", "a"])
        .any_stdout()
        .stderr_has(":::")
        .status(2)
        .run();
    assert_has(&output.stderr, &["--failed"]);
}
