//! The course of a run over time, in at most a few hundred steps. Steps double in length as the run goes on.
//! All jobs count, and none of them is kept.

/// The largest number of steps.
pub const STEPS: usize = 400;

/// The first length of a step, in seconds.
const FIRST_STEP: f64 = 0.001;

/// The latest moment, in seconds: thirty years.
const LAST: f64 = 1e9;

/// The largest number of rows. Where there are more slots, neighbours share a row.
pub const ROWS: usize = 128;

/// Jobs that ended, and how busy slots were, by time.
#[derive(Clone, Debug)]
pub struct Series {
    /// The length of a step, in seconds.
    pub step: f64,
    /// The number of jobs that ended in each step.
    pub ended: Vec<u64>,
    /// The number of jobs that failed in each step.
    pub failed: Vec<u64>,
    pub rows: Vec<Row>,
    slots: usize,
}

/// A slot, or neighbours that share a row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The machine of its first slot, as it is named; `None`: it is this one, or no job has run.
    pub host: Option<&'static str>,
    pub jobs: u64,
    pub failed: u64,
    /// The time that its jobs ran, in seconds.
    pub busy: f64,
    /// The same for each step.
    pub steps: Vec<f64>,
}

impl Row {
    /// Adds what another row has.
    fn add(&mut self, other: &Self) {
        self.host = self.host.or(other.host);
        self.jobs += other.jobs;
        self.failed += other.failed;
        self.busy += other.busy;
        self.steps.resize(self.steps.len().max(other.steps.len()), 0.0);
        for (sum, step) in self.steps.iter_mut().zip(&other.steps) {
            *sum += step;
        }
    }
}

impl Series {
    /// An empty series for this number of slots.
    pub fn new(slots: usize) -> Self {
        let rows = vec![Row::default(); slots.clamp(1, ROWS)];
        Self { step: FIRST_STEP, ended: Vec::new(), failed: Vec::new(), rows, slots: slots.max(1) }
    }

    /// The first and the last slot of a row.
    pub fn slots_of(&self, row: usize) -> (usize, usize) {
        let first = |row: usize| (row * self.slots).div_ceil(self.rows.len()) + 1;
        (first(row), first(row + 1) - 1)
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// A slot is on this machine. There may be more slots than were known: a host has as many as it has CPUs.
    pub fn place_slot(&mut self, slot: usize, host: &'static str) {
        if slot > self.slots {
            self.grow(slot);
        }
        let row = self.row_of(slot);
        self.rows[row].host.get_or_insert(host);
    }

    fn grow(&mut self, slots: usize) {
        let old = Self { rows: std::mem::take(&mut self.rows), ..Self::new(self.slots) };
        self.slots = slots;
        self.rows = vec![Row::default(); slots.clamp(1, ROWS)];
        for (index, row) in old.rows.iter().enumerate() {
            let at = self.row_of(old.slots_of(index).0);
            self.rows[at].add(row);
        }
    }

    fn row_of(&self, slot: usize) -> usize {
        (slot.clamp(1, self.slots) - 1) * self.rows.len() / self.slots
    }

    /// Counts a job that ended `at` this number of seconds after the begin.
    pub fn end(&mut self, at: f64, has_failed: bool) {
        let place = self.place(at);
        if self.ended.len() <= place {
            self.ended.resize(place + 1, 0);
            self.failed.resize(place + 1, 0);
        }
        self.ended[place] += 1;
        self.failed[place] += u64::from(has_failed);
    }

    /// Counts the time that a slot was busy. `job`: whether the job failed; `None`: it will be tried again.
    pub fn busy(&mut self, slot: usize, (from, to): (f64, f64), job: Option<bool>) {
        let from = from.max(0.0);
        let to = to.max(0.0);
        // The later one comes first: it may double the steps.
        let last = self.place(to);
        let first = self.place(from);
        let step = self.step;
        let row = self.row_of(slot);
        let row = &mut self.rows[row];
        row.busy += (to - from).max(0.0);
        row.jobs += u64::from(job.is_some());
        row.failed += u64::from(job == Some(true));
        if row.steps.len() <= last {
            row.steps.resize(last + 1, 0.0);
        }
        for place in first..=last {
            let begin = place as f64 * step;
            let end = (place + 1) as f64 * step;
            row.steps[place] += (to.min(end) - from.max(begin)).max(0.0);
        }
    }

    /// The step of a moment. Steps double in length until there is one.
    fn place(&mut self, at: f64) -> usize {
        let at = at.clamp(0.0, LAST);
        while at >= self.step * STEPS as f64 {
            self.step *= 2.0;
            pair(&mut self.ended);
            pair(&mut self.failed);
            self.rows.iter_mut().for_each(|row| pair(&mut row.steps));
        }
        ((at / self.step) as usize).min(STEPS - 1)
    }
}

/// Joins each two steps.
fn pair<T: Copy + std::ops::Add<Output = T>>(steps: &mut Vec<T>) {
    let pairs = steps.chunks(2).map(|pair| match *pair {
        [first, second] => first + second,
        ref rest => rest[0],
    });
    *steps = pairs.collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_steps_become_longer() {
        let mut series = Series::new(2);
        for n in 0..1000_u32 {
            let at = f64::from(n) * 0.01;
            series.busy(1 + n as usize % 2, (at, at + 0.01), Some(n % 10 == 0));
            series.end(at + 0.01, n % 10 == 0);
        }
        assert_eq!(series.ended.iter().sum::<u64>(), 1000);
        assert_eq!(series.failed.iter().sum::<u64>(), 100);
        assert!(series.ended.len() <= STEPS && series.step * STEPS as f64 > 10.0);
        for row in &series.rows {
            assert_eq!(row.jobs, 500);
            assert!(
                (row.busy - 5.0).abs() < 1e-6 && (row.steps.iter().sum::<f64>() - 5.0).abs() < 1e-6
            );
        }
    }

    #[test]
    fn hosts_may_have_more_slots_than_were_known() {
        let mut series = Series::new(2);
        series.busy(2, (0.0, 0.1), Some(false));
        series.place_slot(4, "beta");
        series.busy(4, (0.0, 0.1), Some(false));
        let jobs: Vec<_> = series.rows.iter().map(|row| (row.host, row.jobs)).collect();
        assert_eq!(jobs, [(None, 0), (None, 1), (None, 0), (Some("beta"), 1)]);
        series.place_slot(300, "gamma");
        assert_eq!((series.rows.len(), series.slots()), (ROWS, 300));
        assert_eq!(series.rows.iter().map(|row| row.jobs).sum::<u64>(), 2);
        assert_eq!(series.rows[ROWS - 1].host, Some("gamma"));
    }

    #[test]
    fn many_slots_share_rows() {
        for slots in [1, 2, 127, 128, 129, 300, 65_536] {
            let mut series = Series::new(slots);
            let rows = series.rows.len();
            assert_eq!(series.slots_of(0).0, 1);
            assert_eq!(series.slots_of(rows - 1).1, slots);
            for row in 0..rows {
                let (first, last) = series.slots_of(row);
                series.busy(first, (0.0, 0.1), Some(false));
                series.busy(last, (0.0, 0.1), Some(false));
                assert_eq!(series.rows[row].jobs, 2, "{slots}: {row}");
            }
        }
    }
}
