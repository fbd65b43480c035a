//! Results and failures as types: JSON without loss, bytes, the output of commands, streams, and threads
//! without a runtime.

use super::*;

#[tokio::test]
async fn a_result_is_read_as_the_type_that_is_asked_for() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Size {
        width: u32,
        name: String,
    }
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let args = json!({"width": 7, "name": "a"});
    let size: Size = ok("a struct", pool.process("echo", &args)).await;
    assert_eq!(size, Size { width: 7, name: "a".into() });
    assert_eq!(
        ok("a tuple", pool.process::<(u8, String)>("echo", (1, "b"))).await,
        (1, "b".into())
    );
    ok("nothing", pool.process::<()>("echo", ())).await;
    assert_eq!(ok("an option", pool.process::<Option<u8>>("echo", ())).await, None);
    let failure = failed("another type", pool.process::<u8>("echo", "text")).await;
    assert_eq!(failure.kind, Kind::Mismatch);
    assert_has(&failure.message, &["u8", "string \"text\""]);
    assert_eq!(failure.data::<String>().as_deref(), Some("text"));
}

#[tokio::test]
async fn json_is_passed_on_without_loss() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for text in ["123456789012345678901234567890", "1e999", "1.10", r#"{"z":1,"a":2,"z":3}"#, &deep]
    {
        let result: Box<RawValue> = ok("raw", pool.process("raw", [text])).await;
        assert_eq!(result.get(), text);
    }
    let big = u64::MAX - 1;
    assert_eq!(ok("a large number", pool.process::<u64>("raw", [big.to_string()])).await, big);
}

#[tokio::test]
async fn the_error_of_a_worker_is_read_as_a_type() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Problem {
        message: String,
        code: u32,
    }
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let failure = failed("an error", pool.process::<Value>("fail_object", ())).await;
    let problem = Problem { message: "it failed".into(), code: 7 };
    assert_eq!(failure.data::<Problem>(), Some(problem));
    assert_eq!(failure.data::<u32>(), None);
    assert_eq!((failure.exit_code(), failure.may_retry()), (None, false));
}

#[tokio::test]
async fn bytes_are_bytes() {
    let protocol = procpool::Protocol::RAW;
    let pool = build(Pool::worker(["cat"]).protocol(protocol).max_procs(1));
    let bytes: Bytes = ok("bytes", pool.process("", "a b")).await;
    assert_eq!(&bytes[..], b"a b");
    assert_eq!(ok("text", pool.process::<String>("", "a b")).await, "a b");
}

#[tokio::test]
async fn the_output_of_a_command_is_bytes() {
    let code = "printf 'a\\377'; printf 'b\\0' >&2; exit $1";
    let pool = build(Pool::command(["sh", "-c", code, "sh", "{}"]).max_procs(2));
    let output: CommandOutput = ok("a command", pool.process("", ["0"])).await;
    assert_eq!((output.exit, output.signal), (Some(0), None));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a\xff"[..], &b"b\0"[..]));
    let failure = failed("a command", pool.process::<CommandOutput>("", [3])).await;
    assert_eq!((failure.kind, failure.exit_code()), (Kind::Exit, Some(3)));
    let output = failure.output().expect("it was started");
    assert_eq!(&output.stdout[..], b"a\xff");
    // Output that was kept in a file takes its own size, and not several times that.
    let large = build(Pool::command(["head", "-c", "{}", "/dev/zero"]).max_procs(1));
    let output: CommandOutput = ok("much output", large.process("", [3 << 20])).await;
    assert_eq!(output.stdout.len(), 3 << 20);
}

#[tokio::test]
async fn commands_are_named_by_calls() {
    let pool = build(Pool::commands().max_procs(1).env("WHAT", "a b"));
    let output: CommandOutput = ok("no args", pool.process("echo", ())).await;
    assert_eq!(&output.stdout[..], b"\n");
    let output: CommandOutput = ok("args", pool.process("printf", ("%s|%s", "c d", 7))).await;
    assert_eq!(&output.stdout[..], b"c d|7");
    let output: CommandOutput = ok("env", pool.process("printenv", ["WHAT"])).await;
    assert_eq!(&output.stdout[..], b"a b\n");
    let failure = failed("no program", pool.process::<CommandOutput>("no-such-program", ())).await;
    assert_eq!(failure.kind, Kind::Spawn, "{failure}");
}

#[tokio::test]
async fn a_stream_has_an_order_or_none() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let args = |at: u64| (at, (at * 7919) % 700);
    let mut stream = pool.stream::<u64, _, _>("nap", (0..100).map(args));
    for at in 0..100 {
        let (place, outcome) = soon("an outcome", stream.next()).await.expect("there is one");
        assert_eq!((place, outcome.expect("ok")), (at, at));
    }
    assert!(soon("the end", stream.next()).await.is_none());
    assert!(soon("the end", stream.next()).await.is_none());
    let gate = crew.path("gate");
    let args = [gate.clone(), crew.file("there", "")];
    let mut stream = pool.stream::<bool, _, _>("await_file", args.map(|path| [path])).unordered();
    assert_eq!(soon("the second", stream.next()).await.expect("there is one").0, 1);
    crew.file("gate", "");
    assert_eq!(soon("the first", stream.next()).await.expect("there is one").0, 0);
    assert!(soon("the end", stream.next()).await.is_none());
}

#[tokio::test]
async fn a_stream_takes_no_more_args_than_its_window() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let gate = crew.path("gate");
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let args = (0..1000_u64).map(move |at| {
        count.fetch_add(1, Ordering::Relaxed);
        // The first holds up all that come after it, in order.
        if at == 0 { json!([gate]) } else { json!(["/"]) }
    });
    let mut stream = pool.stream::<bool, _, _>("await_file", args).window(10);
    assert!(poll_once(&mut pin!(stream.next())).await.is_pending());
    crew.await_logged("done", 9);
    assert!(poll_once(&mut pin!(stream.next())).await.is_pending());
    assert_eq!(taken.load(Ordering::Relaxed), 10);
    crew.file("gate", "");
    let mut outcomes = 0;
    while let Some((_, outcome)) = soon("an outcome", stream.next()).await {
        assert!(outcome.expect("ok"));
        outcomes += 1;
    }
    assert_eq!((outcomes, taken.load(Ordering::Relaxed)), (1000, 1000));
}

#[tokio::test]
async fn a_dropped_stream_cancels_its_jobs() {
    let crew = Crew::new();
    let builder = Pool::builder(&crew.worker("")).max_procs(2).cancel_grace(Duration::ZERO);
    let pool = build(builder);
    let mut stream = pool.stream::<Value, _, _>("never_answer", 0..1000);
    assert!(poll_once(&mut pin!(stream.next())).await.is_pending());
    crew.await_logged("job", 2);
    drop(stream);
    soon("join", pool.join()).await;
    assert_eq!(crew.logged("job").len(), 2);
    assert_eq!(pool.stats().waiting, 0);
}

#[test]
fn threads_need_no_runtime() {
    let pool = build(Pool::builder(&worker("")).max_procs(3));
    let blocking = pool.blocking();
    assert_eq!(blocking.process::<u64>("first", [7]).expect("ok"), 7);
    assert_eq!(pool.defer::<u64>("first", [8]).wait().expect("ok"), 8);
    assert_eq!(pool.call("first").args([9]).send::<u64>().wait().expect("ok"), 9);
    let outcomes = blocking.map::<u64, _>("first", (0..200_u64).map(|at| [at]));
    assert_eq!(
        outcomes.into_iter().collect::<Result<Vec<_>, _>>().expect("ok"),
        (0..200).collect::<Vec<_>>()
    );
    let stream = pool.stream::<u64, _, _>("first", (0..200_u64).map(|at| [at])).unordered();
    let places: BTreeSet<u64> = stream
        .window(5)
        .wait()
        .map(|(place, outcome)| {
            assert_eq!(outcome.expect("ok"), place);
            place
        })
        .collect();
    assert_eq!(places.len(), 200);
    thread::scope(|scope| {
        for number in 0..8_u64 {
            let blocking = blocking.clone();
            scope.spawn(move || {
                for at in 0..50 {
                    let args = [number * 1000 + at];
                    assert_eq!(blocking.process::<u64>("first", args).expect("ok"), args[0]);
                }
            });
        }
    });
    blocking.join();
    blocking.shutdown();
    assert_eq!(blocking.process::<u64>("first", [7]).expect("ok"), 7);
}
