//! Workers that were not written for procpool: protocols, framings, handshakes.

use crate::common::{Crew, Test, assert_has, failures, message, need, result, without_times};
use rustix::process::Signal;
use serde_json::json;

const FRAMINGS: [&str; 9] =
    ["line", "nul", "u16", "u32", "u32le", "content-length", "netstring", "varint", "json"];

const HANDSHAKE: [&str; 2] = ["--init=initialize {\"version\":1}", "--notify=initialized {}"];

fn speaker(framing: &str, envelope: &str) -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    format!("python3 '{folder}/tests/workers/speaker.py' {framing} {envelope}")
}

fn speaks(framing: &str, envelope: &str) -> Test {
    Test::new().workers(2, speaker(framing, envelope)).args([
        "--protocol",
        envelope,
        "--framing",
        framing,
    ])
}

/// The message of the first job, which fails in this way in a run that ends with this status.
#[track_caller]
fn failure(test: Test, kind: &str, status: i32) -> String {
    let output = test.any_stdout().status(status).run();
    message(&output.records()[0], kind).to_owned()
}

#[test]
fn raw_messages_in_every_framing() {
    if !need("python3") {
        return;
    }
    let lines: Vec<_> = (1..=50).map(|n| format!("message {n} é")).collect();
    let answers: String = lines.iter().map(|line| format!("{line}!\n")).collect();
    for framing in FRAMINGS.into_iter().filter(|framing| *framing != "json") {
        speaks(framing, "raw").stdin(lines.join("\n")).stdout(&answers).run();
    }
    speaks("json", "raw")
        .stdin("1 \n{\"a\":[2]}\n")
        .stdout("\"1!\"\n\"{\\\"a\\\": [2]}!\"\n")
        .run();
}

#[test]
fn raw_messages_may_be_any_bytes() {
    if !need("python3") {
        return;
    }
    let lines = b"a\xff\xfe\n\nlast, without an end";
    let answers = b"a\xff\xfe!\n!\nlast, without an end!\n";
    for framing in ["line", "nul", "u16", "varint"] {
        speaks(framing, "raw").stdin(lines).stdout(answers).run();
    }
    speaks("u32", "raw").arg("-0").stdin(b"two\nlines\0\0").stdout("two\nlines!\n!\n").run();
}

#[test]
fn raw_results_as_records() {
    if !need("python3") {
        return;
    }
    let records = concat!(
        "{\"id\":1,\"ok\":true,\"result\":\"a\\\"!\"}\n",
        "{\"id\":2,\"ok\":true,\"result_base64\":\"/yE=\"}\n",
    );
    speaks("line", "raw").args(["--format", "record"]).stdin(b"a\"\n\xff\n").stdout(records).run();
    let values = "\"a!\"\n{\"base64\":\"/yE=\"}\n";
    speaks("line", "raw").args(["--format", "value"]).stdin(b"a\n\xff\n").stdout(values).run();
    speaks("line", "raw").arg("--tag").stdin("a\nb\n").stdout("a\ta!\nb\tb!\n").run();
}

#[test]
fn a_message_that_the_framing_can_not_hold_is_invalid() {
    if !need("python3") {
        return;
    }
    speaks("line", "raw")
        .arg("-0")
        .stdin("one\0two\nlines\0three\0")
        .stdout("one!\nthree!\n")
        .stderr(
            "procpool: failed: two\\nlines: invalid job: the message holds a newline, which would end it: \
             choose another --framing, such as u32 (job 2, line 2)\n",
        )
        .status(1)
        .run();
    let long = "x".repeat(65_536);
    speaks("u16", "raw")
        .stdin(format!("a\n{long}\nb\n"))
        .stdout("a!\nb!\n")
        .stderr_has("the message has 65536 bytes")
        .status(1)
        .run();
}

#[test]
fn a_raw_worker_that_dies_costs_its_job() {
    if !need("python3") {
        return;
    }
    for pipeline in ["1", "auto"] {
        let output = speaks("line", "raw")
            .args(["-j1", "--pipeline", pipeline, "--format", "record"])
            .stdin("1\n2\ndie\n3\n4\n")
            .any_stdout()
            .status(1)
            .run();
        let records = output.records();
        assert_has(message(&records[2], "crash"), &["was killed by SIGKILL"]);
        for (index, text) in [(0, "1!"), (1, "2!"), (3, "3!"), (4, "4!")] {
            assert_eq!(result(&records[index]), &json!(text));
        }
    }
}

#[test]
fn a_worker_that_does_not_speak_the_framing() {
    for (framing, what) in [
        ("content-length", "there is no header before it"),
        ("netstring", "a netstring begins with its length"),
        ("json", "no JSON value begins like this"),
    ] {
        let test = Test::new()
            .workers(1, "sh -c 'head -c1 >/dev/null; echo hello, I am no server; cat'")
            .args(["--protocol", "raw", "--framing", framing, "--format", "record"])
            .stdin("a\n");
        let text = failure(test, "protocol", 1);
        assert_has(&text, &[what]);
        assert_has(&text, &["'hello, I am no server"]);
    }
    // A length that announces too much is seen before all of it has come.
    let test = Test::new()
        .workers(1, r"sh -c 'head -c1 >/dev/null; printf \\377\\377\\377\\377abc; sleep 1000'")
        .args(["--protocol=raw", "--framing=u32", "--format=record"])
        .stdin("a\n");
    assert_has(&failure(test, "protocol", 1), &["longer than the limit"]);
}

#[test]
fn json_rpc_in_every_framing() {
    if !need("python3") {
        return;
    }
    let jobs = concat!(
        "echo {\"a\":[1,\"é\"]}\n",
        "echo\n",
        "nothing [1]\n",
        "echo 5\n",
        "ask [\"ping\"]\n",
        "ask [\"sampling/createMessage\"]\n",
        "ask [\"workspace/configuration\"]\n",
    );
    for framing in FRAMINGS {
        let output =
            speaks(framing, "jsonrpc").args(HANDSHAKE).stdin(jobs).any_stdout().status(1).run();
        let records = output.records();
        assert_eq!(result(&records[0]), &json!({"a": [1, "é"]}), "{framing}");
        assert_eq!(result(&records[1]), &json!(null));
        assert_eq!(message(&records[2], "error"), "there is no nothing");
        assert_eq!(records[2]["error"]["data"]["code"], json!(-32601));
        assert_has(
            message(&records[3], "invalid"),
            &["line 4: the params of JSON-RPC are an array"],
        );
        assert_eq!(result(&records[4]), &json!({"jsonrpc": "2.0", "result": {}}));
        assert_eq!(result(&records[5])["error"]["code"], json!(-32601));
        assert_eq!(result(&records[6]), &json!({"jsonrpc": "2.0", "result": []}));
    }
}

#[test]
fn replies_out_of_order_with_notifications_between() {
    if !need("python3") {
        return;
    }
    let output = speaks("content-length", "jsonrpc")
        .args(HANDSHAKE)
        .args(["-j1", "--pipeline=8"])
        // Only while there is plenty to do is a request sent before the last one is answered.
        .stdin(format!("hold [1]\nhold [2]\nrelease\n{}", "echo [3]\n".repeat(100)))
        .any_stdout()
        .run();
    let results: Vec<_> = output.records().iter().map(|record| record["result"].clone()).collect();
    assert_eq!(results[..4], [json!([1]), json!([2]), json!("released"), json!([3])]);
    assert_eq!(results.len(), 103);
}

#[test]
fn every_worker_is_initialized() {
    if !need("python3") {
        return;
    }
    let jobs: String = (1..=40).map(|n| format!("echo [{n}]\n")).collect();
    for standby in ["0", "2"] {
        let output = speaks("line", "jsonrpc")
            .args(HANDSHAKE)
            .args(["--max-reqs=5", "--standby", standby])
            .stdin(&jobs)
            .any_stdout()
            .run();
        for (index, record) in output.records().iter().enumerate() {
            assert_eq!(result(record), &json!([index + 1]), "{record}");
        }
    }
    // Without the handshake none of them works.
    let output = speaks("line", "jsonrpc").stdin("echo [1]\n").any_stdout().status(1).run();
    assert_eq!(message(&output.records()[0], "error"), "it is not initialized");
}

#[test]
fn a_worker_that_refuses_to_be_initialized_has_failed_to_start() {
    if !need("python3") {
        return;
    }
    let test = speaks("line", "jsonrpc")
        .args(["-j1", "--start-limit=2", "--init=initialize {\"fail\":true}"])
        .stdin("echo [1]\necho [2]\n");
    let text = failure(test.any_stderr(), "spawn", 126);
    assert_has(
        &text,
        &["it answered --init 'initialize {\"fail\":true}' with an error: not today"],
    );
    assert_has(&text, &["2 times in a row"]);
}

#[test]
fn a_worker_that_dies_while_it_is_initialized() {
    let test = Test::new()
        .workers(1, "sh -c 'read -r line; echo no such model >&2; exit 7'")
        .args(["--start-limit=1", "--init=load {\"model\":\"x\"}"])
        .stdin("a\n");
    let text = failure(test.any_stderr(), "spawn", 126);
    assert_has(&text, &["before it answered --init 'load {\"model\":\"x\"}'"]);
    assert_has(&text, &["exited with status 7"]);
    assert_has(&text, &["no such model"]);
}

#[test]
fn a_worker_that_never_answers_init_is_bounded_by_the_start_timeout() {
    let test = Test::new()
        .workers(1, "sleep 1000")
        .args(["--start-limit=1", "--init=load", "--start-timeout=200ms", "--grace=100ms"])
        .stdin("a\n");
    let text = failure(test.any_stderr(), "spawn", 126);
    assert_has(&text, &["it had not answered --init 'load' after 200ms"]);
}

#[test]
fn bazel_in_protocol_buffers_and_in_json() {
    if !need("python3") {
        return;
    }
    for (framing, digest) in [("varint", "00ff"), ("json", "AP8=")] {
        let output = speaks(framing, "bazel")
            .stdin(concat!(
                "tsc [\"one\"]\n",
                "tsc [\"one\",\"two\"]\n",
                "tsc {\"arguments\":[\"x\"],\"inputs\":[{\"path\":\"p\",\"digest\":\"AP8=\"}]}\n",
                "tsc {\"files\":1}\n",
            ))
            .any_stdout()
            .status(1)
            .run();
        let records = output.records();
        assert_eq!(result(&records[0]), &json!({"exit_code": 0, "output": "one\n"}));
        assert_eq!(message(&records[1], "exit"), "exit code 1: one two");
        assert_eq!(records[1]["error"]["data"], json!({"exit_code": 1, "output": "one two\n"}));
        assert_eq!(result(&records[2])["output"], json!(format!("x p={digest}\n")));
        assert_has(message(&records[3], "invalid"), &["array of strings"]);
    }
}

#[test]
fn workers_are_told_the_protocol() {
    for (args, expected) in [
        (&["--protocol=raw"][..], "raw"),
        (&["--protocol=raw", "--framing=line"], "raw"),
        (&["--protocol=raw", "--framing=json"], "raw+json"),
    ] {
        Test::new()
            .workers(1, "sh -c 'read -r line; echo \"\\\"$PROCPOOL_PROTOCOL\\\"\"'")
            .args(args)
            .stdin("1\n")
            .stdout(format!("\"{expected}\"\n"))
            .run();
    }
}

#[test]
fn what_does_not_go_together() {
    for (args, part) in [
        (&["--protocol=raw", "cat"][..], "--protocol is for a --worker: name one"),
        (&["--worker=cat", "--protocol=soap"], "invalid value 'soap' for '--protocol <NAME>'"),
        (&["--worker=cat", "--framing=morse"], "[possible values: line, nul, u16"),
        (
            &["--worker=cat", "--protocol=raw", "ping"],
            "each line is a whole message: leave out COMMAND",
        ),
        (
            &["--worker=cat", "--protocol=raw", "--header"],
            "with --protocol raw, where each line is a message without args: leave it out",
        ),
        (&["--worker=cat", "--init", ""], "it is empty, and should be a job line"),
        (&["--worker=cat", "--init", "a b"], "is not JSON"),
        (&["--framing=nul", "cat"], "--worker <CMDLINE>"),
        (&["--worker=a=cat", "--protocol=raw"], "a line can't say which worker it is for"),
    ] {
        Test::new().args(args).stderr_has(part).status(2).run();
    }
}

/// Programs that hold their output back are distinguished from slow ones, and each has its remedy.
#[test]
fn a_filter_that_buffers_is_diagnosed() {
    if !crate::common::heavy() {
        return;
    }
    let filters = [
        ("tr a b", "Run it as 'stdbuf -oL tr a b', or give it a terminal with --pty."),
        ("sed s/a/b/", "To cure that, run it as 'sed -u', or give it a terminal with --pty."),
        ("grep a", "run it as 'grep --line-buffered'"),
    ];
    let runs = filters.map(|(worker, remedy)| {
        let run = Test::new()
            .workers(1, worker)
            .args(["--protocol=raw", "--grace=0"])
            .stdin("a\n")
            .any_stdout()
            .stderr_has(remedy)
            .killed_by(Signal::INT)
            .spawn();
        (run, remedy)
    });
    for (run, remedy) in runs {
        run.await_stderr("job 1 (line 1): the worker (pid ");
        run.await_stderr("has read its request but not answered for 10 s");
        run.await_stderr(remedy);
        run.signal(Signal::INT);
        run.finish();
    }
}

#[test]
fn a_terminal_cures_programs_that_buffer() {
    let lines: String = (1..=300).map(|n| format!("a{n}\tb \u{e9}\n")).collect();
    for worker in ["tr a b", "sed s/a/b/"] {
        for pipeline in ["1", "auto"] {
            Test::new()
                .workers(2, worker)
                .args(["--protocol=raw", "--pty", "--max-reqs=70", "--pipeline", pipeline])
                .stdin(&lines)
                .stdout(lines.replace('a', "b"))
                .run();
        }
    }
    // A message is longer than what a terminal holds at a time, and passes as it is.
    let long = "x".repeat(100_000);
    Test::new()
        .workers(1, "cat")
        .args(["--protocol=raw", "--pty"])
        .stdin(format!("{long}\n\u{3}\u{4}\r\u{1b}[A\n"))
        .stdout(format!("{long}\n\u{3}\u{4}\r\u{1b}[A\n"))
        .run();
    Test::new()
        .workers(1, "sh -c 'test -t 1 && ! test -t 0 && ! test -t 2 && read -r l && echo $TERM'")
        .args(["--protocol=raw", "--pty"])
        .stdin("a\n")
        .stdout("dumb\n")
        .run();
}

/// Lines that come together go together, where nothing but their results is asked for: as if they
/// did not.
#[test]
fn bundled_lines_come_back_as_they_went() {
    if !crate::common::heavy() {
        return;
    }
    let mut lines = String::new();
    for n in 0..200_000_u32 {
        // Some are empty, some are long.
        let len = if n % 5000 == 0 { 30_000 } else { (n % 23) as usize };
        lines.push_str(&"x".repeat(len));
        lines.push('\n');
    }
    lines.push_str("the last one has no end");
    for worker in ["cat", "sed -u s/x/x/"] {
        for options in [&["-j3"][..], &["-j1"], &["-j2", "--max-reqs=777"]] {
            let expected = format!("{lines}\n");
            Test::new()
                .args(options)
                .args(["-w", worker, "--protocol=raw", "--pipeline=auto"])
                .stdin(&lines)
                .stdout(&expected)
                .run();
        }
    }
    // Each line is counted where that is asked for, and there are as many as before.
    let output = Test::new()
        .workers(2, "cat")
        .args(["--protocol=raw", "--pipeline=auto", "--summary"])
        .stdin(&lines)
        .any_stdout()
        .any_stderr()
        .run();
    assert_has(&output.stderr, &["200001 jobs: 200001 ok, 0 failed"]);
}

#[test]
fn a_line_of_a_bundle_that_kills_its_worker_fails_alone() {
    let worker = "perl -e '$| = 1; while (<STDIN>) { kill 9, $$ if /^die/; print }'";
    if !need("perl") {
        return;
    }
    let mut lines: Vec<String> = (1..=20_000).map(|n| n.to_string()).collect();
    let poison = [1, 3000, 3001, 12_345, 20_000];
    for n in poison {
        lines[n - 1] = format!("die {n}");
    }
    let expected: String = lines
        .iter()
        .filter(|line| !line.starts_with("die"))
        .map(|line| format!("{line}\n"))
        .collect();
    let output = Test::new()
        .workers(2, worker)
        .args(["--protocol=raw", "--pipeline=auto"])
        .stdin(lines.join("\n"))
        .stdout(&expected)
        .any_stderr()
        .status(1)
        .run();
    let stderr = without_times(&output.stderr);
    let failures = failures(&stderr);
    assert_eq!(failures.len(), poison.len(), "{}", output.stderr);
    for (failure, n) in failures.iter().zip(poison) {
        assert_has(failure, &[&format!("(job {n}, line {n})"), ": the worker (pid ", "SIGKILL"]);
    }
}

#[test]
fn bundled_lines_that_are_interrupted_have_one_outcome_each() {
    let crew = Crew::new();
    let path = crew.path("seen");
    // Quick, and then it hangs.
    let worker = format!(
        "sh -c 'n=0; while read -r l; do n=$((n+1)); [ $n -gt 5000 ] && {{ echo > {path}; sleep 1000; }}; echo \"$l\"; done'"
    );
    let run = Test::new()
        .workers(1, worker)
        .args(["--protocol=raw", "--pipeline=auto", "--grace=0"])
        .stdin((1..=100_000).map(|n| format!("{n}\n")).collect::<String>())
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::INT)
        .spawn();
    crate::common::wait_for("the worker to hang", || std::fs::exists(&path).expect("a folder"));
    run.signal(Signal::INT);
    let output = run.finish();
    let done: Vec<u32> =
        output.lines().iter().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(done, (1..=5000).collect::<Vec<_>>());
    let cancelled =
        output.stderr.lines().filter(|line| line.contains(": it was running when")).count();
    let left = output.stderr.lines().find_map(|line| {
        line.strip_prefix("procpool: the run was ended: ")?.split(' ').next()?.parse::<usize>().ok()
    });
    // The first of those that are not done is the 5001st; they follow each other without a gap.
    assert!(
        cancelled >= 1
            && output.stderr.contains(": it was running when the run was ended (job 5001, "),
        "{}",
        output.stderr
    );
    assert!(left.is_some_and(|left| left + cancelled + 5000 <= 100_000), "{}", output.stderr);
}

#[test]
fn blanks_without_an_end_are_no_reply() {
    let worker = r#"sh -c 'read -r line; exec yes ""'"#;
    let test = Test::new()
        .workers(1, worker)
        .args(["--framing", "json", "--max-reply", "1000"])
        .jobs(["a []"]);
    assert_has(&failure(test.any_stderr(), "protocol", 1), &["--max-reply"]);
}

#[test]
fn questions_without_an_end_are_no_reply() {
    let worker = r#"sh -c 'read -r line; exec yes "{\"id\":1,\"method\":\"ping\"}"'"#;
    let test = Test::new().workers(1, worker).args(["--protocol", "jsonrpc"]).jobs(["a []"]);
    assert_has(&failure(test.any_stderr(), "protocol", 1), &["does not read the answers"]);
}

#[test]
fn a_result_of_several_lines_is_one_record() {
    let worker = r#"sh -c 'while read -r line; do printf "{\"result\":[1,\r\n2]\n}"; done'"#;
    let test = || Test::new().workers(1, worker).args(["--framing", "json"]).jobs(["a []", "b []"]);
    assert_eq!(test().records().iter().map(result).collect::<Vec<_>>(), [&json!([1, 2]); 2]);
    test().args(["--format", "value"]).stdout("[1,  2]\n[1,  2]\n").run();
}

#[test]
fn a_filter_that_prints_a_line_too_many_is_found_out_in_bundles_as_well() {
    if !need("perl") {
        return;
    }
    let worker = "perl -e '$| = 1; while (<STDIN>) { print; print \"EXTRA\\n\" if $_ == 20_000 }'";
    let lines: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let output = Test::new()
        .workers(1, worker)
        .args(["--protocol=raw", "--pipeline=auto"])
        .stdin(&lines)
        .any_stdout()
        .any_stderr()
        .any_status()
        .run();
    // What came at once is charged to a job. What came later, without a request, is reported.
    let is_charged = output.stderr.contains("procpool: failed: 20000: it printed more than");
    let is_told = output.stderr.contains("it printed a reply without being asked");
    assert!(is_charged || is_told, "{}", output.stderr);
    assert!(!output.lines().contains(&"EXTRA"));
}

#[test]
fn a_worker_that_answers_init_twice_is_not_fit() {
    let worker = "sh -c 'read -r l; echo \"{\\\"result\\\":1}\"; sleep 0.1; read -r l; echo \"{\\\"result\\\":2}\"; cat'";
    let output = Test::new()
        .workers(1, worker)
        .args(["--init=hello", "--max-reqs=1", "--start-limit=2"])
        .stdin("a\n")
        .any_stdout()
        .run();
    assert_eq!(result(&output.records()[0]), &json!(2));
    let twice = "sh -c 'read -r l; printf \"{\\\"id\\\":1,\\\"result\\\":1}\\n{\\\"id\\\":1,\\\"result\\\":1}\\n\"; cat'";
    let test =
        Test::new().workers(1, twice).args(["--init=hello", "--start-limit=1"]).stdin("a\nb\n");
    assert_has(&failure(test.any_stderr(), "spawn", 126), &["--init 'hello'"]);
}

/// The timeout is for jobs: a worker may take longer to become ready for them.
#[test]
fn the_timeout_is_not_that_of_init() {
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.worker("--sleep-at-start 300"))
        .args(["--init=sleep [1100]", "--timeout=1", "--format=value"])
        .jobs(["echo [1]", "echo [2]"])
        .stdout("[1]\n[2]\n")
        .run();
}

/// A spare that is still being asked when its turn comes is waited for, not ended and started anew.
#[test]
fn a_spare_that_is_warming_up_is_waited_for() {
    let crew = Crew::new();
    let starts = crew.path("starts");
    let worker = format!(
        "sh -c 'echo >> {starts}; read -r l; sleep 0.5; echo \"{{\\\"result\\\":0}}\"; while read -r l; do sleep 0.05; echo \"{{\\\"result\\\":1}}\"; done'"
    );
    Test::new()
        .workers(1, worker)
        .args(["--init=hello", "--max-reqs=4", "--format=value"])
        .stdin("a\n".repeat(16))
        .stdout("1\n".repeat(16))
        .run();
    let count = std::fs::read_to_string(&starts).expect("it was started").lines().count();
    // One for each four jobs, and perhaps one more that was not needed.
    assert!((4..=5).contains(&count), "{count} processes");
}
