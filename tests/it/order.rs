//! Results: one for each job, in the order of the input or as they come.

use std::fs;

use crate::common::{Crew, Test, assert_has, json, message, offset, result, wait_for_rest, worker};
use serde_json::json;

/// Numbers that look random and are the same in every run.
fn random(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

/// Jobs of 0 to 2 ms.
fn naps(count: usize) -> String {
    let times = random(42).map(|number| number % 2000);
    times.take(count).enumerate().map(|(at, time)| format!("nap [{at},{time}]\n")).collect()
}

fn nap_results(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{{\"id\":{},\"ok\":true,\"result\":{at}}}\n", at + 1)).collect()
}

#[test]
fn results_of_100_000_jobs_come_in_order() {
    if !crate::common::heavy() {
        return;
    }
    Test::new()
        .workers(8, worker(""))
        .stdin(naps(100_000))
        .stdout(nap_results(100_000).concat())
        .patience(180)
        .run();
}

#[test]
fn one_worker_prints_the_same() {
    if !crate::common::heavy() {
        return;
    }
    let at_once: String = (0..100_000).map(|at| format!("nap [{at},0]\n")).collect();
    Test::new()
        .workers(1, worker(""))
        .stdin(at_once)
        .stdout(nap_results(100_000).concat())
        .patience(180)
        .run();
}

#[test]
fn as_a_stream_the_same_lines_come_in_another_order() {
    if !crate::common::heavy() {
        return;
    }
    let output = Test::new()
        .workers(8, worker(""))
        .arg("--stream")
        .stdin(naps(100_000))
        .any_stdout()
        .patience(180)
        .run();
    let mut seen: Vec<String> = output.lines().iter().map(|line| format!("{line}\n")).collect();
    let mut expected = nap_results(100_000);
    assert_ne!(seen, expected);
    seen.sort();
    expected.sort();
    assert!(seen == expected, "the lines are not the same");
}

#[test]
fn keep_order_means_the_default() {
    for option in ["-k", "--keep-order"] {
        Test::new()
            .workers(2, worker(""))
            .arg(option)
            .stdin(naps(100))
            .stdout(nap_results(100).concat())
            .run();
    }
}

#[test]
fn a_result_is_printed_as_soon_as_its_turn_comes() {
    let crew = Crew::new();
    let (one, three) = (crew.path("one"), crew.path("three"));
    let mut run = Test::new()
        .workers(4, crew.worker(""))
        .jobs([
            format!("await_file [{one:?}]"),
            "echo [2]".into(),
            format!("await_file [{three:?}]"),
            "echo [4]".into(),
        ])
        .any_stdout()
        .spawn();
    crew.await_logged("done", 2);
    crew.file("one", "");
    assert_eq!(run.record()["id"], 1);
    assert_eq!(run.record()["id"], 2);
    crew.file("three", "");
    assert_eq!(run.record()["id"], 3);
    assert_eq!(run.record()["id"], 4);
    run.finish();
    crew.assert_gone();
}

#[test]
fn as_a_stream_a_result_is_printed_when_its_job_finishes() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(2, crew.worker(""))
        .arg("--stream")
        .jobs([format!("await_file [{:?}]", crew.path("go")), "echo [2]".into(), "echo [3]".into()])
        .any_stdout()
        .spawn();
    assert_eq!(run.record()["id"], 2);
    assert_eq!(run.record()["id"], 3);
    crew.file("go", "");
    assert_eq!(run.record()["id"], 1);
    run.finish();
}

#[test]
fn a_slow_first_job_does_not_stall_the_others() {
    let crew = Crew::new();
    let temporary = crew.path("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut input = String::from("await_log [\"done\",20000]\n");
    let mut expected = String::from("{\"id\":1,\"ok\":true,\"result\":true}\n");
    for (at, number) in (2..=20_001).zip(random(7)) {
        let text = format!("{number:x}").repeat(usize::try_from(number % 8).unwrap_or(0));
        input += &format!("first [\"{text}\"]\n");
        expected += &format!("{{\"id\":{at},\"ok\":true,\"result\":\"{text}\"}}\n");
    }
    Test::new()
        .workers(2, crew.worker(""))
        .args(["--buffer", "10K"])
        .env("TMPDIR", &temporary)
        .stdin(input)
        .stdout(expected)
        .run();
    let left = fs::read_dir(&temporary).expect("the directory is there");
    assert_eq!(left.count(), 0, "the temporary file is left behind");
}

#[test]
fn the_buffer_may_be_smaller_than_any_result() {
    let count = 1000;
    let jobs = naps(count).replacen("nap [0,", "nap [0,300000,", 1);
    Test::new()
        .workers(4, worker(""))
        .args(["--buffer", "1"])
        .stdin(jobs)
        .stdout(nap_results(count).concat())
        .run();
}

#[test]
fn results_that_find_no_temporary_file_are_a_failure_of_procpool() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let others = format!("first [\"{}\"]\n", "x".repeat(10_000)).repeat(400);
    Test::new()
        .workers(2, crew.worker(""))
        .args(["--buffer", "1"])
        .env("TMPDIR", "/no/such/directory")
        .stdin(format!("await_log [\"done\",400]\n{others}"))
        .any_stdout()
        .stderr_has("temporary")
        .stderr_has("/no/such/directory")
        .status(125)
        .run();
    crew.assert_gone();
}

#[test]
fn invalid_jobs_keep_their_place() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(2, crew.worker(""))
        .jobs(["await_log [\"done\",1]", "{}", "echo [3]", "{", "echo [5]"])
        .status(1)
        .records();
    let ids: Vec<u64> = records.iter().filter_map(|record| record["id"].as_u64()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert_has(message(&records[3], "invalid"), &["line 4"]);
    assert_eq!(result(&records[4]), &json!([5]));
}

#[test]
fn input_is_read_only_as_fast_as_it_is_worked_off() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let line = format!("echo [\"{}\"]\n", "x".repeat(990));
    let input = format!("await_file [{:?}]\n{}", crew.path("go"), line.repeat(50_000));
    let file = crew.open("input", &input);
    let mut run =
        Test::new().workers(1, crew.worker("")).stdin_file(&file).any_stdout().patience(60).spawn();
    crew.await_logged("job", 1);
    let read = wait_for_rest("the reading to stop", || offset(&file));
    assert!(read < input.len() as u64 / 2, "{read} bytes were read ahead");
    crew.file("go", "");
    assert_eq!(json(&run.line())["id"], 1);
    assert_eq!(run.finish().lines().len(), 50_001);
}

#[test]
fn a_reader_that_does_not_read_holds_back_the_input() {
    if !crate::common::heavy() {
        return;
    }
    for order in ["--keep-order", "--stream"] {
        let crew = Crew::new();
        let input = format!("echo [\"{}\"]\n", "x".repeat(990)).repeat(50_000);
        let file = crew.open("input", &input);
        let mut run = Test::new()
            .workers(2, crew.worker(""))
            .args([order, "--buffer", "1M"])
            .stdin_file(&file)
            .any_stdout()
            .hold_stdout()
            .patience(60)
            .spawn();
        crew.await_logged("done", 1);
        let read = wait_for_rest("the reading to stop", || offset(&file));
        assert!(read < input.len() as u64 / 2, "{order}: {read} bytes were read ahead");
        run.release_stdout();
        assert_eq!(run.finish().lines().len(), 50_000);
    }
}
