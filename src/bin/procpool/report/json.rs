//! A run as one JSON document, for `--report FILE.json` and for the page in HTML.

use std::collections::BTreeMap;

use procpool::engine::{THIS_HOST, WorkerEnd};
use serde::Serialize;

use super::findings::{Findings, RunOutcome, signal_name};
use super::totals::{Bar, Failed, Totals};

/// The number of slowest jobs that are listed.
const SLOWEST: usize = 25;

/// The document. Later versions may add members. Members keep their names.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    #[serde(flatten)]
    run: RunFacts<'a>,
    totals: Counts<'a>,
    durations: DurationRecord,
    slots: Slots,
    throughput: Throughput<'a>,
    workers: Workers<'a>,
    failures: Vec<FailureRecord<'a>>,
    failures_left_out: u64,
    slowest: Vec<Slow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Timeline<'a>>,
}

/// The run as a whole.
#[derive(Debug, Serialize)]
struct RunFacts<'a> {
    procpool: &'static str,
    command_line: &'a str,
    began: String,
    ended: String,
    seconds: f64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
}

#[derive(Debug, Serialize)]
struct Counts<'a> {
    jobs: u64,
    ok: u64,
    failed: u64,
    recorded: u64,
    not_run: u64,
    input_left_unread: bool,
    retries: u64,
    passed_on_retry: u64,
    failed_by_kind: BTreeMap<&'a str, u64>,
    retried_by_kind: &'a BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct DurationRecord {
    jobs: u64,
    sum: f64,
    p50: Option<f64>,
    p90: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: f64,
    histogram: Vec<Bin>,
}

#[derive(Debug, Serialize)]
struct Bin {
    from: f64,
    to: f64,
    jobs: u64,
}

#[derive(Debug, Serialize)]
struct Slots {
    count: usize,
    busy_seconds: f64,
    #[serde(rename = "use")]
    used: f64,
}

/// The jobs that ended in each step of time.
#[derive(Debug, Serialize)]
struct Throughput<'a> {
    step_seconds: f64,
    jobs: &'a [u64],
    failed: &'a [u64],
}

#[derive(Debug, Serialize)]
struct Workers<'a> {
    processes: u64,
    ended: u64,
    replaced: u64,
    replaced_by_reason: BTreeMap<&'a str, u64>,
    list: Vec<Life>,
    left_out: u64,
}

#[derive(Debug, Serialize)]
struct Life {
    slot: usize,
    generation: u64,
    pid: u32,
    start: f64,
    seconds: f64,
    jobs: u64,
    why: &'static str,
}

#[derive(Debug, Serialize)]
struct FailureRecord<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    job: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: u64,
    kind: &'static str,
    message: &'a str,
    details: &'a str,
    slot: Option<usize>,
    start: Option<f64>,
    seconds: Option<f64>,
    attempt: u32,
}

#[derive(Debug, Serialize)]
struct Slow<'a> {
    seq: u64,
    name: &'a str,
    job: &'a str,
    slot: usize,
    start: f64,
    seconds: f64,
    ok: bool,
    attempt: u32,
}

/// A job as it is drawn: number, slot, start, end, kind of failure or nothing, 1 if it was tried again, attempt, and
/// label. It is an array, which is shorter than an object, because there may be thousands of jobs.
type Drawn<'a> = (u64, usize, f64, f64, &'static str, u8, u32, &'a str);

/// The slots, as they are drawn.
#[derive(Debug, Serialize)]
struct Timeline<'a> {
    hosts: Vec<&'a str>,
    step_seconds: f64,
    rows: Vec<RowRecord>,
    bars: Vec<Drawn<'a>>,
    bars_left_out: u64,
}

#[derive(Debug, Serialize)]
struct RowRecord {
    host: usize,
    first_slot: usize,
    last_slot: usize,
    jobs: u64,
    failed: u64,
    busy: f64,
    /// The share of each step in which the slot was busy, in percent.
    steps: Vec<u8>,
}

/// Makes the document. For a page, it has the timeline, which is drawn there.
pub fn document<'a>(findings: &'a Findings<'a>, is_page: bool) -> Document<'a> {
    let Findings { totals, ending, .. } = findings;
    let ended = totals.reasons.values().sum();
    Document {
        run: run_facts(findings),
        totals: counts(findings),
        durations: durations(totals),
        slots: Slots {
            count: findings.slots,
            busy_seconds: micros(totals.busy()),
            used: micros(findings.use_of_slots()),
        },
        throughput: Throughput {
            step_seconds: totals.series.step,
            jobs: &totals.series.ended,
            failed: &totals.series.failed,
        },
        workers: Workers {
            processes: ending.processes,
            ended,
            replaced: totals.replaced().map(|(_, count)| count).sum(),
            replaced_by_reason: totals.replaced().map(|(why, n)| (why.name(), n)).collect(),
            list: lives(totals),
            left_out: totals.lives.left_out(),
        },
        failures: totals.failures.list.iter().map(failure).collect(),
        failures_left_out: totals.failed - totals.failures.list.len() as u64,
        slowest: totals.slowest().take(SLOWEST).map(slow).collect(),
        timeline: is_page.then(|| timeline(findings)),
    }
}

fn run_facts<'a>(findings: &Findings<'a>) -> RunFacts<'a> {
    let outcome = findings.ending.outcome;
    RunFacts {
        procpool: env!("CARGO_PKG_VERSION"),
        command_line: findings.command_line,
        began: findings.time(0.0),
        ended: findings.time(findings.seconds),
        seconds: micros(findings.seconds),
        outcome: outcome.name(),
        signal: match outcome {
            RunOutcome::Interrupted(signal) => Some(signal_name(signal)),
            _ => None,
        },
    }
}

fn counts<'a>(findings: &Findings<'a>) -> Counts<'a> {
    let totals = findings.totals;
    Counts {
        jobs: totals.jobs(),
        ok: totals.ok,
        failed: totals.failed,
        recorded: totals.recorded,
        not_run: findings.ending.left,
        input_left_unread: findings.ending.has_unread_input,
        retries: totals.retries,
        passed_on_retry: totals.passed_on_retry,
        failed_by_kind: totals.kinds.iter().map(|(&kind, (count, _))| (kind, *count)).collect(),
        retried_by_kind: &totals.retried_kinds,
    }
}

fn durations(totals: &Totals) -> DurationRecord {
    let durations = &totals.durations;
    let quantile = |share| durations.quantile(share).map(micros);
    let bins = durations.bins(4).into_iter();
    DurationRecord {
        jobs: durations.count(),
        sum: micros(durations.sum()),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        max: micros(durations.longest()),
        histogram: bins.map(|(from, to, jobs)| Bin { from, to, jobs }).collect(),
    }
}

/// The lives of workers, in the order of their starts.
fn lives(totals: &Totals) -> Vec<Life> {
    let mut lives: Vec<&WorkerEnd> = totals.lives.sorted();
    lives.sort_by(|a, b| a.start.total_cmp(&b.start));
    let life = |&&WorkerEnd { slot, pid, generation, start, seconds, jobs, why }: &&WorkerEnd| {
        let start = micros(start);
        let seconds = micros(seconds);
        Life { slot, generation, pid, start, seconds, jobs, why: why.name() }
    };
    lives.iter().map(life).collect()
}

fn failure(failed: &Failed) -> FailureRecord<'_> {
    FailureRecord {
        seq: failed.seq,
        id: failed.id.as_deref(),
        name: &failed.name,
        job: &failed.label,
        file: failed.file.as_deref(),
        line: failed.line,
        kind: failed.kind.name(),
        message: &failed.message,
        details: &failed.details,
        slot: failed.run.map(|run| run.slot),
        start: failed.run.map(|run| micros(run.start)),
        seconds: failed.run.map(|run| micros(run.seconds)),
        attempt: failed.attempt,
    }
}

fn slow(bar: &Bar) -> Slow<'_> {
    Slow {
        seq: bar.seq,
        name: &bar.name,
        job: &bar.label,
        slot: bar.slot,
        start: micros(bar.start),
        seconds: micros(bar.seconds),
        ok: bar.failed.is_none(),
        attempt: bar.attempt,
    }
}

fn timeline<'a>(findings: &Findings<'a>) -> Timeline<'a> {
    let totals = findings.totals;
    let series = &totals.series;
    let mut hosts = Vec::new();
    let rows = series.rows.iter().enumerate().map(|(row, what)| {
        let host = what.host.filter(|host| *host != THIS_HOST).unwrap_or(findings.host);
        let host = hosts.iter().position(|known| *known == host).unwrap_or_else(|| {
            hosts.push(host);
            hosts.len() - 1
        });
        let (first_slot, last_slot) = series.slots_of(row);
        let whole = series.step * (last_slot + 1 - first_slot) as f64;
        let share = |busy: &f64| (busy / whole * 100.0).round().clamp(0.0, 100.0) as u8;
        RowRecord {
            host,
            first_slot,
            last_slot,
            jobs: what.jobs,
            failed: what.failed,
            busy: micros(what.busy),
            steps: what.steps.iter().map(share).collect(),
        }
    });
    let rows = rows.collect();
    let mut bars = totals.bars.sorted();
    bars.sort_by(|a, b| a.begun.total_cmp(&b.begun));
    let bars_left_out = totals.tries.saturating_sub(bars.len() as u64);
    let bar = |bar: &&'a Bar| {
        let from = micros(bar.begun);
        let to = micros(bar.start + bar.seconds).max(from);
        let kind = bar.failed.map_or("", |kind| kind.name());
        (bar.seq, bar.slot, from, to, kind, u8::from(bar.is_retried), bar.attempt, &*bar.label)
    };
    Timeline {
        hosts,
        step_seconds: series.step,
        rows,
        bars: bars.iter().map(bar).collect(),
        bars_left_out,
    }
}

/// Rounds seconds to microseconds.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
