//! Several requests in flight at each worker: the results are those of one at a time, and when a
//! worker fails, only the job that it was on fails with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::common::{
    Crew, Output, Test, assert_has, batch, json, message, offset, peak_memory, wait_for,
    wait_for_rest,
};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// Numbers that look random and are the same in every run.
fn random(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

const MANY: usize = 100_000;

/// Jobs: most are done at once, and the others take up to 200 µs.
fn random_naps(count: usize) -> String {
    let times = random(42).map(|number| if number % 4 > 0 { 0 } else { (number >> 8) % 200 });
    (1..=count).zip(times).map(|(key, time)| format!("nap [{key},{time}]\n")).collect()
}

fn naps(keys: impl IntoIterator<Item = usize>) -> String {
    keys.into_iter().map(|key| format!("nap [{key},0]\n")).collect()
}

fn record(key: usize) -> String {
    format!("{{\"id\":{key},\"ok\":true,\"result\":{key}}}\n")
}

fn records(keys: impl IntoIterator<Item = usize>) -> String {
    keys.into_iter().map(record).collect()
}

/// Jobs print what they print with one in flight, byte for byte.
#[track_caller]
fn prints_the_same(count: usize, max_procs: usize, pipeline: &str, flags: &str) {
    Test::new()
        .workers(max_procs, batch(flags))
        .args(["--pipeline", pipeline])
        .stdin(random_naps(count))
        .stdout(records(1..=count))
        .patience(120)
        .run();
}

#[test]
fn one_in_flight() {
    if !crate::common::heavy() {
        return;
    }
    prints_the_same(MANY, 8, "1", "");
}

#[test]
fn eight_in_flight() {
    prints_the_same(MANY, 4, "8", "");
}

#[test]
fn a_thousand_in_flight() {
    if !crate::common::heavy() {
        return;
    }
    prints_the_same(MANY, 2, "1000", "");
}

#[test]
fn as_many_in_flight_as_are_good() {
    if !crate::common::heavy() {
        return;
    }
    prints_the_same(MANY, 8, "auto", "");
}

#[test]
fn replies_that_come_in_another_order() {
    prints_the_same(20_000, 3, "1000", "--reverse");
}

#[test]
fn replies_without_ids() {
    prints_the_same(20_000, 3, "64", "--no-ids");
}

/// Jobs that come together travel together; other lines between them must not move them.
#[test]
fn whatever_stands_between_jobs_each_keeps_its_place() {
    let (mut input, mut expected, mut failures) = (String::new(), Vec::new(), 0);
    for ((line, key), kind) in (1..=3000).zip(1..).zip(random(7)) {
        let id = expected.len() + 1;
        let (text, result) = match kind % 50 {
            0 => (String::new(), None),
            1 => ("# a comment".into(), None),
            2 => ("{\"cmd\":".into(), Some(("invalid", id.to_string()))),
            3 => (format!("die [{key}]"), Some(("crash", id.to_string()))),
            4 => (
                format!("{{\"cmd\":\"nap\",\"args\":[{key},0],\"timeout\":60}}"),
                Some(("", id.to_string())),
            ),
            5 => (
                format!("{{\"cmd\":\"nap\",\"args\":[{key},0],\"retries\":1,\"id\":\"r{key}\"}}"),
                Some(("", format!("\"r{key}\""))),
            ),
            6..12 => (
                format!("{{\"id\":\"é{key}\",\"cmd\":\"nap\",\"args\":[{key},0]}}"),
                Some(("", format!("\"é{key}\""))),
            ),
            _ => (format!("nap [{key},0]"), Some(("", id.to_string()))),
        };
        input.push_str(&format!("{text}\n"));
        if let Some((kind, id)) = result {
            failures += usize::from(!kind.is_empty());
            expected.push((kind, id, line, key));
        }
    }
    assert!(failures > 50);
    for flags in ["", "--no-ids", "--one-at-a-time"] {
        let output = Test::new()
            .workers(2, batch(flags))
            .args(["--pipeline", "100", "--start-limit", "0"])
            .stdin(&input)
            .any_stdout()
            .status(1)
            .run();
        assert_eq!(output.lines().len(), expected.len());
        for (line, (kind, id, at, key)) in output.lines().into_iter().zip(&expected) {
            if kind.is_empty() {
                assert_eq!(line, format!("{{\"id\":{id},\"ok\":true,\"result\":{key}}}"));
            } else {
                let failure = json(line);
                assert_eq!(failure["id"].to_string(), *id);
                let text = message(&failure, kind);
                assert!(*kind == "crash" || text.contains(&format!("line {at},")), "{text}");
            }
        }
    }
}

#[test]
fn a_job_that_can_not_be_asked_for_does_not_hold_up_those_beside_it() {
    let jobs = (1..=200).map(|key| match key % 40 {
        // Of JSON-RPC, params are an array or an object.
        7 => format!("nap {key}"),
        _ => format!("echo [{key}]"),
    });
    let worker = "python3 -c 'if 1:
        import json, sys
        for line in sys.stdin:
            request = json.loads(line)
            reply = {\"jsonrpc\": \"2.0\", \"id\": request[\"id\"], \"result\": request[\"params\"][0]}
            print(json.dumps(reply), flush=True)'";
    if !crate::common::need("python3") {
        return;
    }
    let output = Test::new()
        .workers(2, worker)
        .args(["--protocol", "jsonrpc", "--pipeline", "16"])
        .jobs(jobs)
        .any_stdout()
        .status(1)
        .run();
    failed(&output, 200, "invalid", &[7, 47, 87, 127, 167]);
}

#[test]
fn as_a_stream_the_same_lines_come_in_another_order() {
    if !crate::common::heavy() {
        return;
    }
    for pipeline in ["8", "auto"] {
        let output = Test::new()
            .workers(8, batch(""))
            .args(["--stream", "--pipeline", pipeline])
            .stdin(random_naps(MANY))
            .any_stdout()
            .patience(120)
            .run();
        let expected = records(1..=MANY);
        let (mut seen, mut expected): (_, Vec<&str>) = (output.lines(), expected.lines().collect());
        assert!(seen != expected, "--pipeline {pipeline}");
        seen.sort_unstable();
        expected.sort_unstable();
        assert!(seen == expected, "--pipeline {pipeline}: the lines are not the same");
    }
}

#[test]
fn a_window_that_has_no_end() {
    Test::new()
        .workers(2, batch(""))
        .args(["--pipeline", &usize::MAX.to_string()])
        .stdin(naps(1..=20_000))
        .stdout(records(1..=20_000))
        .run();
}

#[test]
fn the_worker_does_work_in_another_order_when_it_may() {
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.batch("--reverse"))
        .args(["--pipeline", "64"])
        .stdin(naps(1..=500))
        .stdout(records(1..=500))
        .run();
    let begun: Vec<usize> = Log::of(&crew).begun.into_iter().map(|begun| begun.key).collect();
    assert!(!begun.is_sorted(), "{begun:?}");
}

#[test]
fn numbers_that_are_none() {
    for bad in ["0", "x", "-1", "1.5", "", "Auto", "auto 8"] {
        Test::new()
            .workers(1, batch(""))
            .arg(format!("--pipeline={bad}"))
            .stderr_has("--pipeline <N|auto>")
            .status(2)
            .run();
    }
}

/// A job that was begun, and where.
struct Begun {
    key: usize,
    pid: String,
    time: u128,
}

/// What the workers have logged.
struct Log {
    /// In the order of their beginnings.
    begun: Vec<Begun>,
    /// The times at which each worker ended a job.
    ended: Vec<Begun>,
}

impl Log {
    fn of(crew: &Crew) -> Self {
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        let log = fs::read_to_string(crew.path("log")).unwrap_or_default();
        // A line may be on its way.
        let whole = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        for line in whole {
            let words: Vec<&str> = line.split(' ').collect();
            let of = match words[0] {
                "begin" => &mut begun,
                "end" => &mut ended,
                _ => continue,
            };
            of.push(Begun {
                pid: words[1].to_owned(),
                key: words[2].parse().expect("a key in the log"),
                time: words[3].parse().expect("a time in the log"),
            });
        }
        Self { begun, ended }
    }

    /// Where each job was begun.
    fn by_key(&self) -> BTreeMap<usize, Vec<&str>> {
        let mut by_key: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for begun in &self.begun {
            by_key.entry(begun.key).or_default().push(&begun.pid);
        }
        by_key
    }

    /// Asserts that these jobs were begun, each by one worker.
    #[track_caller]
    fn assert_each_once(&self, keys: impl IntoIterator<Item = usize>) {
        let by_key = self.by_key();
        let twice: Vec<_> = by_key.iter().filter(|(_, pids)| pids.len() > 1).collect();
        assert!(twice.is_empty(), "run more than once: {twice:?}");
        let keys: BTreeSet<usize> = keys.into_iter().collect();
        let begun: BTreeSet<usize> = by_key.keys().copied().collect();
        assert!(begun == keys, "not run, or not expected: {:?}", &begun ^ &keys);
    }
}

/// Asserts that these jobs failed in this way and all others have their own result; returns the
/// messages.
#[track_caller]
fn failed(output: &Output, count: usize, kind: &str, keys: &[usize]) -> Vec<String> {
    let lines = output.lines();
    assert_eq!(lines.len(), count);
    let mut messages = Vec::new();
    for (key, line) in (1..).zip(lines) {
        if keys.contains(&key) {
            let failure = json(line);
            assert_eq!(failure["id"], key);
            messages.push(message(&failure, kind).to_owned());
        } else {
            assert_eq!(format!("{line}\n"), record(key));
        }
    }
    messages
}

#[test]
fn a_worker_that_dies_takes_only_the_job_that_it_is_on_with_it() {
    for flags in ["", "--no-ids", "--one-at-a-time"] {
        let crew = Crew::new();
        let bad: Vec<usize> = (1..=1000).filter(|key| key % 97 == 50).collect();
        let jobs = (1..=1000).map(|key| match bad.contains(&key) {
            true => format!("die [{key}]"),
            false => format!("nap [{key},0]"),
        });
        let output = Test::new()
            .workers(3, crew.batch(flags))
            .args(["--pipeline", "64"])
            .jobs(jobs)
            .any_stdout()
            .status(1)
            .run();
        for text in failed(&output, 1000, "crash", &bad) {
            assert_has(&text, &["was killed by SIGKILL (signal 9) before it answered"]);
        }
        Log::of(&crew).assert_each_once(1..=1000);
        crew.assert_gone();
    }
}

#[test]
fn when_a_worker_dies_that_has_several_jobs_at_once_all_of_them_fail() {
    let crew = Crew::new();
    let jobs = (1..=300).map(|key| match key {
        100 => format!("die [{key}]"),
        _ => format!("nap [{key},0]"),
    });
    let output = Test::new()
        .workers(1, crew.batch("--reverse"))
        .args(["--pipeline", "64"])
        .jobs(jobs)
        .any_stdout()
        .status(1)
        .run();
    let records = output.records();
    let bad: Vec<usize> =
        (1..).zip(&records).filter(|(_, r)| r["ok"] == false).map(|(key, _)| key).collect();
    failed(&output, 300, "crash", &bad);
    assert!(bad.contains(&100) && bad.len() > 1, "{bad:?}");
    // All that the first worker had not answered, and nothing that another one has worked on.
    let log = Log::of(&crew);
    let ended: BTreeSet<usize> = log.ended.iter().map(|ended| ended.key).collect();
    assert!(bad.iter().all(|key| !ended.contains(key)), "{bad:?}");
    log.assert_each_once(ended.into_iter().chain([100]));
}

#[test]
fn a_job_that_no_worker_has_read_is_not_lost_with_a_worker_that_ends() {
    let crew = Crew::new();
    // Each worker reads four of its requests, answers them and ends.
    Test::new()
        .workers(2, crew.batch("--one-at-a-time --exit-after 4"))
        .args(["--pipeline", "64"])
        .stdin(naps(1..=1000))
        .stdout(records(1..=1000))
        .run();
    Log::of(&crew).assert_each_once(1..=1000);
}

#[test]
fn replies_count_that_a_worker_gave_before_its_end_even_if_they_are_read_later() {
    let crew = Crew::new();
    let go = crew.path("go");
    let mut run = Test::new()
        .workers(1, crew.batch("--one-at-a-time --exit-after 4"))
        .args(["--stream", "--pipeline", "5"])
        .stdin(format!(
            "big [1,1200000]\nbig [2,1200000]\nbig [3,100000]\nawait_file [4,\"{go}\"]\n{}",
            naps(5..=30)
        ))
        .hold_stdout()
        .any_stdout()
        .spawn();
    // Nobody reads stdout, so the pool comes to a halt at the third result…
    wait_for("the fourth job", || Log::of(&crew).begun.len() == 4);
    wait_for_rest("the pool to be at rest", || {
        fs::metadata(crew.path("log")).map_or(0, |log| log.len())
    });
    // …while the worker answers the fourth job and ends.
    fs::write(&go, "").expect("a file");
    wait_for("the worker to end", || crew.left().is_empty());
    run.release_stdout();
    let output = run.finish();
    let failures: Vec<Value> =
        output.records().into_iter().filter(|record| record["ok"] == false).collect();
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(output.lines().len(), 30);
    Log::of(&crew).assert_each_once(1..=30);
}

#[test]
fn replies_count_that_a_worker_gives_after_it_has_closed_its_stdin() {
    let crew = Crew::new();
    // The first two replies ask for more requests; the third comes when those can't be sent.
    let jobs = (1..=40).map(|key| match key {
        3 => "nap [3,200000]".to_owned(),
        _ => format!("nap [{key},0]"),
    });
    Test::new()
        .workers(1, crew.batch("--close-after 4"))
        .args(["--pipeline", "4"])
        .jobs(jobs)
        .stdout(records(1..=40))
        .run();
    Log::of(&crew).assert_each_once(1..=40);
}

#[test]
fn an_empty_line_behind_each_reply_does_no_harm() {
    for pipeline in ["1", "8"] {
        Test::new()
            .workers(2, batch("--empty-lines"))
            .args(["--pipeline", pipeline])
            .stdin(naps(1..=1000))
            .stdout(records(1..=1000))
            .run();
    }
}

#[test]
fn garbage_costs_the_job_that_the_worker_was_on() {
    let crew = Crew::new();
    let jobs = (1..=200).map(|key| match key {
        100 => format!("garbage [{key}]"),
        _ => format!("nap [{key},0]"),
    });
    let output = Test::new()
        .workers(2, crew.batch(""))
        .args(["--pipeline", "64"])
        .jobs(jobs)
        .any_stdout()
        .status(1)
        .run();
    let messages = failed(&output, 200, "protocol", &[100]);
    assert_has(&messages[0], &["'no reply at all'", "stderr"]);
    // A job is run again only if it was in the pipe of the worker that had to be ended.
    let log = Log::of(&crew);
    let by_key = log.by_key();
    let ended = by_key[&100][0];
    assert_eq!(by_key.len(), 200);
    for (key, pids) in &by_key {
        assert!(pids.len() == 1 || (pids.len() == 2 && pids[0] == ended), "job {key}: {pids:?}");
    }
    crew.assert_gone();
}

#[test]
fn a_timeout_costs_the_job_that_the_worker_was_on() {
    let crew = Crew::new();
    let jobs = (1..=200).map(|key| match key {
        50 | 150 => format!("never [{key}]"),
        _ => format!("nap [{key},0]"),
    });
    let output = Test::new()
        .workers(1, crew.batch(""))
        .args(["--pipeline", "64", "--timeout", "1s"])
        .jobs(jobs)
        .any_stdout()
        .status(1)
        .run();
    failed(&output, 200, "timeout", &[50, 150]);
    Log::of(&crew).assert_each_once(1..=200);
    crew.assert_gone();
}

#[test]
fn the_clock_of_a_job_runs_from_its_turn() {
    // All of them are at the worker from the start; together they take 3.6 s.
    let crew = Crew::new();
    let jobs = (1..=60).map(|key| format!("nap [{key},60000]"));
    Test::new()
        .workers(1, crew.batch(""))
        .args(["--pipeline", "64", "--timeout", "2.5s"])
        .jobs(jobs)
        .stdout(records(1..=60))
        .run();
    assert_eq!(crew.logged("start").len(), 1);
}

#[test]
fn each_job_of_a_worker_that_has_several_at_once_has_its_own_time() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(1, crew.batch("--reverse"))
        .args(["--pipeline", "64"])
        .stdin_open()
        .any_stdout()
        .status(1)
        .spawn();
    run.write(&naps(1..=20));
    (1..=20).for_each(|key| assert_eq!(run.line(), record(key).trim_end()));
    // The worker is on the second one, while the first one waits.
    run.write("nap [21,0]\n{\"cmd\":\"never\",\"args\":[22],\"timeout\":\"0.5s\"}\n");
    assert_eq!(run.line(), record(21).trim_end());
    message(&run.record(), "timeout");
    run.finish();
    crew.assert_gone();
}

#[test]
fn a_worker_that_answers_nothing_before_its_stdin_ends_times_out() {
    let crew = Crew::new();
    let output = Test::new()
        .workers(1, crew.batch("--at-end"))
        .args(["--pipeline", "64", "--timeout", "0.3s"])
        .stdin(naps(1..=4))
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    failed(&output, 4, "timeout", &[1, 2, 3, 4]);
    crew.assert_gone();
}

#[test]
fn large_requests_and_replies_fill_no_memory_and_block_nobody() {
    if !crate::common::heavy() {
        return;
    }
    let filler = "y".repeat(1 << 20);
    let jobs: String = (1..=64).map(|key| format!("big [{key},1048576,\"{filler}\"]\n")).collect();
    let (first, all) = (record(65), large_records(64));
    let mut expected: Vec<&str> = all.lines().chain([first.trim_end()]).collect();
    expected.sort_unstable();
    for flags in ["", "--reverse"] {
        let crew = Crew::new();
        let go = crew.path("go");
        let run = Test::new()
            .workers(2, crew.batch(flags))
            .args(["--stream", "--pipeline", "64"])
            .stdin(format!("{jobs}await_file [65,\"{go}\"]\n"))
            .any_stdout()
            .spawn();
        crew.await_logged("end", 64);
        let peak = peak_memory(run.pid());
        fs::write(&go, "").expect("a file");
        let output = run.finish();
        let mut seen = output.lines();
        seen.sort_unstable();
        assert!(seen == expected, "the lines are not the same");
        assert!(peak < 48 << 20, "{} MiB", peak >> 20);
    }
}

/// What jobs print whose results have 1 MiB.
fn large_records(count: usize) -> String {
    let filler = "x".repeat(1 << 20);
    (1..=count)
        .map(|key| format!("{{\"id\":{key},\"ok\":true,\"result\":\"{key}{filler}\"}}\n"))
        .collect()
}

#[test]
fn small_requests_with_large_replies() {
    if !crate::common::heavy() {
        return;
    }
    let jobs = (1..=128).map(|key| format!("big [{key},1048576]"));
    Test::new()
        .workers(2, batch("--reverse"))
        .args(["--pipeline", "64"])
        .jobs(jobs)
        .stdout(large_records(128))
        .patience(120)
        .run();
}

#[test]
fn after_ctrl_c_each_job_that_was_read_has_one_result_or_is_counted() {
    // At once, with some time for the jobs that are running, and with enough for all of them.
    for (again, grace) in [(true, "60s"), (false, "0.1s"), (false, "60s")] {
        let crew = Crew::new();
        let jobs: String = (1..=3000).map(|key| format!("nap [{key},1000]\n")).collect();
        let input = crew.open("jobs", &jobs);
        let mut run = Test::new()
            .workers(2, crew.batch(""))
            .args(["--stream", "--pipeline", "1000", "--grace", grace])
            .stdin_file(&input)
            .any_stdout()
            .stderr_has("jobs read and not run")
            .killed_by(Signal::INT)
            .spawn();
        run.line();
        wait_for("all input to be read", || offset(&input) == jobs.len() as u64);
        run.signal(Signal::INT);
        if again {
            // More than once more: signals that come too fast are one.
            wait_for("its end", || kill_process(run.pid(), Signal::INT).is_err());
        }
        let output = run.finish();
        let records = output.records();
        let mut seen = BTreeSet::new();
        for record in &records {
            assert!(seen.insert(record["id"].to_string()), "twice: {record}");
            if record["ok"] == false {
                message(record, "cancelled");
            } else {
                assert_eq!(record["id"], record["result"]);
            }
        }
        let left: usize = output
            .stderr
            .split_once("the run was ended: ")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
            .expect("a number on stderr");
        assert_eq!(records.len() + left, 3000, "{}", output.stderr);
        let cancelled = records.iter().filter(|record| record["ok"] == false).count();
        assert_eq!(cancelled == 0, !again && grace == "60s", "{cancelled} cancelled");
        // Nothing was run twice, and nothing that is said to have been left.
        let log = Log::of(&crew);
        let by_key = log.by_key();
        assert_eq!(by_key.len(), log.begun.len(), "a job was run twice");
        assert!(by_key.keys().all(|key| seen.contains(&key.to_string())));
        crew.assert_gone();
    }
}

/// With `auto`, a worker that has been quick is on a slow job when more jobs come: it gets none of
/// them.
#[track_caller]
fn gets_nothing_while_it_is_slow(slow: &str) {
    let crew = Crew::new();
    let go = crew.path("go");
    let mut run = Test::new()
        .workers(2, crew.batch(""))
        .args(["--stream", "--pipeline", "auto"])
        .stdin_open()
        .any_stdout()
        .drop_stderr()
        .spawn();
    run.write(&naps(1..=4000));
    (1..=4000).for_each(|_| drop(run.line()));
    run.write(&format!("{slow} [4001,\"{go}\"]\n"));
    wait_for("the slow job", || Log::of(&crew).begun.len() == 4001);
    run.write(&naps(4002..=4800));
    let ids: BTreeSet<String> = (4002..=4800).map(|_| run.record()["id"].to_string()).collect();
    assert_eq!(ids.len(), 799);
    assert!(!ids.contains("4001"));
    fs::write(&go, "").expect("a file");
    assert_eq!(run.line(), record(4001).trim());
    run.finish();
}

#[test]
fn a_worker_on_a_slow_job_gets_no_other() {
    gets_nothing_while_it_is_slow("await_file");
}

#[test]
fn a_worker_that_talks_during_a_slow_job_gets_no_other() {
    gets_nothing_while_it_is_slow("chat");
}

#[test]
fn no_job_waits_behind_a_slow_one_among_slow_ones() {
    // The slow one ends when all the others have ended.
    let crew = Crew::new();
    let jobs = (1..=60).map(|key| match key {
        21 => format!("await_log [{key},\"end\",59]"),
        _ => format!("nap [{key},2000]"),
    });
    Test::new()
        .workers(2, crew.batch(""))
        .args(["--pipeline", "auto"])
        .jobs(jobs)
        .stdout(records(1..=60))
        .run();
}

/// Quick jobs open the window. Then come slow ones, with `quick_between` quick ones after each. All of
/// them are there from the start, so no worker may be idle while one waits.
#[track_caller]
fn nobody_is_idle(quick_between: usize) {
    const SLOW: u128 = 600_000_000;
    let crew = Crew::new();
    let count = 2000 + 8 * (1 + quick_between);
    let is_slow = |key: usize| key > 2000 && (key - 2001).is_multiple_of(1 + quick_between);
    let jobs = (1..=count).map(|key| match is_slow(key) {
        true => format!("nap [{key},{}]", SLOW / 1000),
        false => format!("nap [{key},0]"),
    });
    Test::new()
        .workers(2, crew.batch(""))
        .args(["--pipeline", "auto"])
        .jobs(jobs)
        .stdout(records(1..=count))
        .run();
    let log = Log::of(&crew);
    let slow: Vec<(usize, &str)> = log
        .begun
        .iter()
        .filter(|job| is_slow(job.key))
        .map(|job| (job.key, job.pid.as_str()))
        .collect();
    let last = log.begun.iter().map(|job| job.time).max().expect("jobs were run");
    let pids: BTreeSet<&str> = log.begun.iter().map(|job| job.pid.as_str()).collect();
    for pid in pids {
        let times = |of: &[Begun]| -> Vec<u128> {
            of.iter().filter(|job| job.pid == pid).map(|job| job.time).collect()
        };
        let (begun, ended) = (times(&log.begun), times(&log.ended));
        let pauses = ended.iter().zip(begun[1..].iter().chain([&last]));
        let longest = pauses.map(|(end, begin)| begin.saturating_sub(*end)).max();
        // Half of the time of a slow job is no pause for breath.
        assert!(
            longest < Some(SLOW / 2),
            "worker {pid} was idle for {} ms, though there were jobs: {slow:?}",
            longest.unwrap_or(0) / 1_000_000
        );
    }
}

#[test]
fn no_slow_job_waits_while_another_worker_is_idle() {
    nobody_is_idle(0);
}

#[test]
fn no_slow_job_among_quick_ones_waits_while_another_worker_is_idle() {
    nobody_is_idle(4);
}
