//! Programs that answer with any number of lines, driven by what ends their replies: two workers, 100 jobs,
//! and a worker that is killed in the middle.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::{Crew, Test, assert_has, json, message, need, quoted, result, wait_for};

/// Drives a program with these jobs, and expects these results, as JSON. `program` is run by a shell.
fn drive(program: &str, args: &[&str], jobs: &[String], expected: &[Value]) {
    let crew = Crew::new();
    let pids = crew.path("pids");
    let script = format!("echo $$ >>{}; exec {program}", quoted(&pids));
    let mut run = Test::new()
        .workers(2, format!("sh -c {}", quoted(&script)))
        .args(["--protocol=raw", "--format=value", "--input=json", "--retries=3"])
        .args(args)
        .cwd(crew.path(""))
        .stdin_open()
        .any_stdout()
        .any_stderr()
        .spawn();
    let lines: Vec<String> = jobs.iter().map(|job| format!("{}\n", json!(job))).collect();
    run.write(&lines[..50].concat());
    let mut found: Vec<Value> = (0..20).map(|_| json(&run.line())).collect();
    wait_for("two workers", || {
        fs::read_to_string(&pids).is_ok_and(|text| text.lines().count() > 1)
    });
    let first = fs::read_to_string(&pids).expect("pids");
    let pid = first.lines().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    kill_process(pid.expect("a pid"), Signal::KILL).expect("it is there");
    run.write(&lines[50..].concat());
    found.extend((20..100).map(|_| json(&run.line())));
    let output = run.finish();
    assert_eq!(found, expected, "{}", output.stderr);
}

fn strings(jobs: impl Iterator<Item = String>) -> Vec<String> {
    jobs.collect()
}

fn values(values: impl Iterator<Item = String>) -> Vec<Value> {
    values.map(Value::from).collect()
}

#[test]
fn bc_with_and_without_output() {
    if !need("bc") {
        return;
    }
    let jobs = strings((0..100).map(|n| match n % 3 {
        0 => format!("x={n}"),
        1 => format!("{n}^2"),
        _ => format!("for (i = 0; i < {}; i++) i", n % 5),
    }));
    let expected = values((0..100_u32).map(|n| match n % 3 {
        0 => String::new(),
        1 => (n * n).to_string(),
        _ => (0..n % 5).map(|i| i.to_string()).collect::<Vec<_>>().join("\n"),
    }));
    drive("bc -q", &["--after-request", r#"print "END\n""#, "--reply-end=END"], &jobs, &expected);
}

#[test]
fn sqlite_with_any_number_of_rows() {
    if !need("sqlite3") {
        return;
    }
    let jobs = strings((0..100).map(|n| {
        let rows = n % 7;
        format!(
            "with recursive t(a) as (select 1 union all select a+1 from t limit {rows}) select\n a, '{n}' from t;"
        )
    }));
    let expected = values((0..100).map(|n| {
        let rows: Vec<String> = (1..=n % 7).map(|row| format!("{row}|{n}")).collect();
        rows.join("\n")
    }));
    let args = ["--after-request=.print END", "--reply-end=END"];
    drive("sqlite3", &args, &jobs, &expected);
    // An error is printed to stderr.
    let records = Test::new()
        .workers(1, "sh -c 'exec sqlite3 2>&1'")
        .args(["--protocol=raw", "--format=record", "--fail-on=re:(?i)^(parse |runtime )?error"])
        .args(args)
        .stdin("select 1;\nselect absent;\nselect 'no error';\n")
        .status(1)
        .records();
    assert_eq!(result(&records[0]), "1");
    assert_has(message(&records[1], "error"), &["no such column: absent"]);
    assert_eq!(result(&records[2]), "no error");
}

#[test]
fn exiftool_that_stays_open() {
    if !need("exiftool") {
        return;
    }
    let crew = Crew::new();
    let images: Vec<String> = (1..=4)
        .map(|n| {
            let size = n.to_string();
            let head = format!("P5\n{size} 1\n255\n");
            crew.file(&format!("{n}.pgm"), [head.as_bytes(), &vec![0; n]].concat())
        })
        .collect();
    let image = |n: usize| &images[n % 4];
    let jobs = strings((0..100).map(|n| format!("-s3\n-ImageWidth\n-FileType\n{}", image(n))));
    let expected = values((0..100).map(|n| format!("{}\nPGM", n % 4 + 1)));
    let args = ["--after-request=-execute", "--reply-end={ready}"];
    drive("exiftool -stay_open True -@ -", &args, &jobs, &expected);
}

#[test]
fn a_go_engine() {
    let gnugo = ["gnugo", "/usr/games/gnugo"]
        .into_iter()
        .find(|name| crate::common::find_program(name).is_some());
    let Some(gnugo) = gnugo else {
        need("gnugo");
        return;
    };
    let jobs = strings((0..100).map(|n| match n % 4 {
        0 => format!("boardsize {}", 5 + n % 10),
        1 => "list_commands".to_owned(),
        2 => format!("echo {n}"),
        _ => "nonsense".to_owned(),
    }));
    let crew = Crew::new();
    let records = Test::new()
        .workers(2, format!("{gnugo} --mode gtp"))
        .args(["--protocol=raw", "--reply-end=", "--fail-on=re:^\\?", "--format=record"])
        .cwd(crew.path(""))
        .jobs(&jobs)
        .status(1)
        .records();
    for (n, record) in records.iter().enumerate() {
        match n % 4 {
            0 => assert_eq!(result(record), "= "),
            1 => assert_has(
                result(record).as_str().expect("text"),
                &["= aa_", "\nboardsize\n", "\nquit"],
            ),
            2 => assert_eq!(result(record), &json!(format!("= {n}"))),
            _ => assert_eq!(message(record, "error"), "? unknown command"),
        }
    }
    let (jobs, expected): (Vec<_>, Vec<_>) =
        (0..100).map(|n| (format!("echo {n}"), Value::from(format!("= {n}")))).unzip();
    drive(&format!("{gnugo} --mode gtp"), &["--reply-end="], &jobs, &expected);
}

#[test]
fn a_python_console() {
    if !need("python3") {
        return;
    }
    let jobs = strings((0..100).map(|n| match n % 4 {
        0 => format!("x = {n}"),
        1 => format!("{n} * 2"),
        2 => format!("for i in range({}):\n    print(i)\n", n % 5),
        _ => format!("1 / ({n} - {n})"),
    }));
    let program = r"python3 -iqc 'import os, sys; os.dup2(1, 2); sys.ps2 = str()'";
    let args = ["--banner=>>> ", "--reply-end=>>> "];
    let expected = values((0..100).map(|n| match n % 4 {
        0 => String::new(),
        1 => (n * 2).to_string(),
        2 => (0..n % 5).map(|i| i.to_string()).collect::<Vec<_>>().join("\n"),
        _ => "error".to_owned(),
    }));
    // What fails is not the same in all versions.
    let without: Vec<_> = (0..100).filter(|n| n % 4 != 3).cycle().take(100).collect();
    let pick = |from: &[String]| without.iter().map(|&n| from[n].clone()).collect::<Vec<_>>();
    let expected: Vec<Value> = without.iter().map(|&n| expected[n].clone()).collect();
    drive(program, &args, &pick(&jobs), &expected);
    let records = Test::new()
        .workers(1, format!("sh -c {}", quoted(&format!("exec {program}"))))
        .args([
            "--protocol=raw",
            "--format=record",
            r#"--fail-on=re:^(Traceback|  File "<stdin>")"#,
        ])
        .args(args)
        .stdin("1 / 0\n2\n1+\n")
        .status(1)
        .records();
    assert_has(message(&records[0], "error"), &["Traceback", "ZeroDivisionError"]);
    assert_eq!(result(&records[1]), "2");
    assert_has(message(&records[2], "error"), &["SyntaxError"]);
}

#[test]
fn a_node_console() {
    if !need("node") {
        return;
    }
    let jobs = strings((0..100).map(|n| match n % 3 {
        0 => format!("{n} * 2"),
        1 => format!("for (let i = 0; i < {}; i++) console.log(i)", n % 5),
        _ => format!("'{n} > {n}'"),
    }));
    let expected = values((0..100).map(|n| match n % 3 {
        0 => (n * 2).to_string(),
        1 => (0..n % 5).map(|i| format!("{i}\n")).collect::<String>() + "undefined",
        _ => format!("'{n} > {n}'"),
    }));
    drive("node -i", &["--banner=re:^> ", "--reply-end=re:^> "], &jobs, &expected);
}

#[test]
fn git_cat_file_whose_first_line_has_the_size() {
    if !need("git") {
        return;
    }
    let crew = Crew::new();
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        let output = command.args(args).current_dir(crew.path("")).output().expect("git runs");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    git(&["init", "--quiet"]);
    crew.file("text", "one\n\ntwo 7\n");
    crew.file("empty", "");
    let text = git(&["hash-object", "-w", "text"]);
    let empty = git(&["hash-object", "-w", "empty"]);
    let records = Test::new()
        .workers(2, "git cat-file --batch")
        .args([
            "--protocol=raw",
            "--framing=size-line",
            "--format=record",
            "--fail-on=re: missing$",
        ])
        .cwd(crew.path(""))
        .jobs((0..100).map(|n| [&*text, &empty, "nothing"][n % 3].to_owned()))
        .status(1)
        .records();
    for (n, record) in records.iter().enumerate() {
        match n % 3 {
            0 => assert_eq!(result(record), &json!(format!("{text} blob 11\none\n\ntwo 7\n"))),
            1 => assert_eq!(result(record), &json!(format!("{empty} blob 0\n"))),
            _ => assert_eq!(message(record, "error"), "nothing missing"),
        }
    }
}
