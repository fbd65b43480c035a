//! procpool as a library, with the workers of `handler.py`:
//!
//! ```sh
//! cargo run --release --example library
//! ```

use procpool::{Failure, Pool};
use serde::Deserialize;

/// What the worker says of a file.
#[derive(Debug, Deserialize)]
struct Count {
    words: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pool = Pool::builder("./examples/handler.py").max_procs(4).max_reqs(1000).build()?;

    // One job: waits for a free worker, then for its reply.
    let count: Count = pool.process("count", ["examples/data/alice.txt"]).await?;
    println!("{} words", count.words);

    // Many jobs: the outcomes come in the order of the args.
    let files = ["alice.txt", "harbour.txt"];
    let args = files.map(|file| [format!("examples/data/{file}")]);
    let hashes: Vec<Result<String, Failure>> = pool.map("hash", args).await;
    for (file, outcome) in files.iter().zip(hashes) {
        match outcome {
            Ok(hash) => println!("{file} {hash}"),
            Err(failure) => println!("{file} failed: {failure}"),
        }
    }

    // Ends all workers. The next call would start new ones.
    pool.shutdown().await;
    Ok(())
}
