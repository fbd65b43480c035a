//! Several workers in one run: named ones (`-w NAME=CMDLINE`), and keys that stick to theirs
//! (`--route`).

use std::collections::{HashMap, HashSet};

use crate::common::{Crew, Test, assert_has, message, result};
use rustix::process::Signal;
use serde_json::json;

/// Answers each request with its name, the slot and the process.
fn named(name: &str) -> String {
    let script =
        "while read -r l; do echo \"{\\\"result\\\":[\\\"$0\\\",$PROCPOOL_SLOT,$$]}\"; done";
    format!("{name}=sh -c '{script}' {name}")
}

fn two() -> Test {
    Test::new().args(["-j2", "-w", &named("upper"), "--worker", &named("lower-case")])
}

#[test]
fn a_job_picks_its_worker_by_its_command_or_by_its_name() {
    let output = two()
        .stdin(concat!(
            "upper [1]\n",
            "lower-case [2]\n",
            "{\"cmd\":\"anything\",\"worker\":\"upper\"}\n",
            "{\"cmd\":\"upper\",\"worker\":\"lower-case\"}\n",
            "middle [3]\n",
            "{\"cmd\":\"upper\",\"worker\":\"middle\",\"id\":\"m\"}\n",
        ))
        .any_stdout()
        .status(1)
        .run();
    let records = output.records();
    let names: Vec<_> = records[..4].iter().map(|record| &result(record)[0]).collect();
    assert_eq!(names, ["upper", "lower-case", "upper", "lower-case"]);
    let text = "line 5: no worker is named 'middle'; there are upper, lower-case";
    assert_eq!(message(&records[4], "invalid"), text);
    assert_eq!(records[5]["id"], json!("m"));
}

#[test]
fn slots_of_all_workers_are_counted_together() {
    let jobs: String = (0..200).map(|n| ["upper\n", "lower-case\n"][n % 2]).collect();
    let output = two().stdin(jobs).any_stdout().run();
    let mut slots: HashMap<u64, HashSet<String>> = HashMap::new();
    for (index, record) in output.records().iter().enumerate() {
        let [name, slot] = [&result(record)[0], &result(record)[1]];
        assert_eq!(name, ["upper", "lower-case"][index % 2]);
        slots.entry(slot.as_u64().expect("a number")).or_default().insert(name.to_string());
    }
    assert!(slots.keys().all(|slot| (1..=4).contains(slot)), "{slots:?}");
    assert!(slots.values().all(|names| names.len() == 1), "{slots:?}");
}

#[test]
fn a_command_for_all_lines_is_one_of_the_workers() {
    two().args(["--format=value", "upper"]).stdin("a\nb\n").any_stdout().run();
    two().arg("middle").stderr_has("; the workers are upper, lower-case").status(2).run();
}

#[test]
fn equal_keys_go_to_the_same_worker() {
    let jobs: String =
        (0..400).map(|n| format!("x {{\"user\":\"u{}\",\"n\":{n}}}\n", n % 10)).collect();
    for key in ["user", "{user}", "key-{user}"] {
        let output = Test::new()
            .args(["-j4", "--route", key, "-w", named("x").trim_start_matches("x=")])
            .stdin(&jobs)
            .any_stdout()
            .run();
        let mut places: HashMap<usize, HashSet<String>> = HashMap::new();
        for (index, record) in output.records().iter().enumerate() {
            places.entry(index % 10).or_default().insert(result(record).to_string());
        }
        assert!(places.values().all(|places| places.len() == 1), "{places:?}");
        let all: HashSet<_> = places.values().flatten().collect();
        assert!((2..=4).contains(&all.len()), "{all:?}");
    }
}

#[test]
fn the_keys_of_a_worker_that_dies_go_to_its_successor() {
    let crew = Crew::new();
    let mut jobs: Vec<String> = Vec::new();
    for n in 0..60 {
        jobs.push(match n {
            20 => "die [\"KILL\"]".to_owned(),
            _ => format!("echo [\"k{}\",{n}]", n % 3),
        });
    }
    let output = Test::new()
        .workers(3, crew.worker(""))
        .args(["--route=1", "--detail"])
        .jobs(&jobs)
        .any_stdout()
        .status(1)
        .run();
    let mut slots: HashMap<usize, HashSet<u64>> = HashMap::new();
    for (n, record) in output.records().iter().enumerate() {
        match n {
            20 => assert_has(message(record, "crash"), &["SIGKILL"]),
            _ => {
                assert_eq!(result(record)[1], json!(n));
                let slot = record["slot"].as_u64().expect("a number");
                slots.entry(n % 3).or_default().insert(slot);
            }
        }
    }
    assert!(slots.values().all(|slots| slots.len() == 1), "{slots:?}");
}

#[test]
fn jobs_without_the_key_are_dealt_out() {
    let output = Test::new()
        .args(["-j3", "--route=user", "-w", named("x").trim_start_matches("x=")])
        .stdin("x [1]\n".repeat(30))
        .any_stdout()
        .run();
    let slots: HashSet<_> =
        output.records().iter().map(|record| result(record)[1].to_string()).collect();
    assert_eq!(slots.len(), 3);
}

#[test]
fn an_interrupt_ends_all_of_them() {
    let crew = Crew::new();
    let worker = crew.worker("");
    let run = Test::new()
        .args(["-w", &format!("a={worker}"), "-w", &format!("b={worker}"), "--grace=100ms"])
        .stdin(
            "{\"cmd\":\"sleep\",\"args\":[100000],\"worker\":\"a\"}\n\
                {\"cmd\":\"sleep\",\"args\":[100000],\"worker\":\"b\"}\n",
        )
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::INT)
        .spawn();
    crew.await_logged("job", 2);
    run.signal(Signal::INT);
    let records = run.finish().records();
    assert_eq!(records.len(), 2);
    for record in &records {
        message(record, "cancelled");
    }
}

#[test]
fn what_does_not_go_together() {
    for (args, part) in [
        (&["-w", "cat", "-w", "tac"][..], "several workers need names"),
        (&["-w", "a=cat", "-w", "a=tac"], "two workers are named 'a'"),
        (
            &["-w", "a=cat", "--route=1"],
            "--route needs a single kind of worker: leave out -w NAME=CMDLINE",
        ),
        (&["--route=1", "cat"], "--route is for workers"),
        (&["-w", "cat", "--route", "{a"], "--route names no arg"),
    ] {
        Test::new().args(args).stdin("x\n").stderr_has(part).status(2).run();
    }
}

/// With `--standby 0` a number is a worker's alone for as long as it lives: each holds a folder of it.
#[test]
fn the_numbers_of_slots_are_unique_without_standby() {
    let crew = Crew::new();
    let folder = crew.path("");
    let code = format!(
        "mkdir {folder}/slot-$PROCPOOL_SLOT || exit 9; while read -r line; do \
         echo \"{{\\\"result\\\":$PROCPOOL_SLOT}}\"; done; sleep 0.05; rmdir {folder}/slot-$PROCPOOL_SLOT"
    );
    let worker = shell_words::join(["sh", "-c", &code]);
    let output = Test::new()
        .args(["-j2", "--max-reqs=3", "--standby=0", "--start-limit=1", "--format=value"])
        .args(["-w", &format!("a={worker}"), "-w", &format!("b={worker}")])
        .stdin("a\nb\n".repeat(40))
        .any_stdout()
        .run();
    let slots: HashSet<&str> = output.lines().into_iter().collect();
    assert!(slots.iter().all(|slot| ["1", "2", "3", "4"].contains(slot)), "{slots:?}");
    assert_eq!(output.lines().len(), 80);
}
