//! Reports of a run at its end: `--report`, `--trace`, `--results`, annotations, `--summary`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Crew, Test, assert_has, find_program, json, need, worker};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

#[track_caller]
fn read(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn report(folder: &TempDir, name: &str) -> Value {
    json(&read(folder, name))
}

/// All reports there are.
const ALL: [&str; 12] = [
    "--report",
    "r.json",
    "--report",
    "r.xml",
    "--report",
    "r.html",
    "--report",
    "r.md",
    "--trace",
    "t.json",
    "--results",
    "results",
];

/// A run with all reports, in a folder.
fn all(folder: &TempDir) -> Test {
    Test::new().cwd(folder.path()).args(ALL)
}

/// A file that `.ci/run` has installed.
#[track_caller]
fn installed(name: &str, path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/programs").join(path);
    if !path.exists() {
        let required = std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
        assert!(!required, "{name} is not installed");
        println!("skipped: {name} is not installed");
        return None;
    }
    Some(path)
}

/// Holds a file against the schema of JUnit's XML that Jenkins uses.
#[track_caller]
fn is_valid_junit(folder: &TempDir, name: &str) {
    let schema = installed("junit-10.xsd", "junit-10.xsd").filter(|_| need("xmllint"));
    let Some(schema) = schema else { return };
    let checked = Command::new("xmllint")
        .args(["--noout", "--schema"])
        .args([schema, folder.path().join(name)])
        .output()
        .expect("xmllint runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{}", read(folder, name));
}

/// The events of a trace, which are as its format says: those of a row do not overlap, and what begins
/// ends.
#[track_caller]
fn events(folder: &TempDir, name: &str) -> Vec<Value> {
    let Value::Array(events) = report(folder, name) else { panic!("a trace is an array") };
    let mut ends = std::collections::BTreeMap::new();
    let mut open = std::collections::BTreeSet::new();
    for event in &events {
        let phase = event["ph"].as_str().expect("an event has a phase");
        assert!(event["name"].is_string() && event["pid"].is_number(), "{event}");
        match phase {
            "M" => assert!(event["args"].is_object(), "{event}"),
            "X" => {
                let number = |key: &str| event[key].as_f64().expect("a number");
                let end = ends.entry(event["tid"].as_u64()).or_insert(f64::NEG_INFINITY);
                assert!(number("ts") >= *end - 0.01 && number("dur") >= 0.0, "{event}");
                *end = number("ts") + number("dur");
            }
            "b" => assert!(open.insert(event["id"].to_string()), "{event}"),
            "e" => assert!(open.remove(&event["id"].to_string()), "{event}"),
            _ => panic!("{event}"),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    events
}

/// The slices of a trace.
fn slices(events: &[Value]) -> impl Iterator<Item = &Value> {
    events.iter().filter(|event| event["ph"] == "X")
}

/// What the page has of the run.
#[track_caller]
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).expect("data");
    json(rest.split_once("</script>").expect("an end").0)
}

#[test]
fn commands_are_told_of_in_every_format() {
    let folder = folder();
    let script = "echo out $0; echo err $0 >&2; exit $0";
    all(&folder)
        .args(["-j2", "--retries", "1", "--retry-delay", "1ms", "sh", "-c", script])
        .stdin("0\n3\n0\n1\n")
        .stdout("out 0\nout 3\nout 0\nout 1\n")
        .any_stderr()
        .status(1)
        .run();
    let run = report(&folder, "r.json");
    assert_eq!(run["outcome"], "complete");
    assert_eq!(
        run["totals"],
        json!({
            "jobs": 4, "ok": 2, "failed": 2, "recorded": 0, "not_run": 0, "input_left_unread": false,
            "retries": 2, "passed_on_retry": 0, "failed_by_kind": { "exit": 2 },
            "retried_by_kind": { "exit": 2 },
        })
    );
    assert_eq!(run["workers"]["processes"], 6);
    let mut failures = run["failures"].as_array().expect("failures").clone();
    failures.sort_by_key(|failure| failure["seq"].as_u64());
    assert_eq!(failures[0]["job"], format!("sh -c '{script}' 3"));
    assert_eq!(failures[0]["name"], "job 2 (line 2)");
    assert_eq!((&failures[0]["line"], &failures[0]["attempt"]), (&json!(2), &json!(2)));
    assert_eq!(failures[0]["details"], "err 3");
    assert_eq!(run["throughput"]["jobs"].as_array().map(|steps| sum(steps)), Some(4));

    let junit = read(&folder, "r.xml");
    is_valid_junit(&folder, "r.xml");
    assert_has(&junit, &[r#"tests="4" failures="2" errors="0""#, "<system-err>err 3</system-err>"]);
    assert_eq!(junit.matches("<testcase ").count(), 4);

    let page = data(&read(&folder, "r.html"));
    assert_eq!(page["totals"], run["totals"]);
    assert_eq!(page["timeline"]["bars"].as_array().map(Vec::len), Some(6));

    let markdown = read(&folder, "r.md");
    assert_has(&markdown, &["### ❌ 2 of 4 jobs failed\n", "| Jobs | 4 |\n", "| Retries | 2 |\n"]);
    assert_has(&markdown, &[" 3` | exit | ", " | job 2 (line 2) |\n"]);

    let events = events(&folder, "t.json");
    assert_eq!(slices(&events).count(), 6);
    assert_eq!(slices(&events).filter(|slice| slice["cat"] == "job,retried").count(), 2);

    assert_eq!(read(&folder, "results/000002-3/stdout"), "out 3\n");
    assert_eq!(read(&folder, "results/000002-3/stderr"), "err 3\n");
    let record = report(&folder, "results/000002-3/record.json");
    assert_eq!((&record["seq"], &record["error"]["kind"]), (&json!(2), &json!("exit")));
}

fn sum(numbers: &[Value]) -> u64 {
    numbers.iter().filter_map(Value::as_u64).sum()
}

#[test]
fn workers_are_told_of_and_why_they_were_replaced() {
    let (folder, crew) = (folder(), Crew::new());
    all(&folder)
        .workers(1, crew.worker(""))
        .args(["--max-reqs", "2", "--timeout", "2s", "--grace", "0.1s", "--standby", "0"])
        .jobs([
            "echo [1]",
            "echo [2]",
            "die",
            "never_answer [4]",
            "garbage [\"5\"]",
            "fail [\"no\"]",
            "x {",
        ])
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    let run = report(&folder, "r.json");
    let kinds = &run["totals"]["failed_by_kind"];
    assert_eq!((&run["totals"]["jobs"], &run["totals"]["ok"]), (&json!(7), &json!(2)), "{run}");
    assert_eq!((&kinds["timeout"], &kinds["invalid"]), (&json!(1), &json!(1)), "{kinds}");
    let reasons = &run["workers"]["replaced_by_reason"];
    assert_eq!((&reasons["max-reqs"], &reasons["timeout"]), (&json!(1), &json!(1)), "{reasons}");
    let lives = run["workers"]["list"].as_array().expect("workers");
    assert_eq!(run["workers"]["ended"], lives.len());
    assert_eq!(run["workers"]["processes"], lives.len());
    assert_eq!((&lives[0]["jobs"], &lives[0]["why"]), (&json!(2), &json!("max-reqs")), "{lives:?}");
    assert_eq!(lives.iter().map(|life| life["generation"].clone()).collect::<Vec<_>>(), {
        (1..=lives.len()).map(|n| json!(n)).collect::<Vec<_>>()
    });
    is_valid_junit(&folder, "r.xml");
    let events = events(&folder, "t.json");
    assert_eq!(events.iter().filter(|event| event["ph"] == "b").count(), lives.len());
    let first = slices(&events).find(|slice| slice["args"]["seq"] == 1).expect("the first job");
    assert_eq!(first["name"], "echo(1)");
    assert_eq!(read(&folder, "results/000001-1/stdout"), "[1]\n");
}

#[test]
fn code_is_told_of_with_its_traceback() {
    if !need("python3") {
        return;
    }
    let folder = folder();
    fs::write(folder.path().join("ops.py"), "def load(name):\n    return {}[name]\n")
        .expect("made");
    all(&folder)
        .args(["-j1", "--stream", "--python", "ops.py", "--format", "value", "load"])
        .stdin("a\n")
        .any_stderr()
        .status(1)
        .patience(60)
        .run();
    let run = report(&folder, "r.json");
    assert_eq!(run["failures"][0]["job"], "load(\"a\")");
    let details = run["failures"][0]["details"].as_str().expect("a text");
    assert_has(details, &["Traceback", "ops.py", "KeyError: 'a'"]);
    assert_has(&read(&folder, "r.xml"), &["<failure message=\"KeyError: ", "Traceback"]);
}

#[test]
fn a_report_to_stdout_comes_last_on_a_line_of_its_own() {
    for (printed, script) in [("ab", "printf $0"), ("a\nb\n", "echo $0")] {
        for option in ["-.json", "json:-"] {
            let run = Test::new()
                .args(["--report", option, "sh", "-c", script, ":::", "a", "b"])
                .any_stdout()
                .run();
            let text = String::from_utf8(run.stdout).expect("text");
            let (results, report) = text.trim_end().rsplit_once('\n').expect("two lines");
            assert_eq!(results, printed.trim_end());
            assert_eq!(json(report)["totals"]["jobs"], 2);
        }
    }
    // Whoever reads stdout has gone: that is what ends the run, quietly.
    Test::new()
        .args(["--report", "-.json", "-j1", "echo"])
        .stdin_endless("x\n")
        .head(1)
        .any_stdout()
        .killed_by(Signal::PIPE)
        .run();
}

#[test]
fn a_run_that_is_interrupted_or_killed_has_its_reports() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::QUIT, "SIGQUIT")] {
        let folder = folder();
        let mut run = all(&folder)
            .args(["-j1", "--grace", "0.1s"])
            .args(["sh", "-c", "ulimit -c 0; test $0 = quick || { : > began; exec sleep 100; }"])
            .stdin_open()
            .any_stdout()
            .stderr_has(": it was running when the run was ended")
            .killed_by(signal)
            .spawn();
        run.write("quick\nslow\nnever\n");
        let began = folder.path().join("began");
        crate::common::wait_for("the second job", || began.exists());
        run.signal(signal);
        run.finish_by_itself();
        let report = report(&folder, "r.json");
        assert_eq!((&report["outcome"], &report["signal"]), (&json!("interrupted"), &json!(name)));
        assert_eq!(report["totals"]["failed_by_kind"]["cancelled"], 1, "{report}");
        assert_eq!(report["totals"]["not_run"], 1, "{report}");
        is_valid_junit(&folder, "r.xml");
        assert_has(&read(&folder, "r.xml"), &[r#"name="outcome" value="interrupted""#]);
        assert_has(
            &read(&folder, "r.md"),
            &[&format!("The run was ended by {name}."), "1 job was not run"],
        );
        assert_eq!(data(&read(&folder, "r.html"))["outcome"], "interrupted");
        assert_eq!(slices(&events(&folder, "t.json")).count(), 2);
        assert!(folder.path().join("results/000002-slow/record.json").exists());
    }
}

#[test]
fn a_resumed_run_tells_what_it_did_not_run_again() {
    let folder = folder();
    let script = "test -e pass || test $0 != 2 && echo $0";
    let run = |folder: &TempDir, journal: &[&str]| {
        all(folder).args(journal).args(["-j1", "sh", "-c", script]).stdin("1\n2\n3\n").any_stdout()
    };
    run(&folder, &["--journal", "journal"]).any_stderr().status(1).run();
    fs::write(folder.path().join("pass"), "").expect("made");
    run(&folder, &["--journal", "journal", "--resume"]).stdout("1\n2\n3\n").run();
    let report = report(&folder, "r.json");
    assert_eq!(
        (&report["totals"]["jobs"], &report["totals"]["recorded"]),
        (&json!(3), &json!(2)),
        "{report}"
    );
    assert_eq!(report["durations"]["jobs"], 1);
    is_valid_junit(&folder, "r.xml");
    let junit = read(&folder, "r.xml");
    assert_eq!(
        junit.matches("not run again: its result is from the journal").count(),
        2,
        "{junit}"
    );
    assert_has(&read(&folder, "r.md"), &["| From the journal, not run again | 2 |"]);
    assert_eq!(slices(&events(&folder, "t.json")).count(), 1);
    for job in ["1", "2", "3"] {
        assert_eq!(read(&folder, &format!("results/00000{job}-{job}/stdout")), format!("{job}\n"));
    }
}

/// A job that tries to break out of every format.
const HOSTILE: &str =
    "</script><img src=x onerror=alert(1)>|`x`&amp;]]>\"'%0A::error::\u{202e}\u{7}%s,a:b";

#[test]
fn the_name_of_a_report_may_be_any_bytes() {
    let folder = folder();
    let names = [OsStr::from_bytes(b"a\xff.json"), OsStr::from_bytes(b"b\xff:")];
    let options = [
        OsStr::new("--report"),
        names[0],
        OsStr::new("--report"),
        OsStr::from_bytes(b"json:b\xff:"),
    ];
    Test::new().cwd(folder.path()).args(options).arg("true").stdin("1\n").run();
    for name in names {
        let text = fs::read(folder.path().join(name)).expect("a report");
        assert!(text.starts_with(b"{"), "{}", name.display());
    }
}

#[test]
fn nothing_in_a_job_breaks_out_of_a_format() {
    let folder = folder();
    let script = "printf '%s\\033[31mred\\033[m\\001\\377|\\n' \"$0\" >&2; exit 1";
    all(&folder)
        .args(["-j1", "-0", "sh", "-c", script])
        .stdin(format!("{HOSTILE}\0../../x\ny\0"))
        .any_stderr()
        .status(1)
        .run();
    let page = read(&folder, "r.html");
    assert!(!page.contains("<img"), "markup of a job is in the page");
    assert_has(data(&page)["failures"][0]["job"].as_str().expect("a text"), &["</script><img"]);
    is_valid_junit(&folder, "r.xml");
    assert_has(&read(&folder, "r.xml"), &["&lt;/script&gt;", "\\u{202e}"]);
    assert!(!read(&folder, "r.xml").contains('\u{1b}'));
    let markdown = read(&folder, "r.md");
    let rows: Vec<&str> = markdown.lines().filter(|line| line.contains("script")).collect();
    assert!(!rows.iter().any(|row| row.replace("\\|", "").matches('|').count() > 5), "{rows:?}");
    assert_eq!(slices(&events(&folder, "t.json")).count(), 2);
    let mut names: Vec<_> = fs::read_dir(folder.path().join("results"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 2);
    assert_eq!(names[1], "000002-.._.._x_y");
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    assert!(names.iter().all(|name| name.chars().all(is_safe)), "{names:?}");
    for name in ["r.json", "r.xml", "r.html", "r.md", "t.json"] {
        let mode = folder.path().join(name).metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let results = folder.path().join("results").metadata().expect("a folder");
    assert_eq!(results.permissions().mode() & 0o777, 0o700);
}

#[test]
fn failures_are_annotations_of_a_workflow() {
    let folder = folder();
    fs::write(folder.path().join("in,put"), "50%\nb\n").expect("made");
    let run = |value: &str| {
        let script = "echo \"$0\nx\" >&2; exit 3";
        Test::new()
            .cwd(folder.path())
            .env("GITHUB_ACTIONS", value)
            .args(["-j1", "-a", "in,put", "sh", "-c", script])
            .any_stderr()
            .status(1)
            .run()
            .stderr
    };
    let stderr = run("true");
    let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert_has(lines[0], &["::error file=in%2Cput,line=1,title=job 1 (in%2Cput line 1) failed::"]);
    assert_has(lines[0], &["50%25", "%0A50%25%0Ax"]);
    for value in ["", "false"] {
        assert!(!run(value).contains("::error"));
    }
    let many = Test::new()
        .env("GITHUB_ACTIONS", "true")
        .args(["-j1", "false", ":::"])
        .args((0..13).map(|n| n.to_string()))
        .any_stderr()
        .status(1)
        .run()
        .stderr;
    assert_eq!(many.matches("::error ").count(), 10);
    assert_has(&many, &["::notice title=procpool::3 more failed jobs\n"]);
}

#[test]
fn a_summary_names_the_slowest_and_tells_retries_and_replacements() {
    let fails_once = "test -e $0 && echo there; test -e $0 || { : > $0; exit 1; }";
    let folder = folder();
    let run = Test::new()
        .cwd(folder.path())
        .args([
            "-j1",
            "--summary",
            "--retries",
            "1",
            "--retry-delay",
            "1ms",
            "sh",
            "-c",
            fails_once,
        ])
        .stdin("a\nb\n")
        .stdout("there\nthere\n")
        .any_stderr()
        .run();
    assert_has(
        &run.stderr,
        &["\n  2 retries (2 exit); 2 jobs passed on a retry\n", " (p99), ", "\n  slowest: sh -c "],
    );
    let crew = Crew::new();
    let run = Test::new()
        .cwd(folder.path())
        .workers(1, crew.worker(""))
        .args(["--summary", "--report", "r.json", "--max-reqs", "1", "--standby", "0"])
        .jobs(["echo [1]", "sleep [60]", "echo [3]", "echo [4]"])
        .any_stdout()
        .any_stderr()
        .run();
    let lines = run.stderr.lines().skip_while(|line| !line.contains("slowest"));
    let named: Vec<&str> = lines.take(3).collect();
    let slowest = report(&folder, "r.json")["slowest"].clone();
    for (nth, line) in named.iter().enumerate() {
        let (job, name) = (slowest[nth]["job"].as_str(), slowest[nth]["name"].as_str());
        assert_has(line, &[&format!("{}: ", job.expect("a job")), name.expect("a name")]);
    }
    assert_eq!(slowest.as_array().map(Vec::len), Some(4));
    assert_has(&run.stderr, &["\n  4 workers replaced: 4 max-reqs\n"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let folder = folder();
    fs::create_dir(folder.path().join("full")).expect("made");
    fs::write(folder.path().join("full/file"), "").expect("made");
    fs::write(folder.path().join("list"), "x\n").expect("made");
    for (options, status, said) in [
        ("--report r.txt", 2, "must end with .json, .xml (JUnit), .html or .md"),
        ("--report json:", 2, "there is no FILE after the colon"),
        ("--report r.json --dry-run", 2, "--dry-run runs no jobs, so --report would be empty"),
        ("--results d --live", 2, "and --results needs it: leave out one of them"),
        ("--report -.json --report xml:-", 2, "name files for the others"),
        ("--trace -", 2, "name a FILE"),
        ("--report r.json --report ./r.json", 2, "would both write to './r.json': name two files"),
        ("--report r.json --joblog r.json", 2, "would both write to 'r.json': name two files"),
        ("--report json:list -a list", 2, "which jobs are read from: name another file"),
        ("--report none/r.json", 125, "the report 'none/r.json' can't be written: "),
        ("--results full", 125, "'full' is not empty: name another, or remove it"),
        ("--results list", 125, "the folder for results 'list' can't be used: "),
    ] {
        let run = Test::new().cwd(folder.path()).args(options.split(' ')).arg("echo");
        run.stdin("y\n").stderr_has(said).status(status).run();
    }
    assert_eq!(read(&folder, "list"), "x\n");
    let full = Test::new().args(["--report", "json:/dev/full", "echo"]).stdin("a\n").stdout("a\n");
    full.stderr_has("the report '/dev/full' could not be written: ").status(125).run();
}

#[test]
fn a_page_of_many_jobs_is_small() {
    let folder = folder();
    let jobs: String = (0..60_000).map(|n| format!("{n}\n")).collect();
    let fails = "if int(x) % 10 == 0: raise ValueError('<' * 3000)";
    let code = format!("def f(x):\n    {fails}\n    return x\n");
    if !need("python3") {
        return;
    }
    fs::write(folder.path().join("f.py"), code).expect("made");
    Test::new()
        .cwd(folder.path())
        .args(["--report", "r.html", "--report", "r.json", "-j2", "--max-reqs", "20000"])
        .args(["--python", "f.py", "--format", "text", "f"])
        .stdin(jobs)
        .any_stdout()
        .drop_stderr()
        .status(1)
        .patience(120)
        .run();
    let page = read(&folder, "r.html");
    assert!(page.len() < 5 << 20, "{} bytes", page.len());
    let run = data(&page);
    assert_eq!(run["totals"]["failed"], 6_000);
    let listed = run["failures"].as_array().expect("failures").len() as u64;
    assert_eq!(run["failures_left_out"].as_u64(), Some(6_000 - listed));
    let drawn = run["timeline"]["bars"].as_array().expect("bars").len() as u64;
    assert_eq!(run["timeline"]["bars_left_out"].as_u64(), Some(60_000 - drawn));
    assert_eq!(run["throughput"]["jobs"].as_array().map(|steps| sum(steps)), Some(60_000));
}

#[test]
fn jobs_that_wait_at_a_worker_do_not_overlap_in_a_trace() {
    if !crate::common::heavy() {
        return;
    }
    let folder = folder();
    let jobs: Vec<String> = (0..3_000).map(|n| format!("echo [{n}]")).collect();
    all(&folder).workers(2, worker("")).args(["--pipeline", "auto"]).jobs(jobs).any_stdout().run();
    assert_eq!(slices(&events(&folder, "t.json")).count(), 3_000);
    assert_eq!(report(&folder, "r.json")["totals"]["ok"], 3_000);
    is_valid_junit(&folder, "r.xml");
}

#[test]
fn a_browser_shows_the_page() {
    let playwright = installed("playwright-core", "node/node_modules/playwright-core");
    let Some(playwright) = playwright.filter(|_| need("node") && need("chromium")) else { return };
    let (folder, crew) = (folder(), Crew::new());
    Test::new()
        .cwd(folder.path())
        .args(["--report", "r.html", "--max-reqs", "3", "--standby", "0"])
        .workers(2, crew.worker(""))
        .jobs((1..=20).map(|n| match n {
            4 => "die".to_owned(),
            9 => "fail [\"a needle\"]".to_owned(),
            13 => "fail [\"</script><b>no\"]".to_owned(),
            _ => format!("sleep [{}]", n * 3),
        }))
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    let shots =
        std::env::var("PROCPOOL_SCREENSHOTS").map_or(folder.path().to_owned(), PathBuf::from);
    let output = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/report.mjs"))
        .args([playwright, find_program("chromium").expect("it is there")])
        .args([folder.path().join("r.html"), shots.clone()])
        .output()
        .expect("node runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let seen = json(String::from_utf8_lossy(&output.stdout).trim());
    assert_eq!((&seen["errors"], &seen["requests"]), (&json!([]), &json!([])), "{seen}");
    assert_eq!(seen["title"], "3 of 20 jobs failed – procpool");
    assert_eq!(seen["verdict"], "3 of 20 jobs failed");
    let numbers = &seen["numbers"];
    assert_eq!((&numbers["jobs"], &numbers["ok"]), (&json!("20"), &json!("17")), "{seen}");
    assert_eq!(numbers["failed"], "3");
    assert_eq!(seen["as_they_came"], json!(["4", "9", "13"]));
    assert_eq!(seen["last_first"], json!(["13", "9", "4"]));
    assert_eq!(seen["sorted"], "descending");
    assert_eq!(seen["by_time"].as_array().map(Vec::len), Some(3));
    assert_eq!((&seen["found"], &seen["crashed"]), (&json!(["9"]), &json!(["4"])));
    let ranges = seen["ranges"].as_array().expect("ranges");
    let is_whole = |range: &Value| range.as_str().is_some_and(|text| text.starts_with("Whole run"));
    let whole: Vec<bool> = ranges.iter().map(is_whole).collect();
    assert_eq!(whole, [true, false, false, true, false], "{ranges:?}");
    assert_ne!(ranges[1], ranges[2]);
    assert_has(
        seen["timeline"].as_str().expect("a label"),
        &["Timeline of 2 slots", "20 jobs drawn"],
    );
    assert!(seen["reasons"].as_array().is_some_and(|rows| rows.len() >= 2), "{seen}");
    assert!(seen["workers"].as_u64().is_some_and(|count| count >= 6), "{seen}");
    assert_eq!(seen["names"], json!([]), "a screen reader can't name these");
    assert_eq!(seen["overflow"], json!([0, 0, 0]));
    assert_ne!(seen["background_light"], seen["background_dark"]);
    for shot in ["1280-light.png", "390-light.png", "1280-dark.png"] {
        assert!(shots.join(shot).metadata().is_ok_and(|file| file.len() > 10_000), "{shot}");
    }
}
