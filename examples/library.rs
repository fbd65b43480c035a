//! procpool as a library, with the workers of `handler.py`:
//!
//! ```sh
//! cargo run --release --example library
//! ```

use procpool::Pool;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pool = Pool::builder("./examples/handler.py").max_procs(4).max_reqs(1000).build()?;

    // One job: waits for a free worker, then for its reply.
    let count = pool.process("count", ["examples/data/alice.txt"]).await?;
    println!("{} words", count["words"]);

    // Many jobs: the outcomes come in the order of the args.
    let files = ["alice.txt", "harbour.txt"];
    let args = files.map(|file| [format!("examples/data/{file}")]);
    for (file, outcome) in files.iter().zip(pool.map("hash", args).await) {
        match outcome {
            Ok(hash) => println!("{file} {}", hash.as_str().unwrap_or("?")),
            Err(failure) => println!("{file} failed: {failure}"),
        }
    }

    // Ends all workers. The next call would start new ones.
    pool.shutdown().await;
    Ok(())
}
