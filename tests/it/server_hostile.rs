//! Who may talk to a server, and what others cost: sockets in the wrong places, garbage, silence, crowds, and
//! callers that do not read.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use crate::common::{Crew, Test, wait_for, worker};
use crate::server_kit::Served;

/// The greeting of a server, and what it says of its pool.
fn read_greeting(stream: &mut UnixStream) {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece).expect("a greeting");
    assert!(piece[..count].starts_with(b"\0procpool agent "));
}

/// Whether the server has hung up.
fn has_hung_up(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn garbage_ends_its_own_connection_alone() {
    let served = Served::with_workers(1, "", &[]);
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[255; 4096],
        &[0; 4096],
        // A job before the task.
        &[3, 0, 0, 0, 3, 1, 1],
        // A task that is none.
        &[3, 0, 0, 0, 1, 9, 9],
    ] {
        let mut stream = served.connect();
        stream.write_all(garbage).expect("it listens");
        assert!(has_hung_up(&mut stream), "{garbage:?}");
    }
    served.assert_well();
}

/// The frames of a caller: its task, and what follows.
fn with_task(rest: &[u8]) -> Vec<u8> {
    // Host, slots, slots before, timeout, folder, task.
    let setup = b"\x01\x01x\x00\x00\x98\x75\x01/\x020\0";
    let mut bytes = vec![u8::try_from(setup.len()).expect("few"), 0, 0, 0];
    bytes.extend_from_slice(setup);
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn a_caller_of_nonsense_ends_its_own_connection_alone() {
    let served = Served::with_workers(1, "", &[]);
    for rest in [
        // A message that is none.
        &[1, 0, 0, 0, 99][..],
        // A job that is none.
        &[4, 0, 0, 0, 3, 255, 255, 255],
        // A line of 1 GB.
        &[0, 0, 0, 0x3f, 3, 1],
        // A second task.
        &[3, 0, 0, 0, 1, 9, 9],
    ] {
        let mut stream = served.connect();
        read_greeting(&mut stream);
        stream.write_all(&with_task(rest)).expect("it listens");
        assert!(has_hung_up(&mut stream), "{rest:?}");
    }
    wait_for("all to be gone", || served.status()["callers"] == 0);
    served.assert_well();
}

#[test]
fn those_who_say_nothing_keep_nobody_out() {
    let served = Served::with_workers(1, "", &[]);
    let mut silent: Vec<UnixStream> = (0..600).map(|_| served.connect()).collect();
    for stream in &mut silent[500..] {
        // Half a message.
        let _ = stream.write_all(&[9, 0, 0]);
    }
    served.assert_well();
    assert!(has_hung_up(&mut silent[0]), "the first have gone when others came");
    let pid = served.server.as_ref().expect("a server").pid().as_raw_nonzero();
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count();
    assert!(fds < 640, "{fds} open files");
}

/// 10,000 connections: those that come after the limit cost a moment each.
#[test]
fn ten_thousand_connections() {
    let served = Served::with_workers(1, "", &[]);
    let socket = served.socket();
    let crowds: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket.clone();
            thread::spawn(move || {
                let mut open = Vec::new();
                for _ in 0..2_500 {
                    // A full queue of the socket refuses some: that is its right.
                    open.extend(UnixStream::connect(&socket));
                    if open.len() > 200 {
                        open.clear();
                    }
                }
            })
        })
        .collect();
    served.assert_well();
    crowds.into_iter().for_each(|crowd| crowd.join().expect("no panic"));
    served.assert_well();
}

#[test]
fn a_caller_that_reads_nothing_holds_up_nobody() {
    if !crate::common::heavy() {
        return;
    }
    let served = Served::with_workers(1, "", &[]);
    let big = format!("echo [\"{}\"]\n", "x".repeat(200_000));
    let caller = served.call().stdin(big.repeat(400)).hold_stdout().any_stdout().patience(150);
    let mut caller = caller.any_stderr().spawn();
    wait_for("a rest", || served.status()["running"] == 0 && served.status()["jobs"]["done"] != 0);
    for _ in 0..3 {
        served.assert_well();
    }
    caller.release_stdout();
    assert_eq!(caller.finish().lines().len(), 400);
}

#[test]
fn sockets_in_the_wrong_places_are_refused() {
    let crew = Crew::new();
    let worker = worker("");
    let open = crew.path("open");
    fs::create_dir(&open).expect("a folder");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let file = crew.file("file", "keep me");
    let target = crew.file("target", "keep me");
    let link = crew.path("link");
    symlink(&target, &link).expect("a link");
    let serve = |path: &str| Test::new().args(["--serve", path, "-w", &worker]).status(125);
    let call = |path: &str| Test::new().args(["--connect", path]).status(125);
    let in_open = format!("{open}/s");
    let long = crew.path(&"x".repeat(120));
    for (path, part) in [
        (&in_open, "others may write to the folder"),
        (&file, "is no socket"),
        (&link, "is no socket"),
        (&crew.path("none/s"), "No such file"),
        (&long, "too long"),
    ] {
        serve(path).stderr_has(part).run();
        call(path).stderr_has(part).run();
    }
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "keep me");
    assert_eq!(fs::read_to_string(&target).expect("it is there"), "keep me");
}

#[test]
fn a_socket_in_use_is_refused_and_one_left_over_is_replaced() {
    let mut served = Served::with_workers(1, "", &[]);
    let worker = worker("");
    let serve = || Test::new().args(["--serve", &served.socket(), "-w", &worker]);
    serve().stderr_has("a server runs at").status(125).run();
    served.assert_well();
    // The same without its lock: what listens there is asked.
    fs::remove_file(served.crew.path("s.lock")).expect("a lock");
    serve().stderr_has("a server runs at").status(125).run();
    served.assert_well();
    let other = served.crew.path("t");
    drop(UnixListener::bind(&other).expect("a socket"));
    let second = Test::new().args(["--serve", &other, "-w", &worker]).any_stderr().spawn();
    second.await_stderr("serving at");
    Test::new().args(["--stop", &other]).run();
    second.finish();
    drop(served.server.take());
}

/// What another user has put into the place of a socket is not used.
#[test]
fn what_another_user_has_planted_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make files of other users");
        return;
    }
    let crew = Crew::new();
    let (folder, socket) = (crew.path("theirs"), crew.path("planted"));
    fs::create_dir(&folder).expect("a folder");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    for path in [&folder, &socket] {
        std::os::unix::fs::chown(path, Some(12_345), Some(12_345)).expect("we are root");
    }
    let worker = worker("");
    for (path, part) in
        [(&format!("{folder}/s"), "belongs to another user"), (&socket, "belongs to another user")]
    {
        Test::new().args(["--serve", path, "-w", &worker]).stderr_has(part).status(125).run();
        Test::new().args(["--connect", path]).stderr_has(part).status(125).run();
    }
}

#[test]
fn what_is_no_server_is_not_believed() {
    let crew = Crew::new();
    let socket = crew.path("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let answers =
        [&b"HTTP/1.1 400\r\n\r\n"[..], b"\0procpool agent 1 9.9.9 4\n", b"\0procpool x\n"];
    let answer = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a caller");
            stream.write_all(answer).expect("it reads");
        }
    });
    for part in ["no server runs at", "is procpool 9.9.9", "is no server of procpool"] {
        Test::new().args(["--connect", &socket]).stderr_has(part).status(125).run();
    }
    answer.join().expect("no panic");
}
