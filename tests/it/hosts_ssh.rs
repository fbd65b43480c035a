//! Hosts that a real sshd serves.

use crate::common::Test;
use crate::hosts_kit::{Sshd, assert_same};

fn numbers(count: u32) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

#[test]
fn the_output_is_that_of_a_local_run() {
    let Some(sshd) = Sshd::get() else { return };
    for args in [
        &["sh", "-c", "echo $0; echo err$0 >&2; exit $(($0 % 3))"][..],
        &["--protocol", "raw", "--pipeline", "auto", "-w", "sed -u s/1/x/"],
        &["--format", "record", "echo"],
    ] {
        let local = Test::new().arg("-j3").args(args).stdin(numbers(60));
        let remote = sshd.test("2/alpha,2/beta,1/:").args(args).stdin(numbers(60));
        assert_same(local, remote);
    }
    let big = &["sh", "-c", "head -c 10000000 /dev/zero; printf '\\377'"];
    let local = Test::new().args(big).stdin("1\n");
    assert_same(local, sshd.test("1/alpha").args(big).stdin("1\n"));
}

#[test]
fn the_folder_there_is_the_folder_here() {
    let Some(sshd) = Sshd::get() else { return };
    sshd.test("1/alpha").cwd("/usr").args(["sh", "-c", "pwd"]).stdin("a\n").stdout("/usr\n").run();
}

#[test]
fn who_is_not_let_in_is_set_aside() {
    let Some(sshd) = Sshd::get() else { return };
    let run = |known: &str, key: &str| {
        Test::new()
            .args(["-S", "1/alpha", "--launcher", &sshd.launcher(known, key), "echo"])
            .stdin("a\n")
            .status(126)
    };
    run("known", "other")
        .stderr_has("alpha is set aside: ssh exited with status 255: ")
        .stderr_has("Permission denied")
        .run();
    run("wrong", "user").stderr_has("Host key verification failed.").run();
}

#[test]
fn a_session_that_is_killed_costs_no_job() {
    let Some(sshd) = Sshd::get() else { return };
    let mark = sshd.path("once");
    // The parent of the agent is the sshd of its session.
    let kill = format!(
        "test $0 != 5 || ! mkdir {mark} 2>/dev/null || kill -9 $(ps -o ppid= -p $PPID); echo $0"
    );
    sshd.test("2/alpha,2/beta")
        .args(["sh", "-c", &kill])
        .stdin(numbers(60))
        .stdout(numbers(60))
        .stderr_has("is lost: ")
        .run();
}
