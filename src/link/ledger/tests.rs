//! The ledger under all that an agent may say, and a link that is cut after any byte.

use proptest::prelude::*;

use super::*;
use crate::job::{Failure, Kind};
use crate::link::from_agent::{FromAgent, RemoteOutcome, RemoteValue};
use crate::link::incoming::Incoming;
use crate::util::json::Json;

fn lines(seq: u64, count: usize) -> Job {
    let text: String = (0..count).map(|nth| format!("{}\n", seq + nth as u64)).collect();
    Job::of_lines(seq, text.as_bytes(), count)
}

fn numbers(jobs: &[Job]) -> Vec<u64> {
    let mut all: Vec<u64> =
        jobs.iter().flat_map(|job| job.seq..job.seq + job.count() as u64).collect();
    all.sort_unstable();
    all
}

fn scratch() -> Job {
    Job::new(0, "", "", "")
}

#[test]
fn a_slot_was_on_the_first_job_that_it_has_not_finished() {
    let mut ledger = JobLedger::default();
    ledger.send(lines(1, 6));
    ledger.send(lines(7, 1));
    ledger.send(lines(8, 1));
    assert_eq!((ledger.unfinished(), ledger.waiting()), (8, 8));
    ledger.begin(1, 1, 3, Moment::ZERO);
    ledger.begin(2, 4, 2, Moment::ZERO);
    ledger.begin(2, 7, 1, Moment::ZERO);
    assert_eq!(ledger.waiting(), 2);
    assert!(matches!(ledger.finish(1, &mut scratch()), Some(Finished::OfBundle)));
    assert!(ledger.finish(1, &mut scratch()).is_none());
    assert!(ledger.finish_range(4, 2));
    assert!(!ledger.finish_range(4, 2));
    let lost = ledger.lose(1);
    assert_eq!(numbers(&lost.ran), [2, 7]);
    assert_eq!(numbers(&lost.waited), [3, 6, 8]);
    assert_eq!((ledger.unfinished(), ledger.waiting(), ledger.bytes()), (0, 0, 0));
}

#[test]
fn what_was_not_begun_comes_back_as_it_went() {
    let mut ledger = JobLedger::default();
    let mut bundle = lines(1, 70);
    bundle.losses = 2;
    ledger.send(bundle);
    let back = ledger.take_back(66, 10);
    assert_eq!(numbers(&back), [66, 67, 68, 69, 70]);
    assert_eq!(back[0].as_message(), Some(&b"66"[..]));
    assert_eq!(back[0].losses, 2);
    assert_eq!(ledger.unfinished(), 65);
    assert_eq!(numbers(&ledger.lose(1).waited), (1..=65).collect::<Vec<_>>());
}

#[test]
fn a_job_that_was_put_back_and_taken_again_is_begun_once() {
    let mut ledger = JobLedger::default();
    ledger.send(lines(1, 1));
    ledger.begin(1, 1, 1, Moment::ZERO);
    ledger.begin(2, 1, 1, Moment::ZERO);
    assert_eq!(ledger.waiting(), 0);
    assert_eq!(numbers(&ledger.lose(1).ran), [1]);
}

#[test]
fn each_of_several_jobs_at_a_time_may_have_run() {
    let mut ledger = JobLedger::default();
    ledger.send(lines(1, 6));
    ledger.begin(1, 1, 4, Moment::ZERO);
    ledger.begin(2, 5, 1, Moment::ZERO);
    assert!(ledger.finish_range(2, 1));
    let mut running = Vec::new();
    ledger.each_running(2, |slot, job, _| running.push((slot, job.seq)));
    running.sort_unstable();
    assert_eq!(running, [(1, 1), (1, 3), (2, 5)]);
    let lost = ledger.lose(2);
    assert_eq!((numbers(&lost.ran), numbers(&lost.waited)), (vec![1, 3, 5], vec![4, 6]));
}

#[test]
fn a_suspect_is_alone_in_its_process() {
    let mut ledger = JobLedger::default();
    for seq in 1..=5 {
        let mut job = Job::message(seq, b"a");
        job.is_suspect = seq % 3 != 0;
        ledger.send(job);
    }
    ledger.begin(1, 1, 2, Moment::ZERO);
    ledger.begin(2, 3, 3, Moment::ZERO);
    assert_eq!(numbers(&ledger.lose(usize::MAX).ran), [1, 3]);
}

#[test]
fn what_is_over_is_forgotten_behind_a_slow_job() {
    let mut ledger = JobLedger::default();
    for seq in 1..=1000 {
        ledger.send(lines(seq, 1));
        ledger.begin(1, seq, 1, Moment::ZERO);
        if seq > 1 {
            assert!(ledger.finish_range(seq, 1));
        }
    }
    assert!(ledger.taken[&1].len() <= 2 * MANY_TAKINGS);
    assert_eq!(numbers(&ledger.lose(2).ran), [1]);
}

/// What an agent may say of 12 jobs: they are begun, finished, returned.
fn history() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    prop::collection::vec((0_u8..5, 0_u64..14, 0_u64..5), 0..30)
}

proptest! {
    /// Whatever an agent says, and wherever the link is cut: each job has one result or comes back, once.
    #[test]
    fn each_job_leaves_exactly_once(history in history(), cut in 0_usize..4000, sizes in prop::collection::vec(1_usize..5, 1..6)) {
        let mut stream = Vec::new();
        let failure = Failure::new(Kind::Error, "no");
        for (what, seq, count) in history {
            let done = |outcome| FromAgent::Done(RemoteOutcome { seq, run: None, command: None, outcome, unproven: None });
            match what {
                0 => FromAgent::Begun { slot: count, seq, count }.put(&mut stream),
                1 => done(Ok(RemoteValue::Json(Json::NULL))).put(&mut stream),
                2 => done(Err(failure.clone())).put(&mut stream),
                3 => FromAgent::Texts { seq, count, texts: b"a\n" }.put(&mut stream),
                _ => FromAgent::Returned { seq, count }.put(&mut stream),
            }
        }
        let mut ledger = JobLedger::default();
        let mut next = 1;
        for size in sizes {
            ledger.send(lines(next, size));
            next += size as u64;
        }
        let mut left = Vec::new();
        let mut incoming = Incoming::default();
        incoming.end().extend_from_slice(&stream[..cut.min(stream.len())]);
        let read = incoming.each(|kind, message| {
            match FromAgent::read(kind, message)? {
                FromAgent::Begun { slot, seq, count } => ledger.begin(slot, seq, count, Moment::ZERO),
                FromAgent::Done(done) => {
                    if ledger.finish(done.seq, &mut scratch()).is_some() {
                        left.push(done.seq);
                    }
                }
                FromAgent::Texts { seq, count, .. } => {
                    let before = ledger.unfinished();
                    ledger.finish_range(seq, count);
                    left.extend(seq..seq + (before - ledger.unfinished()) as u64);
                }
                FromAgent::Returned { seq, count } => left.extend(numbers(&ledger.take_back(seq, count))),
                _ => return None,
            }
            Some(())
        });
        prop_assert_eq!(read, Ok(()));
        prop_assert!(ledger.waiting() <= ledger.unfinished());
        prop_assert_eq!(left.len() + ledger.unfinished(), next as usize - 1);
        let lost = ledger.lose(1);
        left.extend(numbers(&lost.ran));
        left.extend(numbers(&lost.waited));
        left.sort_unstable();
        prop_assert_eq!(left, (1..next).collect::<Vec<_>>());
    }
}
