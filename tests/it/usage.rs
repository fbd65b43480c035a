//! An option that can have no effect, or not the one that was meant, is wrong usage. That is said once, before
//! anything is started or read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use tempfile::TempDir;

use crate::common::{Test, need};

/// A run that is refused before any input is read: all of its stderr but the usage.
#[track_caller]
fn refused(args: &[&str], message: &str) {
    let output = Test::new()
        .args(args)
        .stdin_open()
        .stderr_has(format!("error: {message}\n\nUsage: "))
        .status(2)
        .spawn()
        .finish_by_itself();
    assert!(output.stderr.starts_with("error: "), "{args:?}: {}", output.stderr);
}

/// The same, by parts of the message.
#[track_caller]
fn refused_with(args: &[&str], status: i32, parts: &[&str]) {
    let test = Test::new().args(args).stdin_open().status(status);
    let test = parts.iter().fold(test, |test, part| test.stderr_has(*part));
    test.spawn().finish_by_itself();
}

// ---- Options

/// The words before an option, the words after it, and the options.
type Kind<'a> = (&'a [&'a str], &'a [&'a str], Vec<&'a [&'a str]>);

/// In each kind of run: what makes it one, and the options that have nothing to do there.
#[test]
fn no_option_is_accepted_that_does_nothing() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("f.py");
    fs::write(&file, "def f(x): return x\n").expect("there is room");
    let file = file.to_str().expect("UTF-8");
    let staying = [
        "--pipeline=2",
        "--prestart=1",
        "--max-reqs=3",
        "--max-reqs-jitter=1",
        "--start-limit=2",
        "--max-reply=1M",
        "--max-age=1s",
        "--max-rss=1M",
        "--idle-timeout=1s",
        "--standby=1",
    ];
    let spoken = [
        "--protocol=jsonl",
        "--framing=nul",
        "--reply-messages=1",
        "--reply-end=x",
        "--keep-end",
        "--before-request=x",
        "--after-request=x",
        "--banner=1",
        "--fail-on=x",
        "--init=x",
        "--notify=x",
    ];
    let commands =
        ["--shell", "--replace=X", "--stdin", "--dry-run", "--confirm", "--tty", "--ok-exit=1"];
    let pty = ["--pty"];
    let results = ["--live", "--unpack"];
    let lines = ["--input=lines", "--header", "--max-args=2"];
    let read = ["-0", "-d,", "--max-line=1M"];
    let runs: [Kind<'_>; 9] = [
        (&[], &["echo"], vec![&staying, &spoken, &["--setup=x"]]),
        (&[], &[], vec![&staying, &spoken, &["--setup=x", "--shell", "--replace=X"], &lines]),
        (&["-w", "cat"], &[], vec![&commands, &["--setup=x"], &lines]),
        (&["-w", "cat"], &["f"], vec![&commands, &["--setup=x"]]),
        (
            &["-w", "cat", "--protocol=raw"],
            &[],
            vec![&commands, &results, &["--setup=x"], &lines[1..]],
        ),
        (&["--python", "x"], &[], vec![&spoken, &pty, &commands]),
        (&["--python", file], &[], vec![&spoken, &commands, &lines]),
        (&["--python", file], &["f"], vec![&spoken, &commands]),
        (&[], &["echo", ":::", "a"], vec![&staying, &["--each", "--skip-null", "--unpack"], &read]),
    ];
    for (before, after, options) in runs {
        for option in options.concat() {
            let args = [before, &[option], after].concat();
            let output = Test::new().args(&args).any_stderr().status(2).run();
            let long = option.split('=').next().expect("a name");
            let name = match long {
                "--replace" => "-I",
                "--max-args" => "-n",
                "-d," => "-d",
                name => name,
            };
            let is_named = output.stderr.contains(name) || output.stderr.contains(long);
            assert!(is_named, "{args:?}: {}", output.stderr);
        }
    }
}

#[test]
fn a_refused_option_says_what_to_do() {
    refused(
        &["--max-rss", "1M", "echo"],
        "--max-rss is for workers, which stay alive between jobs, but a COMMAND is started for each \
         job: leave it out, or name a --worker or give code (--python …)",
    );
    refused(
        &["--shell"],
        "--shell is for a COMMAND, but here each line is a whole job: name a COMMAND ('sh -c' runs \
         each line as a shell command), or have the jobs name it: sh [\"-c\", \"…\"]",
    );
    refused(
        &["-0", "echo", ":::", "a"],
        "-0 says how lines are read, but args after ::: are not lines: leave it out",
    );
    refused(
        &["--dry-run", "--failed", "f", "echo"],
        "--failed is about jobs that are run, and --dry-run runs none: leave one of them out",
    );
    refused(
        &["--retry-on", "exit", "echo"],
        "--retry-on is for jobs that are tried again: say how often with --retries N",
    );
    refused(
        &["--retries", "1", "--retry-on", "crash", "echo"],
        "--retry-on names no failure of a command: those are exit, timeout and spawn",
    );
    refused(
        &["-w", "cat", "--standby", "1"],
        "--standby is for workers that are replaced, but none is: give --max-reqs, --max-age or \
         --max-rss as well",
    );
    refused_with(&["-w", "cat", "--route", "user", "f"], 2, &["--route names a field"]);
    refused_with(&["-w", "cat", "--route", "2", "f"], 2, &["--route: the placeholder {2}"]);
    refused_with(
        &["-w", "cat", "--protocol", "raw", "--route", "2"],
        2,
        &["--route: the placeholder {2} has no value: a job has 1 arg"],
    );
    // What to do works.
    Test::new().args(["sh", "-c"]).stdin("echo a | tr a b\n").stdout("b\n").run();
    Test::new().stdin("sh [\"-c\", \"echo a | tr a b\"]\n").stdout("b\n").run();
}

#[test]
fn a_negative_number_is_a_wrong_value() {
    for option in [
        "--timeout",
        "--grace",
        "--retries",
        "--retry-delay",
        "--rate",
        "--delay",
        "--max-load",
        "--max-args",
        "--buffer",
        "--max-line",
        "--nice",
        "--max-procs=x",
    ] {
        for value in ["-1", "-5m"] {
            let test = Test::new().args([option, value, "echo"]).any_stderr().status(2);
            let stderr = test.run().stderr;
            assert!(stderr.starts_with("error: invalid value"), "{stderr}");
            assert!(!stderr.contains("tip:"), "{stderr}");
        }
    }
    refused_with(&["--python", "-x"], 2, &["--python='…'"]);
}

#[test]
fn a_value_that_is_no_number_or_no_text_is_told_what_to_be() {
    for (option, expected) in [
        ("--retries=1e9", "a whole number, 0 or more"),
        ("--max-reqs=99999999999999999999", "a whole number, 0 or more"),
        ("--standby=", "a whole number, 0 or more"),
        ("--nice=40", "a whole number from 1 (a little) to 39"),
        ("--replicas=0", "a whole number from 1 to 5"),
    ] {
        refused_with(
            &[option, "echo"],
            2,
            &["error: invalid value", &format!(": expected {expected}")],
        );
    }
    let bytes = OsStr::from_bytes;
    // Paths and variables may be any bytes, so they are not at fault.
    for words in [
        &[bytes(b"--cwd"), bytes(b"/x\xff"), bytes(b"--setup"), bytes(b"a\xff")][..],
        &[bytes(b"--env=A=\xff"), bytes(b"--setup=a\xff")],
    ] {
        let test = Test::new().args(words).arg("echo").stdin_open().status(2);
        test.stderr_has("error: --setup takes text, and 'a\\xff' is not UTF-8\n\n").run();
    }
}

#[test]
fn only_what_is_alike_is_proposed() {
    for (option, proposed) in
        [("--colour", "'--color'"), ("--shorten", ""), ("--retires", "'--retries'")]
    {
        let stderr = Test::new().args([option, "x"]).any_stderr().status(2).run().stderr;
        assert!(!stderr.contains("as a value"), "{stderr}");
        assert_eq!(stderr.contains("similar"), !proposed.is_empty(), "{stderr}");
        assert!(stderr.contains(proposed), "{stderr}");
    }
}

#[test]
fn as_many_jobs_as_the_system_allows() {
    Test::new().args(["-j0", "cat", "/dev/null"]).stdin("").run();
    Test::new().args(["-j0", "echo"]).stdin("a\nb\n").stdout("a\nb\n").run();
    // Few descriptors are enough for one.
    Test::through_shell("ulimit -n 70; exec \"$@\"")
        .args(["-j0", "--summary", "echo"])
        .stdin("a\nb\n")
        .stdout("a\nb\n")
        .stderr_has("; 1 slot, ")
        .run();
}

// ---- Placeholders

#[test]
fn a_placeholder_that_nothing_can_stand_for() {
    let hint = "; --input csv or tsv splits a line into args, -n N makes one job of N lines, and each ::: \
                gives an arg";
    for (args, spelled, has) in [
        (&["echo", "{2}"][..], "{2}", "1 arg"),
        (&["rm", "-rf", "dir/{2}"], "{2}", "1 arg"),
        (&["--env", "A={2.}", "echo"], "{2.}", "1 arg"),
        (&["--cwd", "{3}", "-n", "2", "echo"], "{3}", "2 args"),
        (&["--shell", "echo {2}"], "{2}", "1 arg"),
        (&["echo", "{3}", ":::", "a", ":::", "b"], "{3}", "2 args"),
        (&["-n2", "echo", "{5}", ":::", "a", ":::", "b"], "{5}", "4 args"),
    ] {
        let message = format!("the placeholder {spelled} has no value: a job has {has}{hint}");
        refused(args, &message);
    }
    Test::new().args(["-n2", "echo", "{2}{1}"]).stdin("a\nb\n").stdout("ba\n").run();
    Test::new().args(["echo", "{2}", ":::", "a", ":::", "b"]).stdout("b\n").run();
}

/// Where it depends on the line, a job fails; it is not run with an empty arg.
#[test]
fn a_line_with_too_few_columns_is_no_job() {
    for options in [&["--input", "csv"][..], &["--input", "tsv"]] {
        let separator = if options[1] == "csv" { "," } else { "\t" };
        Test::new()
            .args(options)
            .args(["echo", "<{2}>"])
            .stdin(format!("a{separator}b\nc\nd{separator}\n"))
            .stdout("<b>\n<>\n")
            .stderr(
                "procpool: failed: c: invalid job: the placeholder {2} has no value: \
                 this job has 1 arg (job 2, line 2)\n",
            )
            .status(1)
            .run();
    }
    Test::new()
        .args(["--input", "json", "--env", "A={3}", "echo"])
        .stdin("[1,2]\n")
        .stderr_has(
            "procpool: failed: [1,2]: invalid job: the placeholder {3} has no value: \
             this job has 2 args (job 1, line 1)\n",
        )
        .status(1)
        .run();
    // The last job of several lines may have fewer.
    Test::new().args(["-n2", "echo", "<{2}>"]).stdin("a\nb\nc\n").stdout("<b>\n<>\n").run();
}

#[test]
fn placeholders_of_gnu_parallel_are_refused() {
    for place in ["{= s/a/b/ =}", "{=1 s/{}// =}", "{+/}", "{%%.gz}", "{1%%.gz}", "{0%}", "{##}"] {
        let text = format!("x{place}y");
        for args in
            [&["echo", &text][..], &["--env", &format!("A={text}"), "echo"], &["--shell", &text]]
        {
            let parts =
                [&format!("the placeholder {place} "), "procpool does not have it", "-I STR"];
            refused_with(args, 2, &parts);
        }
        Test::new()
            .args(["-I", "X", "echo", &text, "X"])
            .stdin("a\n")
            .stdout(format!("{text} a\n"))
            .run();
    }
    // What other programs have in braces is theirs, and so are variables of a shell.
    Test::new()
        .args(["sh", "-c", "echo ${0%.gz} ${0#..} {1..3} {,a}"])
        .stdin("..a.gz\n")
        .stdout("..a a.gz {1..3} {,a}\n")
        .run();
    Test::new().args(["printf", "{%s}{%.1f}\n", "{}"]).stdin("2\n").stdout("{2}{0.0}\n").run();
    // A column may have any name.
    Test::new()
        .args(["--input", "csv", "--header", "echo", "{%cpu.x}{#id}"])
        .stdin("#id,%cpu.x\na,b\n")
        .stdout("ba\n")
        .run();
    Test::new()
        .args(["--input", "csv", "--header", "echo", "{%%.gz}"])
        .stdin("a\nb\n")
        .stderr_has("the placeholder {%%.gz} is no column of the header")
        .status(2)
        .run();
}

// ---- No shell

#[test]
fn a_command_that_was_written_for_a_shell() {
    for args in [&["echo {} hi"][..], &["cat {} > {}.out"], &["{} -v"], &["nosuch {} {.}"]] {
        refused(
            args,
            &format!(
                "no shell is run, so '{}' would be the name of a program: make each word an argument \
                 of its own, or put --shell before the command",
                args[0]
            ),
        );
    }
    for (args, sign) in [
        (&["cat", "{}", "2>/dev/null"][..], "2>/dev/null"),
        (&["cat", "{}", "|", "wc"], "|"),
        (&["cat", "{}", "&&", "rm", "{}"], "&&"),
        (&["cat", "{}", ">", "{.}.txt"], ">"),
    ] {
        refused(
            args,
            &format!(
                "no shell is run, so '{sign}' would be a plain argument of 'cat': put --shell before the \
                 command, or write sh -c '…'"
            ),
        );
    }
    for (word, part) in [
        ("LANG=C", "env LANG=C"),
        ("cd", "--shell"),
        ("export", "--shell"),
        ("cd d && ls", "--shell"),
    ] {
        refused_with(&[word, "x"], 127, &["no shell is run", part]);
    }
    // Signs of a shell may be meant as they are.
    Test::new().args(["cut", "-d", "|", "-f2"]).arg("--").args(["{}"]).stdin("").run();
    Test::new().args(["tr", "|", " ", ":::"]).run();
    Test::new().args(["expr", "{}", ">", "1"]).stdin("2\n").stdout("1\n").run();
    Test::new()
        .args(["--shell", "cat {} 2>/dev/null | wc -l"])
        .stdin("/dev/null\n")
        .stdout("0\n")
        .run();
}

#[test]
fn a_worker_that_was_written_for_a_shell() {
    for (line, written) in [
        ("cd d && python3 w.py", "-w \"sh -c 'cd d && python3 w.py'\""),
        ("./w 2>/dev/null", "-w \"sh -c 'exec ./w 2>/dev/null'\""),
        ("./w | tee log", "-w \"sh -c './w | tee log'\""),
        ("export A=1; ./w", "-w \"sh -c 'export A=1; ./w'\""),
        ("./w $(cat args)", "sh -c './w $(cat args)'"),
    ] {
        refused_with(&["-w", line], 2, &["no shell is run for a --worker", written]);
    }
    for (line, part) in [
        ("LANG=C python3 w.py", "'env LANG=C …'"),
        ("A=1 B=2 sh w", "'env A=1 …'"),
        ("DEBUG=true sh", "'env DEBUG=true …'"),
        ("cd d", "sh -c 'cd …'"),
        ("source x", "sh -c 'source …'"),
        ("$HOME/w", "sh -c"),
    ] {
        let test = Test::new().args(["-w", line]).stderr_has("no shell is run").stderr_has(part);
        let stderr = test.status(127).run().stderr;
        // It would be refused with a worker.
        assert!(!stderr.contains("--shell"), "{stderr}");
    }
    // Quotes make words of them, and names are names.
    Test::new()
        .args(["--protocol", "raw", "-w", "sh -c 'while read x; do echo $x 2>/dev/null; done'"])
        .stdin("a\n")
        .stdout("a\n")
        .run();
    Test::new()
        .args(["-w", "A=sh -c 'while read x; do echo {}; done'", "--format", "value", "A"])
        .stdin("a\n")
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
}

#[test]
fn a_function_of_the_shell_is_told_of() {
    if !need("bash") {
        return;
    }
    for (args, written) in [("f", "bash -c 'f \"$0\"'"), ("-w f", "bash -c f")] {
        Test::through_shell(&format!(
            "exec bash -c 'f() {{ :; }}; export -f f; exec \"$0\" {args}' \"$1\""
        ))
        .stderr_has(format!(
            "it is a function of your shell, and no shell is run: write {written}\n"
        ))
        .status(127)
        .run();
    }
}

/// Each folder of PATH has an entry of this name: itself.
#[test]
fn a_dot_is_the_command_of_the_shell() {
    Test::new()
        .args(["-w", ". setup.sh", "--protocol=raw"])
        .stdin("a\n")
        .stderr(
            "procpool: there is no program '.' in PATH; it is a part of the shell, and no shell is \
             run: write sh -c '. …'\n",
        )
        .status(127)
        .run();
}

#[test]
fn a_job_line_is_not_told_of_options_that_are_refused() {
    for (cmd, part) in [("cd d", "no shell is run"), ("cd", "a part of the shell")] {
        let stderr = Test::new()
            .stdin(format!("{{\"cmd\":\"{cmd}\"}}\n"))
            .stderr_has(part)
            .stderr_has("write sh [\"-c\", \"…\"]")
            .status(1)
            .run()
            .stderr;
        assert!(!stderr.contains("--shell"), "{stderr}");
    }
}

// ---- Code

#[test]
fn a_file_of_code_that_is_not_there() {
    for option in ["--python", "--perl", "--node", "--ruby", "--sh"] {
        for file in [
            "nosuch.py",
            "nosuch.pl",
            "nosuch.mjs",
            "nosuch.rb",
            "nosuch.sh",
            "./nosuch",
            "no/such",
        ] {
            refused(&[option, file], &format!("there is no file '{file}'"));
            refused(&[option, file, "load"], &format!("there is no file '{file}'"));
        }
    }
    refused_with(&["--python", "/"], 2, &["'/' is a directory"]);
    refused_with(&["--python", "/dev/null"], 2, &["is not a regular file"]);
    refused_with(
        &["--python", "nosuch", "load"],
        2,
        &["there is no file 'nosuch', and an expression"],
    );
    if need("python3") {
        Test::new().args(["--python", "7/2"]).stdin("x\n").stdout("3.5\n").run();
    }
    if need("perl") {
        Test::new().args(["--perl", "s/a/b/r"]).stdin("a\n").stdout("b\n").run();
        Test::new().args(["--perl", "tr/a-z/A-Z/r"]).stdin("a\n").stdout("A\n").run();
    }
}

#[test]
fn a_function_that_the_file_does_not_have() {
    let folder = TempDir::new().expect("a folder");
    for (option, name, text) in [
        ("--python", "f.py", "def load(p): return 1\ndef save(p): return 2\n"),
        ("--perl", "f.pl", "sub load { 1 }\nsub save { 2 }\n1;\n"),
        ("--node", "f.js", "exports.load = () => 1;\nexports.save = () => 2;\n"),
        ("--ruby", "f.rb", "def load(p) = 1\ndef save(p) = 2\n"),
        ("--sh", "f.sh", "load() { echo 1; }\nsave() { echo 2; }\n"),
    ] {
        fs::write(folder.path().join(name), text).expect("there is room");
        let test = |function: &str| {
            let test = Test::new().cwd(folder.path()).args([option, name, function]).stdin_open();
            test.status(2)
        };
        test("laod")
            .stderr_has(format!(
                "error: there is no function 'laod' in '{name}'; did you mean 'load'?\n"
            ))
            .spawn()
            .finish_by_itself();
        test("zzz")
            .stderr_has(format!(
                "error: there is no function 'zzz' in '{name}'; it has load, save\n"
            ))
            .spawn()
            .finish_by_itself();
    }
}

/// A job of several lines has them all in `x`.
#[test]
fn no_line_of_a_job_of_several_is_lost() {
    for (program, option, code, join) in [
        ("python3", "--python", "x", "[\"1\",\"2\"]\n[\"3\"]\n"),
        ("node", "--node", "x", "[\"1\",\"2\"]\n[\"3\"]\n"),
        ("ruby", "--ruby", "x", "[\"1\",\"2\"]\n[\"3\"]\n"),
        ("perl", "--perl", "[@$_]", "[\"1\",\"2\"]\n[\"3\"]\n"),
        ("perl", "--perl", "\"@_\"", "1 2\n3\n"),
        ("sh", "--sh", "echo \"$@\"", "1 2\n3\n"),
        ("python3", "--python", "' '.join(args)", "1 2\n3\n"),
    ] {
        if need(program) {
            Test::new().args(["-n", "2", option, code]).stdin("1\n2\n3\n").stdout(join).run();
        }
    }
    if need("python3") {
        Test::new().args(["-n", "1", "--python", "x"]).stdin("1\n").stdout("1\n").run();
        Test::new().args(["-n", "max", "--python", "x"]).stdin("1\n").stdout("[\"1\"]\n").run();
        Test::new()
            .args(["-n", "2", "--input", "csv", "--header", "--python", "x"])
            .stdin("a\n1\n2\n")
            .stdout("[{\"a\":\"1\"},{\"a\":\"2\"}]\n")
            .run();
    }
}

// ---- Journals

/// No message advises to remove a file of the user's own.
#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    for text in
        ["my data\n", "x", "{\"key\":\"abc\",\"x\":1}\n", "[1,\n2]\n", "\0\0\0\0", "\u{ff}\n\n"]
    {
        let path = folder.path().join("f");
        fs::write(&path, text).expect("there is room");
        Test::new()
            .cwd(folder.path())
            .args(["--journal", "f", "echo", ":::", "a"])
            .stderr(
                "procpool: the file 'f' is no journal: none of its lines is a record; name another \
                 file\n",
            )
            .status(125)
            .run();
        assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
    }
}
