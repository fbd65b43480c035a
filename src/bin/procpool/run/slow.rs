//! `--slow`: a report of each job that takes long, while it still runs. The slots are asked what they run only when
//! some job may have become slow by then.

use std::collections::HashSet;
use std::time::Duration;

use procpool::engine::Underway;
use procpool::engine::command::label::cut_path;
use tokio::time::Instant;

use crate::report::colors::{Colors, Paint};
use crate::report::seconds::Seconds;

/// The shortest time between two looks at what runs.
const SHORTEST: Duration = Duration::from_millis(20);

/// The jobs that take long.
#[derive(Debug)]
pub struct SlowJobs {
    /// `None`: no job is remarked on.
    limit: Option<Duration>,
    colors: Colors,
    /// The room for what a job runs, in characters.
    room: usize,
    /// When a job may have become slow.
    at: Option<Instant>,
    /// The jobs that were remarked on and still run: number and process.
    known: HashSet<(u64, u32)>,
}

impl SlowJobs {
    /// A job that runs for longer than this is slow. `None` or 0: none is.
    pub fn new(limit: Option<Duration>, colors: Colors, room: usize) -> Self {
        let limit = limit.filter(|limit| !limit.is_zero());
        Self { limit, colors, room, at: moment_after(limit), known: HashSet::new() }
    }

    /// When to look next at what runs.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// No job is remarked on any more.
    pub fn stop(&mut self) {
        (self.limit, self.at) = (None, None);
    }

    /// Looks at what runs now. Returns a line for each job that has become slow.
    pub fn look(&mut self, jobs: &[Underway]) -> String {
        let Some(limit) = self.limit else { return String::new() };
        let key = |job: &Underway| (job.seq, job.pid);
        let mut lines = String::new();
        let mut next = limit;
        let mut known = HashSet::new();
        for job in jobs {
            let is_known = self.known.contains(&key(job));
            if is_known || job.time >= limit {
                known.insert(key(job));
            } else {
                next = next.min(limit - job.time);
            }
            if !is_known && job.time >= limit {
                lines.push_str(&self.line(job));
            }
        }
        self.known = known;
        self.at = moment_after(Some(next.max(SHORTEST)));
        lines
    }

    fn line(&self, job: &Underway) -> String {
        let slow = self.colors.paint(Paint::Warning, "slow");
        let label = cut_path(&job.label, self.room);
        let time = Seconds(job.time.as_secs_f64());
        let Underway { details, slot, .. } = job;
        let details = format!("({details}, slot {slot}, {})", job.process());
        format!("procpool: {slow}: {label}: still running after {time} {details}\n")
    }
}

/// The moment after this time. `None`: it never comes.
fn moment_after(time: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(time?)
}
