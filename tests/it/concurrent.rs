//! Many jobs at a time in one process: coroutines in Python, promises in Node.js, and workers that say that they
//! work on several requests. Each job waits until all others have begun, so a job too few never ends.

use crate::common::{Crew, Test, failures, need, without_times};
use crate::hosts_kit::Machines;
use crate::server_kit::Served;

/// Code in which each job waits until `COUNT` jobs have begun, and returns `x`.
struct Language {
    program: &'static str,
    option: &'static str,
    setup: &'static str,
    meet: &'static str,
    /// Never ends.
    hang: &'static str,
    /// Tries to end the process.
    exit: &'static str,
    /// What the exit becomes.
    exited: &'static str,
    /// Fails with `no such thing`.
    fail: &'static str,
    /// Throws and exits after its job has been answered, also in the first job of its process.
    late: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        program: "python3",
        option: "--python",
        setup: "
import asyncio, sys, time
begun = set()
async def meet(x, count):
    begun.add(x)
    while len(begun) < count:
        await asyncio.sleep(0.002)
    return x
async def hang(x):
    await asyncio.sleep(3600)
async def leave(x):
    await asyncio.sleep(0)
    sys.exit(3)
async def fail(x):
    raise ValueError('no such thing')
def interrupt():
    raise KeyboardInterrupt
async def late(x):
    asyncio.get_running_loop().call_soon(interrupt)
    asyncio.get_running_loop().call_soon(sys.exit)
    return await meet(x, 1)
",
        meet: "meet(x, COUNT)",
        hang: "hang(x) if x == '2' else meet(x, COUNT)",
        exit: "leave(x) if x == '2' else meet(x, COUNT)",
        exited: "SystemExit: 3",
        fail: "fail(x) if x == '2' else meet(x, COUNT)",
        late: "late(x) if x < '3' else meet(x, COUNT)",
    },
    Language {
        program: "node",
        option: "--node",
        setup: "
const begun = new Set();
const sleep = (time) => new Promise((done) => setTimeout(done, time));
async function meet(x, count) {
  begun.add(x);
  while (begun.size < count) await sleep(2);
  return x;
}
const hang = () => new Promise(() => {});
const leave = async () => { await sleep(1); process.exit(3); };
const fail = () => new Promise(() => setTimeout(() => { throw new Error('no such thing'); }, 1));
const late = (x) => {
  setTimeout(() => { begun.add('a'); throw new Error('late'); }, 5);
  setTimeout(() => { begun.add('b'); process.exit(3); }, 5);
  setTimeout(() => { begun.add('c'); Promise.reject(new Error('late')); }, 5);
  return Promise.resolve(x);
};
",
        meet: "meet(x, COUNT)",
        hang: "x === '2' ? hang() : meet(x, COUNT)",
        exit: "x === '2' ? leave() : meet(x, COUNT)",
        exited: "process.exit(3)",
        fail: "x === '2' ? fail() : meet(x, COUNT)",
        late: "x < '3' ? late(x) : meet(x, COUNT + (x === '3' ? 3 : 0))",
    },
];

fn languages() -> impl Iterator<Item = Language> {
    LANGUAGES.into_iter().filter(|language| need(language.program))
}

impl Language {
    /// A run of this code for the lines 1 to `lines`, of which `count` must meet.
    fn test(&self, code: &str, lines: usize, count: usize, options: &[&str]) -> Test {
        let lines = (1..=lines).map(|line| format!("{line}\n")).collect::<String>();
        Test::new()
            .arg("-j1")
            .args(options)
            .args([self.option, &code.replace("COUNT", &count.to_string()), "--setup", self.setup])
            .stdin(lines)
    }
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(|number| format!("{number}\n")).collect()
}

#[test]
fn as_many_jobs_run_at_a_time_as_the_pipeline_says() {
    for language in languages() {
        language.test(language.meet, 40, 40, &["--pipeline", "40"]).stdout(numbers(1..=40)).run();
        // At least 16, if the user does not say how many.
        language.test(language.meet, 16, 16, &[]).stdout(numbers(1..=16)).run();
    }
}

#[test]
fn jobs_that_come_one_by_one_run_at_a_time() {
    for language in languages() {
        let mut run = language
            .test(language.meet, 0, 3, &["--pipeline", "3"])
            .stdin_open()
            .stdout(numbers(1..=3))
            .spawn();
        for line in 1..=3 {
            run.write(&format!("{line}\n"));
        }
        assert_eq!(run.line(), "1");
        run.close_stdin();
        run.finish();
        // Also if the process was idle before.
        let first_alone = match language.program {
            "python3" => "meet(x, 1 if x == '1' else COUNT)",
            _ => "meet(x, x == '1' ? 1 : COUNT)",
        };
        let test = language.test(first_alone, 0, 4, &["--pipeline", "3"]);
        let mut run = test.stdin_open().stdout(numbers(1..=4)).spawn();
        run.write("1\n");
        assert_eq!(run.line(), "1");
        for line in 2..=4 {
            run.write(&format!("{line}\n"));
        }
        assert_eq!(run.line(), "2");
        run.close_stdin();
        run.finish();
    }
}

#[test]
fn a_timeout_cancels_its_own_task() {
    for language in languages() {
        let output = language
            .test(language.hang, 5, 4, &["--pipeline", "5", "--timeout", "0.6s", "--grace", "60s"])
            .stdout(numbers([1, 3, 4, 5]))
            .any_stderr()
            .status(1)
            .run();
        let said = without_times(&output.stderr);
        assert_eq!(failures(&said), ["procpool: failed: 2: timed out after 600ms (job 2, line 2)"]);
    }
}

#[test]
fn an_exit_and_an_exception_cost_their_own_job() {
    for language in languages() {
        for (code, message) in [(language.exit, language.exited), (language.fail, "no such thing")]
        {
            let output = language
                .test(code, 5, 4, &["--pipeline", "5", "--retries", "0"])
                .stdout(numbers([1, 3, 4, 5]))
                .any_stderr()
                .status(1)
                .run();
            let failed = failures(&output.stderr);
            assert!(failed.len() == 1 && failed[0].contains(message), "{failed:?}");
        }
        let late = language.test(language.late, 5, 3, &["--pipeline", "5"]);
        late.stdout(numbers(1..=5)).any_stderr().run();
    }
    // Results that are no promises: the callback is that of a job that has been answered.
    if need("node") {
        let code = "setTimeout(() => { throw new Error(x); }), x";
        Test::new()
            .args(["-j1", "--node", code, ":::", "1", "2", "3"])
            .stdout(numbers(1..=3))
            .any_stderr()
            .run();
    }
}

/// All jobs that the process has read fail, and no other does. A message that names its job fails that one alone.
#[test]
fn what_one_job_does_to_its_process_costs_no_job_that_was_not_there() {
    if !need("python3") {
        return;
    }
    let all = "its worker was on 3 jobs, and any of them may be the cause";
    let setup = "
import asyncio, os
async def f(x, what):
    if x == '2':
        await asyncio.sleep(.05)
        return what()
    await asyncio.sleep(.2 if x < '4' else 0)
    return x
def grow():
    global held
    held = b'x' * 300_000_000
    import time
    time.sleep(60)
";
    for (what, option, message, failed) in [
        ("os.abort", "--max-reqs=0", "killed by SIGABRT", 3),
        ("grow", "--max-memory=200M", "more than 200 MiB (--max-memory)", 3),
        (
            "lambda: 'x' * 50000",
            "--max-reply=20K",
            "its reply is longer than the limit of 20480",
            1,
        ),
    ] {
        let run = |retries| {
            let output = Test::new()
                .args(["-j1", "--pipeline=3", "--grace=0.1s", "--retry-delay=1ms", option])
                .args([retries, "--setup", setup, "--python", &format!("f(x, {what})")])
                .args([":::", "1", "2", "3", "4", "5"])
                .any_stdout()
                .any_stderr()
                .status(1)
                .run();
            let failures = failures(&output.stderr).iter().map(ToString::to_string).collect();
            (String::from_utf8(output.stdout).expect("stdout is UTF-8"), failures)
        };
        let (stdout, failures): (String, Vec<String>) = run("--retries=0");
        assert_eq!(stdout, if failed == 1 { numbers([1, 3, 4, 5]) } else { numbers([4, 5]) });
        assert_eq!(failures.len(), failed, "{failures:?}");
        let is_said = |line: &String| line.contains(message) && (failed == 1 || line.contains(all));
        assert!(failures.iter().all(is_said), "{failures:?}");
        if failed > 1 {
            // The suspects are tried again one by one.
            let (stdout, failures) = run("--retries=1");
            assert_eq!(stdout, numbers([1, 3, 4, 5]));
            assert_eq!(failures.len(), 1, "{failures:?}");
            assert!(failures[0].contains(message) && !failures[0].contains(all), "{failures:?}");
        }
    }
}

#[test]
fn a_silent_worker_is_told_to_cancel_the_jobs_that_are_silent() {
    for language in languages() {
        let output = language
            .test(language.hang, 5, 4, &["--pipeline", "5", "--silence", "0.6s", "--grace", "60s"])
            .stdout(numbers([1, 3, 4, 5]))
            .any_stderr()
            .status(1)
            .run();
        let said = without_times(&output.stderr);
        assert_eq!(
            failures(&said),
            ["procpool: failed: 2: it printed nothing for 600ms (--silence) (job 2, line 2)"]
        );
    }
}

#[test]
fn code_that_blocks_all_tasks_ends_its_process() {
    if !need("python3") {
        return;
    }
    let code = "time.sleep(3600) if x == '2' else meet(x, 1)";
    let options = ["--pipeline", "1", "--timeout", "0.3s", "--grace", "0.2s"];
    let output = LANGUAGES[0].test(code, 3, 1, &options);
    let output = output.stdout("1\n3\n").any_stderr().status(1).run();
    let failed = failures(&output.stderr);
    assert!(failed.len() == 1 && failed[0].contains("2: timed out after 300ms"), "{failed:?}");
}

#[test]
fn functions_of_a_file_run_at_a_time() {
    for Language { program, option, setup, .. } in languages() {
        let crew = Crew::new();
        let (name, text) = match program {
            "python3" => ("f.py", setup.to_owned()),
            _ => ("f.js", format!("{setup}\nmodule.exports = {{ meet }};")),
        };
        let file = crew.file(name, text);
        Test::new()
            .args([
                "-j1",
                "--pipeline",
                "4",
                "--format",
                "text",
                "--input",
                "json",
                option,
                &file,
                "meet",
            ])
            .stdin("[1,4]\n[2,4]\n[3,4]\n[4,4]\n")
            .stdout(numbers(1..=4))
            .run();
    }
}

/// A worker that answers nothing until it has 8 requests, and then all of them, the last one first. With `QUICK` it
/// answers that many at once before. With `MEET` it waits until two workers have 8 requests.
const GATHERER: &str = "python3 -c '
import json, os, sys, time
open_requests, cancelled = [], []
quick, meet = int(os.environ.get(\"QUICK\", 0)), os.environ.get(\"MEET\")
if os.environ[\"SAYS\"] == \"1\":
    print(\"{\\\"concurrent\\\":true}\", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if \"cancel\" in request:
        print(json.dumps({\"id\": request[\"cancel\"], \"error\": \"cancelled\"}), flush=True)
        continue
    if request[\"args\"] == [\"hang\"]:
        continue
    open_requests.append(request)
    if quick > 0:
        quick -= 1
        request = open_requests.pop()
        print(json.dumps({\"id\": request[\"id\"], \"result\": request[\"args\"][0]}), flush=True)
    if len(open_requests) == 8:
        if meet:
            open(os.path.join(meet, str(os.getpid())), \"w\").close()
            while len(os.listdir(meet)) < 2:
                time.sleep(0.002)
        for request in reversed(open_requests):
            print(json.dumps({\"id\": request[\"id\"], \"result\": request[\"args\"][0]}), flush=True)
        open_requests = []
'";

#[test]
fn a_worker_gets_as_many_jobs_as_the_user_says() {
    if !need("python3") {
        return;
    }
    let run = |slots: &[&str], says, jobs| {
        let options = ["--pipeline", "8", "--format", "text", "-w", GATHERER, "f"];
        let test = Test::new().env("SAYS", says).args(slots).args(options);
        test.stdin(numbers(1..=jobs)).stdout(numbers(1..=jobs))
    };
    for says in ["0", "1"] {
        run(&["-j1"], says, 16).run();
        // Quick jobs are sent many at once, but that must not keep the rest of the window empty.
        run(&["-j1"], says, 216).env("QUICK", "200").run();
        // Each of two workers has half of the jobs: none waits behind another before the other has one.
        let meet = Crew::new();
        run(&["-j2"], says, 16).env("MEET", meet.path("")).run();
    }
}

#[test]
fn a_worker_of_another_machine_or_of_a_server_gets_as_many_jobs() {
    if !need("python3") {
        return;
    }
    let python = &LANGUAGES[0];
    let options = |test: Test, jobs| {
        let code = python.meet.replace("COUNT", "16");
        let test = test.args(["--python", &code, "--setup", python.setup]);
        test.stdin(numbers(1..=jobs)).stdout(numbers(1..=jobs))
    };
    // The second half of the jobs comes at a worker that is known to work on several.
    for (hosts, pipeline) in [("1/a", "auto"), ("1/a", "16")] {
        let machines = Machines::new();
        options(machines.test(hosts).args(["--pipeline", pipeline]), 32).run();
    }
    // Each machine has half of the jobs, not the first one all of them.
    let (machines, meet) = (Machines::new(), Crew::new());
    let test = machines.test("1/a,1/b").env("SAYS", "0").env("MEET", meet.path(""));
    let test = test.args(["--pipeline", "8", "--format", "text", "-w", GATHERER, "f"]);
    test.stdin(numbers(1..=16)).stdout(numbers(1..=16)).run();
    // A job that takes each machine down is lost alone, although others were in its process.
    let down = "x if await asyncio.sleep(0.01) else os.kill(os.getppid(), 9) if x == '70' else x";
    let test = machines.test("1/a,1/b,1/c").args(["--setup", "import asyncio, os"]);
    test.args(["--python", down])
        .patience(120)
        .stdin(numbers(1..=120))
        .stdout(numbers((1..=120).filter(|&line| line != 70)))
        .stderr_has("failed: 70: 3 machines that ran it were lost, the last one was ")
        .stderr_has("1 of 120 jobs failed")
        .status(1)
        .run();
    let code = python.meet.replace("COUNT", "16");
    let served = Served::with(1, &["--python", &code, "--setup", python.setup]);
    for _ in 0..2 {
        served.call().stdin(numbers(1..=16)).stdout(numbers(1..=16)).run();
    }
    // A caller that takes fewer slots than the server has says how many of its jobs run at a time.
    let served = Served::with(2, &["--python", "await count(x)", "--setup", COUNTING]);
    served.call().arg("-j1").stdin(numbers(1..=6)).stdout("1\n".repeat(6)).run();
}

/// Code that returns how many of its calls run.
const COUNTING: &str = "
import asyncio
running = 0
async def count(x):
    global running
    running += 1
    most = 0
    for _ in range(10):
        most = max(most, running)
        await asyncio.sleep(0.001)
    running -= 1
    return most
";

#[test]
fn a_worker_is_told_to_cancel_a_job() {
    if !need("python3") {
        return;
    }
    let lines = "hang\n".to_owned() + &numbers(1..=8);
    let output = Test::new()
        .env("SAYS", "1")
        .args(["-j1", "--pipeline", "9", "--format", "text", "--timeout", "2s", "--grace", "60s"])
        .args(["-w", GATHERER, "f"])
        .stdin(lines)
        .stdout(numbers(1..=8))
        .any_stderr()
        .status(1)
        .run();
    assert_eq!(
        failures(&without_times(&output.stderr)),
        ["procpool: failed: f(\"hang\"): timed out after 2s (job 1, line 1)"]
    );
}
