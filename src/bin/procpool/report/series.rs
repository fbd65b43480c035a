//! What happened when, in a few hundred steps of time, however long the run: steps double in length as
//! it goes on. All jobs count; none of them is kept.

/// How many steps there are at most.
pub const STEPS: usize = 400;

/// How long a step is at first, in seconds.
const FIRST_STEP: f64 = 0.001;

/// No moment is later, in seconds: thirty years.
const LAST: f64 = 1e9;

/// How many rows there are at most. Of more slots, neighbours share one.
pub const ROWS: usize = 128;

/// Jobs that ended, and how busy slots were, by time.
#[derive(Clone, Debug)]
pub struct Series {
    /// The length of a step, in seconds.
    pub step: f64,
    /// How many jobs ended in each step…
    pub ended: Vec<u64>,
    /// …and how many of them failed.
    pub failed: Vec<u64>,
    pub rows: Vec<Row>,
    slots: usize,
}

/// A slot, or a few that stand together.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub jobs: u64,
    pub failed: u64,
    /// How long its jobs ran, in seconds.
    pub busy: f64,
    /// The same, by time.
    pub steps: Vec<f64>,
}

impl Series {
    /// Of so many slots.
    pub fn new(slots: usize) -> Self {
        let rows = vec![Row::default(); slots.clamp(1, ROWS)];
        Self { step: FIRST_STEP, ended: Vec::new(), failed: Vec::new(), rows, slots: slots.max(1) }
    }

    /// The first and the last slot of a row.
    pub fn slots_of(&self, row: usize) -> (usize, usize) {
        let first = |row: usize| (row * self.slots).div_ceil(self.rows.len()) + 1;
        (first(row), first(row + 1) - 1)
    }

    /// A job ended, so many seconds after the begin.
    pub fn end(&mut self, at: f64, has_failed: bool) {
        let place = self.place(at);
        if self.ended.len() <= place {
            self.ended.resize(place + 1, 0);
            self.failed.resize(place + 1, 0);
        }
        self.ended[place] += 1;
        self.failed[place] += u64::from(has_failed);
    }

    /// A slot was busy from one moment to another. Whether that was a job's last try, and whether it
    /// failed.
    pub fn busy(&mut self, slot: usize, (from, to): (f64, f64), job: Option<bool>) {
        let (from, to) = (from.max(0.0), to.max(0.0));
        let (first, last) = (self.place_of_both(from, to), self.place(to));
        let step = self.step;
        let row = (slot.clamp(1, self.slots) - 1) * self.rows.len() / self.slots;
        let row = &mut self.rows[row];
        row.busy += (to - from).max(0.0);
        row.jobs += u64::from(job.is_some());
        row.failed += u64::from(job == Some(true));
        if row.steps.len() <= last {
            row.steps.resize(last + 1, 0.0);
        }
        for place in first..=last {
            let (begin, end) = (place as f64 * step, (place + 1) as f64 * step);
            row.steps[place] += (to.min(end) - from.max(begin)).max(0.0);
        }
    }

    /// Where `from` is, once there is room for `to`.
    fn place_of_both(&mut self, from: f64, to: f64) -> usize {
        self.place(to);
        self.place(from)
    }

    /// In which step a moment lies; steps become longer until it lies in one.
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

/// Makes one step of two.
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
