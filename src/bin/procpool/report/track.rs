//! When a slot was busy with which job. Of several jobs that a worker has been handed, it is on the
//! oldest, unless it answers them in another order: then it is on all of them.

/// When a slot was busy with a job, in seconds since the begin of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The job was handed to the worker…
    pub start: f64,
    /// …which was on it from then on.
    pub begun: f64,
    pub end: f64,
    /// Jobs that a slot is on at the same time have different ones, from 0.
    pub lane: usize,
}

/// What a slot was busy with last.
#[derive(Debug, Default)]
pub struct Track {
    last_start: f64,
    /// The ends of the last jobs of each lane.
    ends: Vec<f64>,
    /// It has been on several jobs at a time.
    is_mixed: bool,
}

impl Track {
    /// A job is over that was handed over at `start`.
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
        // Jobs are told of in the order of their ends, but times since 1970 are no more exact than that.
        let end = end.max(self.ends[0]);
        let begun = start.max(self.ends[0]);
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
    fn jobs_that_overtake_each_other_have_lanes() {
        let mut track = Track::default();
        track.add(1.0, 2.0);
        let spans = [(0.0, 4.0), (1.5, 3.0), (4.0, 1.0)].map(|(start, s)| track.add(start, s));
        assert_eq!(spans.map(|span| (span.begun, span.lane)), [(0.0, 1), (1.5, 2), (4.0, 0)]);
    }
}
