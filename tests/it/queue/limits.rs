//! A submitter does not run ahead, and nothing of a job is in a subject.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::kit::{QueueServer, numbers};
use crate::common::{free_port, wait_for};

/// What the server says about all streams.
fn streams(monitor: u16) -> serde_json::Value {
    let mut stream = TcpStream::connect(("127.0.0.1", monitor)).expect("the monitor listens");
    stream.write_all(b"GET /jsz?streams=true&config=true HTTP/1.0\r\n\r\n").expect("it hears");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let body = text.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).expect("JSON")
}

fn messages(monitor: u16) -> u64 {
    let all = streams(monitor);
    let streams =
        all["account_details"][0]["stream_detail"].as_array().cloned().unwrap_or_default();
    let jobs = streams.iter().find(|stream| stream["name"] == "jobs");
    jobs.map_or(0, |stream| stream["state"]["messages"].as_u64().expect("a number"))
}

#[test]
fn a_submitter_waits_while_the_queue_is_full() {
    let monitor = free_port();
    let Some(server) = QueueServer::with(|_| vec!["--http_port".into(), monitor.to_string()])
    else {
        return;
    };
    let mut run = server
        .to()
        .args(["--queue-limit", "10"])
        .stdin_endless("1\n")
        .any_status()
        .any_stderr()
        .spawn();
    wait_for("the queue is full", || messages(monitor) == 10);
    // It looks at the queue again and again, and submits nothing.
    let asked = || streams(monitor)["api"]["total"].as_u64().expect("a number");
    let before = asked();
    wait_for("it looks at the queue", || asked() >= before + 5);
    assert_eq!(messages(monitor), 10);
    assert!(!run.has_ended());
    run.close_stdin();
    drop(run);
    // The limit is one of the queue: it is not changed by the way.
    server
        .to()
        .args(["--queue-limit", "20"])
        .stdin("1\n")
        .stderr_has(
            "the stream 'jobs' exists with other settings: its limit is 10 jobs, not 20 jobs",
        )
        .status(125)
        .run();
}

/// The machine makes the queue, and leaves its limit to the first submitter.
#[test]
fn a_large_batch_goes_through_a_small_queue() {
    let monitor = free_port();
    let Some(server) = QueueServer::with(|_| vec!["--http_port".into(), monitor.to_string()])
    else {
        return;
    };
    let machine = server.machine(&["-j2", "--python", "x"]);
    let made = || streams(monitor)["account_details"][0]["stream_detail"].is_array();
    wait_for("the machine has made the queue", || made() && streams(monitor)["consumers"] == 1);
    let many = numbers(2000);
    server.via().args(["--queue-limit", "200"]).stdin(&many).stdout(&many).run();
    server
        .to()
        .args(["--queue-limit", "9"])
        .stdin("1\n")
        .stderr_has("is 200 jobs")
        .status(125)
        .run();
    drop(machine);
}
