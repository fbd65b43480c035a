//! Results in parts: what a generator yields, and what a worker prints before its reply.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::{Crew, Test, need, peak_memory, wait_for, wait_for_rest};
use crate::hosts_kit::{Machines, assert_same};
use crate::server_kit::Served;

/// Generators of `x` and 2, in each language that has some.
const GENERATORS: [(&str, &str, &str, &str); 6] = [
    ("python3", "--python", "", "(y for y in (x, 2))"),
    ("python3", "--python", "async def g(y):\n yield y\n yield 2", "g(x)"),
    ("python3", "--python", "async def g(y): return iter([y, 2])", "await g(x)"),
    ("node", "--node", "", "(function* () { yield x; yield 2; })()"),
    ("node", "--node", "", "(async function* () { yield x; yield 2; })()"),
    ("ruby", "--ruby", "", "[x, 2].each"),
];

#[test]
fn a_generator_is_a_list_or_lines() {
    for (program, option, setup, code) in GENERATORS {
        if !need(program) {
            continue;
        }
        let test = |options: &[&str]| {
            Test::new().args(options).args([option, code, "--setup", setup, ":::", "a", "b"])
        };
        test(&[]).stdout("[\"a\",2]\n[\"b\",2]\n").run();
        for options in [&["--live", "--tag"][..], &["--unpack", "--tag"]] {
            test(options).stdout("a\ta\na\t2\nb\tb\nb\t2\n").run();
        }
    }
}

#[test]
fn a_generator_may_yield_nothing_or_never_end() {
    for (program, option, setup, empty, endless) in [
        ("python3", "--python", "from itertools import count", "iter(())", "count()"),
        (
            "python3",
            "--python",
            "async def g(end):\n n = 0\n while n < end:\n  yield n; n += 1",
            "g(0)",
            "[1, g(1e99)]",
        ),
        (
            "node",
            "--node",
            "function* g(end) { for (let n = 0; n < end; n++) yield n; }",
            "g(0)",
            "({ a: g(1e99) })",
        ),
        (
            "node",
            "--node",
            "async function* g(end) { for (let n = 0; n < end; n++) yield n; }",
            "g(0)",
            "g(1e99)",
        ),
        ("ruby", "--ruby", "", "[].each", "(1..).lazy.map { |n| n * 2 }"),
        ("ruby", "--ruby", "", "[].lazy", "[1, 2..]"),
    ] {
        if !need(program) {
            continue;
        }
        for live in [&["--live"][..], &["--unpack"]] {
            let code = [option, empty, "--setup", setup, ":::", "a"];
            Test::new().args(live).args(code).stdout("").run();
        }
        Test::new()
            .args(["-j1", "--max-reply=20k", option, endless, "--setup", setup, ":::", "a"])
            .stderr_has("yields more than 20480 bytes (--max-reply) (job 1")
            .status(1)
            .run();
    }
}

#[test]
fn a_generator_of_coroutines_loses_none() {
    if !need("python3") {
        return;
    }
    let code = "(asyncio.sleep(0, n) for n in range(3))";
    for (options, code, expected) in [
        (&[][..], code, "[0,1,2]\n"),
        (&["--live"], code, "0\n1\n2\n"),
        (&[], &format!("{{'a': {code}}}"), "{\"a\":[0,1,2]}\n"),
    ] {
        Test::new()
            .args(options)
            .args(["--python", code, "--setup", "import asyncio", ":::", "a"])
            .stdout(expected)
            .run();
    }
}

#[test]
fn what_is_yielded_is_printed_at_once() {
    for (program, option, setup, code) in [
        (
            "python3",
            "--python",
            "import os, time\ndef g(x):\n yield 'first'\n while not os.path.exists(x): time.sleep(.01)\n yield 'last'",
            "g(x)",
        ),
        (
            "node",
            "--node",
            "const fs = require('fs'), sleep = (t) => new Promise((r) => setTimeout(r, t));
             async function* g(x) { yield 'first'; while (!fs.existsSync(x)) await sleep(10); yield 'last'; }",
            "g(x)",
        ),
        (
            "ruby",
            "--ruby",
            "def g(x) = Enumerator.new { |y| y << 'first'; sleep 0.01 until File.exist?(x); y << 'last' }",
            "g(x)",
        ),
    ] {
        if !need(program) {
            continue;
        }
        let crew = Crew::new();
        let go = crew.path("go");
        let mut run = Test::new()
            .args(["-j1", "--live", option, code, "--setup", setup, ":::", &go])
            .stdout("first\nlast\n")
            .spawn();
        assert_eq!(run.line(), "first");
        fs::write(&go, "").expect("a file");
        run.finish();
    }
}

/// A worker that prints two parts before its reply.
const WORKER: &str = "python3 -c '
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    for part in \"p\", [1]:
        print(json.dumps({\"id\": request[\"id\"], \"part\": part}), flush=True)
    last = request[\"args\"][0]
    reply = {\"error\": \"no\"} if last == \"fail\" else {\"result\": None if last == \"none\" else last}
    print(json.dumps({\"id\": request[\"id\"]} | reply), flush=True)'";

#[test]
fn the_parts_of_a_worker_are_a_list_with_its_result() {
    if !need("python3") {
        return;
    }
    let args = ["-w", WORKER, "f", ":::", "a", "none"];
    for pipeline in ["1", "8", "auto"] {
        Test::new()
            .args(["-j1", "--format=value", "--pipeline", pipeline])
            .args(args)
            .stdout("[\"p\",[1],\"a\"]\n[\"p\",[1]]\n")
            .run();
        Test::new()
            .args(["-j1", "--format=text", "--live", "--pipeline", pipeline])
            .args(args)
            .stdout("p\n[1]\na\np\n[1]\n")
            .run();
    }
    Test::new()
        .args(["--format=text", "-w", WORKER, "f", ":::", "fail"])
        .stdout("")
        .stderr_has("f(\"fail\"): no (job 1")
        .status(1)
        .run();
    Test::new()
        .args(["--live", "-w", WORKER, "f", ":::", "a"])
        .stderr_has("--live passes lines on as they come: use it with --format text")
        .status(2)
        .run();
}

#[test]
fn parts_without_a_request_or_an_end_are_bounded() {
    if !need("python3") {
        return;
    }
    let endless = "python3 -c '
import sys
for line in sys.stdin:
    while True: print(\"{\\\"part\\\":\\\"\" + \"x\" * 9000 + \"\\\"}\", flush=True)'";
    Test::new()
        .args(["-j1", "--grace=0.1s", "--max-reply=1M", "-w", endless, "f", ":::", "a"])
        .any_stdout()
        .stderr_has("the parts of its result are together longer than the limit of 1048576 bytes (--max-reply): ")
        .status(1)
        .run();
    let unasked = "python3 -c '
import sys
for line in sys.stdin:
    print(\"{\\\"id\\\":99,\\\"part\\\":1}\", flush=True)'";
    Test::new()
        .args(["-j1", "--grace=0.1s", "-w", unasked, "f", ":::", "a"])
        .any_stdout()
        .stderr_has("unknown id, 99")
        .status(1)
        .run();
}

#[test]
fn a_generator_waits_for_a_slow_reader() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let log = crew.path("log");
    let setup = format!(
        "def g():\n with open({log:?}, 'w') as f:\n  for n in range(3000):\n   f.write('.'); f.flush()\n   yield 'x' * 20000"
    );
    let mut run = Test::new()
        .args(["-j1", "--live", "--python", "g()", "--setup", &setup, ":::", "a"])
        .hold_stdout()
        .any_stdout()
        .spawn();
    wait_for("the generator to begin", || fs::metadata(&log).is_ok_and(|log| log.len() > 0));
    let reached = wait_for_rest("the generator", || fs::metadata(&log).map_or(0, |log| log.len()));
    assert!((1..3000).contains(&reached), "{reached}");
    assert!(peak_memory(run.pid()) < 48 << 20);
    run.release_stdout();
    let output = run.finish();
    assert_eq!(output.lines().len(), 3000);
}

#[test]
fn the_wait_for_a_slow_reader_counts_for_no_timeout() {
    // A generator of 3 MB, and many results of 60 kB that come at a time.
    let items = "('x' * 20000 for n in range(150))";
    let many = "import asyncio\nasync def f(x):\n await asyncio.sleep(.05)\n return x * 60000";
    let letters: Vec<String> = (0..100).map(|_| "a".to_owned()).collect();
    let python = |options: &[&str], code: &[&str], count| {
        let test = Test::new().args(["-j1", "--grace=0.1s"]).args(options).args(code);
        (test, count)
    };
    let yes = "yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | head -n 60000";
    let mut tests =
        vec![python(&["--live", "--silence=5s"], &["sh", "-c", yes, ":::", "a"], 60000)];
    if need("python3") {
        tests.push(python(&["--live", "--timeout=5s"], &["--python", items, ":::", "a"], 150));
        tests.push(python(&["--live", "--silence=5s"], &["--python", items, ":::", "a"], 150));
        let code = ["--pipeline=100", "--python", "f(x)", "--setup", many, ":::"];
        let code: Vec<&str> = code.into_iter().chain(letters.iter().map(String::as_str)).collect();
        tests.push(python(&["--timeout=5s"], &code, 100));
    }
    let runs: Vec<_> = tests
        .into_iter()
        .map(|(test, count)| (test.hold_stdout().any_stdout().spawn(), count))
        .collect();
    let began = Instant::now();
    wait_for("the time to be over", || began.elapsed() > Duration::from_millis(5500));
    for (mut run, count) in runs {
        run.release_stdout();
        assert_eq!(run.finish().lines().len(), count);
    }
}

/// A generator of numbers, one that waits for a file, one of large values, and one that kills its process.
const FUNCTIONS: &str = "import os, time
def count(n): yield from range(int(n))
def wait(path):
    yield 'first'
    while not os.path.exists(path): time.sleep(.01)
    yield 'last'
def large(n):
    for _ in range(int(n)): yield 'x' * 20000
def die(n):
    yield 'part'
    time.sleep(.1)
    os.kill(os.getpid(), 9)
";

#[test]
fn parts_come_through_a_server_and_from_other_machines_as_here() {
    if !need("python3") {
        return;
    }
    let machines = Machines::new();
    let crew = Crew::new();
    let file = crew.file("f.py", FUNCTIONS);
    for (pool, jobs) in [
        (["-w", WORKER], &["f", ":::", "a", "none", "fail"][..]),
        (["--python", &file], &["count", ":::", "3", "0", "x", "1"]),
        (["--python", &file], &["die", ":::", "3"]),
    ] {
        let served = Served::with(1, &pool);
        for options in [
            &["--live", "--tag", "--format=text", "--retries=1", "--retry-delay=0.01"][..],
            &["--format=record"],
        ] {
            let local = || Test::new().arg("-j1").args(pool).args(options).args(jobs);
            assert_same(local(), served.call().args(options).args(jobs));
            let remote = machines.test("1/alpha").args(pool).args(options).args(jobs);
            assert_same(local(), remote);
        }
    }
}

#[test]
fn parts_come_over_a_link_at_once_and_only_to_those_who_want_them() {
    if !need("python3") {
        return;
    }
    let machines = Machines::new();
    let crew = Crew::new();
    let file = crew.file("f.py", FUNCTIONS);
    let served = Served::with(2, &["--python", &file]);
    let go = crew.path("go");
    let wait = ["--format=text", "wait", ":::", &go];
    let remote = machines.test("1/alpha").args(["--python", &file]);
    let mut live = [served.call(), remote]
        .map(|test| test.arg("--live").args(wait).stdout("first\nlast\n").spawn());
    let whole = served.call().args(wait).stdout("[\"first\",\"last\"]\n").spawn();
    for run in &mut live {
        assert_eq!(run.line(), "first");
    }
    fs::write(&go, "").expect("a file");
    for run in live {
        run.finish();
    }
    assert_eq!(whole.finish().lines().len(), 1);
}

#[test]
fn parts_that_a_caller_does_not_read_hold_up_nobody() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let file = crew.file("f.py", FUNCTIONS);
    let served = Served::start(crew, 1, &["--python", &file, "--max-reply=16M"]);
    let large = |count: &str| {
        let call = served.call().args(["--live", "--format=text", "large", ":::", count]);
        call.hold_stdout().any_stdout().any_status().any_stderr().spawn()
    };
    let others = || served.call().args(["--format=text", "count", ":::", "2"]).stdout("[0,1]\n");
    // Nobody else waits for the slot, so the generator waits for its reader.
    let mut slow = large("900");
    wait_for("the job to run", || served.status()["running"] == 1);
    others().run();
    slow.release_stdout();
    assert_eq!(slow.finish().lines().len(), 900);
    // This one has more than the server keeps.
    let mut endless = large("1000000");
    wait_for("the job to run", || served.status()["running"] == 1);
    let waiting = others().spawn();
    wait_for_rest("the server", || peak_memory(served.server.as_ref().expect("a server").pid()));
    assert!(peak_memory(served.server.as_ref().expect("a server").pid()) < 64 << 20);
    endless.kill();
    endless.release_stdout();
    waiting.finish();
    endless.finish();
}
