//! The open requests of a worker: sent and not answered, oldest first. Each has its place among all
//! bytes that the worker has been sent.

mod cancelled;
mod several;

use std::collections::VecDeque;

use self::cancelled::Cancelled;
use super::parts::ResultParts;
use crate::job::{Job, PartsConfig, Place, ResultStreak};
use crate::util::clock::Moment;
use crate::util::json::Json;

/// A job at a worker, or a bundle of jobs.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) job: Job,
    /// When the job was handed to the worker.
    pub(crate) start: Moment,
    /// When the job's time began, as far as is known: not before its request was read.
    pub(crate) clock: Moment,
    /// The id of the request. In a bundle it is the id of the first job, and the others follow it.
    id: u64,
    /// How many jobs of a bundle have been answered.
    answered: usize,
    span: RequestSpan,
    /// When it was noted that nobody waits for it any more.
    abandoned: Moment,
}

/// Where a request is among all bytes that the worker has been sent.
#[derive(Debug, Default)]
pub(super) struct RequestSpan {
    /// Where the request of the first job that is left begins.
    pub(super) begins_at: u64,
    /// Where the last request ends.
    pub(super) ends_at: u64,
    /// Where the request of each job of a bundle of JSON ends. Other jobs have none: a flight is moved
    /// several times for each job, so it must be small.
    pub(super) ends: Option<Box<RequestEnds>>,
}

/// Where requests end among all bytes that the worker has been sent.
#[derive(Debug)]
pub(super) struct RequestEnds(pub(super) VecDeque<u64>);

impl Flight {
    /// How many of its jobs have not been answered.
    pub(super) fn pending(&self) -> usize {
        self.job.count() - self.answered
    }

    /// Whether this is a bundle of jobs that are answered one at a time.
    fn is_many(&self) -> bool {
        self.job.count() > 1 && self.job.lines().is_none()
    }

    /// The number of the next job to be answered.
    fn next_seq(&self) -> u64 {
        self.job.seq + self.answered as u64
    }

    /// The place in the input of the next job to be answered.
    fn next_place(&self) -> Place {
        let place = self.job.place;
        Place { line: place.line + self.answered as u64, ..place }
    }

    /// The request id of the next job to be answered.
    pub(super) fn next_id(&self) -> u64 {
        self.id + self.answered as u64
    }

    /// A copy of the next job to be answered in a bundle of JSON.
    fn next(&self) -> Self {
        Self {
            job: self.job.nth(self.answered),
            start: self.start,
            clock: self.clock,
            id: self.next_id(),
            answered: 0,
            span: RequestSpan::default(),
            abandoned: Moment::NEVER,
        }
    }

    /// Calls `look` with the next job to be answered, alone.
    pub(super) fn look_at_next<T>(&self, look: impl FnOnce(&Job) -> T) -> T {
        match self.job.count() {
            1 => look(&self.job),
            _ => look(&self.job.one(self.answered)),
        }
    }

    /// Where the request of the next job to be answered begins.
    fn next_begins_at(&self) -> u64 {
        self.nth_begins_at(self.answered)
    }

    /// Where the request of job `nth` of the bundle begins. Jobs count from 0.
    fn nth_begins_at(&self, nth: usize) -> u64 {
        match nth {
            0 => self.span.begins_at,
            nth => self.nth_ends_at(nth - 1),
        }
    }

    /// Where the request of the last job begins.
    fn last_begins_at(&self) -> u64 {
        let Some(lines) = self.job.lines() else {
            return self.nth_begins_at(self.job.count() - 1);
        };
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        let begins_at = memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1);
        self.span.begins_at + begins_at as u64
    }

    /// How many of its lines begin before this place among all bytes that the worker has been sent.
    fn lines_before(&self, place: u64) -> usize {
        let lines = self.job.lines().unwrap_or_default();
        let len = place.saturating_sub(self.span.begins_at).min(lines.len() as u64);
        match usize::try_from(len).unwrap_or(usize::MAX).checked_sub(1) {
            Some(len) => 1 + memchr::memchr_iter(b'\n', &lines[..len]).count(),
            None => 0,
        }
    }

    /// Where the request of the next job to be answered ends.
    fn next_ends_at(&self) -> u64 {
        self.nth_ends_at(self.answered)
    }

    /// Where the request of job `nth` of the bundle ends. Jobs count from 0.
    fn nth_ends_at(&self, nth: usize) -> u64 {
        if self.job.lines().is_some() {
            return self.span.begins_at + self.job.offset(nth + 1) as u64;
        }
        let end = self.span.ends.as_ref().and_then(|ends| ends.0.get(nth).copied());
        end.unwrap_or(self.span.ends_at)
    }

    /// These results of its next jobs.
    pub(super) fn results<'a>(&'a self, values: &'a [Json<'a>]) -> ResultStreak<'a> {
        ResultStreak::new(&self.job, self.answered, values)
    }

    /// Removes the answered jobs from a bundle.
    fn drop_answered(&mut self) {
        if self.answered > 0 {
            self.span.begins_at = self.next_begins_at();
            self.id = self.next_id();
            if let Some(ends) = &mut self.span.ends {
                ends.0.drain(..self.answered.min(ends.0.len()));
            }
            drop(self.job.split_off_first(self.answered));
            self.answered = 0;
        }
    }

    /// Removes the first job from a bundle. None of its jobs may have been answered.
    fn take_first(&mut self) -> Self {
        let ends_at = self.next_ends_at();
        let span = RequestSpan { begins_at: self.span.begins_at, ends_at, ends: None };
        let job = self.job.split_off_first(1);
        let first = Self {
            job,
            start: self.start,
            clock: self.clock,
            id: self.id,
            answered: 0,
            span,
            abandoned: Moment::NEVER,
        };
        self.span.begins_at = ends_at;
        if let Some(ends) = &mut self.span.ends {
            ends.0.pop_front();
        }
        self.id += 1;
        first
    }

    /// The jobs that have not been answered.
    fn into_job(mut self) -> Job {
        if self.answered > 0 {
            drop(self.job.split_off_first(self.answered));
        }
        self.job
    }
}

/// Which request a reply answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The next job of the bundle that is the oldest request.
    NextOfBundle,
    /// The job at this place among the flights.
    Flight(usize),
    /// None that is open: the request with this id has been answered before.
    Stale(u64),
    /// None: there has been no request with this id.
    Unknown(u64),
    /// None: no request is open.
    Unasked,
}

/// All jobs at a worker, oldest first.
#[derive(Debug)]
pub(crate) struct Flights {
    open: VecDeque<Flight>,
    /// How many jobs are in flight. Each job of a bundle counts.
    jobs: usize,
    /// How many bytes of requests are in flight.
    bytes: usize,
    /// The worker has answered a younger job before an older one.
    is_unordered: bool,
    /// It was noted of some job that nobody waits for it any more.
    has_abandoned: bool,
    /// Where the last request begins of those that have been answered and are not open any more.
    answered_from: u64,
    /// The job of a bundle that [`Flights::show_next`] shows.
    shown: Job,
    /// The jobs that the worker was told to end. It has not answered yet.
    cancelled: Vec<Cancelled>,
    pub(super) parts: ResultParts,
}

impl Flights {
    /// `parts`: what happens to the parts of results.
    pub(super) fn with(parts: PartsConfig) -> Self {
        Self { parts: ResultParts::new(parts), ..Self::new() }
    }

    fn new() -> Self {
        let shown = Job::new(0, "", "", "");
        Self {
            open: VecDeque::new(),
            jobs: 0,
            bytes: 0,
            is_unordered: false,
            has_abandoned: false,
            answered_from: 0,
            shown,
            cancelled: Vec::new(),
            parts: ResultParts::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Flight> {
        self.open.front()
    }

    /// The id of the request of the job that is to be answered next.
    pub(super) fn oldest_id(&self) -> Option<u64> {
        self.open.front().map(Flight::next_id)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        self.open.iter()
    }

    /// How many jobs are in flight.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs
    }

    /// How many bytes of requests are in flight.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the worker has answered a younger job before an older one.
    pub(super) fn is_unordered(&self) -> bool {
        self.is_unordered
    }

    /// Adds a job. Its request has the id `id`; in a bundle, the first request has it.
    pub(super) fn push(&mut self, job: Job, now: Moment, id: u64, span: RequestSpan) {
        self.jobs += job.count();
        self.bytes += job.size();
        let abandoned = Moment::NEVER;
        self.open.push_back(Flight {
            job,
            start: now,
            clock: now,
            id,
            answered: 0,
            span,
            abandoned,
        });
    }

    /// Makes a flight the oldest.
    pub(crate) fn move_to_front(&mut self, index: usize) {
        if let Some(flight) = self.open.remove(index) {
            self.open.push_front(flight);
        }
    }

    // ---- Jobs that nobody waits for any more

    /// How many jobs the worker may be on, from the oldest.
    fn begun(&self) -> usize {
        if self.is_unordered { self.open.len() } else { 1 }
    }

    /// Notes of the jobs that the worker is on that nobody waits for them any more.
    pub(crate) fn note_abandoned(&mut self, now: Moment) {
        let count = self.begun();
        for flight in self.open.iter_mut().take(count) {
            if flight.abandoned == Moment::NEVER && flight.job.is_abandoned() {
                flight.abandoned = now;
                self.has_abandoned = true;
            }
        }
    }

    /// The job that has been abandoned for longest, by its place, of those that the worker is on; and since
    /// when.
    pub(crate) fn longest_abandoned(&self) -> Option<(usize, Moment)> {
        if !self.has_abandoned {
            return None;
        }
        let flights = self.open.iter().take(self.begun()).enumerate();
        let is_abandoned = |flight: &Flight| {
            flight.abandoned != Moment::NEVER && self.cancelled_since(flight).is_none()
        };
        let abandoned = flights.filter(|(_, flight)| is_abandoned(flight));
        abandoned.map(|(index, flight)| (index, flight.abandoned)).min_by_key(|(_, since)| *since)
    }

    /// The worker works on several jobs at a time.
    pub(super) fn become_unordered(&mut self) {
        self.take_apart();
        self.is_unordered = true;
    }

    // ---- Replies

    /// Finds the job that a reply answers; `requests` is how many the worker has been sent. A reply
    /// without an id answers the oldest.
    pub(super) fn find(&mut self, id: Option<u64>, requests: u64) -> Match {
        let Some(front) = self.open.front() else {
            return Self::no_match(id, requests);
        };
        let is_next = id.is_none_or(|id| id == front.next_id());
        if is_next && front.is_many() {
            return Match::NextOfBundle;
        }
        if !is_next {
            self.take_apart();
        }
        let index = match id {
            None => Some(0),
            Some(id) => self.open.iter().position(|flight| flight.id == id),
        };
        index.map_or_else(|| Self::no_match(id, requests), Match::Flight)
    }

    fn no_match(id: Option<u64>, requests: u64) -> Match {
        match id {
            None => Match::Unasked,
            Some(id) if (1..=requests).contains(&id) => Match::Stale(id),
            Some(id) => Match::Unknown(id),
        }
    }

    /// The id of the request that was found.
    pub(super) fn id_of(&self, found: &Match) -> Option<u64> {
        match found {
            Match::NextOfBundle => self.open.front().map(Flight::next_id),
            Match::Flight(index) => self.open.get(*index).map(|flight| flight.id),
            Match::Stale(_) | Match::Unknown(_) | Match::Unasked => None,
        }
    }

    /// Calls `look` with the job whose request was found, alone.
    pub(super) fn look_at<T>(&self, found: &Match, look: impl FnOnce(&Job) -> T) -> Option<T> {
        let index = if let Match::Flight(index) = found { *index } else { 0 };
        self.open.get(index).map(|flight| flight.look_at_next(look))
    }

    /// What happens to the parts of the result of the job whose request was found.
    pub(super) fn parts_config(&self, found: &Match) -> PartsConfig {
        let index = if let Match::Flight(index) = found { *index } else { 0 };
        let leash = self.open.get(index).and_then(|flight| flight.job.leash.as_ref());
        leash.and_then(|leash| leash.parts()).unwrap_or(self.parts.config)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Flight> {
        self.open.get(index)
    }

    /// Takes out a job that has been answered.
    pub(super) fn take_answered(&mut self, index: usize) -> Option<Flight> {
        self.count_answered(index);
        if index == 0 { self.open.pop_front() } else { self.open.remove(index) }
    }

    /// Removes a job that has been answered, without moving it if it is the oldest.
    pub(super) fn forget_answered(&mut self, index: usize) {
        self.count_answered(index);
        if index == 0 {
            self.open.pop_front();
        } else {
            self.open.remove(index);
        }
    }

    fn count_answered(&mut self, index: usize) {
        let Some(flight) = self.open.get(index) else { return };
        self.is_unordered |= index > 0;
        self.jobs -= 1;
        self.bytes -= flight.job.size();
        self.answered_from = flight.span.begins_at;
    }

    /// How many lines of the oldest request have not been answered. `None`: it is no bundle of lines.
    pub(super) fn pending_lines(&self) -> Option<usize> {
        self.open.front().filter(|front| front.job.lines().is_some()).map(Flight::pending)
    }

    /// How many lines of the oldest request have not been answered, but had been read in part by a
    /// worker that had read `read` bytes.
    pub(super) fn pending_lines_begun(&self, read: u64) -> usize {
        let begun = |front: &Flight| front.lines_before(read).saturating_sub(front.answered);
        self.open.front().map_or(0, begun)
    }

    /// The number and the place of the job that is to be answered next.
    pub(super) fn next_job(&self) -> Option<(u64, Place)> {
        self.open.front().map(|front| (front.next_seq(), front.next_place()))
    }

    /// The bundle that is the oldest request, and how many of its jobs have not been answered. `None`: the oldest
    /// request is none, or is a bundle of lines.
    pub(super) fn next_of_bundle(&self) -> Option<(&Flight, usize)> {
        let front = self.open.front().filter(|front| front.is_many())?;
        Some((front, front.pending()))
    }

    /// Shows the next job of the bundle that is the oldest request, with the times at which it was
    /// handed over and at which its time began.
    pub(super) fn show_next(&mut self) -> Option<(&Job, Moment, Moment)> {
        let front = self.open.front()?;
        front.job.show(front.answered, &mut self.shown);
        Some((&self.shown, front.start, front.clock))
    }

    /// A copy of the next job of the bundle that is the oldest request.
    pub(super) fn copy_next(&self) -> Option<Flight> {
        self.open.front().map(Flight::next)
    }

    /// The next `count` jobs of the oldest request have been answered.
    pub(super) fn complete_next(&mut self, count: usize) {
        let Some(front) = self.open.front_mut() else { return };
        front.answered += count;
        self.jobs -= count;
        if front.pending() == 0
            && let Some(flight) = self.open.pop_front()
        {
            self.bytes -= flight.job.size();
            self.answered_from = flight.last_begins_at();
        }
    }

    /// Splits bundles into single jobs: the worker answers out of order. This is done once, since a
    /// search of all flights for each reply takes long. Such a worker gets no more bundles.
    fn take_apart(&mut self) {
        if self.is_unordered || !self.open.iter().any(Flight::is_many) {
            return;
        }
        for mut flight in std::mem::take(&mut self.open) {
            flight.drop_answered();
            while flight.is_many() {
                self.open.push_back(flight.take_first());
            }
            self.open.push_back(flight);
        }
        self.bytes = self.open.iter().map(|flight| flight.job.size()).sum();
    }

    // ---- The jobs of a worker that ends

    /// Takes out the oldest job, even if it is in a bundle.
    pub(super) fn take_oldest(&mut self) -> Option<Flight> {
        let mut flight = self.open.pop_front()?;
        self.jobs -= 1;
        flight.drop_answered();
        if flight.job.count() == 1 {
            return Some(flight);
        }
        let oldest = flight.take_first();
        self.open.push_front(flight);
        Some(oldest)
    }

    /// Takes out all jobs that have not been answered.
    pub(super) fn take_jobs(&mut self) -> VecDeque<Job> {
        self.jobs = 0;
        self.bytes = 0;
        self.open.drain(..).map(Flight::into_job).collect()
    }

    /// Takes out the jobs whose requests the worker has not begun to read. It has read `read` bytes.
    pub(super) fn take_unread(&mut self, read: u64) -> Vec<Job> {
        let begun = self.open.iter().take_while(|flight| flight.span.begins_at < read).count();
        let unread = self.open.split_off(begun);
        let jobs: Vec<Job> = unread.into_iter().map(Flight::into_job).collect();
        self.jobs -= jobs.iter().map(Job::count).sum::<usize>();
        let bytes = jobs.iter().map(Job::size).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        jobs
    }

    // ---- What has been read

    /// Where the request of the oldest job begins and where it ends.
    pub(super) fn oldest_span(&self) -> Option<(u64, u64)> {
        self.open.front().map(|front| (front.next_begins_at(), front.next_ends_at()))
    }

    /// Where the request of the job begins that was answered last.
    pub(super) fn answered_from(&self) -> u64 {
        match self.open.front() {
            Some(front) if front.answered > 0 => front.nth_begins_at(front.answered - 1),
            _ => self.answered_from,
        }
    }

    /// Where the last request ends.
    pub(super) fn end(&self) -> u64 {
        self.open.back().map_or(0, |last| last.span.ends_at)
    }

    /// Starts the time of the oldest job again.
    pub(super) fn restart_oldest(&mut self, now: Moment) {
        if let Some(oldest) = self.open.front_mut() {
            oldest.clock = now;
        }
    }

    /// Starts the time of each younger job again if its request has not been read, or has been read
    /// since the last check. At the last check the worker had read `before` bytes; now it has read
    /// `read` bytes.
    pub(super) fn restart_younger(&mut self, now: Moment, before: u64, read: u64) {
        // Requests are sent one after the other: those that had been read before are in front.
        let younger = self.open.iter_mut().skip(1).rev();
        for flight in younger.take_while(|flight| flight.span.ends_at > before) {
            if flight.span.begins_at >= read || read > before {
                flight.clock = now;
            }
        }
    }
}

#[cfg(test)]
mod tests;
