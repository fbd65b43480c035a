//! Workers are replaced after N jobs, and when they are old, large or idle. The replacement is
//! started ahead of need, so that no job waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::common::{Crew, Test, result, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn naps(count: usize, micros: usize) -> String {
    (1..=count).map(|key| format!("nap [{key},{micros}]\n")).collect()
}

fn records(count: usize) -> String {
    (1..=count).map(|key| format!("{{\"id\":{key},\"ok\":true,\"result\":{key}}}\n")).collect()
}

/// One worker in the log. Places are lines of the log.
struct Life {
    pid: String,
    slot: String,
    generation: u64,
    start: usize,
    begins: Vec<usize>,
    ends: Vec<usize>,
    /// Where its stdin ended.
    eof: Option<usize>,
}

/// The workers, in the order of their generations. Those that are started at the same time may come
/// to their first lines in any order.
fn lives(crew: &Crew) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let log = fs::read_to_string(crew.path("log")).unwrap_or_default();
    // A line may be on its way.
    let whole = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    for (at, line) in whole.enumerate() {
        let line: Vec<&str> = line.split(' ').collect();
        if line[0] == "start" {
            lives.push(Life {
                pid: line[1].to_owned(),
                slot: line[2].to_owned(),
                generation: line[3].parse().expect("a generation in the log"),
                start: at,
                begins: Vec::new(),
                ends: Vec::new(),
                eof: None,
            });
            continue;
        }
        let life = lives.iter_mut().rev().find(|life| life.pid == line[1]).expect("it was started");
        match line[0] {
            "begin" => life.begins.push(at),
            "end" => life.ends.push(at),
            "eof" => life.eof = Some(at),
            _ => {}
        }
    }
    lives.sort_by_key(|life| life.generation);
    lives
}

/// The workers of each slot, in the order of their generations, without those that had no job.
fn by_slot(lives: &[Life]) -> BTreeMap<&str, Vec<&Life>> {
    let mut slots: BTreeMap<&str, Vec<&Life>> = BTreeMap::new();
    for life in lives.iter().filter(|life| !life.begins.is_empty()) {
        slots.entry(&life.slot).or_default().push(life);
    }
    slots
}

/// How many workers were at work at once, at most.
fn most_at_work(crew: &Crew) -> usize {
    let (mut working, mut most) = (0_usize, 0);
    for line in crew.log() {
        match line[0].as_str() {
            "begin" => working += 1,
            "end" => working -= 1,
            _ => {}
        }
        most = most.max(working);
    }
    most
}

/// Runs 20 jobs a worker.
#[track_caller]
fn recycle(slots: usize, flags: &str, options: &[&str]) -> Crew {
    let crew = Crew::new();
    Test::new()
        .workers(slots, crew.batch(flags))
        .args(["--max-reqs", "20"])
        .args(options)
        .stdin(naps(600, 1000))
        .stdout(records(600))
        .run();
    crew.assert_gone();
    crew
}

#[test]
fn each_worker_does_as_many_jobs_as_it_may() {
    for options in [&[][..], &["--standby", "0"], &["--pipeline", "8"], &["--pipeline", "auto"]] {
        let crew = recycle(2, "--sleep-at-start 20", options);
        let lives = lives(&crew);
        for (slot, lives) in by_slot(&lives) {
            let counts: Vec<usize> = lives.iter().map(|life| life.begins.len()).collect();
            let (last, others) = counts.split_last().expect("jobs were run");
            assert!(
                others.iter().all(|&count| count == 20),
                "{options:?}: slot {slot}: {counts:?}"
            );
            assert!(*last <= 20, "{options:?}: slot {slot}: {counts:?}");
        }
        assert_eq!(lives.iter().map(|life| life.begins.len()).sum::<usize>(), 600);
    }
}

#[test]
fn no_worker_is_started_in_vain() {
    if !crate::common::heavy() {
        return;
    }
    // But for one in each slot, when the jobs come to an end before its time.
    for options in [
        &[][..],
        &["--pipeline", "auto"],
        &["--idle-timeout", "30ms"],
        &["--max-age", "60s"],
        &["--max-rss", "1G"],
    ] {
        let crew = recycle(2, "--sleep-at-start 50", options);
        let lives = lives(&crew);
        let idle = lives.iter().filter(|life| life.begins.is_empty()).count();
        assert!(idle <= 2, "{options:?}: {idle} of {} workers had no job", lives.len());
    }
}

#[test]
fn never_more_workers_are_at_work_than_there_are_slots() {
    for (slots, options) in [(1, &[][..]), (3, &[]), (3, &["--pipeline", "auto"])] {
        let crew = recycle(slots, "--sleep-at-start 20", options);
        // That all are at work is for `recycle::never_more_processes_are_at_work_than_allowed`: on a busy machine one
        // may be ready too late to be seen here.
        let most = most_at_work(&crew);
        assert!(most <= slots, "{most} instead of {slots}");
    }
}

/// One worker at a time, `max_reqs` jobs each; the last of them ends only when the next worker has
/// been started, but for the last of all: no worker is started after that.
#[track_caller]
fn started_ahead(flags: &str, max_reqs: usize, options: &[&str], job: impl Fn(usize) -> String) {
    let crew = Crew::new();
    let count = 4 * max_reqs;
    let jobs = (1..=count).map(|key| match key % max_reqs {
        0 if key < count => format!("await_log [{key},\"start\",{}]", key / max_reqs + 1),
        0 => format!("nap [{key},300000]"),
        _ => job(key),
    });
    Test::new()
        .workers(1, crew.batch(flags))
        .args(["--max-reqs", &max_reqs.to_string()])
        .args(options)
        .jobs(jobs)
        .stdout(records(count))
        .run();
    let lives = lives(&crew);
    let served: Vec<usize> = lives.iter().map(|life| life.begins.len()).collect();
    assert_eq!(served, [max_reqs; 4]);
    for pair in lives.windows(2) {
        assert!(Some(&pair[1].start) < pair[0].ends.last(), "{served:?}");
    }
    crew.assert_gone();
}

/// With the last job that there is, no other worker is started.
#[test]
fn no_replacement_is_started_that_no_job_is_left_for() {
    if !crate::common::heavy() {
        return;
    }
    for (slots, max_reqs, jobs, most) in [(1, 2, 2, 1), (1, 1, 1, 1), (1, 1, 3, 3), (1, 4, 8, 2)] {
        for options in [&[][..], &["--init=nap [0,0]"], &["--pipeline=8"]] {
            let crew = Crew::new();
            Test::new()
                .workers(slots, crew.batch("--sleep-at-start 200"))
                .args(["--max-reqs", &max_reqs.to_string()])
                .args(options)
                .stdin(naps(jobs, 100_000))
                .stdout(records(jobs))
                .run();
            assert_eq!(lives(&crew).len(), most, "{options:?}: {jobs} jobs, {max_reqs} each");
        }
    }
}

/// The input may go on when the last worker is on its last job; its spare is not waited for.
#[test]
fn a_spare_that_is_not_needed_holds_up_no_end() {
    let crew = Crew::new();
    let line =
        format!("if test $PROCPOOL_GENERATION = 2; then sleep 1000; fi; exec {}", crew.batch(""));
    let mut run = Test::new()
        .args(["--max-procs=1", "--worker", &shell_words::join(["sh", "-c", &line])])
        .args(["--max-reqs=1", "--grace=1h"])
        .stdin_open()
        .any_stdout()
        .spawn();
    run.write("nap [1,300000]\n");
    run.line();
    run.finish();
    crew.assert_gone();
}

#[test]
fn the_replacement_is_started_ahead() {
    let quick = |key| format!("nap [{key},1000]");
    started_ahead("--sleep-at-start 50", 5, &[], quick);
    started_ahead("--sleep-at-start 50", 5, &["--standby", "1"], quick);
    started_ahead("", 5, &[], quick);
}

#[test]
fn the_replacement_is_started_ahead_of_pipelined_jobs() {
    let quick = |key| format!("nap [{key},1000]");
    started_ahead("--sleep-at-start 50", 5, &["--pipeline", "8"], quick);
    started_ahead("--sleep-at-start 50", 5, &["--pipeline", "auto"], quick);
}

#[test]
fn the_replacement_is_started_ahead_of_few_jobs() {
    let quick = |key| format!("nap [{key},1000]");
    started_ahead("--sleep-at-start 50", 2, &[], quick);
    started_ahead("--sleep-at-start 50", 1, &[], quick);
}

#[test]
fn the_replacement_is_started_ahead_of_jobs_that_take_longer_than_a_start() {
    // A worker's first job is quick, so that the start is known to be short.
    started_ahead("", 4, &[], |key| match key % 4 {
        1 => format!("nap [{key},0]"),
        _ => format!("nap [{key},300000]"),
    });
}

/// A start of 450 ms takes longer than a job of 300: it has to be begun before the last job is.
#[test]
fn the_replacement_is_started_as_early_as_its_start_is_slow() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.batch("--sleep-at-start 450"))
        .args(["--max-reqs", "6"])
        .stdin(naps(9, 300_000))
        .stdout(records(9))
        .run();
    let lives = lives(&crew);
    assert!(lives[1].start < lives[0].begins[5], "{} came late", lives[1].pid);
}

#[test]
fn without_standby_a_worker_is_stopped_first() {
    let crew = recycle(2, "--sleep-at-start 10", &["--standby", "0"]);
    let lives = lives(&crew);
    for (slot, lives) in by_slot(&lives) {
        assert!(lives.len() > 10);
        for pair in lives.windows(2) {
            assert!(pair[0].eof < Some(pair[1].start), "slot {slot}: {}", pair[1].pid);
        }
    }
}

#[test]
fn no_more_replacements_are_alive_than_allowed() {
    for standby in [1, 2, 4] {
        let crew = Crew::new();
        Test::new()
            .workers(4, crew.batch("--sleep-at-start 20"))
            .args(["--max-reqs", "20", "--standby", &standby.to_string()])
            .stdin(naps(1600, 1000))
            .stdout(records(1600))
            .run();
        // A worker is a spare from its start until the one before it in its slot has ended its last
        // job.
        let lives = lives(&crew);
        let mut changes = Vec::new();
        for lives in by_slot(&lives).into_values() {
            for pair in lives.windows(2) {
                let last = *pair[0].ends.last().expect("it had jobs");
                if pair[1].start < last {
                    changes.extend([(pair[1].start, 1), (last, -1)]);
                }
            }
        }
        changes.sort_unstable();
        let (mut spares, mut most) = (0, 0);
        for (_, change) in changes {
            spares += change;
            most = most.max(spares);
        }
        // That there are any is for `the_replacement_is_started_ahead` and its like: on a busy
        // machine one may be ready too late to be seen here.
        assert!(most <= standby, "{most} instead of {standby}");
        crew.assert_gone();
    }
}

#[test]
fn workers_that_end_slowly_do_not_pile_up() {
    if !crate::common::heavy() {
        return;
    }
    // None of them ends before it is killed, after twice the grace period.
    let crew = Crew::new();
    let jobs: Vec<String> = (1..=80).map(|key| format!("first [{key}]")).collect();
    let mut run = Test::new()
        .workers(2, crew.worker("--ignore-eof --ignore-term"))
        .args(["--max-reqs", "1", "--grace", "0.3s"])
        .jobs(jobs)
        .stdout(records(80))
        .stderr_has("was killed")
        .spawn();
    let mut most = 0;
    for _ in 1..=80 {
        run.line();
        most = most.max(crew.left().len());
    }
    run.finish();
    assert!(most <= 20, "{most} workers were alive at once");
}

/// One worker, 20 jobs each, and a spare that is killed while the first one is on its last job.
#[test]
fn a_spare_that_is_killed_costs_no_job() {
    for options in [&[][..], &["--pipeline", "8"]] {
        let crew = Crew::new();
        let go = crew.path("go");
        let jobs = (1..=40).map(|key| match key {
            20 => format!("await_file [{key},\"{go}\"]"),
            _ => format!("nap [{key},1000]"),
        });
        let run = Test::new()
            .workers(1, crew.batch("--sleep-at-start 50"))
            .args(["--max-reqs", "20"])
            .args(options)
            .jobs(jobs)
            .stdout(records(40))
            .any_stderr()
            .spawn();
        crew.await_logged("ready", 2);
        wait_for("the last job", || lives(&crew)[0].begins.len() == 20);
        let spare: i32 = lives(&crew)[1].pid.parse().expect("a pid");
        let spare = Pid::from_raw(spare).expect("a pid");
        kill_process(spare, Signal::KILL).expect("the spare lives");
        wait_for("its end", || crew.left().len() == 1);
        fs::write(&go, "").expect("a file");
        run.finish();
        let served: Vec<usize> = lives(&crew).iter().map(|life| life.begins.len()).collect();
        assert_eq!(&served[..3], [20, 0, 20], "{options:?}");
        assert!(served[3..].iter().all(|&count| count == 0));
        crew.assert_gone();
    }
}

#[test]
fn spares_that_die_at_their_start_cost_no_job() {
    // Every second start fails, and so the spare of every worker.
    let crew = Crew::new();
    let jobs: Vec<String> = (1..=200).map(|key| format!("first [{key}]")).collect();
    Test::new()
        .workers(1, crew.worker("--live-every 2"))
        .args(["--max-reqs", "20"])
        .jobs(jobs)
        .stdout(records(200))
        .any_stderr()
        .run();
    crew.assert_gone();
}

#[test]
fn when_a_worker_dies_whose_spare_is_ready_the_spare_goes_on() {
    let crew = Crew::new();
    let go = crew.path("go");
    let jobs = (1..=24).map(|key| match key {
        19 => format!("await_file [{key},\"{go}\"]"),
        20 => format!("die [{key}]"),
        _ => format!("nap [{key},1000]"),
    });
    let run = Test::new()
        .workers(1, crew.batch("--sleep-at-start 50"))
        .args(["--max-reqs", "20"])
        .jobs(jobs)
        .any_stdout()
        .status(1)
        .spawn();
    crew.await_logged("ready", 2);
    fs::write(&go, "").expect("a file");
    let records = run.finish().records();
    for (key, record) in (1..).zip(&records) {
        assert_eq!(record["ok"], key != 20, "{record}");
    }
    let served: Vec<usize> = lives(&crew).iter().map(|life| life.begins.len()).collect();
    assert_eq!(served[..2], [20, 4]);
    crew.assert_gone();
}

#[test]
fn after_ctrl_c_no_spare_is_left() {
    for signals in [1, 2] {
        let crew = Crew::new();
        let go = crew.path("go");
        let jobs = (1..=60).map(|key| match key {
            20 => format!("await_file [{key},\"{go}\"]"),
            _ => format!("nap [{key},1000]"),
        });
        let run = Test::new()
            .workers(1, crew.batch("--sleep-at-start 50"))
            .args(["--max-reqs", "20", "--grace", "0.2s"])
            .jobs(jobs)
            .any_stdout()
            .any_stderr()
            .killed_by(Signal::INT)
            .spawn();
        crew.await_logged("ready", 2);
        wait_for("the last job", || lives(&crew)[0].begins.len() == 20);
        for _ in 0..signals {
            run.signal(Signal::INT);
        }
        run.finish();
        crew.assert_gone();
        assert_eq!(crew.logged("start").len(), 2);
    }
}

#[test]
fn the_number_of_jobs_varies_with_jitter() {
    let crew = Crew::new();
    Test::new()
        .workers(2, crew.batch(""))
        .args(["--max-reqs", "10", "--max-reqs-jitter", "10"])
        .stdin(naps(900, 200))
        .stdout(records(900))
        .run();
    let lives = lives(&crew);
    let mut counts: Vec<usize> = Vec::new();
    for lives in by_slot(&lives).into_values() {
        let replaced = &lives[..lives.len() - 1];
        counts.extend(replaced.iter().map(|life| life.begins.len()));
    }
    assert!(counts.len() > 40);
    assert!(counts.iter().all(|count| (10..=20).contains(count)), "{counts:?}");
    assert!(counts.iter().collect::<BTreeSet<_>>().len() > 3, "{counts:?}");
    crew.assert_gone();
}

#[test]
fn jitter_without_a_number_of_jobs_is_refused() {
    Test::new()
        .workers(1, crate::common::worker(""))
        .args(["--max-reqs-jitter", "10"])
        .stderr_has("--max-reqs <N>")
        .status(2)
        .run();
}

#[test]
fn values_that_are_none() {
    for option in
        ["--max-reqs", "--max-reqs-jitter", "--max-age", "--max-rss", "--idle-timeout", "--standby"]
    {
        for bad in ["x", "-1", "", "1.5.2"] {
            Test::new()
                .workers(1, crate::common::worker(""))
                .arg(format!("{option}={bad}"))
                .stderr_has(option)
                .status(2)
                .run();
        }
    }
}

#[test]
fn a_worker_that_leaks_is_replaced() {
    for options in [&[][..], &["--standby", "0"], &["--pipeline", "4"]] {
        let crew = Crew::new();
        Test::new()
            .workers(1, crew.batch("--leak 10"))
            .args(["--max-rss", "100M"])
            .args(options)
            .stdin(naps(36, 6000))
            .stdout(records(36))
            .run();
        let served: Vec<usize> = lives(&crew).iter().map(|life| life.begins.len()).collect();
        // With ten jobs it holds what it may, and something more; what it has been given by then,
        // it does.
        let most = if options.contains(&"4") { 13 } else { 10 };
        assert!(served.iter().all(|&count| count <= most), "{options:?}: {served:?}");
        assert!(served.iter().filter(|&&count| count > 0).count() >= 3, "{options:?}: {served:?}");
        crew.assert_gone();
    }
}

#[test]
fn a_worker_that_does_not_leak_stays() {
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.batch(""))
        .args(["--max-rss", "100M"])
        .stdin(naps(200, 1000))
        .stdout(records(200))
        .run();
    assert_eq!(crew.logged("start").len(), 1);
}

#[test]
fn an_old_worker_is_replaced() {
    // Each is too old after one job.
    for standby in ["0", "1"] {
        let crew = Crew::new();
        Test::new()
            .workers(1, crew.batch(""))
            .args(["--max-age", "0.1s", "--standby", standby])
            .stdin(naps(5, 120_000))
            .stdout(records(5))
            .run();
        let served: Vec<usize> = lives(&crew).iter().map(|life| life.begins.len()).collect();
        let served: Vec<usize> = served.into_iter().filter(|&count| count > 0).collect();
        assert_eq!(served, [1; 5], "--standby {standby}");
        crew.assert_gone();
    }
}

#[test]
fn an_idle_worker_that_is_old_ends() {
    ends_when_idle(&["--max-age", "0.1s"]);
}

#[test]
fn a_worker_that_is_idle_too_long_ends() {
    ends_when_idle(&["--idle-timeout", "0.1s"]);
}

/// A worker ends while there is no job; the next job starts another one.
#[track_caller]
fn ends_when_idle(options: &[&str]) {
    for standby in ["0", "1"] {
        let crew = Crew::new();
        let mut run = Test::new()
            .workers(1, crew.batch(""))
            .args(options)
            .args(["--standby", standby])
            .stdin_open()
            .any_stdout()
            .spawn();
        let mut pids = BTreeSet::new();
        for key in 1..=3 {
            run.write(&format!("pid [{key}]\n"));
            assert!(pids.insert(result(&run.record()).to_string()));
            crew.await_logged("eof", key);
            wait_for("the worker to end", || crew.left().is_empty());
        }
        run.finish();
        assert!(lives(&crew).iter().all(|life| life.begins.len() <= 1));
    }
}

#[test]
fn a_worker_is_not_idle_while_it_works() {
    let crew = Crew::new();
    let jobs = ["pid [1]", "nap [2,300000]", "nap [3,300000]", "pid [4]"];
    let records: Vec<Value> = Test::new()
        .workers(1, crew.batch(""))
        .args(["--idle-timeout", "0.1s"])
        .jobs(jobs)
        .records();
    assert_eq!(result(&records[0]), result(&records[3]));
    assert_eq!(crew.logged("start").len(), 1);
}
