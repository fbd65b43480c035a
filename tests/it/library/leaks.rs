//! Many pools leave nothing behind.

use super::*;

/// In a process of its own, since the other tests open files and start threads as well.
#[test]
fn nothing_is_left_of_many_pools() {
    if !crate::common::heavy() {
        return;
    }
    if !alone("leaks::nothing_is_left_of_many_pools") {
        return;
    }
    let crew = Crew::new();
    let runtime = one_thread();
    let mut before = None;
    for round in 0..200 {
        let pool = build(Pool::builder(&crew.worker("")).max_procs(2).max_reqs(2));
        runtime.block_on(async {
            let job = pool.defer::<Value>("never_answer", ());
            let outcomes = soon("map", pool.map::<Value, _>("first", (0..3).map(|at| [at]))).await;
            assert!(outcomes.iter().all(Result::is_ok));
            match round % 4 {
                0 => soon("shutdown", pool.shutdown()).await,
                1 => drop(job),
                2 => pool.kill(),
                _ => {}
            }
        });
        drop(pool);
        if round == 4 {
            wait_for("the threads of the first pools", || entries("/proc/self/task") <= 2);
            before = Some((entries("/proc/self/fd"), entries("/proc/self/task")));
        }
    }
    let before = before.expect("there were enough rounds");
    wait_for(&format!("as few files and threads as before, {before:?}"), || {
        (entries("/proc/self/fd"), entries("/proc/self/task")) <= before
    });
    crew.assert_gone();
    assert_eq!(children(), Vec::<String>::new(), "unreaped children");
}
