//! The jobs that can run now, in the order of their input. On a server they belong to several parties, which
//! take turns: a party with many jobs holds up none with few. A run without a server has one party.

use std::collections::VecDeque;

use crate::job::Job;
use crate::job::party::party_of;

/// The jobs that can run now.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The line of the party whose turn it is, or of the only one.
    first: PartyLine,
    /// The lines of the other parties, in no order.
    others: Vec<PartyLine>,
    /// The sums of all lines that are not held.
    ready: Amount,
    /// The turn of the line that was served last.
    clock: u64,
}

/// The jobs of a party.
#[derive(Debug, Default)]
struct PartyLine {
    party: u64,
    jobs: VecDeque<Job>,
    amount: Amount,
    /// The line with the lowest turn is served next. A line moves on by a turn with each of its jobs.
    turn: u64,
    /// No job of the line is handed out.
    is_held: bool,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    /// Bundles and single jobs.
    entries: usize,
    /// How many jobs the entries have besides their first ones.
    bundled: usize,
    bytes: usize,
}

impl Amount {
    fn of(job: &Job) -> Self {
        Self { entries: 1, bundled: job.count() - 1, bytes: job.size() }
    }

    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bundled += other.bundled;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.entries -= other.entries;
        self.bundled -= other.bundled;
        self.bytes -= other.bytes;
    }
}

impl PartyLine {
    fn is_ready(&self) -> bool {
        !self.is_held && !self.jobs.is_empty()
    }
}

impl Turns {
    /// How many entries can be handed out.
    pub(super) fn len(&self) -> usize {
        self.ready.entries
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.entries == 0
    }

    /// How many jobs can be handed out. Each job of a bundle counts.
    pub(super) fn jobs(&self) -> usize {
        self.ready.entries + self.ready.bundled
    }

    /// The bytes of the jobs that can be handed out.
    pub(super) fn bytes(&self) -> usize {
        self.ready.bytes
    }

    /// Appends all jobs of a batch.
    pub(super) fn append(&mut self, batch: &mut Vec<Job>) {
        for job in batch.drain(..) {
            let amount = Amount::of(&job);
            let line = self.line(party_of(job.seq));
            line.jobs.push_back(job);
            line.amount.add(amount);
            if !line.is_held {
                self.ready.add(amount);
            }
        }
    }

    /// Puts a job at the head of the line of its party.
    pub(super) fn prepend(&mut self, job: Job) {
        let amount = Amount::of(&job);
        let line = self.line(party_of(job.seq));
        line.jobs.push_front(job);
        line.amount.add(amount);
        if !line.is_held {
            self.ready.add(amount);
        }
    }

    /// The line of a party, which may be new.
    fn line(&mut self, party: u64) -> &mut PartyLine {
        if self.first.party == party {
            return &mut self.first;
        }
        if self.first.jobs.is_empty() && self.others.is_empty() && !self.first.is_held {
            self.first = PartyLine { party, turn: self.clock, ..PartyLine::default() };
            return &mut self.first;
        }
        let at = self.others.iter().position(|line| line.party == party).unwrap_or_else(|| {
            self.others.push(PartyLine { party, ..PartyLine::default() });
            self.others.len() - 1
        });
        let line = &mut self.others[at];
        if line.jobs.is_empty() {
            // A line saves up no turns while it is empty.
            line.turn = line.turn.max(self.clock);
        }
        line
    }

    /// Moves up to `count` jobs of the party whose turn it is to `into`, about `max_bytes` of them. Returns
    /// how many jobs were moved.
    pub(super) fn take(
        &mut self,
        count: usize,
        max_bytes: usize,
        into: &mut VecDeque<Job>,
    ) -> usize {
        if !self.others.is_empty() {
            self.choose();
        }
        let mut bytes = 0;
        let mut taken = 0;
        while taken < count
            && let Some((job, size)) = self.next(count - taken)
        {
            bytes += size;
            taken += job.count();
            into.push_back(job);
            if bytes >= max_bytes {
                break;
            }
        }
        self.first.turn += taken as u64;
        taken
    }

    /// Makes the line first whose turn it is.
    fn choose(&mut self) {
        let ready = self.others.iter().enumerate().filter(|(_, line)| line.is_ready());
        if let Some((at, next)) = ready.min_by_key(|(_, line)| line.turn)
            && (!self.first.is_ready() || next.turn < self.first.turn)
        {
            std::mem::swap(&mut self.first, &mut self.others[at]);
        }
        self.clock = self.clock.max(self.first.turn);
    }

    /// Takes the first entry of the first line, or the first `most` jobs of a bundle that has more. Also
    /// returns how many bytes that frees: a job that is split off a bundle is smaller than it was in it.
    fn next(&mut self, most: usize) -> Option<(Job, usize)> {
        if self.first.is_held {
            return None;
        }
        let front = self.first.jobs.front_mut()?;
        let before = Amount::of(front);
        let (job, freed) = if front.count() <= most {
            (self.first.jobs.pop_front()?, before)
        } else {
            let job = front.split_off_first(most);
            let after = Amount::of(front);
            let bundled = before.bundled - after.bundled;
            (job, Amount { entries: 0, bundled, bytes: before.bytes - after.bytes })
        };
        self.first.amount.subtract(freed);
        self.ready.subtract(freed);
        Some((job, freed.bytes))
    }

    /// Takes up to `most` of the last jobs of a party. `None`: of the only one.
    pub(super) fn take_last(&mut self, party: Option<u64>, most: usize) -> Vec<Job> {
        let party = party.unwrap_or(self.first.party);
        let line = self.line(party);
        let (mut taken, mut freed, mut left) = (Vec::new(), Amount::default(), most);
        let mut kept = Amount::default();
        while left > 0
            && let Some(mut job) = line.jobs.pop_back()
        {
            freed.add(Amount::of(&job));
            if let Some(stays) = job.count().checked_sub(left).filter(|stays| *stays > 0) {
                let first = job.split_off_first(stays);
                kept = Amount::of(&first);
                line.jobs.push_back(first);
            }
            left -= job.count();
            taken.push(job);
        }
        line.amount.subtract(freed);
        line.amount.add(kept);
        if !line.is_held {
            self.ready.subtract(freed);
            self.ready.add(kept);
        }
        taken.reverse();
        taken
    }

    /// Removes all jobs.
    pub(super) fn remove_all(&mut self) -> impl Iterator<Item = Job> {
        self.ready = Amount::default();
        let lines = std::iter::once(&mut self.first).chain(&mut self.others);
        let mut jobs = Vec::new();
        for line in lines {
            line.amount = Amount::default();
            jobs.extend(std::mem::take(&mut line.jobs));
        }
        jobs.into_iter()
    }

    /// Hands out no job of a party from now on, or does so again. Returns whether that is a change.
    pub(super) fn set_held(&mut self, party: u64, is_held: bool) -> bool {
        let line = self.line(party);
        if std::mem::replace(&mut line.is_held, is_held) == is_held {
            return false;
        }
        let amount = line.amount;
        if is_held {
            self.ready.subtract(amount)
        } else {
            self.ready.add(amount)
        }
        true
    }

    /// A party is gone. Returns its jobs.
    pub(super) fn forget(&mut self, party: u64) -> VecDeque<Job> {
        let line = self.line(party);
        let is_held = std::mem::take(&mut line.is_held);
        let amount = std::mem::take(&mut line.amount);
        let jobs = std::mem::take(&mut line.jobs);
        if !is_held {
            self.ready.subtract(amount);
        }
        self.others.retain(|line| line.party != party);
        jobs
    }

    /// How many jobs of a party wait, and how many bytes they have.
    pub(super) fn waiting(&mut self, party: u64) -> (usize, usize) {
        let Amount { entries, bundled, bytes } = self.line(party).amount;
        (entries + bundled, bytes)
    }

    /// The bytes of the jobs, and the count of bundled ones.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.ready.bytes, self.ready.bundled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::party::with_party;
    use proptest::prelude::*;

    fn job(party: u64, seq: u64) -> Job {
        Job::message(with_party(party, seq), b"a")
    }

    fn turns(parties: &[(u64, u64)]) -> Turns {
        let mut turns = Turns::default();
        for &(party, count) in parties {
            turns.append(&mut (1..=count).map(|seq| job(party, seq)).collect());
        }
        turns
    }

    fn next_party(turns: &mut Turns) -> Option<u64> {
        let mut into = VecDeque::new();
        turns.take(1, usize::MAX, &mut into);
        into.pop_front().map(|job| party_of(job.seq))
    }

    #[test]
    fn a_party_with_many_jobs_holds_up_none_with_few() {
        let mut turns = turns(&[(1, 1000)]);
        assert_eq!((0..5).map_while(|_| next_party(&mut turns)).collect::<Vec<_>>(), [1; 5]);
        turns.append(&mut vec![job(2, 1)]);
        assert_eq!(next_party(&mut turns), Some(2));
        turns.append(&mut vec![job(2, 2), job(2, 3), job(3, 1)]);
        let mut next: Vec<_> = (0..4).map_while(|_| next_party(&mut turns)).collect();
        next.sort_unstable();
        assert_eq!(next, [1, 2, 2, 3]);
        assert_eq!(turns.len(), 994);
    }

    #[test]
    fn a_line_that_is_held_waits_and_others_do_not() {
        let mut turns = turns(&[(1, 2), (2, 2)]);
        assert!(turns.set_held(1, true) && !turns.set_held(1, true));
        turns.append(&mut vec![job(1, 3)]);
        turns.prepend(job(1, 0));
        assert_eq!(turns.len(), 2);
        assert_eq!([next_party(&mut turns), next_party(&mut turns)], [Some(2); 2]);
        assert_eq!(next_party(&mut turns), None);
        assert!(turns.set_held(1, false));
        assert_eq!(turns.len(), 4);
        assert_eq!(next_party(&mut turns), Some(1));
        assert_eq!(turns.forget(1).len(), 3);
        assert!(turns.is_empty() && turns.bytes() == 0);
    }

    proptest! {
        #[test]
        fn each_job_is_handed_out_once_and_all_is_counted(
            steps in prop::collection::vec((0_u8..7, 1_u64..4), 1..60),
        ) {
            let (mut turns, mut into, mut fed) = (Turns::default(), VecDeque::new(), 0_usize);
            let mut gone = 0;
            for (at, (step, party)) in steps.into_iter().enumerate() {
                match step {
                    0..=2 => {
                        turns.append(&mut vec![job(party, at as u64)]);
                        fed += 1;
                    }
                    3 => { turns.take(2, usize::MAX, &mut into); }
                    4 => { turns.set_held(party, at % 2 == 0); }
                    5 => gone += turns.forget(party).len(),
                    _ => gone += turns.take_last(Some(party), 1).len(),
                }
            }
            for party in 1..4 {
                turns.set_held(party, false);
            }
            prop_assert_eq!(turns.len() + into.len() + gone, fed);
            while turns.take(1, usize::MAX, &mut into) > 0 {}
            prop_assert_eq!(into.len() + gone, fed);
            prop_assert_eq!((turns.len(), turns.jobs(), turns.bytes()), (0, 0, 0));
        }
    }
}
