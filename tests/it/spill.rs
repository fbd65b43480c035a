//! Results that wait for their turn: beyond `--buffer` they go to a file that nobody sees, and come
//! back in order; when that file can't be written, finished results are printed all the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::common::{
    Crew, Output, Running, SmallDisk, Test, batch, json, message, peak_memory, wait_for,
    wait_for_rest, without_times,
};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// A first job that lasts until there is a file. After it come jobs up to number `count`, with
/// results of `bytes` bytes. With `--pipeline auto` none of them waits at the worker that has the first one.
fn jobs(go: &str, count: usize, bytes: usize) -> String {
    let big = (2..=count).map(|key| format!("big [{key},{bytes}]\n"));
    [format!("await_file [1,\"{go}\"]\n")].into_iter().chain(big).collect()
}

/// What such a job prints.
fn record(key: usize, filler: &str) -> String {
    match key {
        1 => "{\"id\":1,\"ok\":true,\"result\":1}\n".to_owned(),
        _ => format!("{{\"id\":{key},\"ok\":true,\"result\":\"{key}{filler}\"}}\n"),
    }
}

fn records(count: usize, bytes: usize) -> String {
    let filler = "x".repeat(bytes);
    (1..=count).map(|key| record(key, &filler)).collect()
}

/// How much the file holds that procpool has in this folder, and that has no name.
fn spilled(pid: Pid, folder: &Path) -> Option<u64> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).ok()?;
    descriptors.flatten().map(|entry| entry.path()).find_map(|path| {
        let target = fs::read_link(&path).ok()?;
        let is_it = target.starts_with(folder) && target.to_str()?.ends_with(" (deleted)");
        is_it.then(|| fs::metadata(path).map_or(0, |data| data.len()))
    })
}

fn await_spilled(run: &Running, folder: &Path, bytes: u64) {
    wait_for(&format!("{bytes} bytes in a file without a name"), || {
        spilled(run.pid(), folder).is_some_and(|len| len >= bytes)
    });
}

#[track_caller]
fn assert_empty(folder: &Path) {
    let entries: Vec<_> = fs::read_dir(folder).expect("a folder").flatten().collect();
    assert!(entries.is_empty(), "{entries:?}");
}

/// Two workers of this command line, whose results go to a file in the folder beyond 1 MiB.
fn spilling(worker: String, folder: &Path) -> Test {
    Test::new()
        .workers(2, worker)
        .args(["--pipeline", "auto", "--buffer", "1M"])
        .env("TMPDIR", folder)
}

fn go(path: &str) {
    fs::write(path, "").expect("a file can be made");
}

#[test]
fn what_waits_behind_a_slow_job_comes_in_order() {
    if !crate::common::heavy() {
        return;
    }
    let (crew, folder) = (Crew::new(), TempDir::new().expect("a folder"));
    let signal = crew.path("go");
    let run = spilling(batch(""), folder.path())
        .stdin(jobs(&signal, 60_000, 1000))
        .stdout(records(60_000, 1000))
        .patience(60)
        .spawn();
    // All but the first are finished, and all but what --buffer holds of them is in the file.
    await_spilled(&run, folder.path(), 60_000 * 1000 - (1 << 20));
    assert_empty(folder.path());
    let peak = peak_memory(run.pid());
    go(&signal);
    run.finish();
    assert_empty(folder.path());
    assert!(peak < 25 << 20, "{} KiB", peak >> 10);
}

#[test]
fn a_slow_reader_loses_nothing() {
    let (crew, folder) = (Crew::new(), TempDir::new().expect("a folder"));
    let signal = crew.path("go");
    let mut run = spilling(crew.batch(""), folder.path())
        .stdin(jobs(&signal, 10_000, 1000))
        .stdout(records(10_000, 1000))
        .hold_stdout()
        .spawn();
    crew.await_logged("end", 9_999);
    await_spilled(&run, folder.path(), 8_000_000);
    go(&signal);
    // All jobs are finished, and stdout is full.
    wait_for("the workers to end", || crew.left().is_empty());
    run.release_stdout();
    run.finish();
    assert_empty(folder.path());
}

#[test]
fn a_buffer_that_is_smaller_than_one_result() {
    if !crate::common::heavy() {
        return;
    }
    for buffer in ["1", "300K"] {
        let (crew, folder) = (Crew::new(), TempDir::new().expect("a folder"));
        let signal = crew.path("go");
        let run = Test::new()
            .workers(2, batch(""))
            .args(["--buffer", buffer])
            .env("TMPDIR", folder.path())
            .stdin(jobs(&signal, 40, 1_000_000))
            .stdout(records(40, 1_000_000))
            .spawn();
        await_spilled(&run, folder.path(), 39_000_000);
        go(&signal);
        run.finish();
    }
}

#[test]
fn a_large_result_does_not_take_the_small_ones_behind_it_along() {
    let (crew, folder) = (Crew::new(), TempDir::new().expect("a folder"));
    let signal = crew.path("go");
    let small: String = (3..=10_000).map(|key| format!("nap [{key},0]\n")).collect();
    let run = Test::new()
        .workers(2, crew.batch(""))
        .args(["--buffer", "4M"])
        .env("TMPDIR", folder.path())
        .stdin(format!("await_file [1,\"{signal}\"]\nbig [2,5000000]\n{small}"))
        .any_stdout()
        .spawn();
    crew.await_logged("end", 9_999);
    let look = || spilled(run.pid(), folder.path()).unwrap_or(0);
    let len = wait_for_rest("the file to be at rest", look);
    go(&signal);
    let output = run.finish();
    let keys: Vec<Value> =
        output.records().into_iter().map(|record| record["id"].clone()).collect();
    assert_eq!(keys, (1..=10_000).map(Value::from).collect::<Vec<_>>());
    // The small ones have room in memory: less than 1 MB.
    assert!((5_000_000..5_100_000).contains(&len), "{len} bytes are in the file");
}

#[test]
fn failures_keep_their_place() {
    let (crew, folder) = (Crew::new(), TempDir::new().expect("a folder"));
    let signal = crew.path("go");
    let filler = "x".repeat(300);
    let (mut jobs, mut expected) = (format!("await_file [1,\"{signal}\"]\n"), "1\n".to_owned());
    for key in 2..=20_000 {
        match key % 7 {
            0 => {
                jobs.push_str(&format!("fail [{key}]\n"));
                expected.push_str(&format!(
                    "procpool: failed: fail({key}): {key} (job {key}, line {key})\n"
                ));
            }
            _ => {
                jobs.push_str(&format!("big [{key},300]\n"));
                expected.push_str(&format!("{key}{filler}\n"));
            }
        }
    }
    // stdout and stderr are one pipe.
    let jobs_failed = expected.matches("procpool: failed: ").count();
    let run = Test::through_shell("exec \"$@\" 2>&1")
        .workers(2, batch(""))
        .args(["--pipeline", "auto", "--buffer", "1M", "--format", "text"])
        .env("TMPDIR", folder.path())
        .stdin(jobs)
        .any_stdout()
        .status(1)
        .spawn();
    await_spilled(&run, folder.path(), 4_000_000);
    go(&signal);
    let output = run.finish();
    let text = without_times(&String::from_utf8(output.stdout).expect("UTF-8"));
    let (lines, closing) =
        text.split_once(&format!("procpool: {jobs_failed} of ")).expect("a last line");
    assert!(lines == expected, "{lines:.3000}");
    assert!(closing.starts_with("20000 jobs failed; again: "), "{closing}");
}

#[test]
fn after_ctrl_c_what_is_in_the_file_is_printed() {
    let (crew, folder) = (Crew::new(), TempDir::new().expect("a folder"));
    let filler = "x".repeat(1000);
    let run = spilling(crew.batch(""), folder.path())
        .args(["--grace", "0.1s"])
        .stdin(jobs(&crew.path("never"), 4000, 1000))
        .any_stdout()
        .killed_by(Signal::INT)
        .spawn();
    crew.await_logged("end", 3999);
    wait_for_rest("the pool to be at rest", || spilled(run.pid(), folder.path()).unwrap_or(0));
    run.signal(Signal::INT);
    let output = run.finish();
    let lines = output.lines();
    assert_eq!(lines.len(), 4000);
    message(&json(lines[0]), "cancelled");
    for (key, line) in (2..).zip(&lines[1..]) {
        assert_eq!(format!("{line}\n"), record(key, &filler));
    }
}

#[test]
fn even_kill_leaves_nothing_behind() {
    let (crew, folder) = (Crew::new(), TempDir::new().expect("a folder"));
    let run = spilling(crew.batch(""), folder.path())
        .stdin(jobs(&crew.path("never"), 4000, 1000))
        .killed_by(Signal::KILL)
        .spawn();
    await_spilled(&run, folder.path(), 1_000_000);
    run.signal(Signal::KILL);
    run.finish();
    assert_empty(folder.path());
}

#[test]
fn sizes_that_are_none() {
    for bad in ["0", "x", "-1", "1.5M", "", "1T", "99999999999999999999G"] {
        Test::new()
            .workers(1, batch(""))
            .arg(format!("--buffer={bad}"))
            .stderr_has("--buffer <SIZE>")
            .status(2)
            .run();
    }
}

#[test]
fn without_need_no_file_is_made() {
    let crew = Crew::new();
    let missing = crew.path("missing");
    for option in ["--stream", "--keep-order"] {
        let output = Test::new()
            .workers(1, batch(""))
            .args([option, "--pipeline", "auto", "--buffer", "300K"])
            .env("TMPDIR", &missing)
            .stdin(jobs(&crew.file("go", ""), 3000, 1000))
            .any_stdout()
            .run();
        assert_eq!(output.lines().len(), 3000);
    }
}

/// Asserts that all results that the workers have given were printed, in order, and returns what
/// was printed for the first job.
#[track_caller]
fn finished(output: &Output, crew: &Crew) -> Value {
    let filler = "x".repeat(1000);
    let (first, rest) = output
        .lines()
        .split_first()
        .map(|(first, rest)| (json(first), rest.to_vec()))
        .expect("results");
    assert_eq!(first["id"], 1);
    let keys: Vec<usize> = rest
        .iter()
        .map(|line| {
            let key = json(line)["id"].as_u64().and_then(|key| usize::try_from(key).ok());
            let key = key.expect("a number");
            assert_eq!(format!("{line}\n"), record(key, &filler));
            key
        })
        .collect();
    assert!(keys.is_sorted(), "{keys:?}");
    let ended: BTreeSet<usize> = crew
        .logged("end")
        .iter()
        .map(|line| line[2].parse().expect("a key in the log"))
        .filter(|&key| key != 1)
        .collect();
    let printed: BTreeSet<usize> = keys.iter().copied().collect();
    assert_eq!(keys.len(), printed.len(), "something was printed twice");
    assert!(printed == ended, "not printed: {:?}", &ended - &printed);
    first
}

/// A run whose results find no room in a file.
#[track_caller]
fn without_room(crew: &Crew, test: Test, folder: &str, grace: &str) -> Test {
    test.workers(2, crew.batch(""))
        .args(["--pipeline", "auto", "--buffer", "1M", "--grace", grace])
        .env("TMPDIR", folder)
        .stdin(jobs(&crew.path("go"), 20_000, 1000))
        .any_stdout()
        .stderr_has(format!("could not be written to a temporary file in '{folder}'"))
        .stderr_has("jobs read and not run")
        .status(125)
}

/// When results find no room in a file, procpool says so, lets the running jobs finish, as long as
/// `--grace` allows, and prints what is finished.
#[track_caller]
fn ends_in_order(test: fn() -> Test, folder: &str) {
    let crew = Crew::new();
    let output = without_room(&crew, test(), folder, "0.2s").run();
    message(&finished(&output, &crew), "cancelled");
    crew.assert_gone();

    let crew = Crew::new();
    let run = without_room(&crew, test(), folder, "60s").spawn();
    run.await_stderr("could not be written to a temporary file");
    go(&crew.path("go"));
    let output = run.finish();
    assert_eq!(finished(&output, &crew)["ok"], true);
    crew.assert_gone();
}

#[test]
fn no_folder_for_the_file() {
    let crew = Crew::new();
    ends_in_order(Test::new, &crew.path("missing"));
    ends_in_order(Test::new, &crew.file("file", ""));
}

#[test]
fn a_full_disk() {
    if let Some(disk) = SmallDisk::new("2m") {
        ends_in_order(Test::new, disk.path().to_str().expect("UTF-8"));
        assert_empty(disk.path());
    }
}

#[test]
fn a_limit_on_the_size_of_files() {
    if !crate::common::heavy() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    ends_in_order(|| Test::through_shell("ulimit -f 6000; exec \"$@\""), path);
    ends_in_order(|| Test::through_shell("trap '' XFSZ; ulimit -f 6000; exec \"$@\""), path);
    assert_empty(folder.path());
}

#[test]
fn a_slow_reader_loses_nothing_when_there_is_no_room() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let missing = crew.path("missing");
    let mut run = without_room(&crew, Test::new(), &missing, "0.2s").hold_stdout().spawn();
    run.await_stderr("could not be written to a temporary file");
    wait_for("the workers to end", || crew.left().is_empty());
    // It waits for its reader, as it does at the end of any other run.
    for _ in 0..4 {
        wait_for_rest("procpool to be at rest", || u64::from(run.has_ended()));
    }
    run.release_stdout();
    let output = run.finish();
    finished(&output, &crew);
}
