//! Servers that are not there, refuse, or go away.

use std::process::Command;

use super::kit::{QueueServer, numbers};
use crate::common::{Test, free_port, need, wait_for};

#[test]
fn a_server_that_is_not_there_is_tried_again_and_given_up() {
    let Some(mut server) = QueueServer::stopped(|_| Vec::new()) else { return };
    let output = server
        .to()
        .args(["--queue-timeout", "0.5s"])
        .stdin("1\n")
        .stderr_has("can't be reached: Connection refused")
        .stderr_has("could not be used for 500ms")
        .status(125)
        .run();
    assert_eq!(output.stderr.matches("tries again").count(), 1, "{}", output.stderr);
    server
        .from()
        .args(["--queue-timeout", "0.2s", "echo"])
        .stderr_has("could not be used")
        .status(125)
        .run();
    // It is there a little later.
    let run = server.to().stdin("1\n").stderr_has("connected to the queue").spawn();
    run.await_stderr("tries again");
    server.restart();
    run.finish();
}

#[test]
fn a_server_that_is_killed_and_restarted_loses_nothing() {
    let Some(mut server) = QueueServer::start() else { return };
    let noting = server.noting("sleep 0.02; ");
    let machine = server.machine(&[&["-j2"][..], &noting.each_ref().map(String::as_str)].concat());
    let run = server.via().stdin(numbers(60)).stdout(numbers(60)).any_stderr().spawn();
    wait_for("some have run", || server.ran().len() > 20);
    server.kill();
    server.restart();
    let output = run.finish();
    assert_eq!(output.stderr.matches("is lost").count(), 1, "{}", output.stderr);
    drop(machine);
}

#[test]
fn credentials_come_from_the_environment_and_never_from_the_command_line() {
    let Some(server) =
        QueueServer::with(|_| vec!["--user".into(), "me".into(), "--pass".into(), "secret".into()])
    else {
        return;
    };
    server
        .to()
        .stdin("1\n")
        .stderr_has("refuses the credentials")
        .stderr_has("NATS_CREDS")
        .status(125)
        .run();
    let with =
        |password| server.to().env("NATS_USER", "me").env("NATS_PASSWORD", password).stdin("1\n");
    with("wrong").stderr_has("refuses the credentials").status(125).run();
    with("secret").run();
    let url = format!("nats://me:secret@127.0.0.1:{}/jobs", server.port());
    server
        .test()
        .args(["--to", &url])
        .stderr_has("credentials do not belong on the command line")
        .status(2)
        .run();
}

#[test]
fn a_server_with_the_wrong_name_in_its_certificate_is_refused() {
    if !need("openssl") {
        return;
    }
    let make = |folder: &str| {
        let file = |name: &str| format!("{folder}/{name}");
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ])
            .args([
                "-days",
                "2",
                "-subj",
                "/CN=x",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .args(["-keyout", &file("key"), "-out", &file("cert")])
            .output();
        assert!(made.expect("openssl runs").status.success());
        ["--tls".into(), "--tlscert".into(), file("cert"), "--tlskey".into(), file("key")].to_vec()
    };
    let Some(server) = QueueServer::with(make) else { return };
    let (port, ca) = (server.port(), server.path("cert"));
    let to = |host: &str| {
        server.test().args(["--to", &format!("tls://{host}:{port}/jobs")]).stdin("1\n")
    };
    to("localhost").env("NATS_CA", &ca).run();
    to("127.0.0.1").env("NATS_CA", &ca).stderr_has("no secure connection").status(125).run();
    to("localhost").stderr_has("no secure connection").status(125).run();
}

#[test]
fn a_server_that_has_no_room_is_named_and_loses_nothing() {
    let conf = |folder: &str| {
        let path = format!("{folder}/conf");
        std::fs::write(&path, "jetstream { max_file_store: 1MB }").expect("there is room");
        vec!["--config".into(), path]
    };
    let Some(mut server) = QueueServer::with(conf) else { return };
    let lines: String = (0..2000).map(|number| format!("{number:0>1000}\n")).collect();
    let output = server
        .to()
        .args(["--queue-timeout", "0.3s"])
        .stdin(&lines)
        .stderr_has("could not be used for 300ms: the server has no room")
        .status(125)
        .run();
    assert_eq!(output.stderr.matches("tries again").count(), 1, "{}", output.stderr);
    server.file("conf", "jetstream { max_file_store: 100MB }");
    server.restart();
    server.to().stdin(&lines).stderr_has("of 2000 jobs were submitted before").run();
    server.from().args(["--drain", "-j2", "--python", "x"]).run();
    server.via().args(["--run", "default"]).stdin(&lines).stdout(&lines).run();
}

#[test]
fn a_server_without_jetstream_and_a_build_without_queues_are_named() {
    let Some(mut server) = QueueServer::stopped(|_| Vec::new()) else { return };
    let port = free_port().to_string();
    let mut plain = Command::new("nats-server")
        .args(["--addr", "127.0.0.1", "--port", &port, "--log", &server.path("plain")])
        .spawn()
        .expect("the server starts");
    wait_for("it listens", || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    let url = format!("nats://127.0.0.1:{port}/jobs");
    server
        .test()
        .args(["--to", &url])
        .stdin("1\n")
        .stderr_has("has no JetStream")
        .status(125)
        .run();
    plain.kill().expect("it is ours");
    plain.wait().expect("it ends");
    server.kill();
    Test::new()
        .args(["--to", &url])
        .stdin("1\n")
        .stderr_has("was built without queues")
        .status(2)
        .run();
}

#[test]
fn a_cluster_loses_a_server_and_no_job() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let mut servers = Vec::new();
    for (nth, port) in ports.iter().enumerate() {
        let args = |_: &str| {
            let cluster = format!("nats://127.0.0.1:{port}");
            let words =
                ["--cluster_name", "c", "--cluster", &cluster, "--routes", &routes.join(",")];
            let name = format!("n{nth}");
            words.iter().map(|word| (*word).to_owned()).chain(["--name".to_owned(), name]).collect()
        };
        let Some(server) = QueueServer::with(args) else { return };
        servers.push(server);
    }
    let hosts: Vec<String> =
        servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    let url = format!("nats://{}/jobs", hosts.join(","));
    let noting = servers[0].noting("sleep 0.02; ");
    let command = noting.each_ref().map(String::as_str);
    let machine = servers[0]
        .test()
        .args([&["--from", &url, "--replicas", "3", "-j2"][..], &command].concat())
        .any_stderr()
        .any_status()
        .patience(60)
        .spawn();
    let run = servers[0]
        .test()
        .args(["--via", &url, "--replicas", "3"])
        .stdin(numbers(60))
        .stdout(numbers(60))
        .any_stderr()
        .patience(60)
        .spawn();
    wait_for("some have run", || servers[0].ran().len() > 20);
    servers[1].kill();
    run.finish();
    drop(machine);
}
