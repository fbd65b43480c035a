//! `--semaphore NAME`: one limit for the commands of several procpools.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::common::{Crew, Test, leftovers, lines_of, sh, until, wait_for};

/// A crew whose folder is its owner's alone.
fn private() -> Crew {
    let crew = Crew::new();
    let mode = fs::Permissions::from_mode(0o700);
    fs::set_permissions(crew.path(""), mode).expect("it is ours");
    crew
}

/// A procpool with a semaphore of its own crew.
fn test(crew: &Crew, options: &[&str]) -> Test {
    named(crew, Test::new(), options)
}

/// The same, and its command in the background prints nothing.
fn background(crew: &Crew, options: &[&str], script: &str) -> Test {
    let test = Test::through_shell("\"$@\" > /dev/null 2>&1");
    named(crew, test, options).args(sh(script))
}

fn named(crew: &Crew, test: Test, options: &[&str]) -> Test {
    test.env("XDG_RUNTIME_DIR", crew.path("")).args(["--semaphore", "s"]).args(options)
}

/// A script that notes its begin and its end, and ends when a file is there.
fn noted(crew: &Crew, name: &str) -> String {
    let (log, go) = (crew.path("log"), crew.path(&format!("go-{name}")));
    format!("echo {name} >> '{log}'; {}; echo end-{name} >> '{log}'", until(&go))
}

fn await_log(crew: &Crew, lines: &[&str]) {
    wait_for(&format!("the log has {lines:?}"), || lines_of(&crew.path("log")) == lines);
}

fn await_line(crew: &Crew, line: &str) {
    wait_for(line, || lines_of(&crew.path("log")).iter().any(|it| it == line));
}

#[test]
fn commands_share_one_limit() {
    let crew = private();
    // It returns at once, and the command goes on.
    background(&crew, &["-j2"], &noted(&crew, "a")).run();
    await_log(&crew, &["a"]);
    background(&crew, &["-j2"], &noted(&crew, "b")).run();
    await_log(&crew, &["a", "b"]);
    let third = background(&crew, &["-j2"], &noted(&crew, "c")).spawn();
    test(&crew, &["-j2", "--semaphore-timeout", "-0.05", "echo"])
        .stderr("procpool: semaphore s: no place was free in time: nothing was run\n")
        .status(1)
        .run();
    // Another name is another semaphore.
    Test::new()
        .env("XDG_RUNTIME_DIR", crew.path(""))
        .args(["--semaphore", "other/name", "--fg", "echo", "x"])
        .stdout("x\n")
        .run();
    crew.file("go-a", "");
    third.finish();
    await_log(&crew, &["a", "b", "end-a", "c"]);
    // A caller with a lower limit waits until fewer run.
    let only = test(&crew, &["-j1", "--fg"]).args(["echo", "alone"]).stdout("alone\n").spawn();
    assert!(!only.has_ended());
    let all = test(&crew, &["--wait"]).spawn();
    crew.file("go-b", "");
    await_line(&crew, "end-b");
    assert!(!only.has_ended() && !all.has_ended());
    crew.file("go-c", "");
    only.finish();
    all.finish();
    await_line(&crew, "end-c");
}

#[test]
fn in_the_foreground_it_is_the_command() {
    let crew = private();
    test(&crew, &["--fg", "cat"]).stdin("a\nb\n").stdout("a\nb\n").run();
    test(&crew, &["--fg"]).args(sh("echo e >&2; exit 7")).stderr("e\n").status(7).run();
    test(&crew, &["--fg"]).args(sh("kill -KILL $$")).status(137).run();
    test(&crew, &["--fg", "--shell", "echo a; echo b"]).stdout("a\nb\n").run();
    let options = ["--fg", "--env", "A=1", "--cwd", "/", "sh", "-c", "echo $A; pwd"];
    test(&crew, &options).env("PROCPOOL_OPTIONS", "--tag --retries 3").stdout("1\n/\n").run();
    test(&crew, &["no-such-command"]).any_stderr().status(127).run();
    // The output goes on after procpool.
    let run = test(&crew, &[]).args(sh("echo first; echo second")).any_stdout().run();
    assert_eq!(run.lines(), ["first", "second"]);
}

#[test]
fn a_wait_has_a_limit() {
    let crew = private();
    background(&crew, &[], &noted(&crew, "a")).run();
    await_log(&crew, &["a"]);
    test(&crew, &["--wait", "--semaphore-timeout", "0.05"])
        .stderr("procpool: semaphore s: commands still run\n")
        .status(1)
        .run();
    test(&crew, &["--fg", "--semaphore-timeout", "0.05", "echo", "x"])
        .stderr("procpool: semaphore s: no place was free in time: it runs without\n")
        .stdout("x\n")
        .run();
    // The limit of the variable is for the jobs of a run.
    test(&crew, &["--semaphore-timeout", "-0.05", "echo", "x"])
        .env("PROCPOOL_OPTIONS", "-j3")
        .stderr_has("nothing was run")
        .status(1)
        .run();
    crew.file("go-a", "");
    test(&crew, &["--wait"]).run();
}

#[test]
fn a_killed_holder_loses_no_place() {
    let crew = private();
    let mark = crew.path("mark");
    let script = format!("echo $$ $PPID >> '{0}'; exec sleep 60 # {mark}", crew.path("pids"));
    // The command is killed, or the procpool that waits for it.
    for which in 0..2 {
        background(&crew, &[], &script).run();
        wait_for("it runs", || lines_of(&crew.path("pids")).len() == which + 1);
        let pids = lines_of(&crew.path("pids"));
        let pid =
            pids[which].split(' ').nth(which).expect("two numbers").parse().expect("a number");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process");
        rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
        test(&crew, &["--fg", "--semaphore-timeout", "-20", "echo", "next"]).stdout("next\n").run();
    }
    // With --fg the command has no pipe of procpool's, so the guardian finds it only once its start is over.
    let script = format!("sleep 0.3; echo fg >> '{0}'; exec sleep 60 # {mark}", crew.path("pids"));
    let run = test(&crew, &["--fg"]).args(sh(&script)).killed_by(Signal::KILL).spawn();
    wait_for("it runs", || lines_of(&crew.path("pids")).len() == 3);
    run.signal(Signal::KILL);
    run.finish();
    test(&crew, &["--fg", "--semaphore-timeout", "-20", "echo", "next"]).stdout("next\n").run();
    wait_for("the commands are gone", || leftovers(&mark).is_empty());
}

#[test]
fn a_signal_ends_the_command() {
    let crew = private();
    let script =
        format!("trap 'echo ended; exit 1' TERM; : > '{}'; sleep 60 & wait", crew.path("begun"));
    let run = test(&crew, &["--fg"])
        .args(sh(&script))
        .stdout("ended\n")
        .killed_by(Signal::INT)
        .any_stderr();
    let run = run.spawn();
    wait_for("it runs", || fs::metadata(crew.path("begun")).is_ok());
    run.signal(Signal::INT);
    run.finish();
}

#[test]
fn its_folder_is_the_users_alone() {
    let crew = private();
    let folder = crew.path("procpool");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
    test(&crew, &["echo"]).stderr_has("other users can use it").status(125).run();
    fs::remove_dir(&folder).expect("it is empty");
    std::os::unix::fs::symlink(crew.path("elsewhere"), &folder).expect("there is room");
    test(&crew, &["echo"]).stderr_has("it is not a folder").status(125).run();
}

#[test]
fn what_a_semaphore_refuses() {
    let crew = private();
    for (options, why) in [
        (&["--tag", "echo"][..], "--tag has no effect with --semaphore"),
        (&[], "--semaphore runs a COMMAND"),
        (&["echo", "{}"], "once and without args"),
        (&["echo", ":::", "a"], "once and without args"),
        (&["--semaphore", "", "echo"], "1 to 80 bytes"),
        (&["--semaphore-timeout", "x", "echo"], "to give up after that time"),
    ] {
        test(&crew, options).stderr_has(why).status(2).run();
    }
    Test::new().args(["--fg", "echo"]).stderr_has("--semaphore <NAME>").status(2).run();
    test(&crew, &["--fg", "-I", "@@", "echo", "{} {1}"]).stdout("{} {1}\n").run();
}
