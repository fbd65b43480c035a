//! Signals, terminals and closed pipes: the run ends, and leaves nothing behind.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Crew, Test, assert_has, lines_of, message, need, result, wait_for, wait_for_rest,
};
use rexpect::session::PtyReplSession;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// Signals until it has ended, and not so fast that two signals become one.
#[track_caller]
fn insist(run: &crate::common::Running, signal: Signal) {
    wait_for("a run to end that is signalled again and again", || {
        // It may just have ended.
        let _ = kill_process(run.pid(), signal);
        thread::park_timeout(Duration::from_millis(300));
        run.has_ended()
    });
}

#[test]
fn the_first_signal_lets_running_jobs_finish() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let crew = Crew::new();
        let mut run = Test::new()
            .workers(1, crew.worker(""))
            .args(["--grace", "20s"])
            .jobs([
                "echo [1]",
                &format!("await_file [{:?}]", crew.path("go")),
                "echo [3]",
                "echo [4]",
            ])
            .stdout(
                "{\"id\":1,\"ok\":true,\"result\":[1]}\n{\"id\":2,\"ok\":true,\"result\":true}\n",
            )
            .stderr_has("2 ")
            .killed_by(signal)
            .spawn();
        assert_eq!(run.record()["id"], 1);
        crew.await_logged("job", 2);
        run.signal(signal);
        run.await_taken();
        assert!(!run.has_ended(), "a job is running");
        crew.file("go", "");
        run.finish();
        crew.assert_gone();
        assert_eq!(crew.logged("job").len(), 2, "no other job is begun");
    }
}

#[test]
fn after_the_grace_period_running_jobs_are_cancelled() {
    let crew = Crew::new();
    let output = {
        let run = Test::new()
            .workers(3, crew.worker(""))
            .args(["--grace", "0.3s"])
            .jobs([
                "never_answer",
                "echo [2]",
                "ignore_term",
                "grandchild_hang [\"--ignore-term\"]",
            ])
            .any_stdout()
            .any_stderr()
            .killed_by(Signal::INT)
            .spawn();
        crew.await_logged("job", 4);
        crew.await_processes(4);
        run.signal(Signal::INT);
        run.finish()
    };
    let records = output.records();
    assert_eq!(records.len(), 4, "{records:?}");
    for at in [0, 2, 3] {
        message(&records[at], "cancelled");
    }
    assert_eq!(result(&records[1]), &json!([2]));
    crew.assert_gone();
}

#[test]
fn the_second_signal_kills_at_once() {
    for signal in [Signal::INT, Signal::TERM] {
        let crew = Crew::new();
        let run = Test::new()
            .workers(2, crew.worker(""))
            .args(["--grace", "10m"])
            .jobs(["ignore_term", "grandchild_hang [\"--ignore-term\"]"])
            .any_stdout()
            .any_stderr()
            .killed_by(signal)
            .spawn();
        crew.await_logged("job", 2);
        crew.await_processes(3);
        insist(&run, signal);
        let records = run.finish().records();
        assert_eq!(records.len(), 2);
        for record in &records {
            message(record, "cancelled");
        }
        crew.assert_gone();
    }
}

#[test]
fn a_signal_ends_a_run_that_waits_for_input() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(2, crew.worker(""))
        .stdin_open()
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::TERM)
        .spawn();
    run.write("echo [1]\n");
    assert_eq!(result(&run.record()), &json!([1]));
    run.signal(Signal::TERM);
    run.finish_by_itself();
    crew.assert_gone();
}

#[test]
fn a_signal_ends_a_run_before_its_first_job() {
    let crew = Crew::new();
    let run = Test::new()
        .workers(2, crew.worker(""))
        .stdin_open()
        .any_stderr()
        .killed_by(Signal::TERM)
        .spawn();
    // By then it has said how it takes signals.
    thread::park_timeout(Duration::from_millis(300));
    run.signal(Signal::TERM);
    run.finish_by_itself();
    assert!(crew.log().is_empty());
}

#[test]
fn a_signal_ends_a_run_whose_worker_does_not_start() {
    let crew = Crew::new();
    let run = Test::new()
        .workers(1, crew.worker("--die-at-start"))
        .args(["--start-limit", "0", "--grace", "0.3s"])
        .jobs(["echo [1]"])
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::INT)
        .spawn();
    crew.await_logged("start", 3);
    run.signal(Signal::INT);
    let output = run.finish();
    // A worker has the job in hand just then, or it waits for the next one.
    match &output.records()[..] {
        [] => assert_has(&output.stderr, &["1 job"]),
        [record] => assert!(!message(record, "cancelled").is_empty()),
        more => panic!("{more:?}"),
    }
    crew.assert_gone();
}

#[test]
fn a_signal_ends_a_run_whose_output_nobody_reads() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(2, crew.worker(""))
        .args(["--buffer", "1K", "--grace", "0.3s"])
        .stdin_endless("first [\"0123456789\"]\n")
        .hold_stdout()
        .any_stdout()
        .any_stderr()
        .killed_by(Signal::INT)
        .spawn();
    crew.await_logged("done", 1000);
    insist(&run, Signal::INT);
    crew.assert_gone();
    run.release_stdout();
    run.finish();
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    // As under nohup.
    let crew = Crew::new();
    let mut run = Test::through_shell("trap '' HUP; exec \"$@\"")
        .workers(1, crew.worker(""))
        .stdin_open()
        .any_stdout()
        .spawn();
    run.write("echo [1]\n");
    assert_eq!(result(&run.record()), &json!([1]));
    run.signal(Signal::HUP);
    run.await_taken();
    run.write("echo [2]\n");
    assert_eq!(result(&run.record()), &json!([2]));
    run.finish();
}

#[test]
fn whatever_ends_procpool_ends_its_workers() {
    let crew = Crew::new();
    let run = Test::new()
        .workers(3, crew.worker("--ignore-eof --ignore-term"))
        .jobs(["never_answer", "grandchild_hang [\"--ignore-term\"]", "grandchild_stdout"])
        .any_stdout()
        .killed_by(Signal::KILL)
        .spawn();
    crew.await_logged("job", 3);
    wait_for("the grandchildren", || crew.left().len() >= 5);
    run.signal(Signal::KILL);
    run.finish();
    crew.assert_gone();
}

#[test]
fn a_closed_stdout_ends_an_endless_run() {
    for options in [&["--keep-order"][..], &["--stream"], &["--format", "text"]] {
        let crew = Crew::new();
        let output = Test::new()
            .workers(2, crew.worker("--ignore-eof --ignore-term"))
            .args(options)
            .stdin_endless("first [\"result\"]\n")
            .head(1)
            .any_stdout()
            .killed_by(Signal::PIPE)
            .run();
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("result\"}\n")
                || options[0] == "--format"
        );
        crew.assert_gone();
    }
}

#[test]
fn a_closed_stdout_ends_a_run_though_stdin_stays_open() {
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(2, crew.worker(""))
        .stdin_open()
        .head(1)
        .any_stdout()
        .killed_by(Signal::PIPE)
        .spawn();
    run.write("echo [1]\n");
    run.line();
    run.write("echo [2]\n");
    run.finish_by_itself();
    crew.assert_gone();
}

#[test]
fn a_closed_stdout_ends_running_jobs() {
    let crew = Crew::new();
    let go = crew.path("go");
    let mut run = Test::new()
        .workers(2, crew.worker(""))
        .arg("--stream")
        .jobs(["ignore_term", "await_log [\"job\",2]", &format!("await_file [{go:?}]")])
        .head(1)
        .any_stdout()
        .killed_by(Signal::PIPE)
        .spawn();
    run.line();
    crew.file("go", "");
    run.finish();
    crew.assert_gone();
}

#[test]
fn in_a_pipeline_with_head() {
    let crew = Crew::new();
    let mut run = Test::through_shell("yes 'echo [1]' | \"$@\" | head -n 1")
        .workers(2, crew.worker(""))
        .stdout("{\"id\":1,\"ok\":true,\"result\":[1]}\n")
        .spawn();
    run.line();
    run.finish();
    crew.assert_gone();
}

/// A shell in a terminal.
pub(crate) struct Terminal(PtyReplSession);

impl Terminal {
    pub(crate) fn new() -> Option<Self> {
        if !need("bash") {
            return None;
        }
        let shell = rexpect::spawn_bash(Some(30_000)).expect("a shell in a terminal");
        // Otherwise it would be ended by TERM, which a shell at a terminal ignores.
        let mut shell = shell.quit_command(Some("exit".into()));
        shell.send_line("unset PYTHONUNBUFFERED").expect("the shell reads");
        shell.wait_for_prompt().expect("a prompt");
        Some(Self(shell))
    }

    /// Runs procpool on jobs from a file.
    #[track_caller]
    pub(crate) fn procpool(&mut self, crew: &Crew, options: &str, jobs: &[&str]) {
        let jobs = crew.file("jobs", jobs.join("\n"));
        let words = [env!("CARGO_BIN_EXE_procpool"), "--worker", &crew.worker(""), "-a", &jobs];
        self.send(&format!("{} --progress never {options}", shell_words::join(words)));
    }

    #[track_caller]
    pub(crate) fn send(&mut self, line: &str) {
        self.0.send_line(line).expect("the shell reads");
    }

    #[track_caller]
    pub(crate) fn press(&mut self, control: char) {
        self.0.send_control(control).expect("the terminal takes keys");
    }

    #[track_caller]
    pub(crate) fn see(&mut self, text: &str) -> String {
        match self.0.exp_string(text) {
            Ok(before) => before,
            Err(error) => panic!("{text:?} is not seen: {error}"),
        }
    }

    /// Waits for the prompt; returns what was printed before it.
    #[track_caller]
    pub(crate) fn prompt(&mut self) -> String {
        self.0.wait_for_prompt().expect("a prompt")
    }

    /// Presses Ctrl-Z, and waits until the shell has the terminal again.
    #[track_caller]
    fn stop(&mut self) {
        self.press('z');
        self.see("Stopped");
        self.prompt();
    }

    /// Waits for the prompt. The last run had this status and has left nothing behind. Returns what was
    /// printed before the prompt.
    #[track_caller]
    fn finish(&mut self, crew: &Crew, status: &str) -> String {
        let before = self.prompt();
        assert_eq!(self.status(), status);
        crew.assert_gone();
        before
    }

    #[track_caller]
    pub(crate) fn status(&mut self) -> String {
        self.send("echo \"status=$?\"");
        self.see("status=");
        self.prompt().trim().to_owned()
    }
}

#[test]
fn ctrl_c_once() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let go = format!("await_file [{:?}]", crew.path("go"));
    terminal.procpool(&crew, "-j1 --grace 20s", &["echo [1]", &go, "echo [3]"]);
    crew.await_logged("job", 2);
    terminal.press('c');
    terminal.see("procpool: waiting for 1 running job");
    crew.file("go", "");
    terminal.see("{\"id\":2,\"ok\":true,\"result\":true}");
    let rest = terminal.finish(&crew, "130");
    assert!(!rest.contains("\"id\":3"), "{rest}");
}

#[test]
fn ctrl_c_twice() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let jobs = ["echo [1]", "ignore_term", "grandchild_hang [\"--ignore-term\"]"];
    terminal.procpool(&crew, "-j2 --grace 10m", &jobs);
    crew.await_logged("job", 3);
    crew.await_processes(3);
    terminal.press('c');
    terminal.see("procpool: waiting for 2 running jobs");
    // Signals within 0.1 s are one.
    thread::park_timeout(Duration::from_millis(150));
    terminal.press('c');
    terminal.finish(&crew, "130");
}

#[test]
fn ctrl_c_where_nothing_runs_speaks_of_no_jobs() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let words = [env!("CARGO_BIN_EXE_procpool"), "--worker", &crew.worker("")];
    terminal.send(&format!("{} --progress never -j1", shell_words::join(words)));
    terminal.send("echo [1]");
    terminal.see("{\"id\":1,\"ok\":true,\"result\":[1]}");
    terminal.press('c');
    let rest = terminal.finish(&crew, "130");
    assert!(!rest.contains("procpool:"), "{rest}");
}

/// Ctrl-S: the terminal takes no more.
#[test]
fn a_terminal_that_was_told_to_hold_on_holds_up_no_end() {
    if !crate::common::heavy() {
        return;
    }
    for options in ["--progress never", "--progress always"] {
        let Some(mut terminal) = Terminal::new() else { return };
        let crew = Crew::new();
        let procpool = env!("CARGO_BIN_EXE_procpool");
        let job = "echo >> \"$LOG\"; head -c 20000 /dev/zero | tr \"\\0\" x; exit 1";
        let (log, pid) = (crew.path("log"), crew.path("pid"));
        terminal.send("stty ixon");
        terminal.prompt();
        terminal.send(&format!(
            "seq 2000 | LOG={log} sh -c 'echo $$ > {pid}; exec \"$@\"' sh \
             {procpool} {options} -j2 sh -c '{job}' sh"
        ));
        wait_for("some jobs", || lines_of(&log).len() > 20);
        terminal.press('s');
        wait_for_rest("the run to be held up", || lines_of(&log).len() as u64);
        let pid = std::fs::read_to_string(&pid).expect("it was written");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("it lives");
        wait_for("the end", || kill_process(pid, Signal::CONT).is_err());
        terminal.press('q');
    }
}

#[test]
fn ctrl_z_and_fg() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let go = format!("await_file [{:?}]", crew.path("go"));
    terminal.procpool(&crew, "-j1 --timeout 5s", &["grandchild_stdout", &go, "echo [3]"]);
    crew.await_logged("job", 2);
    crew.await_processes(2);
    let stopped = Instant::now();
    terminal.stop();
    crew.await_stopped(2);
    // The clocks stand still: the pause is longer than the timeout.
    while stopped.elapsed() < Duration::from_secs(6) {
        thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(crew.states(), ['T'; 2]);
    terminal.send("fg");
    wait_for("all to go on", || !crew.states().contains(&'T'));
    crew.file("go", "");
    terminal.see("{\"id\":2,\"ok\":true,\"result\":true}");
    terminal.see("{\"id\":3,\"ok\":true,\"result\":[3]}");
    terminal.finish(&crew, "0");
}

#[test]
fn told_to_go_on_before_it_has_come_to_a_stop() {
    let crew = Crew::new();
    let (stderr, mut reader) = crew.fifo("stderr");
    let mut run = Test::through_shell("exec \"$@\" 2>\"$FIFO\"")
        .env("FIFO", &stderr)
        .workers(1, crew.worker(""))
        .args(["--format", "value"])
        .stdin_open()
        .any_stdout()
        .spawn();
    // Nobody reads its stderr, which holds it up on the way to where it stops.
    run.write("flood_stderr [200000]\n");
    crew.await_logged("job", 1);
    let is_full = || rustix::io::ioctl_fionread(&reader).is_ok_and(|count| count >= 60 << 10);
    wait_for("stderr to be full", is_full);
    run.signal(Signal::TSTP);
    crew.await_stopped(1);
    run.signal(Signal::CONT);
    thread::spawn(move || while reader.read(&mut [0; 64 << 10]).is_ok_and(|count| count > 0) {});
    assert_eq!(run.line(), "[200000]");
    run.finish();
    crew.assert_gone();
}

#[test]
fn ctrl_z_twice() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let go = format!("await_file [{:?}]", crew.path("go"));
    terminal.procpool(&crew, "-j1", &[&go, "echo [2]"]);
    crew.await_logged("job", 1);
    for _ in 0..2 {
        terminal.stop();
        crew.await_stopped(1);
        terminal.send("fg");
        wait_for("all to go on", || !crew.states().contains(&'T'));
    }
    crew.file("go", "");
    terminal.see("{\"id\":2,\"ok\":true,\"result\":[2]}");
    terminal.finish(&crew, "0");
}

#[test]
fn ctrl_z_and_kill() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    terminal.procpool(&crew, "-j2 --grace 0.3s", &["ignore_term", "grandchild_hang"]);
    crew.await_logged("job", 2);
    crew.await_processes(3);
    terminal.stop();
    terminal.send("kill %1");
    wait_for("the end", || crew.left().is_empty());
    terminal.prompt();
    terminal.send("wait; jobs; echo end");
    terminal.see("end");
}

#[test]
fn a_stopped_run_that_is_killed_leaves_nothing_behind() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    terminal.procpool(&crew, "-j2", &["ignore_term", "grandchild_hang"]);
    crew.await_logged("job", 2);
    crew.await_processes(3);
    terminal.stop();
    crew.await_stopped(3);
    terminal.send("kill -9 %1");
    terminal.prompt();
    crew.assert_gone();
}

#[test]
fn a_closed_terminal() {
    let Some(mut terminal) = Terminal::new() else { return };
    terminal.send("echo \"shell=$$\"");
    terminal.see("shell=");
    let shell = terminal.prompt().trim().parse().ok().and_then(Pid::from_raw);
    let crew = Crew::new();
    terminal.procpool(&crew, "-j2 --grace 0.3s", &["ignore_term", "grandchild_hang"]);
    crew.await_logged("job", 2);
    crew.await_processes(3);
    kill_process(shell.expect("a process id"), Signal::HUP).expect("the shell lives");
    wait_for("the end", || crew.left().is_empty());
}

#[test]
fn jobs_typed_at_a_terminal() {
    let Some(mut terminal) = Terminal::new() else { return };
    let crew = Crew::new();
    let words = [env!("CARGO_BIN_EXE_procpool"), "--worker", &crew.worker("")];
    terminal.send(&format!("{} --progress never -j1", shell_words::join(words)));
    terminal.send("echo [1]");
    terminal.see("{\"id\":1,\"ok\":true,\"result\":[1]}");
    terminal.send("echo [2]");
    terminal.see("{\"id\":2,\"ok\":true,\"result\":[2]}");
    terminal.press('d');
    terminal.finish(&crew, "0");
}
