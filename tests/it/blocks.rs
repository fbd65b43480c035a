//! `--block`: whole records up to a number of bytes make one job, from a pipe and from a file.

use std::fs;

use crate::common::{Crew, Test, lines_of, need, sh};

/// The same input through a pipe, as a file on stdin, and as a file of `-a`.
fn each_way(text: &str, options: &[&str], stdout: &str) {
    let crew = Crew::new();
    let path = crew.file("in", text);
    let test = || Test::new().args(options.iter().take(options.len() - 1));
    let command = || shell_words::split(options[options.len() - 1]).expect("words");
    test().arg("--stdin").args(command()).stdin(text).stdout(stdout).run();
    let file = fs::File::open(&path).expect("it is there");
    test().arg("--stdin").args(command()).stdin_file(&file).stdout(stdout).run();
    test().arg("--stdin").args(["-a", &path]).args(command()).stdout(stdout).run();
}

#[test]
fn blocks_end_where_records_end() {
    each_way("a\nb\nc\nd", &["--block", "5", "sed 's/^/{#}/'"], "1a\n1b\n2c\n2d");
    each_way("a\nb\n", &["--block", "4", "sh -c 'echo {#}; cat'"], "1\na\nb\n");
    each_way("", &["--block", "4", "sh -c 'echo {#}; cat'"], "");
    each_way("a\0b\0", &["--block", "2", "-0", "tr '\\0' {#}"], "a1b2");
    each_way(
        "a--\n--b--",
        &["--block", "5", "--recend=--", "sh -c 'cat; echo'"],
        "a--\n\n--\nb--\n",
    );
    each_way(">a\n1\n>b\n2\n", &["--block", "7", "--recstart", ">", "sh -c 'echo {#}; cat'"], {
        "1\n>a\n1\n2\n>b\n2\n"
    });
    let both = ["--block", "9", "--recend", "\\n", "--recstart", ">", "sh -c 'echo {#}; cat'"];
    each_way(">a\n1\n2\n>b\n>c\n", &both, "1\n>a\n1\n2\n2\n>b\n>c\n");
    each_way("abcde", &["--block", "2", "--recend", "", "sh -c 'cat; echo'"], "ab\ncd\ne\n");
}

#[test]
fn each_block_begins_with_the_header() {
    let csv = "n,m\n\"a\nb\",1\nc,2\nd,3\n";
    let options = ["--block", "9", "--input", "csv", "--header", "sh -c 'cat; echo .'"];
    each_way(csv, &options, "n,m\n\"a\nb\",1\n.\nn,m\nc,2\nd,3\n.\n");
    let options = ["--block", "4", "--header", "sh -c 'cat; echo .'"];
    each_way("h\n1\n2\n3\n", &options, "h\n1\n2\n.\nh\n3\n.\n");
}

#[test]
fn a_negative_size_divides_a_file() {
    let crew = Crew::new();
    let path = crew.file("in", "12345\n".repeat(60));
    let test = |block, jobs| {
        Test::new().args(["-j", jobs, "--block", block, "--stdin", "-a", &path]).args(["wc", "-l"])
    };
    test("-1", "3").stdout("20\n20\n20\n").run();
    test("-2", "3").stdout("10\n10\n10\n10\n10\n10\n").run();
    Test::new()
        .args(["--block", "-1", "--stdin", "cat"])
        .stdin("a\n")
        .stderr_has("divides an input whose length is known: give a file")
        .status(2)
        .run();
}

#[test]
fn a_record_that_is_longer_than_a_block() {
    each_way("a\nbcdefgh\ni\n", &["--block", "2", "sh -c 'echo {#}; cat'"], {
        "1\na\n2\nbcdefgh\n3\ni\n"
    });
    let options = ["--block", "2", "--max-line", "4", "--stdin", "cat"];
    let crew = Crew::new();
    let long = format!("a\n{}\nb\n{}", "x".repeat(200_000), "y".repeat(200_000));
    let path = crew.file("in", &long);
    let failed = crew.path("failed");
    let of_file = format!("job: {path}: the record");
    for (test, place) in [
        (Test::new().stdin(&long), "job: the record"),
        (Test::new().args(["-a", &path]), of_file.as_str()),
    ] {
        let test = test.args(["--failed", &failed]).args(options).stderr_has(place);
        let run = test.stderr_has("' lacks 2 lines longer than").stdout("a\nb\n").status(1).run();
        assert!(run.stderr.contains("again: repair") && lines_of(&failed).is_empty());
        for begin in [2, 200_005] {
            let part = format!("the record at byte {begin} is longer than the limit of 4 bytes");
            assert!(run.stderr.contains(&part), "{}", run.stderr);
        }
    }
}

#[test]
fn an_attempt_gets_the_whole_block_again() {
    let crew = Crew::new();
    let path = crew.file("in", "a\nb\nc\n");
    // It reads a part of the block, fails, and succeeds in the next attempt.
    let script = format!(
        "cd '{}'; read x; [ -e t$x ] || {{ : > t$x; exit 3; }}; echo $x; cat",
        crew.path("")
    );
    let options = ["--block", "4", "--retries", "1", "--retry-delay", "0", "--stdin"];
    Test::new().args(options).args(sh(&script)).stdin("a\nb\nc\n").stdout("a\nb\nc\n").run();
    for name in ["ta", "tc"] {
        fs::remove_file(crew.path(name)).expect("it was made");
    }
    Test::new().args(options).args(["-a", &path]).args(sh(&script)).stdout("a\nb\nc\n").run();
}

#[test]
fn failed_blocks_are_kept_whole() {
    let crew = Crew::new();
    let path = crew.file("in", "h\na\nb\nc\nd");
    let failed = crew.path("failed");
    let options = ["--header", "--block", "4", "--failed", &failed, "--stdin"];
    let script = "read h; read x; [ $x != c ]";
    let run =
        Test::new().args(options).args(["-a", &path]).args(sh(script)).status(1).any_stderr().run();
    assert!(run.stderr.contains("exit status 1 (job 2, 3 bytes from byte 6 on"), "{}", run.stderr);
    assert_eq!(fs::read_to_string(&failed).expect("it is there"), "h\nc\nd\n");
    Test::new()
        .args(["--block", "4", "--failed", &path, "--stdin", "-a", &path, "cat"])
        .stderr_has("--failed can't be the file that --block reads")
        .status(2)
        .run();
}

#[test]
fn a_run_with_blocks_is_resumed() {
    let crew = Crew::new();
    let path = crew.file("in", "a\nb\nc\n");
    let journal = crew.path("journal");
    let options = ["--block", "2", "--journal", &journal, "--resume", "--stdin"];
    let script = format!(
        "echo >> '{0}'; x=$(cat); [ $x != b ] || [ -e '{0}2' ] && echo $x",
        crew.path("log")
    );
    let run = Test::new().args(options).args(["-a", &path]).args(sh(&script));
    run.stdout("a\nc\n").status(1).any_stderr().run();
    crew.file("log2", "");
    // The blocks of a pipe are the same jobs.
    let run = Test::new().args(options).args(sh(&script)).stdin("a\nb\nc\n");
    run.stdout("a\nb\nc\n").run();
    assert_eq!(fs::read_to_string(crew.path("log")).expect("it is there"), "\n\n\n\n");
}

#[test]
fn little_memory_is_held() {
    let line = format!("{}\n", "x".repeat(99));
    let text = line.repeat(600_000);
    // The parent of a command is procpool.
    let script = "wc -c; grep VmHWM /proc/$PPID/status";
    let run = Test::new().args(["-j2", "--block", "4M", "--stdin"]).args(sh(script));
    let run = run.stdin(&text).any_stdout().run();
    let sum = |run: &crate::common::Output| {
        run.lines().iter().filter_map(|line| line.parse::<usize>().ok()).sum::<usize>()
    };
    let peak = |run: &crate::common::Output| {
        let lines = run.lines();
        let peaks = lines.iter().filter_map(|line| line.strip_prefix("VmHWM:"));
        peaks.map(|peak| peak.trim().trim_end_matches(" kB").parse::<usize>().expect("kB")).max()
    };
    assert_eq!(sum(&run), text.len());
    let most = peak(&run).expect("commands ran");
    // Those that run, two that wait, the next one, and two buffers for others; and what allocations cost.
    assert!(most < 10 * (4 << 10) + (12 << 10), "{most} kB for blocks from a pipe");
    let crew = Crew::new();
    let path = crew.file("in", &text);
    let options = ["-j2", "--block", "4M", "--stdin", "-a", &path];
    let run = Test::new().args(options).args(sh(script)).any_stdout().run();
    assert_eq!(sum(&run), text.len());
    let most = peak(&run).expect("commands ran");
    assert!(most < 20 << 10, "{most} kB for blocks from a file");
}

#[test]
fn a_file_that_becomes_shorter_fails_its_blocks() {
    let crew = Crew::new();
    let path = crew.file("in", "a\nb\n".repeat(2));
    let script = format!("cat; : > '{path}'");
    let options = ["-j1", "--block", "4", "--stdin", "-a", &path];
    let run =
        Test::new().args(options).args(sh(&script)).stdout("a\nb\n").status(1).any_stderr().run();
    assert!(
        run.stderr.contains("its input could not be read: the file has become shorter"),
        "{}",
        run.stderr
    );
}

#[test]
fn blocks_are_messages_of_raw_workers() {
    if !need("perl") {
        return;
    }
    let worker = r#"perl -0 -ne 'BEGIN { $| = 1 } chomp; print tr/\n// . " of " . length . "\0"'"#;
    let options = ["--block", "5", "--protocol", "raw", "--framing", "nul", "--worker", worker];
    Test::new().args(options).stdin("a\nb\nc\nd\n").stdout("2 of 4\n2 of 4\n").run();
    // A worker that marks the end of its replies can read several lines.
    let options = ["--block", "5", "--protocol", "raw", "--reply-end", "END"];
    let worker = "sed -u -e 's/^/</' -e '/[bd]/a END'";
    let worker = ["--worker", worker];
    Test::new().args(options).args(worker).stdin("a\nb\nc\nd\n").stdout("<a\n<b\n<c\n<d\n").run();
    Test::new()
        .args(["--block", "5", "--protocol", "raw", "--worker", "cat"])
        .stderr_has("a worker that reads lines can't tell where it ends")
        .status(2)
        .run();
}
