//! The workers in `examples/`, each with the main job of README.md.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Output, Test, json, need};
use serde_json::Value;

/// The first command of README.md.
const MAIN_JOB: &str =
    "cargo run --release -- --max-procs 4 --worker ./examples/handler.py < examples/jobs.jsonl";

#[test]
fn handler_in_python() {
    if need("python3") {
        let output = main_job("./examples/handler.py");
        let printed = String::from_utf8(output.stdout).expect("results are UTF-8");
        assert_eq!(printed, read("examples/expected.jsonl"), "byte for byte");
    }
}

#[test]
fn handler_in_sh() {
    if need("sh") {
        as_expected("./examples/handler.sh");
    }
}

#[test]
fn handler_in_perl() {
    if need("perl") {
        as_expected("./examples/handler.pl");
    }
}

#[test]
fn handler_in_javascript() {
    if need("node") {
        as_expected("./examples/handler.js");
    }
}

#[test]
fn handler_in_rust() {
    let path = built("handler");
    as_expected(&shell_words::quote(path.to_str().expect("the path of the build is UTF-8")));
}

#[test]
fn double_in_python() {
    if need("python3") {
        doubles("./examples/double.py");
    }
}

#[test]
fn double_in_rust() {
    let path = built("double");
    doubles(&shell_words::quote(path.to_str().expect("the path of the build is UTF-8")));
}

/// All workers say what is wrong with a job, and go on with the next one.
#[test]
fn handlers_go_on_after_an_error() {
    let rust = built("handler");
    let rust = shell_words::quote(rust.to_str().expect("the path of the build is UTF-8"));
    for (program, worker) in [
        ("python3", "./examples/handler.py"),
        ("sh", "./examples/handler.sh"),
        ("perl", "./examples/handler.pl"),
        ("node", "./examples/handler.js"),
        ("sh", &rust),
    ] {
        if !need(program) {
            continue;
        }
        let records = Test::new()
            .cwd(root())
            .workers(1, worker)
            .jobs([
                "juggle",
                "count",
                "hash [\"no/such/file\"]",
                "count [\"examples/data/alice.txt\"]",
            ])
            .status(1)
            .records();
        assert_eq!(records.len(), 4, "{worker}");
        for (record, part) in records.iter().zip(["juggle", "count needs a path", "no/such/file"]) {
            crate::common::assert_has(crate::common::message(record, "error"), &[part]);
        }
        assert_eq!(crate::common::result(&records[3])["bytes"], 763, "{worker}");
    }
}

#[test]
fn the_library() {
    if !need("python3") {
        return;
    }
    let output = std::process::Command::new(built("library"))
        .current_dir(root())
        .output()
        .expect("the example starts");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("it prints UTF-8");
    let expected: Vec<Value> = read("examples/expected.jsonl").lines().map(json).collect();
    let hash = |record: &Value| record["result"].as_str().expect("a hash").to_owned();
    assert_eq!(
        printed,
        format!(
            "147 words\nalice.txt {}\nharbour.txt {}\n",
            hash(&expected[1]),
            hash(&expected[4])
        )
    );
}

/// The recipes of the library's front page.
#[test]
fn the_recipes() {
    for (name, printed) in [("many", 100_000), ("threads", 400)] {
        let output = std::process::Command::new(built(name)).output().expect("the example starts");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
        let bytes: u64 = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(bytes > printed * 20, "{text}");
    }
}

/// It is the first worker that somebody reads.
#[test]
fn the_handler_in_python_is_short() {
    let lines = read("examples/handler.py").lines().count();
    assert!(lines < 40, "{lines} lines");
}

#[track_caller]
fn as_expected(worker: &str) {
    let output = main_job(worker);
    let expected: Vec<Value> = read("examples/expected.jsonl").lines().map(json).collect();
    assert_eq!(output.records(), expected, "{worker}");
}

/// Runs the first command of README.md, with this worker.
#[track_caller]
fn main_job(worker: &str) -> Output {
    assert!(read("README.md").contains(&format!("\n{MAIN_JOB}\n")), "README.md lacks {MAIN_JOB}");
    let script = MAIN_JOB
        .replace("cargo run --release --", "\"$@\"")
        .replace("./examples/handler.py", &shell_words::quote(worker));
    assert!(script.starts_with("\"$@\" --max-procs 4 --worker "), "{script}");
    Test::through_shell(&script).cwd(root()).any_stdout().run()
}

#[track_caller]
fn doubles(worker: &str) {
    Test::new()
        .cwd(root())
        .workers(2, worker)
        .args(["--format", "value"])
        .jobs(["double [21]", "double [-1]", "{\"cmd\":\"double\",\"args\":[0]}"])
        .stdout("42\n-2\n0\n")
        .run();
}

/// The program that an example in Rust was built to.
#[track_caller]
pub(crate) fn built(example: &str) -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_procpool")).parent().expect("a folder");
    let path = profile.join("examples").join(example);
    let age = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let source = root().join("examples").join(format!("{example}.rs"));
    assert!(
        age(&path).is_some() && age(&path) >= age(&source),
        "{} is missing, or older than its source: run `cargo build --examples`, or `cargo test` \
         without --test, which builds it",
        path.display()
    );
    path
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
