//! The calls: process, defer, map, stream, pipeline, join.

use super::*;

#[tokio::test]
async fn a_job_gets_its_reply() {
    #[derive(Serialize)]
    struct Resize<'a> {
        name: &'a str,
        width: u32,
    }
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    for args in [json!([]), json!([1, "a\nb\0 ☃ \"", null]), json!({"a": {"b": []}}), json!(7)] {
        assert_eq!(ok("echo", pool.process::<Value>("echo", &args)).await, args);
    }
    let resize = Resize { name: "a.png", width: 100 };
    let expected = json!({"name": "a.png", "width": 100});
    assert_eq!(ok("a struct", pool.process::<Value>("echo", resize)).await, expected);
    assert_eq!(ok("a tuple", pool.process::<Value>("echo", (1, "b"))).await, json!([1, "b"]));
    assert_eq!(ok("a text", pool.process::<Value>("echo", "b")).await, json!("b"));
    assert_eq!(ok("nothing", pool.process::<Value>("echo", ())).await, Value::Null);
    let failure =
        failed("no such command", pool.process::<Value>("no \"such\"\ncommand", [1])).await;
    assert_eq!(failure.kind, Kind::Error);
    assert_eq!(failure.message, "no \"such\"\ncommand: unknown command no \"such\"\ncommand");
}

/// A request is one line, but JSON may be written on several.
#[tokio::test]
async fn args_with_line_breaks_are_one_request() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let args = RawValue::from_string("[\n  1,\r\n  \"a\\nb\"\n]".into()).expect("JSON");
    assert_eq!(ok("echo", pool.process::<Value>("echo", &args)).await, json!([1, "a\nb"]));
    let nested = json!({"ok": true});
    assert_eq!(ok("echo", pool.process::<Value>("echo", (&args, &nested))).await[1], nested);
}

#[tokio::test]
async fn an_error_is_kept_as_it_came() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let failure = failed("an error", pool.process::<Value>("fail_object", ())).await;
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Error, "it failed"));
    let data = failure.data.as_ref().expect("the error as it came");
    let data: Value = serde_json::from_str(data.get()).expect("JSON");
    assert_eq!(data, json!({"message": "it failed", "code": 7}));
    assert_eq!(failure.to_string(), "error: it failed");
    // The worker lives on.
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
}

#[tokio::test]
async fn process_does_nothing_before_it_is_awaited() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")));
    drop(pool.process::<Value>("echo", [1]));
    soon("join", pool.join()).await;
    assert_eq!(ok("echo", pool.process::<Value>("echo", [2])).await, json!([2]));
    assert_eq!(crew.logged("job").len(), 1);
}

#[tokio::test]
async fn a_deferred_job_runs_at_once() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    // Each of the two ends only when both have begun.
    let first = pool.defer::<Value>("await_log", json!(["job", 2]));
    crew.await_logged("job", 1);
    let second = pool.defer::<Value>("await_log", json!(["job", 2]));
    crew.await_logged("done", 2);
    assert_eq!(ok("the second", second).await, json!(true));
    assert_eq!(ok("the first", first).await, json!(true));
}

#[tokio::test]
async fn map_keeps_the_order() {
    let pool = build(Pool::builder(&worker("")).max_procs(4));
    let args = (0..200_u64).map(|at| (at, (at * 7919) % 1500));
    let outcomes = soon("map", pool.map::<Value, _>("nap", args)).await;
    let values: Vec<Value> = outcomes.into_iter().map(|outcome| outcome.expect("ok")).collect();
    assert_eq!(values, (0..200).map(Value::from).collect::<Vec<_>>());
    assert!(soon("map of nothing", pool.map::<Value, _>("echo", [0; 0])).await.is_empty());
}

#[tokio::test]
async fn a_failure_in_map_stands_in_its_place() {
    let pool = build(Pool::builder(&worker("")).max_procs(2));
    let lines = ["{\"id\":1,\"result\":1}", "hello", "[]"];
    let outcomes = soon("map", pool.map::<Value, _>("garbage", lines.map(|line| [line]))).await;
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes[1..].iter().all(|outcome| kind(outcome) == Some(Kind::Protocol)));
}

#[tokio::test]
async fn map_takes_its_args_as_they_are_needed() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let gate = crew.path("gate");
    let taken = AtomicUsize::new(0);
    let args = (0..100).map(|_| {
        taken.fetch_add(1, Ordering::Relaxed);
        [&gate]
    });
    let mut map = pin!(pool.map::<Value, _>("await_file", args));
    begin(&mut map).await;
    crew.await_logged("job", 2);
    begin(&mut map).await;
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken <= 8, "{taken} args were taken");
    crew.file("gate", "");
    let outcomes = soon("map", map).await;
    assert_eq!(outcomes.len(), 100);
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|value| *value == true)));
}

#[tokio::test]
async fn a_pipeline_hands_out_what_is_finished_first() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let pipeline = pool.pipeline::<Value>();
    assert_eq!(queued(pipeline.queue("await_file", [crew.path("gate")])).await, 0);
    for at in 1..=3 {
        assert_eq!(queued(pipeline.queue("first", [at])).await, at);
    }
    for _ in 0..3 {
        let (tag, outcome) = soon("an outcome", pipeline.next()).await.expect("one is owed");
        assert_eq!(outcome.expect("ok"), tag);
    }
    crew.file("gate", "");
    let (tag, outcome) = soon("the last", pipeline.next()).await.expect("one is owed");
    assert_eq!((tag, outcome.expect("ok")), (0, json!(true)));
    // More may come, until the pipeline is closed.
    assert!(timeout(Duration::from_millis(50), pipeline.next()).await.is_err());
    assert_eq!(queued(pipeline.queue("first", [4])).await, 4);
    pipeline.close();
    let closed = soon("a closed pipeline", pipeline.queue("first", [5])).await;
    assert_eq!(kind(&closed), Some(Kind::Unstarted));
    assert_eq!(soon("one more", pipeline.next()).await.expect("one is owed").0, 4);
    assert!(soon("the end", pipeline.next()).await.is_none());
    assert!(soon("the end", pipeline.next()).await.is_none());
}

/// The taker may come before the feeder, and be faster.
#[tokio::test]
async fn a_taker_that_waits_gets_all_that_is_queued_later() {
    const JOBS: u64 = 1000;
    let pool = build(Pool::builder(&worker("")).max_procs(2));
    let pipeline = Arc::new(pool.pipeline::<u64>());
    let taker = tokio::spawn({
        let pipeline = Arc::clone(&pipeline);
        async move {
            let mut sum = 0;
            while let Some((_, outcome)) = pipeline.next().await {
                sum += outcome.expect("ok");
            }
            sum
        }
    });
    for at in 0..JOBS {
        queued(pipeline.queue("first", [at])).await;
        tokio::task::yield_now().await;
    }
    pipeline.close();
    assert_eq!(soon("the taker", taker).await.expect("no panic"), JOBS * (JOBS - 1) / 2);
    // Closing wakes a taker that has nothing to wait for.
    let pipeline = Arc::new(pool.pipeline::<u64>());
    let mut next = pin!(pipeline.next());
    begin(&mut next).await;
    pipeline.close();
    assert!(soon("the end", next).await.is_none());
}

/// Outcomes that nobody takes do not hold a pipeline up, not even with one process.
#[tokio::test]
async fn a_pipeline_may_be_longer_than_its_window() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let pipeline = pool.pipeline::<Value>();
    for at in 0..300 {
        assert_eq!(queued(pipeline.queue("first", [at])).await, at);
    }
    pipeline.close();
    let mut seen = BTreeSet::new();
    while let Some((tag, outcome)) = soon("an outcome", pipeline.next()).await {
        assert_eq!(outcome.expect("ok"), tag);
        assert!(seen.insert(tag), "{tag} came twice");
    }
    assert_eq!(seen.len(), 300);
}

#[test]
fn a_pipeline_is_filled_and_emptied_by_several_tasks() {
    const JOBS: usize = 400;
    threads(4).block_on(async {
        let pool = build(Pool::builder(&worker("")).max_procs(3));
        let pipeline = Arc::new(pool.pipeline::<Value>());
        let fillers = (0..2_usize).map(|filler| {
            let pipeline = Arc::clone(&pipeline);
            tokio::spawn(async move {
                let mut tags = Vec::new();
                for at in 0..JOBS / 2 {
                    let queue = pipeline.queue("first", [filler * JOBS + at]);
                    tags.push((queued(queue).await, filler, at));
                }
                tags
            })
        });
        let fillers: Vec<_> = fillers.collect();
        let takers = (0..2).map(|_| {
            let pipeline = Arc::clone(&pipeline);
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Some((tag, outcome)) = pipeline.next().await {
                    taken.push((tag, outcome.expect("ok")));
                }
                taken
            })
        });
        let takers: Vec<_> = takers.collect();
        let mut expected = BTreeMap::new();
        for filler in fillers {
            for (tag, filler, at) in soon("a filler", filler).await.expect("no panic") {
                assert!(expected.insert(tag, json!(filler * JOBS + at)).is_none());
            }
        }
        pipeline.close();
        let mut seen = BTreeMap::new();
        for taker in takers {
            for (tag, value) in soon("a taker", taker).await.expect("no panic") {
                assert!(seen.insert(tag, value).is_none(), "{tag} came twice");
            }
        }
        assert_eq!(seen, expected);
        assert_eq!(seen.len(), JOBS);
    });
}

#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let pool = build(Pool::builder(&worker("")).max_procs(2));
    let pipeline = pool.pipeline::<Value>();
    let mut seen = BTreeSet::new();
    for at in 0..200 {
        queued(pipeline.queue("first", [at])).await;
        let hurry = Duration::from_micros(at % 10 * 20);
        if let Some(Some((tag, _))) = within(hurry, pipeline.next()).await {
            assert!(seen.insert(tag), "{tag} came twice");
        }
    }
    pipeline.close();
    while let Some((tag, _)) = soon("an outcome", pipeline.next()).await {
        assert!(seen.insert(tag), "{tag} came twice");
    }
    assert_eq!(seen.len(), 200);
}

#[tokio::test]
async fn a_dropped_queue_queues_nothing() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1));
    let pipeline = pool.pipeline::<Value>();
    let gate = crew.path("gate");
    let mut queued = 0;
    loop {
        let mut queue = pin!(pipeline.queue("await_file", [&gate]));
        match poll_once(&mut queue).await {
            Poll::Ready(_) => queued += 1,
            Poll::Pending => break,
        }
        assert!(queued < 100, "the window has no end");
    }
    crew.file("gate", "");
    pipeline.close();
    for _ in 0..queued {
        let (_, outcome) = soon("an outcome", pipeline.next()).await.expect("one is owed");
        assert_eq!(outcome.expect("ok"), true);
    }
    assert!(soon("the end", pipeline.next()).await.is_none());
    assert_eq!(crew.logged("job").len(), queued);
}

#[tokio::test]
async fn join_waits_for_all_jobs() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    soon("join of nothing", pool.join()).await;
    let gate = crew.path("gate");
    let jobs: Vec<_> = (0..6).map(|_| pool.defer::<Value>("await_file", [&gate])).collect();
    let mut joins = [Box::pin(pool.join()), Box::pin(pool.join())];
    for join in &mut joins {
        begin(&mut join.as_mut()).await;
    }
    // A dropped join has no effect.
    begin(&mut pin!(pool.join())).await;
    crew.await_logged("job", 2);
    for join in &mut joins {
        begin(&mut join.as_mut()).await;
    }
    // What is queued meanwhile is waited for as well.
    let late = pool.defer::<Value>("first", [1]);
    crew.file("gate", "");
    for join in joins {
        soon("join", join).await;
    }
    assert_eq!(crew.logged("done").len(), 7);
    for job in jobs {
        assert_eq!(soon("a result that is there", job).await.expect("ok"), true);
    }
    assert_eq!(ok("the late one", late).await, json!(1));
    soon("join of nothing", pool.join()).await;
}

#[test]
fn futures_may_be_sent() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let pool = build(Pool::builder(&worker("")));
    is_shared(&pool);
    is_shared(&pool.defer::<Value>("echo", ()));
    is_shared(&pool.pipeline::<Value>());
    is_send(&pool.process::<Value>("echo", "a".to_owned()));
    is_send(&pool.map::<Value, _>("echo", vec![1]));
    is_send(&pool.pipeline::<Value>().queue("echo", "a".to_owned()));
    is_send(&pool.pipeline::<Value>().next());
    is_send(&pool.join());
    is_send(&pool.shutdown());
}
