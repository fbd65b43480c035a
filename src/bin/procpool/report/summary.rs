//! `--summary`: a few lines at the end of a run, for people.

use procpool::engine::command::label::cut;

use super::findings::Findings;
use super::seconds::Seconds;
use super::totals::{Bar, Totals};

/// The number of slowest jobs that are named.
const SLOWEST: usize = 3;

/// The largest number of characters of a job that is named.
const LABEL: usize = 70;

/// The lines, without a newline at the end.
pub fn text(findings: &Findings<'_>) -> String {
    let totals = findings.totals;
    let jobs = totals.jobs();
    let rate = jobs as f64 / findings.seconds.max(1e-9);
    let mut text = format!(
        "{}: {} ok, {} failed; {} ({rate:.0}/s)",
        number(jobs, "job"),
        totals.ok,
        totals.failed,
        Seconds(findings.seconds),
    );
    if totals.recorded > 0 {
        text.push_str(&format!("\n  {} of them from the journal, not run again", totals.recorded));
    }
    for (kind, (count, names)) in &totals.kinds {
        let more = if *count > names.len() as u64 { ", …" } else { "" };
        text.push_str(&format!("\n  {kind}: {count} ({}{more})", names.join(", ")));
    }
    if totals.retries > 0 {
        text.push_str(&retries(totals));
    }
    if totals.durations.count() > 0 {
        text.push_str(&durations(findings));
    }
    let replaced: Vec<String> =
        totals.replaced().map(|(why, count)| format!("{count} {}", why.name())).collect();
    if !replaced.is_empty() {
        let count: u64 = totals.replaced().map(|(_, count)| count).sum();
        let workers = number(count, "worker");
        text.push_str(&format!("\n  {workers} replaced: {}", replaced.join(", ")));
    }
    text
}

fn retries(totals: &Totals) -> String {
    let kinds: Vec<String> =
        totals.retried_kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let times = if totals.retries == 1 { "retry" } else { "retries" };
    format!(
        "\n  {} {times} ({}); {} passed on a retry",
        totals.retries,
        kinds.join(", "),
        number(totals.passed_on_retry, "job"),
    )
}

fn durations(findings: &Findings<'_>) -> String {
    let durations = &findings.totals.durations;
    let quantile = |share| Seconds(durations.quantile(share).unwrap_or_default());
    let mut text = format!(
        "\n  a job took {} (p50), {} (p95), {} (p99), {} (max)",
        quantile(0.5),
        quantile(0.95),
        quantile(0.99),
        Seconds(durations.longest()),
    );
    for (nth, bar) in findings.totals.slowest().take(SLOWEST).enumerate() {
        let head = if nth == 0 { "slowest:" } else { "" };
        text.push_str(&format!("\n  {head:8} {}", slow(bar)));
    }
    let slots = findings.slots;
    text.push_str(&format!(
        "\n  {} started; {}, in use {:.0} % of the time",
        match findings.ending.processes {
            1 => "1 process".to_owned(),
            count => format!("{count} processes"),
        },
        number(slots as u64, "slot"),
        findings.use_of_slots() * 100.0,
    ));
    text
}

fn slow(bar: &Bar) -> String {
    let what = if bar.label.is_empty() { String::new() } else { cut(&bar.label, LABEL) + ": " };
    let attempt =
        if bar.attempt > 1 { format!(", attempt {}", bar.attempt) } else { String::new() };
    let failed = if bar.failed.is_some() { ", failed" } else { "" };
    format!("{what}{} ({}{attempt}{failed})", Seconds(bar.seconds), bar.name)
}

fn number(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}
