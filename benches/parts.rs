//! Nanoseconds per job of each step that a job goes through, so that a regression is found where
//! it happens: `cargo bench --bench parts`.
//!
//! Every step is measured as the engine does it: many jobs one after the other, in buffers that
//! are used again.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use procpool::engine::input::job_lines;
use procpool::engine::input::lines::Lines;
use procpool::engine::output::failure::FailureStyle;
use procpool::engine::output::format::{Format, Shape, Tag};
use procpool::engine::protocol::envelope::procpool::PROCPOOL;
use procpool::engine::protocol::framing::line::LINE;
use procpool::engine::protocol::framing::{Scan, Split};
use procpool::engine::{Done, Failure, Job, Json, Run, Value};
use serde_json::value::RawValue;

/// As much as is read from a pipe at once.
const BATCH: usize = 64 << 10;

/// The lengths of the texts that are parsed or written, in bytes.
const SIZES: [usize; 2] = [30, 1000];

/// A text of `size` bytes: a frame, and as many letters between its halves as fit.
fn sized(size: usize, head: &str, tail: &str) -> String {
    let letters = "abcdefghijklmnopqrstuvwxyz".chars().cycle();
    let room = size.saturating_sub(head.len() + tail.len());
    head.chars().chain(letters.take(room)).chain(tail.chars()).collect()
}

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).expect("the benchmark's own JSON")
}

/// Measures a step over inputs of all sizes.
fn step<T>(
    c: &mut Criterion,
    name: &str,
    input: impl Fn(usize) -> T,
    mut run: impl FnMut(&T, u64) -> Duration,
) {
    let mut group = c.benchmark_group(name);
    for size in SIZES {
        let input = input(size);
        group.bench_with_input(BenchmarkId::from_parameter(size), &input, |bencher, input| {
            bencher.iter_custom(|count| run(input, count));
        });
    }
    group.finish();
}

/// The time that `count` calls take.
fn time(count: u64, mut call: impl FnMut()) -> Duration {
    let begin = Instant::now();
    for _ in 0..count {
        call();
    }
    begin.elapsed()
}

fn input(c: &mut Criterion) {
    step(
        c,
        "input: lines",
        |size| sized(size, "", "\n").repeat(BATCH / size),
        |bytes, count| {
            let mut left = count;
            let begin = Instant::now();
            let mut lines = Lines::new(b'\n', 64 << 20);
            while left > 0 {
                lines.buffer().extend_from_slice(bytes.as_bytes());
                while let Some(line) = lines.next(false) {
                    black_box(line.text.is_ok());
                    left = left.saturating_sub(1);
                }
            }
            begin.elapsed()
        },
    );
    let parse = |line: &String, count| {
        assert!(matches!(job_lines::parse(line.as_bytes()), Ok(Some(_))), "not a job: {line}");
        time(count, || {
            let fields = job_lines::parse(black_box(line.as_bytes()));
            black_box(fields.is_ok());
        })
    };
    step(
        c,
        "input: job line, object",
        |size| sized(size, r#"{"cmd":"a","args":[""#, r#""]}"#),
        parse,
    );
    step(c, "input: job line, text", |size| sized(size, r#"double [""#, r#""]"#), parse);
    step(
        c,
        "input: job",
        |size| sized(size, r#"[""#, r#""]"#),
        |args, count| {
            let mut seq = 0;
            time(count, || {
                seq += 1;
                black_box(Job::new(seq, r#""double""#, black_box(args), ""));
            })
        },
    );
}

fn protocol(c: &mut Criterion) {
    step(
        c,
        "protocol: request",
        |size| Job::new(1, r#""double""#, &sized(size, r#"[""#, r#""]"#), ""),
        |job, count| {
            let (mut out, mut id) = (Vec::with_capacity(2 * BATCH), 1_000_000);
            time(count, || {
                id += 1;
                let start = out.len();
                let asked = (PROCPOOL.request)(&mut out, id, black_box(job));
                black_box(asked.and_then(|()| (LINE.seal)(&mut out, start)).is_ok());
                if out.len() >= BATCH {
                    black_box(&out);
                    out.clear();
                }
            })
        },
    );
    step(
        c,
        "protocol: framing",
        |size| sized(size, "", "\n").repeat(BATCH / size),
        |bytes, count| {
            let mut at = 0;
            time(count, || {
                let rest = black_box(&bytes.as_bytes()[at..]);
                at = match (LINE.split)(rest, &mut Scan::default()) {
                    Split::Message { next, .. } if at + next < bytes.len() => at + next,
                    _ => 0,
                };
            })
        },
    );
    step(
        c,
        "protocol: reply",
        |size| sized(size, r#"{"id":1000000,"result":""#, r#""}"#),
        |message, count| {
            assert!((PROCPOOL.read)(message.as_bytes()).is_ok(), "not a reply: {message}");
            time(count, || {
                let reply = (PROCPOOL.read)(black_box(message.as_bytes()));
                black_box(reply.is_ok());
            })
        },
    );
}

fn output(c: &mut Criterion) {
    let format = |shape, detail| {
        let sources = vec![String::new()];
        let failures = FailureStyle::default();
        Format { shape, detail, tag: Tag::None, newline: false, commands: None, sources, failures }
    };
    let job = Job::new(1_000_000, r#""double""#, "[1000000]", "");
    let run = Run { slot: 1, pid: 1000, attempt: 1, start: 1.7e9, seconds: 0.0123, host: None };
    let mut write = |name: &str, format: &Format, is_ok: bool| {
        step(
            c,
            name,
            |size| sized(size, "\"", "\""),
            |result, count| {
                let message = result.trim_matches('"').to_owned();
                let failure = Failure::of_worker(message, raw("null").to_owned());
                let outcome =
                    if is_ok { Ok(Value::Json(Json::of(raw(result)))) } else { Err(&failure) };
                let done =
                    Done { job: &job, outcome, printed: None, run: Some(run), unproven: None };
                let (mut out, mut err) = (Vec::with_capacity(2 * BATCH), Vec::new());
                time(count, || {
                    // A Vec takes all that is written to it.
                    let _ = format.write(black_box(&done), &mut out, &mut err);
                    if out.len() >= BATCH {
                        black_box(&out);
                        out.clear();
                    }
                    err.clear();
                })
            },
        );
    };
    write("output: record", &format(Shape::Record, false), true);
    write("output: record, failed", &format(Shape::Record, false), false);
    write("output: record, detail", &format(Shape::Record, true), true);
    write("output: value", &format(Shape::Value, false), true);
    write("output: text", &format(Shape::Text, false), true);
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

criterion_group! { name = parts; config = quick(); targets = input, protocol, output }
criterion_main!(parts);
