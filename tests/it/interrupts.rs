//! Signals end a run even if everything else is stuck. Also: which signals interrupted jobs get, and
//! signals that end nothing.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{
    Crew, Output, Running, Test, lines_of, message, need, sh, state, until, wait_for,
    wait_for_rest, worker,
};

const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// A FIFO that nobody reads, though it is open.
struct Unread {
    path: String,
    file: File,
}

impl Unread {
    fn new(crew: &Crew) -> Self {
        let (path, file) = crew.fifo("unread");
        Self { path, file }
    }

    /// A run of procpool with this as its stderr.
    fn as_stderr(&self) -> Test {
        Test::through_shell("exec \"$@\" 2>\"$TO\"").env("TO", &self.path)
    }

    /// Signals the run when this is full. The run ends, though its stdin stays open.
    #[track_caller]
    fn interrupt(&self, run: Running, signal: Signal) -> Output {
        self.await_full();
        run.signal(signal);
        run.finish_by_itself()
    }

    /// Waits until it takes no more.
    #[track_caller]
    fn await_full(&self) {
        wait_for("a stream to be full", || {
            rustix::io::ioctl_fionread(&self.file).is_ok_and(|count| count >= 60 << 10)
        });
    }
}

#[track_caller]
fn await_file(path: &str) {
    wait_for(path, || Path::new(path).exists());
}

/// A job that makes a lock, and at TERM says so in a log and removes it. `$1` is a folder. `more` is done
/// before it waits.
fn tidy(more: &str) -> String {
    format!(
        "trap 'echo term >> $1/log; rm $1/lock; exit 3' TERM; {more} touch $1/lock; \
         while test -d $1; do sleep 0.02; done"
    )
}

// A stream that takes no more.

#[test]
fn a_stderr_that_nobody_reads_holds_up_no_end() {
    if !crate::common::heavy() {
        return;
    }
    for signal in ENDING {
        for to in ["2>\"$TO\"", ">\"$TO\" 2>&1"] {
            let crew = Crew::new();
            let unread = Unread::new(&crew);
            let run = Test::through_shell(&format!("exec \"$@\" {to}"))
                .env("TO", &unread.path)
                .arg("-j2")
                .args(sh("exit 1"))
                .stdin_endless("x\n")
                .killed_by(signal)
                .spawn();
            unread.interrupt(run, signal);
        }
    }
}

#[test]
fn a_worker_that_floods_a_stderr_that_nobody_reads_holds_up_no_end() {
    let crew = Crew::new();
    let unread = Unread::new(&crew);
    let run = unread
        .as_stderr()
        .workers(3, crew.worker(""))
        .args(["--progress", "always", "--summary"])
        .stdin_endless("flood_stderr [200000]\n")
        .any_stdout()
        .killed_by(Signal::TERM)
        .spawn();
    unread.interrupt(run, Signal::TERM);
    crew.assert_gone();
}

/// All that is left to do is to say what there is to say.
#[test]
fn the_last_messages_hold_up_no_end() {
    let crew = Crew::new();
    let unread = Unread::new(&crew);
    let run = unread
        .as_stderr()
        .args(["-j4", "--summary"])
        .args(sh("echo $1 >> \"$LOG\"; exit 1"))
        .env("LOG", crew.path("log"))
        .stdin("x\n".repeat(1500))
        .killed_by(Signal::INT)
        .spawn();
    wait_for("all jobs", || lines_of(&crew.path("log")).len() == 1500);
    unread.interrupt(run, Signal::INT);
}

#[test]
fn a_stderr_that_is_read_late_gets_everything() {
    let crew = Crew::new();
    let log = crew.path("log");
    let script = "\"$@\" 2>&1 | { until test -e \"$GO\"; do sleep 0.02; done; wc -l; }";
    let run = Test::through_shell(script)
        .env("GO", crew.path("go"))
        .env("LOG", &log)
        .arg("-j2")
        .args(sh("echo >> \"$LOG\"; exit 1"))
        .stdin("x\n".repeat(1500))
        // The last line counts the others.
        .stdout("1501\n")
        .spawn();
    wait_for("all jobs", || lines_of(&log).len() == 1500);
    crew.file("go", "");
    run.finish();
}

/// Finished results are printed, though failures can't be reported.
#[test]
fn a_stderr_that_nobody_reads_keeps_no_result_back() {
    let crew = Crew::new();
    let unread = Unread::new(&crew);
    let log = crew.path("log");
    let run = unread
        .as_stderr()
        .env("LOG", &log)
        .args(["-j1", "--stream"])
        .args(sh("echo $1 >> \"$LOG\"; case $1 in *0) echo $1;; *) exit 1;; esac"))
        .stdin((1..=100_000).map(|n| format!("{n}\n")).collect::<String>())
        .any_stdout()
        .killed_by(Signal::INT)
        .spawn();
    let output = unread.interrupt(run, Signal::INT);
    let ran = lines_of(&log).into_iter().filter(|line| line.ends_with('0')).count();
    assert!(ran > 10, "{ran}");
    assert_eq!(output.lines().len(), ran);
}

#[test]
fn ctrl_z_waits_for_no_stream() {
    let crew = Crew::new();
    let unread = Unread::new(&crew);
    let run = unread
        .as_stderr()
        .workers(1, crew.worker(""))
        .jobs(["flood_stderr [2000000]"])
        .any_stdout()
        .killed_by(Signal::TERM)
        .spawn();
    unread.await_full();
    run.signal(Signal::TSTP);
    wait_for("procpool to be stopped", || state(run.pid()) == Some('T'));
    crew.await_stopped(1);
    // As shells do it for a job that is stopped.
    run.signal(Signal::TERM);
    run.signal(Signal::CONT);
    run.finish_by_itself();
    crew.assert_gone();
}

/// The result of a job that has run already must not wait for room either.
#[test]
fn jobs_that_wait_for_another_try_hold_up_no_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let crew = Crew::new();
        let log = crew.path("log");
        let run = Test::new()
            .args(["-j2", "--stream", "--retries", "3", "--retry-delay", "60s"])
            .args(sh("echo >> \"$LOG\"; case $1 in ?) exit 1;; esac; head -c 20000 /dev/zero"))
            .env("LOG", &log)
            .jobs((0..1000).map(|n| n.to_string()))
            .hold_stdout()
            .any_stdout()
            .any_stderr()
            .killed_by(signal)
            .spawn();
        wait_for("some jobs", || lines_of(&log).len() >= 20);
        wait_for_rest("stdout to be full", || lines_of(&log).len() as u64);
        assert!((20..1000).contains(&lines_of(&log).len()), "it is held back");
        run.signal(signal);
        wait_for("the end", || run.has_ended());
    }
}

/// Not even a file that a slot writes to can hold up the end.
#[test]
fn a_job_log_that_nobody_reads_holds_up_no_end() {
    let crew = Crew::new();
    let unread = Unread::new(&crew);
    let run = Test::new()
        .args(["-j2", "--grace", "0.2s", "--joblog", &unread.path])
        .args(sh("exit 0"))
        .stdin_endless("x\n")
        .any_stderr()
        .killed_by(Signal::TERM)
        .spawn();
    unread.interrupt(run, Signal::TERM);
}

// Signals that belong together.

/// Sends these without a pause. Returns whether they are close enough together to be one.
fn burst(run: &Running, signals: &[Signal]) -> bool {
    let began = Instant::now();
    for &signal in signals {
        let _ = kill_process(run.pid(), signal);
    }
    began.elapsed() < Duration::from_millis(50)
}

#[test]
fn signals_that_come_together_are_one() {
    for signals in [
        &[Signal::TERM, Signal::TERM][..],
        &[Signal::INT, Signal::TERM, Signal::HUP],
        &[Signal::TERM, Signal::CONT, Signal::TERM, Signal::CONT],
    ] {
        // On a machine that is too busy to send them in time, another round does it.
        assert!((0..5).any(|_| are_one(signals)), "{signals:?}");
    }
}

/// Sends these, and asserts that they were taken for one. Returns whether they came together.
#[track_caller]
fn are_one(signals: &[Signal]) -> bool {
    let crew = Crew::new();
    let run = Test::new()
        .workers(1, crew.worker(""))
        .args(["--grace", "20s"])
        .jobs([format!("await_file [{:?}]", crew.path("go")), "echo [2]".to_owned()])
        .stdout("{\"id\":1,\"ok\":true,\"result\":true}\n")
        .any_stderr()
        .killed_by(signals[0])
        .spawn();
    crew.await_logged("job", 1);
    if !burst(&run, signals) {
        return false;
    }
    // Signals that end a run are taken first.
    run.signal(Signal::USR1);
    run.await_stderr("1 running:");
    assert!(!run.ends_within(Duration::from_millis(300)), "a job is running");
    crew.file("go", "");
    run.finish();
    crew.assert_gone();
    assert_eq!(crew.logged("job").len(), 1, "no other job is begun");
    true
}

#[test]
fn under_timeout_a_job_may_finish() {
    if !need("timeout") {
        return;
    }
    for _ in 0..3 {
        // On a machine that is too busy to begin the job in time, more time does it.
        assert!([1, 4, 10].into_iter().any(may_finish_after), "no job has begun");
    }
}

/// Runs a job that lasts longer than this number of seconds. Returns whether it began before.
#[track_caller]
fn may_finish_after(seconds: u64) -> bool {
    let crew = Crew::new();
    let script = "echo begun; until test -e \"$GO\"; do sleep 0.02; done; echo ended";
    let mut run = Test::through_shell("exec timeout \"$SECONDS_LEFT\" \"$@\"")
        .env("SECONDS_LEFT", seconds.to_string())
        .env("GO", crew.path("go"))
        .args(["-j1", "--grace", "20s", "--live"])
        .args(sh(script))
        .jobs(["x"])
        .stdout("begun\nended\n")
        .status(124)
        .spawn();
    wait_for("the job to begin", || run.seen_lines() > 0 || run.has_ended());
    if run.has_ended() {
        return false;
    }
    assert_eq!(run.line(), "begun");
    let longer = Duration::from_secs(seconds) + Duration::from_millis(500);
    assert!(!run.ends_within(longer), "it was not let finish");
    crew.file("go", "");
    run.finish();
    true
}

// What interrupted jobs see.

#[test]
fn interrupted_commands_can_tidy_up() {
    for (count, grace) in [(1, "1s"), (2, "10m")] {
        let crew = Crew::new();
        let folder = crew.path("");
        let run = Test::new()
            .args(["-j1", "--grace", grace, "--format", "record"])
            .args(sh(&tidy("")))
            .jobs([&folder])
            .any_stdout()
            .killed_by(Signal::INT)
            .spawn();
        assert_tidied(&crew, run, count);
    }
}

#[test]
fn interrupted_workers_can_tidy_up() {
    for (count, grace) in [(1, "1s"), (2, "10m")] {
        let crew = Crew::new();
        let script = format!("set -- {}; {}", crew.path(""), tidy("read -r line;"));
        let run = Test::new()
            .workers(1, shell_words::join(["sh", "-c", &script]))
            .args(["--grace", grace])
            .jobs(["echo [1]"])
            .any_stdout()
            .any_stderr()
            .killed_by(Signal::INT)
            .spawn();
        assert_tidied(&crew, run, count);
    }
}

/// Interrupts a run `count` times. Its job, in [`tidy`], gets TERM once and removes its lock.
fn assert_tidied(crew: &Crew, run: Running, count: usize) {
    await_file(&crew.path("lock"));
    repeat(&run, count);
    let records = run.finish().records();
    message(&records[0], "cancelled");
    assert_eq!(lines_of(&crew.path("log")), ["term"], "TERM came once");
    assert!(!Path::new(&crew.path("lock")).exists());
}

/// Interrupts a run `count` times, with pauses, so that no two signals become one.
fn repeat(run: &Running, count: usize) {
    for at in 0..count {
        if at > 0 {
            run.await_taken();
            let has_ended = run.ends_within(Duration::from_millis(150));
            assert!(at > 1 || !has_ended, "it has ended after {at}");
        }
        // A second after the second, all is killed.
        let _ = kill_process(run.pid(), Signal::INT);
    }
}

#[test]
fn what_ignores_term_is_killed() {
    // The first leaves it as long again as it had to finish; the second, a second; the third, no time.
    for (count, grace) in [(1, "0.3s"), (2, "10m"), (3, "10m")] {
        let crew = Crew::new();
        let mut run = Test::new()
            .args(["-j4", "--grace", grace])
            .args(["-w", &format!("a={}", crew.worker("--ignore-term --ignore-eof"))])
            .args(["-w", &format!("b={}", crew.worker("--ignore-term --ignore-eof"))])
            .stdin_open()
            .any_stdout()
            .killed_by(Signal::INT)
            .spawn();
        // stdin stays open: no worker is to end before the signal.
        run.write(concat!(
            r#"{"worker":"a","cmd":"ignore_term","args":[]}"#,
            "\n",
            r#"{"worker":"b","cmd":"grandchild_hang","args":["--ignore-term"]}"#,
            "\n",
            r#"{"worker":"b","cmd":"echo","args":[3]}"#,
            "\n",
        ));
        crew.await_logged("done", 1);
        wait_for("the grandchild", || crew.left().len() >= 3);
        repeat(&run, count);
        let records = run.finish().records();
        message(&records[0], "cancelled");
        message(&records[1], "cancelled");
        crew.assert_gone();
    }
}

/// Its time is over when that of the jobs is: it is not given the grace period anew.
#[test]
fn a_worker_without_a_job_has_no_more_time_than_those_that_have_one() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let mut run = Test::new()
        .workers(1, crew.worker("--ignore-eof"))
        .args(["--grace", "4s"])
        .stdin_open()
        .any_stdout()
        .killed_by(Signal::INT)
        .spawn();
    run.write(&format!("await_file [{:?}]\n", crew.path("go")));
    crew.await_logged("job", 1);
    let began = Instant::now();
    run.signal(Signal::INT);
    assert!(!run.ends_within(Duration::from_secs(3)), "it has time");
    crew.file("go", "");
    run.finish_by_itself();
    // Without that, after 4 s more.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
    crew.assert_gone();
}

// Signals that end nothing.

#[test]
fn usr1_says_what_runs() {
    let crew = Crew::new();
    let go = crew.path("go");
    let mut run = Test::new()
        .workers(2, crew.worker(""))
        .args(["--pipeline", "3"])
        .stdin_open()
        .any_stdout()
        .any_stderr()
        .status(1)
        .spawn();
    run.write("fail [\"no\"]\n");
    run.record();
    run.signal(Signal::USR1);
    run.await_stderr("procpool: 1 done, 1 failed, none running\n");
    run.write(&format!("{{\"cmd\":\"await_file\",\"args\":[{go:?}],\"id\":\"slow\"}}\n"));
    crew.await_logged("job", 2);
    run.signal(Signal::USR1);
    run.await_stderr("procpool: 1 done, 1 failed, 1 running:\n  job slow (line 2), for ");
    run.await_stderr(&format!(": await_file [\"{go}\"]\n"));
    crew.file("go", "");
    run.record();
    run.finish();
}

#[test]
fn usr1_says_which_commands_run() {
    let crew = Crew::new();
    let script = format!(
        "echo >> '{}'; until test -e '{}'; do sleep 0.02; done",
        crew.path("log"),
        crew.path("go")
    );
    let run = Test::new()
        .args(["-j2"])
        .args(sh(&script))
        .jobs(["first", "second\x1b[2J", "third"])
        .any_stderr()
        .spawn();
    wait_for("two jobs", || lines_of(&crew.path("log")).len() == 2);
    for _ in 0..3 {
        run.signal(Signal::USR1);
        run.await_stderr("procpool: 0 done, 0 failed, 2 running:\n  job 1 (line 1), for ");
    }
    run.await_stderr("\n  job 2 (line 2), for ");
    crew.file("go", "");
    let output = run.finish();
    assert!(!output.stderr.contains('\x1b'), "{}", output.stderr);
}

/// They are in the order of the input, whichever slot each is in.
#[test]
fn usr1_lists_jobs_in_the_order_of_the_input() {
    let crew = Crew::new();
    let (log, go) = (crew.path("log"), crew.path("go"));
    let begin = "if test $1 = quick; then until test -e \"$LOG\"; do sleep 0.02; done; exit; fi";
    let script = format!("{begin}; echo >> \"$LOG\"; {}", until(&go));
    // The third job gets the slot of the first one.
    let run = Test::new()
        .args(["-j2"])
        .args(sh(&script))
        .env("LOG", &log)
        .jobs(["quick", "second", "third"])
        .any_stderr()
        .spawn();
    wait_for("two jobs", || lines_of(&log).len() == 2);
    run.signal(Signal::USR1);
    run.await_stderr(" 2 running:\n  job 2 (line 2), for ");
    run.await_stderr("\n  job 3 (line 3), for ");
    crew.file("go", "");
    run.finish();
}

#[test]
fn signals_that_mean_nothing_here_do_no_harm() {
    for signal in [Signal::USR1, Signal::USR2, Signal::TTIN, Signal::TTOU] {
        let crew = Crew::new();
        let run = Test::new()
            .workers(1, crew.worker(""))
            .jobs([format!("await_file [{:?}]", crew.path("go")), "echo [2]".to_owned()])
            .stdout(
                "{\"id\":1,\"ok\":true,\"result\":true}\n{\"id\":2,\"ok\":true,\"result\":[2]}\n",
            )
            .any_stderr()
            .spawn();
        crew.await_logged("job", 1);
        run.signal(signal);
        assert!(!run.ends_within(Duration::from_millis(100)));
        crew.file("go", "");
        run.finish();
    }
}

#[test]
fn where_nobody_can_continue_it_ctrl_z_does_not_stop_it() {
    if !need("setsid") {
        return;
    }
    for script in [
        // The leader of a session.
        "setsid \"$@\" <\"$IN\" & echo $!; wait $!",
        // Its group is an orphan: who started it is gone.
        "setsid sh -c '\"$@\" <\"$IN\" & echo $!' sh \"$@\"",
    ] {
        let crew = Crew::new();
        let input = crew.file("in", format!("await_file [{:?}]\necho [2]\n", crew.path("go")));
        let mut run = Test::through_shell(script)
            .env("IN", input)
            .workers(1, crew.worker(""))
            .any_stdout()
            .spawn();
        let pid = run.line().parse().ok().and_then(Pid::from_raw).expect("a process id");
        crew.await_logged("job", 1);
        kill_process(pid, Signal::TSTP).expect("it lives");
        // They are taken in this order.
        kill_process(pid, Signal::USR2).expect("it lives");
        crew.file("go", "");
        assert_eq!(run.line(), "{\"id\":1,\"ok\":true,\"result\":true}");
        assert_eq!(run.line(), "{\"id\":2,\"ok\":true,\"result\":[2]}");
        run.finish();
        crew.assert_gone();
    }
}

#[test]
fn where_somebody_can_continue_it_ctrl_z_stops_it() {
    // Its parent is in another group of the same session; or that of another process of its group is.
    for script in ["exec \"$@\"", "\"$@\" & wait $!"] {
        let crew = Crew::new();
        let input = crew.file("in", format!("await_file [{:?}]\n", crew.path("go")));
        let run = Test::through_shell(script)
            .workers(1, crew.worker(""))
            .args(["-a", &input])
            .stdout("{\"id\":1,\"ok\":true,\"result\":true}\n")
            .spawn();
        crew.await_logged("job", 1);
        let number = |text: &str| text.parse().ok().and_then(Pid::from_raw);
        let worker = number(&crew.logged("start")[0][1]).expect("a process id");
        let stat = fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_pid()));
        let stat = stat.expect("the worker lives");
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        let procpool = parent.and_then(number).expect("it has a parent");
        kill_process(procpool, Signal::TSTP).expect("it lives");
        wait_for("both to be stopped", || {
            state(procpool) == Some('T') && state(worker) == Some('T')
        });
        kill_process(procpool, Signal::CONT).expect("it lives");
        crew.file("go", "");
        run.finish();
        crew.assert_gone();
    }
}

/// A slot that is at nothing is asked as well.
#[test]
fn usr1_to_a_run_with_many_idle_slots() {
    let crew = Crew::new();
    let mut run =
        Test::new().workers(20, worker("")).stdin_open().any_stdout().any_stderr().spawn();
    for round in 1..=5 {
        for _ in 0..20 {
            run.write("echo [1]\n");
        }
        for _ in 0..20 {
            run.record();
        }
        run.signal(Signal::USR1);
        run.await_stderr(&format!("procpool: {} done, 0 failed, none running\n", round * 20));
    }
    run.finish();
    crew.assert_gone();
}
