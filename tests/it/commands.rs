//! Commands as jobs: their args and stdin, and how they end.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::common::{
    Crew, Output, Test, assert_has, failed, failures, message, need, result, wait_for,
    without_times, worker,
};
use proptest::prelude::*;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

/// A command that prints how many arguments it has, and each of them in brackets.
const SHOW: [&str; 4] =
    ["sh", "-c", r#"printf %s $#; for arg do printf "[%s]" "$arg"; done; echo"#, "sh"];

/// Arguments that a shell would make something else of.
const NASTY: [&str; 10] = [
    "$(touch pwned)'\";`touch pwned`",
    "; touch pwned #",
    "a b  c",
    "'",
    "\"",
    "\\",
    "*",
    "-n",
    "${HOME}$HOME",
    "",
];

/// Runs [`SHOW`] with these options and arguments.
fn show<S: AsRef<OsStr>>(options: &[&str], args: impl IntoIterator<Item = S>) -> Test {
    Test::new().args(options).args(SHOW).args(args)
}

/// A run that is wrong usage: stderr holds these parts.
#[track_caller]
fn misused(test: Test, parts: &[&str]) {
    let output = test.any_stderr().status(2).run();
    assert_has(&output.stderr, parts);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

// 1. Placeholders

#[test]
fn every_placeholder_in_any_argument() {
    show(
        &["-j1"],
        [
            "{}",
            "{.}",
            "{/}",
            "{//}",
            "{/.}",
            "{1}",
            "{1.}",
            "{1/}",
            "{1//}",
            "{1/.}",
            "{#}",
            "{%}",
            "<{}>{.}{}",
            "{#}-{%}",
        ],
    )
    .stdin("dir.d/a.b.c\n/a\nx/\n.hidden\n")
    .stdout(concat!(
        "14[dir.d/a.b.c][dir.d/a.b][a.b.c][dir.d][a.b][dir.d/a.b.c][dir.d/a.b][a.b.c][dir.d][a.b]",
        "[1][1][<dir.d/a.b.c>dir.d/a.bdir.d/a.b.c][1-1]\n",
        "14[/a][/a][a][/][a][/a][/a][a][/][a][2][1][</a>/a/a][2-1]\n",
        "14[x/][x/][][.][][x/][x/][][.][][3][1][<x/>x/x/][3-1]\n",
        "14[.hidden][][.hidden][.][][.hidden][][.hidden][.][][4][1][<.hidden>.hidden][4-1]\n",
    ))
    .run();
}

#[test]
fn the_args_are_appended_when_no_placeholder_stands_for_them() {
    show(&[], ["x"]).stdin("a b\n").stdout("2[x][a b]\n").run();
    show(&[], ["{#}"]).stdin("a\nb\n").stdout("2[1][a]\n2[2][b]\n").run();
    show(&["--env", "A={}"], ["x"]).stdin("a\n").stdout("2[x][a]\n").run();
    Test::new().arg("echo").stdin("a\n").stdout("a\n").run();
}

#[test]
fn a_placeholder_in_the_place_of_the_program() {
    Test::new()
        .args(["{}", "hi"])
        .stdin("echo\nno-such-program\nprintf\n")
        .stdout("hi\nhi")
        .stderr(failed(
            "no-such-program hi",
            "there is no program 'no-such-program' in PATH",
            "job 2, line 2",
        ))
        .status(1)
        .run();
}

#[test]
fn any_line_is_one_argument() {
    show(&[], ["{}"])
        .stdin(b"a  b\n'q' \"d\" \\ $(id) *\n-x\n--stream\n\n\xff\xfe.\x80\n{}\n# no comment\nlast")
        .stdout(
            b"1[a  b]\n1['q' \"d\" \\ $(id) *]\n1[-x]\n1[--stream]\n1[]\n1[\xff\xfe.\x80]\n1[{}]\n\
              1[# no comment]\n1[last]\n",
        )
        .run();
    show(&["-0"], ["<{.}>"])
        .stdin(b"a\nb.c\0\0\n\0\xff.\n")
        .stdout(b"1[<a\nb>]\n1[<>]\n1[<\n>]\n1[<\xff>]\n")
        .run();
}

#[test]
fn no_input_no_job() {
    for options in [&[][..], &["-0"], &["-n", "2"], &["-n", "max"], &["--input", "csv"]] {
        show(options, ["{}"]).run();
    }
}

#[test]
fn an_unknown_placeholder_is_wrong_usage() {
    for (options, word) in [
        (&[][..], "a{name}b"),
        (&["--env", "A={name}"], ""),
        (&["--cwd", "/{name.}"], ""),
        (&["--shell"], "{name}"),
        (&["-n", "2"], "{name/}"),
    ] {
        let parts = ["name", "unknown", "{} {.} {/} {//} {/.}", "{#} {%}", "-I"];
        misused(show(options, [word]).stdin("a\n"), &parts);
    }
    misused(show(&[], ["{0}"]), &["{0}", "from 1"]);
}

#[test]
fn braces_that_are_no_placeholder_are_text() {
    Test::new().args(["awk", "{print $1}", "-"]).stdin("x\n").status(1).stderr_has("awk").run();
    Test::new().args(["--stdin", "awk", "{print $2}"]).stdin("a b\nc d\n").stdout("b\nd\n").run();
    let words = ["{print $1}", r#"{"a":{}}"#, "{}}", "{{}", "{a b}", "{,}", "}{", "{", "{ }"];
    show(&[], words)
        .stdin("v\n")
        .stdout("9[{print $1}][{\"a\":v}][v}][{v][{a b}][{,}][}{][{][{ }]\n")
        .run();
}

#[test]
fn another_string_in_place_of_braces() {
    show(&["-I", "XX"], ["aXXb", "{}", "XX", "{#}", "{name}"])
        .stdin("v w\n")
        .stdout("5[av wb][{}][v w][{#}][{name}]\n")
        .run();
    show(&["-I", "XX", "--env", "A=XX{}", "--cwd", "/"], ["{}"])
        .stdin("v\n")
        .stdout("2[{}][v]\n")
        .run();
    show(&["-I", "{}"], ["{.}"]).stdin("v.x\n").stdout("2[{.}][v.x]\n").run();
}

#[test]
fn variables_and_the_directory_take_placeholders() {
    let crew = Crew::new();
    let directory = fs::canonicalize(crew.path(".")).expect("it is there");
    let directory = directory.to_str().expect("the path is UTF-8");
    let options = ["--env", "A=<{/}>{#}", "--env", "B=", "--env", "C==", "--cwd", "{//}"];
    Test::new()
        .args(options)
        .args(["sh", "-c", "echo \"$A|$B|$C|$1\"; pwd", "sh", "{.}"])
        .stdin(format!("{directory}/a  b.c\n"))
        .stdout(format!("<a  b.c>1||=|{directory}/a  b\n{directory}\n"))
        .run();
    let output = Test::new()
        .args(["--cwd", "{}", "pwd"])
        .jobs([directory, "/no/such", ""])
        .stdout(format!("{directory}\n"))
        .any_stderr()
        .status(1)
        .run();
    assert_has(
        &output.stderr,
        &[
            "procpool: failed: (cd /no/such && pwd /no/such): there is no directory '/no/such' to run it in (job 2, line 2)\n",
        ],
    );
}

fn script(crew: &Crew, name: &str, text: &str) -> String {
    let path = crew.file(name, format!("#!/bin/sh\n{text}\n"));
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, mode).expect("it is ours");
    path
}

#[test]
fn a_path_of_its_own_is_where_the_command_is_looked_for() {
    let crew = Crew::new();
    script(&crew, "only-here", "echo found \"$1\"");
    let path = format!("PATH={}", crew.path(""));
    Test::new().args(["--env", &path, "only-here"]).stdin("a\n").stdout("found a\n").run();
    Test::new()
        .args(["--env", &path, "sort"])
        .stdin("a\n")
        .stderr_has("(job 1, line 1")
        .stderr_has(": 'sort' can't be run")
        .status(1)
        .run();
    // The shell is not looked for there.
    Test::new()
        .args(["--env", &path, "--shell", "only-here {}"])
        .stdin("a\n")
        .stdout("found a\n")
        .run();
}

#[test]
fn a_program_is_looked_for_from_the_directory_it_runs_in() {
    let crew = Crew::new();
    fs::create_dir(crew.path("sub")).expect("there is room");
    script(&crew, "sub/inner", "echo inner $1");
    script(&crew, "outer", "echo outer $1");
    Test::new()
        .cwd(crew.path("."))
        .args(["--cwd", "sub", "./inner"])
        .stdin("a\n")
        .stdout("inner a\n")
        .run();
    Test::new()
        .cwd(crew.path("."))
        .args(["--cwd", "sub", "./outer"])
        .stdin("a\n")
        .stderr_has("(job 1, line 1")
        .stderr_has(": './outer' can't be run")
        .status(1)
        .run();
}

#[test]
fn a_command_that_cannot_be_run_is_found_out_before_input_is_read() {
    let crew = Crew::new();
    let plain = crew.file("plain", "data");
    for (program, part, status) in [
        ("no-such-program", "there is no program 'no-such-program' in PATH", 127),
        ("/no/such", "there is no file '/no/such'", 127),
        ("/", "'/' can't be run: it is a directory", 126),
        (&plain, "it is not executable", 126),
    ] {
        let run = Test::new().arg(program).stdin_open().stderr_has(part).status(status).spawn();
        let output = run.finish_by_itself();
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(!output.stderr.contains("--worker"), "{}", output.stderr);
    }
    misused(Test::new().arg("").stdin("a\n"), &["COMMAND", "empty"]);
}

#[test]
fn a_shell_command_in_one_word_is_told_of_shell() {
    for program in ["echo x", "echo;", "./tool --fast", "cat<x", "$HOME/tool"] {
        let output = Test::new().arg(program).stdin("a\n").any_stderr().status(127).run();
        assert_has(&output.stderr, &[program, "no shell is run", "--shell"]);
    }
    let output = Test::new().arg("nosuch").stdin("a\n").any_stderr().status(127).run();
    assert!(!output.stderr.contains("--shell"), "{}", output.stderr);
}

#[test]
fn options_of_other_tools_are_told_of_ours() {
    for (option, ours) in [
        ("-t", "--dry-run"),
        ("-L1", "-n N"),
        ("-N2", "-n N"),
        ("-X", "-n max"),
        ("-i", "-I STR"),
        ("--interactive", "--confirm"),
        ("--process-slot-var=X", "--env VAR={%}"),
        ("--termseq=TERM", "--grace"),
        ("--halt-on-error=1", "--fail-fast"),
        ("--memsuspend=1G", "--min-free-memory"),
        ("--tmux", "--progress full"),
        ("--sqlmaster=x", "--journal"),
        ("--will-cite", "leave it out"),
        ("--pipe", "--stdin"),
        ("--lb", "--live --stream"),
        ("--workdir=/", "--cwd"),
        ("--resume-failed", "--journal"),
    ] {
        misused(Test::new().args([option, "echo"]), &["there is no option", ours]);
    }
    misused(Test::new().args(["--such", "echo"]), &["--such", "--help"]);
    // What is the case anyway is accepted, and so are other names.
    for option in ["--jobs=1", "--bar", "--eta", "--no-notice", "--gnu"] {
        show(&[option], ["{}"]).stdin("a\n").stdout("1[a]\n").run();
    }
    show(&["--dryrun"], ["{}"]).stdin("a\n").any_stdout().run();
    show(&["-r"], ["{}"]).stdin("").run();
    show(&["--no-run-if-empty", "-k"], ["{}"]).stdin("a\n").stdout("1[a]\n").run();
}

// 2. --shell

#[test]
fn no_shell_is_run_unless_asked_for() {
    let crew = Crew::new();
    show(&[], ["$(touch pwned)", ";touch pwned", "{}"])
        .cwd(crew.path("."))
        .stdin("`touch pwned`\n")
        .stdout("3[$(touch pwned)][;touch pwned][`touch pwned`]\n")
        .run();
    assert!(!fs::exists(crew.path("pwned")).expect("it can be looked for"));
}

#[test]
fn with_a_shell_args_are_data_however_they_are_quoted() {
    let crew = Crew::new();
    let text = r#"printf '%s|' {} a{}b "{}" "a{}b" '{}' 'a{}b' "$(printf %s {})" "$(printf %s "{}")" "$(printf %s 'x{}')" \{} "\{}"; (printf '%s|' {}); x={}; { printf '%s|' "$x"; }; case {} in x) ;; *) printf '%s|' {};; esac; echo {} >/dev/null # {} it's"#;
    let expected: String = NASTY
        .iter()
        .map(|x| format!("{x}|a{x}b|{x}|a{x}b|{x}|a{x}b|{x}|{x}|x{x}|{{}}|\\{x}|{x}|{x}|{x}|"))
        .collect();
    Test::new().cwd(crew.path(".")).args(["--shell", text]).jobs(NASTY).stdout(expected).run();
    assert!(!fs::exists(crew.path("pwned")).expect("it can be looked for"));
}

#[test]
fn a_shell_may_change_its_parameters() {
    for (text, expected) in [
        ("f() { echo \"$1\" {}; }; f z", "z a'b.c\n"),
        ("set -- x y; echo $1 {} '{.}'", "x a'b.c a'b\n"),
        ("shift; echo {} $#", "a'b.c 0\n"),
    ] {
        Test::new().args(["--shell", text]).stdin("a'b.c\n").stdout(expected).run();
    }
}

#[test]
fn a_shell_command_is_all_words() {
    Test::new()
        .args(["--shell", "echo", "{}", "|", "tr", "a", "b"])
        .stdin("a$HOME\n")
        .stdout("b$HOME\n")
        .run();
    Test::new().args(["--shell", "echo \"$0\" $#"]).stdin("a\n").stdout("sh 1 a\n").run();
    Test::new()
        .args(["--shell", "-n", "2", "printf '[%s]' {} x{} \"{}\""])
        .stdin("a b\n*\n")
        .stdout("[a b][*][xa b *][a b *]")
        .run();
}

#[test]
fn where_a_shell_could_not_take_an_argument_as_data() {
    for (text, part) in [
        ("echo $(({}+1))", "$((…))"),
        ("echo \"$(( (1) + {} ))\"", "$((…))"),
        ("echo ${x:-{}}", "${…}"),
        ("echo \"${x:-{}}\"", "${…}"),
        ("cat <<E\n{}\nE", "here-document"),
        ("echo $(cat <<-E\n{}\nE\n)", "here-document"),
    ] {
        misused(Test::new().args(["--shell", text]).stdin("a\n"), &[part, "x={}", "--stdin"]);
    }
    for (text, expected) in [
        ("echo $((1<<2)) $(((1)+2)) {}", "4 3 a\n"),
        ("echo ${#x} $# ${x#'}'} {}", "0 1 a\n"),
        ("echo `echo x` {} `echo {}`", "x a a\n"),
    ] {
        Test::new().args(["--shell", text]).stdin("a\n").stdout(expected).run();
    }
}

// 3. Job lines

#[test]
fn job_lines_name_their_commands() {
    Test::new()
        .args(["-j2", "--format", "record"])
        .jobs([
            r#"{"cmd":"printf","args":["[%s]","-k","a b",1,1.50,true,null,{"a": [1, "x y"]},[]]}"#,
            r#"printf ["<%s>","{}","{1}","$x"]"#,
            "# a comment",
            "",
            r#"{"cmd":"echo","args":"one","id":"j"}"#,
            "echo 5",
            "true",
            r#"{"cmd":"sh","args":["-c","echo out; echo err >&2; exit 7"],"id":7}"#,
            r#"{"cmd":"sort","args":["/dev/null"]}"#,
        ])
        .stdout(concat!(
            r#"{"id":1,"ok":true,"result":{"exit":0,"stdout":"[-k][a b][1][1.50][true][null][{\"a\":[1,\"x y\"]}][[]]","stderr":""}}"#,
            "\n",
            r#"{"id":2,"ok":true,"result":{"exit":0,"stdout":"<{}><{1}><$x>","stderr":""}}"#,
            "\n",
            r#"{"id":"j","ok":true,"result":{"exit":0,"stdout":"one\n","stderr":""}}"#,
            "\n",
            r#"{"id":4,"ok":true,"result":{"exit":0,"stdout":"5\n","stderr":""}}"#,
            "\n",
            r#"{"id":5,"ok":true,"result":{"exit":0,"stdout":"","stderr":""}}"#,
            "\n",
            r#"{"id":7,"ok":false,"error":{"kind":"exit","message":"exit status 7","data":{"exit":7,"stdout":"out\n","stderr":"err\n"}}}"#,
            "\n",
            r#"{"id":7,"ok":true,"result":{"exit":0,"stdout":"","stderr":""}}"#,
            "\n",
        ))
        .status(1)
        .run();
}

#[test]
fn a_job_whose_command_cannot_be_run_fails_alone() {
    let crew = Crew::new();
    let plain = crew.file("plain", "data");
    let jobs = [
        "echo [\"first\"]".to_owned(),
        "no-such-program".to_owned(),
        "/tmp".to_owned(),
        "/no/such".to_owned(),
        format!("{{\"cmd\":{plain:?},\"id\":\"j\"}}"),
        "echo [\"last\"]".to_owned(),
    ];
    Test::new()
        .arg("-j2")
        .jobs(jobs)
        .stdout("first\nlast\n")
        .stderr(format!(
            "procpool: failed: no-such-program: there is no program 'no-such-program' in PATH \
             (job 2, line 2)\n\
             procpool: failed: /tmp: '/tmp' can't be run: it is a directory (job 3, line 3)\n\
             procpool: failed: /no/such: there is no file '/no/such' (job 4, line 4)\n\
             procpool: failed: {plain}: '{plain}' can't be run: it is not executable; make it \
             so (chmod +x '{plain}') or name its interpreter ('python3 {plain}') (job j, line 5)\n"
        ))
        .status(1)
        .run();
}

#[test]
fn job_lines_that_are_no_commands() {
    let records = Test::new()
        .args(["--format", "record"])
        .jobs([
            r#"{"cmd":"echo","args":{"a":1}}"#,
            r#"{"cmd":""}"#,
            r#"{"cmd":"echo","args":["a\u0000b"]}"#,
            r#"{"cmd":"echo","args":["\ud800"]}"#,
            r#"{"cmd":"echo","colour":1}"#,
            "echo [",
            "echo [\"good\"]",
        ])
        .status(1)
        .records();
    for (index, part) in ["array", "empty", "NUL", "hex escape", "`colour` is unknown", "not JSON"]
        .iter()
        .enumerate()
    {
        let text = message(&records[index], "invalid");
        assert_has(text, &[part, &format!("line {}", index + 1)]);
    }
    assert_eq!(result(&records[6])["stdout"], "good\n");
    // A message names the command, too.
    let half = r#"echo ["\ud800"]"#;
    let why = "invalid job: an arg is no text, because it has half of a character: ";
    let test = Test::new().jobs([half]).stderr_has(format!("procpool: failed: {half}: {why}"));
    test.status(1).run();
}

#[test]
fn a_job_may_have_its_own_timeout_and_retries() {
    let crew = Crew::new();
    let tries = crew.path("tries");
    let again = format!("echo x >> {tries}; test $(wc -l < {tries}) -ge 3");
    let records = Test::new()
        .args(["-j2", "--format", "record", "--detail", "--timeout", "60"])
        .jobs([
            r#"{"cmd":"sleep","args":["60"],"timeout":0.1}"#.to_owned(),
            format!("{{\"cmd\":\"sh\",\"args\":[\"-c\",{again:?}],\"retries\":5}}"),
            r#"{"cmd":"false","retries":1}"#.to_owned(),
        ])
        .status(1)
        .records();
    assert_has(message(&records[0], "timeout"), &["100ms"]);
    assert_eq!(records[1]["ok"], true);
    assert_eq!(records[1]["attempt"], 3);
    message(&records[2], "exit");
    assert_eq!(records[2]["attempt"], 2);
    // None at all.
    Test::new()
        .args(["--timeout", "0.1s"])
        .jobs([r#"{"cmd":"sh","args":["-c","sleep 0.5; echo done"],"timeout":0}"#])
        .stdout("done\n")
        .run();
}

#[test]
fn job_lines_that_name_a_shell_variables_and_a_directory() {
    Test::new()
        .args(["--env", "A={4}-{#}", "--cwd", "/"])
        .jobs([r#"sh ["-c", "echo \"$1|$A\" | tr a b; pwd", "sh", "a'$(x)"]"#])
        .stdout("b'$(x)|b'$(x)-1\n/\n")
        .run();
}

// 4. Where args come from

#[test]
fn csv() {
    show(&["--input", "csv"], ["{2}", "{}", "{1}-{2}"])
        .stdin("a,b\r\n\"c \"\"d\"\", \r\ne\",f\n\n , \n,\n\"\",\nlast,\"one\nquoted\"")
        .stdout(concat!(
            "4[b][a][b][a-b]\n",
            "4[f][c \"d\", \r\ne][f][c \"d\", \r\ne-f]\n",
            "4[ ][ ][ ][ - ]\n",
            "4[][][][-]\n",
            "4[][][][-]\n",
            "4[one\nquoted][last][one\nquoted][last-one\nquoted]\n",
        ))
        .run();
}

#[test]
fn the_last_csv_record_needs_no_newline() {
    for (input, expected) in
        [("a,b", "2[a][b]\n"), ("a", "1[a]\n"), ("a,", "2[a][]\n"), ("x\r\na", "1[x]\n1[a]\n")]
    {
        show::<&str>(&["--input", "csv"], []).stdin(input).stdout(expected).run();
    }
}

#[test]
fn tsv() {
    show(&["--input", "tsv"], ["{2}", "{}"])
        .stdin("a b\t\"c\n\t\r\nlast\tx")
        .stdout("3[\"c][a b][\"c]\n3[][][]\n3[x][last][x]\n")
        .run();
    show(&["--input", "tsv", "--header"], ["{b}", "{a}"])
        .stdin("a\tb\r\n1\t2\r\n\t\r\n")
        .stdout("2[2][1]\n2[][]\n")
        .run();
    show(&["--input", "tsv", "-0"], ["{2}"]).stdin("a\tb\nc\0").stdout("1[b\nc]\n").run();
}

#[test]
fn a_header_names_the_columns() {
    show(&["--input", "csv", "--header"], ["{name}", "{first name.}", "{age}", "{1}", "{}"])
        .stdin("\u{feff}name,age,first name\r\n\"a,b\",3,x.y\r\n\r\n")
        .stdout("7[a,b][x][3][a,b][a,b][3][x.y]\n")
        .run();
    show(&["--input", "csv", "--header"], ["{first name}", "{e.f}", "{c-d/}", "{x.y z}"])
        .stdin("\n\nfirst name,e.f,c-d\n1,2,a/b\n")
        .stdout("4[1][2][b][{x.y z}]\n")
        .run();
    show(&["--header"], ["{name}"]).stdin("name\na\n").stdout("1[a]\n").run();
    show(&["--header"], ["{name}"]).args([":::", "name", "a"]).stdout("1[a]\n").run();
}

#[test]
fn a_list_on_the_command_line_may_begin_with_its_name() {
    show(&["--header"], ["{y}", "{name}", ":::", "name", "a", "b", ":::", "y", "1", "2"])
        .stdout("2[1][a]\n2[2][a]\n2[1][b]\n2[2][b]\n")
        .run();
    show(&["--header"], ["{name}", ":::", "name"]).run();
    show(&["--header"], ["{name}", ":::"]).run();
    show(&["--header"], ["{nme}", ":::", "name", "a"])
        .stderr_has("{nme} is no column")
        .status(2)
        .run();
}

#[test]
fn more_ways_than_can_be_counted_to_take_nothing() {
    let list = || [":::", "name"].into_iter().chain(std::iter::repeat_n("a", 10_000));
    let lists: Vec<&str> = (0..5).flat_map(|_| list()).collect();
    show(&["--header"], ["{name}"]).args(lists).args([":::", "name"]).run();
}

#[test]
fn a_header_that_is_too_long_is_not_replaced_by_the_next_line() {
    show(&["--header", "--max-line", "8"], ["{name}"])
        .stdin("name-of-it\nname\na\n")
        .stderr(
            "procpool: the header is longer than the limit of 8 bytes (raise --max-line to allow it)\n",
        )
        .status(2)
        .run();
}

#[test]
fn wide_and_long_csv_records() {
    let wide: String = (0..300).map(|number| format!("{number},")).collect();
    let lines = "x\n".repeat(100_000);
    let long = "w".repeat(70_000);
    let output = Test::new()
        .args(["--input", "csv", "--stdin", "sh", "-c", "tr '\\n' '|'; exit $1", "sh", "{2}"])
        .stdin(format!("{wide}\n\"{lines}\",0\n\"\"\"\",7,{long}\n"))
        .stdout(format!(
            "{}||{}|0|\"|7|{long}|",
            wide.trim_end_matches(',').replace(',', "|"),
            lines.replace('\n', "|")
        ))
        .any_stderr()
        .status(1)
        .run();
    let stderr = without_times(&output.stderr);
    let lines = failures(&stderr);
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].ends_with(" sh 1: exit status 1 (job 1, line 1)"), "{}", lines[0]);
    assert!(lines[1].ends_with(" sh 7: exit status 7 (job 3, line 100003)"), "{}", lines[1]);
}

#[test]
fn each_csv_record_is_run_as_it_comes() {
    let mut run = show::<&str>(&["--input", "csv"], [])
        .stdin_open()
        .stdout("2[a][b]\n2[c\nd][e]\n1[f]\n")
        .spawn();
    run.write("a,b\r\n\"c\n");
    assert_eq!(run.line(), "2[a][b]");
    run.write("d\",e\nf");
    assert_eq!(run.line(), "2[c");
    assert_eq!(run.line(), "d][e]");
    run.finish();
}

#[test]
fn a_quote_that_is_not_closed_does_not_swallow_the_rest_unseen() {
    let test = |options: &[&str], input: &str| {
        let options = [&["--input", "csv"], options].concat();
        show(&options, ["{}"]).stdin(input)
    };
    let unclosed = failed(
        "\"c,d\\ne,f\\n",
        "invalid job: a quote begins a field and none ends it, up to the end of the input",
        "job 2, line 2",
    );
    test(&[], "a,b\n\"c,d\ne,f\n").stdout("2[a][b]\n").stderr(&unclosed).status(1).run();
    // Lines before it that wait for more are a job before it.
    test(&["-n", "2"], "a,b\n\"c,d\ne,f\n").stdout("2[a][b]\n").stderr(&unclosed).status(1).run();
    misused(test(&["--header"], "a,\"b\nc,d\n"), &["the header is not CSV", "quote"]);
    for (whole, fields) in [
        ("\"a\"", "1[a]\n"),
        ("\"\"", "1[]\n"),
        ("a\"", "1[a\"]\n"),
        ("\"a\"\"\"", "1[a\"]\n"),
        ("\"a\n\"", "1[a\n]\n"),
        ("a,\"\"\r", "2[a][]\n"),
    ] {
        test(&[], whole).stdout(fields).run();
    }
}

#[test]
fn a_header_alone_or_none_at_all_is_no_job() {
    for input in ["", "name,age\n", "name,age", "\n\n"] {
        show(&["--input", "csv", "--header"], ["{name}"]).stdin(input).run();
    }
}

#[test]
fn a_header_without_the_column_that_is_asked_for() {
    let output = show(&["--input", "csv", "--header"], ["{nme}"])
        .stdin("name,age\na,1\n")
        .any_stderr()
        .status(2)
        .run();
    assert_has(&output.stderr, &["{nme}", "name, age", "{} {.}"]);
}

#[test]
fn lines_with_other_columns_than_the_header() {
    show(&["--input", "csv", "--header", "-j1"], ["{a}"])
        .stdin("a,b\n\"x\ny\",1\n\n2\n3,4,5\nz,6\nq,\"\n\n7\"\n8\n")
        .stdout("1[x\ny]\n1[z]\n1[q]\n")
        .stderr(concat!(
            "procpool: failed: 2: invalid job: it has 1 column, and the header has 2 (job 2, line 5)\n",
            "procpool: failed: 3,4,5: invalid job: it has 3 columns, and the header has 2 (job 3, line 6)\n",
            "procpool: failed: 8: invalid job: it has 1 column, and the header has 2 (job 6, line 11)\n",
        ))
        .status(1)
        .run();
}

#[test]
fn messages_name_the_line_where_a_record_begins() {
    Test::new()
        .args(["--input", "csv", "sh", "-c", "exit $1", "sh", "{2}"])
        .stdin("\"a\nb\",0\r\n\r\n\"c\n\nd\",3\nx,\0\ny,4\n")
        .stderr(concat!(
            "procpool: failed: sh -c 'exit $1' sh 3: exit status 3 (job 2, line 4)\n",
            "procpool: failed: x,\\0: invalid job: it has a NUL byte, which no argument can hold (job 3, line 7)\n",
            "procpool: failed: sh -c 'exit $1' sh 4: exit status 4 (job 4, line 8)\n",
        ))
        .status(1)
        .run();
}

#[test]
fn several_files_with_headers() {
    let crew = Crew::new();
    let first = crew.file("first", "a,b\n1,2");
    let second = crew.file("second", "a,b\r\n3,4\n");
    let other = crew.file("other", "c,a\n5,6\n");
    let empty = crew.file("empty", "");
    let options = ["--input", "csv", "--header", "-a", &first, "-a", &empty, "-a", &second];
    show(&options, ["{b}{a}"]).stdout("1[21]\n1[43]\n").run();
    let options = ["--input", "csv", "--header", "-a", &first, "-a", &other, "-a", &second];
    show(&options, ["{b}{a}"])
        .stdout("1[21]\n1[43]\n")
        .stderr(format!(
            "procpool: the header in '{other}' is not that of the input before it, so it was not read\n"
        ))
        .status(125)
        .run();
}

#[test]
fn json_lines_are_the_args() {
    show(&["--input", "json"], ["{}"])
        .jobs([
            r#"["a b",1,null,{"k": 1}]"#,
            r#"{"n": "x","m":2}"#,
            "\"s\\n\"",
            "5",
            "",
            "[]",
            "{bad",
        ])
        .stdout("4[a b][1][null][{\"k\":1}]\n1[{\"n\":\"x\",\"m\":2}]\n1[s\n]\n1[5]\n0\n")
        .stderr_has("procpool: failed: {bad: invalid job: column 2: it is not JSON")
        .stderr_has(" (job 6, line 7)\n")
        .status(1)
        .run();
    show(&["--input", "json", "--env", "A={n}"], ["{n.}", "{m}", "{two words}"])
        .jobs([r#"{"n":"x.y","m":[1, 2],"two words":true}"#, r#"{"m":1}"#, r#"["x"]"#])
        .stdout("3[x][[1,2]][true]\n")
        .stderr(concat!(
            "procpool: failed: {\"m\":1}: invalid job: the placeholder {n.} is no field of this job; its fields are m (job 2, line 2)\n",
            "procpool: failed: [\"x\"]: invalid job: the placeholder {n.} is no field of this job; its fields are none (job 3, line 3)\n",
        ))
        .status(1)
        .run();
}

#[test]
fn lines_may_end_in_any_byte() {
    for (option, input) in [
        (":", "a:b c::\n"),
        ("\\t", "a\tb c\t\t\n"),
        ("\\x3b", "a;b c;;\n"),
        ("\\0", "a\0b c\0\0\n"),
        ("\\r", "a\rb c\r\r\n"),
        ("\\", "a\\b c\\\\\n"),
        ("\\\\", "a\\b c\\\\\n"),
        ("\\073", "a;b c;;\n"),
        ("\\f", "a\x0cb c\x0c\x0c\n"),
    ] {
        show(&["-d", option], ["{}"]).stdin(input).stdout("1[a]\n1[b c]\n1[]\n1[\n]\n").run();
    }
    show(&["-d", "\\n"], ["{}"]).stdin("a\nb").stdout("1[a]\n1[b]\n").run();
    for wrong in ["", "ab", "\\q", "\\400", "\\x", "\\x+1", "\\xfff", "\\0000", "é"] {
        misused(show(&["-d", wrong], ["{}"]).stdin("a\n"), &["one character"]);
    }
}

#[test]
fn several_lines_make_a_job() {
    show(&["-n", "2"], ["{2}", "{}", "<{}>"])
        .stdin("1\n2\n3 x\n\n5\n")
        .stdout("4[2][1][2][<1 2>]\n4[][3 x][][<3 x >]\n3[][5][<5>]\n")
        .run();
    show(&["-n", "2", "--input", "csv"], ["{#}"])
        .stdin("1,a\n2,\"b\nc\"\n3,c")
        .stdout("5[1][1][a][2][b\nc]\n3[2][3][c]\n")
        .run();
    show(&["-n2", "-0"], ["x"]).stdin("1\0\n").stdout("3[x][1][\n]\n").run();
    show::<&str>(&["-n", "9"], []).stdin("1\n2\n").stdout("2[1][2]\n").run();
}

/// 2 MB of lines.
fn many_lines() -> String {
    (0..300_000).map(|number| format!("{number}\n")).collect()
}

#[test]
fn as_many_lines_as_a_command_can_take() {
    let script = "printf '%s\\n' \"$@\"";
    Test::new()
        .args(["-n", "max", "sh", "-c", script, "sh"])
        .stdin(many_lines())
        .stdout(many_lines())
        .run();
    let count = |options: &[&str]| {
        let output = Test::new()
            .args(["-n", "max"])
            .args(options)
            .args(["sh", "-c", "echo $#", "sh"])
            .stdin(many_lines())
            .any_stdout()
            .run();
        let counts: Vec<usize> =
            output.lines().iter().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(counts.iter().sum::<usize>(), 300_000);
        counts.len()
    };
    let jobs = count(&[]);
    assert!(jobs > 1, "more than a command can take");
    // By default xargs gives 128 KiB to each.
    let xargs = "seq 0 299999 | xargs sh -c 'echo $#' sh | wc -l";
    let xargs = Command::new("sh").args(["-c", xargs]).output().expect("a shell");
    let xargs: usize = String::from_utf8_lossy(&xargs.stdout).trim().parse().expect("a number");
    assert!(jobs <= xargs, "{jobs} jobs, where xargs has {xargs}");
    assert!(count(&["--env", &format!("A={}", "x".repeat(100_000))]) >= jobs);
}

#[test]
fn args_that_are_joined_must_fit_into_one_argument() {
    if !crate::common::heavy() {
        return;
    }
    for (options, words) in [
        (&["-n", "max"][..], &["sh", "-c", "printf '%s ' \"$1\"", "sh", "{} "][..]),
        (&["-n", "max", "--env", "A={}"], &["sh", "-c", "printf '%s ' $A"]),
        (&["-n", "max", "--shell"], &["printf '%s ' {}"]),
        (&["-n", "max", "--shell"], &["printf '%s ' \"{}\""]),
        (&["-n", "max", "--shell"], &["shift; printf '%s ' {}"]),
    ] {
        let output = Test::new().args(options).args(words).stdin(many_lines()).any_stdout().run();
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.split_whitespace().eq(many_lines().split_whitespace()), "{words:?}");
    }
}

#[test]
fn an_argument_that_is_too_long_costs_no_other() {
    let long = "x".repeat(131_072);
    let fits = "x".repeat(131_071);
    for options in [&["-n", "max"][..], &["-n", "1"]] {
        let output = Test::new()
            .args(options)
            .args(["--format", "record", "printf", "%s|"])
            .stdin(format!("a\n{long}\nb\n{fits}\n"))
            .any_stdout()
            .status(1)
            .run();
        let records = output.records();
        let advice = ["'printf' can't be run", "128 KiB", "stdin", "fewer lines"];
        assert_has(message(&records[1], "spawn"), &advice);
        let printed: String =
            records.iter().filter_map(|record| record["result"]["stdout"].as_str()).collect();
        assert!(printed == format!("a|b|{fits}|"), "{} bytes", printed.len());
    }
}

#[test]
fn args_from_the_command_line() {
    show(&[], ["{}", ":::", "a b", "", "-x", "'", "{}"])
        .stdin("not read\n")
        .stdout("1[a b]\n1[]\n1[-x]\n1[']\n1[{}]\n")
        .run();
    show(&[], [":::", "a", "b", ":::", "1", "2", ":::", "x"])
        .stdout("3[a][1][x]\n3[a][2][x]\n3[b][1][x]\n3[b][2][x]\n")
        .run();
    show(&[], ["{2}-{1}", "{#}", ":::", "a", "b", ":::", "1", "2"])
        .stdout("2[1-a][1]\n2[2-a][2]\n2[1-b][3]\n2[2-b][4]\n")
        .run();
    show(&[], [":::"]).run();
    show(&[], [":::", "a", ":::"]).run();
    show(&["-n", "2"], [":::", "a", "b", "c"]).stdout("2[a][b]\n1[c]\n").run();
    show(&["-n", "max"], [":::", "a", "b", "c"]).stdout("3[a][b][c]\n").run();
    show(&["--input", "json"], [":::", "[1,2]", "{\"a\":1}"])
        .stdout("2[1][2]\n1[{\"a\":1}]\n")
        .run();
    let words = [OsStr::from_bytes(b":::"), OsStr::from_bytes(b"a\xff\nb")];
    show(&[], words).stdout(b"1[a\xff\nb]\n").run();
    misused(show(&["-a", "/dev/null"], [":::", "a"]), &["-a", ":::"]);
}

#[test]
fn other_signs_for_args_are_not_taken_for_args() {
    misused(show(&[], [":::+", "a"]), &["':::+'", "leave out the +"]);
    show(&[], ["a::::b", ":::", ":", "::"]).stdout("2[a::::b][:]\n2[a::::b][::]\n").run();
}

#[test]
fn args_from_the_command_line_have_columns_too() {
    show(&["--input", "csv"], ["{2}", "{1}", ":::", "a,b", "\"c,\"\"d\",e"])
        .stdout("2[b][a]\n2[e][c,\"d]\n")
        .run();
    show(&["--input", "tsv"], ["{2}", "{3}", ":::", "a\tb", ":::", "c", "d"])
        .stdout("2[b][c]\n2[b][d]\n")
        .run();
    show(&["--input", "csv", "--header"], ["{size}", ":::", "name,size", "Lee,5"])
        .stdout("1[5]\n")
        .run();
}

#[test]
fn args_for_a_worker() {
    let results = |options: &[&str], words: &[&str], input: &str| -> Vec<Value> {
        let records =
            Test::new().workers(1, worker("")).args(options).arg("echo").args(words).stdin(input);
        records.records().iter().map(|record| result(record).clone()).collect()
    };
    assert_eq!(
        results(&["--input", "csv"], &["x"], "a,\"b\nc\"\n1,2"),
        [json!(["x", "a", "b\nc"]), json!(["x", "1", "2"])]
    );
    assert_eq!(
        results(&["--input", "csv", "--header"], &[], "n,m\na,b"),
        [json!({"n":"a","m":"b"})]
    );
    assert_eq!(
        results(&["--input", "csv", "--header"], &["x"], "n,m\na,b\n"),
        [json!(["x", {"n":"a","m":"b"}])]
    );
    assert_eq!(
        results(&["--input", "tsv", "--header", "-n", "2"], &[], "n\na\nb\nc\n"),
        [json!([{"n":"a"}, {"n":"b"}]), json!([{"n":"c"}])]
    );
    assert_eq!(results(&["-n", "2"], &[], "a\nb\nc"), [json!(["a", "b"]), json!(["c"])]);
    assert_eq!(results(&["-n", "max"], &[], "a\nb\nc"), [json!(["a", "b", "c"])]);
    assert_eq!(results(&[], &[":::", "a", "b"], ""), [json!(["a"]), json!(["b"])]);
    assert_eq!(
        results(&[], &["x", ":::", "a", "b", ":::", "1"], ""),
        [json!(["x", "a", "1"]), json!(["x", "b", "1"])]
    );
    assert_eq!(
        results(&["-n", "2"], &[":::", "a", "b", "c"], ""),
        [json!(["a", "b"]), json!(["c"])]
    );
}

#[test]
fn a_nul_byte_is_no_part_of_an_argument() {
    for options in [&[][..], &["-n", "2"]] {
        show(options, ["{}"])
            .stdin("a\0b\nc\n")
            .stdout("1[c]\n")
            .stderr("procpool: failed: a\\0b: invalid job: column 2: it has a NUL byte, which no argument can hold (job 1, line 1)\n")
            .status(1)
            .run();
    }
}

// 5. stdin

#[test]
fn without_being_asked_a_command_reads_nothing() {
    Test::new()
        .args(["sh", "-c", "readlink /proc/self/fd/0; cat; echo end"])
        .stdin("a\n")
        .stdout("/dev/null\nend\n")
        .run();
    Test::new()
        .args(["sh", "-c", "cat; exit 3"])
        .stdin("a\n")
        .status(1)
        .stderr(failed("sh -c 'cat; exit 3' a", "exit status 3", "job 1, line 1"))
        .run();
}

#[test]
fn args_are_fed_to_stdin() {
    Test::new().args(["--stdin", "cat"]).stdin("a b\n\nc").stdout("a b\n\nc\n").run();
    Test::new()
        .args(["--stdin", "-n", "2", "sort", "-r"])
        .stdin("a\nb\nc")
        .stdout("b\na\nc\n")
        .run();
    Test::new()
        .args(["--stdin", "--input", "csv", "cat"])
        .stdin("a,\"b c\"\n")
        .stdout("a\nb c\n")
        .run();
    Test::new()
        .args(["--stdin", "--input", "json", "cat"])
        .stdin("[\"a\",1]\n{\"k\": 1}\n")
        .stdout("a\n1\n{\"k\":1}\n")
        .run();
    Test::new().args(["--stdin", "cat", ":::", "a", ":::", "b"]).stdout("a\nb\n").run();
    show(&["--stdin"], ["x", "{}"]).stdin("a\n").stdout("2[x][a]\n").run();
    show::<&str>(&["--stdin"], []).stdin("a\n").stdout("0\n").run();
    Test::new().args(["--stdin", "--shell", "tr a b | cat"]).stdin("a\n").stdout("b\n").run();
}

#[test]
fn a_lot_is_fed_to_stdin() {
    let lines: String = (0..700_000).map(|number| format!("{number:07}\n")).collect();
    Test::new().args(["--stdin", "-n", "1000000", "cat"]).stdin(&lines).stdout(&lines).run();
    let backwards: String = (0..700_000).rev().map(|number| format!("{number:07}\n")).collect();
    Test::new().args(["--stdin", "-n", "1000000", "sort"]).stdin(backwards).stdout(&lines).run();
}

#[test]
fn bytes_are_fed_to_stdin_as_they_are() {
    let mut bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8 + 1).collect();
    bytes.push(b'\n');
    let input = [&bytes[..bytes.len() - 1], b"\0"].concat();
    Test::new().args(["--stdin", "-0", "cat"]).stdin(input).stdout(bytes).run();
}

#[test]
fn a_command_need_not_read_its_stdin() {
    for script in ["exec <&-; echo done", "echo done", "read -r line; echo done"] {
        Test::new()
            .args(["--stdin", "-n", "1000000", "sh", "-c", script])
            .stdin("0123456789\n".repeat(200_000))
            .stdout("done\n")
            .run();
    }
}

// 6. What would be run, and what is asked for

/// What a shell makes of a text.
fn typed(crew: &Crew, text: &[u8]) -> Vec<u8> {
    let output = Command::new("sh")
        .args(["-c", "exec sh < \"$1\"", "sh", &crew.file("typed", text)])
        .current_dir(crew.path("."))
        .output()
        .expect("a shell");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_a_dry_run_prints_can_be_typed() {
    let crew = Crew::new();
    fs::create_dir(crew.path("sub")).expect("there is room");
    fs::create_dir(crew.path("-x")).expect("there is room");
    let args = [b"a b'c".as_slice(), b"", b"-x", b"\xff\n$(x)\"\\", b"~", b"A=b", b"!", b"#"];
    let input = args.join(&b'\0');
    let show = SHOW.as_slice();
    let cases: [(&[&str], &[&str]); 8] = [
        (&[], &[show, &["{}", "<{}>", "{#}", "", "~", "=x", "*"]].concat()),
        (&["--env", "A={}x", "--env", "B="], &["sh", "-c", "echo \"$A|$B|$1\"", "sh"]),
        (&["--cwd", "sub", "--env", "A=1"], &["sh", "-c", "pwd; echo \"$A$1\"", "sh"]),
        (&["--cwd=-x"], &["sh", "-c", "pwd; echo \"$1\"", "sh"]),
        (&["--shell"], &["printf '[%s]' {} \"{}\" '{}'; f() { printf %s {}; }; f x"]),
        (&["--shell", "--cwd", "sub"], &["pwd; printf '[%s]' {}"]),
        (&["-n", "3", "--stdin"], &["sort"]),
        (&["-n", "3"], show),
    ];
    for (options, words) in cases {
        let run = |more: &[&str]| -> Output {
            let test = Test::new().cwd(crew.path(".")).args(["-0", "-j1"]).args(more).args(options);
            test.args(words).stdin(&input).any_stdout().run()
        };
        let (ran, dry) = (run(&[]), run(&["--dry-run"]));
        assert!(!ran.stdout.is_empty());
        let typed = typed(&crew, &dry.stdout);
        assert_eq!(typed, ran.stdout, "{}", String::from_utf8_lossy(&dry.stdout));
    }
}

#[test]
fn a_dry_run_runs_nothing() {
    let crew = Crew::new();
    let touched = crew.path("touched");
    Test::new()
        .args(["--dry-run", "touch", &touched])
        .stdin("a b\n")
        .stdout(format!("touch {touched} 'a b'\n"))
        .run();
    assert!(!fs::exists(&touched).expect("it can be looked for"));
    Test::new()
        .args(["--dry-run", "no-such-program", ":::", "x"])
        .stdout("no-such-program x\n")
        .run();
    // To a shell these are no programs.
    Test::new().args(["--dry-run", "A=b", ":::", "x"]).stdout("'A=b' x\n").run();
    Test::new().args(["--dry-run", "time", ":::", "time"]).stdout("'time' time\n").run();
    Test::new()
        .args(["--dry-run", "--format", "record"])
        .jobs(["echo [\"a b\"]", "echo {\"a\":1}"])
        .stdout(concat!(
            "{\"id\":1,\"ok\":true,\"result\":{\"exit\":0,\"stdout\":\"echo 'a b'\\n\",\"stderr\":\"\"}}\n",
            "{\"id\":2,\"ok\":false,\"error\":{\"kind\":\"invalid\",\"message\":\"line 2: the args of \
             a command are an array, not an object\"}}\n",
        ))
        .status(1)
        .run();
}

#[test]
fn without_a_terminal_nothing_can_be_confirmed() {
    if !need("setsid") {
        return;
    }
    Test::new().args(["--dry-run", "--confirm", "echo", ":::", "1"]).stdout("echo 1\n").run();
    let output = Test::through_shell("exec setsid -w \"$@\"")
        .args(["--confirm", "echo", ":::", "1", "2"])
        .any_stderr()
        .status(125)
        .run();
    assert_has(&output.stderr, &["procpool: --confirm has no terminal to ask on: "]);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn each_command_is_confirmed_on_the_terminal() {
    if !need("bash") {
        return;
    }
    let crew = Crew::new();
    let input = crew.file("input", "a b\nc\nd\ne\n");
    let shell = rexpect::spawn_bash(Some(30_000)).expect("a shell in a terminal");
    let mut shell = shell.quit_command(Some("exit".into()));
    let (out, err) = (crew.path("out"), crew.path("err"));
    let line = format!(
        "{} -j2 --progress never -p -a {input} echo ran > {out} 2> {err}; echo status $?",
        env!("CARGO_BIN_EXE_procpool")
    );
    shell.send_line(&line).expect("the shell reads");
    // Two slots ask in any order, one question at a time.
    for _ in 0..4 {
        let (_, question) =
            shell.exp_regex(r"echo ran ('a b'|c|d|e) \?\.\.\.").expect("a question");
        let answer = match question.contains("'a b'") || question.contains(" d ") {
            true => "y",
            false if question.contains(" c ") => "n",
            false => "",
        };
        shell.send_line(answer).expect("it reads");
    }
    shell.exp_string("status 1").expect("the end");
    shell.wait_for_prompt().expect("a prompt");
    assert_eq!(fs::read_to_string(out).expect("it was written"), "ran a b\nran d\n");
    let err = fs::read_to_string(err).expect("it was written");
    let file = shell_words::quote(&input);
    assert_eq!(
        err,
        format!(
            "procpool: failed: echo ran c: it was not confirmed (job 2, {file} line 2)\n\
             procpool: failed: echo ran e: it was not confirmed (job 4, {file} line 4)\n\
             procpool: 2 of 4 jobs failed; again: {} -j 2 --progress never -p echo ran ::: c e\n",
            env!("CARGO_BIN_EXE_procpool")
        )
    );
}

#[test]
fn an_interrupt_answers_a_question() {
    if !need("bash") {
        return;
    }
    let crew = Crew::new();
    let shell = rexpect::spawn_bash(Some(30_000)).expect("a shell in a terminal");
    let mut shell = shell.quit_command(Some("exit".into()));
    let procpool = env!("CARGO_BIN_EXE_procpool");
    let touched = crew.path("touched");
    let line = format!("{procpool} --progress never -p touch {touched} ::: a b");
    shell.send_line(&line).expect("the shell reads");
    shell.exp_regex(r" [ab] \?\.\.\.").expect("a question");
    shell.send_control('c').expect("the terminal takes keys");
    let rest = shell.wait_for_prompt().expect("the end, and a prompt");
    assert!(!rest.contains("?..."), "another question: {rest}");
    shell.send_line("echo status $?").expect("the shell reads");
    shell.exp_string("status 130").expect("it was ended by the signal");
    shell.wait_for_prompt().expect("a prompt");
    assert!(!fs::exists(touched).expect("it can be looked for"));
}

// 8. How commands end

/// A job of each kind of end.
fn ends() -> Test {
    Test::new().args(["-j2", "--timeout", "60s"]).jobs([
        r#"sh ["-c","printf 'no newline'; echo err >&2"]"#,
        r#"{"id":"j2","cmd":"sh","args":["-c","echo out; printf err >&2; exit 3"]}"#,
        r#"sh ["-c","echo out; kill -SEGV $$"]"#,
        r#"printf ["\\377\\n"]"#,
        r#"{"cmd":"sh","args":["-c","echo before; echo warning >&2; exec sleep 60"],"timeout":1}"#,
    ])
}

#[test]
fn ends_as_records() {
    ends()
        .args(["--format", "record"])
        .stdout(concat!(
            r#"{"id":1,"ok":true,"result":{"exit":0,"stdout":"no newline","stderr":"err\n"}}"#,
            "\n",
            r#"{"id":"j2","ok":false,"error":{"kind":"exit","message":"exit status 3","data":{"exit":3,"stdout":"out\n","stderr":"err"}}}"#,
            "\n",
            r#"{"id":3,"ok":false,"error":{"kind":"exit","message":"killed by SIGSEGV (signal 11)","data":{"exit":null,"signal":11,"stdout":"out\n","stderr":""}}}"#,
            "\n",
            r#"{"id":4,"ok":true,"result":{"exit":0,"stdout_base64":"/wo=","stderr":""}}"#,
            "\n",
            r#"{"id":5,"ok":false,"error":{"kind":"timeout","message":"timed out after 1s","data":{"exit":null,"signal":15,"stdout":"before\n","stderr":"warning\n"}}}"#,
            "\n",
        ))
        .status(1)
        .run();
}

/// What is said of them on stderr.
const SAID: &str = "err\n\
    procpool: failed: sh -c 'echo out; printf err >&2; exit 3': exit status 3 (job j2, line 2)\n\
    procpool: failed: sh -c 'echo out; kill -SEGV $$': killed by SIGSEGV (signal 11) (job 3, line 3)\n\
    warning\n\
    procpool: failed: sh -c 'echo before; echo warning >&2; exec sleep 60': timed out after 1s (job 5, line 5)\n";

#[test]
fn ends_as_values() {
    ends()
        .args(["--format", "value"])
        .stdout(concat!(
            r#"{"exit":0,"stdout":"no newline","stderr":"err\n"}"#,
            "\n",
            r#"{"exit":0,"stdout_base64":"/wo=","stderr":""}"#,
            "\n",
        ))
        .stderr(SAID)
        .status(1)
        .run();
}

#[test]
fn ends_as_text() {
    for options in [&[][..], &["--format", "text"]] {
        ends()
            .args(options)
            .stdout(b"no newlineout\nout\n\xff\nbefore\n")
            .stderr(format!("err\n{SAID}"))
            .status(1)
            .run();
    }
}

#[test]
fn details_of_commands() {
    let output = Test::new()
        .args(["-j1", "--format", "record", "--detail", "-n", "2", "sh", "-c", "exit $1", "sh"])
        .stdin("0\nä\n3\n4\na\0\n")
        .any_stdout()
        .status(1)
        .run();
    let lines = output.lines();
    let parts = [
        r#","stderr":""},"seq":1,"cmd":"sh","args":["0","ä"],"slot":1,"pid":"#,
        r#""stderr":""}},"seq":2,"cmd":"sh","args":["3","4"],"slot":1,"pid":"#,
        r#"},"seq":3,"cmd":null,"args":null,"slot":null,"pid":null,"attempt":0,"start":null,"seconds":null}"#,
    ];
    assert_eq!(lines.len(), parts.len());
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.contains(part), "{line}");
    }
    for record in &output.records()[..2] {
        assert!(record["start"].as_f64().is_some_and(|start| start > 1e9), "{record}");
        assert!(record["seconds"].as_f64().is_some_and(|seconds| seconds < 30.0), "{record}");
        assert_eq!(record["attempt"], 1);
    }
    let records = Test::new()
        .args(["-j1", "--format", "record", "--detail"])
        .jobs([r#"{"cmd":"sh","args":["-c","echo $$"],"id":"j"}"#, "no-such-program [1]"])
        .status(1)
        .records();
    assert_eq!(result(&records[0])["stdout"], format!("{}\n", records[0]["pid"]));
    assert_eq!(records[0]["cmd"], "sh");
    assert_eq!(records[0]["args"], json!(["-c", "echo $$"]));
    message(&records[1], "spawn");
    assert_eq!(records[1]["cmd"], "no-such-program");
    assert_eq!(records[1]["pid"], Value::Null);
}

#[test]
fn tags() {
    Test::new()
        .args(["--tag", "sh", "-c", "printf \"a\\nb$1\"; echo err >&2; exit $1", "sh"])
        .stdin("0\n3\n")
        .stdout("0\ta\n0\tb03\ta\n3\tb3")
        .stderr(format!(
            "0\terr\n3\terr\n3\t{}",
            failed(
                "sh -c 'printf \"a\\nb$1\"; echo err >&2; exit $1' sh 3",
                "exit status 3",
                "job 2, line 2"
            )
        ))
        .status(1)
        .run();
}

/// A script with this mark in its name, so that its processes can be found.
fn marked(crew: &Crew, text: &str) -> (String, String) {
    let mark = crew.path("script-");
    (script(crew, "script-1", text), mark)
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let crew = Crew::new();
    // The child that does not mind TERM goes with the last of its group.
    let (program, mark) = marked(
        &crew,
        "trap 'echo term; exit 0' TERM; sh -c 'trap \"\" TERM; echo started; sleep 60; :' $0-child & wait; wait",
    );
    Test::new()
        .args(["--timeout", "2s", "--grace", "1h", &program])
        .stdin("a\n")
        .stdout("started\nterm\n")
        .stderr(failed(&format!("{program} a"), "timed out after 2s", "job 1, line 1"))
        .status(1)
        .run();
    wait_for("the end of all", || crate::common::leftovers(&mark).is_empty());
}

#[test]
fn a_command_that_ignores_term_is_killed() {
    let crew = Crew::new();
    let (program, mark) = marked(
        &crew,
        "trap '' TERM; sh -c 'sleep 60; :' $0-child & echo started; while :; do wait; sleep 60; done",
    );
    let records = Test::new()
        .args(["--timeout", "2s", "--grace", "0.3s", "--format", "record", &program])
        .stdin("a\n")
        .status(1)
        .records();
    message(&records[0], "timeout");
    let data = &records[0]["error"]["data"];
    assert_eq!(*data, json!({"exit": null, "signal": 9, "stdout": "started\n", "stderr": ""}));
    wait_for("the end of all", || crate::common::leftovers(&mark).is_empty());
}

#[test]
fn the_first_interrupt_lets_running_commands_finish() {
    let crew = Crew::new();
    let (go, started) = (crew.path("go"), crew.path("started"));
    let text = format!("echo >> {started}; until [ -e {go} ]; do sleep 0.01; done; echo done $1");
    let mut run = Test::new()
        .args(["-j2", "--grace", "25s", "sh", "-c", &text, "sh"])
        .stdin_open()
        .stdout("done 1\ndone 2\n")
        .stderr_has("")
        .killed_by(Signal::INT)
        .spawn();
    run.write("1\n2\n3\n");
    wait_for("two commands", || fs::read_to_string(&started).is_ok_and(|text| text.len() == 2));
    run.signal(Signal::INT);
    // What runs is reported once the interrupt has been obeyed.
    run.signal(Signal::USR1);
    run.await_stderr("2 running:");
    run.write("4\n");
    crew.file("go", "");
    run.finish_by_itself();
    assert_eq!(fs::read_to_string(&started).expect("it was written").len(), 2);
}

#[test]
fn the_second_interrupt_kills_them() {
    let crew = Crew::new();
    let text =
        "trap '' INT TERM; echo >> $0-started; sh -c 'sleep 60; :' $0-child & wait; sleep 60";
    let (program, mark) = marked(&crew, text);
    let run = Test::new()
        .args(["-j2", "--grace", "1h", "--format", "record", &program])
        .stdin("1\n2\n3\n")
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::INT)
        .spawn();
    let started = format!("{program}-started");
    wait_for("two commands", || fs::read_to_string(&started).is_ok_and(|text| text.len() == 2));
    // One that comes before the first has been dealt with is the same one.
    wait_for("the end of the run", || {
        let _ = kill_process(run.pid(), Signal::INT);
        run.has_ended()
    });
    for record in run.finish().records() {
        message(&record, "cancelled");
    }
    wait_for("the end of all", || crate::common::leftovers(&mark).is_empty());
}

#[test]
fn a_command_that_takes_too_long_after_an_interrupt_is_ended() {
    let crew = Crew::new();
    let (program, mark) = marked(&crew, "echo >> $0-started; echo out; sleep 60; :");
    let run = Test::new()
        .args(["-j2", "--grace", "0.3s", &program])
        .stdin("1\n2\n")
        .stdout("out\nout\n")
        .stderr_has("(job 1, line 1")
        .stderr_has(": it was running when the run was ended")
        .stderr_has("(job 2, line 2")
        .stderr_has(": it was running when the run was ended")
        .killed_by(Signal::TERM)
        .spawn();
    let started = format!("{program}-started");
    wait_for("two commands", || fs::read_to_string(&started).is_ok_and(|text| text.len() == 2));
    run.signal(Signal::TERM);
    run.finish();
    wait_for("the end of all", || crate::common::leftovers(&mark).is_empty());
}

/// Arguments of any bytes but NUL.
fn any_args() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let arg = prop_oneof![
        prop::collection::vec(1_u8.., 0..12),
        "[-{}/.'\"$`\\\\ \n;a]{0,8}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(arg, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_a_command_receives_is_what_was_given(args in any_args(), shell: bool) {
        let mut input = args.join(&0);
        input.push(0);
        let mut expected = Vec::new();
        for (index, arg) in args.iter().enumerate() {
            let number = (index + 1).to_string();
            for piece in [arg, &b"\0<"[..], arg, b">", arg, b"\0", number.as_bytes(), b"\0"] {
                expected.extend_from_slice(piece);
            }
        }
        let words: &[&str] = match shell {
            true => &["--shell", "printf '%s\\0' {} \"<{}>\"'{}' {#}"],
            false => &["printf", "%s\\0", "{}", "<{}>{}", "{#}"],
        };
        Test::new().arg("-0").args(words).stdin(input).stdout(expected).run();
    }
}

#[test]
fn with_stdin_a_job_without_args_reads_an_end_of_file_at_once() {
    Test::new()
        .args(["-j1", "--stdin", "--input", "json", "cat"])
        .stdin("[]\n[]\n[\"a\"]\n[]\n")
        .stdout("a\n")
        .run();
    Test::new()
        .args(["-j2", "--stdin", "--timeout", "5"])
        .stdin("wc [\"x\"]\n".replace("[\"x\"]", "").repeat(6))
        .stdout("      0       0       0\n".repeat(6))
        .run();
}

#[test]
fn the_mark_of_utf8_is_kept_in_names_of_files() {
    let mark = b"\xef\xbb\xbfa";
    let line = [&mark[..], b"\n"].concat();
    Test::new().args(["echo"]).stdin(&line).stdout(&line).run();
    Test::new().args(["-0", "echo"]).stdin(mark).stdout(&line).run();
    // Where a person wrote the file, it means nothing.
    Test::new().stdin(b"\xef\xbb\xbfecho [\"a\"]\n").stdout("a\n").run();
    Test::new()
        .args(["--input", "csv", "--header", "echo", "{n}"])
        .stdin(b"\xef\xbb\xbfn\n1\n")
        .stdout("1\n")
        .run();
}

#[test]
fn with_few_descriptors_quick_jobs_are_slower_and_none_is_lost() {
    let jobs: Vec<String> = (1..=200).map(|n| n.to_string()).collect();
    let lines: String = jobs.iter().map(|n| format!("{n}\n")).collect();
    Test::through_shell("ulimit -n 64; exec \"$@\"")
        .args(["-j20", "echo"])
        .stdin(&lines)
        .stdout(&lines)
        .any_stderr()
        .run();
}

#[test]
fn a_shell_text_may_rebind_its_parameters_however_it_is_spelled() {
    for text in ["set\t-- evil; echo {}", "set\\\n -- evil; echo {}", "f( ) { echo {}; }; f evil"] {
        Test::new().args(["--shell", text]).stdin("hello\n").stdout("hello\n").run();
    }
}
