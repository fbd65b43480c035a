//! 100,000 jobs, and few of them in memory at a time: `cargo run --release --example many`.

use procpool::{Failure, Pool};

const WORKER: &str = r#"while read -r line; do echo "{\"result\":${#line}}"; done"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::worker(["sh", "-c", WORKER]).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let sum: Result<u64, Failure> = runtime.block_on(async {
        // Args are taken from the iterator as there is room for them.
        let args = (0..100_000).map(|n| (n, "a text"));
        let mut outcomes = pool.stream::<u64, _, _>("measure", args).unordered().window(1000);
        let mut sum = 0;
        while let Some((_place, outcome)) = outcomes.next().await {
            sum += outcome?;
        }
        Ok(sum)
    });
    println!("{} bytes of requests", sum?);
    Ok(())
}
