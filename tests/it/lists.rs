//! Lists of args, columns with separators, input that is read as a whole, and placeholders that need more than a
//! path: what users of GNU parallel know.

use std::fs;

use crate::common::{Crew, Test, assert_has, need};

/// What procpool prints with these arguments for this stdin.
#[track_caller]
fn printed(args: &[&str], stdin: &str) -> String {
    let output = Test::new().args(args).stdin(stdin).any_stdout().run();
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn lists_are_combined_and_linked() {
    for (args, jobs) in [
        (&["::: a b ::: 1 2"][..], "a 1\na 2\nb 1\nb 2\n"),
        (&["::: a b c :::+ 1 2"], "a 1\nb 2\n"),
        (&["::: a b ::: x y :::+ 1 2"], "a x 1\na y 2\nb x 1\nb y 2\n"),
        (&["::: a b :::+ 1 2 ::: x y"], "a 1 x\na 1 y\nb 2 x\nb 2 y\n"),
        (&["::: a b :::"], ""),
    ] {
        let words: Vec<&str> = ["echo"].into_iter().chain(args[0].split(' ')).collect();
        assert_eq!(printed(&words, ""), jobs, "{words:?}");
    }
    Test::new()
        .args(["--link", "-a", "x", "-a", "y", "echo"])
        .stderr_has("--link pairs")
        .status(2)
        .run();
    let link = ["--link", "echo", ":::", "a", "b", "c", ":::", "1", "2", ":::+", "x"];
    assert_eq!(printed(&link, ""), "a 1 x\nb 2 x\nc 1 x\n");
    let sep = ["--arg-sep", "--", "--arg-file-sep=@", "echo", "--", "a", "--+", "1", "@", "-"];
    assert_eq!(printed(&sep, "p\nq\n"), "a 1 p\na 1 q\n");
    let named = ["--header", "echo", "{n}-{m}", ":::", "n", "a", ":::+", "m", "1"];
    assert_eq!(printed(&named, ""), "a-1\n");
}

#[test]
fn lists_are_read_from_files() {
    let crew = Crew::new();
    let one = crew.file("one", "f1\nf 2");
    let two = crew.file("two", "1\n\n");
    let empty = crew.file("empty", "");
    assert_eq!(printed(&["echo", "::::", &one, &two], ""), "f1 1\nf1 \nf 2 1\nf 2 \n");
    assert_eq!(printed(&["echo", "::::", &one, "::::+", &two], ""), "f1 1\nf 2 \n");
    assert_eq!(printed(&["echo", ":::", "a", "::::", &one, "-"], "x\n"), "a f1 x\na f 2 x\n");
    assert_eq!(printed(&["echo", "::::", &one], ""), "f1\nf 2\n");
    assert_eq!(printed(&["echo", "::::", &one, &empty], ""), "");
    assert_eq!(printed(&["-0", "echo", ":::", "a", "::::", "-"], "x\0y"), "a x\na y\n");
    let gone = crew.path("gone");
    for args in [&["echo", "::::", &gone][..], &["echo", ":::", "a", "::::", &gone]] {
        let output = Test::new().args(args).any_stderr().status(125).run();
        assert_has(&output.stderr, &["gone' could not be read: there is no such file"]);
    }
}

#[test]
fn a_separator_is_a_character_or_a_regular_expression() {
    for (separator, line, columns) in [
        (",", "a,b c,,", "[a][b c][][]"),
        ("|", "a|b", "[a][b]"),
        (".", "a.b", "[a][b]"),
        ("\\t", "a\tb", "[a][b]"),
        (" *, *", "a , b,c", "[a][b][c]"),
        ("[:;]+", "a:;b", "[a][b]"),
        ("\u{e4}", "a\u{e4}b", "[a][b]"),
    ] {
        let args = ["-C", separator, "printf", "[%s]"];
        assert_eq!(printed(&args, &format!("{line}\n")), columns, "{separator}");
    }
    let args = ["--colsep", ",", "echo", "{2}{1}{3..}", ":::", "a,b,c.d.e"];
    assert_eq!(printed(&args, ""), "bac\n");
    let args = ["-C;", "--header", "echo", "{m}-{n}"];
    assert_eq!(printed(&args, "n;m\n1;2\n"), "2-1\n");
    let args = ["-C,", "--python", "x + args[1]"];
    if need("python3") {
        assert_eq!(printed(&args, "a,b\n"), "ab\n");
    }
    Test::new().args(["-C", "(", "echo"]).stdin("a(b\n").stdout("a b\n").run();
    for args in [&["--colsep", "[a", "echo"][..], &["--colsep=,", "--input", "csv", "echo"]] {
        Test::new().args(args).stderr_has("--colsep").status(2).run();
    }
}

#[test]
fn placeholders_take_values_apart() {
    let args = [
        "printf",
        "%s|",
        "{..}",
        "{/..}",
        "{%.tar.gz}",
        "{/%.gz}",
        "{1%z}",
        "{s/a+/<&>/}",
        "{s|/|_|g}",
        "{/ s/(A)\\./\\1$1-/i}",
        "{s/t{1}//}",
        "{%0}",
        ":::",
        "d/aa.tar.gz",
    ];
    let expected =
        "d/aa|aa|d/aa|aa.tar|d/aa.tar.g|d/<aa>.tar.gz|d_aa.tar.gz|aaa-tar.gz|d/aa.ar.gz|0|";
    assert_eq!(printed(&args, ""), expected);
    // Some names of columns look like them.
    let args = ["--input", "csv", "--header", "echo", "{n%.gz}", "{n..}", "{n s/a/b/}", "{total}"];
    assert_eq!(printed(&args, "n,total\na.tar.gz,7\n"), "a.tar a b.tar.gz 7\n");
    // They are data in a shell too.
    let args = ["--shell", "echo '{s/x/'/}' \"{%;}\"", ":::", "x$(echo pwned)`x`;"];
    assert_eq!(printed(&args, ""), "'$(echo pwned)`x`; x$(echo pwned)`x`\n");
    assert_eq!(printed(&["echo", "{s/a/b/;p}", "{%d}", "{}"], "a\n"), "{s/a/b/;p} {%d} a\n");
    for wrong in ["{s/(/b/}", "{s/a/\\1/}"] {
        Test::new()
            .args(["echo", wrong])
            .stderr_has("the pattern of the placeholder")
            .status(2)
            .run();
    }
}

#[test]
fn the_total_is_known_before_the_first_job() {
    let crew = Crew::new();
    let file = crew.file("file", "1\n2\n3\n");
    let echo = ["sh", "-c", "echo $0", "{#}/{total}"];
    let all = "1/3\n2/3\n3/3\n";
    assert_eq!(printed(&echo, "a\nb\nc"), all);
    assert_eq!(printed(&[&echo[..], &[":::", "a", "b", "c"]].concat(), ""), all);
    assert_eq!(printed(&[&["-a", &file][..], &echo].concat(), ""), all);
    assert_eq!(printed(&[&["-n2"][..], &echo].concat(), "a\nb\nc\n"), "1/2\n2/2\n");
    Test::through_shell(&format!("\"$@\" < {file}")).args(echo).stdout(all).run();
    // A line that is no job is counted, as its number is.
    let output = Test::new()
        .args(["echo", "{}", "{#}/{total}"])
        .stdin("a\nb\0\nc\n")
        .stdout("a 1/3\nc 3/3\n")
        .any_stderr()
        .status(1)
        .run();
    assert_has(&output.stderr, &["line 2"]);
}

#[test]
fn a_random_order_has_each_line_once_and_can_be_repeated() {
    let crew = Crew::new();
    let lines: String = (1..=500).map(|n| format!("line {n}\n")).collect();
    let file = crew.file("file", &lines);
    let sorted = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_by_key(|line| line[5..].parse::<u32>().expect("a number"));
        lines.concat()
    };
    // As many in a job as fit: each job prints all of its lines.
    let shuffle = ["--shuf=7", "-n50", "printf", "%s\\n"];
    let first = printed(&shuffle, &lines);
    assert_ne!(first, lines);
    assert_eq!(sorted(&first), lines.replace('\n', ""));
    let from_file = ["--shuf=7", "-a", &file, "-n50", "printf", "%s\\n"];
    assert_eq!(printed(&from_file, ""), first);
    assert_ne!(printed(&["--shuf=8", "-n50", "printf", "%s\\n"], &lines), first);
    assert_eq!(sorted(&printed(&["--shuf", "-n50", "printf", "%s\\n"], &lines)), sorted(&lines));
    // The header stays the first line, and messages name the line of the input.
    let output = Test::new()
        .args(["--shuf=1", "--input", "csv", "--header", "-j1", "sh", "-c", "exit {n}"])
        .stdin("n\n0\n3\n0\n")
        .any_stderr()
        .status(1)
        .run();
    assert_has(&output.stderr, &["exit status 3", "line 3"]);
    let combined = printed(&["--shuf=2", "echo", ":::", "1", "2", "3", ":::", "a", "b"], "");
    let mut lines: Vec<&str> = combined.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1 a", "1 b", "2 a", "2 b", "3 a", "3 b"]);
    for other in [&["--failed", &file, "-a", &file][..], &["--block", "1K", "--stdin"]] {
        let args = [&["--shuf"], other, &["cat"]].concat();
        Test::new().args(args).stderr_has("--shuf").status(2).run();
    }
}

#[test]
fn exit_statuses_can_be_a_success_or_final() {
    let exit = ["sh", "-c", "echo $0; exit $0", ":::"];
    let run = |options: &[&str]| Test::new().args(options).args(exit);
    run(&["--ok-exit", "0,1"]).args(["0", "1"]).stdout("0\n1\n").run();
    run(&["--ok-exit", "3-5,9"]).args(["0", "4", "9"]).stdout("0\n4\n9\n").run();
    run(&["--ok-exit=1", "-j1"]).args(["1", "2"]).stdout("1\n2\n").any_stderr().status(1).run();
    let retries = ["--retries", "2", "--retry-delay", "0", "--no-retry-exit", "22,30-40", "-j1"];
    let output = run(&retries).args(["22", "35", "7"]).any_stdout().any_stderr().status(1).run();
    let attempts = |status: &str| {
        let mut lines = output.stderr.lines();
        let line =
            lines.find(|line| line.contains(&format!("exit status {status} "))).expect("a line");
        line.contains("attempt 3")
    };
    assert_eq!([attempts("22"), attempts("35"), attempts("7")], [false, false, true]);
    // A journal and a job log have the status as it was.
    let crew = Crew::new();
    let (journal, log) = (crew.path("journal"), crew.path("log"));
    let files = ["--ok-exit=1", "--journal", &journal, "--joblog", &log];
    run(&files).args(["1"]).stdout("1\n").run();
    run(&[&files[..3], &["--resume"]].concat()).args(["1"]).stdout("1\n").any_stderr().run();
    let log = fs::read_to_string(log).expect("a log");
    assert_eq!(log.lines().nth(1).and_then(|line| line.split('\t').nth(6)), Some("1"));
    for wrong in ["", "x", "256", "2-1"] {
        let wrong = format!("--ok-exit={wrong}");
        Test::new()
            .args([&wrong, "true"])
            .stderr_has("exit statuses from 0 to 255")
            .status(2)
            .run();
    }
}

#[test]
fn lines_are_ended_and_tagged_as_asked_for() {
    let crew = Crew::new();
    let printf = ["printf", "%s", ":::", "a", "", "b\n"];
    assert_eq!(printed(&[&["--newline"][..], &printf].concat(), ""), "a\nb\n");
    assert_eq!(printed(&[&["--newline", "--live"][..], &printf].concat(), ""), "a\nb\n");
    assert_eq!(printed(&[&["--newline", "--tag"][..], &printf].concat(), ""), "a\ta\nb \tb\n");
    let large = printed(&["--newline", "sh", "-c", "yes | head -c 600001", ":::", "x"], "");
    assert!(large.len() == 600_002 && large.ends_with("y\n"), "{}", large.len());
    let tag = ["--tag-string", "{/.} {#}", "--stream", "-j1", "sh", "-c", "echo x; echo y"];
    assert_eq!(printed(&tag, "d/a.b\n"), "a 1\tx\na 1\ty\n");
    assert_eq!(printed(&["--tagstring", "job", "echo"], "a\n"), "job\ta\n");
    for wrong in ["{%}", "{2}", "{name}", "{total}"] {
        let args = ["--tag-string", wrong, "echo"];
        Test::new().args(args).stderr_has("--tag-string").status(2).run();
    }
    // All temporary files are in this folder, and none is left.
    let folder = crew.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let args = ["--tmpdir", &folder, "-j2", "--buffer", "1", "--shuf", "sh", "-c", "seq 9999"];
    printed(&args, "1\n2\n3\n");
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
    let gone = crew.path("gone");
    Test::new().args(["--tmpdir", &gone, "true"]).stderr_has("--tmpdir").status(2).run();
}
