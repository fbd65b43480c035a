//! Failures of jobs, and of starts.

use super::*;

#[tokio::test]
async fn the_death_of_a_worker_is_told() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    for (cmd, args, parts) in [
        ("die", json!([]), &["was killed by SIGKILL (signal 9)"][..]),
        ("die", json!(["ABRT"]), &["SIGABRT"]),
        ("exit", json!([0]), &["exited with status 0", "before it answered"]),
        ("stderr_exit", json!(["out of ink", 3]), &["exited with status 3", "out of ink"]),
        ("half", json!([]), &["SIGKILL", "\"resu"]),
    ] {
        let first = pid(&pool).await;
        let failure = failed(cmd, pool.process::<Value>(cmd, &args)).await;
        assert_eq!(failure.kind, Kind::Crash, "{failure}");
        assert_has(&failure.message, parts);
        assert_has(&failure.message, &[&first.to_string()]);
        assert!(failure.data::<Value>().is_none() && failure.output().is_none());
    }
    pid(&pool).await;
}

#[tokio::test]
async fn a_crash_costs_its_own_job_only() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let pipeline = pool.pipeline::<Value>();
    let mut outcomes = BTreeMap::new();
    for at in 0..60 {
        let cmd = if at % 5 == 4 { "die" } else { "first" };
        queued(pipeline.queue(cmd, json!([if cmd == "die" { 9 } else { at }]))).await;
    }
    pipeline.close();
    while let Some((tag, outcome)) = soon("an outcome", pipeline.next()).await {
        assert!(outcomes.insert(tag, outcome).is_none(), "{tag} came twice");
    }
    assert_eq!(outcomes.len(), 60);
    for (tag, outcome) in outcomes {
        match outcome {
            Ok(value) => assert_eq!(value, tag),
            Err(failure) => assert_eq!((tag % 5, failure.kind), (4, Kind::Crash), "{failure}"),
        }
    }
    soon("join", pool.join()).await;
}

#[tokio::test]
async fn a_timeout_ends_the_worker() {
    let crew = Crew::new();
    let pool = build(
        Pool::builder(&crew.worker(""))
            .max_procs(1)
            .timeout(Duration::from_millis(150))
            .grace(Duration::from_millis(50)),
    );
    for cmd in ["never_answer", "ignore_term", "grandchild_hang"] {
        let failure = failed(cmd, pool.process::<Value>(cmd, ())).await;
        assert_eq!(failure.kind, Kind::Timeout, "{failure}");
        assert_has(&failure.message, &["150ms"]);
        soon("join", pool.join()).await;
        crew.assert_gone();
    }
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
}

/// Blank lines are no replies. A worker that prints nothing else is up against the same timeout as
/// one that prints nothing.
#[tokio::test]
async fn a_flood_does_not_hold_back_the_timeout() {
    if !crate::common::heavy() {
        return;
    }
    for flood in
        ["yes ''", "read -r a; echo '{\"result\":1}'; read -r b; yes '{\"id\":1,\"result\":1}'"]
    {
        let worker = format!("sh -c {}", shell_words::quote(flood));
        let notes = Arc::new(Notes::default());
        let pool = Pool::builder(&worker)
            .max_procs(1)
            .timeout(Duration::from_millis(300))
            .grace(Duration::from_millis(50))
            .watcher(Arc::clone(&notes) as Arc<dyn Watcher>)
            .build()
            .expect("a pool");
        drop(soon("a first job", pool.process::<Value>("echo", ())).await);
        let failure = failed("a flood", pool.process::<Value>("echo", ())).await;
        assert!(matches!(failure.kind, Kind::Timeout | Kind::Protocol), "{failure}");
        soon("shutdown", pool.shutdown()).await;
        let notes = &notes.lock().notes;
        assert!(notes.len() <= 2, "a flood of {} notes: {}", notes.len(), notes[0]);
    }
    let pool = build(Pool::builder("sh -c \"yes ''\"").max_procs(1));
    let job = pool.defer::<Value>("echo", ());
    soon("shutdown", pool.shutdown()).await;
    let failure = failed("a flood", job).await;
    assert!(
        matches!(failure.kind, Kind::Cancelled | Kind::Unstarted | Kind::Protocol),
        "{failure}"
    );
}

#[tokio::test]
async fn the_start_limit_fails_all_that_wait() {
    let crew = Crew::new();
    let gate = crew.path("gate");
    let line = format!(
        "if ! test -e {}; then echo no gate >&2; exit 3; fi; exec {}",
        shell_words::quote(&gate),
        crew.worker("")
    );
    let worker = format!("sh -c {}", shell_words::quote(&line));
    let notes = Arc::new(Notes::default());
    let watcher = Arc::clone(&notes);
    let pool = Pool::builder(&worker).max_procs(2).start_limit(3).watcher(watcher);
    let pool = pool.build().expect("a pool");
    for _ in 0..2 {
        let pipeline = pool.pipeline::<Value>();
        queued(pipeline.queue("echo", [0])).await;
        let jobs: Vec<_> = (0..20).map(|at| pool.defer::<Value>("echo", [at])).collect();
        for job in jobs {
            let failure = failed("a job that can't be started", job).await;
            assert_eq!(failure.kind, Kind::Spawn, "{failure}");
            assert_has(&failure.message, &["exited with status 3", "no gate", "3 times in a row"]);
        }
        let (_, outcome) = soon("the pipeline", pipeline.next()).await.expect("one is owed");
        assert_eq!(kind(&outcome), Some(Kind::Spawn));
        soon("join", pool.join()).await;
    }
    let given_up = notes.lock().given_up;
    assert!(given_up >= 2, "{given_up}");
    assert_has(&notes.lock().stderr, &["no gate\n"]);
    crew.file("gate", "");
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
}

/// The program was there when the pool was built.
#[tokio::test]
async fn a_program_that_has_gone_is_a_start_failure() {
    for max_procs in [1, 3] {
        let crew = Crew::new();
        let code = format!("exec {}", crew.worker(""));
        let path = script(&crew, "worker", &code);
        let pool = build(Pool::builder(&path).max_procs(max_procs).start_limit(3));
        assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
        fs::remove_file(&path).expect("the script is there");
        soon("shutdown", pool.shutdown()).await;
        let jobs: Vec<_> = (0..10).map(|at| pool.defer::<Value>("echo", [at])).collect();
        for job in jobs {
            let failure = failed("a job that can't be started", job).await;
            assert_eq!(failure.kind, Kind::Spawn, "{failure}");
            assert_has(&failure.message, &[&path, "No such file"]);
        }
        soon("join", pool.join()).await;
        script(&crew, "worker", &code);
        assert_eq!(ok("echo", pool.process::<Value>("echo", [2])).await, json!([2]));
    }
}

#[tokio::test]
async fn args_that_are_no_json_are_invalid() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("the ink is out"))
        }
    }
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")));
    let failure = failed("process", pool.process::<Value>("echo", Unwritable)).await;
    assert_eq!(failure.kind, Kind::Invalid);
    assert_has(&failure.message, &["args", "the ink is out"]);
    let keys = HashMap::from([((1, 2), 3)]);
    assert_eq!(failed("defer", pool.defer::<Value>("echo", keys)).await.kind, Kind::Invalid);
    let outcomes = soon("map", pool.map::<Value, _>("echo", [Unwritable, Unwritable])).await;
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Some(Kind::Invalid)));
    let pipeline = pool.pipeline::<Value>();
    for at in 0..100 {
        assert_eq!(queued(pipeline.queue("echo", Unwritable)).await, at);
    }
    for _ in 0..100 {
        let (_, outcome) = soon("an outcome", pipeline.next()).await.expect("one is owed");
        assert_eq!(kind(&outcome), Some(Kind::Invalid));
    }
    pipeline.close();
    assert!(soon("the end", pipeline.next()).await.is_none());
    soon("join", pool.join()).await;
    assert!(crew.log().is_empty(), "{:?}", crew.log());
}

/// What a worker may print and a `Value` can't hold.
#[tokio::test]
async fn a_result_that_cannot_be_read_is_a_failure() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let deep = "[".repeat(300) + &"]".repeat(300);
    for text in ["1e999", &deep] {
        let failure = failed(text, pool.process::<Value>("raw", [text])).await;
        assert_eq!(failure.kind, Kind::Mismatch, "{failure}");
        assert_has(&failure.message, &["can't be read as serde_json::value::Value"]);
        let data: Box<RawValue> = failure.data().expect("the result as it came");
        assert_eq!(data.get(), text);
        assert!(!failure.may_retry());
    }
    pid(&pool).await;
}

#[test]
fn what_cannot_be_run_is_told_at_once() {
    let crew = Crew::new();
    let plain = crew.file("plain", "#!/bin/sh\n");
    let folder = crew.path("");
    for (line, part) in [
        ("'sh", "unclosed quote"),
        ("sh -c \"exit", "unclosed quote"),
        ("", "empty"),
        (" \t ", "empty"),
        ("no-such-program-here", "no-such-program-here"),
        ("/no/such/file --flag", "/no/such/file"),
        (&plain, "not executable"),
        (&folder, "director"),
    ] {
        let error = Pool::builder(line).max_procs(2).build().expect_err(line);
        assert_has(&error.to_string(), &[part]);
        match part {
            "unclosed quote" => assert!(matches!(error, BuildError::Quotes(_)), "{error:?}"),
            "empty" => assert!(matches!(error, BuildError::Empty), "{error:?}"),
            _ => assert!(
                matches!(error, BuildError::NotFound(_) | BuildError::CannotRun(_)),
                "{error:?}"
            ),
        }
    }
}

/// This process ignores SIGCHLD, so nobody learns how its children end. They are not said to be alive.
#[test]
fn a_host_without_exit_statuses_is_told_nothing_wrong() {
    const TEST: &str = "library::failures::a_host_without_exit_statuses_is_told_nothing_wrong";
    if !need("python3") {
        return;
    }
    if std::env::var_os("PROCPOOL_TEST_ALONE").is_none() {
        // Not each shell can ignore SIGCHLD.
        let code = "import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])";
        let output = Command::new("python3")
            .args(["-c", code])
            .arg(std::env::current_exe().expect("the path of this program"))
            .args(["--exact", TEST, "--nocapture"])
            .env("PROCPOOL_TEST_ALONE", "1")
            .output()
            .expect("this program runs once more");
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success() && said[0].contains("1 passed"), "{}", said.concat());
        return;
    }
    one_thread().block_on(async {
        let crew = Crew::new();
        let notes = Arc::new(Notes::default());
        let builder = Pool::builder(&crew.worker("")).max_procs(1).max_reqs(3);
        let pool = builder.watcher(Arc::clone(&notes) as Arc<_>).build().expect("a pool");
        let failure = failed("a crash", pool.process::<Value>("die", [9])).await;
        assert_eq!(failure.kind, Kind::Crash);
        assert_has(&failure.message, &["has exited", "SIGCHLD"]);
        for at in 0..10_u64 {
            assert_eq!(ok("a job", pool.process::<u64>("first", [at])).await, at);
        }
        soon("shutdown", pool.shutdown()).await;
        assert_eq!(notes.lock().notes, [""; 0]);
        let commands = build(Pool::command(["true"]).max_procs(1));
        let failure = failed("a command", commands.process::<CommandOutput>("", ())).await;
        assert_has(&failure.message, &["status can't be told"]);
        let code = Pool::code(&Code::python("x + 1")).max_procs(1).build_checked().expect("a pool");
        assert_eq!(ok("code", code.process::<u64>("", [7])).await, 8);
    });
}
