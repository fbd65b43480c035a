//! Gates that jobs wait for besides a process: pauses, load, memory, make's jobserver; priorities and
//! numbers of processes; and the guardian that clears up after a killed procpool.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::{Crew, Output, Test, leftovers, need, sh, wait_for};
use rustix::process::Signal;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|number| number.to_string()).collect()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// Runs jobs with these options, and holds the times at which they started against the interval.
fn assert_paced(options: &[&str], interval: f64) {
    const COUNT: usize = 6;
    let crew = Crew::new();
    let log = crew.path("log");
    let begin = now();
    let script = format!("date +%s.%N >> '{log}'");
    let run = Test::new().args(options).args(sh(&script)).jobs(numbers(COUNT)).run();
    let text = read(&log);
    let mut starts: Vec<f64> = text.lines().map(|time| time.parse().expect("a time")).collect();
    starts.sort_by(f64::total_cmp);
    assert_eq!(starts.len(), COUNT);
    for (at, start) in starts.iter().enumerate() {
        let earliest = begin + at as f64 * interval;
        // The clock that is logged and the one that is waited by differ a little.
        assert!(
            start + 0.005 >= earliest,
            "{options:?}: job {at} began {} s early",
            earliest - start
        );
    }
    assert!(run.elapsed < Duration::from_secs(10), "{options:?}: {:?}", run.elapsed);
}

#[test]
fn starts_keep_their_distance() {
    assert_paced(&["-j4", "--delay", "0.15s"], 0.15);
    assert_paced(&["-j1", "--delay", "100ms"], 0.1);
    assert_paced(&["-j4", "--rate", "10/s"], 0.1);
    assert_paced(&["-j2", "--rate", "600/m"], 0.1);
    // The slower one counts.
    assert_paced(&["-j2", "--rate", "100", "--delay", "0.1"], 0.1);
}

#[test]
fn workers_keep_their_distance_too() {
    let crew = Crew::new();
    let begin = Instant::now();
    Test::new()
        .workers(2, crew.worker(""))
        .args(["--delay", "0.1s", "--format", "value"])
        .jobs(numbers(5).iter().map(|number| format!("echo [{number}]")))
        .stdout("[1]\n[2]\n[3]\n[4]\n[5]\n")
        .run();
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
}

#[test]
fn a_job_that_waits_is_not_run_when_the_run_is_halted() {
    let run = Test::new()
        .args(["-j2", "--delay", "1h", "--halt", "soon,fail=1", "false"])
        .jobs(numbers(3))
        .stderr_has("(job 1, line 1")
        .stderr_has(": exit status 1")
        .stderr_has("by --halt: 2 jobs read and not run\n")
        .status(1)
        .run();
    assert!(run.elapsed < Duration::from_secs(5), "{:?}", run.elapsed);
}

/// What these options make jobs wait for is said once, and a signal ends the waiting.
fn assert_waits(options: &[&str], what: &str) {
    let crew = Crew::new();
    let log = crew.path("log");
    let run = Test::new()
        .arg("-j3")
        .args(options)
        .args(sh(&format!("echo >> '{log}'")))
        .jobs(numbers(5))
        .any_stderr()
        .killed_by(Signal::INT)
        .spawn();
    run.await_stderr(what);
    // Twice as long as it takes to look again.
    thread::park_timeout(Duration::from_millis(1200));
    let signalled = Instant::now();
    run.signal(Signal::INT);
    let output = run.finish();
    assert!(signalled.elapsed() < Duration::from_secs(3), "{:?}", signalled.elapsed());
    assert_eq!(output.stderr.matches("jobs wait: ").count(), 1, "{}", output.stderr);
    assert_eq!(read(&log), "", "a job was run");
}

/// A memory cgroup with this limit, which is gone with this.
struct MemoryGroup(String);

impl MemoryGroup {
    /// `None`: there is no version 1 of them here, or it takes root to make one.
    fn new(limit: &str) -> Option<Self> {
        let path = format!("/sys/fs/cgroup/memory/procpool-test-{}", std::process::id());
        let made = fs::create_dir(&path).map(|()| Self(path));
        let group = made.ok().filter(|group| {
            // Those below it have no limit of their own.
            fs::create_dir(format!("{}/below", group.0)).is_ok()
                && fs::write(format!("{}/memory.limit_in_bytes", group.0), limit).is_ok()
        });
        if group.is_none() {
            println!("skipped: no memory cgroup can be made");
        }
        group
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        wait_for("the cgroup to be empty", || {
            let _ = fs::remove_dir(format!("{}/below", self.0));
            fs::remove_dir(&self.0).is_ok()
        });
    }
}

/// Holds a run that has too little memory against its message, and ends it.
#[track_caller]
fn assert_waits_for_memory(test: Test, message: &str) {
    let run = test.args(["echo", ":::", "a"]).any_stderr().any_status().spawn();
    run.await_stderr(message);
    run.signal(Signal::TERM);
    run.finish();
}

#[test]
fn the_memory_of_a_cgroup_counts() {
    let Some(group) = MemoryGroup::new("300M") else { return };
    let script = format!("echo $$ > {}/below/cgroup.procs; exec \"$@\"", group.0);
    let inside = || Test::through_shell(&script);
    inside().args(["--min-free-memory", "100M", "echo", ":::", "a"]).stdout("a\n").run();
    let message = "less than --min-free-memory 400 MiB (the limit of the memory cgroup counts)\n";
    assert_waits_for_memory(inside().args(["--min-free-memory", "400M"]), message);
}

#[test]
fn the_memory_of_a_cgroup_of_version_2_counts() {
    // No machine has both versions of it: what the system would tell is laid in its place.
    let files = "mount -t tmpfs t /sys/fs/cgroup && cd /sys/fs/cgroup || exit; mkdir -p job/step; \
                 printf '0::/job/step\\n' > own; mount --bind own /proc/$$/cgroup || exit; \
                 for folder in . job job/step; do \
                 echo max > $folder/memory.max; echo 104857600 > $folder/memory.current; \
                 printf 'anon 1\\ninactive_file 52428800\\nslab_reclaimable 0\\n' > $folder/memory.stat; \
                 done; ";
    let inside = |limits: &str| {
        let script = format!(
            "exec unshare -m sh -c '{}{limits}; exec \"$@\"' sh \"$@\"",
            files.replace('\'', "'\\''")
        );
        Test::through_shell(&script)
    };
    let is_possible = need("unshare")
        && Command::new("unshare")
            .args(["-m", "mount", "-t", "tmpfs", "t", "/sys/fs/cgroup"])
            .output()
            .is_ok_and(|run| run.status.success());
    if !is_possible {
        println!("skipped: no file system can be mounted");
        return;
    }
    inside(":").args(["--min-free-memory", "260M", "echo", ":::", "a"]).stdout("a\n").run();
    let counts = "(the limit of the memory cgroup counts)\n";
    // 50 of the 100 MiB in use are cache. The lowest limit counts, in whichever group.
    let message = format!(
        "jobs wait: 250 MiB of memory are free, less than --min-free-memory 260 MiB {counts}"
    );
    for limits in [
        "echo 314572800 > job/step/memory.max",
        "echo 314572800 > job/memory.max; echo 999999999 > job/step/memory.max",
        "echo 314572800 > memory.max",
        "echo 314572800 > job/memory.high",
    ] {
        inside(limits).args(["--min-free-memory", "240M", "echo", ":::", "a"]).stdout("a\n").run();
        assert_waits_for_memory(inside(limits).args(["--min-free-memory", "260M"]), &message);
    }
}

#[test]
fn jobs_wait_for_a_lower_load() {
    Test::new().args(["--max-load", "1000", "echo"]).jobs(["a"]).stdout("a\n").run();
    let load: f64 =
        read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    if load < 0.05 {
        println!("skipped: this machine has nothing to do");
        return;
    }
    assert_waits(&["--max-load", "0.001"], "above --max-load 0.001\n");
}

#[test]
fn a_dry_run_waits_for_nothing() {
    let options = ["--dry-run", "--delay", "1h", "--min-free-memory", "1000000G", "echo"];
    let run = Test::new().args(options).jobs(["a", "b"]).stdout("echo a\necho b\n").run();
    assert!(run.elapsed < Duration::from_secs(30), "{:?}", run.elapsed);
}

#[test]
fn jobs_wait_for_memory() {
    Test::new().args(["--min-free-memory", "1K", "echo"]).jobs(["a"]).stdout("a\n").run();
    assert_waits(
        &["--min-free-memory", "100000G"],
        " MiB of memory are free, less than --min-free-memory 102400000 MiB\n",
    );
}

#[test]
fn a_long_delay_is_ended_by_a_signal() {
    let mut run = Test::new()
        .args(["-j2", "--delay", "1h", "echo"])
        .jobs(numbers(3))
        .stdout("1\n")
        .stderr("procpool: the run was ended: 2 jobs read and not run\n")
        .killed_by(Signal::TERM)
        .spawn();
    assert_eq!(run.line(), "1");
    run.signal(Signal::TERM);
    assert!(run.finish().elapsed < Duration::from_secs(5));
}

#[test]
fn jobs_are_as_nice_as_asked_for() {
    let base = Command::new("nice").output().expect("nice runs").stdout;
    let base: i32 = String::from_utf8_lossy(&base).trim().parse().expect("a number");
    for more in [1, 7, 39] {
        let nice = (base + more).min(19);
        let option = more.to_string();
        Test::new()
            .args(["-j2", "--nice", &option])
            .args(sh("nice"))
            .jobs(["a", "b"])
            .stdout(format!("{nice}\n{nice}\n"))
            .run();
        Test::new()
            .workers(1, "sh -c 'while read -r _; do echo \"{\\\"result\\\":$(nice)}\"; done'")
            .args(["--nice", &option, "--format", "value"])
            .jobs(["a", "b"])
            .stdout(format!("{nice}\n{nice}\n"))
            .run();
    }
}

#[test]
fn numbers_of_processes_may_be_relative() {
    let cpus = num_cpus::get();
    for (option, slots) in [
        ("3", 3),
        ("50%", (cpus / 2).max(1)),
        ("100%", cpus),
        ("200%", cpus * 2),
        ("1%", (cpus / 100).max(1)),
        ("+1", cpus + 1),
        ("-1", cpus.saturating_sub(1).max(1)),
        ("-1000", 1),
    ] {
        let s = if slots == 1 { "" } else { "s" };
        Test::new()
            .args(["-j", option, "--summary", "true"])
            .jobs(["a"])
            .stderr_has(format!("; {slots} slot{s}, in use "))
            .run();
    }
}

#[test]
fn wrong_values_are_told() {
    for (option, value, expected) in [
        ("-j", "x", "50%, +1 or -1"),
        ("-j", "0%", "50%, +1 or -1"),
        ("-j", "1.5", "50%, +1 or -1"),
        ("-j", "99999999", "50%, +1 or -1"),
        ("--delay", "soon", "--delay"),
        ("--rate", "0", "10/s, 100/m, 1000/h"),
        ("--rate", "5/d", "10/s, 100/m, 1000/h"),
        ("--max-load", "0", "a load average such as"),
        ("--max-load", "NaN", "a load average such as"),
        ("--min-free-memory", "0", "a number of bytes"),
        ("--min-free-memory", "1T", "a number of bytes"),
        ("--nice", "0", "a whole number from 1 (a little) to 39"),
        ("--nice", "40", "a whole number from 1 (a little) to 39"),
        ("--nice", "-5", "a whole number from 1 (a little) to 39"),
        ("--delay", "-1", "'-1' for '--delay"),
        ("--max-load", "-1", "a load average such as"),
        ("-n", "-1", "a number of lines"),
    ] {
        Test::new().args([option, value, "echo"]).jobs(["a"]).stderr_has(expected).status(2).run();
    }
}

/// The job of a recipe: it says when it begins and ends, and does not end before `together` jobs
/// have begun.
fn job(together: usize) -> String {
    format!(
        "echo + >> log$2; until test $(grep -c + log$2) -ge {together}; do sleep 0.02; done; \
         sleep 0.02; echo - >> log$2; exit $1"
    )
}

/// Runs make in a folder that has this Makefile; there `$(PROCPOOL)` is procpool, and `$(JOB)` the
/// script of a job.
fn make(crew: &Crew, jobs: &str, makefile: &str, together: usize) -> Output {
    crew.file("Makefile", makefile);
    crew.file("job", job(together));
    let run = Test::through_shell(&format!("PROCPOOL=$1 make -s {jobs}"))
        .cwd(crew.path(""))
        .env("MAKEFLAGS", "")
        .any_stdout()
        .any_stderr()
        .any_status()
        .run();
    assert!(!run.stderr.contains("token"), "{}", run.stderr);
    run
}

/// How many jobs ran at a time, and how many have ended.
fn concurrency(path: &str) -> (usize, usize) {
    let (mut running, mut most, mut ended) = (0_usize, 0, 0);
    for line in read(path).lines() {
        match line {
            "+" => running += 1,
            _ => (running, ended) = (running - 1, ended + 1),
        }
        most = most.max(running);
    }
    (most, ended)
}

#[test]
fn a_jobserver_limits_the_jobs_and_gets_its_tokens_back() {
    if !need("make") {
        return;
    }
    let crew = Crew::new();
    let makefile = "after: pool\n\
                    \t+$$PROCPOOL -j8 sh ./job 0 {} ::: B B B B B B\n\
                    pool:\n\
                    \t+$$PROCPOOL -j8 sh ./job 0 {} ::: A A A A A A A A A A A A\n";
    let run = make(&crew, "-j3", makefile, 3);
    assert_eq!((run.stderr.as_str(), run.stdout.len()), ("", 0));
    assert_eq!(concurrency(&crew.path("logA")), (3, 12));
    assert_eq!(concurrency(&crew.path("logB")), (3, 6));
}

#[test]
fn recipes_share_the_tokens() {
    if !need("make") {
        return;
    }
    let crew = Crew::new();
    let makefile = "all: one two three\n\
                    one two:\n\
                    \t+$$PROCPOOL -j8 sh ./job 0 {} ::: A A A A A A A A\n\
                    three:\n\
                    \tsh ./job 0 A\n";
    let run = make(&crew, "-j3", makefile, 3);
    assert_eq!(run.stderr, "");
    assert_eq!(concurrency(&crew.path("logA")), (3, 17));
}

#[test]
fn tokens_are_given_back_however_a_run_ends() {
    if !need("make") {
        return;
    }
    for (options, script) in [
        ("", "exit 1"),
        // Three of the four jobs get a token, and the first of them does it.
        ("--fail-fast", "mkdir first && exit 1; sleep 100"),
        ("--halt soon,fail=1", "exit 1"),
        ("--timeout 0.2", "sleep 100"),
        ("--grace 0.2", "mkdir first && kill -INT $$PPID; sleep 100"),
        (
            "--grace 100",
            "mkdir first && kill -INT $$PPID && sleep 0.5 && kill -INT $$PPID; sleep 100",
        ),
        ("--nice 1", "echo; echo; echo | cat /no/such/file"),
    ] {
        let crew = Crew::new();
        let makefile = format!(
            "after: pool\n\
             \t+$$PROCPOOL -j8 sh ./job 0 {{}} ::: B B B B B B\n\
             pool:\n\
             \t-+$$PROCPOOL -j8 {options} sh -c '{script}' sh ::: 1 2 3 4\n"
        );
        let run = make(&crew, "-j3", &makefile, 3);
        assert!(run.stderr.contains("procpool: "), "{options}: nothing went wrong");
        assert_eq!(concurrency(&crew.path("logB")), (3, 6), "{options}: {}", run.stderr);
    }
}

#[test]
fn the_token_of_the_recipe_serves_all_jobs() {
    if !need("make") {
        return;
    }
    // The other recipe has the only other token, and waits for this one to end.
    let crew = Crew::new();
    let makefile = "all: pool other\n\
                    pool:\n\
                    \t+until test -e began; do sleep 0.02; done; \
                    $$PROCPOOL -j3 echo ::: 1 2 3 4 5 6 7 8 9 > out; echo > over\n\
                    other:\n\
                    \techo > began; until test -e over; do sleep 0.02; done\n";
    let run = make(&crew, "-j2", makefile, 1);
    assert_eq!(run.stderr, "");
    assert_eq!(read(&crew.path("out")), "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

#[test]
fn a_recipe_that_is_not_marked_loses_nothing() {
    if !need("make") {
        return;
    }
    // make closes the jobserver's pipe for it, but still names it.
    let crew = Crew::new();
    let run = make(&crew, "-j2", "all:\n\t$$PROCPOOL -j3 seq ::: 1 1 1 1 1 1 1 1 1 1 | cat\n", 1);
    assert_eq!((run.stderr.as_str(), run.lines()), ("", vec!["1"; 10]));
}

#[test]
fn without_a_jobserver_there_is_no_limit() {
    let crew = Crew::new();
    let fifo = crew.path("file");
    fs::write(&fifo, "++++").expect("a file");
    for flags in [
        String::new(),
        "-j4 --jobserver-auth=3,4".into(),
        "-j4 --jobserver-fds=3,4".into(),
        "-j4 --jobserver-auth=5,6".into(),
        "-j4 --jobserver-auth=0,1".into(),
        "--jobserver-auth=-2,-2".into(),
        "--jobserver-auth=".into(),
        "--jobserver-auth=x,y".into(),
        "--jobserver-auth=998,999".into(),
        "--jobserver-auth=fifo:/no/such/file".into(),
        format!("--jobserver-auth=fifo:{fifo}"),
        "--jobserver-auth=fifo:/dev/null".into(),
        "n -- A=B".into(),
    ] {
        let input = fs::File::open("/dev/null").expect("a device");
        let log = crew.path("log");
        let _ = fs::remove_file(&log);
        let script = format!(
            "echo + >> '{log}'; until test $(grep -c + '{log}') -ge 4; do sleep 0.02; done; echo $1"
        );
        let joblog = crew.path("joblog");
        Test::new()
            .args(["-j4", "--joblog", &joblog])
            .args(sh(&script))
            .args([":::", "1", "2", "3", "4", "5", "6"])
            .stdin_file(&input)
            .env("MAKEFLAGS", &flags)
            .stdout("1\n2\n3\n4\n5\n6\n")
            .run();
        assert_eq!(read(&joblog).lines().count(), 7, "{flags}");
    }
}

#[test]
fn a_killed_procpool_leaves_no_command_behind() {
    let crew = Crew::new();
    let log = crew.path("log");
    let mark = format!("guarded-{}", std::process::id());
    let script = format!(
        "trap '' TERM INT HUP; \
         sh -c 'trap \"\" TERM INT HUP; echo >> \"$2\"; while :; do sleep 100; done' sh {mark} '{log}' & \
         sh -c 'echo >> \"$2\"; kill -STOP $$; :' sh {mark} '{log}' & \
         echo >> '{log}'; while :; do wait; sleep 100; done"
    );
    let run = Test::new()
        .arg("-j3")
        .args(["sh", "-c", &script, &mark])
        .jobs(numbers(3))
        .killed_by(Signal::KILL)
        .spawn();
    wait_for("all processes", || read(&log).lines().count() == 9);
    // One that is about to be `sleep` looks like the shell that it was.
    wait_for("no others to be there", || leftovers(&mark).len() == 9);
    run.signal(Signal::KILL);
    let killed = Instant::now();
    wait_for("all processes to be gone", || leftovers(&mark).is_empty());
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    run.finish();
}
