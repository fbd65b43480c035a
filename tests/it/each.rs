//! Lists: one call for many lines (`--each`), results that are printed as lines or not at all, and what code gets
//! of each kind of input.

use std::fs;

use crate::common::{Crew, Test, failures, need, without_times};
use crate::hosts_kit::Machines;

/// What an expression finds in `x` and in `args`, for each kind of input.
struct Given {
    options: &'static [&'static str],
    input: &'static str,
    /// A line for each job: x and args, as JSON.
    seen: &'static str,
    /// What differs in Perl: `$_` and `@_`.
    perl: Option<&'static str>,
    /// The words of sh.
    words: &'static str,
}

#[rustfmt::skip]
const GIVEN: &[Given] = &[
    Given { options: &[], input: "a\nb\n", seen: r#"["a",["a"]] ["b",["b"]]"#, perl: None, words: "<a> <b>" },
    Given {
        options: &["-n2"], input: "a\nb\nc\n", perl: None, words: "<a><b> <c>",
        seen: r#"[["a","b"],["a","b"]] [["c"],["c"]]"#,
    },
    Given { options: &["-n1"], input: "a\n", seen: r#"["a",["a"]]"#, perl: None, words: "<a>" },
    Given { options: &["-nmax"], input: "a\nb\n", seen: r#"[["a","b"],["a","b"]]"#, perl: None, words: "<a><b>" },
    Given {
        options: &["--input=csv"], input: "1,2\n3\n", perl: None, words: "<1><2> <3>",
        seen: r#"["1",["1","2"]] ["3",["3"]]"#,
    },
    Given { options: &["--input=tsv"], input: "1\t2\n", seen: r#"["1",["1","2"]]"#, perl: None, words: "<1><2>" },
    Given {
        options: &["--input=csv", "-n2"], input: "1,2\n3,4\n5,6\n", perl: None, words: "<1><2><3><4> <5><6>",
        seen: r#"[["1","2","3","4"],["1","2","3","4"]] [["5","6"],["5","6"]]"#,
    },
    Given {
        options: &["--input=csv", "--header"], input: "p,q\n1,2\n", words: r#"<{"p":"1","q":"2"}>"#,
        seen: r#"[{"p":"1","q":"2"},{"p":"1","q":"2"}]"#,
        perl: Some(r#"[{"p":"1","q":"2"},[{"p":"1","q":"2"}]]"#),
    },
    Given {
        options: &["--header"], input: "p\n1\n", words: r#"<{"p":"1"}>"#,
        seen: r#"[{"p":"1"},{"p":"1"}]"#, perl: Some(r#"[{"p":"1"},[{"p":"1"}]]"#),
    },
    Given {
        options: &["--input=csv", "--header", "-n2"], input: "p\n1\n2\n3\n", perl: None,
        words: r#"<{"p":"1"}><{"p":"2"}> <{"p":"3"}>"#,
        seen: r#"[[{"p":"1"},{"p":"2"}],[{"p":"1"},{"p":"2"}]] [[{"p":"3"}],[{"p":"3"}]]"#,
    },
    Given {
        options: &["--input=json"], input: "7\n\"s\"\nnull\n", words: "<7> <s> <null>",
        seen: r#"[7,7] ["s","s"] [null,null]"#, perl: Some(r#"[7,[7]] ["s",["s"]] [null,[]]"#),
    },
    Given {
        options: &["--input=json"], input: "[1,2]\n[]\n", perl: None, words: "<1><2> <>",
        seen: "[1,[1,2]] [null,[]]",
    },
    Given {
        options: &["--input=json"], input: "{\"k\":1}\n", words: r#"<{"k":1}>"#,
        seen: r#"[{"k":1},{"k":1}]"#, perl: Some(r#"[{"k":1},[{"k":1}]]"#),
    },
];

#[test]
fn code_gets_what_the_table_says() {
    let languages = [
        ("python3", "--python", "[x, args]"),
        ("node", "--node", "[x, args]"),
        ("ruby", "--ruby", "[x, args]"),
        ("perl", "--perl", "[$_, [@_]]"),
        ("sh", "--sh", "printf '<%s>' \"$@\""),
    ];
    for (program, option, code) in languages.into_iter().filter(|language| need(language.0)) {
        for Given { options, input, seen, perl, words } in GIVEN {
            let expected = match program {
                "perl" => perl.unwrap_or(seen),
                "sh" => words,
                _ => seen,
            };
            Test::new()
                .arg("-j1")
                .args(*options)
                .args([option, code])
                .stdin(input)
                .stdout(expected.replace(' ', "\n") + "\n")
                .run();
        }
    }
}

/// An expression that returns its list with a mark at each element.
const EACH: [(&str, &str, &str); 4] = [
    ("python3", "--python", "[f'{len(x)}{y}' for y in x]"),
    ("node", "--node", "x.map((y) => `${x.length}${y}`)"),
    ("ruby", "--ruby", "x.map { |y| \"#{x.size}#{y}\" }"),
    ("perl", "--perl", "my $n = @$_; map { \"$n$_\" } @$_"),
];

#[test]
fn one_call_for_many_lines_in_each_language() {
    for (program, option, code) in EACH {
        if need(program) {
            Test::new()
                .args(["-j2", "-n2", "--each", "--tag", option, code])
                .stdin("a\nb\nc\n")
                .stdout("a\t2a\nb\t2b\nc\t1c\n")
                .run();
        }
    }
}

#[test]
fn what_is_in_the_list() {
    if !need("python3") {
        return;
    }
    let each = ["-j1", "-n2", "--each", "--python", "[repr(y) for y in x]"];
    for (options, input, expected) in [
        (&["--input=csv"][..], "1,2\n3,4\n5\n", "['1', '2']\n['3', '4']\n['5']\n"),
        (&["--input=csv", "--header"], "p\n1\n2\n", "{'p': '1'}\n{'p': '2'}\n"),
        (&["--input=json"], "1\n[2, 3]\nnull\n", "1\n[2, 3]\nNone\n"),
        (&["--null"], "a\nb\0c\0", "'a\\nb'\n'c'\n"),
    ] {
        Test::new().args(options).args(each).stdin(input).stdout(expected).run();
    }
    Test::new()
        .args(each)
        .args([":::", "a", "b", ":::", "c"])
        .stdout("['a', 'c']\n['b', 'c']\n")
        .run();
    Test::new().args(each).stdin("").stdout("").run();
    Test::new().args(each).stdin("a").stdout("'a'\n").run();
}

/// Functions that fail for the line `b`, each in its way.
const FAILING: &str = "
import os, time
def error(xs):
    if 'b' in xs: raise ValueError('no b')
    return xs
def die(xs):
    if 'b' in xs: os._exit(3)
    return xs
def late(xs):
    if 'b' in xs: time.sleep(3600)
    return xs
def short(xs):
    return [x for x in xs if x != 'b']
def text(xs):
    return xs if 'b' not in xs else 'b'
";

#[test]
fn only_the_line_at_fault_fails() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let file = crew.file("f.py", FAILING);
    for (function, message) in [
        ("error", "ValueError: no b (f.py:4)"),
        ("die", "exited with status 3 before it answered"),
        ("late", "timed out after 1s, and its worker was ended"),
        ("short", "the result for a list of 1 line is a list of 0"),
        ("text", "the result for a list of 1 line is no list"),
    ] {
        let failed = crew.path("failed");
        let journal = crew.path(&format!("journal-{function}"));
        let timeout = if function == "late" { "--timeout=1s" } else { "--timeout=20s" };
        let output = Test::new()
            .args(["-j1", "-n3", "--each", "--format=record", timeout, "--grace=0.1s"])
            .args(["--failed", &failed, "--journal", &journal, "--python", &file, function])
            .stdin("a\nb\nc\nd\n")
            .any_stdout()
            .any_stderr()
            .status(1)
            .run();
        let records = output.records();
        for (record, (id, line)) in records.iter().zip([(1, "a"), (2, "b"), (3, "c"), (4, "d")]) {
            assert_eq!(record["id"], id);
            if line == "b" {
                let said = record["error"]["message"].as_str().unwrap_or_default();
                let said = format!(
                    "{said} ({})",
                    record["error"]["data"]["at"].as_str().unwrap_or_default()
                );
                assert!(said.contains(message), "{function}: {said}");
            } else {
                assert_eq!(record["result"], line, "{function}");
            }
        }
        assert_eq!(records.len(), 4, "{function}");
        assert_eq!(fs::read_to_string(&failed).expect("a file"), "b\n");
        // The journal has each line by itself.
        let recorded = fs::read_to_string(&journal).expect("a file");
        assert_eq!(
            recorded.lines().filter(|line| line.contains("\"ok\":true")).count(),
            3,
            "{recorded}"
        );
    }
}

#[test]
fn a_line_is_tried_again_as_often_as_other_jobs() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let tries = crew.path("tries");
    let code = format!("open({tries:?}, 'a').write(','.join(x) + '\\n'), 1 / 0");
    let output = Test::new()
        .args(["-j1", "-n2", "--each", "--retries=1", "--retry-delay=0", "--python", &code])
        .stdin("a\nb\n")
        .any_stderr()
        .status(1)
        .run();
    let failed = failures(&output.stderr).join("\n");
    assert!(failed.contains("attempt 2") && failures(&output.stderr).len() == 2, "{failed}");
    let mut tries: Vec<String> =
        fs::read_to_string(&tries).expect("a file").lines().map(str::to_owned).collect();
    tries.sort_unstable();
    assert_eq!(tries, ["a", "a", "a,b", "b", "b"]);
}

#[test]
fn a_worker_gets_a_list_too() {
    if !need("python3") {
        return;
    }
    let worker = "python3 -c '
import json, sys
for line in sys.stdin:
    first, lines = json.loads(line)[\"args\"]
    print(json.dumps({\"result\": [first + line for line in lines]}), flush=True)'";
    Test::new()
        .args(["-j1", "-n2", "--each", "--format=text", "-w", worker, "f", "x"])
        .stdin("a\nb\nc\n")
        .stdout("xa\nxb\nxc\n")
        .run();
}

#[test]
fn an_interrupted_call_is_no_reason_to_try_again() {
    if !need("python3") {
        return;
    }
    let output = Test::new()
        .args(["-j1", "-n2", "--each", "--fail-fast", "--python", "1 / 0"])
        .stdin("a\nb\n")
        .any_stderr()
        .status(1)
        .run();
    assert!(output.stderr.contains("ZeroDivisionError"), "{}", output.stderr);
}

#[test]
fn what_does_not_go_with_each() {
    for (args, message) in [
        (
            &["--each", "--python", "x"][..],
            "--each is for several lines at a time: say how many with -n N",
        ),
        (&["--each", "-nmax", "--python", "x"], "--each needs a number of lines: -n N"),
        (&["--each", "-n2", "--sh", "true"], "sh has no lists for --each"),
        (
            &["--each", "-n2", "--live", "--python", "x"],
            "--live prints a result while its job runs",
        ),
        (&["--each", "-n2", "true"], "--each is for workers"),
        (
            &["--skip-null", "--format=record", "--python", "x"],
            "use it with --format text or value",
        ),
        (&["--unpack", "--format=record", "--python", "x"], "use it with --format text or value"),
        (&["--unpack", "true"], "--unpack is for workers"),
    ] {
        Test::new().args(args).stdin("1\n").stderr_has(message).status(2).run();
    }
}

#[test]
fn null_and_empty_results_print_nothing() {
    for (program, option, code) in [
        ("python3", "--python", "x if x > 'b' else None"),
        ("python3", "--python", "x if x > 'b' else ''"),
        ("node", "--node", "x > 'b' ? x : undefined"),
        ("node", "--node", "x > 'b' ? x : null"),
        ("ruby", "--ruby", "x if x > 'b'"),
        ("perl", "--perl", "$_ gt 'b' ? $_ : ()"),
        ("perl", "--perl", "$_ gt 'b' ? $_ : undef"),
        ("sh", "--sh", "case $1 in [c-z]) echo $1;; esac"),
    ] {
        if need(program) {
            let test = Test::new().args(["--skip-null", "--tag", option, code]);
            test.stdin("a\nc\nb\nd\n").stdout("c\tc\nd\td\n").run();
        }
    }
    Test::new()
        .args(["--skip-null", "--protocol=raw", "-w", "sed -u s/a//"])
        .stdin("a\nab\na\n")
        .stdout("b\n")
        .run();
}

#[test]
fn a_list_is_printed_as_lines() {
    if !need("python3") {
        return;
    }
    for (options, expected) in [
        (&["--unpack"][..], "b\n[1]\nnull\n\nx\ny\n7\n"),
        (&["--unpack", "--skip-null"], "b\n[1]\nx\ny\n7\n"),
        (&["--unpack", "--format=value"], "\"b\"\n[1]\nnull\n\"\"\n\"x\\ny\"\n7\n"),
        (&["--unpack", "--skip-null", "--format=value"], "\"b\"\n[1]\n\"x\\ny\"\n7\n"),
    ] {
        Test::new()
            .args(options)
            .args(["--input=json", "--python", "args"])
            .stdin("[\"b\", [1], null, \"\", \"x\\ny\"]\n[]\n7\n")
            .stdout(expected)
            .run();
    }
}

#[test]
fn large_integers_arrive_whole() {
    let numbers = "9007199254740993\n-9223372036854775809\n123456789012345678901234567890\n\
                   {\"k\":[18446744073709551616,1.5,0.1,\"9007199254740993\"]}\n\
                   5.97e+24\n{\"k\":[-1.5e+300,\"1e400\"]}\n";
    for (program, option, code) in [
        ("python3", "--python", "x"),
        ("node", "--node", "x"),
        ("ruby", "--ruby", "x"),
        ("perl", "--perl", "$_"),
    ] {
        if need(program) {
            let test = Test::new().args(["--input=json", "--format=value", option, code]);
            test.stdin(numbers).stdout(numbers).run();
        }
    }
    for (program, option, code) in [
        ("node", "--node", "Number(x) + 1"),
        ("node", "--node", "x === '1' ? 2 : { a: [2 ** 70] }"),
        ("node", "--node", "Number(x) > 1 ? Promise.resolve(x * 1e9) : 2"),
        ("perl", "--perl", "$_ > 1 ? [$_ * 2e6] : 2"),
        ("perl", "--perl", "$_ + 9007199254740993 * (2048 * ($_ > 1)) + ($_ == 1)"),
    ] {
        if need(program) {
            let test = Test::new().args([option, code]).stdin("9007199254740993\n1\n");
            let output = test.stdout("2\n").any_stderr().status(1).run();
            let said = without_times(&output.stderr);
            assert!(
                failures(&said)[0].contains("is a number beyond 2^53, and may have lost"),
                "{said}"
            );
        }
    }
}

/// The code of the lines at fault kills the agent, which is the parent of its worker.
#[test]
fn other_machines_get_the_lists_and_a_line_that_takes_them_down_is_lost_alone() {
    if !need("python3") {
        return;
    }
    let machines = Machines::new();
    let code = "[os.kill(os.getppid(), 9) if y == '4' else y for y in x]";
    let run = |options: &[&str], stdout: &str, failed: &[usize]| {
        let test = machines.test("1/a,1/b,1/c").args(["-n", "3", "--each"]).args(options);
        let test = test.args(["--setup", "import os", "--python", code]).patience(120);
        let output =
            test.stdin("1\n2\n3\n4\n5\n6\n7\n").stdout(stdout).any_stderr().status(1).run();
        let said: Vec<String> = failures(&output.stderr).iter().map(|&line| line.into()).collect();
        let begins = |line: usize| format!("procpool: failed: {line}: ");
        assert_eq!(said.len(), failed.len(), "{said:?}");
        assert!(said.iter().zip(failed).all(|(said, &line)| said.starts_with(&begins(line))));
        output.stderr
    };
    let said = run(&[], "1\n2\n3\n5\n6\n7\n", &[4]);
    assert!(said.contains(": 3 machines that ran it were lost"), "{said}");
    let said = run(&["--no-rerun"], "1\n2\n3\n7\n", &[4, 5, 6]);
    assert!(said.contains(", which ran it, was lost: ") && !said.contains("other slot"), "{said}");
}
