//! The status of a server → the text format of Prometheus, for the textfile collector of its node exporter.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::Value;

/// A number of the status: where it is, the name and the type of its metric, and a sentence about it.
const METRICS: &[(&str, &str, &str, &str)] = &[
    ("/uptime", "uptime_seconds", "gauge", "How long the server has run."),
    ("/slots", "slots", "gauge", "How many jobs run at a time."),
    ("/callers", "callers", "gauge", "How many callers there are."),
    ("/jobs/done", "jobs_done_total", "counter", "How many jobs are over."),
    ("/jobs/failed", "jobs_failed_total", "counter", "How many of them have failed."),
    ("/queue", "queue_jobs", "gauge", "How many jobs wait."),
    ("/running", "running_jobs", "gauge", "How many jobs run."),
    ("/started", "workers_started_total", "counter", "How many workers were started."),
];

/// A number of each worker, as in [`METRICS`].
const OF_WORKERS: &[(&str, &str, &str, &str)] = &[
    ("age", "worker_age_seconds", "gauge", "How long ago the worker was started."),
    ("jobs", "worker_jobs_total", "counter", "How many jobs the worker has answered."),
    ("memory", "worker_memory_bytes", "gauge", "The resident memory of the worker."),
];

/// The metrics of a status.
///
/// # Errors
/// It is no JSON.
pub fn prometheus(status: &str) -> anyhow::Result<String> {
    let status: Value = serde_json::from_str(status).context("the status can't be read")?;
    let mut text = String::new();
    let version = status["version"].as_str().unwrap_or_default();
    head(&mut text, "info", "gauge", "The version of procpool.");
    let _ = writeln!(text, "procpool_info{{version=\"{version}\"}} 1");
    for (place, name, kind, help) in METRICS {
        if let Some(number) = status.pointer(place) {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "procpool_{name} {number}");
        }
    }
    let workers = status["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    head(&mut text, "workers", "gauge", "How many workers there are.");
    let _ = writeln!(text, "procpool_workers {}", workers.len());
    for (place, name, kind, help) in OF_WORKERS {
        head(&mut text, name, kind, help);
        for worker in workers.iter().filter(|worker| worker[place].is_number()) {
            let (slot, pid, number) = (&worker["slot"], &worker["pid"], &worker[place]);
            let _ = writeln!(text, "procpool_{name}{{slot=\"{slot}\",pid=\"{pid}\"}} {number}");
        }
    }
    Ok(text)
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP procpool_{name} {help}\n# TYPE procpool_{name} {kind}");
}
