//! Jobs on other machines: the output is that of a local run, even if a host is lost.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::common::{Crew, Test, lines_of, need, state, wait_for, worker};
use crate::hosts_kit::{Machines, assert_same};

const HOSTS: &str = "2/alpha,2/beta,1/:";

fn numbers(count: u32) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

/// Runs it here and on hosts.
#[track_caller]
fn compare(input: &str, args: &[&str]) {
    let machines = Machines::new();
    let local = Test::new().arg("-j3").args(args).stdin(input);
    let remote = machines.test(HOSTS).args(args).stdin(input);
    assert_same(local, remote);
}

#[test]
fn commands_print_what_they_would_print_here() {
    let input = numbers(60);
    compare(&input, &["sh", "-c", "echo $0; echo err$0 >&2; exit $(($0 % 3))"]);
    compare(
        &input,
        &["--format", "record", "sh", "-c", "echo $0; printf '\\377'; exit $(($0 % 2))"],
    );
    compare(&input, &["--tag", "echo", "x", "{}"]);
    compare(&input, &["--shell", "echo {} | tr 1 2"]);
    compare(&input, &["--stdin", "cat"]);
    compare(&input, &["-n", "7", "echo"]);
    compare(&input, &["--retries", "2", "--retry-delay", "0.01", "sh", "-c", "exit 3"]);
    compare(&input, &["--live", "--tag", "sh", "-c", "echo a$0; echo b$0"]);
    compare("", &["echo"]);
    compare("last line without an end", &["echo"]);
    compare("a\u{e9}\nb\n", &["nosuchprogram", "{}"]);
    compare("a,b\n1,2\n3,4\n", &["--input", "csv", "--header", "echo", "{b}-{a}"]);
    compare("", &["echo", "{1}-{2}", ":::", "a", "b", ":::", "c", "d"]);
}

#[test]
fn job_lines_print_what_they_would_print_here() {
    let jobs = "echo [\"a\"]\nnonsense {\nsh [\"-c\",\"exit 4\"]\nnosuchprogram []\n\
                {\"cmd\":\"sleep\",\"args\":[\"9\"],\"timeout\":0.1,\"id\":\"slow\"}\n";
    compare(jobs, &[]);
    compare(jobs, &["--format", "value"]);
}

#[test]
fn workers_print_what_they_would_print_here() {
    let worker = worker("");
    let jobs: String =
        (0..200).map(|n| format!("echo [{n}]\nfail [{n}]\nnonsense\" {{\n")).collect();
    compare(&jobs, &["--worker", &worker]);
    compare(&jobs, &["--worker", &worker, "--max-reqs", "7", "--pipeline", "4"]);
    compare(&jobs, &["--worker", &worker, "--format", "value"]);
    compare("die []\necho [1]\n", &["-w", &worker, "--retries", "1", "--retry-delay", "0.01"]);
}

#[test]
fn filters_and_code_print_what_they_would_print_here() {
    if !crate::common::need("python3") {
        return;
    }
    let many = numbers(3_000);
    compare(&many, &["--protocol", "raw", "--pipeline", "auto", "-w", "sed -u s/1/x/"]);
    // An interpreter takes a while to start.
    let compare = |input: &str, args: &[&str]| {
        let machines = Machines::new();
        let local = Test::new().arg("-j1").args(args).stdin(input);
        assert_same(local, machines.test("1/alpha").args(args).stdin(input));
    };
    compare(&many, &["--python", "a[int(x)]", "--setup", "a = list(range(99999))"]);
    compare(&numbers(40), &["--python", "int(x) // (int(x) % 3)", "--format", "record"]);
}

#[test]
fn large_results_come_through() {
    if !crate::common::heavy() {
        return;
    }
    let big = format!("echo [\"{}\"]\n", "x".repeat(2 << 20));
    compare(&big, &["-w", &worker("")]);
    compare("1\n", &["sh", "-c", "head -c 5000000 /dev/zero; printf '\\377'"]);
}

#[test]
fn unordered_results_are_all_there() {
    let machines = Machines::new();
    let output = machines
        .test(HOSTS)
        .args(["--stream", "sh", "-c", "echo $0"])
        .stdin(numbers(200))
        .any_stdout()
        .run();
    let mut lines: Vec<u32> =
        output.lines().iter().map(|line| line.parse().expect("a number")).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_host_has_one_connection_and_its_number_of_slots() {
    let machines = Machines::new();
    // The first three wait for each other.
    let here = machines.path("here");
    fs::create_dir(&here).expect("a folder");
    let code = format!(
        ": >{here}/{{%}}; until set -- {here}/*; [ $# -ge 3 ]; do sleep 0.02; done; echo $PROCPOOL_HOST {{%}}"
    );
    let output =
        machines.test("3/alpha").args(["sh", "-c", &code]).stdin(numbers(60)).any_stdout().run();
    let mut lines = output.lines();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, ["alpha 1", "alpha 2", "alpha 3"]);
    assert_eq!(machines.connections(), 1);
}

#[test]
fn a_host_without_a_number_has_as_many_slots_as_cpus() {
    let machines = Machines::new();
    let cpus = std::thread::available_parallelism().expect("CPUs").get();
    // The first ones wait for each other.
    let here = machines.path("here");
    fs::create_dir(&here).expect("a folder");
    let code = format!(
        ": >{here}/{{%}}; until set -- {here}/*; [ $# -ge {cpus} ]; do sleep 0.02; done; echo {{%}}"
    );
    let output = machines
        .test("alpha")
        .args(["sh", "-c", &code])
        .stdin(numbers(4 * u32::try_from(cpus).expect("few")))
        .any_stdout()
        .run();
    let mut lines = output.lines();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), cpus);
    machines.test("alpha").args(["-j3", "echo", "{%}"]).stdin("1\n").any_stdout().run();
}

#[test]
fn the_host_is_named() {
    let machines = Machines::new();
    let log = machines.path("log");
    let output = machines
        .test("1/alpha")
        .args(["--detail", "--format", "record", "--joblog", &log, "echo", "{host}", "{}"])
        .stdin("a\n")
        .any_stdout()
        .run();
    let record = &output.records()[0];
    assert_eq!(record["host"], "alpha");
    assert_eq!(record["result"]["stdout"], "alpha a\n");
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.lines().nth(1).is_some_and(|line| line.starts_with("1\talpha\t")), "{log}");
    let here = machines.test("1/:").args(["--tag-string", "{#} {host}!", "echo", "{host}"]);
    here.stdin("a\n").stdout("1 :!\t: a\n").run();
    if !need("python3") {
        return;
    }
    machines
        .test("1/alpha")
        .args(["--python", "print(x, file=__import__('sys').stderr)"])
        .stdin("a\n")
        .stdout("null\n")
        .stderr("alpha: a\n")
        .run();
}

#[test]
fn a_run_is_resumed_on_other_hosts() {
    let machines = Machines::new();
    let journal = machines.path("journal");
    let fixed = machines.path("fixed");
    let command = format!("test $0 != 7 -o -e {fixed} && echo $0");
    let run = |hosts: &str, status: i32| {
        machines
            .test(hosts)
            .args(["--journal", &journal, "--resume", "sh", "-c", &command])
            .stdin(numbers(20))
            .any_stderr()
            .status(status)
            .any_stdout()
            .run()
    };
    let first = run("2/alpha", 1);
    assert_eq!(first.lines().len(), 19);
    fs::write(&fixed, "").expect("there is room");
    assert_eq!(String::from_utf8_lossy(&run("2/beta,1/:", 0).stdout), numbers(20));
}

// ---- Faults

#[test]
fn an_agent_that_is_killed_costs_no_job() {
    let machines = Machines::new();
    let mark = machines.path("once");
    let command = format!("test $0 != 5 || ! mkdir {mark} 2>/dev/null || kill -9 $PPID; echo $0");
    // Nothing waits until the host has been silent for its time.
    machines
        .test("2/alpha,2/beta")
        .args(["--host-timeout", "1h", "sh", "-c", &command])
        .stdin(numbers(100))
        .stdout(numbers(100))
        .stderr_has("is lost: ")
        .stderr_has("was killed by SIGKILL (signal 9)")
        .run();
}

#[test]
fn an_agent_that_freezes_costs_no_job() {
    let machines = Machines::new();
    let mark = machines.path("once");
    let command =
        format!("test $0 != 5 || ! mkdir {mark} 2>/dev/null || kill -STOP $PPID; echo $0");
    machines
        .test("2/alpha,2/beta")
        .args(["--host-timeout", "1", "sh", "-c", &command])
        .stdin(numbers(40))
        .stdout(numbers(40))
        .stderr_has("is lost: it has given no sign of life for 1s")
        .run();
}

/// Nothing comes through, and nothing closes.
#[test]
fn a_link_that_stalls_costs_no_job_and_leaves_no_process() {
    let crew = Crew::new();
    let machines = Machines::new();
    // Only the link of alpha is stopped, at the first job that runs there.
    machines.script(
        "relay",
        "exec 3<&0; echo $$ >\"$0.$1\"; cat <&3 | \"${0%/relay}/host\" \"$@\" | cat",
    );
    let relay = machines.path("relay");
    let stall = format!(
        "test $PROCPOOL_HOST = alpha || exit 0; mkdir {} 2>/dev/null || exit 0
         for p in $(ps -o pid= --ppid $(cat {relay}.alpha)); do
         grep -q ^cat /proc/$p/cmdline && kill -STOP $p; done; : {}; sleep 60",
        machines.path("once"),
        crew.path("")
    );
    Test::new()
        .args(["-S", "1/alpha,1/beta", "--launcher", &format!("{relay} {{host}}")])
        .args(["--host-timeout", "1", "--shell", &format!("({stall}); echo {{}}")])
        .stdin(numbers(20))
        .stdout(numbers(20))
        .stderr_has("alpha is lost: it has given no sign of life for 1s")
        .run();
    wait_for("the jobs of the lost host to be gone", || {
        crate::common::leftovers(&crew.path("")).is_empty()
    });
}

#[test]
fn a_job_that_takes_each_host_down_is_lost_after_three() {
    let machines = Machines::new();
    let expected: String = numbers(12).replace("\n5\n", "\n");
    machines
        .test("1/alpha,1/beta,1/gamma")
        .args(["sh", "-c", "test $0 != 5 || kill -9 $PPID; echo $0"])
        .stdin(numbers(12))
        .stdout(expected)
        .stderr_has(": 3 machines that ran it were lost, the last one was ")
        .status(1)
        .run();
}

#[test]
fn a_job_that_must_not_run_twice_is_lost_at_once() {
    let machines = Machines::new();
    let records = machines
        .test("1/alpha")
        .args(["--no-rerun", "--format", "record"])
        .args(["sh", "-c", "test $0 != 2 || kill -9 $PPID; echo $0"])
        .stdin(numbers(3))
        .any_stderr()
        .status(1)
        .records();
    let kinds: Vec<_> = records.iter().map(|record| record["error"]["kind"].as_str()).collect();
    assert_eq!(kinds, [None, Some("lost"), None]);
}

/// Nothing that the host says comes through any more: procpool knows that one job began, and not of the other.
#[test]
fn what_a_host_has_begun_is_lost_with_its_link_and_not_run_again() {
    let machines = Machines::new();
    machines.script(
        "relay",
        "\"${0%/relay}/host\" \"$@\" | sh -c 'echo $$ >\"$0\"; exec cat' \"$0.pid\"",
    );
    let (relay, ran) = (machines.path("relay"), machines.path("ran"));
    let code = format!(
        "echo $0 >>{ran}; test $0 != 1 || kill -STOP $(cat {relay}.pid); test $0 = 3 || sleep 60"
    );
    let mut run = Test::new()
        .args(["-S", "2/alpha", "--launcher", &format!("{relay} {{host}}")])
        .args(["--host-timeout", "2", "--no-rerun", "--format", "record", "sh", "-c", &code])
        .stdin_open()
        .any_stdout()
        .stderr_has("alpha is lost: it has given no sign of life for 2s")
        .status(1)
        .spawn();
    for nth in 1..=2 {
        run.write(&format!("{nth}\n"));
        wait_for("the job to begin", || lines_of(&ran).len() == nth);
        let relay = lines_of(&format!("{relay}.pid"))[0].parse().ok().and_then(Pid::from_raw);
        wait_for("the link to be cut", || relay.is_some_and(|pid| state(pid) == Some('T')));
    }
    run.write("3\n");
    run.close_stdin();
    let records = run.finish().records();
    let kinds: Vec<_> = records.iter().map(|record| record["error"]["kind"].as_str()).collect();
    assert_eq!(kinds, [Some("lost"), Some("lost"), None]);
    assert_eq!(lines_of(&ran), ["1", "2", "3"]);
}

#[test]
fn a_host_on_which_no_worker_starts_is_set_aside() {
    if !crate::common::heavy() {
        return;
    }
    let machines = Machines::new();
    let go = machines.path("go");
    let until = crate::common::until(&go);
    for (hosts, bad, good) in
        [("1/alpha,1/beta", "alpha", "beta"), ("1/alpha,1/:", "this machine", "alpha")]
    {
        let _ = fs::remove_file(&go);
        // The others answer when it is said that there is no worker here.
        let code =
            format!("test $PROCPOOL_HOST = {good} && while read -r line; do {until}; echo b; done");
        let run = machines
            .test(hosts)
            .args(["--protocol", "raw", "-w", &shell_words::join(["sh", "-c", &code])])
            .stdin("a\n".repeat(8))
            .stdout("b\n".repeat(8))
            .any_stderr()
            .spawn();
        run.await_stderr(&format!("{bad} is set aside: the worker (pid "));
        fs::write(&go, "").expect("there is room");
        run.finish();
    }
}

#[test]
fn a_host_on_which_all_jobs_fail_is_set_aside() {
    let machines = Machines::new();
    let (first, go) = (machines.path("first"), machines.path("go"));
    // After its first job, the other host waits for the end of this one.
    let wait = crate::common::until(&go);
    let code = format!(
        "test $PROCPOOL_HOST = beta || exit 1; mkdir {first} 2>/dev/null || {{ {wait}; }}; echo $0"
    );
    let run = machines
        .test("1/alpha,1/beta")
        .args(["--retries", "50", "--retry-delay", "0.01", "sh", "-c", &code])
        .stdin(numbers(60))
        .stdout(numbers(60))
        .stderr_has("procpool: alpha is set aside: all ")
        .spawn();
    run.await_stderr(" jobs that it ran have failed\n");
    fs::write(&go, "").expect("there is room");
    run.finish();
}

#[test]
fn with_no_host_left_the_run_ends_and_can_go_on() {
    let machines = Machines::new();
    let journal = machines.path("journal");
    let dead = machines.path("dead");
    machines.login(&format!("test ! -e {dead} || exit 9"));
    let command = format!(
        "test $0 != 9 || test -e {dead}2 || {{ : >{dead}; : >{dead}2; kill -9 $PPID; sleep 60; }}; echo $0"
    );
    machines
        .test("1/alpha")
        .args(["--journal", &journal, "sh", "-c", &command])
        .stdin(numbers(20))
        .stdout(numbers(8))
        .stderr_has("procpool: the only host is set aside, and jobs are left: there is nowhere to run them\n")
        .status(126)
        .run();
    fs::remove_file(&dead).expect("it is there");
    machines
        .test("1/alpha")
        .args(["--journal", &journal, "--resume", "sh", "-c", &command])
        .stdin(numbers(20))
        .stdout(numbers(20))
        .run();
}

#[test]
fn a_coordinator_that_is_killed_leaves_nothing() {
    let crew = Crew::new();
    let machines = Machines::new();
    let run = machines
        .test("2/alpha,2/beta")
        .args(["--worker", &crew.worker("")])
        .jobs(["sleep [100000]"; 4])
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::KILL)
        .spawn();
    crew.await_logged("job", 4);
    run.signal(Signal::KILL);
    run.finish();
    wait_for("all workers to be gone", || crew.left().is_empty());
}

#[test]
fn an_interrupt_lets_running_jobs_finish_and_the_second_ends_them() {
    let crew = Crew::new();
    let machines = Machines::new();
    let start = || {
        let run = machines
            .test("1/alpha,1/beta")
            .args(["--worker", &crew.worker(""), "--format", "record", "--grace", "1h"])
            .stdin("sleep [100000]\n".repeat(9))
            .any_stdout()
            .any_stderr()
            .killed_by(Signal::INT)
            .spawn();
        crew.await_logged("job", 2);
        run
    };
    let run = start();
    run.signal(Signal::INT);
    run.await_taken();
    // Signals within 0.1 s are one.
    assert!(!run.ends_within(Duration::from_millis(150)));
    run.signal(Signal::INT);
    assert_eq!(run.finish().records().len(), 2);
    crew.assert_gone();
}

#[test]
fn what_is_no_agent_is_not_believed() {
    let machines = Machines::new();
    let version = env!("CARGO_PKG_VERSION");
    let fake = |text: &str| {
        machines.script("fake", text);
        Test::new()
            .args(["-S", "alpha", "--launcher", &format!("{} {{host}}", machines.path("fake"))])
            .arg("echo")
            .stdin("a\n")
            .status(126)
    };
    fake("printf '\\0procpool agent 1 9.9.9 4\\n'; sleep 60")
        .stderr_has("alpha is set aside: the procpool there is version 9.9.9, this one is ")
        .run();
    fake("yes").stderr_has("alpha is set aside: its login prints without end").run();
    fake(&format!("printf '\\0procpool agent 1 {version} 4\\nHello, this is no frame'; sleep 60"))
        .stderr_has("alpha is lost: what came from it is no message of an agent")
        .run();
    fake("echo no >&2; exit 126").stderr_has("alpha is set aside: ").stderr_has(": no\n").run();
}

// ---- Usage

#[test]
fn hosts_are_named_as_they_should_be() {
    for (args, message) in [
        (&["--hosts=-oProxyCommand=x"][..], "this is no name of a host"),
        (&["-S", "2/-x"], "this is no name of a host"),
        (&["-S", "x/alpha"], "'x' is no number of slots"),
        (&["-S", "alpha,alpha"], "-S names alpha twice"),
        (
            &["-S", "alpha", "--launcher", "ssh"],
            "--launcher must say where the name of the host goes",
        ),
        (&["-S", "alpha", "--confirm"], "--confirm asks on this terminal"),
        (&["--no-rerun"], "--no-rerun is for other machines: name them with -S"),
        (&["--host-timeout", "3"], "--host-timeout is for other machines: name them with -S"),
    ] {
        Test::new().args(args).arg("echo").stderr_has(message).status(2).run();
    }
}

#[test]
fn hosts_come_from_a_file() {
    let machines = Machines::new();
    let file = machines.path("hosts");
    let write = |text: &str| fs::write(&file, text).expect("there is room");
    write("\u{feff}# all of them\r\n1/alpha # the first\r\n\r\n  1/beta");
    // They wait for each other.
    let here = machines.path("here");
    fs::create_dir(&here).expect("a folder");
    let code = format!(
        ": >{here}/$PROCPOOL_HOST; until set -- {here}/*; [ $# -ge 2 ]; do sleep 0.02; done; echo $PROCPOOL_HOST"
    );
    let output = machines
        .test(&format!("@{file}"))
        .args(["sh", "-c", &code])
        .stdin(numbers(20))
        .any_stdout()
        .run();
    let mut lines = output.lines();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, ["alpha", "beta"]);
    let says = |hosts: &str, status: i32, message: &str| {
        let error = format!("{message}\n");
        machines.test(hosts).arg("echo").stdin("a\n").stderr_has(error).status(status).run();
    };
    for (text, line, message) in [
        ("alpha\n\n# x\n8/a b\n", 4, "8/a b: this is no name of a host"),
        ("x/alpha", 1, "x/alpha: 'x' is no number of slots; it is 8/alpha for 8 slots on alpha"),
        ("alpha\nalpha,beta\n", 2, "alpha,beta: this is no name of a host"),
        ("alpha\n@more\n", 2, "@more: this is no name of a host"),
        ("alpha\n-x\n", 2, "-x: this is no name of a host"),
        ("alpha\nbeta\n2/alpha # again\n", 3, "alpha: the host is named twice"),
    ] {
        write(text);
        says(&format!("@{file}"), 2, &format!("'{file}', line {line}: {message}"));
    }
    write("beta\n");
    says(&format!("beta,@{file}"), 2, &format!("'{file}', line 1: beta: the host is named twice"));
    says(&format!("@{file},beta"), 2, "-S names beta twice");
    write("# none\n\n");
    let nobody = format!("the file '{file}' names no host: write one on each line");
    says(&format!("@{file}"), 125, &nobody);
    says(&format!("beta,@{file}"), 125, &nobody);
    let gone =
        format!("the hosts in '{file}.gone' can't be read: No such file or directory (os error 2)");
    says(&format!("@{file}.gone"), 125, &gone);
}
