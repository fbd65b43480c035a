//! Processes that a command leaves running when it ends by itself: their output is read, and they live on.
//! An earlier end of the job ends them too. Also processes that nobody can kill.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, getuid, test_kill_process};

use crate::common::{
    Crew, Test, end_all, failed, find_program, leftovers, message, need, quoted, result, sh, until,
    wait_for, without_times,
};

/// A process that commands leave running; it is killed at the end of the test.
struct Left {
    crew: Crew,
    /// A program that nobody else sleeps with.
    sleep: String,
}

impl Left {
    fn new() -> Self {
        let crew = Crew::new();
        let sleep = crew.path("sleep");
        symlink("/bin/sleep", &sleep).expect("a link");
        Self { crew, sleep }
    }

    /// Its number, once it is there; it was written to the file `pid`.
    #[track_caller]
    fn pid(&self) -> Pid {
        let read = || fs::read_to_string(self.crew.path("pid")).unwrap_or_default();
        wait_for("a number", || read().ends_with('\n'));
        Pid::from_raw(read().trim().parse().expect("a number")).expect("it is positive")
    }

    #[track_caller]
    fn assert_alive(&self) {
        assert_eq!(leftovers(&self.sleep).len(), 1, "it does not live on");
    }

    #[track_caller]
    fn assert_gone(&self) {
        wait_for("its end", || leftovers(&self.sleep).is_empty());
    }

    /// A script that leaves it running, with these redirections.
    fn script(&self, redirections: &str, then: &str) -> String {
        let (sleep, pid) = (&self.sleep, self.crew.path("pid"));
        format!("'{sleep}' 60 {redirections} & echo $! > '{pid}'; {then}")
    }

    /// The message about it.
    fn remark(&self) -> String {
        let pid = self.pid().as_raw_nonzero();
        format!(
            "procpool: job 1 (line 1): the command has left running: {} 60 (pid {pid})",
            self.sleep
        )
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        end_all(&self.sleep);
    }
}

/// The end of the message about one that holds a stream open.
fn silent(grace: &str) -> String {
    format!(
        "; it holds stdout or stderr open and has printed nothing for {grace}: what it prints from \
         now on is lost\n"
    )
}

/// A run of one job, which is this script.
fn run_of(options: &[&str], script: &str) -> Test {
    Test::new().args(options).args(sh(script)).stdin("a\n").stdout("out\n").any_stderr()
}

#[test]
fn what_holds_no_stream_is_told_and_lives_on() {
    for (ending, status) in [(":", 0), ("exit 3", 1), ("kill -9 $$", 1)] {
        let left = Left::new();
        let script = left.script("> /dev/null 2>&1", &format!("echo out; {ending}"));
        let output = run_of(&["--grace", "1h"], &script).status(status).run();
        let why = if ending == "exit 3" { "exit status 3" } else { "killed by SIGKILL (signal 9)" };
        let line = failed(&format!("sh -c {} sh a", quoted(&script)), why, "job 1, line 1");
        let failure = if status == 0 { String::new() } else { line };
        let stderr = without_times(&output.stderr);
        let (told, closing) =
            stderr.split_at(stderr.find("procpool: 1 of 1").unwrap_or(stderr.len()));
        assert_eq!(told, format!("{}\n{failure}", left.remark()));
        assert_eq!(closing.is_empty(), status == 0, "{stderr}");
        left.assert_alive();
    }
}

#[test]
fn what_is_silent_is_left_alone_after_the_grace_period() {
    for redirections in ["", "> /dev/null", "2> /dev/null"] {
        let left = Left::new();
        let script = left.script(redirections, "echo out; echo err >&2");
        let output = run_of(&["--grace", "0.3"], &script).run();
        assert_eq!(output.stderr, format!("{}{}err\n", left.remark(), silent("300ms")));
        left.assert_alive();
    }
}

#[test]
fn what_has_left_the_group_and_holds_a_stream_is_told() {
    if !need("setsid") {
        return;
    }
    let left = Left::new();
    let script = format!(
        "setsid sh -c 'echo $$ > \"$1\"; exec \"$2\" 60' sh '{0}' '{1}' & \
         until test -s '{0}'; do sleep 0.02; done; echo out",
        left.crew.path("pid"),
        left.sleep
    );
    let output = run_of(&["--grace", "0.3"], &script).run();
    assert_eq!(output.stderr, format!("{}{}", left.remark(), silent("300ms")));
    left.assert_alive();
}

#[test]
fn what_it_prints_is_waited_for() {
    for live in [&[][..], &["--live"]] {
        let crew = Crew::new();
        let (go, log) = (crew.path("go"), crew.path("log"));
        let wait = until(&go);
        let script =
            format!("(echo >> '{log}'; {wait}; echo late; echo late-err >&2) & echo out; exit $1");
        let run = Test::new()
            .args(live)
            .args(["-j2", "--grace", "1h"])
            .args(sh(&script))
            .stdin("0\n3\n")
            .stdout("out\nlate\nout\nlate\n")
            .stderr(format!(
                "late-err\nlate-err\n{}",
                failed(
                    &format!("sh -c {} sh 3", quoted(&script)),
                    "exit status 3",
                    "job 2, line 2"
                )
            ))
            .status(1)
            .spawn();
        wait_for("both", || fs::read_to_string(&log).is_ok_and(|text| text.len() == 2));
        assert!(!run.ends_within(Duration::from_millis(100)), "it did not wait");
        crew.file("go", "");
        run.finish();
    }
}

#[test]
fn no_file_that_bash_writes_through_a_process_is_cut_short() {
    if !need("bash") {
        return;
    }
    let crew = Crew::new();
    let script = "seq $1 > >(read first; sleep 0.2; cat > \"$2$1\")";
    let output = crew.path("copy-");
    Test::new()
        .args(["-j2", "bash", "-c", script, "bash", "{}", &output])
        .stdin("20000\n20001\n20002\n")
        // `cat` closes its stderr before it ends, and may take its time on a machine with much to do.
        .any_stderr()
        .run();
    for count in 20_000..20_003 {
        let expected: String = (2..=count).map(|n| format!("{n}\n")).collect();
        let copy = fs::read_to_string(format!("{output}{count}")).expect("it was written");
        assert!(copy == expected, "{} bytes of {}", copy.len(), expected.len());
    }
}

#[test]
fn one_that_prints_for_ever_ends_with_the_timeout() {
    let left = Left::new();
    let script = format!(
        "(while :; do echo y; '{}' 0.01; done) & echo $! > '{}'",
        left.sleep,
        left.crew.path("pid")
    );
    run_of(&["--timeout", "2", "--grace", "5"], &script)
        .any_stdout()
        .stderr(failed(
            &format!("sh -c {} sh a", quoted(&script)),
            "timed out after 2s",
            "job 1, line 1",
        ))
        .status(1)
        .run();
    let pid = left.pid();
    wait_for("its end", || test_kill_process(pid).is_err());
    left.assert_gone();
}

#[test]
fn one_that_does_not_mind_term_is_killed_after_the_timeout() {
    let left = Left::new();
    let script = format!("trap '' TERM; {}", left.script("", "echo out"));
    let output = run_of(&["--timeout", "1", "--grace", "1.2"], &script)
        .stderr(failed(
            &format!("sh -c {} sh a", quoted(&script)),
            "timed out after 1s",
            "job 1, line 1",
        ))
        .status(1)
        .run();
    assert!(output.elapsed >= Duration::from_millis(2200), "it had no grace period");
    left.assert_gone();
}

#[test]
fn whatever_ends_a_run_ends_what_is_still_read_from() {
    if !crate::common::heavy() {
        return;
    }
    let ways: [(&[Signal], &str); 4] = [
        (&[Signal::TERM], "2"),
        (&[Signal::TERM, Signal::TERM], "1h"),
        (&[Signal::QUIT], "1h"),
        (&[Signal::KILL], "1h"),
    ];
    for (signals, grace) in ways {
        let left = Left::new();
        let script = left.script("", "echo out");
        let run = run_of(&["--grace", grace], &script).any_stdout().killed_by(signals[0]).spawn();
        let pid = left.pid();
        // The command, whose script names it too, is over.
        wait_for("the end of the command", || leftovers(&left.sleep).len() == 1);
        for (at, signal) in signals.iter().enumerate() {
            if at > 0 {
                run.await_taken();
            }
            // Signals within 0.1 s are one.
            assert!(!run.ends_within(Duration::from_millis(150)), "it does not wait");
            run.signal(*signal);
        }
        let output = run.finish();
        assert!(!output.stderr.contains("left running"), "{}", output.stderr);
        wait_for("its end", || test_kill_process(pid).is_err());
    }
}

#[test]
fn a_halt_ends_what_is_still_read_from() {
    let left = Left::new();
    let said = left.crew.path("said");
    let script = left.script("", &format!("echo out; : > '{said}'"));
    let script = format!("if test $1 = 1; then {script}; else {}; exit 4; fi", until(&said));
    Test::new()
        .args(["-j2", "--grace", "20", "--halt", "now,fail=1"])
        .args(sh(&script))
        .stdin("1\n2\n")
        .stdout("out\n")
        .stderr_has("(job 2, line 2")
        .stderr_has(": exit status 4")
        .stderr_has("(job 1, line 1")
        .stderr_has(": it was running when the run was ended")
        .status(1)
        .run();
    left.assert_gone();
}

#[test]
fn what_a_job_that_is_over_has_left_survives_a_killed_procpool() {
    let left = Left::new();
    let wait = until(&left.crew.path("never"));
    let script = left.script("> /dev/null 2>&1", "echo out");
    let script = format!("if test $1 = 1; then {script}; else {wait}; fi");
    let mut run = Test::new()
        .arg("-j1")
        .args(sh(&script))
        .stdin("1\n2\n")
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::KILL)
        .spawn();
    assert_eq!(run.line(), "out");
    let marks = || leftovers(&wait);
    wait_for("the second job", || !marks().is_empty());
    run.signal(Signal::KILL);
    run.finish();
    wait_for("the end of what was running", || marks().is_empty());
    left.assert_alive();
}

#[test]
fn workers_take_what_they_have_started_with_them() {
    let left = Left::new();
    let pid = left.crew.path("pid");
    let code = format!("'{}' 60 > /dev/null 2>&1 & echo $! > '{pid}'; echo out", left.sleep);
    Test::new().args(["--sh", &code]).stdin("a\n").stdout("out\n").run();
    left.assert_gone();
}

/// How to run procpool, a copy of it, as a user that may do little.
const AS_NOBODY: &str =
    "shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$COPY\" \"$@\"";

/// A program that makes root's what that user starts with it. `None`: that can't be done here.
fn become_root(crew: &Crew) -> Option<String> {
    if !need("setpriv") {
        return None;
    }
    let program = crew.path("become-root");
    let is_made = getuid().is_root()
        && fs::copy(find_program("setpriv")?, &program).is_ok()
        && chown(&program, Some(0), Some(65534)).is_ok()
        && fs::set_permissions(&program, PermissionsExt::from_mode(0o4750)).is_ok();
    let tried = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", &program])
        .args(["--ruid", "0", "--euid", "0", "true"])
        .status();
    let works = is_made && tried.is_ok_and(|status| status.success());
    if !works {
        println!("skipped: no program can make its user root");
    }
    works.then_some(program)
}

#[test]
fn a_command_that_cannot_be_killed_is_left_behind() {
    if !crate::common::heavy() {
        return;
    }
    let left = Left::new();
    let copy = left.crew.open_copy();
    let Some(become_root) = become_root(&left.crew) else { return };
    let command = format!("echo $$; exec '{}' 60", left.sleep);
    let records = Test::through_shell(AS_NOBODY)
        .env("COPY", copy)
        .args(["-j2", "--timeout", "2", "--grace", "0.2", "--format", "record"])
        .args([&become_root, "--ruid", "0", "--euid", "0", "sh", "-c", &command])
        .stdin("1\n2\n3\n")
        .status(1)
        .records();
    assert_eq!(records.len(), 3);
    for record in &records {
        let pid = record["error"]["data"]["stdout"].as_str().expect("its number").trim();
        let expected =
            format!("timed out after 2s; it could not be killed and is left running (pid {pid})");
        assert_eq!(message(record, "timeout"), expected);
    }
    assert_eq!(leftovers(&left.sleep).len(), 3);
}

#[test]
fn what_cannot_be_killed_is_reported_before_an_interrupted_run_ends() {
    let left = Left::new();
    let copy = left.crew.open_copy();
    let Some(become_root) = become_root(&left.crew) else { return };
    let log = left.crew.path("log");
    let command = format!("echo >> '{log}'; exec '{}' 60", left.sleep);
    let run = Test::through_shell(AS_NOBODY)
        .env("COPY", copy)
        .args(["-j2", "--format", "record"])
        .args([&become_root, "--ruid", "0", "--euid", "0", "sh", "-c", &command])
        .stdin("1\n2\n")
        .any_stderr()
        .any_stdout()
        .killed_by(Signal::QUIT)
        .spawn();
    wait_for("both", || fs::read(&log).is_ok_and(|log| log.len() == 2));
    run.signal(Signal::QUIT);
    let records = run.finish().records();
    assert_eq!(records.len(), 2);
    for record in &records {
        let message = message(record, "cancelled");
        assert!(
            message.contains("; it could not be killed and is left running (pid "),
            "{message}"
        );
    }
}

#[test]
fn a_worker_that_cannot_be_killed_is_left_behind() {
    if !crate::common::heavy() {
        return;
    }
    let left = Left::new();
    let copy = left.crew.open_copy();
    let Some(become_root) = become_root(&left.crew) else { return };
    let code = left.crew.file(
        "worker",
        format!(
            "echo $$ > '{}'; while read -r l; do echo '{{\"result\":1}}'; done; exec '{}' 60",
            left.crew.path("pid"),
            left.sleep
        ),
    );
    let worker = format!("{become_root} --ruid 0 --euid 0 sh {code}");
    let output = Test::through_shell(AS_NOBODY)
        .env("COPY", copy)
        .args(["-j1", "--grace", "0.2", "--worker", &worker])
        .stdin("job\njob\n")
        .any_stdout()
        .any_stderr()
        .run();
    assert_eq!(output.records().iter().map(result).filter(|one| **one == 1).count(), 2);
    let pid = left.pid().as_raw_nonzero();
    let expected =
        format!("procpool: the worker (pid {pid}) could not be killed and is left running\n");
    assert_eq!(output.stderr, expected);
    left.assert_alive();
}

/// Traces the process, and tells the file whether it may; then it lets go of it when the file `go` is
/// there.
const TRACER: &str = r#"
import ctypes, os, sys, time
seized = ctypes.CDLL(None, use_errno=True).ptrace(0x4206, int(sys.argv[1]), 0, 0)
open(sys.argv[2] + "-new", "w").write(str(seized))
os.rename(sys.argv[2] + "-new", sys.argv[2])
while not os.path.exists(sys.argv[3]) and os.path.exists(os.path.dirname(sys.argv[3])):
    time.sleep(0.02)
"#;

/// Waits for the tracer, and ends without having been stopped by a signal.
const TRACED: &str = r#"
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
sys.stdout.write(open(sys.argv[1]).read())
sys.stdout.flush()
os._exit(int(sys.argv[2]))
"#;

#[test]
fn a_command_that_is_traced_has_its_status() {
    if !need("python3") {
        return;
    }
    // The tracer takes note of the end never, or soon.
    for (lets_go, status) in [(false, 0), (false, 3), (true, 0)] {
        let crew = Crew::new();
        let (ready, go) = (crew.path("ready"), crew.path("go"));
        let go = if lets_go { ready.clone() } else { go };
        let (tracer, traced) = (crew.file("tracer", TRACER), crew.file("traced", TRACED));
        let script = format!(
            "python3 '{tracer}' $$ '{ready}' '{go}' > /dev/null 2>&1 & \
             exec python3 '{traced}' '{ready}' $1"
        );
        let records = Test::new()
            .args(["--format", "record"])
            .args(sh(&script))
            .stdin(format!("{status}\n"))
            .any_stderr()
            .status(i32::from(status > 0))
            .records();
        let printed = match status {
            0 => result(&records[0]),
            _ => {
                assert_eq!(message(&records[0], "exit"), format!("exit status {status}"));
                &records[0]["error"]["data"]
            }
        };
        assert_eq!(printed["exit"], status);
        if printed["stdout"] != "0" {
            println!("skipped: nothing can be traced here");
        }
    }
}
