//! JSON-RPC servers, debug adapters and Bazel workers: notifications around a request, progress, results that
//! are errors, cancellation, and the wrong protocol. The servers are small scripts in Python.

use std::fs;

use serde_json::json;

use crate::common::{Crew, Test, assert_has, message, need, quoted, result, wait_for};

/// Functions for a server: `read()` is the next message, `send(message)` writes one.
const WITH_HEADERS: &str = r#"
import json, sys, time
def read():
    size = 0
    while True:
        line = sys.stdin.buffer.readline()
        if not line:
            sys.exit()
        if not line.strip():
            break
        size = int(line.split(b":")[1])
    return json.loads(sys.stdin.buffer.read(size))
def send(message):
    text = json.dumps(message).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(text) + text)
    sys.stdout.buffer.flush()
"#;

const WITH_LINES: &str = r#"
import json, sys, time
def read():
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    return json.loads(line)
def send(message):
    print(json.dumps(message), flush=True)
"#;

fn server(functions: &str, main: &str) -> String {
    format!("python3 -c {}", quoted(&format!("{functions}{main}")))
}

#[test]
fn a_notification_before_and_after_each_request() {
    if !need("python3") {
        return;
    }
    let main = r#"
seen = []
while True:
    message = read()
    if "id" in message:
        send({"jsonrpc": "2.0", "id": message["id"], "result": seen})
    else:
        seen.append([message["method"], message.get("params")])
"#;
    let output = Test::new()
        .workers(1, server(WITH_HEADERS, main))
        .args(["--protocol=jsonrpc", "--framing=content-length", "--format=value"])
        .args(["--init=initialize {}"])
        .args(["--before-request", r#"open {"doc":"{doc}","name":"file:{doc.uri}"}"#])
        .args(["--after-request", "close"])
        .jobs([r#"ask {"doc":{"uri":"/a","v":1}}"#, r#"ask {"doc":{"uri":"/b"}}"#, "ask {}"])
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    let opened = r#"["open", {"doc": {"uri": "/a", "v": 1}, "name": "file:/a"}]"#;
    let other = r#"["open", {"doc": {"uri": "/b"}, "name": "file:/b"}]"#;
    let closed = r#"["close", null]"#;
    assert_eq!(output.lines(), [format!("[{opened}]"), format!("[{opened}, {closed}, {other}]")]);
    assert_has(&output.stderr, &["--before-request: the args of the job have no {doc}"]);
}

#[test]
fn a_tool_that_reports_an_error_has_failed() {
    if !need("python3") {
        return;
    }
    let main = r#"
while True:
    message = read()
    name = message["params"]["name"]
    content = [{"type": "text", "text": "about " + name}]
    send({"jsonrpc": "2.0", "id": message["id"], "result": {"content": content, "isError": name == "b"}})
"#;
    let records = Test::new()
        .workers(1, server(WITH_LINES, main))
        .args(["--protocol=jsonrpc"])
        .jobs([r#"tools/call {"name":"a"}"#, r#"tools/call {"name":"b"}"#])
        .status(1)
        .records();
    assert_eq!(result(&records[0])["isError"], false);
    assert_eq!(message(&records[1], "error"), "about b");
    assert_eq!(records[1]["error"]["data"]["content"][0]["text"], "about b");
}

#[test]
fn progress_is_passed_on_and_is_a_sign_of_life() {
    if !need("python3") {
        return;
    }
    let main = r#"
while True:
    message = read()
    for step in range(message["params"][0]):
        time.sleep(0.3)
        send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": step}})
    if message["params"][0] == 0:
        time.sleep(100)
    send({"jsonrpc": "2.0", "id": message["id"], "result": "done"})
"#;
    let output = Test::new()
        .workers(1, server(WITH_LINES, main))
        .args(["--protocol=jsonrpc", "--silence=2s", "--grace=0.1s"])
        .jobs(["work [8]", "work [0]", "work [1]"])
        .any_stderr()
        .any_stdout()
        .status(1)
        .run();
    let records = output.records();
    assert_eq!(result(&records[0]), "done");
    assert_has(message(&records[1], "timeout"), &["printed nothing for 2s (--silence)"]);
    assert_eq!(result(&records[2]), "done");
    assert_has(&output.stderr, &["notifications/progress {\"progress\": 7}\n"]);
}

/// What a worker is told before it is killed.
fn told(crew: &Crew, functions: &str, protocol: &[&str], job: &str) -> serde_json::Value {
    let log = crew.path("log");
    let main = format!(
        "\nread()\nwith open({}, 'w') as log:\n    json.dump(read(), log)\nread()\n",
        json!(log)
    );
    let records = Test::new()
        .workers(1, server(functions, &main))
        .args(protocol)
        .args(["--timeout=0.2s", "--grace=2s"])
        .jobs([job])
        .status(1)
        .records();
    message(&records[0], "timeout");
    wait_for("the cancellation", || fs::read(&log).is_ok_and(|text| !text.is_empty()));
    serde_json::from_slice(&fs::read(&log).expect("a log")).expect("JSON")
}

#[test]
fn a_request_is_cancelled_before_its_worker_is_killed() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let said = told(&crew, WITH_LINES, &["--protocol=jsonrpc"], "work");
    assert_eq!(said, json!({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 1}}));
    let said = told(&crew, WITH_LINES, &["--protocol=bazel", "--framing=json"], "x []");
    assert_eq!(said["cancel"], true);
    assert_eq!(said["requestId"], 1);
    let said = told(&crew, WITH_HEADERS, &["--protocol=dap"], "evaluate {}");
    assert_eq!((&said["command"], &said["arguments"]["requestId"]), (&json!("cancel"), &json!(1)));
}

#[test]
fn a_debug_adapter() {
    if !need("python3") {
        return;
    }
    let main = r#"
while True:
    message = read()
    assert message["type"] == "request"
    command = message["command"]
    reply = {"seq": 1, "type": "response", "request_seq": message["seq"], "command": command}
    send({"seq": 2, "type": "event", "event": "output", "body": {"output": "x"}})
    if command == "launch":
        send({"seq": 3, "type": "request", "command": "runInTerminal"})
        answer = read()
        reply["body"] = {"answer": answer["success"], "to": answer["request_seq"]}
    elif command == "fail":
        send(reply | {"success": False, "message": "no", "body": {"error": {"format": "it can't"}}})
        continue
    else:
        reply["body"] = message.get("arguments")
    send(reply | {"success": True})
"#;
    let records = Test::new()
        .workers(2, server(WITH_HEADERS, main))
        .args(["--protocol=dap", "--init=initialize {\"adapterID\":\"x\"}"])
        .jobs(["launch {}", "threads", "evaluate {\"expression\":\"1\"}", "fail", "evaluate [1]"])
        .status(1)
        .records();
    assert_eq!(result(&records[0]), &json!({"answer": false, "to": 3}));
    assert_eq!(result(&records[1]), &json!(null));
    assert_eq!(result(&records[2]), &json!({"expression": "1"}));
    assert_eq!(message(&records[3], "error"), "it can't");
    assert_has(message(&records[4], "invalid"), &["object"]);
}

#[test]
fn a_wrong_protocol_is_named() {
    if !need("python3") {
        return;
    }
    let rpc = "\nsys.stdin.readline()\nsend({'jsonrpc': '2.0', 'id': 1, 'result': None})\ntime.sleep(100)\n";
    let adapter = "\nsys.stdin.readline()\nsend({'seq': 1, 'type': 'event', 'event': 'x'})\ntime.sleep(100)\n";
    let crash = "\nsys.exit('Missing Content-Length header')\n";
    let silent = "\nsys.stdin.readline()\ntime.sleep(100)\n";
    let values = "\nsys.stdin.readline()\nsend([1, 2])\n";
    for (functions, main, protocol, advice) in [
        (WITH_HEADERS, rpc, "jsonl", "looks like --protocol jsonrpc --framing content-length"),
        (WITH_HEADERS, rpc, "raw", "looks like --protocol jsonrpc --framing content-length"),
        (WITH_HEADERS, rpc, "jsonrpc", "looks like --framing content-length"),
        (WITH_LINES, rpc, "jsonl", "looks like --protocol jsonrpc"),
        (WITH_LINES, rpc, "dap", "looks like --protocol jsonrpc"),
        (WITH_HEADERS, adapter, "jsonl", "looks like --protocol dap"),
        (WITH_HEADERS, adapter, "jsonrpc", "looks like --protocol dap"),
        (WITH_LINES, values, "jsonl", "if each line is a result, give --protocol raw"),
        (WITH_LINES, crash, "jsonl", "it may want --framing content-length"),
        (
            WITH_LINES,
            silent,
            "jsonrpc",
            "if it is a language server, give --framing content-length",
        ),
        (
            WITH_LINES,
            silent,
            "jsonl",
            "if it was not written for procpool, say how it speaks: --protocol raw, or jsonrpc",
        ),
    ] {
        let output = Test::new()
            .workers(1, server(functions, main))
            .args(["--protocol", protocol, "--grace=0.1s", "--start-limit=1"])
            .args(["--timeout", if main == silent { "0.2s" } else { "20s" }])
            .jobs(["ask"])
            .any_stdout()
            .any_stderr()
            .any_status()
            .run();
        assert_has(&output.stderr, &[advice]);
    }
}
