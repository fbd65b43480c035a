//! The calls of the library: how many there are in a second, beside bare pipes to the same worker in the
//! same run, and how much memory they take.
//!
//! ```sh
//! cargo build --release --example bench_worker && cargo bench --bench calls
//! ```

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use procpool::Pool;

/// How long each measurement takes, about.
const TIME: Duration = Duration::from_secs(2);

/// How long a turn of calls one at a time takes, and how many turns there are.
const TURN: Duration = Duration::from_millis(100);
const TURNS: usize = 31;

/// A worker has one request in flight.
const ONE: Option<usize> = Some(1);

/// A worker has as many requests in flight as its speed asks for.
const AUTO: Option<usize> = None;

/// The argument for the measurement that needs a process of its own.
const WAITING: &str = "waiting";

fn main() {
    let worker = worker();
    if std::env::args().any(|arg| arg == WAITING) {
        return waiting(&worker);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    one_at_a_time(&worker, &runtime);
    println!("calls per second, many at a time (three rounds)");
    for _ in 0..3 {
        for (procs, depth, what) in [
            (1, ONE, "64 at a time, depth 1"),
            (2, ONE, "64 at a time, depth 1, 2 workers"),
            (1, AUTO, "64 at a time, depth auto"),
        ] {
            let pool = self::pool(&worker, procs, depth);
            println!("{:>9.0}  {what}", runtime.block_on(at_a_time(&pool, 64)));
        }
        let pool = self::pool(&worker, 1, AUTO);
        println!("{:>9.0}  stream, depth auto", runtime.block_on(stream(&pool)));
    }
    memory(&worker, &runtime);
    let me = std::env::current_exe().expect("a path");
    Command::new(me).arg(WAITING).status().expect("this program runs once more");
}

fn worker() -> PathBuf {
    let folder = std::env::current_exe().expect("a path");
    let folder = folder.parent().and_then(|deps| deps.parent()).expect("target/release").to_owned();
    let worker = folder.join("examples/bench_worker");
    assert!(worker.exists(), "build it first: cargo build --release --example bench_worker");
    worker
}

fn pool(worker: &PathBuf, max_procs: usize, depth: Option<usize>) -> Pool {
    let pool = Pool::worker([worker]).max_procs(max_procs);
    let pool = match depth {
        Some(requests) => pool.depth(requests),
        None => pool.depth_auto(),
    };
    pool.build().expect("a pool")
}

/// A way to make calls: its name, and what makes some and returns their rate.
type Way<'a> = (&'static str, Box<dyn FnMut() -> f64 + 'a>);

/// Calls one after the other, beside bare pipes. The ways take turns of a tenth of a second, so that whatever
/// else the machine does slows all of them down.
fn one_at_a_time(worker: &PathBuf, runtime: &tokio::runtime::Runtime) {
    let many = tokio::runtime::Runtime::new().expect("a runtime");
    let mut bare = BarePipes::new(worker);
    let pools = [(); 3].map(|()| pool(worker, 1, ONE));
    let [of_thread, of_task, of_tasks] = &pools;
    let mut ways: [Way<'_>; 4] = [
        ("bare pipes", Box::new(|| rate(|n| bare.call(n)))),
        ("a thread: blocking().process", Box::new(|| blocking(of_thread))),
        ("current-thread runtime: process", Box::new(|| runtime.block_on(sequential(of_task)))),
        ("multi-thread runtime: process", Box::new(|| many.block_on(sequential(of_tasks)))),
    ];
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..TURNS {
        for ((_, way), rates) in ways.iter_mut().zip(&mut rates) {
            rates.push(way());
        }
    }
    println!(
        "calls per second, one worker, one at a time; share of the bare pipes (medians of {TURNS})"
    );
    for ((what, _), own) in ways.iter().zip(&rates) {
        let shares = own.iter().zip(&rates[0]).map(|(rate, bare)| rate / bare).collect();
        println!("{:>9.0}  {:.2}  {what}", median(own.clone()), median(shares));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Counts calls until the turn is over.
fn rate(mut call: impl FnMut(u64)) -> f64 {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < TURN {
        for _ in 0..10 {
            call(count);
            count += 1;
        }
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// A worker whose pipes are written and read by hand: a write and a read for each call.
struct BarePipes {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl BarePipes {
    fn new(worker: &PathBuf) -> Self {
        let mut child = Command::new(worker)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout, line: String::new() }
    }

    fn call(&mut self, n: u64) {
        let request = format!("{{\"id\":{n},\"cmd\":\"double\",\"args\":[{n}]}}\n");
        self.stdin.write_all(request.as_bytes()).expect("it reads");
        self.line.clear();
        self.stdout.read_line(&mut self.line).expect("it answers");
        assert!(self.line.starts_with('{'));
    }
}

impl Drop for BarePipes {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn blocking(pool: &Pool) -> f64 {
    let pool = pool.blocking();
    rate(|n| assert_eq!(pool.process::<u64>("double", [n]).expect("ok"), 2 * n))
}

async fn sequential(pool: &Pool) -> f64 {
    let begun = Instant::now();
    let mut count = 0_u64;
    while begun.elapsed() < TURN {
        for _ in 0..10 {
            let double: u64 = pool.process("double", [count]).await.expect("ok");
            assert_eq!(double, 2 * count);
            count += 1;
        }
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Keeps this many calls open, each in a task of its own.
async fn at_a_time(pool: &Pool, tasks: u64) -> f64 {
    let begun = Instant::now();
    let local = tokio::task::LocalSet::new();
    let count = local
        .run_until(async {
            let caller = |pool: Pool| async move {
                let mut count = 0_u64;
                while begun.elapsed() < TIME {
                    let double: u64 = pool.process("double", [count]).await.expect("ok");
                    assert_eq!(double, 2 * count);
                    count += 1;
                }
                count
            };
            let tasks: Vec<_> =
                (0..tasks).map(|_| tokio::task::spawn_local(caller(pool.clone()))).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.expect("no panic");
            }
            sum
        })
        .await;
    count as f64 / begun.elapsed().as_secs_f64()
}

async fn stream(pool: &Pool) -> f64 {
    let begun = Instant::now();
    let mut outcomes = pool.stream::<u64, _, _>("double", (0..).map(|n: u64| [n]));
    let mut count = 0_u64;
    while !count.is_multiple_of(1024) || count == 0 || begun.elapsed() < TIME {
        let (place, outcome) = outcomes.next().await.expect("there are more");
        assert_eq!(outcome.expect("ok"), 2 * place);
        count += 1;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
    pages * 4096.0
}

fn memory(worker: &PathBuf, runtime: &tokio::runtime::Runtime) {
    let pool = pool(worker, 1, AUTO);
    let before = resident();
    runtime.block_on(async {
        let mut outcomes = pool.stream::<u64, _, _>("double", (0..1_000_000).map(|n: u64| [n]));
        while let Some((_, outcome)) = outcomes.next().await {
            outcome.expect("ok");
        }
    });
    println!("{:>9.2}  MB more after a stream of 1,000,000", (resident() - before) / 1e6);
    let before = resident();
    runtime.block_on(async {
        for n in 0..1_000_000_u64 {
            pool.process::<u64>("double", [n]).await.expect("ok");
        }
    });
    println!("{:>9.2}  MB more after 1,000,000 calls of process", (resident() - before) / 1e6);
    let text = "x".repeat(5000);
    let mut peak = resident();
    let before = peak;
    runtime.block_on(async {
        let args = (0..100_000).map(|_| [&text]);
        let mut outcomes = pool.stream::<String, _, _>("echo", args);
        let mut count = 0;
        while let Some((_, outcome)) = outcomes.next().await {
            assert_eq!(outcome.expect("ok").len(), text.len());
            count += 1;
            if count % 100 == 0 {
                peak = peak.max(resident());
            }
        }
    });
    println!("{:>9.2}  MB more at the peak of a stream of 100,000 × 5 kB", (peak - before) / 1e6);
}

/// The freed memory of what came before would be used again, so this is a process of its own.
fn waiting(worker: &PathBuf) {
    const CALLS: usize = 200_000;
    let pool = pool(worker, 1, ONE);
    let busy = pool.defer::<u64>("nap", (1, 60_000_000));
    std::thread::sleep(Duration::from_millis(200));
    let mut calls = Vec::with_capacity(CALLS);
    let before = resident();
    for n in 0..CALLS {
        calls.push(pool.defer::<u64>("double", [n]));
    }
    let each = (resident() - before) / CALLS as f64;
    println!("{each:>9.0}  bytes for each waiting call, with its args of about 8 bytes");
    drop((busy, calls));
}
