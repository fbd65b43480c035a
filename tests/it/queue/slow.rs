//! A server that is slow.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::kit::{QueueServer, numbers};

/// A port behind which all that is sent to and from another one is late.
fn slow_port(port: u16, late: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let slow = listener.local_addr().expect("an address").port();
    let pass = move |mut from: TcpStream, mut to: TcpStream| {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(len @ 1..) = from.read(&mut bytes) {
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
    server.test().args(["--via", &url]).stdin(numbers(500)).stdout(numbers(500)).run();
    drop(machine);
}
