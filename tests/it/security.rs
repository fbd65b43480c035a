//! What is trusted, and what is not: a test for each claim in ARCHITECTURE.md.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use crate::common::{Crew, Test, assert_has, leftovers, message, need, result, wait_for};
use serde_json::json;

/// What plays with a terminal: it clears it, names its window, rings, overwrites the line, does the same
/// in one character of the upper half, turns text around, breaks the line.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\r\u{9b}31m\u{202e}txt\u{2066}\u{2028}end";

/// Asserts that nothing in what people see on their terminal does anything.
#[track_caller]
fn assert_harmless(text: &str) {
    let is_bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let bad: Vec<char> = text.chars().filter(|&c| is_bad(c)).collect();
    assert!(bad.is_empty(), "{bad:?} in {text:?}");
}

#[test]
fn job_data_is_never_given_to_a_shell() {
    let crew = Crew::new();
    let made = crew.path("made");
    let evil = [
        format!("$(touch {made})"),
        format!("`touch {made}`"),
        format!("x; touch {made}"),
        format!("x | touch {made} && touch {made} > {made}"),
        format!("' ; touch {made} ; '"),
        format!("\" ; touch {made} ; \""),
        "*".to_owned(),
        "~".to_owned(),
        "-n".to_owned(),
    ];
    let lines = |mark: &str| evil.iter().map(|x| format!("{mark}{x}\n")).collect::<String>();
    let input = lines("");
    // As an argument, in place of a placeholder, as a directory's or variable's value, and in a shell's text.
    Test::new().args(["printf", "%s\\n"]).stdin(&input).stdout(&input).run();
    Test::new().args(["printf", "%s\\n", "a{}"]).stdin(&input).stdout(lines("a")).run();
    let env = ["--env", "X={}", "sh", "-c", "printf '%s\\n' \"$X\""];
    Test::new().args(env).stdin(&input).stdout(&input).run();
    let shell = ["--shell", "printf '%s\\n' {}"];
    Test::new().args(shell).stdin(&input).stdout(&input).run();
    // To a worker, as its name, and as a program.
    let jobs = evil.iter().map(|x| json!({"cmd": "first", "args": [x]}).to_string());
    let stdout: String = evil.iter().map(|x| format!("{}\n", json!(x))).collect();
    Test::new()
        .workers(1, crew.worker(""))
        .args(["--format", "value"])
        .jobs(jobs)
        .stdout(stdout)
        .run();
    let jobs = evil.iter().map(|x| json!({"cmd": x, "worker": x, "id": x}).to_string());
    Test::new().jobs(jobs).any_stdout().any_stderr().status(1).run();
    assert!(!fs::exists(made).expect("the directory can be read"), "a shell took it for its own");
}

#[test]
fn nothing_in_a_job_plays_with_the_terminal() {
    let crew = Crew::new();
    let hostile = json!(HOSTILE);
    let joined = HOSTILE.replace('\u{2028}', " ");
    let jobs = [
        format!("{{\"cmd\":\"fail\",\"args\":[{hostile}],\"id\":{hostile}}}"),
        format!("{{\"cmd\":{hostile},\"args\":[]}}"),
        format!("{{\"cmd\":\"echo\",{hostile}:1}}"),
        format!("{{\"cmd\":\"echo\",\"id\":{hostile},\"timeout\":{hostile}}}"),
        format!("{joined} ["),
        format!("garbage [{hostile}]"),
        format!("stderr_exit [\"quiet\",3] {joined}"),
        "bytes [27,91,50,74,194,155,226,128,174]".to_owned(),
        format!("{{\"cmd\":\"first\",\"args\":[{hostile}]}}"),
    ];
    for format in ["value", "text", "record"] {
        let output = Test::new()
            .workers(1, crew.worker(""))
            .args(["--format", format, "--summary", "--progress", "always"])
            .jobs(&jobs)
            .any_stdout()
            .any_stderr()
            .status(1)
            .run();
        assert_harmless(&output.stderr);
        assert_has(&output.stderr, &["9 jobs: 1 ok, 8 failed"]);
        if format == "text" {
            // The result is as it is.
            assert_eq!(output.stdout, format!("{HOSTILE}\n").as_bytes());
        }
    }
}

#[test]
fn nothing_in_a_plain_line_plays_with_the_terminal() {
    let line = format!("{HOSTILE}\n");
    for options in [
        // A program, a directory, a field, a header, a tag, a lane; none of them can be.
        &["{}"][..],
        &["--cwd", "{}", "true"],
        &["--input", "json", "echo", "{}"],
        &["--input", "csv", "--header", "echo", "{missing}"],
        &["--tag", "sh", "-c", "echo x >&2; exit 3"],
        &["--tag", "--live", "sh", "-c", "echo x >&2; exit 3"],
        &["false"],
        &["-w", "a=cat", "-w", "b=cat", "--protocol", "raw"],
    ] {
        let output = Test::new()
            .args(["--summary"])
            .args(options)
            .stdin(line.repeat(2))
            .any_stdout()
            .any_stderr()
            .any_status()
            .run();
        assert_harmless(&output.stderr);
    }
}

#[test]
fn names_of_files_do_not_play_with_the_terminal() {
    let crew = Crew::new();
    let name = "a\u{1b}[2J\u{9b}\u{202e}";
    crew.file(name, "nonsense [\n");
    for file in [name, "missing\u{1b}[2J"] {
        let output = Test::new()
            .cwd(crew.path(""))
            .workers(1, crate::common::worker(""))
            .args(["--format", "text", "-a", file, "-a", name])
            .any_stdout()
            .any_stderr()
            .any_status()
            .run();
        assert_harmless(&output.stderr);
        assert_has(&output.stderr, &["\\u{1b}[2J"]);
    }
}

#[test]
fn what_a_worker_prints_to_stderr_is_passed_on_as_it_came() {
    // The worker is trusted, and its colours are wanted. What is quoted of it is not as it came.
    let crew = Crew::new();
    let output = Test::new()
        .workers(1, crew.worker(""))
        .args(["--format", "text"])
        .jobs(["stderr_exit [\"\\u001b[1mbold\\u001b[0m\",3]"])
        .any_stderr()
        .status(1)
        .run();
    let (own, quoted) = output.stderr.split_once('\n').expect("two lines");
    assert_eq!(own, "\u{1b}[1mbold\u{1b}[0m");
    assert_harmless(quoted);
    assert_has(quoted, &["bold"]);
}

#[test]
fn files_are_for_their_owner_alone() {
    let crew = Crew::new();
    let (joblog, failed) = (crew.path("joblog"), crew.path("failed"));
    Test::through_shell("umask 0; exec \"$@\"")
        .args(["--joblog", &joblog, "--failed", &failed, "sh", "-c", "exit 1"])
        .stdin("1\n")
        .any_stderr()
        .status(1)
        .run();
    for path in [&joblog, &failed] {
        let metadata = fs::metadata(path).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{path}");
        assert!(metadata.len() > 0, "{path}");
    }
    // What is there keeps its mode: it is its owner's choice.
    fs::set_permissions(&joblog, fs::Permissions::from_mode(0o644)).expect("it is ours");
    Test::new().args(["--joblog", &joblog, "true"]).stdin("1\n").run();
    let metadata = fs::metadata(&joblog).expect("it is there");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
}

#[test]
fn temporary_files_have_no_name() {
    let crew = Crew::new();
    let folder = crew.path("tmp");
    fs::create_dir(&folder).expect("a directory");
    let go = crew.path("go");
    // The first job keeps the others' results from being printed, which are too many for memory; and
    // a command prints more than is held in memory.
    let run = Test::through_shell("umask 0; exec \"$@\"")
        .args(["-j2", "--buffer", "1K", "--shell"])
        .arg(format!(
            "if [ {{}} = 1 ]; then while ! [ -e {go} ]; do sleep 0.01; done; fi; seq 100000"
        ))
        .env("TMPDIR", &folder)
        .stdin("1\n2\n3\n4\n5\n")
        .any_stdout()
        .spawn();
    let open = || -> Vec<fs::Metadata> {
        let fds = format!("/proc/{}/fd", run.pid().as_raw_nonzero());
        let fds = fs::read_dir(fds).expect("it runs").flatten().map(|entry| entry.path());
        fds.filter(|fd| fs::read_link(fd).is_ok_and(|target| target.starts_with(&folder)))
            .filter_map(|fd| fs::metadata(fd).ok())
            .collect()
    };
    wait_for("a temporary file", || open().iter().any(|file| file.len() > 100_000));
    for file in open() {
        assert_eq!((file.nlink(), file.permissions().mode() & 0o777), (0, 0o600));
    }
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
    crew.file("go", "");
    assert_eq!(run.finish().lines().len(), 500_000);
}

/// A user who is somebody else.
const OTHER: u32 = 65_534;

#[test]
fn what_another_user_has_planted_is_not_written_through() {
    let crew = Crew::new();
    let shared = crew.path("shared");
    fs::create_dir(&shared).expect("a directory");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("it is ours");
    if chown(&shared, Some(OTHER), None).is_err() {
        println!("skipped: only root can make files of another user's");
        return;
    }
    // Neither ours nor the directory's owner's.
    let third = Some(OTHER - 1);
    let victim = crew.file("victim", "precious\n");
    let (link, file) = (format!("{shared}/link"), format!("{shared}/file"));
    symlink(&victim, &link).expect("a link");
    std::os::unix::fs::lchown(&link, third, None).expect("we are root");
    fs::write(&file, "bait\n").expect("a file");
    chown(&file, third, None).expect("we are root");
    // A folder on the way, a FIFO that would be read, and results that nobody has had.
    let (folder, fifo) = (format!("{shared}/folder"), format!("{shared}/fifo"));
    fs::create_dir(crew.path("real")).expect("a directory");
    symlink(crew.path("real"), &folder).expect("a link");
    std::os::unix::fs::lchown(&folder, third, None).expect("we are root");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a FIFO");
    chown(&fifo, third, None).expect("we are root");
    let forged = format!("{shared}/journal");
    let journal =
        |path: &str| Test::new().args(["--journal", path, "--resume", "echo"]).stdin("1\n");
    journal(&forged).stdout("1\n").run();
    let text = fs::read_to_string(&forged).expect("it is there").replace("\"1\\n", "\"forged\\n");
    fs::write(&forged, &text).expect("it is ours");
    journal(&forged).stdout("forged\n").any_stderr().run();
    chown(&forged, third, None).expect("we are root");
    let inside = format!("{folder}/new");
    for option in ["--joblog", "--failed", "--journal"] {
        for (path, what) in [
            (&link, "link"),
            (&file, "another user's file is in its place"),
            (&fifo, "another user's FIFO is in its place"),
            (&forged, "another user's file is in its place"),
            (&inside, "'folder' on the way to it is another user's link"),
        ] {
            let test = Test::new().args([option, path, "false"]).stdin("1\n").stderr_has(what);
            test.status(125).run();
        }
    }
    for path in [&folder, &inside, &format!("{inside}/deep")] {
        let test = Test::new().args(["--results", path, "echo"]).stdin("1\n");
        test.stderr_has("another user's link").status(125).run();
    }
    journal(&forged).stderr_has("another user's").status(125).run();
    assert_eq!(fs::read_to_string(&forged).expect("it is there"), text);
    assert_eq!(fs::read_dir(crew.path("real")).expect("it is there").count(), 0);
    assert_eq!(fs::read_to_string(&victim).expect("it is there"), "precious\n");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "bait\n");
    // Our own link is our own business, and so are the system's, and the folder's owner's.
    let theirs = format!("{shared}/theirs");
    symlink(crew.path("real"), &theirs).expect("a link");
    std::os::unix::fs::lchown(&theirs, Some(OTHER), None).expect("we are root");
    let inside = format!("{theirs}/failed");
    Test::new().args(["--failed", &inside, "false"]).stdin("1\n").any_stderr().status(1).run();
    assert_eq!(fs::read_to_string(crew.path("real/failed")).expect("it is there"), "1\n");
    let ours = format!("{shared}/ours");
    symlink(&victim, &ours).expect("a link");
    Test::new().args(["--joblog", &ours, "true"]).stdin("1\n").run();
    assert_has(&fs::read_to_string(&victim).expect("it is there"), &["Exitval"]);
    Test::new().args(["--joblog", "/dev/stderr", "true"]).stdin("1\n").stderr_has("Exitval").run();
    Test::new().args(["--joblog", "/dev/null", "true"]).stdin("1\n").run();
}

/// The open files of a process, by their numbers.
fn descriptors(pid: &str) -> BTreeMap<String, PathBuf> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let number = |fd: &fs::DirEntry| fd.file_name().to_string_lossy().into_owned();
    fds.filter_map(|fd| Some((number(&fd), fs::read_link(fd.path()).ok()?))).collect()
}

/// The open files, but for its three, of each of two processes that are run so, and become `sleep` with
/// this mark.
#[track_caller]
fn inherited(
    crew: &Crew,
    mark: &str,
    what: &[&str],
    makeflags: &str,
) -> Vec<BTreeMap<String, PathBuf>> {
    let (jobs, given) = (crew.file("jobs", "1\n2\n3\n"), crew.file("given", "given\n"));
    let (joblog, failed) = (crew.path("joblog"), crew.path("failed"));
    let log = ["--joblog", &joblog, "--failed", &failed, "-a", &jobs, "-j2"];
    let run = Test::through_shell("exec \"$@\" 3<\"$GIVEN\" 4<\"$GIVEN\" 9>>\"$GIVEN\"")
        .args(log)
        .args(what)
        .env("GIVEN", given)
        .env("MAKEFLAGS", makeflags)
        .any_stdout()
        .any_stderr()
        .any_status()
        .spawn();
    // What they are before may have files of its own open for a moment.
    let asleep = || leftovers(mark).into_iter().filter(|process| process.contains(") sleep "));
    wait_for("two processes", || asleep().count() >= 2);
    let all = asleep().map(|process| {
        let pid = process.chars().skip_while(|c| !c.is_ascii_digit());
        let pid: String = pid.take_while(char::is_ascii_digit).collect();
        let mut own = descriptors(&pid);
        own.retain(|fd, file| {
            // A loader has libraries open for a moment.
            let is_loaded =
                ["/lib", "/lib64", "/usr", "/etc"].iter().any(|folder| file.starts_with(folder));
            !matches!(fd.as_str(), "0" | "1" | "2") && !is_loaded
        });
        own
    });
    let all = all.collect();
    run.signal(rustix::process::Signal::QUIT);
    run.finish();
    all
}

#[test]
fn workers_inherit_three_descriptors() {
    let crew = Crew::new();
    let mark = format!("300.1{}", std::process::id());
    let sleep = format!("sleep {mark}");
    // A command with the name of an open file among its words has that file, and so has a `make` that it runs.
    let told = format!("sh -c 'exec sleep {mark} <&3' /dev/fd/9");
    let setup = format!("import os; os.execvp('sleep', ['sleep', '{mark}', '/dev/fd/4'][:2])");
    let worker = |line| vec!["--protocol", "raw", "--timeout", "200s", "-w", line];
    let mut ways = vec![
        (worker(&sleep), "", vec![]),
        (worker(&told), "", vec!["3", "9"]),
        (worker(&sleep), "w -j2 --jobserver-auth=3,4", vec!["3", "4"]),
    ];
    if need("python3") {
        ways.push((vec!["--python", "x", "--setup", &setup], "", vec!["4"]));
    }
    for (what, makeflags, expected) in ways {
        for own in inherited(&crew, &mark, &what, makeflags) {
            assert_eq!(own.keys().collect::<Vec<_>>(), expected, "{what:?}: {own:?}");
        }
    }
}

#[test]
fn commands_inherit_what_procpool_was_given() {
    let crew = Crew::new();
    let given = PathBuf::from(crew.path("given"));
    let mark = format!("300.2{}", std::process::id());
    for own in inherited(&crew, &mark, &["sleep", &mark], "") {
        // Whoever runs the tests may have given more.
        assert!(["3", "4", "9"].iter().all(|&fd| own.get(fd) == Some(&given)), "{own:?}");
    }
}

#[test]
fn a_worker_reads_what_the_shell_gives_it() {
    if !need("bash") {
        return;
    }
    let script = "exec \"$0\" --protocol raw -j1 -w 'sed -u -f '<(echo 's/a/b/') <<<'a'";
    let mut command = std::process::Command::new("bash");
    let output = command.args(["-c", script, env!("CARGO_BIN_EXE_procpool")]).output();
    assert_eq!(output.expect("bash runs").stdout, b"b\n");
}

#[test]
fn a_job_cannot_forge_the_result_of_another() {
    // Nothing that a job holds, or a worker prints, makes a second line on stdout.
    let crew = Crew::new();
    let forged = "x\"}\n{\"id\":2,\"ok\":true,\"result\":\"forged\"}\n";
    let records = Test::new()
        .workers(1, crew.worker(""))
        .jobs([
            json!({"cmd": "first", "args": [forged], "id": forged}).to_string(),
            json!({"cmd": "garbage", "args": [forged]}).to_string(),
            "echo [3]".to_owned(),
        ])
        .any_stderr()
        .status(1)
        .records();
    assert_eq!(records.len(), 3);
    assert_eq!(result(&records[0]), &json!(forged));
    message(&records[1], "protocol");
    assert_eq!(result(&records[2]), &json!([3]));
}
