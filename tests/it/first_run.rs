//! Help in the first minute: `--example-worker`, `--doctor`, and a word where lines are read from a terminal.

use std::fs;

use crate::common::{Crew, Output, Test, assert_has, json, need};
use crate::source::root;
use tempfile::TempDir;

/// The languages, the files that their workers are in, and the interpreters.
const WORKERS: [(&str, &str, &str); 5] = [
    ("python", "worker.py", "python3"),
    ("node", "worker.js", "node"),
    ("perl", "worker.pl", "perl"),
    ("ruby", "worker.rb", "ruby"),
    ("sh", "worker.sh", "sh"),
];

#[test]
fn each_example_worker_works() {
    for (language, file, interpreter) in WORKERS {
        if !need(interpreter) {
            continue;
        }
        let folder = TempDir::new().expect("a folder");
        let printed = Test::new().args(["--example-worker", language]).any_stdout().run().stdout;
        fs::write(folder.path().join(file), printed).expect("there is room");
        greets(
            Test::new().cwd(folder.path()).workers(2, format!("{interpreter} {file}")),
            language,
        );
    }
}

#[test]
fn the_example_worker_in_rust_works() {
    let path = crate::examples::built("worker");
    let printed = Test::new().args(["--example-worker", "rust"]).any_stdout().run().stdout;
    assert_eq!(fs::read(root().join("examples/worker.rs")).expect("it is there"), printed);
    let worker = shell_words::quote(path.to_str().expect("UTF-8")).into_owned();
    greets(Test::new().workers(2, worker), "rust");
}

#[track_caller]
fn greets(test: Test, language: &str) {
    let output = test
        .jobs(["greet [\"Ada\"]", "insult [\"Ada\"]", "greet [\"Grace Höpper\"]"])
        .any_stdout()
        .status(1)
        .run();
    let records = output.records();
    assert_eq!(records[0], json(r#"{"id":1,"ok":true,"result":"hello, Ada"}"#), "{language}");
    assert_eq!(records[2]["result"], "hello, Grace Höpper", "{language}");
    assert_has(crate::common::message(&records[1], "error"), &["there is no command 'insult'"]);
}

/// The command in the first lines of each worker does what they say.
#[test]
fn the_commands_in_the_example_workers_are_real() {
    for (language, file, interpreter) in WORKERS {
        if !need(interpreter) {
            continue;
        }
        let folder = TempDir::new().expect("a folder");
        let printed = Test::new().args(["--example-worker", language]).any_stdout().run().stdout;
        let text = String::from_utf8(printed).expect("UTF-8");
        fs::write(folder.path().join(file), &text).expect("there is room");
        let command =
            text.lines().find_map(|line| line.split_once("printf ")).expect("a command").1;
        Test::through_shell(&format!("program=$1; procpool() {{ \"$program\" \"$@\"; }}; printf {command}"))
            .cwd(folder.path())
            .stdout("{\"id\":1,\"ok\":true,\"result\":\"hello, Ada\"}\n{\"id\":2,\"ok\":true,\"result\":\"hello, Grace\"}\n")
            .run();
    }
}

#[test]
fn the_doctor_tells_what_there_is() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("python3");
    fs::write(&path, "#!/bin/sh\necho 3.99\n").expect("there is room");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).expect("it is ours");
    let broken = folder.path().join("ruby");
    fs::write(&broken, "#!/bin/sh\necho 'no library' >&2; exit 1\n").expect("there is room");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&broken, mode).expect("it is ours");
    let output = Test::new()
        .arg("--doctor")
        .env("PATH", folder.path())
        .env("TERM", "vt100")
        .env("MAKEFLAGS", "-j --jobserver-auth=3,4")
        .any_stdout()
        .run();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let row = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("no row {name}:\n{text}")).trim_start()[name.len()..]
            .trim()
            .to_owned()
    };
    assert!(text.starts_with(&format!("procpool {} (linux ", env!("CARGO_PKG_VERSION"))), "{text}");
    for heading in ["Machine", "Limits", "Interpreters", "Terminal", "System features"] {
        assert!(text.contains(&format!("\n\n{heading}\n")), "{heading}:\n{text}");
    }
    assert_eq!(row("--python"), format!("{}, version 3.99", path.display()));
    assert_eq!(row("--ruby"), format!("{}: it does not run: no library", broken.display()));
    assert_eq!(row("--perl"), "there is no program 'perl' in PATH");
    assert_has(&row("CPUs"), &["-j", "is the default"]);
    assert_eq!(row("stdout"), "a pipe");
    assert_has(&row("progress"), &["not shown"]);
    assert_eq!(row("TERM"), "vt100");
    assert_has(&row("jobserver of make"), &["named by MAKEFLAGS"]);
    for name in [
        "system",
        "free memory",
        "control group",
        "temporary files",
        "open files",
        "processes",
        "a command line",
    ] {
        assert!(!row(name).is_empty(), "{name}");
    }
}

#[test]
fn help_is_asked_for_alone() {
    for args in [
        &["--doctor", "-j2"][..],
        &["--generate", "man", "echo"],
        &["--example-worker", "sh", "--tag"],
    ] {
        Test::new()
            .args(args)
            .stderr_has("cannot be used with one or more of the other")
            .status(2)
            .run();
    }
    Test::new()
        .args(["--generate", "tcsh"])
        .stderr_has("[possible values: man, bash, zsh, fish, powershell]")
        .status(2)
        .run();
}

/// Runs a line in a terminal, types `typed` and Ctrl-D, and returns the text on the screen.
fn typed(args: &str, typed: &str, first: &str) -> String {
    let shell = rexpect::spawn_bash(Some(30_000)).expect("a shell in a terminal");
    let mut shell = shell.quit_command(Some("exit".into()));
    shell.send_line(&format!("{} {args}", env!("CARGO_BIN_EXE_procpool"))).expect("it reads");
    let mut seen = shell.exp_string(first).expect("the first words") + first;
    for line in typed.lines() {
        shell.send_line(line).expect("it reads");
    }
    if !typed.is_empty() {
        shell.send_control('d').expect("the terminal takes keys");
    }
    seen.push_str(&shell.wait_for_prompt().expect("the end, and a prompt"));
    seen
}

#[test]
fn lines_from_a_terminal_are_said_once() {
    if !need("bash") {
        return;
    }
    let seen = typed("--progress never echo got", "one\ntwo\n", "reading lines from the terminal");
    assert_eq!(seen.matches("from the terminal").count(), 1, "{seen}");
    assert_has(&seen, &["until Ctrl-D; or give args after :::", "got one", "got two"]);
    let seen =
        typed("--progress never -w cat", "a []\n", "reading jobs from the terminal, one per line");
    assert_eq!(seen.matches("from the terminal").count(), 1, "{seen}");
}

#[test]
fn lines_from_elsewhere_are_not() {
    if !need("bash") {
        return;
    }
    let crew = Crew::new();
    let file = crew.file("input", "x\n");
    for args in [
        "echo got ::: x".to_owned(),
        format!("-a {file} echo got"),
        "echo got < ".to_owned() + &file,
    ] {
        let seen = typed(&format!("--progress never {args}"), "", "got x");
        assert!(!seen.contains("from the terminal"), "{seen}");
    }
    // Not even where stderr is the terminal and stdin a pipe.
    let output: Output = Test::new().args(["echo", "got"]).stdin("x\n").stdout("got x\n").run();
    assert_eq!(output.stderr, "");
}
