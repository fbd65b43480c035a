//! What a slot gives its processes: variables, folders and CPUs, workers before the first job, and a limit of
//! memory.

use std::fs;

use crate::common::{Crew, Test, assert_has, message, need, result, wait_for};

fn python(code: &str, setup: &str) -> Test {
    Test::new().args(["-j2", "--setup", setup, "--python", code])
}

#[test]
fn variables_and_folders_of_slots() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    for folder in ["d0", "d1", "work"] {
        fs::create_dir(crew.path(folder)).expect("a folder");
    }
    let code = "'%s %s %s' % (os.environ['A'], os.environ['PROCPOOL_SLOT'], os.path.basename(os.getcwd()))";
    let output = python(code, "import os")
        .args(["--env=A=g{%0}:{%}=", "--cwd=d{%0}", "--prestart=2"])
        .args(["--route=1", "--format=text"])
        .cwd(crew.path(""))
        .stdin((0..50).map(|n| format!("{n}\n")).collect::<String>())
        .any_stdout()
        .run();
    let mut lines = output.lines();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, ["g0:1= 1 d0", "g1:2= 2 d1"]);
    // Programs and files of code are looked for where procpool is.
    crew.file("handler", "#!/bin/sh\nwhile read -r line; do pwd; done\n");
    crew.file("ops.py", "import os\ndef where(): return os.path.basename(os.getcwd())\n");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(crew.path("handler"), fs::Permissions::from_mode(0o755))
        .expect("a program");
    let output = Test::new()
        .workers(1, "./handler")
        .args(["--protocol=raw", "--cwd=d{%0}", "--env=B=1"])
        .cwd(crew.path(""))
        .stdin("x\n")
        .any_stdout()
        .run();
    assert!(output.lines()[0].ends_with("/d0"));
    Test::new()
        .args(["--python=ops.py", "--cwd=work", "--format=value"])
        .cwd(crew.path(""))
        .jobs(["where"])
        .stdout("\"work\"\n")
        .run();
}

#[test]
fn what_a_worker_does_not_have_is_refused() {
    let worker = || Test::new().workers(1, "cat").stdin("x\n");
    worker().arg("--env=A={1}").stderr_has("it has {%}").status(2).run();
    worker().arg("--env=A").stderr_has("expected NAME=VALUE").status(2).run();
    worker()
        .arg("--cwd=/no/such/folder")
        .stderr_has("/no/such/folder")
        .any_stdout()
        .any_status()
        .run();
    let output = worker()
        .args(["--protocol=raw", "--cwd=no{%}", "--start-limit=1"])
        .any_stderr()
        .any_stdout()
        .status(126)
        .run();
    assert_has(&output.stderr, &["'no1', which is no folder"]);
}

#[test]
fn each_slot_has_its_cpus() {
    if !need("python3") {
        return;
    }
    let cpus = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !cpus.contains("Cpus_allowed_list") {
        println!("skipped: the system does not tell the CPUs of a process");
        return;
    }
    // A child of the worker has the same.
    let code = "str(sorted(os.sched_getaffinity(0))) + subprocess.run(['python3', '-c', \
                'import os; print(sorted(os.sched_getaffinity(0)))'], capture_output=True, text=True).stdout";
    let output = python(code, "import os, subprocess")
        .args(["--cpu-affinity", "--prestart=2", "--route=1", "--format=text"])
        .stdin("1\n2\n3\n4\n")
        .any_stdout()
        .run();
    let mut seen: Vec<&str> = output.lines();
    seen.retain(|line| !line.is_empty());
    for line in &seen {
        let (one, two) = line.split_once(']').expect("two lists");
        assert_eq!(format!("{one}]"), two, "{line}");
    }
    seen.sort_unstable();
    seen.dedup();
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(seen.len(), count.min(2), "{seen:?}");
    // Commands too.
    let output = Test::new()
        .args([
            "-j1",
            "--cpu-affinity",
            "--shell",
            "grep Cpus_allowed_list /proc/self/status #",
            ";",
        ])
        .args(["echo", "{}"])
        .stdin("x\n")
        .any_stdout()
        .any_stderr()
        .any_status()
        .run();
    assert!(!output.stderr.contains("panicked"));
}

#[test]
fn workers_before_the_first_job() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(3, crew.worker(""))
        .args(["--prestart=2"])
        .stdin_open()
        .any_stdout()
        .spawn();
    crew.await_logged("start", 2);
    run.write("first [1]\n");
    assert_eq!(result(&run.record()), 1);
    run.finish();
    assert_eq!(crew.logged("start").len(), 2);
    // As many as there are slots at most, and none is needed.
    Test::new().workers(1, crew.worker("")).args(["--prestart=9"]).run();
}

/// Uses so many MiB in a child of its own, until it is killed.
const EATER: &str = "subprocess.run([sys.executable, '-c', 'import sys, time\\nx = bytearray(int(sys.argv[1]) << 20)\\n\
                     if len(x) > 1 << 24: time.sleep(100)\\nprint(1)', x], capture_output=True).stdout.decode().strip()";

#[test]
fn a_worker_whose_child_uses_too_much_memory() {
    if !need("python3") {
        return;
    }
    let output = python(EATER, "import subprocess, sys")
        .args(["--max-memory=200M", "--format=record", "--summary"])
        .stdin("1\n400\n2\n3\n")
        .any_stdout()
        .any_stderr()
        .status(1)
        .run();
    let records = output.records();
    assert_has(
        message(&records[1], "memory"),
        &["MiB of memory, more than 200 MiB (--max-memory)"],
    );
    for record in [&records[0], &records[2], &records[3]] {
        assert_eq!(result(record), "1");
    }
    assert_has(&output.stderr, &["memory: 1", "1 max-memory"]);
}

#[test]
fn a_command_whose_child_uses_too_much_memory() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    let script = "import subprocess, sys; x = sys.argv[1]; print(".to_owned() + EATER + ")";
    let records = Test::new()
        .args(["-j2", "--max-memory=200M", "--retries=1", "--retry-on=memory", "--format=record"])
        .args(["python3", "-c", &script, "{}", &crew.path("mark")])
        .stdin("1\n400\n")
        .status(1)
        .records();
    assert_eq!(result(&records[0])["stdout"], "1\n");
    assert_has(
        message(&records[1], "memory"),
        &["MiB of memory, more than 200 MiB (--max-memory)"],
    );
    assert_eq!(records[1]["attempts"], 2);
    let mark = crew.path("mark");
    wait_for("the end of the children", || crate::common::leftovers(&mark).is_empty());
}

#[test]
fn memory_that_processes_share_counts_once() {
    if !need("python3") {
        return;
    }
    // Four processes that have the same 100 MiB, while several looks are taken.
    let script = "import os, time\nx = bytearray(b'x') * (100 << 20)\n\
                  for _ in range(3):\n    if os.fork() == 0:\n        time.sleep(0.5)\n        os._exit(0)\n\
                  for _ in range(3):\n    os.wait()\nprint(len(x) >> 20)";
    Test::new()
        .args(["-j1", "--max-memory=200M", "python3", "-c", script])
        .stdin("x\n")
        .stdout("100\n")
        .run();
}

#[test]
fn a_silent_command() {
    let script = "for i in 1 2 3 4 5 6 7; do echo $i; sleep 0.2; done; [ $0 = quick ] || sleep 100";
    let records = Test::new()
        .args(["-j2", "--silence=1s", "--grace=0.1s", "--format=record", "sh", "-c", script])
        .stdin("quick\nslow\n")
        .status(1)
        .records();
    assert_eq!(result(&records[0])["exit"], 0);
    assert_has(message(&records[1], "timeout"), &["it printed nothing for 1s (--silence)"]);
}
