//! Options from `PROCPOOL_OPTIONS` and from profiles, and the environment of jobs.

use std::fs;

use crate::common::{Crew, Test, need, sh};

/// A folder with a file of profiles, for XDG_CONFIG_HOME.
fn profiles(crew: &Crew, text: &str) -> String {
    fs::create_dir_all(crew.path("procpool")).expect("a folder");
    crew.file("procpool/config", text);
    crew.path("")
}

#[test]
fn the_variable_comes_before_the_command_line() {
    let options = |variable| Test::new().env("PROCPOOL_OPTIONS", variable).stdin("1\n2\n");
    options("--tag -d '\\n'").arg("echo").stdout("1\t1\n2\t2\n").run();
    options("--format record --tag")
        .args(["--format", "text", "echo"])
        .stdout("1\t1\n2\t2\n")
        .run();
    // An option without effect in this run is ignored, as is one that the command line excludes.
    if need("python3") {
        options("--max-reqs 5 --shell -n2").args(["--python", "x"]).any_stdout().run();
    }
    options("--max-reqs 5 -n2").arg("echo").stdout("1 2\n").run();
    options("-n2").args(["--block", "2", "--stdin", "cat"]).stdout("1\n2\n").run();
    options("").arg("echo").stdout("1\n2\n").run();
}

#[test]
fn an_option_of_the_variable_never_makes_a_command_line_wrong() {
    for (variable, args, expected) in [
        ("--tag --newline", &["--format", "record", "echo"][..], ""),
        ("--tag-string {}", &["--format", "value", "echo"], ""),
        ("--format value", &["--newline", "echo"], "1\n2\n"),
        ("--shuf --tag", &["--block", "2", "--stdin", "cat"], "1\n2\n"),
        ("-S :", &["--block", "2", "--stdin", "cat"], "1\n2\n"),
        ("--arg-sep ,,", &["echo", ":::", "a"], "a\n"),
        ("-a /nowhere", &["echo", ":::", "a"], "a\n"),
        ("--resume", &["echo", ":::", "a"], "a\n"),
        ("--fg --wait", &["echo", ":::", "a"], "a\n"),
        // The rest of the variable counts.
        ("--link --tag", &["echo", ":::", "a"], "a\ta\n"),
    ] {
        let test = Test::new().env("PROCPOOL_OPTIONS", variable).args(args).stdin("1\n2\n");
        if expected.is_empty() {
            test.any_stdout().run()
        } else {
            test.stdout(expected).run()
        };
    }
    // What is printed instead of a run does not read them.
    for args in [&["--doctor"][..], &["--generate", "man"], &["--example-worker", "python"]] {
        Test::new().env("PROCPOOL_OPTIONS", "'").args(args).any_stdout().run();
    }
    // An option and the one that it needs are in different places.
    let crew = Crew::new();
    let journal = crew.path("j");
    let variable = format!("--journal '{journal}'");
    for args in [&["echo"][..], &["--resume", "echo"]] {
        Test::new()
            .env("PROCPOOL_OPTIONS", &variable)
            .args(args)
            .jobs(["a"])
            .stdout("a\n")
            .any_stderr()
            .run();
    }
    let test =
        Test::new().env("PROCPOOL_OPTIONS", "--resume").args(["--journal", &journal, "echo"]);
    test.jobs(["a"]).stdout("a\n").any_stderr().run();
    let alone = Test::new().env("PROCPOOL_OPTIONS", "--tag").args(["--resume", "echo"]).stdin("");
    alone.stderr_has("--journal <FILE>").status(2).run();
}

#[test]
fn what_is_wrong_with_the_variable() {
    for (variable, why) in [
        ("--nothing", "PROCPOOL_OPTIONS: unexpected argument '--nothing' found"),
        ("--jobs= x", "PROCPOOL_OPTIONS: "),
        ("echo", "PROCPOOL_OPTIONS: 'echo' is no option: write a COMMAND on the command line"),
        ("--help", "PROCPOOL_OPTIONS: --help and --version are for the command line"),
        ("--doctor", "PROCPOOL_OPTIONS: --doctor is for the command line"),
        ("'", "PROCPOOL_OPTIONS: a quote is not closed"),
        ("--profile no", "--profile no: there is no file '/nowhere/procpool/config'"),
    ] {
        let test = Test::new().env("PROCPOOL_OPTIONS", variable).arg("echo");
        test.env("XDG_CONFIG_HOME", "/nowhere").stderr_has(why).status(2).run();
    }
}

#[test]
fn a_profile_has_options() {
    let crew = Crew::new();
    let text = "# mine\n[ci]\n--retries 1\n--tag\n[wrong]\n--tag\n--tagg\n[two]\n-n 2\n[loop]\n--profile ci\n";
    let home = profiles(&crew, text);
    let test = |args: &[&str]| Test::new().env("XDG_CONFIG_HOME", &home).args(args).stdin("1\n2\n");
    test(&["--profile", "ci", "echo"]).stdout("1\t1\n2\t2\n").run();
    test(&["--profile", "ci", "--profile", "two", "echo"]).stdout("1 2\t1 2\n").run();
    test(&["--profile", "two", "-n1", "echo"]).stdout("1\n2\n").run();
    test(&["--profile", "no", "echo"])
        .stderr_has("there is no such profile in")
        .stderr_has("which has ci, wrong, two, loop")
        .status(2)
        .run();
    test(&["--profile", "wrong", "echo"]).stderr_has("line 7: profile wrong in").status(2).run();
    test(&["--profile", "loop", "echo"])
        .stderr_has("line 11: a profile can't name another one")
        .status(2)
        .run();
    // The variable names a profile, and its own options come after that.
    let test = test(&["echo"]).env("PROCPOOL_OPTIONS", "--profile two -n1 --tag");
    test.stdout("1\t1\n2\t2\n").run();
}

#[test]
fn options_are_shown_with_their_origins() {
    let crew = Crew::new();
    let home = profiles(&crew, "[ci]\n--retries 2\n--timeout 9\n--setup 'a b'\n");
    let run = Test::new()
        .env("XDG_CONFIG_HOME", &home)
        .env("PROCPOOL_OPTIONS", "--timeout 5 --env A=1 -j3")
        .args(["--show-options", "--profile", "ci", "-j", "2", "--env", "B=2", "echo", "{}"])
        .any_stdout()
        .run();
    let rows: Vec<Vec<&str>> =
        run.lines().iter().map(|line| line.splitn(2, "  ").map(str::trim).collect()).collect();
    let profile = format!("profile ci in {home}procpool/config");
    let idle = format!("{profile}, without effect here");
    for row in [
        ["-j 2", "command line"],
        ["--retries 2", &profile],
        ["--timeout 9", &profile],
        ["--env 'A=1'", "PROCPOOL_OPTIONS"],
        ["--env 'B=2'", "command line"],
        ["--setup 'a b'", &idle],
        ["--max-line 64M", "default"],
    ] {
        assert!(rows.contains(&row.to_vec()), "{row:?} is not in {rows:#?}");
    }
    assert!(
        !run.lines().iter().any(|line| line.starts_with("-j 3") || line.starts_with("--timeout 5"))
    );
}

#[test]
fn only_some_variables() {
    let env = |options: &[&str]| {
        let test = Test::new().env("KEPT", "1").env("LC_X", "2").env("SECRET", "3");
        let script = "echo $KEPT-$LC_X-$SECRET-$MORE-${PATH:+p}${HOME:+h}";
        test.env("HOME", "/h").args(options).args(sh(script)).stdin("a\n")
    };
    env(&[]).stdout("1-2-3--ph\n").run();
    env(&["--env-only", "KEPT,LC_*", "--env", "MORE=4"]).stdout("1-2--4-ph\n").run();
    env(&["--env-only="]).stdout("----ph\n").run();
    env(&["--env-only=KEPT", "--env-all"]).stdout("1-2-3--ph\n").run();
    env(&["--env-only", "A=1"]).stderr_has("expected names of variables").status(2).run();
    // A command is still looked up before anything is read.
    Test::new().args(["--env-only=", "no-such-command"]).status(127).any_stderr().run();
    let worker = "sh -c 'while read line; do echo \"{\\\"result\\\":\\\"$SECRET-$KEPT-$PROCPOOL_SLOT\\\"}\"; done'";
    Test::new()
        .env("KEPT", "1")
        .env("SECRET", "3")
        .args(["-j1", "--env-only", "KEPT", "--format", "text", "--worker", worker])
        .jobs(["a"])
        .stdout("-1-1\n")
        .run();
}
