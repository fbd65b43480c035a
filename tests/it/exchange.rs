//! What ends a reply, what is sent around a request, what a program prints at its start, which results are
//! failures, and messages of any bytes. The workers are small scripts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::common::{Test, assert_has, message, need, quoted, result};

/// A worker that a shell runs.
fn raw(max_procs: usize, script: &str) -> Test {
    Test::new().workers(max_procs, format!("sh -c {}", quoted(script))).args(["--protocol", "raw"])
}

const ROWS: &str = "while read -r n; do seq $n; echo END; done";

#[test]
fn a_reply_of_any_number_of_lines() {
    let run = |args: &[&str]| raw(2, ROWS).args(args).stdin("3\n0\n1\n");
    run(&["--reply-end=END", "--format=value"]).stdout("\"1\\n2\\n3\"\n\"\"\n\"1\"\n").run();
    run(&["--reply-end=re:^E.D$", "--format=value"]).stdout("\"1\\n2\\n3\"\n\"\"\n\"1\"\n").run();
    run(&["--reply-end=END", "--keep-end"]).stdout("1\n2\n3\nEND\nEND\n1\nEND\n").run();
    // Many requests at a time.
    let rows: String = (0..3000).map(|n| format!("{}\n", n % 3)).collect();
    let expected: String = (0..3000).map(|n| ["\"\"\n", "\"1\"\n", "\"1\\n2\"\n"][n % 3]).collect();
    raw(2, ROWS)
        .args(["--reply-end=END", "--format=value", "--pipeline=64"])
        .stdin(rows)
        .stdout(expected)
        .run();
}

/// The newline after the mark comes later than the mark, as from a Python that does not buffer.
#[test]
fn a_mark_and_its_newline_may_come_apart() {
    let slow = "while read -r n; do printf 'a%s\\nEND' $n; sleep 0.005; echo; done";
    let jobs: String = (0..40).map(|n| format!("{n}\n")).collect();
    let expected: String = (0..40).map(|n| format!("a{n}\n")).collect();
    raw(2, slow).args(["--reply-end=END"]).stdin(jobs).stdout(expected).run();
}

#[test]
fn a_blank_line_and_a_prompt() {
    raw(1, "while read -r n; do seq $n; echo; done")
        .args(["--reply-end="])
        .stdin("2\n1\n")
        .stdout("1\n2\n1\n")
        .run();
    let prompt = "printf 'Welcome\\n\\n$ '; while read -r n; do seq $n; printf '$ '; done";
    raw(1, prompt)
        .args(["--reply-end=$ ", "--banner=$ "])
        .stdin("2\n1\n")
        .stdout("1\n2\n1\n")
        .run();
}

#[test]
fn a_banner_of_messages() {
    let script = "printf 'one\\ntwo\\n'; exec cat";
    raw(2, script).args(["--banner=2"]).stdin("a\nb\n").stdout("a\nb\n").run();
    raw(1, script)
        .args(["--reply-end=x"])
        .stdin("a\n")
        .stderr_has("if it prints this at each start, give --banner")
        .any_stdout()
        .status(1)
        .run();
    raw(1, script)
        .args(["--banner=3", "--start-timeout=2s", "--start-limit=1", "--grace=0.1s"])
        .stdin("a\n")
        .stderr_has("not printed what --banner says after 2s; it has printed 'one\\ntwo\\n'")
        .status(126)
        .run();
    raw(1, "exec cat")
        .args(["--banner=1", "--start-timeout=0.2s", "--start-limit=1", "--grace=0.1s"])
        .stdin("a\n")
        .stderr_has("it had not printed what --banner says after 200ms")
        .status(126)
        .run();
    raw(1, "exec yes")
        .args(["--banner=END", "--max-reply=100K", "--start-limit=1", "--grace=0.1s"])
        .stdin("a\n")
        .stderr_has("longer than the limit of 102400 bytes")
        .status(126)
        .run();
}

#[test]
fn requests_of_several_lines() {
    let script = "while read -r a; do [ \"$a\" = go ] && { echo \"$all\"; echo END; all=; } || all=$all-$a; done";
    let test =
        |args: &[&str]| raw(2, script).args(["--input=json", "--after-request=go"]).args(args);
    test(&["--reply-end=END"]).stdin("\"a\\nb\"\n\"c\"\n").stdout("-a-b\n-c\n").run();
    // Without an end, each line would have a reply.
    test(&[]).stdin("\"a\\nb\"\n").stderr_has("the message holds a newline").status(1).run();
    raw(1, "while read -r a; do echo \"$a\"; done")
        .args(["--before-request=first", "--reply-messages=2"])
        .stdin("a\nb\n")
        .stdout("first\na\nfirst\nb\n")
        .run();
}

#[test]
fn an_end_that_is_in_the_reply_is_an_error() {
    let output = raw(1, "while read -r n; do printf 'a\\nEND\\nb\\nEND\\n'; done")
        .args(["--reply-end=END"])
        .stdin("1\n2\n")
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    assert_has(&output.stderr, &["more than one reply", "--reply-end"]);
    // Rows that are taken for replies.
    let output =
        raw(1, "while read -r n; do seq $n; done").stdin("3\n").any_stderr().status(1).run();
    assert_has(&output.stderr, &["--reply-end says where one ends", "give --reply-messages 3)"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (args, part) in [
        (&["--reply-end=\\n.\\n"][..], "'re:\\n.\\n'"),
        (&["--reply-end=re:("], "--reply-end: the pattern is wrong"),
        (&["--reply-end=re:a*"], "matches an empty text"),
        (&["--keep-end"], "--reply-end"),
        (&["--reply-end=x", "--reply-messages=2"], "leave one out"),
        (&["--reply-end=x", "--framing=line,nul"], "leave one out"),
        (&["--banner=0"], "leave it out"),
        (&["--fail-on="], "a part of each result"),
        (&["--framing=line,soap"], "size-line"),
        (&["--input=csv"], "--input lines, json or base64"),
    ] {
        raw(1, "cat").args(args).stderr_has(part).status(2).run();
    }
    let jsonl = |arg: &str| Test::new().workers(1, "cat").arg(arg).status(2);
    jsonl("--reply-end=x").stderr_has("is for the protocol raw").run();
    jsonl("--after-request=x").stderr_has("raw and jsonrpc").run();
    Test::new().args(["--reply-end=x", "cat"]).stderr_has("is for a --worker").status(2).run();
    Test::new().args(["--input=base64", "cat"]).stderr_has("--protocol raw").status(2).run();
}

#[test]
fn results_that_are_failures() {
    let records = raw(1, "cat")
        .args(["--fail-on=no", "--fail-on=re:^\\?", "--format=record"])
        .stdin("yes\nnone\n? x\nx ?\n")
        .status(1)
        .records();
    assert_eq!(result(&records[0]), "yes");
    assert_eq!(message(&records[1], "error"), "none");
    assert_eq!(message(&records[2], "error"), "? x");
    assert_eq!(result(&records[3]), "x ?");
    // JSON results, of which one field tells.
    let worker = r#"while read -r line; do echo '{"result":{"status":"failed","n":1}}'; done"#;
    let records = Test::new()
        .workers(1, format!("sh -c {}", quoted(worker)))
        .args(["--fail-on=status=failed"])
        .jobs(["x"])
        .status(1)
        .records();
    assert_has(message(&records[0], "error"), &["failed"]);
    assert_eq!(records[0]["error"]["data"], json!({"status": "failed", "n": 1}));
}

#[test]
fn requests_and_replies_in_other_framings() {
    if !need("python3") {
        return;
    }
    let script = "import sys\nfor line in sys.stdin:\n    text = line.strip()[::-1] + '\\n'\n    \
                  print(f'Content-Length: {len(text)}\\r\\n\\r\\n{text}', end='', flush=True)";
    Test::new()
        .workers(2, format!("python3 -c {}", quoted(script)))
        .args(["--protocol=raw", "--framing=line,content-length", "--format=value"])
        .stdin("abc\nd\n")
        .stdout("\"cba\\n\"\n\"d\\n\"\n")
        .run();
}

#[test]
fn messages_of_any_bytes() {
    let cat = |args: &[&str]| raw(2, "cat").args(["--framing=u32"]).args(args);
    cat(&["--input=json", "--format=value"])
        .stdin("\"a\\nb\\u0000\"\n\n{\"a\": 1}\n\"é\"\n")
        .stdout("\"a\\nb\\u0000\"\n\"{\\\"a\\\": 1}\"\n\"é\"\n")
        .run();
    let bytes: Vec<u8> = (0..=255).collect();
    let coded = STANDARD.encode(&bytes);
    let lines = format!("{coded}\n\nAA\n");
    cat(&["--input=base64", "--format=base64"])
        .stdin(&lines)
        .stdout(format!("{coded}\n\nAA==\n"))
        .run();
    cat(&["--input=base64", "--format=record"])
        .stdin(format!("{coded}\nQQ==\n"))
        .stdout(format!(
            "{{\"id\":1,\"ok\":true,\"result_base64\":\"{coded}\"}}\n{{\"id\":2,\"ok\":true,\"result\":\"A\"}}\n"
        ))
        .run();
    let records =
        cat(&["--input=base64", "--format=record"]).stdin("a b\nQQ==\n").status(1).records();
    assert_has(message(&records[0], "invalid"), &["not base64", "--input base64"]);
    assert_eq!(result(&records[1]), "A");
    let records = cat(&["--input=json", "--format=record"]).stdin("{\n\"\"\n").status(1).records();
    assert_has(message(&records[0], "invalid"), &["not JSON"]);
    // The output of commands.
    Test::new()
        .args(["--format=base64", "printf", "a\\0{}\\n"])
        .stdin("b\nc\n")
        .stdout(format!("{}\n{}\n", STANDARD.encode("a\0b\n"), STANDARD.encode("a\0c\n")))
        .run();
}
