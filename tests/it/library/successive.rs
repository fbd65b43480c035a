//! Calls of one thread or task, each after the end of the one before it. An idle worker that answers quickly gets
//! them straight from there, and everything that holds for other calls holds for these.

use super::*;

/// Makes a call, and waits for its outcome.
type MakeCall<'a> = &'a dyn Fn(&Pool, &str, Value) -> Result<Value, Failure>;

/// Checks calls of threads, and those of a task.
fn each_way(check: impl Fn(MakeCall<'_>)) {
    check(&|pool, cmd, args| pool.blocking().process(cmd, args));
    let runtime = one_thread();
    check(&|pool, cmd, args| runtime.block_on(ok_or_not(pool.process(cmd, args))));
}

async fn ok_or_not<T>(call: impl Future<Output = T>) -> T {
    soon("a call", call).await
}

/// After these calls the worker is known to be quick.
fn warm_up(pool: &Pool, call: MakeCall<'_>) -> i32 {
    for at in 0..20 {
        assert_eq!(call(pool, "first", json!([at])).expect("ok"), at);
    }
    let pid = call(pool, "pid", json!([])).expect("ok");
    i32::try_from(pid.as_i64().expect("a number")).expect("a process")
}

#[test]
fn each_may_fail_in_its_own_way() {
    each_way(|call| {
        let builder = Pool::builder(&worker("")).max_procs(1);
        let pool = build(builder.timeout(Duration::from_millis(200)).grace(Duration::ZERO));
        let mut pids = BTreeSet::from([warm_up(&pool, call)]);
        assert_eq!(kind(&call(&pool, "fail", json!(["no"]))), Some(Kind::Error));
        let still = warm_up(&pool, call);
        assert!(!pids.insert(still), "an error ends no worker");
        for (cmd, args, expected) in [
            ("die", json!([9]), Kind::Crash),
            ("never_answer", json!([]), Kind::Timeout),
            ("garbage", json!(["no reply"]), Kind::Protocol),
        ] {
            assert_eq!(kind(&call(&pool, cmd, args)), Some(expected), "{cmd}");
            assert!(pids.insert(warm_up(&pool, call)), "after {cmd} there is another worker");
        }
        // A worker that dies without a job costs none.
        let idle = warm_up(&pool, call);
        kill(idle);
        let stat = format!("/proc/{idle}/stat");
        wait_for("it is dead", || {
            fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "))
        });
        assert!(pids.insert(warm_up(&pool, call)));
        pool.blocking().shutdown();
        assert!(pids.insert(warm_up(&pool, call)));
    });
}

#[test]
fn no_worker_gets_more_jobs_than_it_may() {
    each_way(|call| {
        let pool = build(Pool::builder(&worker("")).max_procs(1).max_reqs(15));
        let mut pids: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..100 {
            let pid = call(&pool, "pid", json!([])).expect("ok");
            *pids.entry(pid.to_string()).or_default() += 1;
        }
        assert!(pids.values().all(|jobs| *jobs <= 15), "{pids:?}");
    });
}

/// What a worker writes while it is lent is passed on, though its slot's thread sleeps.
#[test]
fn stderr_is_passed_on_meanwhile() {
    let code = "while read -r l; do echo said >&2; echo '{\"result\":0}'; done";
    each_way(|call| {
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let pool = Pool::worker(["sh", "-c", code]).max_procs(1).on_stderr(move |_, _, text| {
            count.fetch_add(text.iter().filter(|byte| **byte == b'\n').count(), Ordering::Relaxed);
        });
        let pool = pool.build().expect("a pool");
        let end = Instant::now() + PATIENCE;
        while heard.load(Ordering::Relaxed) < 50 && Instant::now() < end {
            call(&pool, "", json!([])).expect("ok");
        }
        assert!(heard.load(Ordering::Relaxed) >= 50);
    });
}

/// Several threads share few workers, so each finds the worker lent, or busy.
#[test]
fn many_threads_get_their_own_replies() {
    let pool = build(Pool::builder(&worker("")).max_procs(2));
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let pool = pool.clone();
            scope.spawn(move || {
                let runtime = one_thread();
                for at in 0..100 {
                    let args = [number * 1000 + at];
                    let reply = if at % 3 == 0 {
                        runtime.block_on(pool.process::<u64>("first", args))
                    } else {
                        pool.blocking().process("first", args)
                    };
                    assert_eq!(reply.expect("ok"), args[0]);
                }
            });
        }
    });
    assert_eq!((pool.stats().running, pool.stats().waiting), (0, 0));
}
