//! How many processes there are, and when one takes the place of another.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Crew, Test, result, worker};
use serde_json::{Value, json};

/// How many jobs each process did, in the order of the processes.
fn jobs_by_process(crew: &Crew) -> Vec<usize> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in crew.logged("job") {
        *counts.entry(line[1].clone()).or_default() += 1;
    }
    let starts = crew.logged("start");
    starts.iter().map(|line| counts.get(&line[1]).copied().unwrap_or(0)).collect()
}

#[test]
fn jobs_one_at_a_time_use_one_process() {
    let crew = Crew::new();
    let mut run = Test::new().workers(8, crew.worker("")).stdin_open().any_stdout().spawn();
    for at in 1..=3 {
        run.write(&format!("echo [{at}]\n"));
        assert_eq!(result(&run.record()), &json!([at]));
    }
    run.finish();
    assert_eq!(jobs_by_process(&crew), [3]);
}

#[test]
fn no_process_is_started_before_there_is_a_job() {
    let crew = Crew::new();
    let mut run = Test::new().workers(2, crew.worker("")).stdin_open().any_stdout().spawn();
    run.write("# a comment\n");
    thread::park_timeout(Duration::from_millis(100));
    assert!(crew.log().is_empty(), "{:?}", crew.log());
    run.write("echo []\n");
    run.line();
    run.finish();
    assert_eq!(crew.logged("start").len(), 1);
}

#[test]
fn as_many_processes_are_at_work_as_allowed() {
    // Each of the four ends only when four have begun.
    let crew = Crew::new();
    let jobs = vec!["await_log [\"job\",4]"; 4];
    Test::new().workers(4, crew.worker("")).jobs(jobs).any_stdout().run();
    assert_eq!(jobs_by_process(&crew), [1, 1, 1, 1]);
}

#[test]
fn never_more_processes_are_at_work_than_allowed() {
    for max_reqs in ["0", "3"] {
        let crew = Crew::new();
        // The first three wait for each other.
        let mut jobs = vec!["await_log [\"job\",3]"; 3];
        jobs.extend(["nap [0,2000]"; 197]);
        let records = Test::new()
            .workers(3, crew.worker(""))
            .args(["--max-reqs", max_reqs])
            .jobs(jobs)
            .records();
        assert_eq!(records.len(), 200);
        let (mut working, mut most) = (0, 0);
        for line in crew.log() {
            match line[0].as_str() {
                "job" => working += 1,
                "done" => working -= 1,
                _ => {}
            }
            most = most.max(working);
        }
        assert_eq!((working, most), (0, 3));
        if max_reqs == "0" {
            assert_eq!(crew.logged("start").len(), 3);
        }
    }
}

#[test]
fn a_process_is_replaced_after_max_reqs_jobs() {
    let crew = Crew::new();
    let jobs: String = (0..1000).map(|at| format!("first [{at}]\n")).collect();
    let expected: String = (0..1000)
        .map(|at| format!("{{\"id\":{},\"ok\":true,\"result\":{at}}}\n", at + 1))
        .collect();
    Test::new()
        .workers(1, crew.worker(""))
        .args(["--max-reqs", "10"])
        .stdin(jobs)
        .stdout(expected)
        .run();
    // A replacement that was started ahead and found no job left is none of the 100.
    let mut counts = jobs_by_process(&crew);
    assert!(counts.len() <= 101, "{counts:?}");
    counts.retain(|&count| count > 0);
    assert_eq!(counts, [10; 100]);
    crew.assert_gone();
}

#[test]
fn a_process_for_each_job() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(2, crew.worker(""))
        .args(["--max-reqs", "1"])
        .jobs(vec!["pid"; 50])
        .records();
    let pids: BTreeSet<String> = records.iter().map(|record| result(record).to_string()).collect();
    assert_eq!(pids.len(), 50);
    crew.assert_gone();
}

#[test]
fn the_replacement_is_started_before_the_old_one_retires() {
    // The second job of each process ends only when the next process has been started.
    let crew = Crew::new();
    let jobs: Vec<String> = (0..5)
        .flat_map(|at| ["echo []".into(), format!("await_log [\"start\",{}]", at + 2)])
        .chain(["echo []".into()])
        .collect();
    let records =
        Test::new().workers(1, crew.worker("")).args(["--max-reqs", "2"]).jobs(jobs).records();
    assert!(records.iter().all(|record| record["ok"] == true), "{records:?}");
    assert_eq!(jobs_by_process(&crew), [2, 2, 2, 2, 2, 1]);
}

#[test]
fn the_replacement_of_a_process_that_does_one_job_is_started_ahead_too() {
    let crew = Crew::new();
    let jobs = (0..4).map(|at| format!("await_log [\"start\",{}]", at + 2));
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--max-reqs", "1"])
        .jobs(jobs.chain(["echo []".into()]))
        .records();
    assert!(records.iter().all(|record| record["ok"] == true), "{records:?}");
}

#[test]
fn the_replacement_is_started_while_a_long_job_runs() {
    // The jobs take longer than a start, so that it is not time for one when the last job begins.
    let crew = Crew::new();
    let jobs = (0..3).flat_map(|at| {
        ["echo []".into(), "sleep [300]".into(), format!("await_log [\"start\",{}]", at + 2)]
    });
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["--max-reqs", "3"])
        .jobs(jobs.chain(["echo []".into()]))
        .records();
    assert!(records.iter().all(|record| record["ok"] == true), "{records:?}");
}

#[test]
fn a_retiring_process_is_told_by_the_end_of_its_stdin() {
    let crew = Crew::new();
    Test::new()
        .workers(2, crew.worker(""))
        .args(["--max-reqs", "2"])
        .jobs(vec!["echo []"; 10])
        .any_stdout()
        .run();
    assert_eq!(crew.logged("eof").len(), crew.logged("start").len());
}

#[test]
fn a_retiring_process_that_lives_on_holds_nobody_up() {
    let crew = Crew::new();
    let output = Test::new()
        .workers(1, crew.worker("--ignore-eof --ignore-term"))
        .args(["--max-reqs", "1", "--grace", "0.2s"])
        .jobs(vec!["echo []"; 5])
        .any_stdout()
        .any_stderr()
        .run();
    assert_eq!(output.lines().len(), 5);
    let killed = output.stderr.lines().filter(|line| {
        line.contains("was killed: it did not end within 200ms after the end of its stdin")
    });
    assert_eq!(killed.count(), output.stderr.lines().count(), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 5, "{}", output.stderr);
    crew.assert_gone();
}

#[test]
fn at_the_end_a_process_that_lives_on_is_ended() {
    let crew = Crew::new();
    Test::new()
        .workers(3, crew.worker("--ignore-eof"))
        .args(["--grace", "0.1s"])
        .jobs(vec!["await_log [\"job\",3]"; 3])
        .any_stdout()
        .run();
    assert_eq!(crew.logged("eof").len(), 3);
    crew.assert_gone();
}

#[test]
fn a_process_that_ends_by_itself_between_jobs_costs_no_job() {
    let crew = Crew::new();
    let jobs: Vec<String> = (0..60).map(|at| format!("first [{at}]")).collect();
    let records = Test::new().workers(2, crew.worker("--exit-after 4")).jobs(jobs).records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    assert_eq!(results, (0..60).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    crew.assert_gone();
}

#[test]
fn an_idle_process_that_ends_is_replaced_when_a_job_comes() {
    let crew = Crew::new();
    let mut run =
        Test::new().workers(1, crew.worker("--exit-after 1")).stdin_open().any_stdout().spawn();
    for at in 1..=5 {
        run.write(&format!("echo [{at}]\n"));
        assert_eq!(result(&run.record()), &json!([at]));
        crate::common::wait_for("the worker to end", || crew.left().is_empty());
    }
    run.finish();
    assert_eq!(jobs_by_process(&crew), [1; 5]);
}

#[test]
fn each_result_comes_at_once_while_stdin_stays_open() {
    let crew = Crew::new();
    let mut run = Test::new().workers(2, crew.worker("")).stdin_open().any_stdout().spawn();
    let mut times: Vec<Duration> = (0..21)
        .map(|at| {
            // The pool is at rest when the next line comes.
            thread::park_timeout(Duration::from_millis(10));
            let start = Instant::now();
            run.write(&format!("echo [{at}]\n"));
            assert_eq!(result(&run.record()), &json!([at]));
            start.elapsed()
        })
        .collect();
    run.finish();
    times.sort();
    // Others may be at work on this machine, but not all the time.
    assert!(times[5] < Duration::from_millis(50), "{times:?}");
}

#[test]
fn a_job_line_that_comes_in_pieces_is_a_job_when_it_is_whole() {
    let mut run = Test::new().workers(1, worker("")).stdin_open().any_stdout().spawn();
    for piece in ["ec", "ho [", "1]", "\necho", " [2]\n"] {
        run.write(piece);
        thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(result(&run.record()), &json!([1]));
    assert_eq!(result(&run.record()), &json!([2]));
    run.finish();
}

#[test]
fn what_a_worker_finds_in_its_environment() {
    let jobs = ["SLOT", "GENERATION", "PROTOCOL"].map(|name| format!("env [\"PROCPOOL_{name}\"]"));
    let records = Test::new()
        .workers(1, worker(""))
        .jobs(
            jobs.iter().map(String::as_str).chain(["env [\"PYTHONUNBUFFERED\"]", "env [\"MINE\"]"]),
        )
        .env("MINE", "own")
        .records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    assert_eq!(
        results,
        ["1", "1", "jsonl", "1", "own"].map(Value::from).iter().collect::<Vec<_>>()
    );
}

#[test]
fn what_the_environment_says_about_python_stays() {
    let records = Test::new()
        .workers(1, worker(""))
        .jobs(["env [\"PYTHONUNBUFFERED\"]"])
        .env("PYTHONUNBUFFERED", "")
        .records();
    assert_eq!(result(&records[0]), "");
}

#[test]
fn slots_and_generations_are_counted_from_one() {
    let crew = Crew::new();
    Test::new()
        .workers(2, crew.worker(""))
        .args(["--max-reqs", "3"])
        .jobs(vec!["nap [0,1000]"; 30])
        .any_stdout()
        .run();
    let mut generations: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in crew.logged("start") {
        let generation = line[3].parse().expect("a number");
        generations.entry(line[2].clone()).or_default().push(generation);
    }
    for (slot, mut numbers) in generations {
        assert!(["1", "2"].contains(&slot.as_str()), "slot {slot}");
        numbers.sort_unstable();
        let expected: Vec<u64> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected);
    }
}

#[test]
fn the_default_number_of_processes_is_that_of_the_cpus() {
    let crew = Crew::new();
    let cpus = thread::available_parallelism().expect("a number of CPUs").get();
    let jobs = vec![format!("await_log [\"job\",{cpus}]"); cpus];
    Test::new().args(["--worker", &crew.worker("")]).jobs(jobs).any_stdout().run();
    assert_eq!(crew.logged("start").len(), cpus);
}
