//! `--max-procs @FILE`: a number of processes that changes during the run.

use std::fs;

use crate::common::{Crew, Test, wait_for};

/// Workers and commands come and go as the file says.
#[test]
fn the_number_follows_the_file() {
    let crew = Crew::new();
    let file = crew.file("procs", "1\n");
    let job = |nth: usize| format!("await_file [\"{}\"]", crew.path(&format!("go{nth}")));
    let mut run = Test::new()
        .args(["-j", &format!("@{file}"), "--format", "value"])
        .args(["--worker", &crew.worker("")])
        .stdin_open()
        .any_stderr()
        .stdout("true\n".repeat(7))
        .spawn();
    (1..=7).for_each(|nth| run.write(&format!("{}\n", job(nth))));
    crew.await_logged("job", 1);
    fs::write(&file, "3\n").expect("there is room");
    run.await_stderr("--max-procs is 3 from now on");
    crew.await_logged("job", 3);
    // The old number stays, and that is reported once.
    fs::write(&file, "three\n").expect("there is room");
    run.await_stderr("it stays at 3 processes");
    fs::write(&file, "1\n").expect("there is room");
    run.await_stderr("--max-procs is 1 from now on");
    crew.file("go3", "");
    crew.file("go2", "");
    // Two of the three end when their jobs are done, and the third goes on.
    wait_for("two workers end", || crew.left().len() == 1);
    crew.file("go1", "");
    for nth in 4..=7 {
        crew.await_logged("job", nth);
        crew.await_logged("done", nth - 1);
        assert_eq!(crew.logged("job").len(), nth);
        crew.file(&format!("go{nth}"), "");
    }
    run.close_stdin();
    let run = run.finish();
    assert_eq!(run.stderr.matches("stays at").count(), 1, "{}", run.stderr);
    crew.assert_gone();
}

#[test]
fn a_file_without_a_number_is_refused() {
    let crew = Crew::new();
    let file = crew.file("procs", "x");
    for (path, why) in [(file, "expected a whole number"), (crew.path("gone"), "can't be read")] {
        let option = format!("--max-procs=@{path}");
        Test::new().args([&option, "echo"]).stdin("a\n").stderr_has(why).status(2).run();
    }
    let file = crew.file("two", "2");
    let option = format!("-j@{file}");
    Test::new().args([&option, "echo"]).stdin("a\nb\nc\n").stdout("a\nb\nc\n").run();
    let options = [&option, "--route", "1", "--python", "x"];
    Test::new().args(options).stderr_has("their number can't change").status(2).run();
}

/// A slot that takes no more jobs ends, and others are started for what it leaves.
#[test]
fn a_job_that_fails_where_no_more_jobs_run_is_tried_again() {
    let crew = Crew::new();
    let file = crew.file("procs", "2\n");
    let [begun, go, tried] = ["begun", "go", "tried"].map(|name| crew.path(name));
    let script = format!(
        "case {{%}} in
         1) until test -e {begun}; do sleep 0.01; done;;
         2) >{begun}; until test -e {go}; do sleep 0.01; done; test -e {tried} || {{ >{tried}; exit 1; }};;
         esac; echo {{}}"
    );
    let mut run = Test::new()
        .args(["-j", &format!("@{file}"), "--retries=1", "--retry-delay=1ms", "--stream"])
        .args(["--shell", &script, ":::", "job", "job"])
        .stderr_has("--max-procs is 1 from now on")
        .stdout("job\njob\n")
        .spawn();
    run.line();
    fs::write(&file, "1\n").expect("there is room");
    run.await_stderr("--max-procs is 1 from now on");
    crew.file("go", "");
    run.finish();
}
