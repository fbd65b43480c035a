//! Code as the job: `--python`, `--perl`, `--node`, `--ruby`. The embedded workers also have tests in their
//! own languages, in `tests/interpreters`, which are run from here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::common::{Crew, Test, assert_has, leftovers, message, need, result, wait_for};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

/// An interpreter, the option for it, and pieces of its language.
struct Language {
    program: &'static str,
    option: &'static str,
    /// Twice the line, as a number.
    double: &'static str,
    /// Fails with `no such thing` for the line 2.
    fail: &'static str,
    /// Ends the process with status 3 at the line 2.
    exit: &'static str,
    /// Prints `noise` to stdout.
    print: &'static str,
    /// What `f` is set to by `setup`.
    setup: (&'static str, &'static str),
    /// A file of functions: `add` adds two numbers.
    file: (&'static str, &'static str),
    broken: &'static str,
    /// A file that can't be loaded, since it needs `nosuchmodule`.
    import: &'static str,
}

const LANGUAGES: [Language; 4] = [
    Language {
        program: "python3",
        option: "--python",
        double: "int(x) * 2",
        fail: "x if x != '2' else 1 / 0",
        exit: "x if x != '2' else sys.exit(3)",
        print: "print('noise') or x",
        setup: ("import sys; f = 7", "f"),
        file: ("f.py", "def add(a, b):\n    return a + b\n"),
        broken: "int(x) *",
        import: "import nosuchmodule\n",
    },
    Language {
        program: "perl",
        option: "--perl",
        double: "shift() * 2",
        fail: "$_ eq 2 ? die(\"no such thing\\n\") : $_",
        exit: "exit 3 if $_ == 2; $_",
        print: "print \"noise\\n\"; $_",
        setup: ("my $f = 7;", "$f"),
        file: ("f.pl", "sub add { $_[0] + $_[1] }\n1;\n"),
        broken: "shift( *",
        import: "use nosuchmodule;\n1;\n",
    },
    Language {
        program: "node",
        option: "--node",
        double: "x * 2",
        fail: "if (x === '2') throw new Error('no such thing'); return x",
        exit: "x === '2' ? process.exit(3) : x",
        print: "console.log('noise') ?? x",
        setup: ("var f = 7", "f"),
        file: ("f.js", "exports.add = (a, b) => a + b;\n"),
        broken: "x *",
        import: "require('nosuchmodule');\n",
    },
    Language {
        program: "ruby",
        option: "--ruby",
        double: "x.to_i * 2",
        fail: "x == '2' ? raise('no such thing') : x",
        exit: "x == '2' ? exit(3) : x",
        print: "puts 'noise'; x",
        setup: ("f = 7", "f"),
        file: ("f.rb", "def add(a, b) = a + b\n"),
        broken: "x *",
        import: "require 'nosuchmodule'\n",
    },
];

/// Those that are installed.
fn languages() -> impl Iterator<Item = Language> {
    LANGUAGES.into_iter().filter(|language| need(language.program))
}

#[test]
fn an_expression_for_each_line() {
    for Language { option, double, .. } in languages() {
        let expected: String = (1..=100).map(|n| format!("{}\n", 2 * n)).collect();
        let input: String = (1..=100).map(|n| format!("{n}\n")).collect();
        Test::new().args(["-j2", option, double]).stdin(input).stdout(expected).run();
        Test::new().args([option, double, ":::", "4", "5"]).stdout("8\n10\n").run();
        Test::new().args([option, double]).stdin("").stdout("").run();
        Test::new()
            .args(["--format", "record", option, double])
            .stdin("4")
            .stdout("{\"id\":1,\"ok\":true,\"result\":8}\n")
            .run();
    }
}

#[test]
fn an_exception_is_the_error_of_its_job() {
    for Language { option, fail, .. } in languages() {
        let output = Test::new()
            .args(["--format", "record", option, fail])
            .stdin("1\n2\n3\n")
            .any_stdout()
            .status(1)
            .run();
        let records = output.records();
        assert_eq!((result(&records[0]), result(&records[2])), (&json!("1"), &json!("3")));
        message(&records[1], "error");
        let trace = records[1]["error"]["data"]["data"].as_str().unwrap_or_default();
        assert!(trace.contains("2"), "{option}: the traceback has the code: {:?}", records[1]);
    }
}

#[test]
fn an_exit_costs_its_job_alone() {
    for Language { option, exit, setup, .. } in languages() {
        Test::new()
            .args(["-j1", option, exit, "--setup", setup.0])
            .stdin("1\n2\n3\n4\n")
            .stdout("1\n3\n4\n")
            .stderr_has(": the worker (pid ")
            .stderr_has("(job 2, line 2")
            .status(1)
            .run();
    }
}

#[test]
fn what_code_prints_goes_to_stderr() {
    for Language { option, print, .. } in languages() {
        let test = Test::new().args(["-j1", option, print]);
        test.stdin("1\n2\n").stdout("1\n2\n").stderr("noise\nnoise\n").run();
    }
}

#[test]
fn setup_runs_once_in_each_process() {
    for Language { option, setup: (setup, f), .. } in languages() {
        let test = Test::new().args([option, f, "--setup", setup]);
        test.stdin("1\n2\n").stdout("7\n7\n").run();
    }
}

/// A folder with one file.
fn folder_with(name: &str, text: impl AsRef<[u8]>) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join(name), text).expect("it can be written");
    folder
}

#[test]
fn a_file_of_functions() {
    for Language { option, file: (name, text), .. } in languages() {
        let folder = folder_with(name, text);
        Test::new()
            .cwd(folder.path())
            .args([option, name])
            .jobs(["add [1, 2]", "{\"cmd\":\"add\",\"args\":[3, 4],\"id\":\"x\"}"])
            .stdout(
                "{\"id\":1,\"ok\":true,\"result\":3}\n{\"id\":\"x\",\"ok\":true,\"result\":7}\n",
            )
            .run();
        let args = ["--format", "text", "--input", "json", option, name, "add"];
        Test::new().cwd(folder.path()).args(args).stdin("[1, 2]\n").stdout("3\n").run();
        let output = Test::new()
            .cwd(folder.path())
            .args([option, name])
            .jobs(["nosuch []"])
            .any_stdout()
            .status(1)
            .run();
        assert_has(message(&output.records()[0], "error"), &["nosuch", "add"]);
    }
}

#[test]
fn mistakes_are_found_before_any_input_is_read() {
    for Language { option, broken, .. } in languages() {
        // The input never ends: if it were read to its end, this would hang.
        Test::new()
            .args([option, broken])
            .stdin_open()
            .stdout("")
            .stderr_has("can't run this code")
            .status(2)
            .run();
    }
}

#[test]
fn a_file_that_cannot_be_loaded_is_tried_once() {
    for Language { option, import, file: (name, _), .. } in languages() {
        let folder = folder_with(name, import);
        let output = Test::new()
            .cwd(folder.path())
            .args(["-j1", option, name, "add"])
            .stdin("1\n2\n")
            .any_stdout()
            .stderr_has("nosuchmodule")
            .status(126)
            .run();
        assert_has(message(&output.records()[0], "spawn"), &["the code can't be loaded"]);
        assert!(output.stderr.len() < 4000, "{}", output.stderr);
    }
}

#[test]
fn a_missing_interpreter() {
    let folder = TempDir::new().expect("a folder");
    for Language { program, option, double, .. } in LANGUAGES {
        Test::new()
            .env("PATH", folder.path())
            .args([option, double])
            .stdin("1\n")
            .stdout("")
            .stderr(format!("procpool: there is no program '{program}' in PATH\n"))
            .status(127)
            .run();
    }
}

#[test]
fn columns_and_bytes() {
    if !need("python3") {
        return;
    }
    let csv = "name,n\n\"a, b\",1\n";
    let by_name = ["--input", "csv", "--header", "--python", "args['name'] * int(args['n'])"];
    Test::new().args(by_name).stdin(csv).stdout("a, b\n").run();
    let columns = ["--input", "csv", "--python", "args"];
    Test::new().args(columns).stdin("1,2\n").stdout("[\"1\",\"2\"]\n").run();
    let json = ["--input", "json", "--python", "args['n'] + 1"];
    Test::new().args(json).stdin("{\"n\": 1}\n").stdout("2\n").run();
    Test::new()
        .args(["-n", "2", "--python", "len(args)"])
        .stdin("1\n2\n3\n")
        .stdout("2\n1\n")
        .run();
    Test::new().args(["--python", "len(x)"]).stdin("größe\n").stdout("5\n").run();
    Test::new()
        .args(["--python", "x"])
        .stdin(b"a\n\xff\n")
        .stdout("a\n")
        .stderr_has("procpool: failed: \\xff: invalid job: column 1: the byte 0xff is not UTF-8")
        .stderr_has(" (job 2, line 2)\n")
        .status(1)
        .run();
}

#[test]
fn misuse() {
    for (args, part) in [
        (&["--python", "x", "--perl", "x"][..], "cannot be used with"),
        (&["--python", "x", "-w", "cat"], "cannot be used with"),
        (&["--python", "x", "command"], "an expression needs no COMMAND"),
        (&["--python", "x", "--shell"], "--shell has no effect with code, only with commands"),
        (&["--setup", "x", "true"], "--python"),
    ] {
        Test::new().args(args).stdin("1\n").stdout("").stderr_has(part).status(2).run();
    }
}

/// Runs a suite in the language of a worker.
fn suite(program: &str, args: &[&str]) {
    if !need(program) {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program)
        .args(args)
        .current_dir(root.join("tests/interpreters"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONUNBUFFERED")
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_worker_in_python() {
    if !crate::common::heavy() {
        return;
    }
    suite("python3", &["-m", "unittest", "test_worker.py"]);
}

#[test]
fn the_worker_in_perl() {
    if !crate::common::heavy() {
        return;
    }
    suite("perl", &["worker.t"]);
}

#[test]
fn the_worker_in_node() {
    if !crate::common::heavy() {
        return;
    }
    suite("node", &["--test", "worker.test.js"]);
}

#[test]
fn the_worker_in_ruby() {
    if !crate::common::heavy() {
        return;
    }
    suite("ruby", &["test_worker.rb"]);
}

/// The first commands of README.md print the same lines. Here the year has 3 days.
#[test]
fn the_comparison_in_the_readme() {
    if !need("python3") || !need("xargs") {
        return;
    }
    let readme = crate::source::read("README.md");
    let (_, rest) = readme.split_once("\n```sh\n").expect("the commands");
    let (commands, _) = rest.split_once("\n```\n").expect("the end of the commands");
    let (ours, theirs) = commands.split_once("\n\n").expect("two commands");
    let ours = ours.replace("seq 365", "seq 3").replace("procpool ", "\"$@\" ");
    let theirs = theirs.replace("seq 365", "seq 3").replace("-P2", "-P1");
    let theirs = Command::new("sh").args(["-c", &theirs]).output().expect("a shell");
    assert!(theirs.status.success() && theirs.stdout.len() == 33, "{theirs:?}");
    Test::through_shell(&ours).stdout(&theirs.stdout).run();
}

#[test]
fn the_worker_in_sh() {
    suite("sh", &["test_worker.sh"]);
}

/// procpool with an interpreter for Python that is this script.
fn with_python(crew: &Crew, script: &str) -> Test {
    with_python_and(crew, script, &[])
}

/// The same with more options.
fn with_python_and(crew: &Crew, script: &str, options: &[&str]) -> Test {
    let python = crew.file("python3", format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(python, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:{}", crew.path(""), std::env::var("PATH").unwrap_or_default());
    Test::new().env("PATH", path).args(options).args(["--python", "x", ":::", "a"])
}

#[test]
fn an_interpreter_that_does_not_get_to_judge_the_code_is_no_wrong_usage() {
    let crew = Crew::new();
    with_python(&crew, "kill -9 $$")
        .stderr("procpool: Python was killed by SIGKILL (signal 9) while it checked the code\n")
        .status(126)
        .run();
    with_python(&crew, "echo trouble >&2; kill -SEGV $$")
        .stderr_has("procpool: Python was killed by SIGSEGV (signal 11")
        .stderr_has(") while it checked the code:\ntrouble\n")
        .status(126)
        .run();
    with_python(&crew, "exit 3")
        .stderr("procpool: Python can't run this code: it exited with status 3 and said nothing\n")
        .status(2)
        .run();
    with_python(&crew, "printf wrong >&2; exit 3")
        .stderr("procpool: Python can't run this code:\nwrong\n")
        .status(2)
        .run();
    // It has the time of a start.
    let hanging = "trap '' TERM; while :; do sleep 0.1; done";
    with_python_and(&crew, hanging, &["--start-timeout", "0.3"])
        .stderr("procpool: Python took longer than 300ms and was ended while it checked the code\n")
        .status(126)
        .run();
}

#[test]
fn a_signal_while_code_is_checked_leaves_no_interpreter_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
        let crew = Crew::new();
        // Numbers that nobody else sleeps for.
        let mark = format!("300.{:08}{:03}", std::process::id(), signal.as_raw());
        let run =
            with_python(&crew, &format!("sleep {mark} & sleep {mark}")).killed_by(signal).spawn();
        wait_for("the interpreter", || leftovers(&mark).len() == 2);
        run.signal(signal);
        run.finish();
        wait_for("the interpreter to be gone", || leftovers(&mark).is_empty());
    }
}

/// Results that are lines at once, results that are made into lines together, and failures, in any order.
#[test]
fn results_of_all_kinds_and_failures_keep_their_places() {
    if !need("python3") {
        return;
    }
    let code = "b'' if int(x) % 7 == 0 else [x] if int(x) % 3 == 0 else 6 // (int(x) % 5)";
    let jobs = || (1..400).filter(|n| n % 7 > 0 && (n % 3 == 0 || n % 5 > 0));
    let expected: String = jobs()
        .map(|n| if n % 3 == 0 { format!("[\"{n}\"]\n") } else { format!("{}\n", 6 / (n % 5)) })
        .collect();
    let input: String = (1..400).map(|n| format!("{n}\n")).collect();
    Test::new()
        .args(["-j2", "--python", code])
        .stdin(input)
        .stdout(expected)
        .any_stderr()
        .stderr_has(format!("{} of 399 jobs failed", 399 - jobs().count()))
        .status(1)
        .run();
}
