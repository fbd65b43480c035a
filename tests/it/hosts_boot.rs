//! How procpool gets to a host that has none, and the messages if it can't.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{SmallDisk, Test, until};
use crate::hosts_kit::Machines;

/// A run on a host without procpool that must fail, and goes on here.
#[track_caller]
fn fails(machines: &Machines, message: &str) {
    machines
        .test("1/alpha")
        .arg("echo")
        .stdin("a\n")
        .stderr_has(format!("alpha is set aside: {message}"))
        .status(126)
        .run();
}

#[test]
fn a_copy_is_sent_once() {
    let machines = Machines::bare();
    let run = || machines.test("1/alpha").args(["echo", "{host}"]).stdin("a\n").stdout("alpha a\n");
    run().run();
    let cache = format!("{}/.cache/procpool", machines.home("alpha"));
    let names = || -> Vec<_> {
        let entries = fs::read_dir(&cache).expect("the cache folder");
        let entry = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.expect("it can be read");
            let data = entry.metadata().expect("it is there");
            (entry.file_name(), data.permissions().mode() & 0o777, data.modified().expect("a time"))
        };
        entries.map(entry).collect()
    };
    let first = names();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].1, 0o700);
    let mode = fs::metadata(&cache).expect("the cache folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    run().run();
    assert_eq!(names(), first);
}

#[test]
fn eight_that_come_at_once_do_not_disturb_each_other() {
    let machines = Machines::bare();
    let runs: Vec<_> = (0..4)
        .map(|_| {
            // They share a home folder, as on a file system for all.
            machines.login("HOME=${HOME%/*}/all; mkdir -p $HOME");
            machines
                .test("1/a,1/b")
                .args(["echo", "x"])
                .stdin("1\n2\n")
                .stdout("x 1\nx 2\n")
                .spawn()
        })
        .collect();
    runs.into_iter().for_each(|run| drop(run.finish()));
    let left = fs::read_dir(format!("{}/.cache/procpool", machines.home("all"))).expect("a folder");
    assert_eq!(left.count(), 1);
}

#[test]
fn a_login_may_print() {
    let machines = Machines::new();
    machines
        .login("echo 'Welcome to \u{1b}[1malpha'; printf 'Last login: never'; echo 'Hello' >&2");
    machines.test("1/alpha").arg("echo").stdin("a\n").stdout("a\n").run();
    let machines = Machines::bare();
    machines.login("seq 10000");
    machines.test("1/alpha").arg("echo").stdin("a\n").stdout("a\n").run();
}

#[test]
fn another_machine_can_t_run_a_copy() {
    let machines = Machines::bare();
    machines.login(
        "mkdir -p $HOME/bin; printf '#!/bin/sh\\necho Plan9 $1' >$HOME/bin/uname
        chmod 755 $HOME/bin/uname; PATH=$HOME/bin:$PATH",
    );
    fails(&machines, "it has no procpool ");
}

#[test]
fn a_home_that_can_t_be_used_is_told() {
    let machines = Machines::bare();
    machines.login(": >$HOME/.cache");
    fails(&machines, "the cache folder can't be used for a copy of procpool: mkdir: ");
    let machines = Machines::bare();
    machines.login("unset HOME; mkdir() { echo 'Read-only file system' >&2; false; }");
    machines.login("HOME=/proc/nowhere");
    fails(&machines, "the cache folder can't be used for a copy of procpool: mkdir: ");
}

#[test]
fn a_full_disk_is_told() {
    let Some(disk) = SmallDisk::new("1M") else { return };
    let machines = Machines::bare();
    machines.login(&format!("HOME={}", disk.path().display()));
    fails(&machines, "a copy of procpool can't be written to the cache folder: head: ");
    // No part of it is left.
    let left = fs::read_dir(disk.path().join(".cache/procpool")).expect("a folder");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_disk_from_which_nothing_is_run_is_told() {
    let Some(disk) = SmallDisk::new("200M") else { return };
    let noexec = std::process::Command::new("mount")
        .args(["-o", "remount,noexec"])
        .arg(disk.path())
        .status();
    assert!(noexec.is_ok_and(|status| status.success()));
    let machines = Machines::bare();
    machines.login(&format!("HOME={}", disk.path().display()));
    fails(&machines, "the copy of procpool in the cache folder can't be run: ");
}

#[test]
fn a_host_without_a_shell_is_told() {
    let machines = Machines::new();
    machines.login("set -- env -i PATH=/nonexistent \"$@\"");
    fails(&machines, "");
}

#[test]
fn a_launcher_that_is_not_there_is_told() {
    Test::new()
        .args(["-S", "alpha", "--launcher", "nosuchlauncher {host}", "echo"])
        .stdin("a\n")
        .stderr_has("alpha is set aside: its launcher 'nosuchlauncher' can't be started: ")
        .status(126)
        .run();
}

#[test]
fn where_one_host_can_t_be_used_the_others_run_the_jobs() {
    let machines = Machines::new();
    machines.login("test $HOST != alpha || exit 127");
    let go = machines.path("go");
    let run = machines
        .test("1/alpha,1/beta")
        .args(["sh", "-c", &format!("{}; echo $0", until(&go))])
        .stdin("1\n2\n3\n4\n5\n6\n7\n8\n")
        .stdout("1\n2\n3\n4\n5\n6\n7\n8\n")
        .any_stderr()
        .spawn();
    run.await_stderr("alpha is set aside: ");
    fs::write(&go, "").expect("there is room");
    run.finish();
}

#[test]
fn the_folder_is_the_same_there_if_there_is_one() {
    let machines = Machines::new();
    let run =
        |folder: &str| machines.test("1/alpha").cwd(folder).args(["sh", "-c", "pwd"]).stdin("a\n");
    run("/usr").stdout("/usr\n").run();
    let gone = machines.path("gone");
    fs::create_dir(&gone).expect("a folder");
    machines.login(&format!("rm -rf {gone}"));
    run(&gone)
        .stdout(format!("{}\n", machines.home("alpha")))
        .stderr_has(format!("procpool: alpha: there is no folder '{gone}': jobs run in '"))
        .run();
}
