//! The conversation with one coordinator: reads its messages, carries them out, and notices when it is gone, sends
//! something that is no message, or stops in the middle of a message.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::outbox::LinkOutbox;
use super::work::Work;
use crate::link::HELD_UP;
use crate::link::from_agent::FromAgent;
use crate::link::incoming::Incoming;
use crate::link::to_agent::{Setup, ToAgent};

/// A stream that says nothing is looked at this often, at least.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// While no more messages can be taken, this is checked this often.
const FULL_TICK: Duration = Duration::from_millis(10);

/// How patient an agent is with its coordinator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// The task comes within this time.
    pub(crate) silence: Duration,
    /// After that, the coordinator says how long it may be silent: up to this long.
    pub(crate) longest_silence: Duration,
    /// The rest of a message that has begun comes within this time. `None`: there is no limit.
    pub(crate) message: Option<Duration>,
    /// No message has more bytes.
    pub(crate) longest: usize,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// Both sides have sent all their messages.
    Finished,
    /// The coordinator is gone, or has sent something that is no message.
    Abandoned,
}

/// Begins the work for a task.
pub(crate) type Begin<'a> =
    &'a mut dyn FnMut(&Setup<'_>) -> Result<Box<dyn Work>, Box<dyn std::error::Error>>;

/// A conversation with a coordinator.
pub(crate) struct Session {
    input: OwnedFd,
    pub(crate) outbox: Arc<LinkOutbox>,
    incoming: Incoming,
    limits: SessionLimits,
    /// When anything came from the coordinator.
    heard: Instant,
    /// A silence was forgiven since anything came.
    has_forgiven: bool,
    /// The coordinator is gone if nothing comes for this long.
    timeout: Duration,
    /// Since when a part of a message is here.
    partial: Option<Instant>,
    work: Option<Box<dyn Work>>,
    is_paused: bool,
    /// The last message (`Bye`) is sent, or will be.
    pub(crate) is_ending: Arc<AtomicBool>,
}

impl Session {
    pub(crate) fn new(input: OwnedFd, outbox: Arc<LinkOutbox>, limits: SessionLimits) -> Self {
        Self {
            input,
            outbox,
            incoming: Incoming::with_longest(limits.longest),
            limits,
            heard: Instant::now(),
            has_forgiven: false,
            timeout: limits.silence,
            partial: None,
            work: None,
            is_paused: false,
            is_ending: Arc::default(),
        }
    }

    /// Bytes that have come already.
    pub(crate) fn with(mut self, bytes: &[u8]) -> Self {
        self.incoming.end().extend_from_slice(bytes);
        self
    }

    /// Talks with the coordinator until all is said, or it is gone. Then its jobs are over.
    pub(crate) fn run(&mut self, begin: Begin<'_>) -> SessionEnd {
        let mut is_alive = self.obey(begin);
        let is_over = loop {
            if self.outbox.is_over() {
                break self.is_ending.load(Ordering::Acquire);
            }
            if !is_alive {
                break false;
            }
            is_alive = self.listen() && self.obey(begin);
        };
        if let Some(work) = &mut self.work {
            work.end();
        }
        if is_over { SessionEnd::Finished } else { SessionEnd::Abandoned }
    }

    /// Waits until something comes, and reads it. Returns whether the coordinator is there.
    fn listen(&mut self) -> bool {
        if self.work.as_ref().is_some_and(|work| work.is_full()) {
            self.outbox.end.wait(Some(FULL_TICK));
            self.heard = Instant::now();
            self.partial = self.partial.map(|_| self.heard);
            return true;
        }
        let (begun, patience) = (Instant::now(), self.patience());
        let is_readable = self.outbox.end.wait_or_read(self.input.as_fd(), Some(patience));
        let late = begun.elapsed().saturating_sub(patience);
        if late >= HELD_UP && !self.has_forgiven {
            // This machine has slept, and perhaps so did the coordinator: its silence begins anew, once.
            self.has_forgiven = true;
            self.heard = Instant::now();
        }
        if let Some(work) = &mut self.work
            && work.due().is_some_and(|due| due <= Instant::now())
        {
            work.look_at_clock();
        }
        if !is_readable {
            return self.outbox.is_over() || !self.is_late();
        }
        let into = self.incoming.end();
        into.reserve(64 << 10);
        match rustix::io::read(&self.input, rustix::buffer::spare_capacity(into)) {
            Ok(0) => false,
            Ok(_) => {
                self.heard = Instant::now();
                self.has_forgiven = false;
                true
            }
            Err(error) => error == rustix::io::Errno::INTR || error == rustix::io::Errno::AGAIN,
        }
    }

    /// How long to wait for the next message.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let due = self.work.as_ref().and_then(|work| work.due());
        let due = due.map(|due| due.saturating_duration_since(now));
        if self.is_paused {
            return due.unwrap_or(LONGEST_WAIT);
        }
        let silence = self.timeout.saturating_sub(self.heard.elapsed());
        let message = self.partial.zip(self.limits.message);
        let message = message.map(|(since, limit)| limit.saturating_sub(since.elapsed()));
        [due, message].into_iter().flatten().fold(silence, Duration::min)
    }

    /// Whether the coordinator has been silent for too long.
    fn is_late(&self) -> bool {
        let message = self.partial.zip(self.limits.message);
        let is_stuck = message.is_some_and(|(since, limit)| since.elapsed() >= limit);
        !self.is_paused && (is_stuck || self.heard.elapsed() >= self.timeout)
    }

    /// Obeys all messages that have come. Returns whether each had a meaning.
    fn obey(&mut self, begin: Begin<'_>) -> bool {
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut has_read = false;
        let read = incoming.each(|kind, message| {
            has_read = true;
            self.do_one(ToAgent::read(kind, message)?, begin)
        });
        let has_part = !incoming.is_empty();
        self.partial =
            has_part.then(|| self.partial.filter(|_| !has_read).unwrap_or_else(Instant::now));
        self.incoming = incoming;
        if let Some(work) = &mut self.work {
            work.feed();
        }
        read.is_ok()
    }

    /// Obeys a message. `None`: it has no meaning now.
    fn do_one(&mut self, message: ToAgent<'_>, begin: Begin<'_>) -> Option<()> {
        match message {
            ToAgent::Setup(setup) if self.work.is_none() => self.set_up(&setup, begin),
            ToAgent::Ping(stamp) => self.outbox.say(&FromAgent::Pong(Some(stamp))),
            // Its task was refused.
            _ if self.is_ending.load(Ordering::Acquire) && self.work.is_none() => {}
            message => return self.pass_on(message),
        }
        Some(())
    }

    /// Obeys a message about the work. `None`: the message has no meaning now.
    fn pass_on(&mut self, message: ToAgent<'_>) -> Option<()> {
        let work = self.work.as_mut()?;
        if let ToAgent::Job(job) = message {
            return work.take(job);
        }
        // The order counts: what is recalled may have come just now.
        work.feed();
        match message {
            ToAgent::Cancel(seq) => work.cancel(seq),
            ToAgent::Header(names) => work.name_args(names),
            ToAgent::Recall(most) => work.recall(usize::try_from(most).unwrap_or(usize::MAX)),
            ToAgent::Stop { after, means } => work.stop(after, means),
            ToAgent::Finish => work.finish(),
            ToAgent::Pause => {
                work.pause();
                self.is_paused = true;
            }
            ToAgent::Resume => {
                work.resume();
                self.is_paused = false;
                self.heard = Instant::now();
            }
            ToAgent::Job(_)
            | ToAgent::Setup(_)
            | ToAgent::Ping(_)
            | ToAgent::AskStatus
            | ToAgent::Drain => return None,
        }
        Some(())
    }

    /// Begins the work.
    fn set_up(&mut self, setup: &Setup<'_>, begin: Begin<'_>) {
        self.timeout = setup.timeout.min(self.limits.longest_silence);
        self.outbox.set_pause(crate::pool::pause_of_heart(self.timeout));
        match begin(setup) {
            Ok(work) => self.work = Some(work),
            Err(error) => {
                self.is_ending.store(true, Ordering::Release);
                self.outbox.say_last(&FromAgent::Refused(&error.to_string()));
            }
        }
    }
}
