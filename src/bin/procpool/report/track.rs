//! When a slot was busy with which job. A worker that has several jobs is busy with the oldest. If it answers them in
//! another order, it is busy with all of them.

/// When a slot was busy with a job, in seconds since the begin of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// When the job was given to the worker.
    pub start: f64,
    /// When the worker began it.
    pub begun: f64,
    pub end: f64,
    /// The number of the lane, from 0. Jobs that overlap have different lanes.
    pub lane: usize,
}

/// The last jobs of a slot.
#[derive(Debug, Default)]
pub struct Track {
    last_start: f64,
    /// The end of the last job of each lane.
    ends: Vec<f64>,
    /// The slot has been busy with several jobs at a time.
    is_mixed: bool,
}

impl Track {
    /// Adds a job that is over, and that was given to the worker at `start`.
    pub fn add(&mut self, start: f64, seconds: f64) -> Span {
        let end = start + seconds;
        self.is_mixed |= start < self.last_start;
        self.last_start = start;
        if self.is_mixed {
            let lane = self.ends.iter().position(|&end| end <= start).unwrap_or(self.ends.len());
            self.ends.resize(self.ends.len().max(lane + 1), f64::NEG_INFINITY);
            self.ends[lane] = end;
            return Span { start, begun: start, end, lane };
        }
        if self.ends.is_empty() {
            self.ends.push(f64::NEG_INFINITY);
        }
        let begun = start.max(self.ends[0]);
        // Rounded times can make a job end before the one that it waited for.
        let end = end.max(begun);
        self.ends[0] = end;
        Span { start, begun, end, lane: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_wait_at_a_worker_take_their_turns() {
        let mut track = Track::default();
        let spans = [(0.0, 1.0), (0.0, 2.0), (0.5, 2.5), (4.0, 1.0)];
        let spans = spans.map(|(start, seconds)| track.add(start, seconds));
        let begun = spans.map(|span| (span.begun, span.end, span.lane));
        assert_eq!(begun, [(0.0, 1.0, 0), (1.0, 2.0, 0), (2.0, 3.0, 0), (4.0, 5.0, 0)]);
    }

    #[test]
    fn rounded_times_do_not_overlap() {
        let mut track = Track::default();
        track.add(0.0, 1.000_000_2);
        let span = track.add(0.5, 0.5);
        assert_eq!((span.begun, span.end), (1.000_000_2, 1.000_000_2));
    }

    #[test]
    fn jobs_that_overtake_each_other_have_lanes() {
        let mut track = Track::default();
        track.add(1.0, 2.0);
        let spans = [(0.0, 4.0), (1.5, 3.0), (4.0, 1.0)].map(|(start, s)| track.add(start, s));
        assert_eq!(spans.map(|span| (span.begun, span.lane)), [(0.0, 1), (1.5, 2), (4.0, 0)]);
    }
}
