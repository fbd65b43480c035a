//! Files that a run writes: no two are the same, and a file that is also read is not lost.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::common::{self, Crew, Test, assert_has};

/// A run in a folder with the file `q`, which has these lines.
struct Folder(Crew);

impl Folder {
    fn new(lines: &str) -> Self {
        let crew = Crew::new();
        crew.file("q", lines);
        Self(crew)
    }

    fn run(&self, args: &[&str]) -> Test {
        Test::new().cwd(self.0.path("")).args(args).any_stdout().any_stderr()
    }

    /// By a shell, in whose script `$P` is procpool.
    fn script(&self, script: &str) -> Test {
        Test::through_shell(&format!("P=$1; {script}"))
            .cwd(self.0.path(""))
            .any_stdout()
            .any_stderr()
    }

    #[track_caller]
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path(name)).expect("it is there")
    }

    /// The lines of `q`, in order.
    #[track_caller]
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.read("q").lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    /// Nothing that was made on the way is left.
    #[track_caller]
    fn assert_tidy(&self) {
        let names = fs::read_dir(self.0.path("")).expect("it is there").flatten();
        let names: Vec<_> = names.map(|entry| entry.file_name().into_string()).collect();
        let is_left = |name: &str| name.starts_with('.');
        assert!(!names.iter().flatten().any(|name| is_left(name)), "{names:?}");
    }
}

/// Fails for all but `b`.
const FAILS: &str = "sh -c 'test \"$0\" = b'";

// ---- The lines of failed jobs are the input of the run

#[test]
fn failed_lines_are_fed_in_and_written_again() {
    for script in [
        "$P --failed q FAILS < q",
        "$P -a q --failed q FAILS",
        "$P -a q --failed ./q FAILS",
        "$P -a \"$PWD/q\" --failed \"../${PWD##*/}/q\" FAILS",
        "ln -s q link; $P --failed link FAILS < q",
        "ln -s q link; $P -a link --failed q FAILS",
        "$P -a /dev/stdin --failed q FAILS < q",
        "$P -a - --failed /dev/stdin FAILS < q",
        "$P --failed /proc/self/fd/0 FAILS < q",
        "$P --failed /dev/fd/3 FAILS < q 3>>q",
        "cat q | $P --failed q FAILS",
        "$P -a q -a /dev/null --failed q FAILS",
    ] {
        let folder = Folder::new("a\nb\nc\n");
        folder.script(&script.replace("FAILS", FAILS)).status(1).run();
        assert_eq!(folder.lines(), ["a", "c"], "{script}");
        folder.assert_tidy();
        // And again, until none fails.
        folder.run(&["-a", "q", "--failed", "q", "true"]).stderr("").run();
        assert_eq!(folder.read("q"), "", "{script}");
    }
}

#[test]
fn another_name_of_the_input_keeps_all_of_it() {
    let folder = Folder::new("a\nb\nc\n");
    folder.script(&format!("ln q hard; $P --failed hard {FAILS} < q")).status(1).run();
    assert_eq!(folder.lines(), ["a", "b", "c"]);
    assert_eq!(folder.read("hard").len(), 4);
}

#[test]
fn a_replaced_file_is_the_same_to_its_owner() {
    let folder = Folder::new("a\nb\nc\n");
    let path = folder.0.path("q");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
    symlink("q", folder.0.path("link")).expect("a link");
    folder.script(&format!("$P -a q --failed link {FAILS}")).status(1).run();
    let metadata = fs::symlink_metadata(&path).expect("it is there");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert!(fs::symlink_metadata(folder.0.path("link")).expect("it is there").is_symlink());
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        std::os::unix::fs::chown(&path, Some(1234), Some(4321)).expect("we are root");
        folder.script(&format!("$P -a q --failed q {FAILS}")).status(1).run();
        let metadata = fs::metadata(&path).expect("it is there");
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 4321));
    }
}

#[test]
fn a_run_that_cannot_begin_or_does_nothing_leaves_the_file() {
    for (args, status) in [
        (&["-a", "q", "--failed", "q", "there-is-no-such-program"][..], 127),
        (&["-a", "q", "--failed", "q", "--journal", "/", "true"], 125),
        (&["-a", "q", "--failed", "q", "--dry-run", "true"], 2),
        (&["-a", "q", "--failed", "q", "--input", "csv", "--header", "echo", "{x}"], 2),
        (&["-a", "q", "--failed", "q", "-w", "sh -c 'exit 3'", "--start-limit", "1"], 126),
    ] {
        let folder = Folder::new("a\nb\nc\n");
        folder.run(args).status(status).run();
        assert_eq!(folder.lines(), ["a", "b", "c"], "{args:?}");
        folder.assert_tidy();
    }
}

// ---- A run that is cut short

/// Asserts that each line up to number `lines` is in `q` or was done, and that none is both, unless it was
/// cut off in the middle.
#[track_caller]
fn assert_none_lost(folder: &Folder, lines: usize, most_twice: usize) {
    let done = fs::read_to_string(folder.0.path("done")).unwrap_or_default();
    let left = folder.read("q");
    let (mut missing, mut twice) = (0, 0);
    let count = |text: &str| -> Vec<usize> {
        let mut counts = vec![0; lines + 1];
        text.lines().for_each(|line| counts[line.parse::<usize>().expect("a number")] += 1);
        counts
    };
    for (done, left) in count(&done).into_iter().zip(count(&left)).skip(1) {
        assert!(left <= 1);
        missing += usize::from(done + left == 0);
        twice += usize::from(done > 0 && left > 0);
    }
    assert!(missing == 0 && twice <= most_twice, "{missing} are missing, {twice} are in both");
    folder.assert_tidy();
}

fn numbers(count: usize) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

#[test]
fn what_an_interrupted_run_has_not_run_stays() {
    for (signals, most_twice) in [
        (&[Signal::INT][..], 0),
        (&[Signal::TERM], 0),
        (&[Signal::HUP], 0),
        (&[Signal::QUIT], 2),
        (&[Signal::KILL], 50_000),
    ] {
        for source in [&["-a", "q"][..], &[]] {
            let folder = Folder::new(&numbers(50_000));
            let run = folder
                .run(source)
                .args(["-j2", "--failed", "q", "sh", "-c", "echo $0 >> done; test $0 != 5"])
                .stdin_file(&File::open(folder.0.path("q")).expect("it is there"))
                .killed_by(signals[0])
                .spawn();
            common::wait_for("some jobs", || {
                fs::metadata(folder.0.path("done")).is_ok_and(|done| done.len() > 100)
            });
            signals.iter().for_each(|&signal| run.signal(signal));
            run.finish();
            if signals == [Signal::KILL] {
                assert_eq!(folder.read("q"), numbers(50_000));
            } else {
                // The one that has failed is there as well.
                assert!(folder.lines().iter().any(|line| line == "5"));
                assert_none_lost(&folder, 50_000, most_twice + 1);
            }
        }
    }
}

#[test]
fn what_a_halted_run_has_not_run_stays() {
    for halt in ["soon,fail=1", "now,fail=1", "soon,done=3", "now,success=2"] {
        let folder = Folder::new(&numbers(3000));
        let job = ["sh", "-c", "echo $0 >> done; test $0 != 3"];
        let args = ["-j1", "-a", "q", "--failed", "q", "--halt", halt];
        folder.run(&args).args(job).status(1).run();
        assert_none_lost(&folder, 3000, 1);
        let done = folder.read("done").lines().count();
        assert!(folder.read("q").lines().count() >= 3000 - done, "{halt}");
    }
    // A reader of stdout that has enough ends the run as well.
    let folder = Folder::new(&numbers(20_000));
    let args = ["-j2", "-a", "q", "--failed", "q", "sh", "-c", "echo $0; echo $0 >> done"];
    folder.run(&args).head(3).killed_by(Signal::PIPE).run();
    assert_none_lost(&folder, 20_000, 10);
}

#[test]
fn what_was_not_run_is_fed_in_again_whatever_the_lines_are() {
    let check = |lines: &str, args: &[&str], expected: &str| {
        let folder = Folder::new(lines);
        let own = ["-j1", "-a", "q", "--failed", "q", "--fail-fast"];
        folder.run(&own).args(args).status(1).run();
        assert_eq!(folder.read("q"), expected, "{args:?}");
    };
    let stops = "for i; do test \"$i\" != 4 || exit 1; done";
    check("1\n2\n3\n4\n5\n6\n7", &["-n2", "sh", "-c", stops, "-"], "3\n4\n5\n6\n7\n");
    check("1\x004\x002\n3\x00", &["-0", "sh", "-c", "test $0 != 4"], "4\x002\n3\x00");
    let csv = "n,m\n1,\"x\ny\"\n0,z\n2,\"a\n,b\"\n\n3,\n";
    let rest = "n,m\n0,z\n2,\"a\n,b\"\n3,\n";
    check(csv, &["--input", "csv", "--header", "test", "{n}", "-gt", "0"], rest);
    let jobs = "# a comment\ntrue\n\n{\"cmd\":\"false\", \"id\":7}\ntrue [ ]\n";
    check(jobs, &["--format", "record"], "{\"cmd\":\"false\", \"id\":7}\ntrue [ ]\n");
}

#[test]
fn a_source_that_was_not_reached_stays_whole() {
    let folder = Folder::new("n\n3\n4");
    folder.0.file("first", "n\n1\n0\n2\n");
    let args = ["-j1", "-a", "first", "-a", "q", "--failed", "q", "--fail-fast"];
    let csv = ["--input", "csv", "--header", "test", "{n}", "!=", "0"];
    folder.run(&args).args(csv).status(1).run();
    assert_eq!(folder.read("q"), "n\n0\n3\n4\n");
    assert_eq!(folder.read("first"), "n\n1\n0\n2\n");
    // One whose header is another is not read, and so not replaced.
    let folder = Folder::new("m\n3\n4\n");
    folder.0.file("first", "n\n1\n");
    let args = ["-j1", "-a", "first", "-a", "q", "--failed", "q"];
    let output = folder.run(&args).args(csv).status(125).run();
    assert_has(&output.stderr, &["'q' is unchanged"]);
    assert_eq!(folder.read("q"), "m\n3\n4\n");
}

#[test]
fn a_line_that_is_too_long_is_not_lost() {
    let folder = Folder::new("a\na very long line\nb\n");
    let args = ["-j1", "-a", "q", "--failed", "q", "--max-line", "6", "true"];
    for _ in 0..2 {
        folder.run(&args).status(1).run();
        assert_eq!(folder.read("q"), "a very long line\n");
    }
    folder.run(&["-a", "q", "--failed", "q", "true"]).run();
    assert_eq!(folder.read("q"), "");
}

#[test]
fn what_comes_through_a_pipe_may_be_the_file() {
    // What was read of the pipe and not run can't be got back: so the file keeps what it had.
    let folder = Folder::new(&numbers(20_000));
    let script = "cat q | $P -j1 --failed q --fail-fast sh -c 'test $0 != 3'";
    let output = folder.script(script).status(1).run();
    assert_has(&output.stderr, &["its input may come from 'q'"]);
    let mut lines: Vec<u32> = folder.lines().iter().map(|n| n.parse().expect("a number")).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=20_000).collect::<Vec<_>>());
    // Lines that it did not have are added; a run that gets to its end replaces it.
    let folder = Folder::new("old\nb\n");
    folder.run(&["-j1", "--failed", "q", "--fail-fast", "false"]).stdin("b\nc\n").status(1).run();
    assert_eq!(folder.lines(), ["b", "old"]);
    folder.run(&["-j1", "--failed", "q", "false"]).stdin("b\nc\n").status(1).run();
    assert_eq!(folder.read("q"), "b\nc\n");
    // Where the input is another file, it has what was not run.
    let folder = Folder::new("old\n");
    folder.0.file("other", "1\n2\n3\n");
    let args = ["-j1", "-a", "other", "--failed", "q", "--fail-fast", "false"];
    folder.run(&args).status(1).run();
    assert_eq!(folder.read("q"), "1\n");
}

#[test]
fn a_file_in_a_folder_that_takes_no_others_is_written_over() {
    let Some(disk) = common::SmallDisk::new("1m") else { return };
    // A file that is mounted by itself can't be replaced.
    let folder = Folder::new("a\nb\nc\n");
    let there = disk.path().join("there");
    fs::write(&there, "a\nb\nc\n").expect("there is room");
    let mount = |args: &[&str]| {
        let mut command = Command::new(args[0]);
        command.args(&args[1..]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let (there, q) = (there.to_str().expect("UTF-8"), folder.0.path("q"));
    if !mount(&["mount", "--bind", there, &q]) {
        println!("skipped: only root can mount a file");
        return;
    }
    let run = || folder.run(&["-j1", "-a", "q", "--failed", "q", "--fail-fast", "false"]).status(1);
    run().run();
    let kept = folder.read("q");
    assert!(mount(&["umount", &q]));
    assert_eq!(kept, "a\nb\nc\n");
    assert_eq!(fs::read_to_string(there).expect("it is there"), "a\nb\nc\n");
}

// ---- Files that can't go together

/// A run that is refused, for this reason, before it has touched anything.
#[track_caller]
fn refused(folder: &Folder, script: &str, why: &str) {
    let before = folder.read("q");
    let output = folder.script(script).stdout("").status(2).run();
    assert_has(&output.stderr, &[why]);
    assert_eq!(folder.read("q"), before, "{script}");
    assert!(!Path::new(&folder.0.path("new")).exists(), "{script}");
}

#[test]
fn a_file_that_is_read_is_not_written() {
    let folder = Folder::new("a\nb\n");
    let read = "which jobs are read from";
    for script in [
        "$P -a q --joblog q echo",
        "$P --joblog q echo < q",
        "$P -a q --joblog ./q --resume --journal j echo",
        "ln -fs q link; $P -a q --joblog link echo",
        "ln -f q hard; $P -a hard --joblog q echo",
        "$P --joblog /dev/stdin echo < q",
        "$P --joblog /proc/self/fd/0 echo < q",
        "$P -a /dev/stdin --joblog q echo < q",
        "$P -a q --journal q echo",
        "$P --resume --journal \"$PWD/q\" echo < q",
        "mkfifo fifo; $P --failed fifo -a fifo echo",
        "$P echo < q >> q",
        "$P -a q echo 2>> q",
    ] {
        let why =
            if script.contains(">> q") { "goes to a file that jobs are read from" } else { read };
        if script.contains("2>> q") {
            folder
                .script(&format!("cp q copy; {script}; s=$?; cp copy q; exit $s"))
                .status(2)
                .run();
        } else {
            refused(&folder, script, why);
        }
    }
}

#[test]
fn two_files_are_two() {
    let folder = Folder::new("a\nb\n");
    let both = "would both write to";
    refused(&folder, "$P --joblog new --failed new false < q", both);
    refused(&folder, "$P --joblog new --failed ./new false < q", both);
    refused(&folder, "$P --joblog new --failed \"$PWD/new\" false < q", both);
    refused(&folder, "$P --journal new --failed new false < q", both);
    refused(&folder, "$P --journal new --joblog \"../${PWD##*/}/new\" false < q", both);
    refused(&folder, ": > x; $P --joblog x --failed x false < q", both);
    refused(&folder, "ln -f x y; $P --joblog x --failed y false < q", both);
    refused(&folder, "ln -fs new l; $P --joblog l --failed new false < q", both);
    let stdout = "and stdout goes there too";
    refused(&folder, "$P --joblog x echo < q > x", stdout);
    refused(&folder, "$P --failed x echo < q >> x", stdout);
    refused(&folder, "$P --failed /dev/stdout false < q > x", stdout);
    refused(&folder, "$P --journal x echo < q > x", stdout);
    let script = "$P --failed x echo < q 2> x; s=$?; cat x >&2; exit $s";
    refused(&folder, script, "and stderr goes there too");
}

#[test]
fn streams_are_written_as_ever() {
    let folder = Folder::new("a\nb\n");
    let output = folder.script("$P -j1 --failed /dev/stderr sh -c 'exit 1' < q").status(1).run();
    assert_has(&output.stderr, &["a\n", "\nb\n"]);
    // stderr may be a file, in which nothing is written over.
    let script = "$P -j1 --joblog /dev/stderr --failed /dev/fd/2 sh -c 'exit 1' < q 2> log";
    folder.script(script).status(1).run();
    let log = folder.read("log");
    assert_has(&log, &["Exitval", "\na\n", "\nb\n", ": exit status 1 (job ", "\tsh -c"]);
    assert_eq!(log.matches(": exit status 1 (job ").count(), 2, "{log}");
    let output = folder.script("$P -j1 --joblog /dev/stdout echo < q").run();
    assert_eq!(output.lines().len(), 1 + 4);
    folder
        .script("mkfifo f; cat f > got & $P -j1 --failed f false < q; wait; cat got")
        .stdout("a\nb\n")
        .run();
    folder.script("$P --failed /dev/null --joblog /dev/null false < q").status(1).run();
}

// ---- What the caller has closed

#[test]
fn a_closed_stdout_or_stdin_is_said_before_anything_is_run() {
    let folder = Folder::new("a\nb\n");
    let run = |script: &str, stdout: &str, stderr: &str, status: i32| {
        let test = folder.script(script).stdout(stdout).status(status);
        test.stderr(stderr).run();
        assert!(!Path::new(&folder.0.path("made")).exists(), "{script}");
    };
    let lost = "procpool: stdout is closed, so all results would be lost: redirect it to a file, or \
                to /dev/null\n";
    run("$P -a q touch made >&-", "", lost, 125);
    run("$P touch ::: made >&- <&-", "", lost, 125);
    run("$P touch ::: made >&- 2>&-", "", "", 125);
    for text in ["--help", "--version", "--doctor"] {
        let error = "procpool: stdout is closed: let it go to a file\n";
        run(&format!("$P {text} >&-"), "", error, 125);
    }
    let unread = "procpool: stdin is closed, but jobs are read from it: redirect it from a file or \
                  a pipe, or /dev/null\n";
    run("$P echo <&-", "", unread, 125);
    run("$P -a q -a - touch made <&-", "", unread, 125);
    run("$P -j1 -a q echo <&-", "a\nb\n", "", 0);
    run("$P echo ::: a <&-", "a\n", "", 0);
    run("$P -j1 -a q echo 2>&-", "a\nb\n", "", 0);
    // Somebody who wants to hear nothing has closed nothing, however /dev/null was opened.
    run("$P -a q echo > /dev/null", "", "", 0);
    run("$P -a q echo 1<> /dev/null", "", "", 0);
    run("$P echo < /dev/null", "", "", 0);
    run("$P echo <> /dev/null", "", "", 0);
}

/// The process itself is killed, not what it has started: nothing may be half done.
#[test]
fn a_file_is_replaced_at_once_or_not_at_all() {
    for delay in [0, 1, 3, 10, 30, 100, 300] {
        let folder = Folder::new(&numbers(300));
        let run = folder.run(&["-j4", "-a", "q", "--failed", "q", "true"]).any_status().spawn();
        run.ends_within(std::time::Duration::from_millis(delay));
        if !run.has_ended() {
            let _ = kill_process(run.pid(), Signal::KILL);
        }
        run.finish();
        let left = folder.read("q");
        assert!(left.is_empty() || left == numbers(300), "{left}");
        folder.assert_tidy();
    }
}
