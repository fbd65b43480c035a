//! The queue of calls: what a dropped call leaves there, limits of the wait and of the length, keys, and
//! jobs whose callers have gone.

use super::*;

/// A pool with one worker, which is busy until the file `gate` is there.
async fn busy(crew: &Crew, builder: impl FnOnce(Builder) -> Builder) -> (Pool, BusyCall) {
    let pool = build(builder(Pool::builder(&crew.worker("")).max_procs(1)));
    let running = pool.defer::<bool>("await_file", [crew.path("gate")]);
    crew.await_logged("job", 1);
    (pool, running)
}

type BusyCall = procpool::Deferred<bool>;

fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").expect("a /proc file system");
    let pages: usize = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

/// In a process of its own, whose memory is measured.
#[test]
fn a_dropped_call_frees_what_it_held_at_once() {
    if !alone("queueing::a_dropped_call_frees_what_it_held_at_once") {
        return;
    }
    one_thread().block_on(async {
        let crew = Crew::new();
        let (pool, running) = busy(&crew, |builder| builder).await;
        let args = "x".repeat(10_000);
        let mut kept = Vec::new();
        let before = resident();
        for at in 0..3000_u64 {
            drop(pool.defer::<Value>("echo", [&args]));
            if at % 15 == 0 {
                let mut process = Box::pin(pool.process::<Value>("echo", [&args]));
                begin(&mut process.as_mut()).await;
                kept.push(pool.defer::<u64>("first", [at]));
            }
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 6 << 20, "3000 dropped calls of 10 kB hold {grown} bytes");
        assert_eq!(pool.stats().waiting, kept.len());
        crew.file("gate", "");
        assert!(ok("the running job", running).await);
        for (at, call) in kept.into_iter().enumerate() {
            assert_eq!(ok("a kept call", call).await, at as u64 * 15);
        }
        // Those that were dropped were never run.
        assert_eq!(crew.logged("job").len(), 201);
    });
}

/// The heap counts, of which a test program of its own has a part only.
#[test]
fn a_waiting_call_is_small() {
    const CALLS: usize = 100_000;
    if !alone("queueing::a_waiting_call_is_small") {
        return;
    }
    one_thread().block_on(async {
        let crew = Crew::new();
        let (pool, running) = busy(&crew, |builder| builder).await;
        let mut calls = Vec::with_capacity(CALLS);
        let before = resident();
        for at in 0..CALLS {
            calls.push(pool.defer::<Value>("first", [at]));
        }
        let each = resident().saturating_sub(before) / CALLS;
        assert!(each <= 400, "{each} bytes for each waiting call, with its args");
        drop(calls);
        crew.file("gate", "");
        assert!(ok("the running job", running).await);
    });
}

#[tokio::test]
async fn calls_that_leave_a_closing_pool_let_it_go() {
    let crew = Crew::new();
    let (pool, running) = busy(&crew, |builder| builder).await;
    let waiting: Vec<_> = (0..10).map(|at| pool.defer::<Value>("first", [at])).collect();
    pool.finish();
    drop(waiting);
    crew.file("gate", "");
    assert!(ok("the running job", running).await);
    soon("the end", pool.ended()).await;
    assert_eq!(crew.logged("job").len(), 1);
}

#[tokio::test]
async fn a_call_waits_no_longer_than_it_may() {
    let crew = Crew::new();
    let (pool, running) = busy(&crew, |builder| builder).await;
    let limit = Duration::from_millis(60);
    let begun = Instant::now();
    let patient = pool.defer::<u64>("first", [1]);
    let own = pool.call("first").args([2]).queue_timeout(limit).send::<u64>();
    let longer = pool.call("first").args([3]).queue_timeout(2 * limit).send::<u64>();
    let failure = failed("a call with a limit", own).await;
    assert!(begun.elapsed() >= limit);
    assert_eq!(failure.kind, Kind::Expired, "{failure}");
    assert!(failure.may_retry());
    assert_eq!(failed("a call with a longer limit", longer).await.kind, Kind::Expired);
    assert!(begun.elapsed() >= 2 * limit);
    // A limit that is set after a thread has begun to wait for a later one counts, too.
    let far = pool.call("first").args([4]).queue_timeout(PATIENCE * 2).send::<u64>();
    let near = pool.call("first").args([5]).queue_timeout(limit).send::<u64>();
    assert_eq!(failed("a nearer limit", near).await.kind, Kind::Expired);
    crew.file("gate", "");
    assert!(ok("the running job", running).await);
    assert_eq!(ok("a call without a limit", patient).await, 1);
    assert_eq!(ok("a call with time left", far).await, 4);
    assert_eq!(crew.logged("job").len(), 3);
    let stats = pool.stats();
    assert_eq!((stats.failed(Kind::Expired), stats.succeeded, stats.waiting), (3, 3, 0));
}

#[tokio::test]
async fn the_limit_of_the_wait_may_be_the_pools() {
    let crew = Crew::new();
    let limit = Duration::from_millis(40);
    let (pool, running) = busy(&crew, |builder| builder.queue_timeout(limit)).await;
    let outcomes = soon("all", async {
        let calls: Vec<_> = (0..50).map(|at| pool.defer::<Value>("first", [at])).collect();
        let mut outcomes = Vec::new();
        for call in calls {
            outcomes.push(kind(&call.await));
        }
        outcomes
    })
    .await;
    assert_eq!(outcomes, [Some(Kind::Expired); 50]);
    // The running job has been at the worker for longer than the others have waited: that does not count.
    crew.file("gate", "");
    assert!(ok("the running job", running).await);
}

#[tokio::test]
async fn a_queue_with_a_bound_is_full_at_its_bound() {
    let crew = Crew::new();
    let (pool, running) = busy(&crew, |builder| builder.max_queue(2)).await;
    let first = pool.defer::<u64>("first", [1]);
    let second = pool.call("first").args([2]).try_send::<u64>().expect("there is a place");
    let failure = failed("a third", pool.try_process::<u64>("first", [3])).await;
    assert_eq!(failure.kind, Kind::Full, "{failure}");
    assert!(failure.may_retry());
    assert_eq!(failed("a third", pool.defer::<u64>("first", [3])).await.kind, Kind::Full);
    assert!(pool.call("first").try_send::<u64>().is_err());
    // Others wait for a place, in order, and one that is dropped leaves its place to the next.
    let mut fourth = Box::pin(pool.process::<u64>("first", [4]));
    let mut fifth = Box::pin(pool.process::<u64>("first", [5]));
    begin(&mut fourth.as_mut()).await;
    begin(&mut fifth.as_mut()).await;
    assert_eq!(pool.stats().waiting, 2);
    drop(second);
    begin(&mut fourth.as_mut()).await;
    assert_eq!(pool.stats().waiting, 2);
    drop(fourth);
    begin(&mut fifth.as_mut()).await;
    assert_eq!(pool.stats().waiting, 2);
    // Args that are no JSON take no place for long.
    let keys = HashMap::from([((1, 2), 3)]);
    let mut bad = pin!(pool.process::<u64>("first", keys));
    begin(&mut bad).await;
    crew.file("gate", "");
    assert!(ok("the running job", running).await);
    assert_eq!(ok("the first", first).await, 1);
    assert_eq!(ok("the fifth", fifth).await, 5);
    assert_eq!(failed("bad args", bad).await.kind, Kind::Invalid);
    for at in 0..10 {
        assert_eq!(ok("one more", pool.try_process::<u64>("first", [at])).await, at);
    }
    assert_eq!(crew.logged("job").len(), 13);
}

#[tokio::test]
async fn a_bound_holds_through_shutdowns() {
    let crew = Crew::new();
    let (pool, _running) = busy(&crew, |builder| builder.max_queue(3)).await;
    let waiting: Vec<_> = (0..3).map(|at| pool.defer::<Value>("first", [at])).collect();
    soon("shutdown", pool.shutdown()).await;
    for call in waiting {
        let failure = failed("a waiting call", call).await;
        assert_eq!(failure.kind, Kind::Unstarted, "{failure}");
        assert!(failure.may_retry());
    }
    for at in 0..10_u64 {
        assert_eq!(ok("a call", pool.try_process::<u64>("first", [at])).await, at);
    }
}

/// Calls with equal keys go to the same worker, also when it is busy and others are not.
#[tokio::test]
async fn equal_keys_go_to_the_same_worker() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(4));
    let mut homes: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let calls: Vec<_> =
        (0..120_u64).map(|at| (at % 6, pool.call("pid").key(at % 6).send::<u64>())).collect();
    for (key, call) in calls {
        homes.entry(key).or_default().insert(ok("a call", call).await);
    }
    assert!(homes.values().all(|pids| pids.len() == 1), "{homes:?}");
    // While its worker is busy, a call waits for it, and calls without a key do not.
    let gate = crew.path("gate");
    let busy = pool.call("await_file").args([&gate]).key(1).send::<bool>();
    until("the job has begun", || {
        crew.log().concat().concat().contains("gate") || pool.stats().running > 0
    })
    .await;
    let mut same = pool.call("pid").key(1).send::<u64>();
    for _ in 0..10 {
        pid(&pool).await;
    }
    assert!(poll_once(&mut Pin::new(&mut same)).await.is_pending());
    crew.file("gate", "");
    assert!(ok("the busy one", busy).await);
    assert_eq!(BTreeSet::from([ok("the same worker", same).await]), homes[&1]);
}

/// Twenty calls are given up, and their worker lives on.
#[tokio::test]
async fn jobs_whose_calls_were_dropped_may_end_by_themselves() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).cancel_grace(PATIENCE));
    for at in 1..=20 {
        let dropped = pool.defer::<Value>("await_file", [crew.path(&at.to_string())]);
        crew.await_logged("job", 2 * at - 1);
        drop(dropped);
        crew.file(&at.to_string(), "");
        assert_eq!(ok("the next", pool.process::<usize>("first", [at])).await, at);
    }
    assert_eq!(crew.logged("start").len(), 1);
}

#[tokio::test]
async fn a_job_whose_call_was_dropped_has_a_limited_time() {
    let crew = Crew::new();
    let grace = Duration::from_millis(50);
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).cancel_grace(grace));
    let dropped = pool.defer::<Value>("never_answer", ());
    crew.await_logged("job", 1);
    let begun = Instant::now();
    drop(dropped);
    assert_eq!(ok("the next", pool.process::<u64>("first", [1])).await, 1);
    assert!(begun.elapsed() >= grace);
    assert_eq!(crew.logged("start").len(), 2);
}

/// A worker may answer the younger of two jobs first. Then it is on both, and either may be dropped.
#[tokio::test]
async fn of_a_worker_without_order_any_job_may_be_dropped() {
    if !need("python3") {
        return;
    }
    let code = "import sys, json, os, time
first = True
for line in sys.stdin:
    r = json.loads(line)
    if r['cmd'] == 'hang': continue
    while r['cmd'] == 'gate' and not os.path.exists(sys.argv[1]): time.sleep(0.01)
    if r['cmd'] == 'late' and first:
        first = False
        late = r
        continue
    print(json.dumps({'id': r['id'], 'result': os.getpid()}), flush=True)
    if r['cmd'] == 'both': print(json.dumps({'id': late['id'], 'result': 0}), flush=True)
";
    let crew = Crew::new();
    let builder = Pool::worker(["python3", "-c", code, &crew.path("gate")]);
    let builder = builder.max_procs(1).depth(4);
    let pool = build(builder.cancel_grace(Duration::ZERO));
    // A worker gets several jobs at a time only if more than a few wait.
    let ballast = || (0..40).map(|_| pool.defer::<u64>("now", ())).collect::<Vec<_>>();
    let gate = pool.defer::<u64>("gate", ());
    let late = pool.defer::<u64>("late", ());
    let both = pool.defer::<u64>("both", ());
    let calls = ballast();
    crew.file("gate", "");
    let first = ok("the gate", gate).await;
    assert_eq!(ok("the younger", both).await, first);
    assert_eq!(ok("the older", late).await, 0);
    for call in calls {
        assert_eq!(ok("a call", call).await, first);
    }
    // From now on the worker is known to have no order.
    fs::remove_file(crew.path("gate")).expect("it is there");
    let gate = pool.defer::<u64>("gate", ());
    let oldest = pool.defer::<u64>("hang", ());
    let younger = pool.defer::<u64>("hang", ());
    let mut calls = ballast().into_iter();
    crew.file("gate", "");
    assert_eq!(ok("the gate", gate).await, first);
    assert_eq!(ok("a call", calls.next().expect("many")).await, first);
    drop(younger);
    until("its worker has ended", || !is_there(i32::try_from(first).expect("a process"))).await;
    drop(oldest);
    assert_ne!(ok("the last", calls.next_back().expect("many")).await, first);
}
