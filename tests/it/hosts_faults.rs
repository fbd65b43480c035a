//! Signals, coordinators beside each other, calls that are dropped, and preparations, with hosts.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Crew, Test, lines_of, wait_for};
use crate::hosts_kit::Machines;

fn numbers(count: u32) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

#[test]
fn ctrl_z_stops_the_jobs_on_hosts_and_no_host_is_lost() {
    let crew = Crew::new();
    let machines = Machines::new();
    let go = crew.path("go");
    let run = machines
        .test("1/alpha,1/beta,1/:")
        .args(["--host-timeout", "2", "--timeout", "30", "-w", &crew.worker("")])
        .args(["--format", "text"])
        .stdin(format!("await_file [\"{go}\"]\n").repeat(6))
        .stdout("true\n".repeat(6))
        .spawn();
    crew.await_logged("job", 3);
    run.signal(Signal::TSTP);
    crew.await_stopped(3);
    wait_for("procpool to be stopped", || crate::common::state(run.pid()) == Some('T'));
    // For longer than a host may be silent.
    let stopped = Instant::now();
    wait_for("the time of the hosts to pass", || stopped.elapsed() > Duration::from_millis(2300));
    fs::write(&go, "").expect("there is room");
    run.signal(Signal::CONT);
    run.finish();
}

#[test]
fn two_runs_on_the_same_hosts_do_not_disturb_each_other() {
    let machines = Machines::new();
    let (one, two) = (machines.path("one"), machines.path("two"));
    let start = |own: &str, other: &str, text: &str| {
        // Each run waits for a job of the other.
        let code = format!(": >{own}; until test -e {other}; do sleep 0.01; done; echo {text}$0");
        machines
            .test("2/alpha,1/beta")
            .args(["sh", "-c", &code])
            .stdin(numbers(20))
            .stdout(numbers(20).lines().map(|n| format!("{text}{n}\n")).collect::<String>())
            .spawn()
    };
    let runs = [start(&one, &two, "a"), start(&two, &one, "b")];
    runs.into_iter().for_each(|run| drop(run.finish()));
}

/// The thread of the host waits for the reader, with a part of a job said and a part of a result heard.
#[test]
fn a_reader_that_does_not_read_makes_no_host_look_silent() {
    let machines = Machines::new();
    let large: String = ["a", "b", "c", "d", "e", "f"].map(|c| c.repeat(6 << 20) + "\n").concat();
    let mut run = machines
        .test("2/alpha")
        .args(["--host-timeout", "2", "--protocol", "raw", "-w", "cat"])
        .stdin(&large)
        .stdout(&large)
        .stderr("")
        .hold_stdout()
        .spawn();
    // For longer than a host may be silent.
    let begun = Instant::now();
    wait_for("the time of the hosts to pass", || begun.elapsed() > Duration::from_millis(2500));
    run.release_stdout();
    run.finish();
}

/// As a machine does that is put to sleep.
#[test]
fn when_both_ends_stand_still_for_a_time_no_host_is_lost() {
    let crew = Crew::new();
    let machines = Machines::new();
    let go = crew.path("go");
    let code = format!("echo $PPID >{go}.pid; {}; echo $0", crate::common::until(&go));
    let run = machines
        .test("1/alpha")
        .args(["--host-timeout", "1", "sh", "-c", &code])
        .stdin(numbers(3))
        .stdout(numbers(3))
        .stderr("")
        .spawn();
    let pid_file = format!("{go}.pid");
    wait_for("the job to begin", || !lines_of(&pid_file).is_empty());
    let agent = lines_of(&pid_file)[0].parse().ok().and_then(Pid::from_raw).expect("a number");
    let send = |signal| kill_process(agent, signal).expect("it is ours");
    run.signal(Signal::STOP);
    send(Signal::STOP);
    let stopped = Instant::now();
    wait_for("the time of the host to pass", || stopped.elapsed() > Duration::from_millis(1300));
    run.signal(Signal::CONT);
    // procpool looks at its host first.
    let continued = Instant::now();
    wait_for("procpool to look", || continued.elapsed() > Duration::from_millis(300));
    send(Signal::CONT);
    fs::write(&go, "").expect("there is room");
    run.finish();
}

#[test]
fn usr1_names_the_hosts_and_their_processes() {
    let crew = Crew::new();
    let machines = Machines::new();
    let (ready, go) = (crew.path("ready"), crew.path("go"));
    let code =
        format!("echo $$ >{ready}.$0; mv {ready}.$0 {ready}$0; {}", crate::common::until(&go));
    let run = machines
        .test("1/alpha,1/:")
        .args(["sh", "-c", &code])
        .stdin(numbers(2))
        .any_stderr()
        .spawn();
    let pids = [1, 2].map(|n| {
        let path = format!("{ready}{n}");
        wait_for("a job", || fs::exists(&path).unwrap_or_default());
        fs::read_to_string(path).expect("a number").trim().to_owned()
    });
    let is_named = |pid| run.has_said(&format!("(pid {pid} on alpha): sh -c "));
    wait_for("the process there", || {
        // What says which process it is may be under way at the first time.
        run.signal(Signal::USR1);
        pids.iter().any(is_named)
    });
    fs::write(&go, "").expect("there is room");
    run.finish();
}

#[test]
fn a_host_is_prepared_once_before_its_first_job() {
    let machines = Machines::new();
    let mark = machines.path("once");
    machines.script("prepare", &format!("echo for $1; echo $1 >>{mark}"));
    let prepare = format!("{} {{host}}", machines.path("prepare"));
    // The agent is killed once: the second connection needs no preparation.
    let code = format!("test $0 != 3 || ! mkdir {mark}.d 2>/dev/null || kill -9 $PPID; cat {mark}");
    machines
        .test("1/alpha")
        .args(["--before", &prepare, "sh", "-c", &code])
        .stdin(numbers(4))
        .stdout("alpha\n".repeat(4))
        .stderr_has("alpha: for alpha\n")
        .stderr_has("alpha is lost: ")
        .run();
    machines.script("fails", "test $1 = beta || { echo no room >&2; exit 3; }");
    let go = machines.path("go");
    let run = machines
        .test("1/alpha,1/beta")
        .args(["--before", &format!("{} {{host}}", machines.path("fails"))])
        .args(["sh", "-c", &format!("{}; echo $0", crate::common::until(&go))])
        .stdin(numbers(3))
        .stdout(numbers(3))
        .stderr_has("alpha: no room\n")
        .stderr_has("alpha is lost: what prepares it, '")
        .spawn();
    run.await_stderr("fails', exited with status 3");
    fs::write(&go, "").expect("there is room");
    run.finish();
    Test::new()
        .args(["--before", "x", "echo"])
        .stderr_has("--before is for other machines: name them with -S")
        .status(2)
        .run();
}
