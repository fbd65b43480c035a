//! Messages about failed jobs: which, why, and how to run just these again. The printed command line is run
//! here as it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{
    Crew, Output, Test, assert_has, failed, need, quoted, wait_for, without_times,
};
use crate::signals::Terminal;
use tempfile::TempDir;

const PROCPOOL: &str = env!("CARGO_BIN_EXE_procpool");

/// A folder with this file.
fn folder(name: &str, content: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join(name), content).expect("written");
    folder
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// The command line that the last line gives.
#[track_caller]
fn again(stderr: &str) -> &str {
    let last = stderr.lines().last().unwrap_or_default();
    let (_, line) = last.split_once("again: ").unwrap_or_else(|| panic!("no advice: {stderr}"));
    assert_eq!(stderr.matches("again").count(), 1, "it is said once: {stderr}");
    line
}

/// Runs the command line of the last line in a shell. Returns what it prints on stdout.
#[track_caller]
fn run_again(folder: &Path, stderr: &str) -> String {
    let output = Command::new("sh").args(["-c", again(stderr)]).current_dir(folder).output();
    String::from_utf8_lossy(&output.expect("a shell").stdout).into_owned()
}

#[track_caller]
fn run(folder: &Path, args: &[&str], stdin: &str) -> Output {
    let test = Test::new().cwd(folder).args(args).stdin(stdin);
    test.any_stdout().any_stderr().status(1).run()
}

// Which job, why, and where

#[test]
fn a_broken_image_among_many() {
    let folder = folder("conv", "test \"$1\" != img/p77.jpg || exit 1; echo \"$1 $4\"\n");
    let names: String = (1..=200).map(|n| format!("img/p{n}.jpg\n")).collect();
    let args = ["sh", "conv", "{}", "-resize", "200x200", "out/{/.}.webp"];
    let output = run(folder.path(), &args, &names);
    let line = failed(
        "sh conv img/p77.jpg -resize 200x200 out/p77.webp",
        "exit status 1",
        "job 77, line 77",
    );
    let stderr = without_times(&output.stderr);
    assert_eq!(stderr.lines().next().map(|first| format!("{first}\n")), Some(line));
    assert!(output.stderr.contains(" s)\n"), "the time is there: {}", output.stderr);
    let closing = format!(
        "procpool: 1 of 200 jobs failed; again: {PROCPOOL} sh conv '{{}}' -resize 200x200 \
         'out/{{/.}}.webp' ::: img/p77.jpg"
    );
    assert_eq!(stderr.lines().collect::<Vec<_>>()[1..], [closing]);
    fs::write(folder.path().join("conv"), "echo \"$1 $4\"\n").expect("mended");
    assert_eq!(run_again(folder.path(), &output.stderr), "img/p77.jpg out/p77.webp\n");
}

#[test]
fn a_silent_command_and_names_that_play_with_the_terminal() {
    let folder = folder("log", "");
    let script = "echo \"$1\" >> log; exit 7";
    let names = b"plain\na b\nit's\n\x1b[2J\xff\xe2\x80\xae\n";
    let output = Test::new()
        .cwd(folder.path())
        .args(["-j1", "sh", "-c", script, "sh"])
        .stdin(names)
        .any_stderr()
        .status(1)
        .run();
    let label = |name: &str| format!("sh -c {} sh {name}", quoted(script));
    let expected: String = ["plain", "'a b'", "'it'\\''s'", "'\\u{1b}[2J\\xff\\u{202e}'"]
        .iter()
        .zip(1..)
        .map(|(name, n)| failed(&label(name), "exit status 7", &format!("job {n}, line {n}")))
        .collect();
    let stderr = without_times(&output.stderr);
    assert_eq!(
        stderr.split_inclusive("procpool: 4 of 4").next(),
        Some(&*(expected + "procpool: 4 of 4"))
    );
    run_again(folder.path(), &output.stderr);
    let log = fs::read(folder.path().join("log")).expect("a log");
    assert_eq!(log, names.repeat(2), "the very same names");
}

#[test]
fn a_product_of_lists() {
    let folder = folder("log", "");
    let script = "test $1$2 != b1 && test $1$2 != b2 || exit 3; echo $1$2";
    let args = ["sh", "-c", script, "sh", ":::", "a", "b", ":::", "1", "2"];
    let output = run(folder.path(), &args, "");
    let label = |args: &str| format!("sh -c {} sh {args}", quoted(script));
    let stderr = without_times(&output.stderr);
    let expected = failed(&label("b 1"), "exit status 3", "job 3")
        + &failed(&label("b 2"), "exit status 3", "job 4");
    assert!(stderr.starts_with(&expected), "{stderr}");
    assert!(again(&output.stderr).ends_with(" ::: b ::: 1 2"), "{stderr}");
    // These are no product.
    let args = [
        "sh",
        "-c",
        "test $1$2 = $F || test $1$2 = b1 && echo $1$2",
        "sh",
        ":::",
        "a",
        "b",
        ":::",
        "1",
        "2",
    ];
    let output = run(folder.path(), &args, "");
    let line = again(&output.stderr);
    assert_has(
        line,
        &["printf '%s\\n' '[\"a\",\"1\"]' '[\"a\",\"2\"]' '[\"b\",\"2\"]' | ", " --input json sh "],
    );
    let done = Command::new("sh").args(["-c", line]).env("F", "a2").current_dir(&folder).output();
    assert_eq!(done.expect("a shell").stdout, b"a2\n");
}

#[test]
fn records_of_several_lines_and_csv_with_a_header() {
    let folder = folder("in", "name,n\n\"a\nb\",0\n\"c\nd\",3\nplain,0\n\"x, \"\"y\"\"\",4\n");
    let args = [
        "-a",
        "in",
        "--input",
        "csv",
        "--header",
        "sh",
        "-c",
        "echo \"$1\"; exit $2",
        "sh",
        "{name}",
        "{n}",
    ];
    let output = run(folder.path(), &args, "");
    let label = |args: &str| format!("sh -c 'echo \"$1\"; exit $2' sh {args}");
    let stderr = without_times(&output.stderr);
    let expected = failed(&label("'c\\nd' 3"), "exit status 3", "job 2, in line 4")
        + &failed(&label("'x, \"y\"' 4"), "exit status 4", "job 4, in line 7");
    assert!(stderr.starts_with(&expected), "{stderr}");
    assert_eq!(run_again(folder.path(), &output.stderr), "c\nd\nx, \"y\"\n");
    let args = [&["--failed", "redo"], &args[..]].concat();
    let output = run(folder.path(), &args, "");
    // A file of failed lines has them as they fail.
    let again = run_again(folder.path(), &output.stderr);
    assert!(["c\nd\nx, \"y\"\n", "x, \"y\"\nc\nd\n"].contains(&&*again), "{again}");
    let output = run(folder.path(), &args[4..], "name,n\n\"x, \"\"y\"\"\",4\n");
    assert_eq!(run_again(folder.path(), &output.stderr), "x, \"y\"\n");
}

#[test]
fn several_lines_in_a_job() {
    let folder = folder("log", "");
    let args = ["-n", "3", "sh", "-c", "echo \"$*\"; test $1 = 1", "sh"];
    let output = run(folder.path(), &args, "1\n2\n3\n4\n5\n6\n7\n");
    let label = |args: &str| format!("sh -c 'echo \"$*\"; test $1 = 1' sh {args}");
    let stderr = without_times(&output.stderr);
    let expected = failed(&label("4 5 6"), "exit status 1", "job 2, line 4")
        + &failed(&label("7"), "exit status 1", "job 3, line 7");
    assert!(stderr.starts_with(&expected), "{stderr}");
    assert_eq!(run_again(folder.path(), &output.stderr), "4 5 6\n7\n");
}

#[test]
fn exceptions_name_the_place_where_they_were_raised() {
    let python = "import json\n\ndef load(p):\n    return {}['name']\n\ndef parse(p):\n    return json.loads(p)\n";
    let node = "export function load(p) {\n  return p.x.y;\n}\n";
    let perl = "sub load {\n    die \"no $_[0]\\n\";\n}\n1;\n";
    let ruby = "def load(path)\n  {}.fetch(\"name\")\nend\n";
    for (program, name, text, option, why) in [
        ("python3", "ops.py", python, "--python", "KeyError: 'name' (ops.py:4)"),
        ("node", "ops.mjs", node, "--node", " (ops.mjs:2)"),
        ("perl", "ops.pl", perl, "--perl", "no 2.json (ops.pl:2)"),
        ("ruby", "ops.rb", ruby, "--ruby", "KeyError: key not found: \"name\" (ops.rb:2)"),
    ] {
        if !need(program) {
            continue;
        }
        let folder = folder(name, text);
        let output = run(folder.path(), &[option, name, "load"], "2.json\n");
        let stderr = without_times(&output.stderr);
        let line = stderr.lines().next().unwrap_or_default();
        assert!(line.starts_with("procpool: failed: load(\"2.json\"): "), "{stderr}");
        assert!(line.ends_with(&format!("{why} (job 1, line 1)")), "{stderr}");
        let record = String::from_utf8_lossy(&output.stdout);
        let record = crate::common::json(record.trim_end());
        let message = record["error"]["message"].as_str().expect("a message");
        assert!(record["error"]["data"]["message"].is_null(), "{record}");
        assert!(line.contains(message), "{line}: {record}");
        assert_eq!(again(&output.stderr), format!("{PROCPOOL} {option} {name} load ::: 2.json"));
    }
    if need("python3") {
        let folder = folder("ops.py", python);
        let output = run(folder.path(), &["--python", "ops.py"], "parse [\"{\"]\n");
        let line = output.stderr.lines().next().unwrap_or_default();
        assert_has(
            line,
            &[
                "failed: parse(\"{\"): JSONDecodeError: ",
                " (decoder.py:",
                ", called from ops.py:7) (job 1",
            ],
        );
        let output = run(folder.path(), &["--python", "int(x)"], "1\nx\n");
        let stderr = without_times(&output.stderr);
        let why = "ValueError: invalid literal for int() with base 10: 'x' (<expression>:1)";
        assert!(stderr.starts_with(&failed("x", why, "job 2, line 2")), "{stderr}");
        assert_eq!(again(&output.stderr), format!("{PROCPOOL} --python 'int(x)' ::: x"));
    }
}

#[test]
fn workers_name_the_function_and_its_args_in_every_format() {
    let worker = crate::common::worker("");
    for format in ["record", "value", "text"] {
        let output = Test::new()
            .workers(1, &worker)
            .args(["--format", format, "--timeout", "1s", "--grace", "0"])
            .jobs([
                "fail [\"no\"]",
                r#"{"cmd":"die","id":"j2"}"#,
                "garbage [\"x\"]",
                "never_answer",
                "nope [1",
                "fail_object {\"k\":1}",
            ])
            .any_stdout()
            .any_stderr()
            .status(1)
            .run();
        let stderr = without_times(&output.stderr);
        let lines: Vec<&str> = stderr.lines().collect();
        for (line, (begin, end)) in lines.iter().zip([
            ("fail(\"no\"): no", "(job 1, line 1)"),
            ("die(): the worker (pid ", " before it answered (job j2, line 2)"),
            ("garbage(\"x\"): ", "(job 3, line 3)"),
            ("never_answer(): timed out after 1s, and its worker was ended", "(job 4, line 4)"),
            ("nope [1: invalid job: column ", "(job 5, line 5)"),
            ("fail_object({\"k\":1}): it failed", "(job 6, line 6)"),
        ]) {
            assert!(line.starts_with(&format!("procpool: failed: {begin}")), "{format}: {line}");
            assert!(line.ends_with(end), "{format}: {line}");
        }
        assert_eq!(lines.len(), 7, "{stderr}");
        assert!(lines[6].starts_with("procpool: 6 of 6 jobs failed; again: printf "), "{stderr}");
    }
}

#[test]
fn in_records_the_last_words_of_a_command_are_in_the_line() {
    let script = "echo first >&2; echo 'out of \x07 paper' >&2; exit 3";
    let output = run(Path::new("."), &["--format", "record", "sh", "-c", script, ":::", "a"], "");
    let label = format!("sh -c {} a", quoted(&script.replace('\x07', "\\u{7}")));
    let why = "exit status 3; its stderr ended with: out of \\u{7} paper";
    let stderr = without_times(&output.stderr);
    assert!(stderr.starts_with(&failed(&label, why, "job 1")), "{stderr}");
    // In text, they are on the lines before it.
    let output = run(Path::new("."), &["sh", "-c", script, ":::", "a"], "");
    let stderr = without_times(&output.stderr);
    let line = failed(&label, "exit status 3", "job 1");
    assert!(stderr.starts_with(&format!("first\nout of \x07 paper\n{line}")), "{stderr:?}");
}

#[test]
fn a_tag_is_on_the_line_too() {
    Test::new()
        .args(["--tag", "-j1", "sh", "-c", "exit $0", ":::", "3", "0"])
        .stderr(format!("3\t{}", failed("sh -c 'exit $0' 3", "exit status 3", "job 1")))
        .status(1)
        .run();
}

#[test]
fn shell_text_and_stdin_name_their_args() {
    let output = run(Path::new("."), &["--shell", "cat < {}; exit 4"], "/dev/null\n");
    let stderr = without_times(&output.stderr);
    assert!(stderr.starts_with("procpool: failed: sh -c 'cat < \"${1}\"; exit 4' sh /dev/null: exit status 4 (job 1, line 1)\n"), "{stderr}");
    assert_has(again(&output.stderr), &[" --shell 'cat < {}; exit 4' ::: /dev/null"]);
    let output = run(Path::new("."), &["--stdin", "sh", "-c", "cat; exit 4"], "a b\n");
    let stderr = without_times(&output.stderr);
    let label = "printf '%s\\n' 'a b' | sh -c 'cat; exit 4'";
    assert!(stderr.starts_with(&failed(label, "exit status 4", "job 1, line 1")), "{stderr}");
    assert_eq!(run_again(Path::new("."), &output.stderr), "a b\n");
}

#[test]
fn long_args_are_whole_in_a_pipe_and_not_without_bounds() {
    let long = "x".repeat(3000);
    let output = run(Path::new("."), &["false"], &format!("{long}\n"));
    let stderr = without_times(&output.stderr);
    assert!(stderr.starts_with(&failed(
        &format!("false {long}"),
        "exit status 1",
        "job 1, line 1"
    )));
    let endless = format!("dir/{}/p77.jpg", "y".repeat(50_000));
    let output = run(Path::new("."), &["true"], &format!("{endless}\0\n"));
    assert!(output.stderr.len() < 20_000, "{}", output.stderr.len());
    let output = run(Path::new("."), &["false"], &format!("{endless}\n"));
    let line = output.stderr.lines().next().unwrap_or_default();
    assert!(line.len() < 10_000 && line.contains("…/p77.jpg"), "{line}");
}

// How to run them again

#[test]
fn a_journal_is_resumed() {
    let folder = folder("in", "a\nb\nc\n");
    fs::write(folder.path().join("bad"), "b\n").expect("written");
    let script = "echo \"$1\" >> log; grep -qx \"$1\" bad && exit 1; echo \"<$1>\"";
    let args = ["-j1", "--journal", "j", "sh", "-c", script, "sh"];
    // stdin is a file, whose name is known.
    let shell = "\"$@\" < in";
    let output = Test::through_shell(shell).cwd(folder.path()).args(args);
    let output = output.stdout("<a>\n<c>\n").any_stderr().status(1).run();
    assert_eq!(
        again(&output.stderr),
        format!("{PROCPOOL} -j 1 --journal j --resume sh -c {} sh < in", quoted(script))
    );
    fs::write(folder.path().join("bad"), "").expect("written");
    assert_eq!(run_again(folder.path(), &output.stderr), "<a>\n<b>\n<c>\n");
    assert_eq!(read(folder.path(), "log"), "a\nb\nc\nb\n");
    fs::write(folder.path().join("bad"), "d\n").expect("written");
    let output = run(folder.path(), &[&["--resume"], &args[..]].concat(), "a\nd\n");
    let last = output.stderr.lines().last().unwrap_or_default();
    assert_has(
        last,
        &["1 of 2 jobs failed; again, with the same input: ", " --resume -j 1 --journal j sh "],
    );
}

#[test]
fn the_file_of_failed_lines_is_read() {
    let folder = folder("in", "a\nb b\nc\n");
    fs::write(folder.path().join("bad"), "b b\nc\n").expect("written");
    let script = "grep -qx \"$1\" bad && exit 1; echo \"<$1>\"";
    let args = [
        "-a",
        "in",
        "--failed",
        "re do",
        "--joblog",
        "log",
        "--results",
        "each",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let output = run(folder.path(), &args, "");
    assert_eq!(
        again(&output.stderr),
        format!("{PROCPOOL} -a 're do' --failed 're do' sh -c {} sh", quoted(script))
    );
    fs::write(folder.path().join("bad"), "c\n").expect("written");
    assert_eq!(run_again(folder.path(), &output.stderr), "<b b>\n");
    fs::write(folder.path().join("bad"), "").expect("written");
    assert_eq!(run_again(folder.path(), &output.stderr), "<c>\n");
    assert_eq!(read(folder.path(), "re do"), "");
    assert_has(&read(folder.path(), "log"), &["\tsh -c "]);
}

#[test]
fn many_failures_are_not_listed() {
    let lines: String = (0..1000).map(|n| format!("{n}\n")).collect();
    let output = run(Path::new("."), &["-j2", "false"], &lines);
    assert_eq!(
        output.stderr.lines().last(),
        Some(
            "procpool: 1000 of 1000 jobs failed; again: give --failed FILE next time; it keeps their \
             lines, and -a FILE runs them"
        )
    );
}

#[test]
fn jobs_that_passed_only_on_a_retry_are_counted() {
    let folder = folder("log", "");
    let script = "test -e \"$0\" || { : > \"$0\"; exit 1; }; test \"$0\" != bad";
    let args = ["--retries", "2", "--retry-delay", "1ms", "sh", "-c", script];
    let output = run(folder.path(), &args, "a\nb\nbad\n");
    let stderr = without_times(&output.stderr);
    let label = format!("sh -c {} bad", quoted(script));
    let line = failed(&label, "exit status 1", "job 3, line 3, attempt 3");
    let closing = format!("{line}procpool: 1 of 3 jobs failed, 2 passed only on a retry; again: ");
    assert!(stderr.starts_with(&closing), "{stderr}");
    // When all is well, nothing is said.
    let test = Test::new().cwd(folder.path()).args(["--retries", "2", "sh", "-c", script]);
    test.stdin("c\n").stderr("").run();
}

#[test]
fn a_run_that_was_halted_counts_what_it_has_run() {
    let output = run(Path::new("."), &["-j1", "--halt", "now,fail=1", "false"], "1\n2\n3\n");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    // The end of the input may come later than that of the run.
    let told = lines[1].trim_end_matches(", and input left unread");
    assert_eq!(told, "procpool: the run was ended by --halt: 2 jobs read and not run");
    assert_eq!(
        lines[2],
        format!(
            "procpool: 1 of 1 jobs failed; again: {PROCPOOL} -j 1 --halt now,fail=1 false ::: 1"
        )
    );
}

// Slow jobs

#[test]
fn a_slow_job_is_remarked_on_once_while_it_runs() {
    let crew = Crew::new();
    let script =
        format!("until test -e '{}' || test $1 = quick; do sleep 0.01; done", crew.path("go"));
    let run = Test::new()
        .args(["-j2", "--slow", "0.3", "sh", "-c", &script, "sh"])
        .jobs(["slow 1", "quick", "quick"])
        .any_stderr()
        .spawn();
    let begin =
        format!("procpool: slow: sh -c {} sh 'slow 1': still running after ", quoted(&script));
    run.await_stderr(&begin);
    run.await_stderr(" ms (job 1, line 1, slot ");
    // It would be remarked on again by then.
    assert!(!run.ends_within(std::time::Duration::from_millis(700)));
    crew.file("go", "");
    let output = run.finish();
    // On a busy machine the quick jobs may be remarked on, too.
    assert_eq!(output.stderr.matches(&begin).count(), 1, "{}", output.stderr);
}

#[test]
fn a_slow_call_is_remarked_on_and_off_means_off() {
    let crew = Crew::new();
    let job = format!("await_file [{:?}]", crew.path("go"));
    let start = |options: &[&str]| {
        let test = Test::new().workers(1, crew.worker("")).args(options).jobs([&job]);
        test.any_stdout().any_stderr().spawn()
    };
    let run = start(&["--slow", "50ms"]);
    run.await_stderr(&format!(
        "procpool: slow: await_file({:?}): still running after ",
        crew.path("go")
    ));
    crew.file("go", "");
    run.finish();
    for options in [&["--slow", "0"][..], &["--slow", "never"], &[]] {
        fs::remove_file(crew.path("go")).expect("it is there");
        let before = crew.logged("job").len();
        let run = start(options);
        wait_for("the job", || crew.logged("job").len() > before);
        assert!(!run.ends_within(std::time::Duration::from_millis(200)));
        crew.file("go", "");
        assert_eq!(run.finish().stderr, "", "{options:?}");
    }
    Test::new().args(["--slow", "often", "true"]).stderr_has("or never").status(2).run();
}

// Colours, and the width of a terminal

#[test]
fn colours_are_for_terminals_unless_they_are_asked_for() {
    let stderr = |options: &[&str]| {
        let test = Test::new().args(options).args(["false", ":::", "a"]).env("NO_COLOR", "1");
        test.any_stderr().status(1).run().stderr
    };
    for options in [&[][..], &["--color", "auto"], &["--color=never"]] {
        assert!(!stderr(options).contains('\x1b'), "{options:?}");
    }
    let painted = stderr(&["--color", "always"]);
    assert!(
        painted
            .starts_with("procpool: \x1b[1m\x1b[31mfailed\x1b[0m: false a: exit status 1 (job 1, "),
        "{painted:?}"
    );
    assert_has(&painted, &["procpool: \x1b[1m\x1b[31m1 of 1 jobs failed\x1b[0m; again: \x1b[1m"]);
    let slow = Test::new().args(["--color=always", "--slow=20ms", "sleep", "1", ":::", "0"]);
    slow.stderr_has("procpool: \x1b[1m\x1b[33mslow\x1b[0m: sleep 1 0: ").run();
    Test::new().args(["--color", "sometimes"]).stderr_has("sometimes").status(2).run();
    let error = Test::new().args(["--color=always", "--nope"]).any_stderr().status(2).run().stderr;
    assert!(error.contains("\x1b["), "{error:?}");
}

#[test]
fn a_terminal_shows_colours_and_cuts_long_args() {
    let Some(mut terminal) = Terminal::new() else { return };
    terminal.send("stty cols 60; export TERM=xterm; unset NO_COLOR");
    terminal.prompt();
    let deep = format!("{}/p77.jpg", "folder/".repeat(40));
    terminal.send(&format!("{PROCPOOL} --progress never false ::: {deep}; echo 'the' end"));
    terminal.see("failed");
    let seen = terminal.see("the end");
    let line = seen.split("again").next().unwrap_or_default();
    assert_has(line, &["\x1b[0m: false ", "/p77.jpg", ": exit status 1 (job 1, "]);
    assert!(!line.contains(&deep), "{line:?}");
    assert!(seen.contains(&deep), "the command line is whole: {seen:?}");
    terminal.prompt();
    for plain in ["NO_COLOR=1", "TERM=dumb"] {
        terminal.send(&format!("{plain} {PROCPOOL} --progress never false ::: a; echo 'the' end"));
        terminal.see("failed");
        let seen = terminal.see("the end");
        assert!(!seen.contains('\x1b'), "{plain}: {seen:?}");
        terminal.prompt();
    }
}
