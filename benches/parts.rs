//! Nanoseconds per job of each step that a job goes through, so that a regression is found where
//! it happens: `cargo bench --bench parts`.

#[path = "parts/steps.rs"]
mod steps;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn parts(c: &mut Criterion) {
    for (name, prepare) in steps::STEPS {
        let mut group = c.benchmark_group(name);
        for size in steps::SIZES {
            let mut repeat = prepare(size);
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter_custom(|count| {
                    let begin = Instant::now();
                    repeat(count);
                    begin.elapsed()
                });
            });
        }
        group.finish();
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

criterion_group! { name = all; config = quick(); targets = parts }
criterion_main!(all);
