//! Code as the job in `sh`: `--sh`. It has no JSON, so it differs from the other languages of
//! `tests/it/code.rs` in its results and errors.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::common::{Test, assert_has, find_program, message, need, result};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tempfile::TempDir;

/// A folder for PATH whose `sh` is another shell, for each that is installed.
fn shells() -> impl Iterator<Item = (String, TempDir)> {
    ["dash", "bash", "busybox"].into_iter().filter_map(|name| {
        let program = find_program(name)?;
        let folder = TempDir::new().expect("a folder");
        // The name decides which shell it is, and whether it keeps to POSIX.
        symlink(program, folder.path().join("sh")).expect("a link");
        let path = std::env::var("PATH").expect("a path");
        Some((format!("{}:{path}", folder.path().display()), folder))
    })
}

fn sh(path: &str, code: &str) -> Test {
    Test::new().env("PATH", path).args(["--sh", code])
}

fn write(folder: &TempDir, text: &str) -> String {
    let path = folder.path().join("functions.sh");
    fs::write(&path, text).expect("the folder can be written to");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn an_expression_for_each_line() {
    for (path, _folder) in shells() {
        let input: String = (1..=100).map(|n| format!("{n}\n")).collect();
        let expected: String = (1..=100).map(|n| format!("{}\n", 2 * n)).collect();
        sh(&path, "echo $(($1 * 2))").arg("-j2").stdin(&input).stdout(expected).run();
        sh(&path, "echo \"$#:$2\"; echo")
            .args(["--input", "json"])
            .stdin("[\"a b\",{\"k\": [1, \"x  y\"]}]\n[]\n7\n")
            .stdout("2:{\"k\":[1,\"x  y\"]}\n0:\n1:\n")
            .run();
    }
}

#[test]
fn a_status_other_than_0_is_an_error() {
    for (path, _folder) in shells() {
        for setup in [":", "set -e; IFS='0123456789 a-e'", "set -u"] {
            let records = sh(&path, "echo out; if [ \"$1\" = 2 ]; then exit 3; fi; echo \"$1\"")
                .args(["-j1", "--format=record", "--setup", setup])
                .stdin("1\n2\n3\n")
                .any_stdout()
                .status(1)
                .records();
            assert_eq!(records[1]["error"]["message"], "exit status 3");
            let data = json!({"status": 3, "stdout": "out"});
            assert_eq!(records[1]["error"]["data"], data);
            message(&records[1], "error");
            assert_eq!(result(&records[2]), "out\n3");
        }
        sh(&path, "false; echo not here")
            .args(["--setup", "set -e"])
            .stdin("1\n")
            .stderr("procpool: failed: 1: exit status 1 (job 1, line 1)\n")
            .status(1)
            .run();
    }
}

#[test]
fn jobs_find_what_setup_has_made_and_leave_nothing_behind() {
    for (path, _folder) in shells() {
        sh(&path, "x=$x$1; echo \"$(greet \"$x\")\"; cat; echo to stderr >&2; cd /")
            .args(["-j1", "--setup", "echo once; x=a", "--setup", "greet() { echo \"hi $1\"; }"])
            .stdin("1\n2\n")
            .stdout("hi a1\nhi a2\n")
            .stderr("once\nto stderr\nto stderr\n")
            .run();
    }
}

#[test]
fn the_functions_of_a_file() {
    for (path, folder) in shells() {
        let file =
            write(&folder, "add() { echo $(($1 + $2)); }\nshow() { printf '%s|' \"$@\"; }\n");
        let records = sh(&path, &file)
            .jobs([
                "add [1,2]",
                "nosuch []",
                "cd [\"/\"]",
                "show [\"a\\nb\", 3.50, null, {\"k\": 1}]",
                "procpool_load []",
                "show [\"\\u0000\"]",
            ])
            .status(1)
            .records();
        assert_eq!(result(&records[0]), "3");
        for (index, name) in [(1, "nosuch"), (2, "cd"), (4, "procpool_load")] {
            let text = format!("there is no function {name} in {file}");
            assert_eq!(message(&records[index], "error"), text);
        }
        assert_eq!(result(&records[3]), "a\nb|3.50|null|{\"k\":1}|");
        assert_has(message(&records[5], "invalid"), &["NUL"]);
        // A name without a slash is not looked for in PATH.
        sh(&path, "functions.sh").cwd(folder.path()).args(["show"]).stdin("x\n").any_stdout().run();
    }
}

#[test]
fn mistakes_are_found_before_any_input_is_read() {
    for (path, folder) in shells() {
        let file = write(&folder, "touch was-run\nadd() {\n");
        for code in ["echo (", &file] {
            sh(&path, code)
                .cwd(folder.path())
                .stdin_open()
                .stderr_has("sh can't run this code")
                .status(2)
                .run();
        }
        assert!(!folder.path().join("was-run").exists());
    }
}

#[test]
fn a_shell_that_dies_costs_its_job_alone() {
    sh(&std::env::var("PATH").expect("a path"), "[ $1 != 2 ] || kill -9 $$; echo $1")
        .arg("-j1")
        .stdin("1\n2\n3\n")
        .stdout("1\n3\n")
        .stderr_has(": the worker (pid ")
        .stderr_has("(job 2, line 2")
        .status(1)
        .run();
}

#[test]
fn arguments_are_data_whatever_they_are() {
    if !need("sh") {
        return;
    }
    let word = prop_oneof![
        any::<String>(),
        "[ '\"\\\\$`;&|<>(){}*?~#!\n\t\r=-]{0,20}",
        Just("$(echo no)'`echo no`\"$procpool_nl\"".to_owned()),
        // What some shells use for themselves.
        "[\u{1}\u{7f}\u{80}-\u{90}é]{0,5}",
    ];
    let word = word.prop_map(|text: String| text.replace('\0', "0"));
    let jobs = prop::collection::vec(prop::collection::vec(word, 0..5), 40);
    for (path, _folder) in shells() {
        let mut runner = TestRunner::new(Config::with_cases(6));
        let outcome = runner.run(&jobs, |jobs| {
            // The dot keeps newlines at the end.
            let records = sh(&path, "printf '<%s>' \"$@\" .")
                .args(["-j1", "--input", "json", "--format", "record"])
                .jobs(jobs.iter().map(|words| json!(words).to_string()))
                .patience(60)
                .records();
            for (words, record) in jobs.iter().zip(&records) {
                let words = words.iter().map(String::as_str).chain(["."]);
                let expected: String = words.map(|word| format!("<{word}>")).collect();
                prop_assert_eq!(result(record), &json!(expected));
            }
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// Compares a line with the message about code that has left something running, once for each job.
#[track_caller]
fn assert_names_what_is_left(line: &str, name: &str) {
    let begin = format!("procpool: the code has left running: {name} (pid ");
    assert!(line.starts_with(&begin), "{line}");
    let end = "); it holds stdout open and has printed nothing for 300 ms: what it prints from now on \
               is lost";
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn what_code_leaves_running_is_not_waited_for_to_its_end() {
    for (path, folder) in shells() {
        let sleep = "/bin/sleep";
        for code in
            [format!("{sleep} 100 & echo \"x$1\""), format!("({sleep} 100 &); echo \"x$1\"; echo")]
        {
            let output = sh(&path, &code)
                .args(["-j1", "--grace", "0.3"])
                .stdin("1\n2\n")
                .stdout("x1\nx2\n")
                .any_stderr()
                .run();
            assert!(output.elapsed < Duration::from_secs(25), "{:?}", output.elapsed);
            assert_eq!(output.stderr.lines().count(), 2);
            let name = format!("{sleep} 100");
            output.stderr.lines().for_each(|line| assert_names_what_is_left(line, &name));
        }
        let file = write(
            &folder,
            "f() { (while :; do sleep 100 >&2; done) & echo \"f $1\"; return 3; }\n",
        );
        let output = sh(&path, &file)
            .args(["--grace", "0.3", "--format", "text", "f"])
            .stdin("1\n")
            .any_stderr()
            .status(1)
            .run();
        let (remark, failure) = output.stderr.split_once('\n').expect("two lines");
        assert_names_what_is_left(remark, "sh");
        assert_has(failure, &["procpool: failed: f(\"1\"): exit status 3 (job 1, line 1, "]);
    }
}

#[test]
fn what_it_still_prints_is_a_part_of_the_result() {
    for (path, _folder) in shells() {
        let many: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
        for (code, expected) in [
            ("(sleep 0.2; echo late; echo err >&2) & echo \"x$1\"", "xa\nlate\n"),
            ("(sleep 0.2; seq 20000) &", many.as_str()),
            ("seq 20000 & wait", many.as_str()),
            ("echo a & wait; echo b && echo c 2>&1; printf '\\n\\n'", "a\nb\nc\n"),
        ] {
            let test = sh(&path, code).args(["--grace", "20"]).stdin("a\n").stdout(expected);
            test.stderr(if code.contains("err") { "err\n" } else { "" }).run();
        }
        // A flood ends with its time.
        sh(&path, "while :; do echo y; sleep 0.01; done & echo x")
            .args(["--timeout", "1", "--grace", "0.5"])
            .stdin("a\n")
            .stderr_has("procpool: failed: a: timed out after 1s, and its worker was ended")
            .status(1)
            .run();
    }
}

/// A shell keeps what the code prints in its memory, so there is a limit. It ends that job only.
#[test]
fn code_that_prints_without_end_fails() {
    for (path, _folder) in shells() {
        let output = sh(&path, "case $1 in a) yes;; *) echo $1;; esac")
            .args(["-j1", "--max-reply", "100K", "--grace", "0.1"])
            .stdin("a\nb\n")
            .stdout("b\n")
            .any_stderr()
            .status(1)
            .run();
        let parts = ["failed: a: it prints more than a result may have: its shell has taken"];
        assert_has(&output.stderr, &parts);
        assert_has(&output.stderr, &["100 KiB (--max-reply); let it print to a file"]);
    }
}
