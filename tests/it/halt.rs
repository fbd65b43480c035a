//! Runs that end because of their outcomes (`--halt`), and reports of a run: `--summary` and `--joblog`.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::{
    Crew, Test, assert_has, lines_of, message, need, offset, result, sh, until, wait_for,
    wait_for_rest,
};
use rustix::process::Signal;

const HALTED: &str = "procpool: the run was ended by --halt: ";

#[test]
fn with_one_process_no_job_starts_after_the_one_that_halts() {
    // The exit statuses of ten jobs, and with each option how many of them run.
    let jobs = ["1", "0", "1", "0", "0", "1", "1", "0", "0", "0"];
    for (option, count) in [
        ("1", 1),
        ("2", 1),
        ("-1", 2),
        ("-2", 2),
        ("now,fail=1", 1),
        ("soon,fail=1", 1),
        ("now,fail=3", 6),
        ("soon,fail=4", 7),
        ("soon,success=1", 2),
        ("now,success=3", 5),
        ("soon,done=4", 4),
        ("now,done=9", 9),
    ] {
        let crew = Crew::new();
        let log = crew.path("log");
        let script = format!("echo $1 >> '{log}'; echo $1; exit $1");
        let run = Test::new()
            .args(["-j1", "--halt", option])
            .args(sh(&script))
            .jobs(jobs)
            .stdout(jobs[..count].concat().replace('0', "0\n").replace('1', "1\n"))
            .stderr_has(HALTED)
            .status(1)
            .run();
        assert_eq!(lines_of(&log).len(), count, "{option}");
        let failures = jobs[..count].iter().filter(|&&job| job == "1").count();
        assert_eq!(
            run.stderr.matches(": exit status 1 (job ").count(),
            failures,
            "{option}: {}",
            run.stderr
        );
    }
}

#[test]
fn never_and_limits_that_are_not_reached_run_all() {
    for option in ["never", "0", "now,fail=3", "soon,success=3", "now,done=5", "soon,fail=51%"] {
        Test::new()
            .args(["-j1", "--halt", option])
            .args(sh("echo $1; exit $1"))
            .jobs(["1", "0", "1", "0"])
            .stdout("1\n0\n1\n0\n")
            .stderr(
                "procpool: failed: sh -c 'echo $1; exit $1' sh 1: exit status 1 (job 1, line 1)\n\
                 procpool: failed: sh -c 'echo $1; exit $1' sh 1: exit status 1 (job 3, line 3)\n",
            )
            .status(1)
            .run();
    }
}

#[test]
fn a_limit_reached_by_the_last_job_leaves_none_out() {
    Test::new()
        .args(["-j1", "--halt", "soon,done=3", "echo", ":::", "a", "b", "c"])
        .stdout("a\nb\nc\n")
        .run();
}

#[test]
fn fail_fast_is_now_fail_1() {
    let crew = Crew::new();
    let log = crew.path("log");
    Test::new()
        .args(["-j1", "--fail-fast"])
        .args(sh(&format!("echo $1 >> '{log}'; exit $1")))
        .jobs(["0", "3", "0", "0"])
        .stderr_has("(job 2, line 2")
        .stderr_has(": exit status 3")
        .stderr_has(HALTED)
        .status(1)
        .run();
    assert_eq!(lines_of(&log).len(), 2);
}

#[test]
fn now_ends_running_jobs_and_soon_lets_them_finish() {
    for (option, is_now) in
        [("--halt=now,fail=1", true), ("--fail-fast", true), ("--halt=soon,fail=1", false)]
    {
        let crew = Crew::new();
        let (log, go) = (crew.path("log"), crew.path("go"));
        let script = format!(
            "case $1 in \
             slow) echo >> '{log}'; {slow}; echo slow;; \
             bad) {bad}; exit 9;; \
             *) echo >> '{log}'; echo $1;; esac",
            slow = until(&go),
            bad = until(&crew.path("bad")),
        );
        let run = Test::new()
            .args(["-j2", option, "--format", "record"])
            .args(sh(&script))
            .jobs(["slow", "bad", "more", "and more"])
            .any_stdout()
            .stderr_has(HALTED)
            .status(1)
            .spawn();
        wait_for("the slow job to begin", || lines_of(&log).len() == 1);
        crew.file("bad", "");
        if !is_now {
            // It would be over by then if it were killed.
            wait_for_rest("the run to go on", || u64::from(run.has_ended()));
            assert!(!run.has_ended(), "{option}: a job is running");
            crew.file("go", "");
        }
        let records = run.finish().records();
        assert_eq!(records.len(), 2, "{option}: {records:?}");
        match is_now {
            true => drop(message(&records[0], "cancelled")),
            false => assert_eq!(result(&records[0])["stdout"], "slow\n"),
        }
        assert_has(message(&records[1], "exit"), &["status 9"]);
        assert_eq!(lines_of(&log).len(), 1, "{option}: another job was begun");
    }
}

#[test]
fn now_kills_what_ignores_term_after_the_grace_period() {
    let crew = Crew::new();
    let go = crew.path("never");
    let script = format!(
        "test $1 = bad && exit 1; trap '' TERM; echo >> '{}'; {}",
        crew.path("log"),
        until(&go)
    );
    let log = crew.path("log");
    let mut run = Test::new()
        .args(["-j2", "--fail-fast", "--grace", "0.3s", "--format", "record", "--stream"])
        .args(sh(&script))
        .stdin_open()
        .any_stdout()
        .stderr_has(HALTED)
        .status(1)
        .spawn();
    run.write("deaf\n");
    wait_for("it to begin", || lines_of(&log).len() == 1);
    run.write("bad\n");
    // stdin stays open: it is not waited for.
    let records = run.finish_by_itself().records();
    assert_eq!(records.len(), 2);
    message(&records[0], "exit");
    message(&records[1], "cancelled");
}

#[test]
fn input_without_end_is_left_unread() {
    for (option, script, failed) in [
        ("now,fail=3", "exit 1", 3),
        ("soon,fail=3", "exit 1", 3),
        ("soon,success=3", "exit 0", 0),
        ("now,done=3", "exit 0", 0),
    ] {
        for order in ["-k", "--stream"] {
            let run = Test::new()
                .args(["-j1", order, "--halt", option])
                .args(sh(script))
                .stdin_endless("x\n")
                .stderr_has(HALTED)
                .stderr_has("read and not run, and input left unread\n")
                .status(1)
                .run();
            assert_eq!(
                run.stderr.matches(": exit status 1 (job ").count(),
                failed,
                "{}",
                run.stderr
            );
        }
    }
}

#[test]
fn input_that_stays_open_is_not_waited_for() {
    let mut run = Test::new()
        .args(["-j2", "--halt", "soon,fail=1"])
        .args(sh("exit $1"))
        .stdin_open()
        .stderr(format!(
            "procpool: failed: sh -c 'exit $1' sh 4: exit status 4 (job 1, line 1)\n\
             {HALTED}0 jobs read and not run, and input left unread\n"
        ))
        .status(1)
        .spawn();
    run.write("4\n");
    run.finish_by_itself();
}

#[test]
fn a_percentage_is_one_of_all_jobs() {
    // 0.07 times 100 is more than 7 where numbers are binary.
    for (option, total, count) in
        [("soon,fail=7%", 100, 7), ("10%", 30, 3), ("now,done=28%", 25, 7), ("soon,fail=1%", 10, 1)]
    {
        let crew = Crew::new();
        let (log, go) = (crew.path("log"), crew.path("go"));
        let script = format!("echo >> '{log}'; {}; exit 1", until(&go));
        let input = crew.open("input", "x\n".repeat(total));
        let run = Test::new()
            .args(["-j1", "--halt", option])
            .args(sh(&script))
            .stdin_file(&input)
            .stderr_has(format!("{HALTED}{} jobs read and not run\n", total - count))
            .status(1)
            .spawn();
        wait_for("the first job", || lines_of(&log).len() == 1);
        let read = wait_for_rest("the reading to stop", || offset(&input));
        assert_eq!(read, total as u64 * 2);
        crew.file("go", "");
        run.finish();
        assert_eq!(lines_of(&log).len(), count, "{option}");
    }
}

#[test]
fn workers_are_halted_as_commands_are() {
    for (option, count) in [("now,fail=2", 4), ("soon,fail=2", 4), ("soon,success=2", 3)] {
        let crew = Crew::new();
        let run = Test::new()
            .workers(1, crew.worker(""))
            .args(["--halt", option])
            .jobs([
                "echo [1]",
                "fail [\"no\"]",
                "echo [3]",
                "fail [\"no\"]",
                "echo [5]",
                "echo [6]",
            ])
            .any_stdout()
            .stderr_has(HALTED)
            .status(1)
            .run();
        let records = run.records();
        assert_eq!(records.len(), count, "{option}: {records:?}");
        assert_eq!(crew.logged("job").len(), count, "{option}");
        crew.assert_gone();
    }
    let crew = Crew::new();
    let run = Test::new()
        .workers(2, crew.worker(""))
        .arg("--fail-fast")
        .jobs(["never_answer", "await_log [\"job\",2]", "fail [\"no\"]", "echo [4]"])
        .any_stdout()
        .stderr_has(HALTED)
        .status(1)
        .run();
    let records = run.records();
    assert_eq!(records.len(), 3, "{records:?}");
    message(&records[0], "cancelled");
    message(&records[2], "error");
    crew.assert_gone();
}

#[test]
fn wrong_conditions_are_told_before_anything_is_run() {
    for wrong in [
        "",
        "3",
        "-3",
        "now",
        "soon",
        "fail=1",
        "later,fail=1",
        "now,fail",
        "now,fail=",
        "now,fail=0",
        "now,fail=x",
        "now,fail=0%",
        "now,fail=101%",
        "101%",
        "now,crash=1",
        "now,fail=1,success=1",
    ] {
        Test::new()
            .args(["--halt", wrong, "echo"])
            .jobs(["a"])
            .stderr_has("expected never, or now or soon")
            .status(2)
            .run();
    }
    Test::new()
        .args(["--halt", "1", "--fail-fast", "echo"])
        .jobs(["a"])
        .stderr_has("cannot be used with")
        .status(2)
        .run();
}

#[test]
fn a_summary_says_what_a_run_came_to() {
    let script = "case $1 in slow) exec sleep 100;; *) echo out; exit $1;; esac";
    let run = Test::through_shell("\"$@\" 2>&1")
        .args(["-j2", "--summary", "--timeout", "2s"])
        .args(sh(script))
        .jobs(["0", "3", "slow", "0", "1", "2", "7", "0"])
        .any_stdout()
        .status(1)
        .run();
    let text = String::from_utf8(run.stdout).expect("UTF-8");
    assert_eq!(text.matches(" ok, ").count(), 1, "{text}");
    let (results, summary) =
        text.split_once("procpool: 8 jobs: 3 ok, 5 failed; ").expect("a summary");
    assert_eq!(results.matches("out\n").count(), 7, "{text}");
    assert_has(
        summary,
        &[
            "/s)\n",
            "\n  exit: 4 (job 2 (line 2), job 5 (line 5), job 6 (line 6), …)\n",
            "\n  timeout: 1 (job 3 (line 3))\n",
            " (p50), ",
            " (p95), ",
            " s (max)\n",
            "\n  8 processes started; 2 slots, in use ",
        ],
    );
    let (summary, closing) = summary.rsplit_once("procpool: ").expect("a last line");
    assert!(summary.ends_with(" % of the time\n"), "{summary}");
    assert!(closing.starts_with("5 of 8 jobs failed; again: "), "{closing}");
}

#[test]
fn a_summary_of_few_jobs() {
    let none = Test::new().arg("--summary").arg("true").any_stderr().run();
    assert_has(&none.stderr, &["procpool: 0 jobs: 0 ok, 0 failed; "]);
    assert_eq!(none.stderr.lines().count(), 1);
    let one = Test::new().args(["--summary", "-j1", "true"]).jobs(["x"]).any_stderr().run();
    assert_has(
        &one.stderr,
        &["procpool: 1 job: 1 ok, 0 failed; ", "\n  1 process started; 1 slot, "],
    );
    let crew = Crew::new();
    let worker = Test::new()
        .workers(1, crew.worker(""))
        .arg("--summary")
        .jobs(["echo [1]", "nonsense {", "fail [\"no\"]"])
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    assert_has(
        &worker.stderr,
        &[
            "3 jobs: 1 ok, 2 failed",
            "\n  error: 1 (job 3 (line 3))",
            "\n  invalid: 1 (job 2 (line 2))",
        ],
    );
}

#[test]
fn an_interrupted_run_has_its_summary_too() {
    let mut run = Test::new()
        .args(["-j1", "--summary", "--grace", "0.2s"])
        .args(sh("echo begin; test $1 = 0 || sleep 100"))
        .stdin_open()
        .stdout("begin\nbegin\n")
        .stderr_has("procpool: 2 jobs: 1 ok, 1 failed; ")
        .stderr_has("\n  cancelled: 1 (job 2 (line 2))\n")
        .killed_by(Signal::INT)
        .spawn();
    run.write("0\n1\n");
    assert_eq!(run.line(), "begin");
    wait_for_child(&run);
    run.signal(Signal::INT);
    let run = run.finish_by_itself();
    assert_eq!(run.stderr.matches(" ok, ").count(), 1, "{}", run.stderr);
}

/// Waits for the command that sleeps.
fn wait_for_child(run: &crate::common::Running) {
    let pid = run.pid().as_raw_nonzero().get();
    let children = |pid: &str| {
        let path = format!("/proc/{pid}/task");
        let tasks = fs::read_dir(path).into_iter().flatten().flatten();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        texts.collect::<Vec<_>>().join(" ")
    };
    wait_for("the command to sleep", || {
        let commands = children(&pid.to_string());
        commands.split_whitespace().any(|command| {
            children(command).split_whitespace().any(|grandchild| {
                fs::read_to_string(format!("/proc/{grandchild}/comm"))
                    .is_ok_and(|name| name == "sleep\n")
            })
        })
    });
}

/// The fields of each line.
fn table(path: &str) -> Vec<Vec<String>> {
    let bytes = fs::read(path).expect("a job log");
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn is_number(text: &str, decimals: usize) -> bool {
    let Some((whole, part)) = text.split_once('.') else { return false };
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole) && are_digits(part) && part.len() == decimals
}

#[test]
fn the_job_log_is_that_of_gnu_parallel() {
    if !need("parallel") {
        return;
    }
    let crew = Crew::new();
    let script = "#!/bin/sh\ncase $1 in ok) printf 12345;; fail) exit 3;; kill) kill -9 $$;; \
                  term) kill -TERM $$;; slow) exec sleep 50;; both) echo out; echo err >&2;; \
                  *) echo \"$1\";; esac\n";
    let job = crew.file("job", script);
    let chmod = Command::new("chmod").args(["+x", &job]).status();
    assert!(chmod.expect("chmod runs").success());
    let args = [
        "ok", "fail", "kill", "term", "slow", "both", "a b", "q\"'$x", "it's", "n\nl", "", "#y",
        "x*", "é",
    ];
    let input = crew.file("input", args.map(|arg| format!("{arg}\0")).concat());
    let (theirs, ours) = (crew.path("theirs"), crew.path("ours"));
    let status = Command::new("parallel")
        .args(["-0", "-j1", "--timeout", "2", "--joblog", &theirs, "-a", &input, "./job", "{}"])
        .current_dir(std::path::Path::new(&job).parent().expect("a folder"))
        .env("PARALLEL_HOME", crew.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.expect("parallel runs").code(), Some(4));
    Test::new()
        .args(["-0", "-j1", "--timeout", "2", "--joblog", &ours, "-a", &input, "./job", "{}"])
        .cwd(crew.path(""))
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    let (theirs, ours) = (table(&theirs), table(&ours));
    assert_eq!(ours.len(), args.len() + 1);
    assert_eq!(ours[0], theirs[0]);
    for (ours, theirs) in ours[1..].iter().zip(&theirs[1..]) {
        assert_eq!(ours.len(), theirs.len(), "{ours:?} {theirs:?}");
        assert_eq!((&ours[..2], &ours[4..8]), (&theirs[..2], &theirs[4..8]), "{theirs:?}");
        for line in [ours, theirs] {
            assert!(is_number(&line[2], 3), "{line:?}");
            assert!(line[3].len() == 10 && is_number(line[3].trim_start(), 3), "{line:?}");
        }
        // Quoted each in their way, for the same words.
        let words = |line: &[String]| shell_words::split(&line[8]).expect("quoted for a shell");
        assert_eq!(words(ours), words(theirs));
    }
}

#[test]
fn a_job_log_has_how_much_was_sent_to_stdin() {
    if !need("parallel") {
        return;
    }
    let crew = Crew::new();
    let input = crew.file("input", "one\ntwo words\n3\n");
    let (theirs, ours) = (crew.path("theirs"), crew.path("ours"));
    let status = Command::new("parallel")
        .args(["-j1", "--pipe", "-N2", "--joblog", &theirs, "wc"])
        .env("PARALLEL_HOME", crew.path(""))
        .stdin(std::fs::File::open(&input).expect("it is there"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("parallel runs").success());
    let options = ["-j1", "-n2", "--stdin", "--joblog", &ours, "-a", &input];
    Test::new().args(options).arg("wc").any_stdout().run();
    let sizes = |path: &str| -> Vec<_> {
        table(path).into_iter().map(|line| (line[4].clone(), line[5].clone())).collect()
    };
    assert_eq!(sizes(&ours), sizes(&theirs));
    assert_eq!(sizes(&ours)[1].0, "14");
}

#[test]
fn a_job_log_has_a_line_for_each_job_as_it_finishes() {
    let crew = Crew::new();
    let (log, go) = (crew.path("joblog"), crew.path("go"));
    let mut run = Test::new()
        .args(["-j2", "--joblog", &log])
        .args(sh(&format!("test $1 = 1 && {}; echo $1; exit 0", until(&go))))
        .stdin_open()
        .stdout("1\n2\n3\n")
        .spawn();
    run.write("1\n2\n3\n");
    wait_for("two lines", || lines_of(&log).len() == 3);
    crew.file("go", "");
    run.finish();
    let seqs: Vec<String> = table(&log).into_iter().map(|mut line| line.swap_remove(0)).collect();
    assert_eq!(seqs, ["Seq", "2", "3", "1"]);
}

#[test]
fn workers_have_a_job_log_too() {
    let crew = Crew::new();
    let log = crew.path("joblog");
    Test::new()
        .workers(1, crew.worker(""))
        .args(["--joblog", &log])
        .jobs(["echo [1]", "fail [\"no\"]", "{\"cmd\":\"echo\",\"args\":[\"a\\tb\"]}"])
        .any_stdout()
        .status(1)
        .run();
    let table = table(&log);
    let columns: Vec<String> =
        table[1..].iter().map(|line| [&line[..2], &line[4..]].concat().join("|")).collect();
    assert_eq!(
        columns,
        [
            "1|:|0|3|0|0|\"echo\" [1]",
            "2|:|0|0|1|0|\"fail\" [\"no\"]",
            "3|:|0|8|0|0|\"echo\" [\"a\\tb\"]"
        ]
    );
}

#[test]
fn a_job_log_that_cannot_be_written_is_a_failure_of_procpool() {
    let crew = Crew::new();
    let log = crew.path("ran");
    let script = format!("echo >> '{log}'");
    for path in [crew.path("none/joblog"), crew.path("")] {
        Test::new()
            .args(["--joblog", &path])
            .args(sh(&script))
            .jobs(["1"])
            .stderr_has("the job log '")
            .status(125)
            .run();
        assert_eq!(lines_of(&log).len(), 0, "a job was run");
    }
    Test::new()
        .args(["--joblog", "/dev/full", "echo"])
        .jobs(["1"])
        .any_stdout()
        .stderr_has("the job log could not be written: No space left")
        .status(125)
        .run();
}

#[test]
fn what_a_halt_has_killed_is_not_in_the_joblog() {
    let crew = Crew::new();
    let (log, begun) = (crew.path("joblog"), crew.path("begun"));
    Test::new()
        .args(["-j2", "--halt=now,fail=1", "--joblog", &log, "sh", "-c"])
        .arg(format!("test $0 = 1 && {{ : >{begun}; sleep 1000; }}; {}; exit 3", until(&begun)))
        .stdin("1\n2\n3\n")
        .stderr_has(": it was running when the run was ended")
        .status(1)
        .run();
    let lines = fs::read_to_string(&log).expect("a log");
    let jobs: Vec<_> =
        lines.lines().skip(1).map(|line| line.split('\t').next().unwrap_or_default()).collect();
    assert_eq!(jobs, ["2"], "{lines}");
}
