//! What is submitted twice is run once, and a submitter that was killed goes on.

use super::kit::{QueueServer, numbers};
use crate::common::wait_for;

#[test]
fn a_repeated_submission_adds_nothing() {
    let Some(server) = QueueServer::start() else { return };
    server.to().stdin(numbers(50)).run();
    server.to().stdin(numbers(50)).stderr_has("50 of 50 jobs were submitted before").run();
    server.to().stdin(numbers(60)).stderr_has("50 of 60 jobs were submitted before").run();
    server.from().args(["-j2", "--drain"]).args(server.noting("")).run();
    assert_eq!(server.ran().len(), 60);
    // Another run is another submission.
    server.to().args(["--run", "second"]).stdin(numbers(2)).run();
    server.from().args(["--drain"]).args(server.noting("")).run();
    assert_eq!(server.ran().len(), 62);
    // Whoever knows the name of the run can have its results, more than once.
    server.via().args(["--run", "second"]).stdin(numbers(2)).stdout(numbers(2)).run();
    server.via().args(["--run", "second"]).stdin(numbers(2)).stdout(numbers(2)).run();
    assert_eq!(server.ran().len(), 62);
}

#[test]
fn a_submitter_that_is_killed_goes_on_and_prints_all() {
    let Some(server) = QueueServer::start() else { return };
    let noting = server.noting("sleep 0.02; ");
    let noting: Vec<&str> = noting.iter().map(String::as_str).collect();
    let machine = server.machine(&[&["-j2"], &noting[..]].concat());
    for (name, value) in [("--run", "r"), ("--journal", &server.path("journal"))] {
        let before = server.ran().len();
        let run = server
            .via()
            .args([name, value])
            .stdin(numbers(40))
            .any_stdout()
            .any_status()
            .any_stderr()
            .spawn();
        wait_for("some jobs have run", || server.ran().len() > before + 10);
        run.kill();
        run.finish();
        let resumed = server.via().args([name, value]).stdin(numbers(40)).stdout(numbers(40));
        if name == "--journal" { resumed.arg("--resume") } else { resumed }.run();
        assert_eq!(server.ran().len(), before + 40);
    }
    drop(machine);
}

#[test]
fn several_submitters_share_a_queue() {
    let Some(server) = QueueServer::start() else { return };
    let machine = server.machine(&["-j2", "--python", "x"]);
    let runs: Vec<_> =
        (0..3).map(|_| server.via().stdin(numbers(300)).stdout(numbers(300)).spawn()).collect();
    runs.into_iter().for_each(|run| drop(run.finish()));
    drop(machine);
}
