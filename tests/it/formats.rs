//! The formats of results.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{Crew, Test, assert_has, without_times, worker};
use serde_json::{Value, json};

/// Jobs of every kind of result, and two that fail.
const JOBS: [&str; 7] = [
    r#"{"cmd":"first","args":["a \"quoted\" ä\nb"],"id":"j1"}"#,
    "echo [1,{\"b\":null}]",
    "fail [\"no such file\"]",
    "raw [\"{ \\\"z\\\": 1, \\\"a\\\": 2 }\"]",
    "first [null]",
    "first [\"\"]",
    r#"{"cmd":"fail_object","id":"last"}"#,
];

/// What stderr says of those two.
const FAILURES: &str = concat!(
    "procpool: failed: fail(\"no such file\"): no such file (job 3, line 3)\n",
    "procpool: failed: fail_object(): it failed (job last, line 7)\n",
);

fn jobs() -> Test {
    Test::new().workers(2, worker("")).jobs(JOBS)
}

#[test]
fn a_record_for_each_job_is_the_default() {
    let records = concat!(
        r#"{"id":"j1","ok":true,"result":"a \"quoted\" ä\nb"}"#,
        "\n",
        r#"{"id":2,"ok":true,"result":[1,{"b":null}]}"#,
        "\n",
        r#"{"id":3,"ok":false,"error":{"kind":"error","message":"no such file"}}"#,
        "\n",
        r#"{"id":4,"ok":true,"result":{ "z": 1, "a": 2 }}"#,
        "\n",
        r#"{"id":5,"ok":true,"result":null}"#,
        "\n",
        r#"{"id":6,"ok":true,"result":""}"#,
        "\n",
        r#"{"id":"last","ok":false,"error":{"kind":"error","message":"it failed","data":{"code":7}}}"#,
        "\n",
    );
    jobs().stdout(records).status(1).run();
    jobs().args(["--format", "record"]).stdout(records).status(1).run();
}

#[test]
fn values() {
    jobs()
        .args(["--format", "value"])
        .stdout(
            "\"a \\\"quoted\\\" ä\\nb\"\n[1,{\"b\":null}]\n{ \"z\": 1, \"a\": 2 }\nnull\n\"\"\n",
        )
        .stderr(FAILURES)
        .status(1)
        .run();
}

#[test]
fn texts() {
    jobs()
        .args(["--format", "text"])
        .stdout("a \"quoted\" ä\nb\n[1,{\"b\":null}]\n{ \"z\": 1, \"a\": 2 }\nnull\n\n")
        .stderr(FAILURES)
        .status(1)
        .run();
}

#[test]
fn a_string_is_printed_as_it_is() {
    Test::new()
        .workers(1, worker(""))
        .args(["--format", "text"])
        .jobs([
            r#"raw ["\"\\u00e9\\ud83d\\ude00\\t\\/\\\"\\\\ \\u0000|\""]"#,
            r#"first ["ends in a newline\n"]"#,
        ])
        .stdout("é😀\t/\"\\ \0|\nends in a newline\n\n")
        .run();
}

#[test]
fn half_a_surrogate_pair_is_no_text() {
    let output = Test::new()
        .workers(1, worker(""))
        .args(["--format", "text"])
        .jobs([r#"raw ["\"\\ud83d\""]"#, "first [\"next\"]"])
        .any_stdout()
        .any_stderr()
        .any_status()
        .run();
    assert_eq!(output.lines().last(), Some(&"next"));
}

#[test]
fn with_files_a_failure_names_the_file() {
    let crew = Crew::new();
    let first = crew.file("first.jobs", "echo [1]\n");
    let second = crew.file(
        "second.jobs",
        "# a comment\nfail [\"x\"]\n{\"cmd\":\"fail\",\"id\":\"j3\",\"args\":[\"y\"]}\n",
    );
    Test::new()
        .workers(1, worker(""))
        .args(["--format", "text", "-a", &first, "-a", &second])
        .stdout("[1]\n")
        .stderr(format!(
            "procpool: failed: fail(\"x\"): x (job 2, {second} line 2)\n\
             procpool: failed: fail(\"y\"): y (job j3, {second} line 3)\n"
        ))
        .status(1)
        .run();
}

#[test]
fn every_failure_is_one_line() {
    let output = Test::new()
        .workers(1, worker(""))
        .args(["--format", "value"])
        .jobs([
            "fail [\"one\\ntwo\\r\\nthree \\u001b[31m\"]",
            "{\"id\":\"two\\nlines\",\"cmd\":\"fail\",\"args\":[\"x\"]}",
            "garbage [\"\\u001b[2J\"]",
            "{",
        ])
        .any_stderr()
        .status(1)
        .run();
    assert_eq!(output.stderr.lines().count(), 5, "{}", output.stderr);
    assert!(!output.stderr.contains(['\u{1b}', '\r']), "{:?}", output.stderr);
    assert_has(
        &output.stderr,
        &[
            "one",
            "three",
            "procpool: failed: {: invalid job: column 1: it is not JSON: ",
            " (job 4, line 4)\n",
        ],
    );
}

#[test]
fn failures_of_all_kinds_are_told() {
    let output = Test::new()
        .workers(1, worker(""))
        .args(["--format", "value", "--timeout", "2s", "--grace", "0.1s"])
        .jobs(["die", "garbage [\"x\"]", "never_answer", "{}", "first [\"good\"]"])
        .stdout("\"good\"\n")
        .any_stderr()
        .status(1)
        .run();
    let heads = [
        "die(): the worker (pid ",
        "garbage(\"x\"): its output is no reply: ",
        "never_answer(): timed out after 2s, and its worker was ended",
        "{}: invalid job: ",
    ];
    let stderr = without_times(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), heads.len() + 1, "{lines:?}");
    for (nth, head) in heads.iter().enumerate() {
        let number = nth + 1;
        assert!(lines[nth].starts_with(&format!("procpool: failed: {head}")), "{}", lines[nth]);
        assert!(lines[nth].ends_with(&format!(" (job {number}, line {number})")), "{}", lines[nth]);
    }
    assert!(lines[4].starts_with("procpool: 4 of 5 jobs failed; again: "), "{}", lines[4]);
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

#[test]
fn details() {
    let before = now();
    let output = Test::new()
        .workers(1, worker(""))
        .arg("--detail")
        .jobs([
            r#"{"cmd":"pid","args":{"a": [1, 2]},"id":"j1"}"#,
            "sleep [120]",
            "fail [\"no\"]",
            "{",
        ])
        .any_stdout()
        .status(1)
        .run();
    let after = now();
    let lines = output.lines();
    let starts = [
        r#"{"id":"j1","ok":true,"result":"#,
        r#"{"id":2,"ok":true,"result":[120],"seq":2,"cmd":"sleep","args":[120],"slot":1,"pid":"#,
        r#"{"id":3,"ok":false,"error":{"kind":"error","message":"no"},"seq":3,"cmd":"fail","args":["no"],"slot":1,"pid":"#,
        r#"{"id":4,"ok":false,"error":{"kind":"invalid","message":""#,
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(lines[3].ends_with(
        r#"},"seq":4,"cmd":null,"args":null,"slot":null,"pid":null,"attempt":0,"start":null,"seconds":null}"#
    ));
    let records = output.records();
    assert_eq!(records[0]["seq"], 1);
    assert_eq!(records[0]["args"], json!({"a": [1, 2]}));
    assert_eq!(records[0]["pid"], records[0]["result"], "it is the worker's process id");
    let mut earliest = before - 0.1;
    for record in &records[..3] {
        assert_eq!(record["slot"], 1);
        assert_eq!(record["attempt"], 1);
        let (start, seconds) = (record["start"].as_f64(), record["seconds"].as_f64());
        let (start, seconds) = (start.expect("a number"), seconds.expect("a number"));
        assert!(start >= earliest && start <= after + 0.1, "{start} in {before} to {after}");
        assert!(seconds >= 0.0 && seconds < after - before + 0.1, "{seconds}");
        earliest = start;
    }
    assert!(records[1]["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.12));
}

#[test]
fn details_name_slots_and_processes() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(3, crew.worker(""))
        .arg("--detail")
        .jobs(vec!["await_log [\"job\",3]"; 3])
        .records();
    let slots: BTreeSet<u64> =
        records.iter().filter_map(|record| record["slot"].as_u64()).collect();
    assert_eq!(slots, BTreeSet::from([1, 2, 3]));
    let pids: BTreeSet<String> = records.iter().map(|record| record["pid"].to_string()).collect();
    let started: BTreeSet<String> =
        crew.logged("start").into_iter().map(|line| line[1].clone()).collect();
    assert_eq!(pids, started);
}

#[test]
fn details_of_a_job_that_ended_its_worker() {
    let records = Test::new()
        .workers(1, worker(""))
        .args(["--detail", "--timeout", "2s", "--grace", "0.1s"])
        .jobs(["die", "never_answer", "garbage [\"x\"]"])
        .status(1)
        .records();
    for (record, cmd) in records.iter().zip(["die", "never_answer", "garbage"]) {
        assert_eq!(record["cmd"], cmd);
        assert_eq!(record["attempt"], 1);
        assert!(record["pid"].is_u64(), "{record}");
        assert!(record["seconds"].is_f64(), "{record}");
    }
    assert!(records[1]["seconds"].as_f64().is_some_and(|seconds| seconds >= 2.0));
}

#[test]
fn a_stream_in_every_format() {
    for (format, expected) in [
        (
            "record",
            ["{\"id\":2,\"ok\":true,\"result\":\"b\"}", "{\"id\":1,\"ok\":true,\"result\":true}"],
        ),
        ("value", ["\"b\"", "true"]),
        ("text", ["b", "true"]),
    ] {
        let crew = Crew::new();
        let mut run = Test::new()
            .workers(2, crew.worker(""))
            .args(["--stream", "--format", format])
            .jobs([&format!("await_file [{:?}]", crew.path("go")), "first [\"b\"]"])
            .stdout(format!("{}\n{}\n", expected[0], expected[1]))
            .spawn();
        assert_eq!(run.line(), expected[0]);
        crew.file("go", "");
        run.finish();
    }
}

#[test]
fn what_workers_say_on_stderr_goes_to_stderr() {
    let crew = Crew::new();
    let output = Test::new()
        .workers(2, crew.worker(""))
        .jobs(["flood_stderr [160000]", "flood_stderr [160000]"])
        .any_stdout()
        .any_stderr()
        .run();
    assert_eq!(output.stderr.len(), 320_000);
    assert!(output.stderr.lines().all(|line| line.len() == 79), "lines are never mixed");
    let results: Vec<Value> =
        output.records().iter().map(|record| record["result"].clone()).collect();
    assert_eq!(results, [json!([160_000]), json!([160_000])]);
}
