//! `--preload`: workers that are forked from a parent which has run the setup. They are as other workers are.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Crew, Test, assert_has, failures, heavy, json, leftovers, need, wait_for};
use crate::hosts_kit::Machines;
use serde_json::Value;

/// A language whose workers can be forked, and pieces of it.
struct Language {
    program: &'static str,
    option: &'static str,
    /// Prints `setup SLOT PID`.
    setup: &'static str,
    /// The line twice as a number, the worker's process, its group and its slot, as a list.
    look: &'static str,
    /// The process ends at some lines, fails, or goes on for too long.
    ends: &'static str,
    /// A table of `size` that all workers look things up in, and a lookup that takes a while.
    table: (&'static str, &'static str),
    /// Ignores TERM, and leaves a child that does so, too.
    stubborn: (&'static str, &'static str),
    /// What is done at the end of the parent, and by a job; what the setup has made is still there.
    end: (&'static str, &'static str),
}

const PYTHON: Language = Language {
    program: "python3",
    option: "--python",
    setup: "import os, sys, time; print('setup', os.environ['PROCPOOL_SLOT'], os.getpid())",
    look: "[int(x) * 2, os.getpid(), os.getpgid(0), os.environ['PROCPOOL_SLOT']]",
    ends: "sys.exit(3) if x == 'exit' else os.kill(os.getpid(), 9) if x == 'kill' \
           else time.sleep(60) if x == 'slow' else int('') if x == 'error' else x",
    table: (
        "import time; filler = bytearray(b'x') * 150_000_000\n\
         table = {n: str(n) * 3 for n in range(350_000)}",
        "[time.sleep(0.03), table[int(x) * 1000], filler[7]][1]",
    ),
    stubborn: (
        "import os, signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "subprocess.run(['sh', '-c', 'sleep ' + mark + ' & wait']) if x == '7' else time.sleep(0.002)",
    ),
    end: (
        "import atexit, os, sys, tempfile\n\
         atexit.register(lambda: print('the end of', os.environ['PROCPOOL_SLOT']))\n\
         folder = tempfile.TemporaryDirectory(); log = open(os.environ['LOG'], 'a')",
        "log.write(x + '\\n'); os.path.isdir(folder.name)",
    ),
};

const RUBY: Language = Language {
    program: "ruby",
    option: "--ruby",
    setup: "puts \"setup #{ENV['PROCPOOL_SLOT']} #{$$}\"",
    look: "[x.to_i * 2, $$, Process.getpgrp, ENV['PROCPOOL_SLOT']]",
    ends: "case x when 'exit' then exit(3) when 'kill' then Process.kill(:KILL, $$)\n\
           when 'slow' then sleep(60) when 'error' then Integer('') else x end",
    table: (
        "FILLER = 'x' * 150_000_000; T = (0...350_000).to_h { |n| [n, n.to_s * 3] }",
        "sleep(0.03); FILLER[7] && T[x.to_i * 1000]",
    ),
    stubborn: (
        "trap('TERM', 'IGNORE')",
        "x == '7' ? system('sh', '-c', \"sleep #{MARK} & wait\") : sleep(0.002)",
    ),
    end: (
        "at_exit { puts \"the end of #{ENV['PROCPOOL_SLOT']}\" }; LOG = File.open(ENV['LOG'], 'a')",
        "LOG.write(x + \"\\n\"); true",
    ),
};

/// The languages that are installed.
fn languages() -> impl Iterator<Item = &'static Language> {
    [&PYTHON, &RUBY].into_iter().filter(|language| need(language.program))
}

fn numbers(count: usize) -> String {
    (1..=count).map(|number| format!("{number}\n")).collect()
}

/// The children of a process that run an interpreter.
fn children(parent: u32, program: &str) -> Vec<u32> {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| read(thread.path().join("children").display().to_string()));
    let all: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<_>>())
        .collect();
    let name = |pid: &u32| read(format!("/proc/{pid}/comm"));
    all.into_iter().filter(|pid| name(pid).starts_with(program)).collect()
}

fn raw(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

#[test]
fn a_thousand_jobs_and_a_hundred_workers_of_one_setup() {
    for language in languages() {
        let output = Test::new()
            .args(["-j3", "--max-reqs", "10", "--preload", "--setup", language.setup])
            .args([language.option, language.look])
            .stdin(numbers(1000))
            .any_stdout()
            .any_stderr()
            .run();
        let setups: Vec<_> = output.stderr.lines().collect();
        assert!(setups.len() == 1 && setups[0].starts_with("setup 0 "), "{setups:?}");
        let mut workers = std::collections::HashSet::new();
        for (line, place) in output.lines().iter().zip(1_u64..) {
            let result = json(line);
            assert_eq!(result[0], place * 2);
            assert_eq!(result[1], result[2], "it leads a group");
            assert!(["1", "2", "3"].contains(&result[3].as_str().unwrap_or_default()), "{line}");
            workers.insert(result[1].as_u64());
        }
        assert!(output.lines().len() == 1000 && workers.len() >= 100, "{}", workers.len());
    }
}

#[test]
fn whatever_ends_a_worker_ends_one_job() {
    for language in languages() {
        let run = |preload: &[&str]| {
            let output = Test::new()
                .args(["-j1", "--timeout", "1", "--grace", "0.1"])
                .args(preload)
                .args([language.option, language.ends, "--setup", "", "--format", "record"])
                .args(if language.option == "--python" {
                    ["--setup", "import os, sys, time"]
                } else {
                    ["--setup", "nil"]
                })
                .jobs(["a", "exit", "b", "kill", "slow", "error", "c"])
                .any_stdout()
                .any_stderr()
                .status(1)
                .run();
            let of_kind = |record: &Value| {
                let error = &record["error"];
                let message = error["message"].as_str().unwrap_or_default();
                // Without the number of the process.
                let message: String = message.chars().filter(|c| !c.is_ascii_digit()).collect();
                (record["result"].clone(), error["kind"].clone(), message)
            };
            output.records().iter().map(of_kind).collect::<Vec<_>>()
        };
        let without = run(&[]);
        assert_eq!(without.len(), 7);
        assert_eq!(run(&["--preload"]), without, "{}", language.option);
    }
}

#[test]
fn eight_workers_share_a_table_of_200_mb() {
    for language in languages() {
        let mut run = Test::new()
            .args(["-j8", "--preload", "--setup", language.table.0])
            .args([language.option, language.table.1])
            .stdin_open()
            .any_stdout()
            .spawn();
        run.write(&numbers(64));
        for number in 1..=64 {
            assert_eq!(run.line(), format!("{number}000").repeat(3));
        }
        let parents = children(raw(run.pid()), language.program);
        assert_eq!(parents.len(), 1, "one parent");
        let workers = children(parents[0], language.program);
        assert_eq!(workers.len(), 8);
        let figure = |pid: &u32, name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
            line.trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
        };
        let sum: u64 = parents.iter().chain(&workers).map(|pid| figure(pid, "Pss:")).sum();
        let whole = figure(&parents[0], "Rss:");
        assert!(whole >= 180 && sum < 300, "{}: {sum} MB of {whole} MB", language.option);
        run.close_stdin();
        run.finish();
    }
}

#[test]
fn killed_while_workers_are_forked() {
    let tries = if heavy() { 15 } else { 2 };
    for (number, language) in
        (0..tries).flat_map(|n| languages().map(move |language| (n, language)))
    {
        // A number that nobody else sleeps for.
        let mark = format!("300.{}{number:03}", std::process::id());
        let name = if language.option == "--python" { "mark" } else { "MARK" };
        let setup = format!("{}; {name} = '{mark}'", language.stubborn.0);
        let mut run = Test::new()
            .args(["-j6", "--max-reqs", "1", "--grace", "30", "--preload", "--setup", &setup])
            .args([language.option, language.stubborn.1])
            .stdin_endless(&numbers(8))
            .any_stdout()
            .any_stderr()
            .killed_by(Signal::KILL)
            .spawn();
        // Children of busy workers are there, and other workers come and go.
        run.line();
        wait_for("a child of a worker", || {
            leftovers(&mark).iter().any(|line| line.contains(" sleep "))
        });
        run.ends_within(Duration::from_millis(number * 7 % 40));
        run.signal(Signal::KILL);
        run.finish();
        let end = Instant::now() + Duration::from_secs(3);
        wait_for("all processes to be gone", || {
            let left = leftovers(&mark);
            assert!(left.is_empty() || Instant::now() < end, "try {number}: {left:?}");
            left.is_empty()
        });
    }
}

#[test]
fn a_setup_that_fails_is_told_once() {
    for (language, setup, what) in
        [(&PYTHON, "x = 1 / 0", "ZeroDivisionError"), (&RUBY, "raise 'oh'", "RuntimeError: oh")]
    {
        if !need(language.program) {
            continue;
        }
        let output = Test::new()
            .args([
                "-j4",
                "--preload",
                "--setup",
                setup,
                language.option,
                "x",
                "--format",
                "record",
            ])
            .jobs(["a", "b", "c", "d"])
            .any_stdout()
            .any_stderr()
            .status(126)
            .run();
        let start = "procpool: the code can't be loaded: the parent of the workers (pid ";
        let told: Vec<_> = output.stderr.lines().filter(|line| line.starts_with(start)).collect();
        assert_eq!(told.len(), 1, "{}", output.stderr);
        assert_has(told[0], &[") exited with status 1; its stderr ended with: ", what]);
    }
    if need("python3") {
        // An expression would be checked before, which may take as long.
        let crew = Crew::new();
        let file = crew.file("f.py", "import time\ntime.sleep(60)\ndef f(x): return x\n");
        Test::new()
            .args(["--preload", "--start-timeout", "0.3", "--python", &file, "f", ":::", "a"])
            .any_stdout()
            .stderr_has(") was not ready after 300ms, and was killed by SIGTERM")
            .status(126)
            .run();
    }
}

#[test]
fn a_parent_that_dies_is_replaced() {
    if !need("python3") {
        return;
    }
    // The worker that kills the parent goes on, and the job after it is for another worker.
    let output = Test::new()
        .args(["-j1", "--max-reqs", "2", "--preload", "--setup", PYTHON.setup])
        .args(["--setup", "me = os.getpid()", "--python"])
        .arg("x == 'kill' and os.kill(me, 9), os.getpid(), me")
        .jobs(["kill", "b", "c", "d"])
        .any_stdout()
        .any_stderr()
        .run();
    let results: Vec<_> = output.lines().iter().map(|line| json(line)).collect();
    assert_eq!(results[0][1], results[1][1]);
    assert_ne!(results[1][2], results[2][2], "another parent");
    assert_has(
        &output.stderr,
        &[
            "procpool: the parent of the workers (pid ",
            ") was killed by SIGKILL (signal 9). The next ",
        ],
    );
    let setups = output.stderr.lines().filter(|line| line.starts_with("setup 0 ")).count();
    assert_eq!(setups, 2, "{}", output.stderr);
}

#[test]
fn an_interrupt_ends_a_setup_that_runs() {
    if !need("python3") {
        return;
    }
    let setup = "import sys, time; print('begun'); time.sleep(60)";
    for signal in [Signal::INT, Signal::TERM] {
        let run = Test::new()
            .args(["-j2", "--preload", "--setup", setup, "--python", "x", ":::", "a", "b"])
            .any_stderr()
            .killed_by(signal)
            .spawn();
        run.await_stderr("begun");
        run.signal(signal);
        let output = run.finish();
        assert_has(&output.stderr, &["the run was ended: 2 jobs read and not run"]);
    }
}

#[test]
fn each_worker_has_its_place() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    for slot in 1..=2 {
        fs::create_dir(crew.path(&format!("d{slot}"))).expect("there is room");
    }
    let code = "time.sleep(0.05); [os.environ['PROCPOOL_SLOT'], os.environ['A'], os.environ['B'], \
                os.path.basename(os.getcwd()), len(os.sched_getaffinity(0))]";
    const THREAD: &str = "import threading; e = threading.Event()\n\
                          threading.Thread(target=e.wait, name='t', daemon=True).start()";
    let output = Test::new()
        .args(["-j2", "--prestart", "2", "--preload", "--cpu-affinity", "--env", "A=gpu{%0}"])
        .args(["--env", "B=both", "--cwd", &crew.path("d{%}"), "--python", code])
        .args(["--setup", "import os, sys, time; print(os.environ.get('A'), os.environ['B'])"])
        .args(["--setup", THREAD])
        .jobs(["a", "b", "c", "d"])
        .any_stdout()
        .any_stderr()
        .run();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut slots = std::collections::HashSet::new();
    for result in output.lines().iter().map(|line| json(line)) {
        let slot: usize = result[0].as_str().and_then(|slot| slot.parse().ok()).expect("a slot");
        assert_eq!(result[1], format!("gpu{}", slot - 1));
        assert_eq!(
            (result[2].as_str(), result[3].as_str()),
            (Some("both"), Some(&*format!("d{slot}")))
        );
        assert!(result[4].as_u64().is_some_and(|count| (count as usize) < cpus.max(2)), "{result}");
        slots.insert(slot);
    }
    assert_eq!(slots.len(), 2);
    assert_has(
        &output.stderr,
        &["None both\n", "the setup has started threads, and no worker has them: t"],
    );
}

#[test]
fn what_the_setup_leaves_for_the_end_is_the_parent_s() {
    for language in languages() {
        let crew = Crew::new();
        Test::new()
            .args(["-j2", "--max-reqs", "1", "--preload", "--setup", language.end.0])
            .args([language.option, language.end.1])
            .env("LOG", crew.path("log"))
            .jobs(["a", "b", "c"])
            .stdout("true\n".repeat(3))
            .stderr("the end of 0\n")
            .run();
        let log = fs::read_to_string(crew.path("log")).expect("a log");
        let mut lines: Vec<&str> = log.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a", "b", "c"], "{}", language.option);
    }
}

#[test]
fn a_server_loads_the_code_anew() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let file = crew.file("f.py", "import os\ndef f(x): return [1, x]\n");
    let socket = crew.path("socket");
    let server = Test::new()
        .args(["--serve", &socket, "-j2", "--preload", "--python", &file])
        .any_stderr()
        .killed_by(Signal::KILL)
        .spawn();
    server.await_stderr("serving at");
    let version = || {
        let call = Test::new().args(["--connect", &socket, "--format", "value", "f", ":::", "a"]);
        json(call.any_stdout().run().lines()[0])[0].as_u64()
    };
    assert_eq!(version(), Some(1));
    crew.file("f.py", "def f(x): return [2, x]\n");
    server.signal(Signal::HUP);
    wait_for("the new code", || version() == Some(2));
    crew.file("f.py", "def f(x): return [3,\n");
    server.signal(Signal::HUP);
    server.await_stderr("the code was not loaded anew: the parent of the workers (pid ");
    // A caller who is there would be told that as well.
    server.await_stderr("was not replaced, and goes on");
    assert_eq!(version(), Some(2));
    // A parent that is stopped is told, as a worker is. One that is killed is replaced.
    let parent = || children(raw(server.pid()), "python3")[0];
    let signal = |pid: u32, signal| {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it is there");
    };
    signal(children(parent(), "python3")[0], Signal::STOP);
    server.await_stderr("the worker (pid ");
    server.await_stderr("was stopped by SIGSTOP");
    server.signal(Signal::KILL);
    let (pid, output) = (server.pid(), server.finish());
    assert!(!output.stderr.contains("panicked"), "{pid:?}: {}", output.stderr);
    wait_for("nothing to be left", || leftovers(&file).is_empty());
}

#[test]
fn each_machine_has_a_parent() {
    if !need("python3") {
        return;
    }
    let machines = Machines::new();
    let output = machines
        .test("2/alpha,1/:")
        .args(["--preload", "--max-reqs", "2", "--setup", "import os, time; me = os.getpid()"])
        .args(["--python", "time.sleep(0.02); [int(x), me, os.getpid()]"])
        .stdin(numbers(30))
        .any_stdout()
        .any_stderr()
        .run();
    let results: Vec<_> = output.lines().iter().map(|line| json(line)).collect();
    assert!(results.iter().zip(1_u64..).all(|(result, number)| result[0] == number), "{results:?}");
    let parents: std::collections::HashSet<_> = results.iter().map(|r| r[1].as_u64()).collect();
    let workers: std::collections::HashSet<_> = results.iter().map(|r| r[2].as_u64()).collect();
    assert!(parents.len() == 2 && workers.len() >= 15, "{} {}", parents.len(), workers.len());
}

#[test]
fn shared_memory_counts_in_parts() {
    if !need("python3") {
        return;
    }
    // Each process shows all of the table as its own: 8 times 90 MB.
    let setup = "import os, time; table = bytearray(b'x') * 90_000_000; me = os.getpid()";
    let output = Test::new()
        .args(["-j4", "--preload", "--max-memory", "80M", "--max-rss", "60M", "--setup", setup])
        .args(["--python", "y = bytearray(b'y') * 150_000_000 if x == '9' else 0; time.sleep(0.15 if y == 0 else 30); me"])
        .stdin(numbers(12))
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    assert_eq!(output.lines().len(), 11);
    let failed = failures(&output.stderr);
    assert_eq!(failed.len(), 1, "{}", output.stderr);
    assert_has(failed[0], &["failed: 9: its processes used", "more than 80 MiB (--max-memory)"]);
}

#[test]
fn where_it_has_no_effect_it_is_refused() {
    let refused = |args: &[&str], why: &str| {
        Test::new().arg("--preload").args(args).stderr_has(why).status(2).run();
    };
    refused(
        &["--node", "x"],
        "--preload is for --python and --ruby: workers of Node.js can't be forked",
    );
    refused(&["--perl", "x"], "workers of Perl can't be forked");
    refused(&["--sh", "x"], "workers of sh can't be forked");
    refused(&["-w", "cat"], "--preload is for code that is forked (--python or --ruby)");
    refused(&["echo"], "--preload is for code that is forked (--python or --ruby)");
}

/// The worker that is replaced goes on with its jobs while its replacement is forked.
#[test]
fn no_job_waits_for_the_fork_of_the_next_worker() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let gate = crew.path("gate");
    let setup = format!(
        "import os, time\n\
         forks = []\n\
         def wait():\n\
        \x20   forks.append(0)\n\
        \x20   while len(forks) > 1 and not os.path.exists({gate:?}): time.sleep(0.001)\n\
         os.register_at_fork(before=wait)"
    );
    let mut run = Test::new()
        .args(["-j1", "--max-reqs", "2", "--preload", "--setup", &setup, "--python", "x"])
        .stdin("1\n2\n3\n4\n")
        .any_stdout()
        .spawn();
    assert_eq!([run.line(), run.line()], ["1", "2"]);
    fs::write(&gate, "").expect("a file");
    assert_eq!([run.line(), run.line()], ["3", "4"]);
    run.finish();
}
