//! The minder with machines that are wakes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

/// A machine that is due after each `pause`, and needs a thread of its own after some rounds.
struct Counted {
    wake: Arc<Wake>,
    rounds: Arc<AtomicUsize>,
    most: usize,
    pause: Duration,
    begin: Instant,
    /// No thread of its own can be started this many times.
    refusals: usize,
    alone: Arc<AtomicUsize>,
}

impl Counted {
    fn new(most: usize, pause: Duration, refusals: usize) -> Self {
        Self {
            wake: Arc::new(Wake::new().expect("a pipe")),
            rounds: Arc::default(),
            most,
            pause,
            begin: Instant::now(),
            refusals,
            alone: Arc::default(),
        }
    }
}

impl Minded for Counted {
    fn join(&self, crowd: &Crowd, member: u64) -> io::Result<()> {
        crowd.add_wake(&self.wake, member)
    }

    fn part(&self, crowd: &Crowd) {
        crowd.remove_wake(&self.wake);
    }

    fn now(&self) -> Moment {
        Moment::ZERO.after(self.begin.elapsed())
    }

    fn round(&mut self, events: MindedEvents) -> Option<Moment> {
        if events.is_woken {
            self.wake.clear();
        }
        let rounds = self.rounds.fetch_add(1, Ordering::AcqRel) + 1;
        (rounds < self.most).then(|| self.now().after(self.pause))
    }

    fn go_alone(mut self: Box<Self>) -> Result<(), Box<dyn Minded>> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(self);
        }
        self.alone.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

fn wait_for(count: &AtomicUsize, least: usize) {
    let begin = Instant::now();
    while count.load(Ordering::Acquire) < least {
        assert!(begin.elapsed() < Duration::from_secs(60), "fewer than {least}");
        thread::yield_now();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_machine_is_served_when_it_is_woken_or_due_until_it_goes() {
    let minder = Arc::new(Minder::default());
    let never = Duration::from_secs(3600);
    let (woken, due) = (Counted::new(3, never, 2), Counted::new(5, Duration::from_millis(1), 0));
    let (wake, rounds) = (Arc::clone(&woken.wake), Arc::clone(&woken.rounds));
    let alone = [Arc::clone(&woken.alone), Arc::clone(&due.alone)];
    let all = Arc::clone(&due.rounds);
    assert!(minder.take(Box::new(woken)).is_ok() && minder.take(Box::new(due)).is_ok());
    wait_for(&alone[1], 1);
    assert_eq!(all.load(Ordering::Acquire), 5);
    // The first round is at its arrival.
    wait_for(&rounds, 1);
    for round in 2..=3 {
        wake.notify();
        wait_for(&rounds, round);
    }
    // It is tried again until it has a thread.
    wait_for(&alone[0], 1);
    let begin = Instant::now();
    while lock(&minder.arrivals).has_thread {
        assert!(begin.elapsed() < Duration::from_secs(60), "the thread does not end");
        thread::yield_now();
    }
    // It starts another thread for the next one.
    let next = Counted::new(1, never, 0);
    let alone = Arc::clone(&next.alone);
    assert!(minder.take(Box::new(next)).is_ok());
    wait_for(&alone, 1);
}
