//! A link that is cut and closes nothing: a real sshd in a network of its own, whose cable is pulled.

use std::process::Command;
use std::time::Duration;

use crate::common::{Crew, until, wait_for};
use crate::hosts_kit::Sshd;

/// A network namespace with a cable to this one.
struct Net {
    name: String,
    cable: String,
    address: String,
}

impl Net {
    /// `None`: it takes root to make one. `number` tells the networks of tests apart.
    fn new(number: u32) -> Option<Self> {
        let id = std::process::id() % 10_000;
        let net = Self {
            name: format!("procpool{id}x{number}"),
            cable: format!("pp{id}x{number}"),
            address: format!("10.254.{}.{}", id % 250, 4 * number + 2),
        };
        let here = format!("10.254.{}.{}/30", id % 250, 4 * number + 1);
        let (name, cable, there) = (&*net.name, &*net.cable, format!("{}/30", net.address));
        let is_made = ip(&["netns", "add", name])
            && ip(&["link", "add", cable, "type", "veth", "peer", "name", "far", "netns", name])
            && ip(&["addr", "add", &here, "dev", cable])
            && ip(&["link", "set", cable, "up"])
            && ip(&["-n", name, "addr", "add", &there, "dev", "far"])
            && ip(&["-n", name, "link", "set", "far", "up"]);
        if !is_made {
            let required =
                std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
            assert!(!required, "no network can be made");
            println!("skipped: no network can be made");
        }
        is_made.then_some(net)
    }

    fn sshd(&self) -> Option<Sshd> {
        Sshd::start_at(&self.address, &["ip", "netns", "exec", &self.name])
    }

    fn set(&self, state: &str) {
        assert!(ip(&["link", "set", &self.cable, state]), "the cable is {state}");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        ip(&["link", "del", &self.cable]);
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|output| output.status.success())
}

fn numbers(count: u32) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

#[test]
fn a_link_that_heals_in_time_loses_nothing() {
    let Some(net) = Net::new(1) else { return };
    let Some(sshd) = net.sshd() else { return };
    let crew = Crew::new();
    let go = crew.path("go");
    let code = format!("test $0 -le 4 || {}; echo $0", until(&go));
    let run = sshd
        .test("2/far")
        .args(["--host-timeout", "25", "sh", "-c", &code])
        .stdin(numbers(20))
        .stdout(numbers(20))
        .patience(60)
        .spawn();
    wait_for("results", || run.seen_lines() == 4);
    net.set("down");
    crew.file("go", "");
    assert!(!run.ends_within(Duration::from_secs(5)));
    net.set("up");
    run.finish();
}

#[test]
fn a_link_that_is_cut_for_ever_costs_no_job_and_leaves_no_process() {
    let Some(net) = Net::new(2) else { return };
    let Some(sshd) = net.sshd() else { return };
    let crew = Crew::new();
    let far = crew.path("far");
    let worker = crew.worker("");
    let worker = format!("sh -c 'test $PROCPOOL_HOST = : || : >{far}; exec {worker}'");
    let run = sshd
        .test("2/far,1/:")
        .args(["--host-timeout", "2", "-w", &worker, "--format", "value"])
        .stdin("sleep [300]\n".repeat(30))
        .any_stdout()
        .stderr_has("far is lost: it has given no sign of life for 2s")
        .patience(60)
        .spawn();
    wait_for("a worker at the far end", || std::fs::exists(&far).unwrap_or_default());
    crew.await_logged("job", 6);
    net.set("down");
    let output = run.finish();
    assert_eq!(output.lines().len(), 30);
    wait_for("the workers at the far end to be gone", || crew.left().is_empty());
}
