//! The progress of a run, as a person sees it on a real terminal, and as a log has it.

use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{Crew, Test, need, wait_for};
use crate::screen::Screen;
use crate::source::{read, root};

/// A job that fails, waits for the file `go`, or ends at once. It prints its arg, except the newline if
/// the arg is `part`.
const JOB: &str = "case ${1##*/} in
fail*) echo no >&2; exit 1 ;;
wait*) until test -e go; do sleep 0.02; done; echo \"$1\" ;;
part*) printf %s \"$1\"; until test -e go; do sleep 0.02; done ;;
*) echo \"$1\" ;;
esac
";

/// What draws a line.
const BAR: [&str; 3] = ["━", "─", "ETA"];

struct Stage {
    crew: Crew,
    screen: Screen,
}

impl Stage {
    fn new(columns: u16, rows: u16) -> Option<Self> {
        let crew = Crew::new();
        crew.file("job", JOB);
        let screen = Screen::new(columns, rows, &crew.path(""))?;
        Some(Self { crew, screen })
    }

    /// Lets the jobs end that wait.
    fn go(&self) {
        self.crew.file("go", "");
    }

    /// Asserts that nothing is drawn, now or before.
    #[track_caller]
    fn assert_nothing_drawn(&self) {
        let raw = self.screen.raw();
        assert!(!BAR.iter().any(|part| raw.contains(part)), "{raw:?}");
        assert!(!raw.contains("\u{1b}7") && !raw.contains("/3"), "{raw:?}");
    }
}

/// How many columns a text takes whose letters take one each.
fn columns(text: &str) -> usize {
    text.chars().count()
}

#[test]
fn what_the_line_says_in_so_many_columns() {
    // With a rate and a time left. Their digits differ from run to run.
    for (width, parts) in [
        (20, vec!["4/6 66% 1 failed"]),
        (30, vec!["4/6 66% ETA 0:0", " 1 failed"]),
        (41, vec!["4/6 66% ", " ETA 0:0", " · 1 failed"]),
        (62, vec!["4/6 66% ━━━━━━━─── ", " ETA 0:", " · 1 failed · wait"]),
        (80, vec!["4/6 66% ━━━━━━━─── ", " ETA 0:", " · 1 failed · img/wait"]),
        (200, vec!["4/6 66% ━━━━━━━━━━━━━━━━━━━━──────────", " · 1 failed · img/wait"]),
    ] {
        let Some(mut stage) = Stage::new(width, 40) else { return };
        let args = "img/wait1 img/wait2 img/fail1 a b c";
        stage.screen.run(&format!("pp -j3 --stream sh job ::: {args}"));
        let text = stage.screen.see("the line", |screen| {
            let row = screen.lines().last().unwrap_or_default();
            parts.iter().all(|part| row.contains(part))
        });
        let row = text.lines().last().unwrap_or_default();
        assert!(columns(row) < usize::from(width), "{row}");
        stage.go();
        let mut rows = stage.screen.rows_at_prompt();
        rows.retain(|row| !row.contains("fail"));
        rows.sort();
        let expected = ["a", "b", "c", "img/wait1", "img/wait2", "no"];
        // The message may take several rows.
        rows.retain(|row| expected.contains(&row.as_str()));
        assert_eq!(rows, expected, "{width}");
    }
}

#[test]
fn the_total_of_each_kind_of_input() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.crew.file("list", "wait\nb\nc\n");
    stage.crew.file("table", "name,size\nwait,1\n\"b\nb\",2\nc,3\n");
    stage.crew.file("jobs", "# three\n\nsh [\"job\",\"wait\"]\necho [2]\necho [3]\n");
    let pad = "3/3+";
    for (command, shown) in [
        ("pp -j1 sh job ::: wait b c", "0/3 0%"),
        ("pp -j1 sh job ::: wait b ::: 1 2 3", "0/6 0%"),
        ("pp -j1 -n 2 sh job ::: wait b c", "0/2 0%"),
        ("pp -j1 -a list sh job", "0/3 0%"),
        ("pp -j1 -a list -a list sh job", "0/6 0%"),
        ("pp -j1 sh job < list", "0/3 0%"),
        ("{ read line; pp -j1 sh -c 'sh job wait' ; } < list", "0/2 0%"),
        ("pp -j1 --input csv --header sh job {name} < table", "0/3 0%"),
        ("pp -j1 -a jobs", "0/3 0%"),
        ("cat list | pp -j1 sh job", "0/3 0%"),
        ("{ cat list; until test -e go; do sleep 0.02; done; } | pp -j1 sh job", "0/3+ "),
        ("{ printf 'a\\nb\\nc\\n'; until test -e go; do sleep 0.02; done; } | pp sh job", pad),
    ] {
        let _ = std::fs::remove_file(stage.crew.path("go"));
        stage.screen.run(command);
        let row = stage.screen.see_row(shown);
        assert!(row.starts_with(shown), "{command}: {row}");
        stage.go();
        let rows = stage.screen.rows_at_prompt();
        assert!(!rows.iter().any(|row| row.contains('/')), "{command}: {rows:?}");
    }
}

/// A queue holds a few thousand jobs. The rest of the file has not been read.
#[test]
fn a_file_of_many_jobs_is_counted_before_it_is_read() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.crew.file("list", format!("wait\n{}", "x\n".repeat(99_999)));
    stage.screen.run("pp -j1 -a list sh job | tail -n 1 > last");
    // A pipe to another program: nothing is drawn.
    thread::park_timeout(Duration::from_millis(500));
    stage.assert_nothing_drawn();
    stage.screen.keys("\u{3}");
    stage.go();
    stage.screen.rows_at_prompt();
    std::fs::remove_file(stage.crew.path("go")).expect("it is there");
    stage.screen.run("pp -j1 -a list sh job > all");
    let row = stage.screen.see_row(" · wait ");
    assert!(row.starts_with("0/100000 0% ─"), "{row}");
    stage.screen.keys("\u{3}");
    stage.screen.see_row("stopping: 1 job still runs");
    stage.go();
    let rows = stage.screen.rows_at_prompt().join(" ");
    assert!(rows.contains("the run was ended: ") && !rows.contains("0/100000"), "{rows}");
}

#[test]
fn states_are_in_words() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    let worker = "sh -c 'until test -e go; do sleep 0.02; done; exec cat'";
    let wait = "until test -e go; do sleep 0.02; done";
    let make = "make -sf make -j2";
    stage.crew.file("make", "all: a b\na:\n\t@sleep 1; until test -e go; do sleep 0.02; done\n\
        b:\n\t+@until test -e a1; do \"$(PROCPOOL)\" -j2 --stream sh job ::: wait wait wait && touch a1; done\n");
    let mut commands = vec![
        (
            format!("seq 5 | pp -j2 --protocol raw -w {} ", shell_words::quote(worker)),
            "0/5 0% ────────── · starting 2 workers ",
        ),
        (format!("{wait} | pp cat"), "0/0+ · waiting for input"),
        ("pp --rate 1/m -j2 sh job ::: a b c".into(), " · held back by --rate"),
        ("pp --delay 1m -j2 sh job ::: a b c".into(), " · held back by --delay"),
        (
            "pp --max-load 0.0001 sh job ::: a b c".into(),
            "0/3 0% ────────── · held back by --max-load",
        ),
        (
            "pp --min-free-memory 9999G sh job ::: a b c".into(),
            "0/3 0% ────────── · held back by --min-free-memory",
        ),
    ];
    if need("make") {
        commands.push((make.into(), "held back by make's jobserver"));
    }
    for (command, shown) in commands {
        let _ = std::fs::remove_file(stage.crew.path("go"));
        stage.screen.run(&command);
        stage.screen.see_row(shown);
        if command.contains("--") && !command.contains("raw") {
            stage.screen.keys("\u{3}\u{3}");
        }
        stage.go();
        let rows = stage.screen.rows_at_prompt().join("\n");
        assert!(!rows.contains(shown) && !BAR.iter().any(|part| rows.contains(part)), "{rows}");
    }
}

#[test]
fn slow_jobs_have_a_time_per_job_and_a_time_left() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.screen.run("pp -j1 sh -c 'sleep 1.2' ::: a b c");
    let row = stage.screen.see_row(" s/job ETA 0:0");
    assert!(row.starts_with("1/3 33% ━━━─────── ") || row.starts_with("2/3 66% "), "{row}");
    assert_eq!(stage.screen.rows_at_prompt(), [""; 0]);
}

#[test]
fn a_row_for_each_running_job() {
    let Some(mut stage) = Stage::new(80, 10) else { return };
    stage.screen.run("pp --progress full -j2 sh job ::: a img/wait1 img/wait2 b");
    let screen = stage.screen.see("two rows", |screen| {
        screen.contains("sh job img/wait1") && screen.contains("sh job img/wait2")
    });
    let rows: Vec<&str> = screen.lines().filter(|row| row.contains("slot")).collect();
    assert!(rows[0].contains("s  slot 1  pid ") && rows[1].contains("s  slot 2  pid "), "{screen}");
    stage.go();
    assert_eq!(stage.screen.rows_at_prompt(), ["a", "img/wait1", "img/wait2", "b"]);

    // There are more jobs than rows. Where the results are on the screen, half of it is theirs.
    let jobs = "-j9 sh job wait ::: a b c d e f g h i";
    for (output, slots, more) in [("| cat > out", 6, 3), ("", 3, 6)] {
        std::fs::remove_file(stage.crew.path("go")).expect("it is there");
        stage.screen.run(&format!("pp --progress full {jobs} {output}"));
        let shown = stage.screen.see("the last row", |screen| {
            screen.contains(&format!("… {more} more")) && screen.matches("slot").count() == slots
        });
        assert!(shown.lines().count() <= 10, "{shown}");
        stage.go();
        let rows = stage.screen.rows_at_prompt();
        assert!(rows.iter().all(|row| row == "wait"), "{rows:?}");
    }
}

#[test]
fn nothing_is_drawn_where_others_may_draw() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    for command in [
        "pp -j1 sh job ::: a wait c | cat",
        "pp -j1 sh job ::: a wait c 2>&1 | cat",
        "TERM=dumb pp -j1 sh job ::: a wait c",
        "TERM= pp -j1 sh job ::: a wait c",
        "pp --progress never -j1 sh job ::: a wait c",
        "pp --progress off -j1 sh job ::: a wait c",
        "CI=true pp -j1 sh job ::: a wait c | cat",
    ] {
        let _ = std::fs::remove_file(stage.crew.path("go"));
        stage.screen.run(command);
        stage.screen.see_row("a");
        thread::park_timeout(Duration::from_millis(500));
        stage.assert_nothing_drawn();
        stage.go();
        assert_eq!(stage.screen.rows_at_prompt(), ["a", "wait", "c"], "{command}");
        stage.assert_nothing_drawn();
    }
}

/// Only who asks for it has it there. It stays away while results come.
#[test]
fn a_line_that_is_asked_for_is_drawn_beside_a_pipe() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    for mode in ["line", "always", "full"] {
        let _ = std::fs::remove_file(stage.crew.path("go"));
        stage.screen.run(&format!("pp --progress {mode} -j1 sh job ::: a wait c | cat"));
        stage.screen.see_row("1/3 33% ━━━─────── ");
        stage.go();
        assert_eq!(stage.screen.rows_at_prompt(), ["a", "wait", "c"], "{mode}");
    }
}

#[test]
fn two_procpools_in_one_pipe() {
    let Some(mut stage) = Stage::new(240, 20) else { return };
    stage.crew.file("slow", "sleep 0.02; test $1 -ne 7 -a $1 -ne 8 -a $1 -ne 9 && echo $1\n");
    stage.screen.run("{ seq 30; sleep 0.7; seq 31 40; } | pp -j1 sh slow | pp -j1 sh job > out");
    stage.screen.see_row("/");
    let rows = stage.screen.rows_at_prompt();
    assert_eq!(rows.len(), 4, "{rows:?}");
    for row in &rows {
        assert!(row.starts_with("procpool: ") && row.contains(" failed"), "{rows:?}");
        assert!(!row.contains('━') && !row.contains('─') && !row.contains("ETA"), "{rows:?}");
    }
}

/// `find` and the like complain on the same terminal, and know nothing of a line there.
#[test]
fn others_write_to_the_terminal() {
    let Some(mut stage) = Stage::new(80, 20) else { return };
    let others = "for n in 1 2 3; do sleep 0.4; echo other $n >&2; done";
    stage.screen.run(&format!("{{ echo a; {others}; }} | pp -j1 sh job > out"));
    assert_eq!(stage.screen.rows_at_prompt(), ["other 1", "other 2", "other 3"]);
    assert!(stage.screen.raw().contains("1/1+"));
}

#[test]
fn in_the_background_nothing_is_drawn_before_fg() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.screen.run("pp -j1 sh job ::: a wait c > out");
    stage.screen.see_row("1/3");
    stage.screen.keys("\u{1a}");
    stage.screen.see("the stop", |screen| screen.contains("Stopped") && screen.ends_with('$'));
    assert!(!stage.screen.see("", |_| true).contains("1/3"));
    stage.screen.send("bg");
    stage.screen.send("echo typed in peace");
    thread::park_timeout(Duration::from_millis(500));
    stage.assert_nothing_drawn();
    stage.screen.send("fg");
    stage.screen.see_row("1/3");
    stage.go();
    let text =
        stage.screen.see("the end", |screen| screen.ends_with("\n$") && !screen.contains("1/3"));
    assert!(text.contains("typed in peace") && !text.contains('━'), "{text}");

    let _ = std::fs::remove_file(stage.crew.path("go"));
    stage.screen.clear();
    stage.screen.send("pp -j1 sh job ::: a wait c > out &");
    stage.screen.send("echo typed in peace");
    thread::park_timeout(Duration::from_millis(500));
    stage.assert_nothing_drawn();
    stage.screen.send("touch go; wait");
    stage.screen.see("the end", |screen| screen.contains("Done"));
    stage.assert_nothing_drawn();
}

#[test]
fn ctrl_z_and_fg_bring_it_back() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.screen.clear();
    stage.screen.send("pp -j1 sh job ::: a wait c");
    for _ in 0..2 {
        stage.screen.see("the line", |screen| {
            screen.lines().last().is_some_and(|row| row.starts_with("1/3"))
        });
        stage.screen.keys("\u{1a}");
        stage.screen.see("the prompt", |screen| screen.ends_with("\n$") && !screen.contains("1/3"));
        stage.screen.send("fg");
    }
    stage
        .screen
        .see("the line", |screen| screen.lines().last().is_some_and(|row| row.starts_with("1/3")));
    stage.go();
    let text = stage.screen.see("the end", |screen| screen.ends_with("\nwait\nc\n$"));
    assert!(!text.contains("1/3") && !text.contains('━'), "{text}");
}

/// The terminal shows `^C`.
#[test]
fn ctrl_c_leaves_nothing_behind() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.screen.run("pp -j1 sh -c 'exec sleep 60' ::: 1");
    stage.screen.see_row("0/1 0%");
    stage.screen.keys("\u{3}");
    stage.screen.see_row("procpool: waiting");
    stage.screen.see_row("stopping: 1 job still runs");
    stage.screen.keys("\u{3}");
    let rows = stage.screen.rows_at_prompt();
    assert!(rows[0].starts_with("procpool: waiting for 1 running job"), "{rows:?}");
    let has_bar = |row: &String| row.contains("still") || row.contains("0/1");
    assert!(!rows.iter().any(has_bar), "{rows:?}");
}

#[test]
fn jobs_that_are_typed() {
    let Some(mut stage) = Stage::new(200, 12) else { return };
    for mode in ["auto", "line", "full"] {
        stage.screen.run(&format!("pp --progress {mode} sh job"));
        let said = "procpool: reading lines from the terminal until Ctrl-D; or give args after :::";
        stage.screen.see("a word that lines are read", |screen| screen.ends_with(said));
        stage.screen.keys("one\n");
        stage.screen.see("the result", |screen| screen.ends_with("one\none"));
        stage.screen.keys("tw");
        thread::park_timeout(Duration::from_millis(400));
        stage.screen.keys("o\n\u{4}");
        assert_eq!(stage.screen.rows_at_prompt(), [said, "one", "one", "two", "two"], "{mode}");
        stage.assert_nothing_drawn();
    }
}

/// The jobs come from the command line, and what is typed is meant for the shell.
#[test]
fn typed_ahead() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.screen.run("pp -j1 sh job ::: a wait c");
    stage.screen.see_row("1/3 33%");
    stage.screen.keys("echo ahead\n");
    thread::park_timeout(Duration::from_millis(300));
    stage.screen.see_row("1/3 33%");
    stage.go();
    let text = stage.screen.see("the end", |screen| screen.ends_with("ahead\n$"));
    assert!(!text.contains("1/3") && !text.contains('━'), "{text}");
}

#[test]
fn text_without_a_newline_stays() {
    let Some(mut stage) = Stage::new(40, 12) else { return };
    for (command, rows) in [
        ("pp -j1 sh job ::: part1 part2", vec!["part1part2$"]),
        // It fills the row to its end.
        (
            &format!("pp -j1 sh job ::: part{} part2", "x".repeat(36))[..],
            vec![&*format!("part{}", "x".repeat(36)), "part2$"],
        ),
        ("pp -j1 --live sh job ::: part1 part2", vec!["part1part2$"]),
    ] {
        let _ = std::fs::remove_file(stage.crew.path("go"));
        stage.crew.file("go", "");
        stage.screen.run(&format!("{command}; (sleep 0.3)"));
        let text = stage.screen.see("the prompt", |screen| {
            screen.trim_end().ends_with('$') && screen.lines().count() > 1
        });
        let shown: Vec<&str> = text.lines().skip(1).map(str::trim_end).collect();
        assert_eq!(shown, rows, "{command}");
    }
    // The line is drawn below it.
    std::fs::remove_file(stage.crew.path("go")).expect("it is there");
    stage
        .screen
        .run("pp -j1 --live sh -c 'printf \"%s\\n\" 1; printf part; sleep 0.2; sh job wait' ::: 1");
    stage.screen.see("both", |screen| screen.contains("1\n") && screen.contains("0/1 0%"));
    stage.go();
    let text = stage.screen.see("the prompt", |screen| screen.ends_with('$'));
    assert!(text.ends_with("1\npartwait\n$"), "{text}");
}

/// A worker leaves a line unfinished, and its colour on.
#[test]
fn the_stderr_of_workers_stays_as_it_is() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    let worker = "read -r line; printf '\\033[31mred' >&2; until test -e go; do sleep 0.02; done; \
        printf ' still\\033[m\\n' >&2; echo done; while read -r line; do echo \"$line\"; done";
    stage.crew.file("worker", worker);
    stage.screen.run("seq 3 | pp -j1 --protocol raw -w 'sh worker' > out");
    stage.screen.see("both", |screen| {
        screen.contains("\nred") && screen.contains("\n0/3 0% ━")
            || screen.contains("\nred\n0/3 0%")
    });
    stage.go();
    assert_eq!(stage.screen.rows_at_prompt(), ["red still"]);
    stage.screen.look(|screen| {
        for column in [0, 4, 8] {
            let cell = screen.cell(1, column).expect("a cell");
            assert_eq!(cell.fgcolor(), vt100::Color::Idx(1), "{column}");
        }
        assert_eq!(screen.cell(2, 0).expect("a cell").fgcolor(), vt100::Color::Default);
    });
}

/// The program draws its own progress with carriage returns.
#[test]
fn a_worker_that_draws_its_own_line() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    let worker = "read -r line; printf '10%%\\r' >&2; until test -e go; do sleep 0.02; done; \
        printf '100%%\\n' >&2; echo done";
    stage.crew.file("worker", worker);
    stage.screen.run("echo 1 | pp -j1 --protocol raw -w 'sh worker' > out");
    stage.screen.see_row("10%");
    thread::park_timeout(Duration::from_millis(400));
    let screen = stage.screen.see("10%", |screen| screen.contains("\n10%"));
    assert!(!screen.contains("0/1"), "{screen}");
    stage.go();
    assert_eq!(stage.screen.rows_at_prompt(), ["100%"]);
}

#[test]
fn a_smaller_and_a_larger_terminal() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.screen.run("pp --progress full -j2 sh job ::: a wait1 wait2 c");
    stage.screen.see_row("1/4 25% ━━━─────── ");
    stage.screen.see_row("slot 2");
    for (columns, rows) in [(40, 12), (20, 6), (100, 20), (80, 12)] {
        stage.screen.resize(columns, rows);
        let width = usize::from(columns);
        stage.screen.see("rows that fit", |screen| {
            screen.contains("1/4 25%") && screen.lines().all(|row| row.chars().count() < width)
        });
    }
    stage.go();
    assert_eq!(stage.screen.rows_at_prompt(), ["a", "wait1", "wait2", "c"]);
}

/// tmux wraps the rows anew that were drawn before.
#[test]
fn a_terminal_that_wraps_rows_anew() {
    if !need("tmux") {
        return;
    }
    let crew = Crew::new();
    crew.file("job", JOB);
    let run = |socket: &str, args: &[&str]| {
        let output = Command::new("tmux")
            .args(["-S", &crew.path(socket), "-f", "/dev/null"])
            .args(args)
            .current_dir(crew.path(""))
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .output();
        String::from_utf8_lossy(&output.expect("tmux runs").stdout).into_owned()
    };
    let jobs = "sh job ::: one two wait1 wait2";
    for (socket, options) in [("one", ""), ("two", "--progress full")] {
        let tmux = |args: &[&str]| run(socket, args);
        // With what has left the screen at its top.
        let rows = || {
            let screen = tmux(&["capture-pane", "-p", "-S", "-"]);
            screen.trim_end().lines().map(|row| row.trim_end().to_owned()).collect::<Vec<_>>()
        };
        let _ = std::fs::remove_file(crew.path("go"));
        let procpool = env!("CARGO_BIN_EXE_procpool");
        // In a session the screen is full, and the cursor is near its end.
        let script = format!("seq 20; env -u CI {procpool} {options} -j2 {jobs}; echo end; cat");
        tmux(&["new-session", "-d", "-x", "90", "-y", "16", "-s", "bar", &script]);
        wait_for("the line", || rows().iter().any(|row| row.contains("2/4 50%")));
        for width in [40, 23, 120, 30, 90] {
            tmux(&["resize-window", "-t", "bar", "-x", &width.to_string()]);
            wait_for("rows that fit", || {
                let rows = rows();
                let count = rows.iter().filter(|row| row.contains("2/4")).count();
                count == 1 && rows.iter().all(|row| columns(row) < width)
            });
        }
        crew.file("go", "");
        wait_for("the end", || rows().iter().any(|row| row == "end"));
        let numbers = (1..=20).map(|n| n.to_string());
        let results = ["one", "two", "wait1", "wait2", "end"].map(str::to_owned);
        // A resize in the middle of a drawing moves the cursor down.
        let mut rows = rows();
        rows.retain(|row| !row.is_empty());
        assert_eq!(rows, numbers.chain(results).collect::<Vec<_>>(), "{options}");
        tmux(&["kill-server"]);
    }
}

#[test]
fn ascii_where_the_locale_has_no_other_signs() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    stage.screen.run("LC_ALL=C pp -j1 sh job ::: a wait1 c");
    let row = stage.screen.see_row(", wait1 ");
    assert!(row.starts_with("1/3 33% ###------- ") && row.is_ascii(), "{row}");
    stage.go();
    assert_eq!(stage.screen.rows_at_prompt(), ["a", "wait1", "c"]);
}

#[test]
fn colours_follow_the_option() {
    let Some(mut stage) = Stage::new(80, 12) else { return };
    for (command, is_coloured) in [
        ("pp", true),
        ("pp --color always", true),
        ("pp --color never", false),
        ("NO_COLOR=1 pp", false),
    ] {
        let _ = std::fs::remove_file(stage.crew.path("go"));
        stage.screen.run(&format!("{command} -j1 sh job ::: fail wait c 2> /dev/tty"));
        let row = stage.screen.see_row("1/3 33% ━━━─────── ");
        assert!(row.contains("1 failed"), "{row}");
        assert_eq!(stage.screen.raw().contains("\u{1b}[31m1 failed"), is_coloured, "{command}");
        stage.go();
        stage.screen.rows_at_prompt();
    }
}

/// Jobs can't draw on the terminal by their names.
#[test]
fn names_are_printable() {
    let Some(mut stage) = Stage::new(120, 12) else { return };
    stage.screen.run("pp --progress full -j1 sh job ::: $'img/\\e[2J\\u202e日本/wait' > out");
    let name = " · img/\\u{1b}[2J\\u{202e}日本/wait 0.";
    assert!(stage.screen.see_row(name).starts_with("0/1 0%"));
    stage.go();
    assert_eq!(stage.screen.rows_at_prompt(), [""; 0]);
}

// ---- In a log

/// A run whose second job ends when `go` is there.
fn log(crew: &Crew, options: &[&str]) -> Test {
    let job = crew.file("job", JOB);
    let test = Test::new().cwd(crew.path("")).env("PROCPOOL_PROGRESS_EVERY", "20ms");
    let args = ["-j1", "sh", &job, ":::", "a", "wait", "c"];
    test.args(options).args(args).stdout("a\nwait\nc\n")
}

#[test]
fn in_ci_there_is_a_line_now_and_then() {
    let crew = Crew::new();
    let run = log(&crew, &[]).env("CI", "true").stderr_has("procpool: 1/3 33%").spawn();
    run.await_stderr(" · wait ");
    crew.file("go", "");
    let stderr = run.finish().stderr;
    assert!(stderr.lines().all(|line| line.starts_with("procpool: ")), "{stderr}");
    assert!(
        !stderr.contains('\u{1b}') && !BAR[..2].iter().any(|part| stderr.contains(part)),
        "{stderr}"
    );
}

#[test]
fn elsewhere_a_log_has_only_what_was_asked_for() {
    let crew = Crew::new();
    crew.file("go", "");
    for ci in ["", "0", "false"] {
        log(&crew, &[]).env("CI", ci).run();
    }
    log(&crew, &["--progress", "never"]).env("CI", "1").run();
    for mode in ["line", "full", "always"] {
        let last = "procpool: 3/3 100%";
        let stderr = log(&crew, &["--progress", mode]).env("CI", "").stderr_has(last).run().stderr;
        assert!(stderr.lines().last().is_some_and(|line| line.starts_with(last)), "{stderr}");
    }
}

/// Ctrl-C, or kill: the log says what the run waits for.
#[test]
fn a_log_says_that_a_run_is_ending() {
    let crew = Crew::new();
    let run = log(&crew, &["--progress", "line"])
        .stdout("a\nwait\n")
        .stderr_has("procpool: 1/3 33% · stopping: 1 job still runs\n")
        .killed_by(Signal::TERM)
        .spawn();
    run.await_stderr(" · wait ");
    run.signal(Signal::TERM);
    run.await_stderr("stopping: 1 job still runs");
    crew.file("go", "");
    run.finish();
}

#[test]
fn resumed_jobs_do_not_make_the_rest_look_quick() {
    let crew = Crew::new();
    let job = crew.file("job", JOB);
    let jobs = || (1..=200).map(|n| n.to_string()).chain(["fail".into(), "wait".into()]);
    crew.file("go", "");
    let journal = crew.path("journal");
    let run = |options: &[&str]| {
        Test::new()
            .cwd(crew.path(""))
            .env("PROCPOOL_PROGRESS_EVERY", "20ms")
            .args(["--journal", &journal, "-j1"])
            .args(options)
            .args(["sh", &job])
            .jobs(jobs())
            .any_stdout()
            .any_stderr()
            .status(1)
    };
    run(&[]).run();
    let stderr = run(&["--resume", "--progress", "line"]).run().stderr;
    let last = stderr.lines().rfind(|line| line.starts_with("procpool: 202/202")).expect("a line");
    assert!(!last.contains("/s") || last.contains("1/s"), "{last}");
}

// ---- The recording in README.md

#[test]
fn the_recording_can_be_made_again() {
    for name in ["run.svg", "run-still.svg"] {
        let text = read(&format!("docs/recording/{name}"));
        assert!(text.len() < 300_000 && text.contains("procpool -j4"), "{name}");
    }
    assert!(read("README.md").contains("(docs/recording/run.svg)"));
    if !need("tmux") || !need("python3") {
        return;
    }
    let crew = Crew::new();
    let output = Command::new(root().join("docs/recording/record"))
        .args([env!("CARGO_BIN_EXE_procpool"), &crew.path("")])
        .env("RECORD_JOBS", "12")
        .env_remove("TMUX")
        .output()
        .expect("python3 runs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, frames) in [("run.svg", 10..500), ("run-still.svg", 1..2)] {
        let text = std::fs::read_to_string(crew.path(name)).expect("it was made");
        assert!(frames.contains(&text.matches("class=\"cursor\"").count()), "{text}");
        assert!(text.contains(">resize photos/p0") && text.contains("/12 "), "{text}");
        if need("xmllint") {
            let check = Command::new("xmllint").args(["--noout", &crew.path(name)]).status();
            assert!(check.is_ok_and(|status| status.success()), "{text}");
        }
    }
}
