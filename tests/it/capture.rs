//! The output of commands is passed on byte for byte and never mixed. However much it is, it takes little
//! memory and few open files.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::{
    Crew, Test, assert_has, cpu_time, failed, lines_of, message, peak_memory, quoted, result, sh,
    until, wait_for,
};
use base64::Engine as _;
use rustix::process::{Pid, Signal};
use serde_json::Value;

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().try_into().expect("a pid is positive")
}

#[test]
fn bytes_are_passed_on_as_they_are() {
    let crew = Crew::new();
    let binary: Vec<u8> = (0..=255).collect();
    let contents = [
        binary.clone(),
        Vec::new(),
        b"no newline".to_vec(),
        b"\r\n\0\x1b[2J".to_vec(),
        binary.repeat(300_000 / 256),
        vec![b'x'; 262_143],
        vec![b'y'; 262_144],
        vec![b'z'; 262_145],
        binary.repeat(5_000_000 / 256),
        b"the last\n".to_vec(),
    ];
    let files: Vec<String> = contents
        .iter()
        .enumerate()
        .map(|(at, content)| crew.file(&format!("file{at}"), content))
        .collect();
    for options in [&["-j4"][..], &["-j1", "--stream"], &["-j3", "--buffer", "1"]] {
        Test::new().args(options).arg("cat").jobs(&files).stdout(contents.concat()).run();
    }
}

#[test]
fn large_outputs_at_the_same_time_are_never_mixed() {
    const LEN: usize = 600_000;
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let script = format!("head -c {LEN} /dev/zero | tr '\\0' \"$1\"");
    let expected: String = names.iter().map(|name| name.repeat(LEN)).collect();
    Test::new().arg("-j4").args(sh(&script)).jobs(names).stdout(&expected).run();
    let output =
        Test::new().args(["-j4", "--stream"]).args(sh(&script)).jobs(names).any_stdout().run();
    let mut pieces: Vec<&[u8]> = output.stdout.chunks(LEN).collect();
    pieces.sort_unstable();
    assert!(pieces.concat() == expected.as_bytes(), "the outputs are mixed");
}

#[test]
fn a_gigabyte_takes_little_memory() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let script =
        format!("case $1 in big) head -c 1G /dev/zero;; *) {};; esac", until(&crew.path("go")));
    let mut child = Command::new(env!("CARGO_BIN_EXE_procpool"))
        .arg("-j2")
        .args(sh(&script))
        .args([":::", "big", "last"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("procpool starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    let (mut buffer, mut count) = (vec![0; 1 << 20], 0);
    while count < 1 << 30 {
        let read = stdout.read(&mut buffer).expect("stdout can be read");
        assert!(read > 0, "only {count} bytes came");
        assert!(buffer[..read].iter().all(|&byte| byte == 0), "other bytes than were printed");
        count += read;
    }
    let peak = peak_memory(Pid::from_child(&child)) >> 20;
    crew.file("go", "");
    assert_eq!(stdout.read(&mut buffer).expect("stdout can be read"), 0);
    assert_eq!(count, 1 << 30);
    assert!(child.wait().expect("our child").success());
    assert!(peak < 40, "{peak} MiB");
}

#[test]
fn many_large_outputs_wait_without_memory_or_open_files() {
    if !crate::common::heavy() {
        return;
    }
    const COUNT: usize = 40;
    let crew = Crew::new();
    let (go, log) = (crew.path("go"), crew.path("done"));
    let script = format!(
        "if test $1 = 0; then {}; else head -c 2000000 /dev/zero | tr '\\0' x; echo >> '{log}'; fi",
        until(&go)
    );
    let run = Test::new()
        .arg("-j2")
        .args(sh(&script))
        .jobs((0..=COUNT).map(|number| number.to_string()))
        .stdout("x".repeat(COUNT * 2_000_000))
        .spawn();
    wait_for("the others to be over", || lines_of(&log).len() == COUNT);
    let folder = format!("/proc/{}/fd", number(run.pid()));
    let open = fs::read_dir(folder).expect("procpool lives").count();
    let peak = peak_memory(run.pid()) >> 20;
    crew.file("go", "");
    run.finish();
    assert!(open < COUNT, "{open} open files");
    assert!(peak < 40, "{peak} MiB");
}

#[test]
fn stderr_follows_the_stdout_of_its_job() {
    let script = "echo err$1 >&2; echo out$1; echo more$1 >&2; echo out$1; printf unfinished >&2";
    let expected: String =
        (1..=20).map(|n| format!("out{n}\nout{n}\nerr{n}\nmore{n}\nunfinished\n")).collect();
    Test::through_shell("\"$@\" 2>&1")
        .arg("-j4")
        .args(sh(script))
        .jobs((1..=20).map(|n| n.to_string()))
        .stdout(expected)
        .run();
    let large = "head -c 700000 /dev/zero | tr '\\0' e >&2; head -c 700000 /dev/zero | tr '\\0' o";
    Test::through_shell("\"$@\" 2>&1")
        .arg("-j2")
        .args(sh(large))
        .jobs(["1", "2"])
        .stdout(format!("{}{}\n", "o".repeat(700_000), "e".repeat(700_000)).repeat(2))
        .run();
}

#[test]
fn large_stderr_comes_whole_and_the_failure_behind_it() {
    let script = "head -c 3000000 /dev/zero | tr '\\0' e >&2; echo $1; exit $1";
    let large = "e".repeat(3_000_000);
    Test::new()
        .arg("-j2")
        .args(sh(script))
        .jobs(["0", "3"])
        .stdout("0\n3\n")
        .stderr(format!(
            "{large}\n{large}\n{}",
            failed(&format!("sh -c {} sh 3", quoted(script)), "exit status 3", "job 2, line 2")
        ))
        .status(1)
        .run();
}

#[test]
fn records_hold_large_text_and_bytes() {
    let crew = Crew::new();
    // Wherever a piece ends, it ends within a character.
    let texts =
        ["é\"\n".repeat(150_000), format!("a{}", "€".repeat(200_000)), "🙂".repeat(140_000)];
    let mut bytes = "é".repeat(300_000).into_bytes();
    bytes.pop();
    let mut files: Vec<String> =
        texts.iter().enumerate().map(|(at, text)| crew.file(&at.to_string(), text)).collect();
    files.push(crew.file("bytes", &bytes));
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
    for format in ["record", "value"] {
        let records = Test::new().args(["-j2", "--format", format, "cat"]).jobs(&files).records();
        let results: Vec<&Value> = match format {
            "record" => records.iter().map(result).collect(),
            _ => records.iter().collect(),
        };
        for (text, result) in texts.iter().zip(&results) {
            assert!(result["stdout"] == text.as_str() && result["exit"] == 0, "{format}");
            assert!(result["stderr"] == "" && result.get("stdout_base64").is_none(), "{format}");
        }
        assert!(results[3]["stdout_base64"] == base64.as_str(), "{format}");
        assert!(results[3].get("stdout").is_none(), "{format}");
    }
}

#[test]
fn a_failed_command_has_what_it_printed_in_its_record() {
    let records = Test::new()
        .args(["--format", "record"])
        .args(sh("echo out; printf '\\377' >&2; exit 7"))
        .jobs(["x"])
        .status(1)
        .records();
    assert_has(message(&records[0], "exit"), &["status 7"]);
    let data = &records[0]["error"]["data"];
    assert_eq!(data["exit"], 7);
    assert_eq!(data["stdout"], "out\n");
    assert_eq!(data["stderr_base64"], "/w==");
}

#[test]
fn tags_begin_each_line() {
    Test::new()
        .args(["--tag", "-j2"])
        .args(sh("echo 1; echo; printf 3; echo e >&2; printf f >&2"))
        .jobs(["a b", "c"])
        .stdout("a b\t1\na b\t\na b\t3c\t1\nc\t\nc\t3")
        .stderr("a b\te\na b\tf\nc\te\nc\tf\n")
        .run();
    // Several args, and one with a newline in it.
    Test::new()
        .args(["--tag", "--input", "tsv", "echo", "x{2}"])
        .stdin("a\tb\nc d\te\n")
        .stdout("a b\txb\nc d e\txe\n")
        .run();
    Test::new()
        .args(["--tag", "-0", "printf", "%s\\n"])
        .stdin("a\nb\0")
        .stdout("a b\ta\na b\tb\n")
        .run();
    // None at all.
    Test::new().args(["--tag", "true"]).jobs(["a"]).run();
}

#[test]
fn tags_begin_each_line_of_large_output() {
    let expected: String = (1..=200_000).map(|n| format!("200000\t{n}\n")).collect();
    Test::new().args(["--tag", "seq"]).jobs(["200000"]).stdout(&expected).run();
    Test::new().args(["--tag"]).args(sh("seq $1 >&2")).jobs(["200000"]).stderr(expected).run();
}

#[test]
fn as_a_stream_output_appears_when_its_job_ends() {
    let crew = Crew::new();
    let script =
        format!("echo begin $1; if test $1 = 1; then {}; fi; echo end $1", until(&crew.path("go")));
    let mut run = Test::new()
        .args(["-j2", "--stream"])
        .args(sh(&script))
        .jobs(["1", "2", "3"])
        .stdout("begin 2\nend 2\nbegin 3\nend 3\nbegin 1\nend 1\n")
        .spawn();
    for line in ["begin 2", "end 2", "begin 3", "end 3"] {
        assert_eq!(run.line(), line);
    }
    crew.file("go", "");
    run.finish();
}

#[test]
fn live_lines_come_while_their_job_runs_when_it_is_its_turn() {
    let crew = Crew::new();
    let log = crew.path("log");
    let script = format!(
        "echo begin $1; printf unfinished; echo >> '{log}'; \
         until test -e '{0}'$1 -o ! -d '{1}'; do sleep 0.02; done; echo ; echo end $1",
        crew.path("go"),
        std::path::Path::new(&log).parent().expect("a folder").display()
    );
    let mut run = Test::new()
        .args(["-j2", "--live"])
        .args(sh(&script))
        .jobs(["1", "2", "3"])
        .stdout(
            "begin 1\nunfinished\nend 1\nbegin 2\nunfinished\nend 2\nbegin 3\nunfinished\nend 3\n",
        )
        .spawn();
    assert_eq!(run.line(), "begin 1");
    wait_for("the second to begin", || lines_of(&log).len() == 2);
    crew.file("go1", "");
    assert_eq!(run.line(), "unfinished");
    assert_eq!(run.line(), "end 1");
    // Its turn has come, and it still runs.
    assert_eq!(run.line(), "begin 2");
    // That one is over before its turn.
    wait_for("the third to begin", || lines_of(&log).len() == 3);
    crew.file("go3", "");
    crew.file("go2", "");
    run.finish();
}

#[test]
fn live_as_a_stream_whole_lines_of_all_jobs_come_as_they_are_printed() {
    let crew = Crew::new();
    let script = format!(
        "printf \"half $1\"; until test -e '{0}'$1 -o ! -d '{1}'; do sleep 0.02; done; echo ' whole'; \
         until test -e '{0}' -o ! -d '{1}'; do sleep 0.02; done; echo end $1",
        crew.path("go"),
        std::path::Path::new(&crew.path("go")).parent().expect("a folder").display()
    );
    let mut run = Test::new()
        .args(["-j2", "--stream", "--live", "--tag"])
        .args(sh(&script))
        .jobs(["1", "2"])
        .any_stdout()
        .spawn();
    crew.file("go2", "");
    assert_eq!(run.line(), "2\thalf 2 whole");
    crew.file("go1", "");
    assert_eq!(run.line(), "1\thalf 1 whole");
    crew.file("go", "");
    let output = run.finish();
    let mut ends = output.lines()[2..].to_vec();
    ends.sort_unstable();
    assert_eq!(ends, ["1\tend 1", "2\tend 2"]);
}

#[test]
fn live_failures_come_behind_what_their_job_has_printed() {
    let crew = Crew::new();
    let script = format!(
        "echo a; printf b; echo e >&2; printf f >&2; test $1 = 3 && exit 3; {}",
        until(&crew.path("never"))
    );
    Test::new()
        .args(["-j1", "--live", "--tag", "--timeout", "2s", "--grace", "1h"])
        .args(sh(&script))
        .jobs(["3", "late"])
        .stdout("3\ta\n3\tblate\ta\nlate\tb")
        .stderr(format!(
            "3\te\n3\tf\n3\t{}late\te\nlate\tf\nlate\t{}",
            failed(&format!("sh -c {} sh 3", quoted(&script)), "exit status 3", "job 1, line 1"),
            failed(
                &format!("sh -c {} sh late", quoted(&script)),
                "timed out after 2s",
                "job 2, line 2"
            ),
        ))
        .status(1)
        .run();
}

#[test]
fn live_output_is_whole_however_long_its_lines_are() {
    let script = "head -c 700000 /dev/zero | tr '\\0' $1; echo; echo short; \
                  head -c 700000 /dev/zero | tr '\\0' e >&2; echo >&2; echo last >&2; echo last";
    let out = |name: &str| format!("{}\nshort\nlast\n", name.repeat(700_000));
    let err = format!("{}\nlast\n", "e".repeat(700_000));
    Test::new()
        .args(["-j2", "--live"])
        .args(sh(script))
        .jobs(["a", "b"])
        .stdout(out("a") + &out("b"))
        .stderr(err.repeat(2))
        .run();
    Test::new()
        .args(["-j1", "--live", "--stream", "--tag"])
        .args(sh(script))
        .jobs(["a"])
        .stdout(
            out("a").replace('\n', "\na\t").replacen("aaa", "a\taaa", 1).trim_end_matches("a\t"),
        )
        .stderr(format!("a\t{}\na\tlast\n", "e".repeat(700_000)))
        .run();
}

#[test]
fn live_output_of_waiting_jobs_is_whole_however_much_it_is() {
    let crew = Crew::new();
    let (go, log) = (crew.path("go"), crew.path("log"));
    let script = format!("if test $1 = 0; then {}; else seq $1; echo >> '{log}'; fi", until(&go));
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    let run = Test::new()
        .args(["-j3", "--live"])
        .args(sh(&script))
        .jobs(["0", "300000", "300000", "3"])
        .stdout(expected.repeat(2) + "1\n2\n3\n")
        .spawn();
    wait_for("the others to be over", || lines_of(&log).len() == 3);
    crew.file("go", "");
    run.finish();
}

#[test]
fn a_grandchild_with_stdout_open_holds_nothing_up() {
    let crew = Crew::new();
    let go = crew.path("go");
    let wait = until(&go);
    let test =
        || Test::new().args(["-j2", "--grace", "0.3"]).stderr_has("the command has left running");
    let script = format!("({wait}; echo late) & echo $1");
    test().args(sh(&script)).jobs(["1", "2"]).stdout("1\n2\n").run();
    // The same of one that has left the group.
    let wait = wait.replace('\'', "");
    let script = format!("setsid sh -c '{wait}' & echo $1");
    test().args(sh(&script)).jobs(["1", "2"]).stdout("1\n2\n").run();
    crew.file("go", "");
}

#[test]
fn a_command_may_close_its_stdout_and_go_on() {
    let crew = Crew::new();
    let (go, log) = (crew.path("go"), crew.path("log"));
    let script = format!(
        "echo out; exec >&- 2>&-; echo >> '{log}'; {}; echo end >> '{log}'; exit 3",
        until(&go)
    );
    let run = Test::new()
        .args(sh(&script))
        .jobs(["1"])
        .stdout("out\n")
        .stderr(failed(
            &format!("sh -c {} sh 1", quoted(&script)),
            "exit status 3",
            "job 1, line 1",
        ))
        .status(1)
        .spawn();
    wait_for("it to close its stdout", || lines_of(&log).len() == 1);
    let before = cpu_time(run.pid());
    thread::park_timeout(Duration::from_millis(500));
    let spent = cpu_time(run.pid()) - before;
    crew.file("go", "");
    run.finish();
    assert_eq!(lines_of(&log).len(), 2, "it was ended early");
    assert!(spent < 20, "procpool was busy for {spent} ticks of 10 ms");
}

#[test]
fn large_output_that_finds_no_temporary_file_is_a_failure_of_procpool() {
    let crew = Crew::new();
    let script = "head -c 5000000 /dev/zero; echo err >&2";
    for options in [&["-j2"][..], &["-j1", "--stream"], &["-j2", "--live"], &["--format", "record"]]
    {
        let run = Test::new()
            .args(options)
            .args(sh(script))
            .env("TMPDIR", "/no/such/directory")
            .jobs((0..100).map(|n| n.to_string()))
            .any_stdout()
            .stderr_has("temporary file in '/no/such/directory'")
            .stderr_has("set TMPDIR")
            .status(125)
            .run();
        let said = run.stderr.matches("procpool: the output of a command could not").count();
        assert_eq!(said, 1, "{options:?}: {}", run.stderr);
        let jobs = String::from_utf8_lossy(&run.stdout).lines().count();
        assert!(run.stderr.matches("cancelled").count() + jobs < 10, "{options:?}: {}", run.stderr);
    }
    // Small output needs none.
    Test::new()
        .args(["-j2", "seq"])
        .env("TMPDIR", crew.path("none"))
        .jobs(["2", "1"])
        .stdout("1\n2\n1\n")
        .run();
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run_quietly() {
    for options in [&["-j2"][..], &["-j2", "--live"], &["-j2", "--stream"]] {
        Test::new()
            .args(options)
            .args(["seq"])
            .stdin_endless("1000\n")
            .head(1)
            .any_stdout()
            .killed_by(Signal::PIPE)
            .run();
    }
    // Large output is cut off as well.
    Test::new()
        .args(["-j2", "seq"])
        .stdin_endless("1000000\n")
        .head(1)
        .any_stdout()
        .killed_by(Signal::PIPE)
        .run();
}

#[test]
fn a_full_stdout_is_a_failure_of_procpool() {
    for jobs in ["10", "500000"] {
        for option in ["--live", "--stream", "-k"] {
            Test::new()
                .args([option, "seq"])
                .stdin_endless(&format!("{jobs}\n"))
                .stdout_to("/dev/full")
                .stderr_has("could not be written to stdout: No space left")
                .status(125)
                .run();
        }
    }
}

#[test]
fn live_a_reader_that_stalls_holds_up_no_timeout() {
    let crew = Crew::new();
    let (pid, log) = (crew.path("pid"), crew.path("log"));
    let mut run = Test::new()
        .args(["-j1", "--live", "--timeout", "2s", "--joblog", &log, "--shell"])
        .arg(format!("echo $$ > {pid}; exec yes"))
        .stdin("a\n")
        .hold_stdout()
        .any_stdout()
        .stderr_has("timed out after 2s")
        .status(1)
        .spawn();
    wait_for("the command to run", || {
        fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let pid = fs::read_to_string(&pid).expect("it runs");
    let stat = format!("/proc/{}/stat", pid.trim());
    wait_for("the command to be ended", || !fs::exists(&stat).expect("/proc is there"));
    run.release_stdout();
    let output = run.finish();
    let lines = fs::read_to_string(&log).expect("a log");
    let fields: Vec<_> = lines.lines().last().expect("a job").split('\t').collect();
    // All that was printed is counted, and the job has had no more than its time and that of an end.
    assert_eq!(fields[5].parse::<usize>().expect("a number"), output.stdout.len());
    assert!(fields[3].trim().parse::<f64>().expect("seconds") < 6.0, "{lines}");
}
