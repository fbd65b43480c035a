//! The queue without slots: what is counted, kept and handed out.

use super::super::backlog::MAX_JOBS;
use super::*;
use proptest::prelude::*;

const ASK: Ask = Ask {
    warm: true,
    busy: false,
    finished: 0,
    now: Moment::ZERO,
    max: 1,
    max_bytes: usize::MAX,
    portion: 1,
    shares: 0,
    holder: 0,
};

/// A job may fail, or come back, while the run is being ended.
#[test]
fn what_comes_back_after_the_end_is_not_kept() {
    let queue = Queue::new(1, None);
    let mut batch: Vec<Job> = (1..=2).map(|seq| Job::message(seq, b"a")).collect();
    assert_eq!(queue.push(&mut batch, true), Ok(vec![0]));
    let mut jobs = VecDeque::new();
    assert_eq!(queue.take(0, ASK, &mut jobs).0, Taken::Jobs);
    assert_eq!(queue.take(0, ASK, &mut jobs).0, Taken::Jobs);
    let (left, _) = queue.end(false, || (), || ());
    assert_eq!((left.len(), jobs.len()), (0, 2));
    let job = jobs.pop_front().expect("a job");
    let back = queue.put_off(0, job, Moment::NEVER).expect_err("it is over");
    assert_eq!(queue.put_back(0, jobs.into_iter()).len(), 1);
    let ask = Ask { finished: 1, ..ASK };
    assert_eq!(queue.take(0, ask, &mut VecDeque::new()), (Taken::Leave, Moment::NEVER));
    assert!(queue.is_quiet());
    assert_eq!(back.seq, 1);
}

#[test]
fn a_slot_that_steps_aside_has_others_called() {
    let queue = Queue::new(3, None);
    let mut batch = vec![Job::message(1, b"a")];
    assert_eq!(queue.push(&mut batch, true), Ok(vec![0]));
    // It was woken for the job, and has no time for it.
    assert_eq!(queue.set_aside(0), [1]);
    assert!(queue.set_aside(0).is_empty());
}

#[test]
fn jobs_that_wait_to_be_tried_again_leave_room() {
    let queue = Queue::new(1, None);
    let (mut jobs, mut batch) = (VecDeque::new(), Vec::new());
    for seq in 1..=2 * MAX_JOBS as u64 {
        batch.push(Job::message(seq, b"a"));
        queue.push(&mut batch, true).expect("it is open");
        assert_eq!(queue.take(0, ASK, &mut jobs).0, Taken::Jobs);
        let job = jobs.pop_front().expect("a job");
        queue.put_off(0, job, Moment::NEVER).expect("it is open");
    }
    let state = queue.lock();
    assert_eq!(state.backlog.sizes(), (0, 2 * MAX_JOBS, 0));
    assert!(!state.backlog.is_full());
}

proptest! {
    #[test]
    fn what_has_been_taken_is_counted_no_more(
        sizes in prop::collection::vec(1_usize..30, 1..20),
        takes in prop::collection::vec(1_usize..12, 1..60),
    ) {
        let queue = Queue::new(1, None);
        let (mut seq, mut batch) = (1, Vec::new());
        for count in sizes {
            let lines = "abc\n".repeat(count);
            batch.push(Job::of_lines(seq, lines.as_bytes(), count));
            seq += count as u64;
        }
        queue.push(&mut batch, true).expect("it is open");
        let (mut next, mut finished, mut jobs) = (1, 0, VecDeque::new());
        for &max in takes.iter().chain(std::iter::repeat(&1)) {
            let ask = Ask {
                warm: true,
                busy: false,
                finished: std::mem::take(&mut finished),
                now: Moment::NEVER,
                max,
                max_bytes: usize::MAX,
                portion: 1,
    shares: 0,
                holder: 0,
            };
            if queue.take(0, ask, &mut jobs).0 != Taken::Jobs {
                break;
            }
            for job in jobs.drain(..) {
                prop_assert_eq!(job.seq, next);
                next += job.count() as u64;
                finished += job.count();
            }
        }
        let state = queue.lock();
        prop_assert_eq!(next, seq);
        prop_assert_eq!((state.backlog.sizes(), state.running), ((0, 0, 0), 0));
    }
}
