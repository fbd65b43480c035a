//! A pool that plain threads share, without a runtime: `cargo run --release --example threads`.

use std::thread;

use procpool::{Failure, Pool};

const WORKER: &str = r#"while read -r line; do echo "{\"result\":${#line}}"; done"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::worker(["sh", "-c", WORKER]).max_procs(2).build()?.blocking();
    let sums: Result<Vec<u64>, Failure> = thread::scope(|scope| {
        let measure = |number: u64| {
            let pool = pool.clone();
            move || {
                let lengths = (0..100).map(|n| pool.process::<u64>("measure", (number, n)));
                lengths.sum::<Result<u64, Failure>>()
            }
        };
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(measure(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    println!("{} bytes of requests", sums?.iter().sum::<u64>());
    pool.shutdown();
    Ok(())
}
