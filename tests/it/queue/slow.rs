//! A server that is slow, and machines that are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::kit::{QueueServer, numbers};
use crate::common::wait_for;

/// A port behind which all that is sent to and from another one is late.
fn slow_port(port: u16, late: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let slow = listener.local_addr().expect("an address").port();
    let pass = move |mut from: TcpStream, mut to: TcpStream| {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(len @ 1..) = from.read(&mut bytes) {
            // The delay is the fault that is tested.
            thread::sleep(late);
            if to.write_all(&bytes[..len]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
    };
    thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let (back, forth) = (here.try_clone(), there.try_clone());
            thread::spawn(move || pass(here, there));
            thread::spawn(move || pass(forth.expect("a socket"), back.expect("a socket")));
        }
    });
    slow
}

#[test]
fn a_slow_server_is_waited_for() {
    let Some(server) = QueueServer::start() else { return };
    let url =
        format!("nats://127.0.0.1:{}/jobs", slow_port(server.port(), Duration::from_millis(20)));
    let machine = server.test().args(["--from", &url, "-j2", "--python", "x"]).spawn();
    server.test().args(["--via", &url]).stdin(numbers(200)).stdout(numbers(200)).run();
    drop(machine);
}

/// Jobs wait neither in a message nor one by one behind a job that takes long.
#[test]
fn no_job_waits_at_a_busy_machine_while_another_is_idle() {
    for (slow, args) in [("1", &[][..]), ("7", &["--queue-limit", "10"])] {
        let Some(server) = QueueServer::start() else { return };
        let (go, ran) = (server.path("go"), server.path("ran"));
        let wait = format!("until test -e '{go}'; do sleep 0.02; done");
        let script = format!("test \"$0\" != {slow} || {wait}; echo \"$0\" >>'{ran}'");
        // No machine is taken for lost here, however busy this computer is.
        let command = ["--ack-wait", "60s", "-j1", "sh", "-c", &script];
        let submitter = server.to().args(args).stdin(numbers(40)).spawn();
        let machines = [server.machine(&command), server.machine(&command)];
        wait_for("all others have run", || server.ran().len() == 39);
        server.file("go", "");
        submitter.finish();
        wait_for("all have run", || server.ran().len() == 40);
        drop(machines);
    }
}
