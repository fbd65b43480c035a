//! Programs that know nothing of procpool, driven as they are: filters, git, language servers, an MCP
//! server, a worker of Bazel's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{Test, assert_has, find_program, message, need, result};
use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Those that are started by Node.js or Python take their time on a busy machine.
const START_UP: u64 = 60;

fn raw(max_procs: usize, worker: &str) -> Test {
    Test::new().workers(max_procs, worker).args(["--protocol", "raw"])
}

fn json_rpc(max_procs: usize, worker: &str, framing: &str) -> Test {
    let args = ["--protocol", "jsonrpc", "--framing", framing];
    Test::new().workers(max_procs, worker).args(args).patience(START_UP)
}

/// What is the same in all records, and different in none.
fn all(records: &[Value], key: &str) -> BTreeSet<String> {
    records.iter().map(|record| record[key].to_string()).collect()
}

// ---- Filters

#[test]
fn jq() {
    if !need("jq") {
        return;
    }
    let lines: String = (0..200).map(|n| format!("{{\"a\":[{n},\"é\"]}}\n")).collect();
    let answers: String = (0..200).map(|n| format!("[{n},\"é\"]\n")).collect();
    raw(2, "jq --unbuffered -c .a").stdin(lines).stdout(answers).run();
}

#[test]
fn jq_ends_at_what_is_no_json() {
    if !need("jq") {
        return;
    }
    let output = raw(1, "jq --unbuffered -c .a")
        .args(["--format", "record"])
        .stdin("{\"a\":1}\n}\n{\"a\":3}\n")
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    let records = output.records();
    assert_eq!(result(&records[0]), &json!("1"));
    assert_has(message(&records[1], "crash"), &["exited with status", "parse error"]);
    assert_eq!(result(&records[2]), &json!("3"));
}

#[test]
fn sed() {
    if !need("sed") {
        return;
    }
    let lines: String = (0..200).map(|n| format!("line {n}\n")).collect();
    let answers: String = (0..200).map(|n| format!("{n} line\n")).collect();
    raw(2, r"sed -u 's/\(.*\) \(.*\)/\2 \1/'").stdin(lines).stdout(answers).run();
}

#[test]
fn sed_with_nul_bytes() {
    if !need("sed") {
        return;
    }
    raw(2, r"sed -z -u 's/\n/+/g'")
        .args(["--framing", "nul", "-0"])
        .stdin("one\ntwo\0\0three\n\0")
        .stdout("one+two\n\nthree+\n")
        .run();
}

#[test]
fn bc() {
    if !need("bc") {
        return;
    }
    let sums: String = (0..100).map(|n| format!("2^{n} % 1000\n")).collect();
    let mut power = 1;
    let answers: String = (0..100)
        .map(|_| {
            let line = format!("{power}\n");
            power = power * 2 % 1000;
            line
        })
        .collect();
    raw(2, "bc -q").stdin(sums).stdout(answers).run();
    // It breaks long lines by default.
    let zeros = "0".repeat(100);
    raw(1, "env BC_LINE_LENGTH=0 bc -q")
        .stdin("10^100\n1+1\n")
        .stdout(format!("1{zeros}\n2\n"))
        .run();
}

#[test]
fn bc_does_not_answer_what_has_no_value() {
    if !need("bc") {
        return;
    }
    raw(1, "bc -q")
        .args(["--timeout", "2s", "--grace", "1s"])
        .stdin("6*7\n1/0\n2+2\n")
        .stdout("42\n4\n")
        .stderr_has("ivide by zero")
        .stderr_has("(job 2, line 2")
        .stderr_has(": timed out after 2s")
        .status(1)
        .run();
}

// ---- git

/// A repository with an object, whose name is returned, and with attributes.
fn repository() -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(args).current_dir(folder.path()).stdin(Stdio::null());
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    git(&["init", "--quiet"]);
    write(folder.path(), "hello", "hello\n");
    write(folder.path(), ".gitattributes", "*.png -text diff=image\n");
    let object = git(&["hash-object", "-w", "hello"]);
    (folder, object)
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("the folder can be written to");
}

#[test]
fn git_cat_file() {
    if !need("git") {
        return;
    }
    let (folder, object) = repository();
    raw(2, "git cat-file --batch-check")
        .cwd(folder.path())
        .stdin(format!("{object}\nnothing\n").repeat(20))
        .stdout(format!("{object} blob 6\nnothing missing\n").repeat(20))
        .run();
}

#[test]
fn git_check_attr_prints_three_messages_for_one() {
    if !need("git") {
        return;
    }
    let (folder, _) = repository();
    let check = |attributes: &str| {
        raw(2, &format!("git check-attr -z --stdin {attributes}"))
            .args(["--framing", "nul", "-0"])
            .cwd(folder.path())
    };
    check("text")
        .args(["--reply-messages", "3"])
        .stdin("a.png\0two\nlines\0".repeat(20))
        .stdout("a.png\0text\0unset\ntwo\nlines\0text\0unspecified\n".repeat(20))
        .run();
    check("text diff")
        .args(["--reply-messages=6", "--format=value"])
        .stdin("a.png\0")
        .stdout("\"a.png\\u0000text\\u0000unset\\u0000a.png\\u0000diff\\u0000image\"\n")
        .run();
    // Otherwise it looks as if it answered more often than it was asked.
    check("text")
        .stdin("a.png\0")
        .stderr_has(": it printed more than one reply to one request")
        .status(1)
        .run();
}

// ---- Language servers

/// The handshake of a language server, and a file that is open in it.
fn opened(uri: &str, language: &str, text: &str) -> Vec<String> {
    let capabilities = json!({"processId": null, "rootUri": null, "capabilities": {}});
    let document =
        json!({"textDocument": {"uri": uri, "languageId": language, "version": 1, "text": text}});
    vec![
        format!("--init=initialize {capabilities}"),
        "--notify=initialized {}".to_owned(),
        format!("--notify=textDocument/didOpen {document}"),
    ]
}

/// A job that asks about a line and a column of the file.
fn ask(method: &str, uri: &str, line: u32, character: u32) -> String {
    let position = json!({"line": line, "character": character});
    let params = json!({"textDocument": {"uri": uri}, "position": position});
    format!("textDocument/{method} {params}")
}

const PYTHON: &str = "def greet(name):\n    return name\n\ngreet(1)\n";

const SHELL: &str = "greet() {\n  cd /\n}\ngreet\n";

/// Asks a language server about a file in which `greet` is defined in the first line, at column `at`, and
/// used in the fourth. Then asks for a method that it does not know, and returns its answer to that.
fn asked_in_rounds(test: Test, uri: &str, hover: &str, at: u32) -> String {
    let one_round = [
        ask("definition", uri, 3, 1),
        ask("documentSymbol", uri, 0, 0),
        ask("nonsense", uri, 0, 0),
        hover.to_owned(),
    ];
    let records = test
        .jobs(std::iter::repeat_n(one_round, 5).flatten())
        // It may tell the traceback of what it could not do.
        .any_stderr()
        .status(1)
        .records();
    assert_eq!(records.len(), 20);
    for round in records.chunks(4) {
        assert_eq!(result(&round[0])[0]["range"]["start"], json!({"line": 0, "character": at}));
        assert_eq!(result(&round[1])[0]["name"], "greet");
        assert_eq!(message(&round[2], "error"), message(&records[2], "error"));
        assert_eq!(round[2]["error"]["data"]["code"], -32601);
        message(&round[3], "error");
        assert_eq!(round[3]["error"]["data"]["code"], -32602);
    }
    message(&records[2], "error").to_owned()
}

#[test]
fn python_language_server() {
    if !need("pylsp") {
        return;
    }
    let uri = "file:///project/greet.py";
    let test = json_rpc(2, "pylsp", "content-length")
        .args(opened(uri, "python", PYTHON))
        .args(["--max-reqs", "9"]);
    let unknown = asked_in_rounds(test, uri, "textDocument/hover {}", 4);
    assert_has(&unknown, &["textDocument/nonsense"]);
}

#[test]
fn bash_language_server() {
    if !need("bash-language-server") {
        return;
    }
    let uri = "file:///project/greet.sh";
    let test = json_rpc(2, "bash-language-server start", "content-length").args(opened(
        uri,
        "shellscript",
        SHELL,
    ));
    let unknown = asked_in_rounds(test, uri, "textDocument/hover", 0);
    assert_eq!(unknown, "Unhandled method textDocument/nonsense");
}

#[test]
fn bash_language_server_answers_out_of_order() {
    if !need("bash-language-server") {
        return;
    }
    let uri = "file:///project/greet.sh";
    // What it says of a builtin it has from a shell, and answers other requests meanwhile.
    let hover = ask("hover", uri, 1, 3);
    let symbols = ask("documentSymbol", uri, 0, 0);
    let records = json_rpc(1, "bash-language-server start", "content-length")
        .args(opened(uri, "shellscript", SHELL))
        .args(["--pipeline=8", "--stream"])
        .jobs([&hover].into_iter().chain(std::iter::repeat_n(&symbols, 100)))
        .any_stderr()
        .records();
    assert_eq!(records.len(), 101);
    assert_ne!(records[0]["id"], 1, "it answered in order");
    for record in &records {
        match record["id"].as_u64() {
            Some(1) => assert_has(&result(record)["contents"].to_string(), &["cd"]),
            _ => assert_eq!(result(record)[0]["name"], "greet"),
        }
    }
}

#[test]
fn a_language_server_that_asks_for_settings_lives_on() {
    if !need("bash-language-server") {
        return;
    }
    let capabilities = json!({"processId": null, "rootUri": null, "capabilities": {
        "workspace": {"configuration": true, "didChangeConfiguration": {"dynamicRegistration": true}},
        "window": {"workDoneProgress": true},
    }});
    let jobs = ask("documentSymbol", "file:///project/greet.sh", 0, 0);
    let records = json_rpc(1, "bash-language-server start", "content-length")
        .arg(format!("--init=initialize {capabilities}"))
        .args(["--notify=initialized {}", "--detail"])
        .jobs(std::iter::repeat_n(jobs, 200))
        .any_stderr()
        .records();
    assert_eq!(all(&records, "ok"), BTreeSet::from(["true".to_owned()]));
    assert_eq!(all(&records, "pid").len(), 1, "it ended when it was answered");
}

// ---- MCP

const MCP_HANDSHAKE: [&str; 2] = [
    "--init=initialize {\"protocolVersion\":\"2025-06-18\",\"capabilities\":{},\
     \"clientInfo\":{\"name\":\"procpool\",\"version\":\"0\"}}",
    "--notify=notifications/initialized",
];

#[test]
fn mcp_server_time() {
    if !need("mcp-server-time") {
        return;
    }
    let jobs = (0..60).map(|n| {
        let time = format!("{:02}:{:02}", n % 24, n);
        let (source, target) = ("UTC", "Asia/Tokyo");
        let arguments = json!({"source_timezone": source, "time": time, "target_timezone": target});
        format!("tools/call {}", json!({"name": "convert_time", "arguments": arguments}))
    });
    let records = json_rpc(2, "mcp-server-time", "line")
        .args(MCP_HANDSHAKE)
        .args(["--detail", "--max-reqs=20"])
        .jobs(jobs)
        .records();
    assert_eq!(records.len(), 60);
    for (n, record) in records.iter().enumerate() {
        let content = &result(record)["content"][0]["text"];
        let target = format!("T{:02}:{n:02}:00+09:00", (n % 24 + 9) % 24);
        assert_has(content.as_str().expect("text"), &[&target]);
    }
    assert_eq!(all(&records, "slot").len(), 2);
    assert!(all(&records, "pid").len() >= 3, "none was replaced");
}

#[test]
fn mcp_server_time_and_what_it_can_not_do() {
    if !need("mcp-server-time") {
        return;
    }
    let records = json_rpc(1, "mcp-server-time", "line")
        .args(MCP_HANDSHAKE)
        .jobs([
            r#"tools/call {"name":"get_current_time","arguments":{"timezone":"Mars/Base"}}"#,
            "nonsense",
            "tools/call 5",
            "tools/list",
        ])
        .any_stderr()
        .status(1)
        .records();
    // To MCP a tool that failed is a result, to procpool a failure.
    assert_has(message(&records[0], "error"), &["Mars/Base"]);
    assert_eq!(records[0]["error"]["data"]["isError"], true);
    let code = &records[1]["error"]["data"]["code"];
    assert!(message(&records[1], "error").len() > 1 && code.is_i64(), "{}", records[1]);
    assert_has(message(&records[2], "invalid"), &["the params of JSON-RPC are an array"]);
    assert_eq!(result(&records[3])["tools"][0]["name"], "get_current_time");
}

#[test]
fn the_command_in_the_documents() {
    if !need("mcp-server-time") {
        return;
    }
    let page = include_str!("../../docs/workers.md");
    let begin = page.find("    printf '\"UTC\"").expect("the example is there");
    let end = begin + page[begin..].find("\n\n").expect("and ends");
    let binary = Path::new(env!("CARGO_BIN_EXE_procpool"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(binary.parent().expect("a folder").to_owned());
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&path)));
    let records = Test::through_shell(&page[begin..end])
        .env("PATH", path.expect("a path"))
        .patience(START_UP)
        .records();
    let zone = |record| &result(record)["structuredContent"]["timezone"];
    let zones: Vec<_> = records.iter().map(zone).collect();
    assert_eq!(zones, ["UTC", "Asia/Tokyo"]);
}

// ---- Bazel

/// The command line of `tsc_wrapped`, and a folder with something for it to compile.
fn tsc_wrapped() -> Option<(String, TempDir)> {
    if !need("node") || !need("tsc_wrapped") {
        return None;
    }
    // Nothing in it says that it is for Node.js, so it can't be run by its name.
    let path: PathBuf = find_program("tsc_wrapped")?;
    let path = shell_words::quote(path.to_str().expect("UTF-8")).into_owned();
    let folder = TempDir::new().expect("a folder");
    // What each global scope must have, so that no library of TypeScript's needs to be found.
    let globals = "Boolean Function IArguments Number Object RegExp String CallableFunction \
                   NewableFunction";
    let globals: String =
        globals.split(' ').map(|name| format!("interface {name} {{}}\n")).collect();
    write(folder.path(), "globals.d.ts", &format!("interface Array<T> {{}}\n{globals}"));
    for (name, text) in [("good", "let n: number = 1;\n"), ("bad", "let n: number = \"one\";\n")] {
        write(folder.path(), &format!("{name}.ts"), &format!("export {text}"));
        let config = json!({
            "compilerOptions": {
                "outDir": "out", "rootDir": ".", "rootDirs": ["."], "noLib": true, "types": [],
                "target": "es2015",
            },
            "bazelOptions": {
                "target": format!("//:{name}"), "compilationTargetSrc": [format!("{name}.ts")],
                "typeCheck": true, "disableStrictDeps": true, "tsickle": false,
                "workspaceName": "work", "package": "", "expectedDiagnostics": [],
            },
            "files": ["globals.d.ts", format!("{name}.ts")],
        });
        write(folder.path(), &format!("{name}.json"), &config.to_string());
    }
    Some((format!("node {path} --persistent_worker"), folder))
}

fn bazel(max_procs: usize, worker: &str, folder: &TempDir) -> Test {
    let test = Test::new().workers(max_procs, worker).args(["--protocol", "bazel"]);
    // It says on stderr that it is there.
    test.cwd(folder.path()).patience(START_UP).any_stderr()
}

/// A job that compiles, with the digests of what is read.
fn compile(name: &str) -> String {
    let digest = base64::engine::general_purpose::STANDARD.encode(name);
    let input = |path: &str| json!({"path": path, "digest": digest});
    let inputs = [input(&format!("{name}.ts")), input("globals.d.ts")];
    format!("tsc {}", json!({"arguments": [format!("{name}.json")], "inputs": inputs}))
}

#[test]
fn tsc_wrapped_compiles() {
    let Some((worker, folder)) = tsc_wrapped() else { return };
    let (good, bad) = (compile("good"), compile("bad"));
    let records = bazel(1, &worker, &folder)
        .args(["--detail"])
        .jobs([&good, &bad, &good, "tsc [\"a\",\"b\"]", "tsc 5", &bad, &good])
        .status(1)
        .records();
    for index in [0, 2, 6] {
        assert_eq!(result(&records[index]), &json!({"exit_code": 0, "output": ""}));
    }
    for index in [1, 5] {
        let text = "'string' is not assignable to type 'number'";
        assert_has(message(&records[index], "exit"), &["exit code 1: ", text]);
        assert_eq!(records[index]["error"]["data"]["exit_code"], 1);
    }
    assert_eq!(
        message(&records[3], "exit"),
        "exit code 1: Expected one argument: path to tsconfig.json"
    );
    assert_has(message(&records[4], "invalid"), &["array of strings"]);
    let pids = all(&records, "pid");
    // The invalid job had none.
    assert_eq!(pids.len(), 2, "one worker did all: {pids:?}");
    let compiled = std::fs::read_dir(folder.path().join("out")).expect("it has compiled");
    assert_eq!(compiled.count(), 1);
}

#[test]
fn max_reqs_cures_what_tsc_wrapped_keeps_of_failures() {
    let Some((worker, folder)) = tsc_wrapped() else { return };
    // Without digests it fails in a way that it does not expect, and never forgets what it said: each
    // reply repeats all those before it.
    let failures = |max_reqs: &str| {
        let records = bazel(1, &worker, &folder)
            .args(["--max-reqs", max_reqs])
            .jobs(["tsc [\"good.json\"]"; 12])
            .status(1)
            .records();
        let count = |record: &Value| {
            assert_has(message(record, "exit"), &["missing input digest"]);
            let output = record["error"]["data"]["output"].as_str().expect("text");
            output.matches("missing input digest").count()
        };
        records.iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(failures("0"), (1..=12).collect::<Vec<_>>());
    assert_eq!(failures("3"), [1, 2, 3].repeat(4));
    assert_eq!(failures("1"), [1; 12]);
}
