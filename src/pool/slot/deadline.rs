//! The deadlines of a worker: which one is next, and what the slot must do once it has come.

use std::time::Duration;

use crate::pool::shared::Shared;
use crate::pool::slot::silence::SILENCE;
use crate::util::clock::Moment;
use crate::worker::{Flight, Worker};

/// A worker that has answered before may leave a request unread for at least this long, even if the job
/// may take less time.
const SHORTEST_UNREAD: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The worker has no job, and was idle for long enough or is old: it is retired.
    Retirement,
    /// The time that running jobs had after the end of the run is over.
    EndOfRun,
    /// The worker has not read its first request in time: it has failed to start.
    NotStarted,
    /// The worker has not read the request of its oldest job in time.
    Unread,
    /// The time of the oldest job is over.
    JobTimeout,
    /// The worker has printed nothing for too long.
    Quiet,
    /// The time is over that a job had whose caller is gone.
    Abandoned,
    /// No worker has ever answered, and that is reported.
    Silence,
    /// The results so far may be proven by now: the worker is checked.
    Proof,
}

#[derive(Clone, Copy)]
pub(super) struct Deadlines<'a> {
    shared: &'a Shared,
    worker: &'a Worker,
}

impl<'a> Deadlines<'a> {
    pub(super) fn new(shared: &'a Shared, worker: &'a Worker) -> Self {
        Self { shared, worker }
    }

    /// When something is due next. `spare_due` says when the spare is.
    pub(super) fn next(self, spare_due: impl FnOnce() -> Moment) -> Moment {
        let Self { shared, worker } = self;
        let Some(oldest) = worker.flights.front() else {
            return self.retirement().min(worker.proof_at());
        };
        let mut deadline = shared.stopping.at().min(self.any_job(oldest)).min(worker.proof_at());
        deadline = deadline.min(self.quiet(oldest));
        deadline = deadline.min(self.next_look(oldest)).min(self.reading(oldest));
        deadline = deadline.min(self.abandoned());
        if shared.spares.has_room() {
            deadline = deadline.min(spare_due());
        }
        if shared.start_ups.is_silent() {
            deadline = deadline.min(worker.turn_began.after(SILENCE));
        }
        deadline
    }

    /// The work that is due now.
    pub(super) fn due(self, now: Moment) -> Due {
        let Self { shared, worker } = self;
        let Some(oldest) = worker.flights.front() else {
            return if now >= self.retirement() { Due::Retirement } else { Due::Proof };
        };
        if now >= shared.stopping.at() {
            return Due::EndOfRun;
        }
        if now >= self.abandoned() {
            return Due::Abandoned;
        }
        if now >= self.reading(oldest) {
            return if now < self.starting() { Due::Unread } else { Due::NotStarted };
        }
        if now >= self.job(oldest) {
            return Due::JobTimeout;
        }
        if now >= self.quiet(oldest) {
            return Due::Quiet;
        }
        let is_silent = shared.start_ups.is_silent() && now >= worker.turn_began.after(SILENCE);
        if is_silent {
            return Due::Silence;
        }
        if now >= worker.proof_at() { Due::Proof } else { Due::Nothing }
    }

    /// Whether to check how much the worker has read: something that is due depends on it.
    pub(super) fn needs_look(self, now: Moment) -> bool {
        let Some(oldest) = self.worker.flights.front() else { return false };
        let deadline = self.any_job(oldest).min(self.reading(oldest)).min(self.quiet(oldest));
        now >= deadline.min(self.next_look(oldest)) && !self.worker.is_read()
    }

    /// Which of the jobs is late, by its place among those in flight, if the worker works on several at
    /// a time.
    pub(super) fn late_job(self, now: Moment) -> Option<usize> {
        if !self.worker.is_unordered() {
            return None;
        }
        self.worker.flights.iter().position(|flight| now >= self.job(flight))
    }

    /// When the time is over of a job whose caller is gone.
    fn abandoned(self) -> Moment {
        match self.worker.flights.longest_abandoned() {
            Some((_, since)) => since.after(self.shared.config.calls.cancel_grace),
            None => Moment::NEVER,
        }
    }

    /// When the worker has been silent for too long: since it has read its oldest request, or since it
    /// last printed something.
    fn quiet(self, oldest: &Flight) -> Moment {
        let Some(limit) = self.shared.config.failures.silence else { return Moment::NEVER };
        let flights = &self.worker.flights;
        // A worker that was told to end a job has the grace period for that.
        let is_open = |flight: &&Flight| flights.cancelled_since(flight).is_none();
        let began = if self.worker.is_unordered() {
            flights.iter().filter(is_open).map(|flight| self.worker.clock(flight)).min()
        } else {
            Some(self.worker.clock(oldest)).filter(|_| is_open(&oldest))
        };
        began.map_or(Moment::NEVER, |began| began.max(self.worker.heard()).after(limit))
    }

    /// How long a job may take.
    pub(super) fn timeout_of(self, flight: &Flight) -> Option<Duration> {
        flight.job.timeout.or_else(|| self.shared.estimates.timeout())
    }

    /// When a worker without a job is retired.
    fn retirement(self) -> Moment {
        let config = &self.shared.config;
        let idle = config.recycling.idle_timeout.map(|time| self.worker.turn_began.after(time));
        let age = config.recycling.max_age.map(|age| self.worker.born().after(age));
        idle.into_iter().chain(age).min().unwrap_or(Moment::NEVER)
    }

    /// When the time of a job is over: of the oldest one, or of any if the worker works on several at a
    /// time.
    fn any_job(self, oldest: &Flight) -> Moment {
        let deadline = self.job(oldest);
        if self.worker.is_unordered() {
            let flights = self.worker.flights.iter();
            flights.map(|flight| self.job(flight)).fold(deadline, Moment::min)
        } else {
            deadline
        }
    }

    /// When the time of a job is over. It begins when the job becomes the oldest, or when the worker
    /// gets the job if it works on several at a time. It never begins before the worker has read the
    /// request.
    fn job(self, flight: &Flight) -> Moment {
        if let Some(since) = self.worker.flights.cancelled_since(flight) {
            return since.after(self.shared.config.grace);
        }
        let timeout = self.timeout_of(flight);
        timeout.map_or(Moment::NEVER, |timeout| self.worker.clock(flight).after(timeout))
    }

    /// When to check again how much the worker has read, if the time of a job depends on it.
    fn next_look(self, oldest: &Flight) -> Moment {
        let Self { shared, worker } = self;
        let timeout = if worker.is_unordered() {
            worker.flights.iter().filter_map(|flight| self.timeout_of(flight)).min()
        } else {
            self.timeout_of(oldest)
        };
        let timeout = timeout.into_iter().chain(shared.config.failures.silence).min();
        match timeout {
            Some(timeout) => worker.next_look(timeout),
            // The timeout follows from the median, which is not known yet.
            None if shared.config.failures.timeout.is_some() => worker.next_look(SILENCE),
            None => Moment::NEVER,
        }
    }

    /// By when the worker must have read a part of its oldest request.
    fn reading(self, oldest: &Flight) -> Moment {
        let worker = self.worker;
        let is_late = worker.is_unread() && (worker.has_started() || worker.is_flooding());
        let timeout = self.timeout_of(oldest).filter(|_| is_late);
        let deadline = timeout
            .map_or(Moment::NEVER, |timeout| worker.turn_began.after(timeout.max(SHORTEST_UNREAD)));
        deadline.min(self.starting())
    }

    /// By when the worker must have started.
    fn starting(self) -> Moment {
        let worker = self.worker;
        match self.shared.config.failures.start_timeout {
            // A spare may have waited for longer than that, and must have a moment to read.
            Some(limit) if !worker.has_started() => {
                let moment = worker.turn_began.after(limit.min(SHORTEST_UNREAD));
                worker.born().after(limit).max(moment)
            }
            _ => Moment::NEVER,
        }
    }
}
