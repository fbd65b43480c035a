//! Calls whose jobs run on other machines.

use procpool::engine::{Host, Hosts};

use super::*;
use crate::hosts_kit::Machines;

/// A pool with two slots on other machines.
fn pool(crew: &Crew, machines: &Machines) -> Pool {
    let host = |name: &str| Host {
        name: name.into(),
        slots: Some(1),
        launcher: vec![machines.path("host").into(), name.into()],
        before: Vec::new(),
        line: None,
    };
    let words = ["0", "procpool", "-w", &crew.worker(""), ""];
    let hosts = Hosts {
        hosts: vec![host("alpha"), host("beta")],
        local_slots: 0,
        task: words.join("\0").into(),
        folder: std::env::temp_dir(),
        program: env!("CARGO_BIN_EXE_procpool").into(),
        timeout: Duration::from_secs(15),
        rerun: true,
    };
    build(Pool::builder(&crew.worker("")).hosts(hosts))
}

#[tokio::test]
async fn each_call_gets_its_own_result() {
    let (crew, machines) = (Crew::new(), Machines::new());
    let pool = pool(&crew, &machines);
    let calls: Vec<_> = (0..50).map(|at| pool.defer::<Value>("first", [at])).collect();
    for (at, call) in calls.into_iter().enumerate() {
        assert_eq!(ok("a call", call).await, at);
    }
    let failure = pool.process::<Value>("fail", ["no"]).await.expect_err("it fails");
    assert_eq!(failure.kind, Kind::Error);
    soon("shutdown", pool.shutdown()).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_job_on_the_other_machine() {
    let (crew, machines) = (Crew::new(), Machines::new());
    let pool = pool(&crew, &machines);
    let running = pool.defer::<Value>("never_answer", ());
    crew.await_logged("job", 1);
    drop(running);
    wait_for("the worker to be gone", || crew.left().is_empty());
    // The slot is free again, and so is the other one.
    let both = [1, 2].map(|at| pool.defer::<Value>("first", [at]));
    for (at, call) in (1..).zip(both) {
        assert_eq!(ok("a call", call).await, at);
    }
    soon("shutdown", pool.shutdown()).await;
    crew.assert_gone();
}
