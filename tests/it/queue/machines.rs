//! Machines that come, go, are lost, or are slow.

use super::kit::{QueueServer, numbers};
use crate::common::{json, wait_for};
use rustix::process::Signal;

#[test]
fn the_jobs_of_a_machine_that_is_killed_go_to_another() {
    let Some(server) = QueueServer::start() else { return };
    let noting = server.noting("test -e \"$PWD/go\" || sleep 60; ");
    let args = |wait: &'static str| {
        [&["--ack-wait", wait, "-j2"][..], &noting.each_ref().map(String::as_str)].concat()
    };
    let run = server.via().stdin(numbers(2)).stdout(numbers(2)).spawn();
    let lost = server.from().args(args("0.5s")).any_stderr().any_status().spawn();
    wait_for("both run", || server.ran().len() == 2);
    lost.signal(Signal::KILL);
    lost.finish();
    server.file("go", "");
    let other =
        server.from().args(args("0.5s")).cwd(server.path("")).any_stderr().any_status().spawn();
    run.finish();
    assert_eq!(server.ran(), ["1", "1", "2", "2"]);
    drop(other);
}

#[test]
fn long_jobs_are_kept_alive_also_while_their_machine_is_stopped_for_a_while() {
    let Some(server) = QueueServer::start() else { return };
    let half = server.path("half");
    let noting = server.noting(&format!("sleep 0.5; echo >'{half}'; sleep 1; "));
    let args = [&["--ack-wait", "0.8s"][..], &noting.each_ref().map(String::as_str)].concat();
    let (one, two) = (server.machine(&args), server.machine(&args));
    let run = server.via().stdin("1\n").stdout("1\n").spawn();
    wait_for("it runs", || server.ran().len() == 1);
    for machine in [&one, &two] {
        machine.signal(Signal::STOP);
    }
    // The job goes on meanwhile.
    wait_for("half of the job is done", || std::path::Path::new(&half).exists());
    for machine in [&one, &two] {
        machine.signal(Signal::CONT);
    }
    run.finish();
    assert_eq!(server.ran(), ["1"]);
    drop((one, two));
}

/// The other jobs of its message are not charged with what it does, also those that run beside it.
#[test]
fn a_job_that_takes_each_machine_down_is_lost_alone_and_stands_among_the_dead() {
    takes_machines_down(&[], "1", "2 times");
    // Each job has a message of its own, and all run when the first machine is lost.
    takes_machines_down(&["--queue-limit", "10"], "0", "once");
}

fn takes_machines_down(limit: &[&str], retries: &str, times: &str) {
    let Some(server) = QueueServer::start() else { return };
    let jobs = "a\nb\npoison\nc\n";
    server.to().args(limit).stdin(jobs).run();
    // The job kills procpool itself, when the others run.
    let ran = server.path("ran");
    let script = format!(
        "echo \"$0\" >>'{ran}'; test \"$0\" = poison || {{ test -e '{ran}1' || sleep 60; }}; \
         test \"$0\" != poison || {{ until test $(wc -l <'{ran}') -gt 3; do :; done; echo >>'{ran}1'; kill -9 $PPID; }}; \
         echo \"$0\""
    );
    let args = ["--ack-wait", "0.3s", "--retries", retries, "-j4", "--drain", "sh", "-c", &script];
    for _ in 0..2 {
        server.from().args(args).any_stderr().killed_by(Signal::KILL).run();
    }
    server.from().args(args).any_stderr().run();
    server
        .via()
        .args(["--run", "default"])
        .stdin(jobs)
        .stdout("a\nb\nc\n")
        .stderr_has(format!("the machine that ran it was lost, {times}: the job may be the cause"))
        .status(1)
        .run();
    let dead = server.test().args(["--dead", &server.url()]).any_stdout().run();
    assert_eq!(dead.lines().len(), 1, "{:?}", dead.stderr);
    let dead = json(dead.lines()[0]);
    assert_eq!(
        (&dead["error"]["kind"], &dead["job"]["args"][0]),
        (&"lost".into(), &"poison".into())
    );
}

#[test]
fn a_machine_that_is_told_to_end_gives_its_jobs_back_at_once() {
    let Some(server) = QueueServer::start() else { return };
    let noting = server.noting("test \"$0\" -gt 1 || sleep 0.5; ");
    server.to().stdin(numbers(30)).run();
    let args = [&["-j1", "--ack-wait", "60s"][..], &noting.each_ref().map(String::as_str)].concat();
    let leaving = server.from().args(&args).any_stderr().killed_by(Signal::TERM).spawn();
    wait_for("one runs", || server.ran().len() == 1);
    leaving.signal(Signal::TERM);
    leaving.finish();
    // Its job was finished, and the others are there at once.
    server.from().args([&args[..1], &["--drain"], &args[3..]].concat()).run();
    assert_eq!(server.ran().len(), 30);
}

#[test]
fn what_is_given_back_is_not_lost() {
    let Some(server) = QueueServer::start() else { return };
    let noting = server.noting("sleep 30; ");
    server.to().stdin(numbers(1)).run();
    let args = [&["--grace", "0.1", "-j1"][..], &noting.each_ref().map(String::as_str)].concat();
    for nth in 1..=4 {
        let leaving = server.from().args(&args).any_stderr().killed_by(Signal::TERM).spawn();
        wait_for("it runs", || server.ran().len() == nth);
        leaving.signal(Signal::TERM);
        leaving.finish();
    }
    server.from().args(["--drain", "echo"]).run();
    server.via().args(["--run", "default"]).stdin(numbers(1)).stdout(numbers(1)).run();
}

/// A worker that works on several jobs at a time gets them.
#[test]
fn a_machine_takes_as_many_jobs_as_its_workers_work_on() {
    let Some(server) = QueueServer::start() else { return };
    let run = server.via().stdin(numbers(6)).stdout(numbers(6)).spawn();
    // No job ends before all have begun.
    let setup = "import asyncio\nbegun = 0\nasync def all_begun(x):\n    global begun\n    begun += 1\n    \
                 while begun < 6 and x > 1: await asyncio.sleep(0.01)\n    return x";
    let machine = server.machine(&["-j1", "--setup", setup, "--python", "await all_begun(int(x))"]);
    run.finish();
    drop(machine);
}

/// Without that, one machine would have all the jobs of a message, and the others none.
#[test]
fn slow_jobs_that_were_submitted_together_are_shared() {
    let Some(server) = QueueServer::start() else { return };
    server.to().stdin(numbers(40)).run();
    let script = "sleep 0.1; echo $PPID";
    let args = ["-j2", "--drain", "sh", "-c", script];
    let machines: Vec<_> = (0..4).map(|_| server.from().args(args).spawn()).collect();
    machines.into_iter().for_each(|machine| drop(machine.finish()));
    let output = server.via().args(["--run", "default"]).stdin(numbers(40)).any_stdout().run();
    let mut shares = std::collections::BTreeMap::new();
    output.lines().iter().for_each(|pid| *shares.entry((*pid).to_owned()).or_insert(0) += 1);
    assert_eq!(shares.len(), 4, "{shares:?}");
    assert!(shares.values().all(|&share| (6..=14).contains(&share)), "{shares:?}");
}
