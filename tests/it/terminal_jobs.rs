//! Jobs that have the terminal (`--tty`), a pseudo-terminal (`--pty`), or the stdin of procpool (`-a`).

use std::fs;

use crate::common::{Crew, Test, assert_has, need};
use crate::screen::Screen;

/// A screen whose shell is in a folder, and the folder.
fn screen() -> Option<(Screen, Crew)> {
    let crew = Crew::new();
    Some((Screen::new(100, 20, &crew.path(""))?, crew))
}

#[test]
fn a_job_reads_and_writes_the_terminal_and_the_next_one_follows() {
    let Some((mut screen, crew)) = screen() else { return };
    crew.file("a", "");
    crew.file("b", "");
    screen.run("printf 'a\\nb\\n' | pp -o rm -i; echo status $?");
    screen.see_row("rm: remove regular empty file 'a'?");
    screen.keys("y\n");
    screen.see_row("rm: remove regular empty file 'b'?");
    screen.keys("n\n");
    screen.see_row("status 0");
    assert!(fs::metadata(crew.path("a")).is_err() && fs::metadata(crew.path("b")).is_ok());
}

#[test]
fn ctrl_c_goes_to_the_job_and_ends_the_run_if_the_job_dies_of_it() {
    let Some((mut screen, crew)) = screen() else { return };
    let job = crew.file(
        "job",
        "trap 'echo caught' INT; read go; echo begun $1; until read x; do :; done; echo got $x\n",
    );
    screen.run(&format!("pp --tty sh {job} ::: one; echo status $?"));
    // What it has read shows that it has the terminal.
    screen.keys("go\n");
    screen.see_row("begun one");
    screen.keys("\u{3}");
    screen.see_row("caught");
    screen.keys("it\n");
    screen.see_row("got it");
    screen.see_row("status 0");
    screen.run("pp --tty sh -c 'read go; echo begun $0; read x' ::: two three; echo status $?");
    screen.keys("go\n");
    screen.see_row("begun two");
    screen.keys("\u{3}");
    let rows = screen.rows_at_prompt().join("\n");
    assert_has(
        &rows,
        &["failed: sh -c", "two: killed by SIGINT (signal 2)", "1 job read and not run"],
    );
    assert!(!rows.contains("begun three") && !rows.contains("status"), "{rows}");
}

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    let Some((mut screen, crew)) = screen() else { return };
    let job = crew.file("job", "trap 'echo went on' CONT; stty -echo; read go; echo begun; until read x; do :; done; echo \"got $x\"\n");
    screen.run(&format!("pp --tty sh {job} ::: one; echo status $?"));
    screen.keys("go\n");
    screen.see_row("begun");
    screen.keys("\u{1a}");
    screen.see_row("Stopped");
    // The shell has its own modes, and the job has its own again.
    screen.send("stty -a | tr ' ;' '\\n\\n' | grep -x -- '-*echo'");
    screen.see("the modes of the shell", |text| text.contains("\necho\n"));
    screen.clear();
    screen.send("fg");
    screen.see_row("went on");
    screen.keys("hidden\n");
    let text = screen.see("the answer", |text| text.contains("\ngot hidden\n$"));
    assert!(!text.contains("\nhidden"), "{text}");
}

#[test]
fn the_modes_are_restored_whatever_ends_the_job() {
    let Some((mut screen, _crew)) = screen() else { return };
    for (options, job) in [
        ("", "stty raw -echo; kill -9 $$"),
        ("", "stty raw -echo; exit 3"),
        (
            "--timeout 0.2 --grace 0.1",
            "stty raw -echo; trap : TERM; sleep 100 & wait; wait; sleep 9",
        ),
    ] {
        screen.run(&format!("pp -o {options} sh -c '{job}' ::: x; stty -a; echo end"));
        let text = screen.see("the modes", |text| text.lines().any(|row| row == "end"));
        assert_has(&text, &["procpool: failed: "]);
        let modes: Vec<&str> = text.split([' ', '\n', ';']).collect();
        assert!(["icanon", "echo", "opost"].iter().all(|mode| modes.contains(mode)), "{text}");
    }
}

#[test]
fn without_a_terminal_or_with_several_jobs_tty_is_refused() {
    if need("setsid") {
        Test::through_shell("exec setsid -w \"$@\"")
            .args(["--tty", "cat", ":::", "a"])
            .stderr_has("--tty has no terminal to give to the jobs")
            .status(125)
            .run();
    }
    for args in [
        &["-o", "-j2", "cat", ":::", "a"][..],
        &["-o", "--format", "record", "cat", ":::", "a"],
        &["-o", "--journal", "j", "cat", ":::", "a"],
        &["-o", "--stdin", "cat", ":::", "a"],
        &["-o", "--python", "x"],
    ] {
        Test::new().args(args).stderr_has("--tty").status(2).run();
    }
}

#[test]
fn a_pty_is_a_terminal_for_stdout_and_stderr_and_changes_no_byte() {
    let tests = "test -t 1 && test -t 2 && ! test -t 0 && printf 'a\\r\\nb\\n\\tc' && echo err >&2";
    Test::new().args(["--pty", "sh", "-c", tests, ":::", "x"]).stdout("a\r\nb\n\tcerr\n").run();
    // Lines come at once, and a large output comes whole.
    Test::new()
        .args(["--pty", "--live", "-j1", "seq", ":::", "300000"])
        .stdout((1..=300_000).map(|n| format!("{n}\n")).collect::<String>())
        .run();
    Test::new()
        .args(["--pty", "--format", "record", "sh", "-c", "echo out; exit 3", ":::", "x"])
        .stdout(
            "{\"id\":1,\"ok\":false,\"error\":{\"kind\":\"exit\",\"message\":\"exit status 3\",\
             \"data\":{\"exit\":3,\"stdout\":\"out\\n\",\"stderr\":\"\"}}}\n",
        )
        .status(1)
        .run();
}

#[test]
fn commands_read_the_stdin_of_procpool_if_jobs_come_from_files() {
    let crew = Crew::new();
    let list = crew.file("list", "a\n");
    let show = ["sh", "-c", "echo \"$0: $(cat)\""];
    let run = |args: &[&str]| Test::new().args(args).args(show).stdin("data\n");
    run(&["-a", &list]).stdout("a: data\n").run();
    run(&[]).arg("::::").arg(&list).stdout("a: data\n").run();
    run(&[]).args([":::", "a"]).stdout("a: \n").run();
    Test::new().args(["-a", &list, "-a", "-"]).args(show).stdin("b\n").stdout("a: \nb: \n").run();
    run(&["--stdin", "-a", &list]).stdout("sh: a\n").run();
}
