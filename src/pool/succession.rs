//! Whether calls come one after the other: a task that awaits each of its calls before it makes the next, while
//! no other task makes any. Only then may a call keep its task's thread for the moment that the worker needs.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use crate::util::lock::lock;

/// After this many calls in a row of the same task, its next ones are expected to come one after the other.
const ENOUGH: u64 = 3;

/// After this many calls of such a task, others on its thread have a turn.
const LET_OTHERS: u64 = 8;

/// Who makes calls.
#[derive(Debug, Default)]
pub(crate) struct Succession(Mutex<CallStreak>);

/// The calls that come from the same task.
#[derive(Debug, Default)]
struct CallStreak {
    /// How many calls are open.
    open: usize,
    /// Who made the last call: the address of its waker. Another one may have the same address later, which
    /// does no harm.
    last: usize,
    /// How many calls in a row came from there, each after the end of the one before it.
    count: u64,
}

/// A call that is open, until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenTurn<'a>(&'a Succession);

impl Succession {
    /// A call begins. Now and then, others on its thread have their turn first.
    pub(crate) async fn begin(&self) -> OpenTurn<'_> {
        let begun = poll_fn(|context| Poll::Ready(lock(&self.0).begin(context.waker())));
        let lets_others = begun.await;
        let turn = OpenTurn(self);
        if lets_others {
            yield_now().await;
        }
        turn
    }
}

/// Lets others on this thread have their turn.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl CallStreak {
    /// Returns whether others are to have their turn.
    fn begin(&mut self, waker: &Waker) -> bool {
        let from = waker.data().addr();
        if self.open == 0 && from == self.last {
            self.count += 1;
        } else {
            self.count = 0;
            self.last = from;
        }
        self.open += 1;
        self.count >= ENOUGH && self.count.is_multiple_of(LET_OTHERS)
    }
}

impl OpenTurn<'_> {
    /// Whether the call is one of many in a row of the same task, and no other is open.
    pub(crate) fn is_one_of_many(&self) -> bool {
        lock(&self.0.0).count >= ENOUGH
    }
}

impl Drop for OpenTurn<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::block_on::block_on;

    /// How many of these calls, each by the task of this number, may keep their threads.
    fn kept(tasks: impl IntoIterator<Item = usize>) -> usize {
        let calls = Succession::default();
        let wakers = [0, 1].map(|task| Waker::from(std::sync::Arc::new(Nobody(task))));
        let call = |task: usize| {
            lock(&calls.0).begin(&wakers[task]);
            OpenTurn(&calls).is_one_of_many()
        };
        tasks.into_iter().filter(|task| call(*task)).count()
    }

    /// A waker whose tasks have addresses of their own.
    #[expect(dead_code, reason = "it takes its place")]
    struct Nobody(usize);

    impl std::task::Wake for Nobody {
        fn wake(self: std::sync::Arc<Self>) {}
    }

    #[test]
    fn only_many_calls_of_the_same_task_are_in_a_row() {
        assert_eq!(kept([0; 4]), 1);
        assert_eq!(kept([0; 20]), 17);
        assert_eq!(kept([0, 1].repeat(20)), 0);
        assert_eq!(kept([0, 0, 0, 0, 0, 1, 1, 1, 1]), 3);
    }

    #[test]
    fn calls_at_the_same_time_are_not_in_a_row() {
        block_on(async {
            let calls = Succession::default();
            for _ in 0..20 {
                let first = calls.begin().await;
                let second = calls.begin().await;
                assert!(!first.is_one_of_many() && !second.is_one_of_many());
            }
            for _ in 0..20 {
                drop(calls.begin().await);
            }
            assert!(calls.begin().await.is_one_of_many());
        });
    }
}
