//! Workers that cannot be started, or die at once: the run ends soon, and says what to do.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::{Crew, Output, PATIENCE, Test, assert_has, message, offset, result, worker};
use serde_json::json;

/// Runs up to three times, since other work on the machine may slow down one run, and returns the
/// first run that ended within two seconds.
#[track_caller]
fn within_two_seconds(run: impl Fn() -> Output) -> Output {
    let limit = Duration::from_secs(2);
    assert!(limit < PATIENCE);
    (0..3)
        .map(|_| run())
        .find(|output| output.elapsed < limit)
        .expect("one of three runs ends within two seconds")
}

/// As many jobs as nobody reads by accident.
fn many_jobs(crew: &Crew) -> File {
    crew.open("jobs", "{\"cmd\":\"echo\",\"args\":[\"0123456789\"]}\n".repeat(500_000))
}

#[test]
fn a_worker_that_does_not_exist() {
    let crew = Crew::new();
    let file = many_jobs(&crew);
    let output = within_two_seconds(|| {
        Test::new()
            .args(["--worker", "./no/such/worker --flag"])
            .stdin_file(&file)
            .stderr_has("./no/such/worker")
            .stderr_has("there is no file")
            .status(127)
            .run()
    });
    assert_eq!(offset(&file), 0, "stdin is not swallowed");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_worker_that_is_not_in_the_path() {
    let output = Test::new()
        .args(["--worker", "no-such-worker-anywhere"])
        .jobs(["echo"])
        .stderr_has("no-such-worker-anywhere")
        .stderr_has("PATH")
        .status(127)
        .run();
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_worker_that_does_not_exist_is_told_without_any_job() {
    Test::new()
        .args(["--worker", "no-such-worker-anywhere"])
        .stderr_has("no-such-worker-anywhere")
        .status(127)
        .run();
}

#[test]
fn a_worker_that_is_not_executable() {
    let crew = Crew::new();
    let file = many_jobs(&crew);
    let script = crew.file("handler.py", "#!/bin/sh\n");
    let output = within_two_seconds(|| {
        Test::new()
            .args(["--worker", &script])
            .stdin_file(&file)
            .stderr_has(&script)
            .stderr_has("chmod +x")
            .status(126)
            .run()
    });
    assert_eq!(offset(&file), 0, "stdin is not swallowed");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_worker_that_is_a_directory() {
    let crew = Crew::new();
    Test::new()
        .args(["--worker", &crew.path(".")])
        .jobs(["echo"])
        .stderr_has("directory")
        .status(126)
        .run();
}

fn executable(crew: &Crew, name: &str, content: &str) -> String {
    let path = crew.file(name, content);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
    path
}

#[test]
fn a_worker_with_a_bad_interpreter_line() {
    let crew = Crew::new();
    let file = many_jobs(&crew);
    let script = executable(&crew, "handler", "#!/no/such/interpreter -u\n");
    within_two_seconds(|| {
        Test::new()
            .args(["--worker", &script])
            .stdin_file(&file)
            .stderr_has(&script)
            .stderr_has("/no/such/interpreter")
            .status(126)
            .run()
    });
    assert_eq!(offset(&file), 0, "stdin is not swallowed");
}

#[test]
fn a_worker_with_an_interpreter_line_that_ends_in_cr() {
    let crew = Crew::new();
    let script = executable(&crew, "handler", "#!/bin/sh\r\nexit 0\r\n");
    Test::new()
        .args(["--worker", &script])
        .jobs(["echo"])
        .stderr_has(&script)
        .stderr_has("carriage return")
        .status(126)
        .run();
}

#[test]
fn a_worker_that_is_no_program() {
    let crew = Crew::new();
    let file = executable(&crew, "handler", "\u{1}\u{2}\u{3}");
    Test::new()
        .args(["--worker", &file, "--format", "value"])
        .jobs(["echo"])
        .stderr_has(&file)
        .stderr_has("(job 1, line 1")
        .stderr_has("format")
        .status(126)
        .run();
}

#[test]
fn a_worker_that_dies_at_once() {
    let crew = Crew::new();
    let file = many_jobs(&crew);
    let size = file.metadata().expect("it is open").len();
    let output = within_two_seconds(|| {
        Test::new()
            .workers(1, crew.worker("--die-at-start"))
            .stdin_file(&file)
            .any_stdout()
            .stderr_has("status 3")
            .stderr_has("I die at the start")
            .status(126)
            .run()
    });
    assert!(offset(&file) < size, "stdin is not swallowed");
    let records = output.records();
    assert_eq!(records.len(), 1, "the job in hand");
    assert_has(message(&records[0], "spawn"), &["status 3", "I die at the start"]);
    crew.assert_gone();
}

#[test]
fn many_workers_that_die_at_once() {
    let crew = Crew::new();
    let output = within_two_seconds(|| {
        Test::new()
            .workers(8, crew.worker("--die-at-start"))
            .jobs(vec!["echo"; 1000])
            .any_stdout()
            .stderr_has("I die at the start")
            .status(126)
            .run()
    });
    let records = output.records();
    assert!((1..=8).contains(&records.len()), "{records:?}");
    for record in &records {
        assert!(["spawn", "cancelled"].contains(&record["error"]["kind"].as_str().unwrap_or("")));
    }
    crew.assert_gone();
}

#[test]
fn it_ends_though_stdin_stays_open() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(2, crew.worker("--die-at-start"))
        .stdin_open()
        .any_stdout()
        .any_stderr()
        .status(126)
        .spawn();
    run.write("echo [1]\n");
    let records = run.finish_by_itself().records();
    assert_eq!(records.len(), 1);
    message(&records[0], "spawn");
}

#[test]
fn jobs_that_were_not_run_are_counted() {
    let crew = Crew::new();
    let output = Test::new()
        .workers(1, crew.worker("--die-at-start"))
        .args(["--start-limit", "2"])
        .jobs(vec!["echo"; 38])
        .any_stdout()
        .stderr_has("37 ")
        .status(126)
        .run();
    assert_eq!(output.records().len(), 1);
}

#[test]
fn the_limit_is_a_number_of_starts() {
    for (options, starts) in [(&["--start-limit", "2"][..], 2), (&[], 5)] {
        let crew = Crew::new();
        let records = Test::new()
            .workers(1, crew.worker("--die-at-start"))
            .args(options)
            .jobs(["echo", "echo"])
            .any_stderr()
            .status(126)
            .records();
        assert_eq!(records.len(), 1);
        assert_eq!(crew.logged("start").len(), starts);
    }
}

#[test]
fn a_worker_that_dies_before_it_has_read_its_job_costs_no_job() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker("--die-times 3"))
        .arg("--detail")
        .jobs(["echo [1]", "echo [2]"])
        .any_stderr()
        .records();
    assert_eq!(result(&records[0]), &json!([1]));
    assert_eq!(result(&records[1]), &json!([2]));
    assert_eq!(records[0]["attempt"], 1, "no attempt is charged");
    assert_eq!(crew.logged("start").len(), 4);
}

#[test]
fn every_reply_starts_the_count_again() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker("--live-every 3 --exit-after 1"))
        .args(["--start-limit", "3"])
        .jobs(["echo [1]", "echo [2]", "echo [3]"])
        .any_stderr()
        .records();
    assert!(records.iter().all(|record| record["ok"] == true), "{records:?}");
    assert_eq!(crew.logged("start").len(), 9);
}

#[test]
fn no_limit() {
    let crew = Crew::new();
    let records = Test::new()
        .workers(1, crew.worker("--die-times 7"))
        .args(["--start-limit", "0"])
        .jobs(["echo [1]"])
        .any_stderr()
        .records();
    assert_eq!(result(&records[0]), &json!([1]));
}

#[test]
fn a_worker_that_vanishes_during_the_run() {
    let crew = Crew::new();
    let script = executable(
        &crew,
        "handler",
        "#!/bin/sh\nread -r request\necho '{\"result\":1}'\nread -r request\nkill -9 $$\n",
    );
    let mut run = Test::new()
        .workers(1, &script)
        .stdin_open()
        .any_stdout()
        .stderr_has(&script)
        .stderr_has("No such file")
        .status(126)
        .spawn();
    run.write("x\n");
    assert_eq!(result(&run.record()), 1);
    fs::remove_file(&script).expect("it is ours");
    run.write("x\nx\n");
    assert_has(message(&run.record(), "crash"), &["SIGKILL"]);
    assert_has(message(&run.record(), "spawn"), &["No such file"]);
    run.finish_by_itself();
}

#[test]
fn a_worker_that_takes_its_time_to_start() {
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.worker("--sleep-at-start 300"))
        .jobs(["echo [1]"])
        .stdout("{\"id\":1,\"ok\":true,\"result\":[1]}\n")
        .run();
}

#[test]
fn a_start_that_takes_too_long_has_failed() {
    for worker in ["sleep 1000", "sh -c 'trap \"\" TERM; sleep 1000'"] {
        let output = Test::new()
            .workers(1, worker)
            .args(["--start-timeout=0.3s", "--start-limit=2", "--grace=0.1s"])
            .jobs(["echo [1]", "echo [2]", "echo [3]"])
            .any_stdout()
            .stderr_has("did not start within 300ms: it had not read its first request (2 times")
            .stderr_has("2 jobs read and not run")
            .status(126)
            .run();
        let records = output.records();
        assert_eq!(records.len(), 1, "the job in hand");
        assert_has(message(&records[0], "spawn"), &["did not start within 300ms"]);
    }
}

/// The first two never read; no job is charged with that.
#[test]
fn a_start_that_takes_too_long_costs_no_job() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let count = crew.file("count", "");
    let line = format!(
        "echo >> {count}; if test $(wc -l < {count}) -le 2; then exec sleep 1000; fi; exec {}",
        crew.worker("")
    );
    for options in [&[][..], &["--init=echo [0]"], &["--pipeline=4"]] {
        fs::write(&count, "").expect("it is ours");
        let records = Test::new()
            .workers(1, shell_words::join(["sh", "-c", &line]))
            .args(["--start-timeout=1s", "--grace=0.1s", "--detail"])
            .args(options)
            .jobs(["echo [1]", "echo [2]", "sleep [1500]"])
            .records();
        assert_eq!(records.len(), 3);
        for record in &records {
            assert_eq!((&record["ok"], &record["attempt"]), (&json!(true), &json!(1)), "{record}");
        }
    }
}

/// The second worker of the slot never becomes ready, with --init or without: the third takes over.
#[test]
fn a_spare_that_takes_too_long_to_start_costs_no_job() {
    let crew = Crew::new();
    let line = format!(
        "if test $PROCPOOL_GENERATION = 2; then exec sleep 1000; fi; exec {}",
        crew.worker("")
    );
    for options in [&[][..], &["--init=echo [0]"]] {
        let records = Test::new()
            .workers(1, shell_words::join(["sh", "-c", &line]))
            .args(["--max-reqs=2", "--start-timeout=1s", "--grace=0.1s"])
            .args(options)
            .jobs(["echo [1]", "echo [2]", "echo [3]", "echo [4]"])
            .records();
        assert_eq!(records.iter().map(result).collect::<Vec<_>>().len(), 4);
    }
}

#[test]
fn a_worker_that_is_fast_enough_may_take_longer_over_its_jobs() {
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.worker(""))
        .args(["--start-timeout=0.5s"])
        .jobs(["sleep [1200]", "sleep [1201]"])
        .stdout(
            "{\"id\":1,\"ok\":true,\"result\":[1200]}\n{\"id\":2,\"ok\":true,\"result\":[1201]}\n",
        )
        .run();
    Test::new()
        .workers(1, crew.worker("--sleep-at-start 300"))
        .args(["--start-timeout=0"])
        .jobs(["echo [1]"])
        .stdout("{\"id\":1,\"ok\":true,\"result\":[1]}\n")
        .run();
}

#[test]
fn the_worker_is_a_command_line_in_shell_words() {
    let crew = Crew::new();
    let script = executable(
        &crew,
        "my handler",
        "#!/bin/sh\nread -r request\nprintf '{\"result\":\"%s|%s|%s\"}\\n' \"$#\" \"$1\" \"$2\"\n",
    );
    let records = Test::new()
        .args(["--worker", &format!("'{script}' \"two  words\" $HOME*\\;")])
        .jobs(["x"])
        .records();
    assert_eq!(result(&records[0]), "2|two  words|$HOME*;");
}

#[test]
fn the_worker_is_looked_for_in_the_path_and_in_the_current_directory() {
    let crew = Crew::new();
    executable(&crew, "handler", "#!/bin/sh\nread -r request\necho '{\"result\":1}'\n");
    let path = format!("{}:/usr/bin:/bin", crew.path(""));
    for (command, path) in [("handler", path.as_str()), ("./handler", "/usr/bin:/bin")] {
        Test::new()
            .args(["--worker", command])
            .cwd(crew.path(""))
            .env("PATH", path)
            .jobs(["x"])
            .stdout("{\"id\":1,\"ok\":true,\"result\":1}\n")
            .run();
    }
}

#[test]
fn no_worker_is_started_for_help_or_version() {
    let worker = worker("--greet");
    let version = format!("procpool {}\n", env!("CARGO_PKG_VERSION"));
    Test::new().args(["--worker", &worker, "--version"]).stdout(version).run();
    let output = Test::new().args(["--worker", &worker, "-h"]).any_stdout().run();
    assert!(output.lines().len() <= 50, "-h fits a screen");
    assert_has(&String::from_utf8_lossy(&output.stdout), &["--worker", "--max-procs"]);
}

/// A pool with many slots starts a few workers first, and each job here waits for all others.
#[test]
fn as_many_workers_start_as_slow_jobs_need() {
    let crew = Crew::new();
    let folder = crew.path("at");
    fs::create_dir(&folder).expect("a folder");
    let code = format!(
        ": > {folder}/$1; until set -- {folder}/*; [ $# -ge 24 ]; do sleep 0.05; done; echo done"
    );
    Test::new()
        .args(["-j24", "--pipeline", "auto", "--sh", &code])
        .stdin((1..=24).map(|n| format!("{n}\n")).collect::<String>())
        .stdout("done\n".repeat(24))
        .run();
}
