//! Workers that print more than they are asked for: with replies that do not say which request they
//! answer, each that follows would be taken for another job's.

use std::fs;

use rustix::process::Signal;

use crate::common::{Crew, Test, assert_has, json, message, need, peak_memory, result, wait_for};

/// A raw worker in `sh`, one at a time.
fn raw(script: &str) -> Test {
    Test::new().workers(1, format!("sh -c {}", shell_words::quote(script))).arg("--protocol=raw")
}

/// No record of the journal has ever said that a job with one of these results is done.
#[track_caller]
fn assert_not_recorded(journal: &str, results: &[&str]) {
    for line in fs::read_to_string(journal).expect("a journal").lines() {
        let record = json(line);
        let is_doubtful = results.iter().any(|text| record["message"] == *text);
        assert!(!(record["ok"] == true && is_doubtful), "{record}");
    }
}

/// How many jobs are done according to the journal.
fn done(journal: &str) -> usize {
    let records = fs::read_to_string(journal).unwrap_or_default();
    records.lines().filter(|line| line.contains(r#""ok":true"#)).count()
}

#[test]
fn a_banner_is_no_reply() {
    for pipeline in ["1", "8", "auto"] {
        let output = raw("echo banner; exec cat")
            .args(["--format=record", "--pipeline", pipeline])
            .stdin("a\nb\nc\n")
            .any_stdout()
            .any_stderr()
            .status(1)
            .run();
        // Where it is taken for a reply, since it comes late, what follows tells.
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
        assert!(text.contains("'banner\\") || text.contains("doubtful"), "{text}");
    }
}

#[test]
fn what_is_printed_before_the_request_is_read_is_charged_to_no_other_job() {
    let crew = Crew::new();
    let go = crew.path("go");
    // It reads nothing until the test lets it, so that the order is known.
    let run = raw(&format!("echo banner; until [ -e {go} ]; do sleep 0.01; done; exec cat"))
        .args(["--retries=0", "--format=record"])
        .stdin("a\n")
        .stdout(concat!(
            r#"{"id":1,"ok":false,"error":{"kind":"protocol","message":"it printed this before it "#,
            r#"had read the request (if it prints this at each start, give --banner): 'banner\\n'; "#,
            r#"a worker's stdout is for replies only, "#,
            r#"diagnostics belong on stderr"}}"#,
            "\n"
        ))
        .status(1);
    run.run();
}

#[test]
fn a_prompt_without_a_newline_is_no_part_of_a_reply() {
    let output = raw("printf '> '; exec sleep 1000")
        .stdin("a\nb\n")
        .any_stdout()
        .stderr_has("'> '")
        .status(1)
        .run();
    assert_eq!(output.lines(), Vec::<&str>::new());
}

/// Two rows for a query. The second one comes when nothing is asked.
#[test]
fn a_row_too_many_is_seen_while_the_worker_is_idle() {
    let crew = Crew::new();
    let (journal, folder) = (crew.path("journal"), crew.path(""));
    let wait = format!("until [ -e {folder}/$l ]; do sleep 0.01; done");
    let mut run = raw(&format!("while read -r l; do echo \"$l\"; {wait}; echo \"$l too\"; done"))
        .args(["--journal", &journal])
        .stdin_open()
        .any_stdout()
        .any_stderr()
        .status(1)
        .spawn();
    run.write("a\n");
    assert_eq!(run.line(), "a");
    crew.file("a", "");
    run.await_stderr(
        "printed 'a too\\n' after its reply to job 1 (line 1), though nothing more was asked of it: \
         its result for job 1 (line 1) is doubtful\n",
    );
    run.write("b\n");
    assert_eq!(run.line(), "b");
    // The last one is seen when the worker ends.
    run.close_stdin();
    crew.file("b", "");
    let output = run.finish();
    assert_has(&output.stderr, &["printed 'b too\\n' after its reply to job 2 (line 2)"]);
    assert_eq!(output.stderr.lines().count(), 2, "each is reported once: {}", output.stderr);
    assert_not_recorded(&journal, &["a", "b"]);
}

#[test]
fn a_row_too_many_is_seen_at_the_end() {
    for options in
        [&["--max-reqs=1"][..], &["--max-reqs=1", "--standby=0"], &["--pipeline=auto"], &[]]
    {
        let crew = Crew::new();
        let journal = crew.path("journal");
        let output = raw("read -r l; echo \"$l\"; cat >/dev/null; echo late")
            .args(options)
            .args(["--journal", &journal])
            .stdin("a\n")
            .stdout("a\n")
            .any_stderr()
            .status(1)
            .run();
        assert_has(&output.stderr, &["printed 'late\\n' after its reply to job 1 (line 1)"]);
        assert_has(&output.stderr, &["its result for job 1 (line 1) is doubtful"]);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert_not_recorded(&journal, &["a"]);
    }
}

#[test]
fn a_worker_that_ends_by_itself_is_read_to_the_end() {
    // Without a newline as well.
    for (end, shown) in [("echo late", "'late\\n'"), ("printf late", "'late'")] {
        let crew = Crew::new();
        let go = crew.path("go");
        let wait = format!("until [ -e {go} ]; do sleep 0.01; done");
        let mut run = raw(&format!("read -r l; echo \"$l\"; {wait}; {end}"))
            .stdin_open()
            .any_stdout()
            .stderr_has(format!("printed {shown} after its reply to job 1 (line 1)"))
            .status(1)
            .spawn();
        run.write("a\n");
        assert_eq!(run.line(), "a");
        crew.file("go", "");
        run.await_stderr("is doubtful\n");
        run.close_stdin();
        run.finish();
    }
}

/// `git cat-file --batch` and its like: several lines for one that is read.
#[test]
fn several_lines_at_once_are_told_with_the_option_that_helps() {
    let output = raw("while read -r l; do printf '%s\\nsize\\n\\n' \"$l\"; done")
        .stdin("a\nb\n")
        .stdout("")
        .any_stderr()
        .status(1)
        .run();
    assert_has(&output.stderr, &["procpool: failed: a: it printed more than one reply"]);
    assert_has(
        &output.stderr,
        &["(if it is one reply, give --reply-messages 3): 'a\\nsize\\n\\n'"],
    );
    raw("while read -r l; do printf '%s 5\\none\\n\\n\\n' \"$l\"; done")
        .stdin("a\n")
        .stdout("")
        .stderr_has(
            "it printed more than one reply to one request; it looks like --framing size-line: ",
        )
        .status(1)
        .run();
    raw("while read -r l; do printf '%s\\nsize\\n\\n' \"$l\"; done")
        .arg("--reply-messages=3")
        .stdin("a\nb\n")
        .stdout("a\nsize\n\nb\nsize\n\n")
        .run();
}

#[test]
fn with_requests_in_flight_all_that_came_before_is_doubtful() {
    let crew = Crew::new();
    let journal = crew.path("journal");
    let lines: String = (1..=100).map(|n| format!("{n}\n")).collect();
    let output = raw("while read -r l; do echo \"$l\"; [ $l = 50 ] && echo extra; :; done")
        .args(["--pipeline=16", "--journal", &journal])
        .stdin(&lines)
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    assert_has(&output.stderr, &["are doubtful"]);
    assert_not_recorded(&journal, &["extra"]);
}

/// What was doubtful is run again, and only that.
#[test]
fn a_resumed_run_does_not_take_doubtful_results() {
    let crew = Crew::new();
    let (journal, bad) = (crew.path("journal"), crew.file("bad", ""));
    let script = format!(
        "[ -e {bad} ] && {{ read -r l; echo banner; while read -r l; do echo \"$l\"; done; echo x; exit; }}; exec cat"
    );
    let run = || raw(&script).args(["--journal", &journal]).stdin("a\nb\nc\n");
    run()
        .any_stdout()
        .stderr_has("its results for job 1 (line 1) to job 3 (line 3)")
        .status(1)
        .run();
    assert_not_recorded(&journal, &["banner", "b", "c"]);
    fs::remove_file(&bad).expect("it is there");
    run().arg("--resume").stdout("a\nb\nc\n").run();
}

/// Killed before it can be known, no result is in the journal; what is known by then is.
#[test]
fn a_result_is_recorded_once_its_worker_has_read_its_next_request() {
    let crew = Crew::new();
    let (journal, go, begun) = (crew.path("journal"), crew.path("go"), crew.path("begun"));
    // It leaves its second request unread until the test lets it go on, and does not answer the third.
    let script = format!(
        "read -r l; echo $l; until [ -e {go} ]; do sleep 0.01; done; read -r l; echo $l; \
         read -r l; echo >{begun}; exec sleep 100"
    );
    let run = raw(&script).args(["--journal", &journal]).stdin("a\nb\nc\n");
    let mut run = run.any_stdout().any_stderr().killed_by(Signal::KILL).spawn();
    assert_eq!(run.line(), "a");
    assert_eq!(done(&journal), 0);
    fs::write(&go, "").expect("it can be written");
    wait_for("the third job", || fs::exists(&begun).unwrap_or(false));
    wait_for("both records", || done(&journal) == 2);
    run.signal(Signal::KILL);
    run.finish();
    assert_eq!(done(&journal), 2);
}

#[test]
fn a_result_is_recorded_once_its_worker_is_idle() {
    let crew = Crew::new();
    let journal = crew.path("journal");
    let run = raw("exec cat").args(["--journal", &journal]).stdin_open();
    let mut run = run.any_stdout().spawn();
    run.write("a\n");
    assert_eq!(run.line(), "a");
    wait_for("the record", || done(&journal) == 1);
    run.finish();
    assert_eq!(done(&journal), 1);
}

/// A worker that always has requests in flight is given a break now and then.
#[test]
fn results_of_a_worker_that_is_never_idle_are_recorded() {
    for pipeline in ["1", "8", "auto"] {
        let crew = Crew::new();
        let journal = crew.path("journal");
        let run = raw("exec cat").args(["--journal", &journal, "--pipeline", pipeline]);
        let run =
            run.stdin_endless("a\n").any_stdout().any_stderr().killed_by(Signal::KILL).spawn();
        wait_for("records", || done(&journal) > 100);
        run.signal(Signal::KILL);
        run.finish_by_itself();
    }
}

/// Its last reply came before it had read the next request, or when it had none.
#[test]
fn a_worker_that_dies_leaves_only_proven_results_in_the_journal() {
    let crew = Crew::new();
    for (name, script, count) in [
        ("read", "read -r l; echo $l; read -r l; exit 3", 1),
        ("extra", "read -r l; echo $l; read -r l; printf more; exit 3", 0),
        ("idle", "read -r l; echo $l; exec cat >/dev/null", 1),
    ] {
        let journal = crew.path(name);
        let lines = if name == "idle" { "a\n" } else { "a\nb\n" };
        let run = raw(script).args(["--retries=0", "--journal", &journal]).stdin(lines);
        run.any_stdout().any_stderr().any_status().run();
        assert_eq!(done(&journal), count, "{name}");
    }
}

/// It had read its next request before it printed what is taken for the reply to the one before: that
/// proves nothing.
#[test]
fn a_request_that_was_read_too_early_proves_nothing() {
    let crew = Crew::new();
    let journal = crew.path("journal");
    let read_two = "dd bs=1 count=4 >/dev/null 2>&1";
    let output = raw(&format!("read -r l; echo $l; {read_two}; echo extra; exit 3"))
        .args(["--pipeline=8", "--fail-fast", "--journal", &journal])
        .stdin("x\n".repeat(40))
        .stdout("x\nextra\n")
        .any_stderr()
        .status(1)
        .run();
    assert_has(&output.stderr, &["before it answered (job 3, line 3"]);
    assert_eq!(done(&journal), 0);
}

/// It is at its end, and has not read what it seems to have answered.
#[test]
fn a_worker_that_has_not_read_a_request_has_not_answered_it() {
    let crew = Crew::new();
    let late = "read -r l; echo $l; sleep 0.02; echo extra";
    for (name, script, options) in [
        ("gone", "echo extra", &[][..]),
        ("empty", "echo", &["--pipeline=4"]),
        ("later", "echo extra; sleep 0.02", &["--pipeline=auto"]),
        ("deaf", "exec <&-; sleep 0.02; echo extra", &[]),
        ("second", late, &["--pipeline=4"]),
        ("spare", late, &["--pipeline=2", "--max-reqs=2"]),
    ] {
        let journal = crew.path(name);
        let run = raw(script).args(options).args(["--start-limit=2", "--journal", &journal]);
        let run = run.stdin("a\nb\nc\nd\n").any_stdout().any_stderr().status(1).run();
        let printed = String::from_utf8_lossy(&run.stdout);
        assert!(!printed.contains("extra"), "{name}: {printed}");
        assert_not_recorded(&journal, &["extra", ""]);
    }
}

/// Among its later replies this is found at the end, when they have been printed.
#[test]
fn a_reply_too_many_to_a_request_that_was_not_read_is_found_at_the_end() {
    let crew = Crew::new();
    let lines: String = (1..=71).map(|n| format!("{n}\n")).collect();
    for (name, end) in [("dies", ""), ("killed", "; kill -9 $$"), ("lives", "; exec sleep 100")] {
        let journal = crew.path(name);
        let script = format!(
            "while read -r l; do echo $l; [ $l = 70 ] && break; done; sleep 0.05; echo extra{end}"
        );
        let run = raw(&script).args(["--pipeline=4", "--grace=0.1", "--journal", &journal]);
        let run = run.stdin(&lines).any_stdout().any_stderr().status(1).run();
        assert_has(&run.stderr, &["doubtful\n"]);
        assert_not_recorded(&journal, &["extra"]);
    }
}

#[test]
fn a_worker_may_end_after_its_reply() {
    for script in ["read -r l; echo $l", "exec head -n1", "read -r l; echo $l; exit 3"] {
        for pipeline in ["1", "4"] {
            // head reads all that there is.
            if script.contains("head") && pipeline == "4" {
                continue;
            }
            raw(script)
                .args(["--pipeline", pipeline])
                .stdin("a\nb\nc\n")
                .stdout("a\nb\nc\n")
                .any_stderr()
                .run();
        }
    }
}

/// Records that are not proven yet are in memory only while they are few.
#[test]
fn large_results_wait_for_their_proof_without_memory() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let journal = crew.path("journal");
    let reply = crew.file("reply", &("y".repeat(1 << 19) + "\n"));
    // The worker gets a break only after many times the slowest job.
    let script =
        format!("sleep 0.5; while read -r l; do [ $l = 1 ] && sleep 0.5; cat {reply}; done");
    let run = raw(&script).args(["--pipeline=8", "--journal", &journal]).stdin_open();
    let mut run = run.any_stdout().patience(120).spawn();
    for n in 1..=160 {
        run.write(&format!("{n}\n"));
    }
    for _ in 0..150 {
        assert_eq!(run.line().len(), 1 << 19);
    }
    let peak = peak_memory(run.pid()) >> 20;
    run.finish();
    assert!(peak < 48, "{peak} MiB");
    assert_eq!(done(&journal), 160);
}

#[test]
fn a_spare_that_prints_too_early_gets_no_job() {
    let output = raw("echo banner; exec cat")
        .args(["--max-reqs=1", "--format=record"])
        .stdin("a\nb\nc\n")
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    for record in output.records() {
        assert!(record["ok"] == false || record["result"] != "banner", "{record}");
    }
}

#[test]
fn json_without_ids_is_no_safer_than_raw() {
    let worker =
        r#"sh -c 'read -r l; echo "{\"result\":1}"; cat >/dev/null; echo "{\"result\":2}"'"#;
    let output =
        Test::new().workers(1, worker).jobs(["a"]).any_stdout().any_stderr().status(1).run();
    assert_eq!(result(&output.records()[0]), &json("1"));
    assert_has(&output.stderr, &["its result for job 1 (line 1) is doubtful"]);
    // With ids nothing can be taken for what it is not, and what is no reply misleads nobody.
    for end in [r#"echo "{\"id\":1,\"result\":2}""#, "echo bye"] {
        let worker = format!(
            r#"sh -c 'read -r l; echo "{{\"id\":1,\"result\":1}}"; cat >/dev/null; {end}'"#
        );
        let output = Test::new().workers(1, worker).jobs(["a"]).any_stdout().run();
        assert_eq!(result(&output.records()[0]), &json("1"));
    }
}

// ---- Lines for fresh workers

#[test]
fn raw_lines_of_init_and_notify_are_sent_as_they_are() {
    let worker = "while read -r l; do case $l in set*) state=\"$state<$l>\";; *) echo \"$state$l\";; esac; done";
    raw(worker)
        .args(["--init=hello [no JSON", "--notify=set x y", "--notify=set {"])
        .stdin("a\nb\n")
        .stdout("<set x y><set {>a\n<set x y><set {>b\n")
        .run();
    // One that answers what it is only told has printed something unasked.
    raw("exec cat").arg("--notify=x").stdin("a\n").any_stdout().stderr_has("'x\\n").status(1).run();
}

#[test]
fn what_fresh_workers_can_not_be_sent_is_wrong_usage_at_once() {
    let long = format!("--init={}", "x".repeat(70_000));
    for (args, part) in [
        (&["--notify=x"][..], "--notify 'x': the protocol jsonl has no message without a reply"),
        (&["--protocol=bazel", "--notify=x []"], "the protocol bazel has no message without"),
        (&["--protocol=bazel", "--init=x 5"], "--init 'x 5': the args of a Bazel worker"),
        (&["--protocol=jsonrpc", "--init=x 5"], "the params of JSON-RPC are an array"),
        (&["--protocol=raw", "--init=a\nb"], "the message holds a newline"),
        (&["--protocol=raw", "--framing=u16", &long], "the message has 70000 bytes"),
    ] {
        Test::new()
            .args(["-w", "touch started"])
            .args(args)
            .stdin("a\n")
            .stderr_has(part)
            .status(2)
            .run();
    }
}

// ---- What replies may look like

fn jsonl(reply: &str, options: &[&str]) -> Test {
    let script = format!("head -c1 >/dev/null; printf '{reply}'; cat >/dev/null");
    Test::new()
        .workers(1, format!("sh -c {}", shell_words::quote(&script)))
        .args(options)
        .jobs(["a"])
}

#[test]
fn replies_of_other_libraries() {
    for (reply, options, expected) in [
        (r#"{"result":1,"error":null}\n"#, &[][..], "1"),
        (r#"{"error":null,"id":1,"result":null}\n"#, &[], "null"),
        (r#"\357\273\277{"result":1}\n"#, &[], "1"),
        (r#"\357\273\277{"result":1}"#, &["--framing=json"], "1"),
        (r#"\r\n\nContent-Length: 12\r\n\r\n{"result":1}"#, &["--framing=content-length"], "1"),
        (
            r#"\357\273\277Content-Length: 12\r\n\r\n{"result":1}"#,
            &["--framing=content-length"],
            "1",
        ),
        (
            r#"{"exit_code":0,"output":"x","request_id":1}"#,
            &["--protocol=bazel", "--framing=json"],
            r#"{"exit_code":0,"output":"x"}"#,
        ),
        (
            r#"{"exitCode":0,"output":"x","requestId":1}"#,
            &["--protocol=bazel", "--framing=json"],
            r#"{"exit_code":0,"output":"x"}"#,
        ),
    ] {
        let output = jsonl(reply, options).args(["--format=value"]).any_stdout().run();
        assert_eq!(output.lines(), [expected], "{reply}");
    }
    let records = jsonl(r#"{"result":null,"error":"no"}\n"#, &[]).status(1).records();
    assert_eq!(message(&records[0], "error"), "no");
}

#[test]
fn what_is_no_reply_is_named_for_what_it_is() {
    for (reply, options, what) in [
        (r#"{"result":NaN}\n"#, &[][..], "it has NaN, which is no JSON, at column 11"),
        (r#"{"id":1,"result":[0,-Infinity]}\n"#, &[], "it has -Infinity, which is no JSON"),
        (r#"{"result":True}\n"#, &[], "it has True, which is Python'"),
        (r#"{\n  "result": 1\n}\n"#, &[], "its JSON goes on after this line, and a reply is one"),
        (r#"{"result":[\n1]}\n"#, &[], "or give --framing json"),
        (
            r#"Content-Length: 14\r\n\r\n{"result":"\303\251"}"#,
            &["--framing=content-length"],
            "its Content-Length is too small; perhaps it counts characters instead of bytes",
        ),
        (
            r#"Content-Length: 11\r\n\r\n{"result":1}"#,
            &["--framing=content-length"],
            "its end is missing: its Content-Length is too small: ",
        ),
        (r#"\005\000\000\000hello"#, &["--framing=u32"], "it looks like --framing u32le"),
        (r#"\000\000\000\005hello"#, &["--framing=u32le"], "it looks like --framing u32"),
        (r#"hello\n"#, &["--framing=u32"], "it looks like --framing line"),
        (r#"5:hello,"#, &["--framing=u32"], "it looks like --framing netstring"),
    ] {
        let records = jsonl(reply, options).any_stderr().status(1).records();
        assert_has(message(&records[0], "protocol"), &[what]);
    }
}

#[test]
fn a_timeout_tells_what_was_printed_of_an_unfinished_message() {
    for (reply, options, what) in [
        (
            "42",
            &["--protocol=raw"][..],
            "; it has printed '42', which is no whole message (job 1, line 1)\n",
        ),
        (
            r#"\001\000\000\000x"#,
            &["--protocol=raw", "--framing=u32"],
            "--framing u32le (job 1, line 1)\n",
        ),
        ("", &["--protocol=raw"], "and its worker was ended (job 1, line 1)\n"),
    ] {
        jsonl(reply, options)
            .args(["--timeout=1s", "--grace=0"])
            .stderr_has("(job 1, line 1")
            .stderr_has(": timed out after 1s, and its worker was ended")
            .stderr_has(what)
            .status(1)
            .run();
    }
}

// ---- stderr

#[test]
fn a_prompt_on_stderr_is_passed_on_before_its_line_ends() {
    let crew = Crew::new();
    let go = crew.path("go");
    let run = raw(&format!(
        "printf 'PIN: ' >&2; until [ -e {go} ]; do sleep 0.01; done; echo >&2; exec cat"
    ))
    .stdin("a\n")
    .stdout("a\n")
    .stderr("PIN: \n")
    .spawn();
    run.await_stderr("PIN: ");
    crew.file("go", "");
    run.finish();
}

#[test]
fn a_carriage_return_ends_a_piece_of_stderr() {
    let crew = Crew::new();
    let go = crew.path("go");
    let run = raw(&format!(
        "printf '10%%\\r20%%\\r' >&2; until [ -e {go} ]; do sleep 0.01; done; printf 'done\\r\\n' >&2; exec cat"
    ))
    .stdin("a\n")
    .stdout("a\n")
    .stderr("10%\r20%\rdone\r\n")
    .spawn();
    run.await_stderr("10%\r20%\r");
    crew.file("go", "");
    run.finish();
}

#[test]
fn a_message_does_not_go_on_behind_a_prompt() {
    let crew = Crew::new();
    let go = crew.path("go");
    let run = raw(&format!(
        "read -r l; printf 'PIN: ' >&2; until [ -e {go} ]; do sleep 0.01; done; kill -9 $$"
    ))
    .stdin("a\n")
    .any_stderr()
    .status(1)
    .spawn();
    run.await_stderr("PIN: ");
    crew.file("go", "");
    let output = run.finish();
    assert!(
        output.stderr.starts_with("PIN: \nprocpool: failed: a: the worker (pid "),
        "{}",
        output.stderr
    );
}

#[test]
fn a_crash_quotes_only_what_was_written_since_its_job_began() {
    let worker = "while read -r l; do [ $l = b ] && exit 3; [ $l = c ] && { echo dying >&2; exit 4; }; echo noise of $l >&2; echo $l; done";
    let output = raw(worker)
        .args(["--format=record"])
        .stdin("a\nb\nd\nc\n")
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    let records = output.records();
    let text = message(&records[1], "crash");
    assert!(text.ends_with("exited with status 3 before it answered"), "{text}");
    let text = message(&records[3], "crash");
    assert!(text.ends_with("before it answered; its stderr ended with: dying"), "{text}");
}

// ---- The hint after 10 s

/// All at the same time, since each takes 10 s.
#[test]
fn the_hint_never_blames_what_is_not_to_blame() {
    if !crate::common::heavy() {
        return;
    }
    let has_python = need("python3");
    let slow = |args: &[&str]| {
        Test::new()
            .args(["-j1", "--grace=0"])
            .args(args)
            .stdin("1\n")
            .any_stdout()
            .any_stderr()
            .spawn()
    };
    let mut runs = vec![
        // It has answered --init, so that it holds nothing back.
        (
            slow(&[
                "--protocol=raw",
                "--init=x",
                "-w",
                "sh -c 'read -r l; echo $l; read -r l; sleep 11; echo $l'",
            ]),
            "",
        ),
        (slow(&["--sh", "sleep 11; echo $1"]), ""),
        (
            slow(&["--protocol=raw", "--pty", "-w", "sh -c 'read -r l; sleep 11; echo $l'"]),
            "may still be working on it",
        ),
        (
            slow(&["--protocol=raw", "-w", "sh -c 'read -r l; printf half; sleep 11; echo $l'"]),
            "So far it has printed 'half', which is no whole message",
        ),
    ];
    if has_python {
        runs.push((slow(&["--python", "__import__('time').sleep(11) or x"]), ""));
    }
    for (run, part) in runs {
        let output = run.finish();
        match part {
            "" => assert_eq!(output.stderr, ""),
            part => assert_has(&output.stderr, &[part]),
        }
        for blame in ["buffer", "flush", "stdbuf", "--pty"] {
            assert!(!output.stderr.contains(blame), "{}", output.stderr);
        }
    }
}
