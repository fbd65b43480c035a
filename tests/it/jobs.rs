//! The forms of job lines, and the results of lines that are no jobs.

use crate::common::{Crew, Test, assert_has, json, message, peak_memory, result, worker};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The results of these jobs, all of which succeed.
#[track_caller]
fn results(input: impl AsRef<[u8]>) -> Vec<Value> {
    let test = Test::new().workers(2, worker("")).stdin(input);
    let records = test.records();
    records.iter().map(|record| result(record).clone()).collect()
}

/// The message about a bad line, which is line 3 between good ones.
#[track_caller]
fn complaint(bad: impl AsRef<[u8]>, options: &[&str]) -> String {
    let mut input = b"echo [1]\necho [2]\n".to_vec();
    input.extend_from_slice(bad.as_ref());
    input.extend_from_slice(b"\necho [4]\n");
    let test = Test::new().workers(1, worker("")).args(options);
    let records = test.stdin(input).status(1).records();
    assert_eq!(records.len(), 4, "{records:?}");
    for (at, id) in [(0, 1), (1, 2), (3, 4)] {
        assert_eq!(records[at], json!({"id": id, "ok": true, "result": [id]}));
    }
    let text = message(&records[2], "invalid").to_owned();
    assert_has(&text, &["line 3"]);
    text
}

#[test]
fn a_job_is_an_object() {
    let input = r#"{"cmd":"echo","args":[1,"two",{"three":3}]}"#;
    Test::new()
        .workers(1, worker(""))
        .stdin(format!("{input}\n"))
        .stdout("{\"id\":1,\"ok\":true,\"result\":[1,\"two\",{\"three\":3}]}\n")
        .run();
}

#[test]
fn a_job_is_a_word_and_its_args() {
    let input = "echo [1, \"two\", {\"three\": 3}]\nadd [2,3]\nfirst  [ 7 ] \n";
    assert_eq!(results(input), [json!([1, "two", {"three": 3}]), json!(5), json!(7)]);
}

#[test]
fn args_are_optional() {
    assert_eq!(results("echo\n{\"cmd\":\"echo\"}\n"), [json!([]), json!([])]);
}

#[test]
fn args_are_any_json_value() {
    let input = "echo {\"a\":1}\necho null\n{\"cmd\":\"echo\",\"args\":\"text\"}\necho 1.50\n";
    let expected = [json!({"a": 1}), json!(null), json!("text"), json!(1.5)];
    assert_eq!(results(input), expected);
}

#[test]
fn the_order_of_the_keys_does_not_matter() {
    let records = Test::new()
        .workers(1, worker(""))
        .stdin("{ \"args\" : [ 1 ] , \"id\" : \"x\" , \"cmd\" : \"echo\" }")
        .records();
    assert_eq!(records, [json!({"id": "x", "ok": true, "result": [1]})]);
}

#[test]
fn an_id_is_a_string_or_a_number_and_by_default_the_number_of_the_job() {
    Test::new()
        .workers(1, worker(""))
        .jobs([
            r#"{"cmd":"pid","id":"j1"}"#,
            r#"# a comment counts as no job"#,
            r#"{"cmd":"echo"}"#,
            r#"{"cmd":"echo","id":42}"#,
            r#"{"cmd":"echo","id":-1.5}"#,
            r#"{"cmd":"echo","id":"ä \"\\ b"}"#,
            r#"echo"#,
        ])
        .any_stdout()
        .run()
        .records()
        .iter()
        .zip([json!("j1"), json!(2), json!(42), json!(-1.5), json!("ä \"\\ b"), json!(6)])
        .for_each(|(record, id)| assert_eq!(record["id"], id, "{record}"));
}

#[test]
fn two_jobs_may_have_the_same_id() {
    Test::new()
        .workers(2, worker(""))
        .jobs([r#"{"cmd":"echo","args":[1],"id":"a"}"#, r#"{"cmd":"echo","args":[2],"id":"a"}"#])
        .stdout("{\"id\":\"a\",\"ok\":true,\"result\":[1]}\n{\"id\":\"a\",\"ok\":true,\"result\":[2]}\n")
        .run();
}

#[test]
fn a_result_is_passed_on_as_the_worker_wrote_it() {
    Test::new()
        .workers(1, worker(""))
        .jobs([
            r#"raw ["123456789012345678901234567890"]"#,
            r#"raw ["1.0"]"#,
            r#"raw ["1e400"]"#,
            r#"raw ["{\"b\": 1,  \"a\": 2, \"a\": 3}"]"#,
            r#"raw ["\"\\u00e9\\/\""]"#,
        ])
        .stdout(concat!(
            "{\"id\":1,\"ok\":true,\"result\":123456789012345678901234567890}\n",
            "{\"id\":2,\"ok\":true,\"result\":1.0}\n",
            "{\"id\":3,\"ok\":true,\"result\":1e400}\n",
            "{\"id\":4,\"ok\":true,\"result\":{\"b\": 1,  \"a\": 2, \"a\": 3}}\n",
            "{\"id\":5,\"ok\":true,\"result\":\"\\u00e9\\/\"}\n",
        ))
        .run();
}

#[test]
fn args_are_passed_on_as_they_were_written() {
    Test::new()
        .workers(1, worker(""))
        .jobs([
            r#"echo [123456789012345678901234567890,1.0,1e400,"\u00e9"]"#,
            r#"{"cmd":"echo","args":[123456789012345678901234567890,1.0,1e400,"\u00e9"]}"#,
        ])
        .stdout(concat!(
            "{\"id\":1,\"ok\":true,\"result\":[123456789012345678901234567890,1.0,1e400,\"\\u00e9\"]}\n",
            "{\"id\":2,\"ok\":true,\"result\":[123456789012345678901234567890,1.0,1e400,\"\\u00e9\"]}\n",
        ))
        .run();
}

#[test]
fn blank_lines_and_comments_are_skipped() {
    assert_eq!(results("\n# a comment\n#\n   \t \necho [1]\n\n#echo\n"), [json!([1])]);
}

#[test]
fn lines_may_end_in_crlf() {
    let input = "{\"cmd\":\"echo\",\"args\":[1]}\r\necho [2]\r\n\r\n# comment\r\necho\r\n";
    assert_eq!(results(input), [json!([1]), json!([2]), json!([])]);
}

#[test]
fn the_last_line_needs_no_newline() {
    assert_eq!(results("echo [1]\necho [2]"), [json!([1]), json!([2])]);
    assert_eq!(results("echo"), [json!([])]);
    assert_eq!(results("{\"cmd\":\"echo\"}"), [json!([])]);
}

#[test]
fn no_jobs_no_output_and_no_process() {
    for input in ["", "\n\n", "# only a comment\n", "#", "\r\n"] {
        let crew = Crew::new();
        Test::new().workers(4, crew.worker("")).stdin(input).run();
        assert!(crew.log().is_empty(), "{input:?} started {:?}", crew.log());
    }
}

#[test]
fn a_line_that_is_no_json() {
    let text = complaint(r#"{"cmd":"echo","args":[1}"#, &[]);
    assert_has(&text, &["column 24"]);
}

#[test]
fn a_line_that_stops_short() {
    let text = complaint(r#"{"cmd":"echo","args":[1"#, &[]);
    assert_has(&text, &["column"]);
}

#[test]
fn something_behind_the_object() {
    let text = complaint(r#"{"cmd":"echo"} {"cmd":"echo"}"#, &[]);
    assert_has(&text, &["column 16"]);
}

#[test]
fn an_unknown_key() {
    let text = complaint(r#"{"cmd":"echo","colour":"red"}"#, &[]);
    assert_has(&text, &["colour", "cmd", "args", "id", "timeout", "retries", "column"]);
}

#[test]
fn the_same_key_twice() {
    let text = complaint(r#"{"cmd":"echo","args":[1],"args":[2]}"#, &[]);
    assert_has(&text, &["args"]);
}

#[test]
fn no_cmd() {
    let text = complaint(r#"{"args":[1]}"#, &[]);
    assert_has(&text, &["cmd"]);
    assert_has(&complaint("{}", &[]), &["cmd"]);
}

#[test]
fn a_cmd_that_is_no_string() {
    for cmd in ["1", "null", "[]", "{}", "true"] {
        let text = complaint(format!("{{\"cmd\":{cmd}}}"), &[]);
        assert_has(&text, &["string"]);
    }
}

#[test]
fn an_id_that_is_neither_string_nor_number() {
    for id in ["null", "[1]", "{}", "true"] {
        let text = complaint(format!("{{\"cmd\":\"echo\",\"id\":{id}}}"), &[]);
        assert_has(&text, &["id", "string", "number"]);
    }
}

#[test]
fn a_timeout_that_is_none() {
    for timeout in ["\"soon\"", "-1", "[]", "true", "\"-1s\""] {
        let text = complaint(format!("{{\"cmd\":\"echo\",\"timeout\":{timeout}}}"), &[]);
        assert_has(&text, &["timeout"]);
    }
}

#[test]
fn args_that_are_no_json_in_the_text_form() {
    let text = complaint("echo [1,", &[]);
    assert_has(&text, &["column"]);
    let text = complaint("echo a.png", &[]);
    assert_has(&text, &["column 6"]);
    let text = complaint("echo [1] [2]", &[]);
    assert_has(&text, &["column 10"]);
}

#[test]
fn bytes_that_are_not_utf_8() {
    let text = complaint(b"echo [\"\xff\xfe\"]", &[]);
    assert_has(&text, &["UTF-8", "column 8"]);
    let text = complaint(b"{\"cmd\":\"ech\xc3\"}", &[]);
    assert_has(&text, &["UTF-8"]);
    let text = complaint(b"\xff", &[]);
    assert_has(&text, &["UTF-8", "column 1"]);
}

#[test]
fn nul_bytes() {
    assert_has(&complaint(b"echo [\"\0\"]", &[]), &["column"]);
    assert_has(&complaint(b"{\"cmd\":\"echo\"\0}", &[]), &["column"]);
    complaint(b"ec\0ho", &[]);
}

#[test]
fn an_invalid_job_keeps_the_id_that_it_names() {
    let records = Test::new()
        .workers(1, worker(""))
        .jobs([r#"{"id":"j1","cmd":"echo","colour":1}"#, r#"{"cmd":"echo","colour":1}"#])
        .status(1)
        .records();
    assert_eq!(records[0]["id"], "j1");
    assert_eq!(records[1]["id"], 2);
}

#[test]
fn a_line_over_the_limit() {
    let long = format!("echo [\"{}\"]", "x".repeat(992));
    assert_eq!(long.len(), 1001);
    let text = complaint(&long, &["--max-line", "1000"]);
    assert_has(&text, &["1000", "--max-line"]);
    let fits = long.replacen('x', "", 1);
    let records =
        Test::new().workers(1, worker("")).args(["--max-line", "1000"]).stdin(fits).records();
    assert_eq!(result(&records[0])[0], "x".repeat(991));
}

#[test]
fn an_overlong_last_line_without_a_newline() {
    let records = Test::new()
        .workers(1, worker(""))
        .args(["--max-line", "1000"])
        .stdin(format!("echo [1]\n{}", "x".repeat(300_000)))
        .status(1)
        .records();
    assert_eq!(records.len(), 2);
    assert_has(message(&records[1], "invalid"), &["line 2", "--max-line"]);
}

#[test]
fn a_line_of_100_mb_is_over_the_default_limit() {
    let text = complaint(format!("echo [\"{}\"]", "x".repeat(100_000_000)), &[]);
    assert_has(&text, &["--max-line"]);
}

#[test]
fn an_overlong_line_is_not_held_in_memory() {
    let mut run = Test::new()
        .workers(1, worker(""))
        .args(["--max-line", "1M"])
        .stdin_open()
        .any_stdout()
        .status(1)
        .spawn();
    let piece = "x".repeat(1_000_000);
    for _ in 0..100 {
        run.write(&piece);
    }
    run.write("\necho [2]\n");
    message(&run.record(), "invalid");
    assert_eq!(result(&run.record()), &json!([2]));
    let peak = peak_memory(run.pid());
    assert!(peak < 30_000 << 10, "held {peak} bytes");
    run.finish();
}

#[test]
fn jobs_of_several_megabytes() {
    let long = "x".repeat(5_000_000);
    let input = format!(
        "echo [1]\necho [\"{long}\"]\n{{\"cmd\":\"first\",\"args\":[\"{long}\"]}}\necho [4]\n"
    );
    let expected = format!(
        "{{\"id\":1,\"ok\":true,\"result\":[1]}}\n{{\"id\":2,\"ok\":true,\"result\":[\"{long}\"]}}\n\
         {{\"id\":3,\"ok\":true,\"result\":\"{long}\"}}\n{{\"id\":4,\"ok\":true,\"result\":[4]}}\n"
    );
    Test::new().workers(2, worker("")).stdin(input).stdout(expected).run();
}

#[test]
fn files_are_read_one_after_the_other() {
    let crew = Crew::new();
    let first = crew.file("first", "echo [1]\necho [2]");
    let second = crew.file("second", "echo [3]\n");
    Test::new()
        .workers(2, crew.worker(""))
        .args(["-a", &first, "--arg-file", &second])
        .stdin("echo [\"not read\"]\n")
        .stdout(concat!(
            "{\"id\":1,\"ok\":true,\"result\":[1]}\n",
            "{\"id\":2,\"ok\":true,\"result\":[2]}\n",
            "{\"id\":3,\"ok\":true,\"result\":[3]}\n",
        ))
        .run();
}

#[test]
fn the_message_about_a_bad_line_names_its_file() {
    let crew = Crew::new();
    let first = crew.file("first.jobs", "echo [1]\necho [2]\n");
    let second = crew.file("second.jobs", "echo [3]\necho [\n");
    let records = Test::new()
        .workers(1, crew.worker(""))
        .args(["-a", &first, "-a", &second])
        .status(1)
        .records();
    assert_eq!(records.len(), 4);
    assert_has(message(&records[3], "invalid"), &["second.jobs", "line 2"]);
}

#[test]
fn a_file_that_is_missing() {
    let crew = Crew::new();
    let first = crew.file("first", "echo [1]\n");
    let last = crew.file("last", "echo [2]\n");
    let output = Test::new()
        .workers(1, crew.worker(""))
        .args(["-a", &first, "-a", &crew.path("missing"), "-a", &last])
        .stdout("{\"id\":1,\"ok\":true,\"result\":[1]}\n{\"id\":2,\"ok\":true,\"result\":[2]}\n")
        .stderr_has(crew.path("missing"))
        .stderr_has("no such file")
        .status(125)
        .run();
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_file_that_is_a_directory() {
    let crew = Crew::new();
    let last = crew.file("last", "echo [1]\n");
    Test::new()
        .workers(1, crew.worker(""))
        .args(["-a", &crew.path("."), "-a", &last])
        .stdout("{\"id\":1,\"ok\":true,\"result\":[1]}\n")
        .stderr_has(crew.path("."))
        .stderr_has("directory")
        .status(125)
        .run();
}

#[test]
fn no_file_can_be_read() {
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.worker(""))
        .args(["-a", &crew.path("missing")])
        .stderr_has("missing")
        .status(125)
        .run();
    assert!(crew.log().is_empty(), "no process is started: {:?}", crew.log());
}

#[test]
fn an_empty_file_is_no_error() {
    let crew = Crew::new();
    Test::new()
        .workers(1, crew.worker(""))
        .args(["-a", &crew.file("empty", ""), "-a", "/dev/null"])
        .run();
}

#[test]
fn lines_may_end_in_nul_and_then_hold_newlines() {
    let input =
        "{\"cmd\":\"echo\",\n \"args\":[1,\n  2]}\0echo [\n3\n]\0\0echo\0# comment\0echo [4]";
    let records = Test::new().workers(1, worker("")).arg("-0").stdin(input).records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    assert_eq!(results, [&json!([1, 2]), &json!([3]), &json!([]), &json!([4])]);
}

#[test]
fn with_a_command_each_line_is_an_arg() {
    let records = Test::new()
        .workers(1, worker(""))
        .arg("echo")
        .stdin("a b\n# no comment\n{\"cmd\":\"x\"}\n\"quoted\" \\ ä\nlast")
        .records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    let expected = ["a b", "# no comment", "{\"cmd\":\"x\"}", "\"quoted\" \\ ä", "last"];
    assert_eq!(results, expected.map(|arg| json!([arg])).iter().collect::<Vec<_>>());
}

#[test]
fn args_behind_the_command_stand_before_the_line() {
    let records = Test::new()
        .workers(1, worker(""))
        .args(["echo", "-x", "--stream", "{}"])
        .stdin("a b\n")
        .records();
    assert_eq!(result(&records[0]), &json!(["-x", "--stream", "{}", "a b"]));
}

#[test]
fn plain_lines_of_control_characters() {
    let records = Test::new()
        .workers(1, worker(""))
        .args(["--null", "echo"])
        .stdin("a\nb\0\u{1}\u{1f}\u{7f}\t\r\0\"\\")
        .records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    let expected = ["a\nb", "\u{1}\u{1f}\u{7f}\t\r", "\"\\"];
    assert_eq!(results, expected.map(|arg| json!([arg])).iter().collect::<Vec<_>>());
}

#[test]
fn with_a_command_a_line_may_be_its_json_args() {
    let records = Test::new()
        .workers(1, worker(""))
        .args(["--input", "json", "echo"])
        .stdin("[1, 2]\n{\"a\": 1}\n\"text\"\nnull\n")
        .records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    let expected = [json!([1, 2]), json!({"a": 1}), json!("text"), json!(null)];
    assert_eq!(results, expected.iter().collect::<Vec<_>>());
}

#[test]
fn bad_plain_lines() {
    let records = Test::new()
        .workers(1, worker(""))
        .args(["--input", "json", "echo"])
        .stdin("[1]\n[1,\n[3]\n")
        .status(1)
        .records();
    assert_has(message(&records[1], "invalid"), &["line 2", "column"]);
    assert_eq!(result(&records[2]), &json!([3]));

    let records = Test::new()
        .workers(1, worker(""))
        .arg("echo")
        .stdin(b"ok\nab\xff\nok\n")
        .status(1)
        .records();
    assert_has(message(&records[1], "invalid"), &["line 2", "UTF-8", "column 3"]);
    assert_eq!(result(&records[2]), &json!(["ok"]));
}

#[test]
fn plain_lines_from_files() {
    let crew = Crew::new();
    let file = crew.file("lines", "a\nb\n");
    let records =
        Test::new().workers(1, crew.worker("")).args(["-a", &file, "-a", &file, "echo"]).records();
    let results: Vec<&Value> = records.iter().map(result).collect();
    assert_eq!(results, ["a", "b", "a", "b"].map(|arg| json!([arg])).iter().collect::<Vec<_>>());
}

#[test]
fn wrong_usage() {
    let worker = worker("");
    for (args, part) in [
        (&["--max-procs", "0x", "-w", &worker][..], "--max-procs"),
        (&["--max-procs", "many", "-w", &worker], "--max-procs"),
        (&["--no-such-option"], "--no-such-option"),
        (&["--format", "xml", "-w", &worker], "xml"),
        (&["--timeout", "soon", "-w", &worker], "--timeout"),
        (&["--max-line", "0", "-w", &worker], "--max-line"),
        (&["--stream", "-k", "-w", &worker], "--stream"),
        (&["--worker", "sh -c 'unbalanced"], "quote"),
        (&["--worker", ""], "empty"),
        (&["--input", "json", "-w", &worker], "COMMAND"),
        (&["--input", "json", "-w", &worker, "echo", "x"], "ARG"),
        (&["--shell", "-w", &worker], "--worker"),
        (&["--dry-run", "-w", &worker], "--worker"),
        (&["--detail", "echo"], "--format record"),
        (&["--tag", "-w", &worker], "--format text"),
        (&["--input", "csv"], "COMMAND"),
        (&["--header"], "COMMAND"),
        (&["--input", "json", "-n", "2", "echo"], "-n"),
        (&["--input", "csv", "-0", "echo"], "-0"),
        (&["-a", "x", "echo", ":::", "a"], "-a"),
        (&["-d", "ab", "echo"], "one character"),
        (&["-n", "0", "echo"], "max"),
        (&["--rate", "10/x", "echo"], "10/s"),
        (&["--halt", "later", "echo"], "now"),
        (&["--env", "x", "echo"], "NAME=VALUE"),
    ] {
        let output = Test::new().args(args).stderr_has(part).status(2).run();
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    }
}

/// A line and whether it is a job, or at least meant to be one.
fn line() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let meant = prop_oneof![
        4 => "echo [0-9]{0,3}".prop_map(String::into_bytes),
        4 => r#"\{"cmd":"echo","args":\[[0-9]{1,3}\]\}"#.prop_map(String::into_bytes),
        2 => r#"[\{\["a-z][ -~]{0,30}"#.prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 1..20),
    ];
    let meant = meant.prop_filter("what it is must be plain", |line| {
        let first = line[0];
        first > b' ' && first != b'#' && !line.contains(&b'\n')
    });
    prop_oneof![
        8 => meant.prop_map(|line| (line, true)),
        1 => Just((Vec::new(), false)),
        1 => "#[ -~]{0,10}".prop_map(|line| (line.into_bytes(), false)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_job_that_was_read_gets_one_result(
        lines in prop::collection::vec(line(), 0..40),
        newline: bool,
    ) {
        let mut input: Vec<u8> = lines.iter().flat_map(|(line, _)| [line, &b"\n"[..]].concat()).collect();
        if newline && lines.last().is_some_and(|(_, job)| *job) {
            input.pop();
        }
        let jobs = lines.iter().filter(|(_, job)| *job).count();
        let output = crate::common::Test::new().workers(2, worker("")).stdin(&input).any_stdout().any_status().run();
        let ids: Vec<Value> = output.lines().into_iter().map(|line| json(line)["id"].clone()).collect();
        prop_assert_eq!(ids.len(), jobs, "{:?}", ids);
    }
}
