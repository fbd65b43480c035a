//! A machine at its limits makes a run slower, or ends it with a clear error: it never makes it hang,
//! panic or lose a result.

use std::fs;

use crate::common::{
    Crew, Output, Test, assert_has, json, leftovers, lines_of, message, need, result, wait_for,
};

/// Asserts that these are the results of jobs `first [1]` to `first [count]`, each once, in order.
#[track_caller]
fn assert_all(stdout: &[u8], count: usize) {
    let expected: String = (1..=count).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8_lossy(stdout), expected);
}

fn numbers(count: usize) -> String {
    (1..=count).map(|n| format!("first [{n}]\n")).collect()
}

#[test]
fn few_descriptors_make_a_run_slower_or_end_it() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let mut was_slower = false;
    // From where nothing can work to where all does.
    for limit in [4, 6, 8, 12, 16, 30, 64] {
        let shell = format!("ulimit -n {limit}; exec \"$@\"");
        let worker = crew.worker("");
        for options in [&["-w", &worker][..], &["printf", "%s\\n"]] {
            let is_worker = options[0] == "-w";
            let input = match is_worker {
                true => numbers(40),
                false => (1..=40).map(|n| format!("{n}\n")).collect(),
            };
            let output = Test::through_shell(&shell)
                .args(["-j8", "--format", "text"])
                .args(options)
                .stdin(input)
                .any_stdout()
                .any_stderr()
                .any_status()
                .run();
            let what = format!("{limit} {options:?}: {}", output.stderr);
            assert!(!output.stderr.contains("panicked"), "{what}");
            let lines = output.lines();
            // What was printed is right as far as it goes; if anything is missing, it was said why.
            let printed: Vec<usize> =
                lines.iter().map(|line| line.parse().expect("a number")).collect();
            assert!(printed.is_sorted_by(|a, b| a < b), "{what} {printed:?}");
            match printed.len() {
                40 => was_slower |= output.stderr.contains("goes on with fewer"),
                _ => {
                    assert_ne!(output.stderr, "", "{limit} {options:?}");
                    let is_told = ["Too many open files", "os error 24"].iter();
                    assert!(is_told.clone().any(|text| output.stderr.contains(text)), "{what}");
                }
            }
            assert!(limit < 64 || printed.len() == 40, "{what}");
        }
    }
    assert!(was_slower);
    crew.assert_gone();
}

/// Runs procpool as a user of its own who may have `limit` processes and threads; `None`: that can't be
/// done here.
fn with_processes(limit: usize, crew: &Crew) -> Option<Test> {
    if !need("setpriv") || !need("prlimit") {
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become a user who has no other processes");
        return None;
    }
    let copy = crew.open_copy();
    // Other tests' processes must not be counted with ours.
    let user = 100_000 + std::process::id();
    let run = format!("setpriv --reuid {user} --clear-groups prlimit --nproc={limit} {copy}");
    Some(Test::through_shell(&format!("shift; exec {run} \"$@\"")))
}

/// Asserts that each job has its result, or is reported as failed or as not run. If the run has not begun,
/// that holds for none of them.
#[track_caller]
fn assert_none_lost(output: &Output, count: usize) {
    let lines = output.lines();
    let numbers: Vec<usize> = lines.iter().map(|line| line.parse().expect("a number")).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let failed =
        output.stderr.lines().filter(|line| line.starts_with("procpool: failed: ")).count();
    let left = output.stderr.lines().find_map(|line| {
        let text = line.strip_prefix("procpool: the run was ended: ")?;
        text.split(' ').next()?.parse::<usize>().ok()
    });
    let told = failed + left.unwrap_or(0);
    let has_begun = told + lines.len() > 0;
    assert!(!has_begun || lines.len() + told == count, "{numbers:?}: {}", output.stderr);
}

#[test]
fn few_processes_make_a_run_slower_or_end_it() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let mut was_slower = false;
    let journal = ["--resume", "--journal", "/dev/null", "--protocol", "raw", "-w", "cat"];
    let ways = [&["--protocol", "raw", "-w", "cat"][..], &["printf", "%s\\n"], &journal];
    for limit in [1, 2, 3, 4, 6, 8, 12, 24] {
        for options in ways {
            let Some(test) = with_processes(limit, &crew) else { return };
            let output = test
                .args(["-j8", "--format", "text"])
                .args(options)
                .stdin((1..=40).map(|n| format!("{n}\n")).collect::<String>())
                .any_stdout()
                .any_stderr()
                .any_status()
                .run();
            let what = format!("{limit} {options:?}: {}", output.stderr);
            assert!(!output.stderr.contains("panicked"), "{what}");
            match output.lines().len() {
                40 => {
                    assert_all(&output.stdout, 40);
                    was_slower |= output.stderr.contains("goes on with fewer");
                }
                _ => {
                    assert_has(&output.stderr, &["emporarily unavailable"]);
                    assert_none_lost(&output, 40);
                }
            }
            assert!(limit < 24 || output.lines().len() == 40, "{what}");
        }
    }
    assert!(was_slower);
}

#[test]
fn a_worker_without_memory_costs_its_own_job() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let long = "x".repeat(60_000_000);
    let worker =
        shell_words::join(["sh", "-c", &format!("ulimit -v 100000; exec {}", crew.worker(""))]);
    let records = Test::new()
        .workers(1, worker)
        .jobs(["echo [1]".to_owned(), format!("first [\"{long}\"]"), "echo [3]".to_owned()])
        .any_stderr()
        .status(1)
        .records();
    assert_eq!(records.len(), 3);
    assert_eq!(result(&records[0]), &json("[1]"));
    message(&records[1], "crash");
    assert_eq!(result(&records[2]), &json("[3]"));
    crew.assert_gone();
}

#[test]
fn procpool_without_memory_ends_and_leaves_nothing_behind() {
    // Where an allocation fails Rust ends the process. What was printed is right as far as it goes.
    let mark = format!("300.{}", std::process::id());
    let output = Test::through_shell("ulimit -v 400000; exec \"$@\"")
        .args(["-j500", "--format", "text", "sh", "-c", "sleep 0.1; echo $1; : $0", &mark])
        .stdin((1..=500).map(|n| format!("{n}\n")).collect::<String>())
        .any_stdout()
        .any_stderr()
        .any_status()
        .run();
    let printed = String::from_utf8_lossy(&output.stdout);
    let expected: String = (1..=500).map(|n| format!("{n}\n")).collect();
    assert!(expected.starts_with(&*printed), "{printed}");
    assert!(printed == expected || !output.stderr.is_empty());
    wait_for("all to be gone", || leftovers(&mark).is_empty());
}

#[test]
fn a_full_disk_behind_stdout_ends_every_kind_of_run() {
    let crew = Crew::new();
    let worker = crew.worker("");
    for options in [
        &["-w", &worker][..],
        &["-w", &worker, "--stream", "--pipeline", "auto"],
        &["--protocol", "raw", "-w", "cat", "--pipeline", "auto"],
        &["echo"],
        &["--live", "echo"],
        &["head", "-c", "1000000", "/dev/zero", "#"],
    ] {
        Test::new()
            .args(options)
            .stdin_endless("echo [1]\n")
            .stdout_to("/dev/full")
            .stderr_has("No space left")
            .status(125)
            .run();
    }
    // Jobs that have succeeded have lost their results too, so it is not enough to run the others again.
    let run = Test::new().args(["-j2", "sh", "-c", "test $0 = 1 && echo || exec sleep 60"]);
    let run = run.args([":::", "1", "2"]).stdout_to("/dev/full").any_stderr().status(125);
    let stderr = run.run().stderr;
    assert!(stderr.ends_with("results that were not printed are lost\n"), "{stderr}");
    crew.assert_gone();
}

#[test]
fn without_a_stderr_a_run_is_the_same() {
    let crew = Crew::new();
    let worker = crew.worker("");
    for redirection in ["2>&-", "2>/dev/full"] {
        let shell = format!("exec \"$@\" {redirection}");
        let options = ["--format", "value", "--summary", "--progress", "always"];
        let jobs =
            ["echo [1]", "fail", "stderr_exit [\"last\",3]", "flood_stderr [200000]", "echo [5]"];
        Test::through_shell(&shell)
            .workers(2, &worker)
            .args(options)
            .jobs(jobs)
            .stdout("[1]\n[200000]\n[5]\n")
            .status(1)
            .run();
        // Errors that end it before it has begun keep their status.
        Test::through_shell(&shell).args(["-w", "/no/such/program"]).status(127).run();
        Test::through_shell(&shell).args(["-w", "/etc/passwd"]).status(126).run();
        Test::through_shell(&shell).args(["-w", "'"]).status(2).run();
        Test::through_shell(&shell).args(["--no-such-option"]).status(2).run();
        Test::through_shell(&shell).args(["--joblog", "/no/such/file", "true"]).status(125).run();
    }
    crew.assert_gone();
}

#[test]
fn without_a_directory_for_temporary_files_small_runs_go_on_and_large_ones_end() {
    let small: String = (1..=100).map(|n| format!("{n}\n")).collect();
    Test::new()
        .env("TMPDIR", "/no/such/directory")
        .args(["-j2", "echo"])
        .stdin(&small)
        .stdout(&small)
        .run();
    Test::new()
        .env("TMPDIR", "/no/such/directory")
        .args(["-j2", "--shell", "seq 300000; : {}"])
        .stdin("1\n2\n3\n")
        .any_stdout()
        .stderr_has("TMPDIR")
        .status(125)
        .run();
}

#[test]
fn a_directory_that_is_gone_is_no_trouble() {
    let crew = Crew::new();
    let gone = crew.path("gone");
    fs::create_dir(&gone).expect("a directory");
    Test::through_shell("cd \"$GONE\" && rmdir \"$GONE\" && exec \"$@\"")
        .env("GONE", &gone)
        .args(["-j2", "echo"])
        .stdin("1\n2\n")
        .stdout("1\n2\n")
        .run();
}

#[test]
fn two_thousand_processes_at_a_time() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    // Who reads it waits until nobody has it open for writing any more.
    let (go, gate) = crew.fifo("go");
    // All of them must have begun before any may end.
    let script = format!("echo {{}} >> {}; read x < {go}; echo {{}}", crew.path("begun"));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 22_000) {
        println!("skipped: the system allows too few open files");
        return;
    }
    let run = Test::new()
        .args(["--max-procs", "2000", "--shell", &script])
        .stdin((1..=2000).map(|n| format!("{n}\n")).collect::<String>())
        .any_stdout()
        .patience(60)
        .spawn();
    wait_for("all to have begun", || lines_of(&crew.path("begun")).len() == 2000);
    drop(gate);
    assert_all(&run.finish().stdout, 2000);
}
