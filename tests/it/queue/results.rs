//! A run through a queue prints what a run here prints.

use super::kit::{QueueServer, numbers};
use crate::common::{Test, failed, lines_of, worker};

/// Runs jobs through a queue and here. Both print the same, and end the same.
fn compare(
    server: &QueueServer,
    here: &[&str],
    there: &[&str],
    submitted: &[&str],
    input: &str,
    status: i32,
) {
    let machine = server.machine(&[&["-j2"], there].concat());
    let local = Test::new().args(here).stdin(input).any_stderr().status(status).any_stdout().run();
    let remote =
        server.via().args(submitted).stdin(input).any_stderr().any_status().any_stdout().run();
    assert_eq!(remote.stdout, local.stdout, "{here:?}: {}", remote.stderr);
    let lines = |text: &str| crate::common::failures(text).join("\n");
    let times = crate::common::without_times;
    assert_eq!(lines(&times(&remote.stderr)), lines(&times(&local.stderr)), "{here:?}");
    drop(machine);
}

#[test]
fn workers_and_their_failures() {
    let Some(server) = QueueServer::start() else { return };
    let handler = worker("");
    let handler = ["-w", handler.as_str()];
    let jobs = "echo [1]\nfail [\"why\"]\n{\"cmd\":\"echo\",\"args\":[2],\"id\":\"x\"}\nbad {\n# no job\n\n{\"cmd\":1,\"id\":7}\n";
    compare(&server, &handler, &handler, &[], jobs, 1);
    // Failures have the same names, whatever the format is.
    let text = ["--format", "text"];
    compare(&server, &[&text[..], &handler].concat(), &handler, &text, jobs, 1);
}

#[test]
fn commands_whether_the_submitter_names_them_or_not() {
    let Some(server) = QueueServer::start() else { return };
    let command = ["sh", "-c", "test \"$0\" != 2 && printf '%s\\377\\n' \"$0\""];
    let input = "1\n2\na b\n";
    compare(&server, &command, &command, &command, input, 1);
    let machine = server.machine(&command);
    server
        .via()
        .arg("--tag")
        .stdin(input)
        .stdout(b"1\t1\xff\na b\ta b\xff\n")
        .stderr(format!("2\t{}", failed("2", "exit status 1", "job 2, line 2")))
        .status(1)
        .run();
    drop(machine);
}

#[test]
fn programs_that_job_lines_name_and_messages() {
    let Some(server) = QueueServer::start() else { return };
    compare(&server, &[], &[], &[], "echo [\"a b\"]\nfalse\n", 1);
    let raw = ["--protocol", "raw", "-w", "sed -u s/a/b/"];
    compare(&server, &raw, &raw, &[], "a b\nxay\n", 0);
}

#[test]
fn code_with_formats() {
    let Some(server) = QueueServer::start() else { return };
    let code = ["--python", "int(x) * 2"];
    compare(&server, &[&code[..], &["--tag"]].concat(), &code, &["--tag"], "1\nx\n3\n", 1);
    compare(
        &server,
        &[&code[..], &["--format", "record"]].concat(),
        &code,
        &["--format", "record"],
        "1\n2\n",
        0,
    );
}

#[test]
fn a_result_that_is_longer_than_a_message() {
    let Some(server) = QueueServer::start() else { return };
    let machine = server.machine(&["head", "-c", "3000000", "/dev/zero"]);
    let output = server.via().args(["--format", "text"]).stdin("").any_stdout().run();
    assert!(output.stdout.is_empty());
    drop(machine);
    let machine = server.machine(&["sh", "-c", "head -c 3000000 /dev/zero"]);
    let output = server.via().stdin("1\n2\n").any_stdout().run();
    assert_eq!(output.stdout.len(), 6_000_000);
    drop(machine);
}

#[test]
fn a_job_that_is_longer_than_a_message_fails_with_the_name_of_the_limit() {
    let Some(server) = QueueServer::start() else { return };
    let machine = server.machine(&["echo"]);
    let input = format!("a\n{}\nb\n", "x".repeat(2 << 20));
    server
        .via()
        .stdin(input)
        .stdout("a\nb\n")
        .stderr_has("the server takes messages of at most 1048576 bytes (its setting max_payload)")
        .status(1)
        .run();
    drop(machine);
}

#[test]
fn the_job_log_and_the_lines_of_failed_jobs() {
    let Some(server) = QueueServer::start() else { return };
    let machine = server.machine(&["sh", "-c", "test \"$0\" != 2"]);
    let (log, again) = (server.path("log.tsv"), server.path("again"));
    server
        .via()
        .args(["--joblog", &log, "--failed", &again])
        .stdin("1\n2\n3\n")
        .any_stderr()
        .status(1)
        .run();
    assert_eq!(lines_of(&again), ["2"]);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let hosts: Vec<_> = lines_of(&log)[1..]
        .iter()
        .map(|line| line.split('\t').nth(1).unwrap_or("").to_owned())
        .collect();
    assert_eq!(hosts, [host.clone(), host.clone(), host]);
    drop(machine);
}

#[test]
fn retries_and_timeouts_of_the_submitter_hold_on_the_machines() {
    let Some(server) = QueueServer::start() else { return };
    let tries = server.path("tries");
    let script =
        format!("echo x >>'{tries}'; test \"$0\" = 1 && sleep 60; test $(wc -l <'{tries}') -ge 4");
    let machine =
        server.machine(&["-j1", "--grace", "0.1", "--retry-delay", "0.01", "sh", "-c", &script]);
    server
        .via()
        .args(["--timeout", "2", "--retries", "1"])
        .stdin("1\n2\n")
        .stderr_has("timed out after 2s")
        .stderr_has("attempt 2")
        .status(1)
        .run();
    assert_eq!(lines_of(&tries).len(), 4);
    drop(machine);
}

#[test]
fn results_come_in_order_and_as_soon_as_their_turn_comes() {
    let Some(server) = QueueServer::start() else { return };
    let machine = server.machine(&["-j2", "cat", "-A"]);
    let machine_2 = server.machine(&["-j2", "--python", "x"]);
    drop(machine);
    let mut run = server.via().stdin_open().any_stdout().spawn();
    run.write("1\n");
    assert_eq!(run.line(), "1");
    run.write("2\n3\n");
    assert_eq!((run.line(), run.line()), ("2".to_owned(), "3".to_owned()));
    run.close_stdin();
    run.finish();
    let many = numbers(3000);
    server.via().stdin(&many).stdout(&many).run();
    drop(machine_2);
}
