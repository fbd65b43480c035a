//! Settings: the effect of each, and the errors of `build` for those that make no sense.

use super::*;

/// The text of a failure to build.
#[track_caller]
fn wrong(builder: Builder) -> BuildError {
    builder.build().expect_err("it makes no sense")
}

#[test]
fn what_makes_no_sense_is_told_at_once() {
    let good = || Pool::builder(&worker(""));
    for (builder, setting) in [
        (good().max_procs(0), "max_procs"),
        (good().max_procs(1 << 20), "max_procs"),
        (good().depth(0), "depth"),
        (good().max_queue(0), "max_queue"),
        (good().max_procs(2).prestart(3), "prestart"),
        (good().timeout(Timeout::Median(f64::NAN)), "timeout"),
        (good().timeout(Timeout::Median(-1.0)), "timeout"),
        (good().timeout(Timeout::Median(f64::INFINITY)), "timeout"),
        (good().retry_on([Kind::Invalid]), "retry_on"),
        (good().nice(-1), "nice"),
        (good().max_reply(0), "max_reply"),
    ] {
        let error = wrong(builder);
        let is_it =
            matches!(&error, BuildError::OutOfRange { setting: named, .. } if *named == setting);
        assert!(is_it, "{setting}: {error:?}");
        assert_has(&error.to_string(), &[setting, "must be"]);
    }
    for builder in [
        good().arg("a\0b"),
        good().env("A", "a\0"),
        good().env("A\0", "a"),
        Pool::worker(["sh", "\0"]),
        Pool::command(["echo", "a\0b"]),
        good().current_dir("/\0"),
    ] {
        assert!(matches!(wrong(builder), BuildError::Nul(_)));
    }
    for name in ["", "A=B", "="] {
        assert!(matches!(wrong(good().env(name, "x")), BuildError::EnvName(_)), "{name}");
    }
    assert!(matches!(wrong(Pool::worker([""; 0])), BuildError::Empty));
    assert!(matches!(wrong(Pool::command([""])), BuildError::Empty));
    assert!(matches!(wrong(Pool::command(["no-such-program"])), BuildError::NotFound(_)));
    assert!(matches!(wrong(Pool::command(["echo", "{0}"])), BuildError::Command(_)));
    assert!(matches!(wrong(good().current_dir("/no/such/place")), BuildError::Directory { .. }));
    assert!(matches!(wrong(good().current_dir("/etc/passwd")), BuildError::Directory { .. }));
    let keys = HashMap::from([((1, 2), 3)]);
    assert!(matches!(wrong(good().init("load", keys)), BuildError::Args(_)));
}

/// No setting is taken and not heeded.
#[test]
fn settings_of_workers_are_refused_for_commands() {
    let second = Duration::from_secs(1);
    for (builder, setting) in [
        (Pool::commands().arg("x"), "arg"),
        (Pool::commands().protocol(procpool::Protocol::RAW), "protocol"),
        (Pool::commands().pty(true), "pty"),
        (Pool::commands().init("load", ()), "init"),
        (Pool::commands().depth_auto(), "depth"),
        (Pool::commands().prestart(1), "prestart"),
        (Pool::commands().max_reqs(1), "max_reqs"),
        (Pool::commands().max_reqs_jitter(1), "max_reqs_jitter"),
        (Pool::commands().max_age(second), "max_age"),
        (Pool::commands().max_rss(1), "max_rss"),
        (Pool::commands().idle_timeout(second), "idle_timeout"),
        (Pool::commands().standby(0), "standby"),
    ] {
        let error = wrong(builder);
        let is_it = matches!(&error, BuildError::NoEffect { setting: named } if *named == setting);
        assert!(is_it, "{setting}: {error:?}");
    }
}

#[test]
fn code_is_what_it_is_called() {
    if !need("python3") {
        return;
    }
    let crew = Crew::new();
    for (code, part) in [
        (Code::file(crew.path("ops.py")), "there is no file"),
        (Code::file(crew.path("")), "no ending"),
        (Code::file(crew.file("ops", "")), "no ending"),
        (Code::file_as(crew.path("other"), "py"), "there is no file"),
        (Code::file_as("/dev/null", "py"), "not a regular file"),
    ] {
        let error = wrong(Pool::code(&code));
        assert!(matches!(error, BuildError::CodeFile(_)), "{error:?}");
        assert_has(&error.to_string(), &[part]);
    }
    let pool = build(Pool::code(&Code::python("x ** e").setup("e = 2")).max_procs(1));
    assert_eq!(pool.blocking().process::<u64>("", [7]).expect("ok"), 49);
    let file = crew.file("ops.py", "def double(x, y=0):\n    return 2 * x + y\n");
    let pool = build(Pool::code(&Code::file(file)).max_procs(1));
    assert_eq!(pool.blocking().process::<u64>("double", (7, 1)).expect("ok"), 15);
    let bad = Pool::code(&Code::python("x +"));
    let error = bad.clone().build_checked().expect_err("it is no expression");
    assert!(matches!(error, BuildError::Code(_)), "{error:?}");
    let pool = build(bad.max_procs(1));
    let failure = pool.blocking().process::<u64>("", [7]).expect_err("it is no expression");
    assert_eq!(failure.kind, Kind::Spawn, "{failure}");
    assert_has(&failure.message, &["can't be loaded"]);
}

/// What `sh` says of a variable and of its directory.
const TELL: &str = "while read -r line; do echo \"{\\\"result\\\":[\\\"$(pwd)\\\",\\\"$A\\\",\\\"$HOME\\\"]}\"; done";

#[tokio::test]
async fn workers_have_the_environment_and_the_directory_of_the_settings() {
    let crew = Crew::new();
    let folder = fs::canonicalize(crew.path("")).expect("a folder");
    let home = std::env::var("HOME").unwrap_or_default();
    let here = std::env::current_dir().expect("a directory");
    let told = |builder: Builder| async {
        let pool = build(builder.max_procs(1));
        ok("what it says", pool.process::<(String, String, String)>("", ())).await
    };
    let plain = || Pool::worker(["sh", "-c", TELL]).env("A", "a b");
    let (directory, variable, of_home) = told(plain()).await;
    assert_eq!((Path::new(&directory), variable.as_str()), (here.as_path(), "a b"));
    assert_eq!(of_home, home);
    let (directory, variable, of_home) = told(plain().current_dir(&folder).env_clear()).await;
    assert_eq!((Path::new(&directory), variable.as_str()), (folder.as_path(), "a b"));
    assert_eq!(of_home, "");
    // Also those that are not workers.
    let pool =
        build(Pool::command(["sh", "-c", "pwd; echo $A"]).current_dir(&folder).env("A", "c"));
    let output: CommandOutput = ok("a command", pool.process("", ())).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\nc\n", folder.display()));
}

/// In a process of its own, which goes elsewhere.
#[test]
fn relative_paths_mean_what_they_meant_when_the_pool_was_built() {
    if !alone("builder::relative_paths_mean_what_they_meant_when_the_pool_was_built") {
        return;
    }
    let crew = Crew::new();
    let code = format!("exec {}", crew.worker(""));
    script(&crew, "own-worker", &code);
    std::env::set_current_dir(crew.path("")).expect("a folder");
    let pool = Pool::worker(["./own-worker"]).max_procs(1).build().expect("a pool");
    let elsewhere = Pool::worker(["./own-worker"]).current_dir("/").build().expect("a pool");
    std::env::set_current_dir("/").expect("a folder");
    assert_eq!(pool.blocking().process::<u64>("first", [1]).expect("ok"), 1);
    assert_eq!(elsewhere.blocking().process::<u64>("first", [1]).expect("ok"), 1);
}

#[tokio::test]
async fn stderr_goes_where_it_is_sent() {
    let heard: Arc<Mutex<Vec<(usize, u32, String)>>> = Arc::default();
    let to = Arc::clone(&heard);
    let code = "while read -r l; do echo said >&2; echo \"{\\\"result\\\":$$}\"; done";
    let pool = Pool::worker(["sh", "-c", code]).max_procs(1).on_stderr(move |slot, pid, text| {
        let said = String::from_utf8_lossy(text).into_owned();
        to.lock().expect("no panic").push((slot, pid, said));
    });
    let pool = pool.build().expect("a pool");
    let pid = ok("a job", pool.process::<u32>("", ())).await;
    soon("shutdown", pool.shutdown()).await;
    assert_eq!(*heard.lock().expect("no panic"), [(1, pid, "said\n".to_owned())]);
}

#[tokio::test]
async fn notes_go_where_they_are_sent() {
    let crew = Crew::new();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let to = Arc::clone(&heard);
    let builder = Pool::builder(&crew.worker("")).max_procs(1);
    let pool = builder
        .on_note(move |text| to.lock().expect("no panic").push(text.to_owned()))
        .build()
        .expect("a pool");
    kill(pid(&pool).await);
    until("a note", || !heard.lock().expect("no panic").is_empty()).await;
    assert_has(&heard.lock().expect("no panic")[0], &["killed by SIGKILL"]);
}

#[tokio::test]
async fn a_worker_is_initialised_with_a_call() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).init("first", ["model"]));
    assert_eq!(ok("a job", pool.process::<u64>("first", [1])).await, 1);
    assert_eq!(crew.logged("job").len(), 2);
    let bad =
        build(Pool::builder(&crew.worker("")).max_procs(1).init("fail", ["no"]).start_limit(1));
    let failure = failed("a job", bad.process::<u64>("first", [1])).await;
    assert_eq!(failure.kind, Kind::Spawn);
    assert_has(&failure.message, &["not fit for work", "no"]);
}

#[tokio::test]
async fn workers_are_started_ahead() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(3).prestart(2));
    crew.await_logged("start", 2);
    assert_eq!(ok("a job", pool.process::<u64>("first", [1])).await, 1);
    assert_eq!(crew.logged("start").len(), 2);
    assert_eq!(pool.stats().workers.len(), 2);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty());
    // What can't be started is tried again when there is a job.
    let bad = Pool::worker(["sh", "-c", "exit 3"]).max_procs(2).prestart(2).start_limit(3);
    let failure = failed("a job", build(bad).process::<u64>("first", [1])).await;
    assert_eq!(failure.kind, Kind::Spawn);
}
