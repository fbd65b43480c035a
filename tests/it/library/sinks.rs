//! Jobs that are fed, for a sink.

use super::*;

#[tokio::test]
async fn fed_jobs_go_to_the_sink() {
    let crew = Crew::new();
    let sink = Arc::new(Collected::default());
    let pool = Pool::builder(&crew.worker("")).max_procs(2);
    let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
    for batch in 0..10 {
        let mut jobs = fed("first", batch * 20 + 1..=batch * 20 + 20);
        pool.feed(&mut jobs).expect("the pool is open");
        assert!(jobs.is_empty());
    }
    // A call among them is its caller's alone.
    assert_eq!(ok("a call", pool.process::<Value>("first", ["call"])).await, json!("call"));
    pool.finish();
    assert_eq!(pool.feed(&mut fed("first", [0])), Err(Closed));
    assert_ended(&failed("a call", pool.process::<Value>("first", [0])).await);
    soon("the end", pool.ended()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    let done = sink.take();
    assert_eq!(done.len(), 200);
    let seen: BTreeMap<u64, _> = done.into_iter().collect();
    let expected: BTreeMap<_, _> = (1..=200).map(|seq| (seq, Ok(seq.to_string()))).collect();
    assert_eq!(seen, expected);
    assert_eq!(pool.left(), 0);

    // After a shutdown it takes jobs again.
    soon("shutdown", pool.shutdown()).await;
    pool.feed(&mut fed("first", [7])).expect("the pool is open");
    soon("join", pool.join()).await;
    assert_eq!(sink.take(), [(7, Ok("7".to_owned()))]);
}

/// Whatever workers do, and however many jobs they hold, each job has one outcome.
#[tokio::test]
async fn every_job_has_one_outcome() {
    const JOBS: u64 = 240;
    const MISDEEDS: [&str; 8] =
        ["die", "exit", "garbage", "twice", "unknown_id", "half", "fail", "never_answer"];
    for (depth, max_reqs) in [(Depth::Fixed(1), 0), (Depth::Fixed(8), 9), (Depth::Auto, 0)] {
        let crew = Crew::new();
        let sink = Arc::new(Collected::default());
        let pool = Pool::builder(&crew.worker(""))
            .max_procs(3)
            .depth_of(depth)
            .max_reqs(max_reqs)
            .timeout(Duration::from_millis(100))
            .grace(Duration::from_millis(20))
            .start_limit(0);
        let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
        let cmd = |seq: u64| match (seq % 7, usize::try_from(seq / 7)) {
            (3, Ok(at)) => MISDEEDS[at % MISDEEDS.len()],
            _ => "first",
        };
        let mut jobs = (1..=JOBS).map(|seq| job(cmd(seq), seq, &json!(["9"]))).collect();
        let pipeline = pool.pipeline::<Value>();
        pool.feed(&mut jobs).expect("the pool is open");
        for at in 0..JOBS / 4 {
            queued(pipeline.queue(cmd(at * 4), ["9"])).await;
        }
        pipeline.close();
        let mut tags = BTreeSet::new();
        while let Some((tag, _)) = soon("an outcome", pipeline.next()).await {
            assert!(tags.insert(tag), "call {tag} has two outcomes");
        }
        assert_eq!(tags.len() as u64, JOBS / 4);
        soon("join", pool.join()).await;
        let mut seen = BTreeSet::new();
        for (seq, _) in sink.take() {
            assert!(seen.insert(seq), "job {seq} has two outcomes");
        }
        assert_eq!((seen.len() as u64, pool.left()), (JOBS, 0));
        soon("shutdown", pool.shutdown()).await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
    }
}

#[tokio::test]
async fn stop_lets_running_jobs_finish() {
    let crew = Crew::new();
    let sink = Arc::new(Collected::default());
    let pool = Pool::builder(&crew.worker("")).max_procs(2).grace(PATIENCE);
    let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
    let gate = json!(crew.path("gate"));
    let jobs = (1..=10).map(|seq| job("await_file", seq, &json!([gate])));
    pool.feed(&mut jobs.collect()).expect("the pool is open");
    crew.await_logged("job", 2);
    pool.stop();
    assert_eq!(pool.left(), 8);
    crew.file("gate", "");
    soon("the end", pool.ended()).await;
    let mut done = sink.take();
    done.sort_by_key(|(seq, _)| *seq);
    assert_eq!(done, [(1, Ok("true".into())), (2, Ok("true".into()))]);
    assert!(crew.left().is_empty(), "{:?}", crew.left());
}

#[tokio::test]
async fn kill_ends_everything_at_once() {
    let crew = Crew::new();
    let sink = Arc::new(Collected::default());
    let pool = Pool::builder(&crew.worker("--ignore-term --ignore-eof")).max_procs(2);
    let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
    pool.feed(&mut fed("never_answer", 1..=10)).expect("the pool is open");
    crew.await_logged("job", 2);
    pool.kill();
    soon("the end", pool.ended()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    let done = sink.take();
    assert_eq!((done.len(), pool.left()), (2, 8));
    assert!(done.iter().all(|(_, outcome)| *outcome == Err(Kind::Cancelled)), "{done:?}");
    soon("shutdown", pool.shutdown()).await;
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
}

/// More than the queue takes, from a thread that has to wait for room.
#[tokio::test]
async fn a_feeder_that_waits_is_told_of_the_end() {
    for shutdown in [false, true] {
        let crew = Crew::new();
        let worker = crew.worker("--ignore-term");
        let pool = build(Pool::builder(&worker).max_procs(1).grace(Duration::from_millis(300)));
        pool.feed(&mut fed("never_answer", 1..=10_000)).expect("the pool is open");
        let handle = pool.clone();
        let (begins, begun) = mpsc::channel();
        let feeder = thread::spawn(move || {
            let mut batch = fed("echo", 1..=10);
            begins.send(()).expect("the test listens");
            (handle.feed(&mut batch), batch.len())
        });
        crew.await_logged("job", 1);
        begun.recv_timeout(PATIENCE).expect("the feeder begins");
        match shutdown {
            true => soon("shutdown", pool.shutdown()).await,
            false => pool.stop(),
        }
        wait_for("the feeder", || feeder.is_finished());
        assert_eq!(feeder.join().expect("no panic"), (Err(Closed), 10));
        soon("the end", pool.ended()).await;
    }
}

/// Whoever feeds jobs does not wait for room in a queue that was emptied.
#[tokio::test]
async fn a_feeder_that_waits_goes_on_after_the_start_limit() {
    let crew = Crew::new();
    let pool = Pool::builder(&crew.worker("--die-at-start")).max_procs(1).start_limit(2);
    let pool = build(pool);
    pool.feed(&mut fed("echo", 1..=10_000)).expect("the pool is open");
    let handle = pool.clone();
    let feeder = thread::spawn(move || handle.feed(&mut fed("echo", 1..=10)).is_ok());
    wait_for("the feeder", || feeder.is_finished());
    soon("join", pool.join()).await;
}

#[tokio::test]
async fn a_paused_pool_counts_no_time() {
    let crew = Crew::new();
    let limit = Duration::from_secs(2);
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).timeout(limit));
    pid(&pool).await;
    let mut job = pool.defer::<Value>("await_file", [crew.path("gate")]);
    crew.await_logged("job", 2);
    pool.pause();
    until("the worker is stopped", || crew.states() == ['T']).await;
    assert!(timeout(limit + Duration::from_millis(100), &mut job).await.is_err());
    crew.file("gate", "");
    pool.resume();
    assert_eq!(ok("the job", job).await, true);
}

#[tokio::test]
async fn a_paused_pool_can_be_shut_down() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1));
    pid(&pool).await;
    let job = pool.defer::<Value>("await_file", [crew.path("gate")]);
    crew.await_logged("job", 2);
    pool.pause();
    until("the worker is stopped", || crew.states() == ['T']).await;
    timeout(PATIENCE, pool.shutdown()).await.expect("it does not wait for a resume");
    assert_ended(&failed("the job", job).await);
    assert_eq!(ok("another", pool.process::<Value>("echo", [1])).await, json!([1]));
}

/// Fails at the first job.
struct Panicking(AtomicBool);

impl Sink for Panicking {
    fn deliver(&self, _: &Done<'_>) {
        assert!(self.0.swap(true, Ordering::SeqCst), "the sink panics, as it is to");
    }
}

#[tokio::test]
async fn a_sink_that_panics_is_not_waited_for() {
    let sink = Arc::new(Panicking(AtomicBool::new(false)));
    let pool = build(Pool::builder(&worker("")).max_procs(1).sink(sink));
    pool.feed(&mut vec![job("echo", 1, &json!([1])), job("echo", 2, &json!([2]))]).expect("open");
    timeout(PATIENCE, pool.join()).await.expect("it does not wait for ever");
    pool.feed(&mut vec![job("echo", 3, &json!([3]))]).expect("open");
    timeout(PATIENCE, pool.join()).await.expect("a new slot takes the next jobs");
}

/// Pools may share a list of processes. One of them is dropped, and nothing happens to the jobs of others.
#[tokio::test]
async fn a_pool_that_is_dropped_ends_no_job_of_the_pools_beside_it() {
    let crew = Crew::new();
    let first = build(Pool::builder(&crew.worker("")).max_procs(1));
    let second = build(Pool::builder(&crew.worker("")).max_procs(1).beside(&first, 1));
    let gate = crew.path("gate");
    let kept = first.defer::<bool>("await_file", [&gate]);
    let lost = second.defer::<bool>("await_file", [&gate]);
    crew.await_logged("job", 2);
    drop(second);
    assert_eq!(failed("a job of the dropped pool", lost).await.kind, Kind::Cancelled);
    until("the worker of the dropped pool is gone", || crew.left().len() == 1).await;
    let third = build(Pool::builder(&crew.worker("")).max_procs(1).beside(&first, 1));
    assert_eq!(ok("a pool that comes later", third.process::<u64>("first", [1])).await, 1);
    crew.file("gate", "");
    assert!(ok("the job of the other pool", kept).await);
    // The last one takes all with it.
    drop(first);
    assert_eq!(ok("the last pool", third.process::<u64>("first", [2])).await, 2);
    drop(third);
    crew.assert_gone();
}
