//! Many hosts, which one thread serves while they are quiet.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Running, Test, lines_of, until, wait_for};
use crate::hosts_kit::Machines;

const HOSTS: u32 = 17;

/// A run with a job on each host, which waits for a file.
fn start(machines: &Machines, go: &str, jobs: u32, expect: impl FnOnce(Test) -> Test) -> Running {
    let hosts: Vec<String> = (1..=HOSTS).map(|n| format!("1/h{n}")).collect();
    let code = format!("echo $PPID >{go}.$PROCPOOL_HOST; {}; echo $0", until(go));
    let test = machines.test(&hosts.join(",")).args(["--host-timeout", "2", "--grace", "0.1"]);
    let input: String = (1..=jobs).map(|n| format!("{n}\n")).collect();
    expect(test.args(["sh", "-c", &code]).stdin(input)).spawn()
}

/// The names of the threads that serve hosts.
fn threads(run: &Running) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", run.pid().as_raw_nonzero()));
    let tasks = tasks.into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("host")).collect()
}

fn await_quiet(run: &Running) {
    wait_for("one thread to serve all hosts", || threads(run) == ["hosts"]);
}

#[test]
#[cfg(target_os = "linux")]
fn one_thread_serves_many_quiet_hosts_and_a_lost_one_costs_no_job() {
    let machines = Machines::new();
    let go = machines.path("go");
    let all: String = (1..=3 * HOSTS).map(|n| format!("{n}\n")).collect();
    let run = start(&machines, &go, 3 * HOSTS, |test| test.stdout(all).stderr_has("h5 is lost: "));
    await_quiet(&run);
    let agent = fs::read_to_string(format!("{go}.h5")).expect("its job has begun");
    let agent = agent.trim().parse().ok().and_then(Pid::from_raw).expect("a number");
    kill_process(agent, Signal::KILL).expect("it is ours");
    run.await_stderr("h5 is lost: ");
    fs::write(&go, "").expect("there is room");
    run.finish();
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_reaches_all_of_many_hosts() {
    let machines = Machines::new();
    let go = machines.path("go");
    let run = start(&machines, &go, HOSTS, |test| test.any_stderr().killed_by(Signal::TERM));
    await_quiet(&run);
    run.signal(Signal::TERM);
    run.finish_by_itself();
    wait_for("all jobs to be gone", || crate::common::leftovers(&go).is_empty());
}

/// The thread that many hosts have in common waits for no pipe: another thread says the rest of a job.
#[test]
#[cfg(target_os = "linux")]
fn a_job_that_no_pipe_holds_comes_to_a_quiet_host_at_once() {
    let machines = Machines::new();
    let hosts: Vec<String> = (1..=HOSTS).map(|n| format!("1/h{n}")).collect();
    let small: String = (1..=HOSTS).map(|n| format!("{n}\n")).collect();
    // A host is quiet after its first result.
    let worker = "sh -c 'read -r line; sleep 0.7; echo $line; exec cat'";
    let large = "x".repeat(3 << 20) + "\n";
    let mut run = machines
        .test(&hosts.join(","))
        .args(["--protocol", "raw", "-w", worker])
        .stdin_open()
        .stdout(small.clone() + &large)
        .spawn();
    run.write(&small);
    wait_for("the first results", || run.seen_lines() == HOSTS as usize);
    await_quiet(&run);
    // Nobody takes the rest of it until it was seen who says it.
    let agents: Vec<Pid> = lines_of(&machines.path("host.pids"))
        .iter()
        .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
        .collect();
    let send = |signal| agents.iter().for_each(|pid| kill_process(*pid, signal).expect("it lives"));
    send(Signal::STOP);
    run.write(&large);
    wait_for("a thread for its host alone", || threads(&run) != ["hosts"]);
    send(Signal::CONT);
    run.close_stdin();
    run.finish();
}
