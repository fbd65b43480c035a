//! How long jobs took, in bins: for the summary of a run, and for a timeout that is a multiple of the
//! median.

/// The number of bins for each doubling of a duration. With it, a quantile is exact to 2 %.
const PARTS: usize = 32;

/// Many durations, in seconds.
#[derive(Clone, Debug)]
pub struct Durations {
    counts: Vec<u64>,
    count: u64,
    longest: f64,
    sum: f64,
}

impl Default for Durations {
    fn default() -> Self {
        Self::new()
    }
}

impl Durations {
    /// No durations.
    pub fn new() -> Self {
        Self { counts: vec![0; 64 * PARTS], count: 0, longest: 0.0, sum: 0.0 }
    }

    /// Adds a duration, in seconds.
    pub fn add(&mut self, seconds: f64) {
        let nanos = (seconds * 1e9).max(1.0);
        let place = (nanos.log2() * PARTS as f64) as usize;
        let last = self.counts.len() - 1;
        self.counts[place.min(last)] += 1;
        self.count += 1;
        self.longest = self.longest.max(seconds);
        self.sum += seconds;
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in seconds.
    pub fn longest(&self) -> f64 {
        self.longest
    }

    /// The sum, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The bins: from and to, in seconds, and the number of durations between them. Each doubling has
    /// `per_doubling` bins, a divisor of 32. Empty bins at the ends are left out.
    pub fn bins(&self, per_doubling: usize) -> Vec<(f64, f64, u64)> {
        let width = (PARTS / per_doubling.clamp(1, PARTS)).max(1);
        let counts: Vec<u64> = self.counts.chunks(width).map(|some| some.iter().sum()).collect();
        let Some(first) = counts.iter().position(|&count| count > 0) else { return Vec::new() };
        let last = counts.iter().rposition(|&count| count > 0).unwrap_or(first);
        let edge = |bin: usize| ((bin * width) as f64 / PARTS as f64).exp2() / 1e9;
        (first..=last).map(|bin| (edge(bin), edge(bin + 1), counts[bin])).collect()
    }

    /// The quantile of a share from 0 to 1, in seconds. `None`: there are no durations.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let mut left = (self.count as f64 * share).ceil().max(1.0) as u64;
        let place = self.counts.iter().position(|&count| {
            let is_here = left <= count;
            left = left.saturating_sub(count);
            is_here
        });
        let middle = (place? as f64 + 0.5) / PARTS as f64;
        Some((middle.exp2() / 1e9).min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut durations = Durations::new();
        assert_eq!(durations.quantile(0.5), None);
        for n in 1..=1000 {
            durations.add(f64::from(n) / 1000.0);
        }
        for share in [0.01, 0.5, 0.95, 1.0] {
            let quantile = durations.quantile(share).expect("there are some");
            assert!((quantile / share - 1.0).abs() < 0.03, "{share}: {quantile}");
        }
        assert!((durations.longest() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn bins_hold_them_all() {
        let mut durations = Durations::new();
        assert!(durations.bins(4).is_empty());
        for n in 1..=1000 {
            durations.add(f64::from(n) / 1000.0);
        }
        let bins = durations.bins(4);
        assert_eq!(bins.iter().map(|&(_, _, count)| count).sum::<u64>(), 1000);
        assert!(bins[0].0 <= 0.001 && bins.last().is_some_and(|&(_, to, _)| to >= 1.0));
        assert!(bins.iter().all(|&(from, to, _)| (to / from - 2_f64.powf(0.25)).abs() < 1e-9));
    }
}
