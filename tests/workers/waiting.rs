//! How the workers for the tests wait.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// No wait lasts longer than this, so that a test that failed leaves nothing behind for long.
pub const FOR_EVER: Duration = Duration::from_secs(300);

/// How long a command waits for something that a test has to do.
const PATIENCE: Duration = Duration::from_secs(25);

pub fn wait_until(mut condition: impl FnMut() -> Outcome<bool>) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > end {
            return Err("waited in vain".into());
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}
