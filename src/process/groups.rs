//! `Groups`: the list of all process groups of a pool, and the actions on all of them at once: pause,
//! resume, kill. It also reaps orphans.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process_group};

use super::exit;
use super::foreground::Foreground;
use super::guardian::Guardian;
use super::guardian::{ListEntry, StartMark};
use super::leader;
use super::memory;
use super::pipe;
use super::stat::Stat;
use super::stat::Survey;
use super::stops;
use super::stops::Stopped;
use super::stops::ToWatch;
use super::wake::Wake;
use crate::util::clock::{Clock, Moment};
use crate::util::lock::lock;

/// When all processes are killed, each has this long to vanish. The run must still report those that
/// did not, before it ends.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// All process groups of a pool.
#[derive(Debug)]
pub(crate) struct Groups {
    members: Mutex<Members>,
    is_killing: AtomicBool,
    /// From this moment on, no process gets time to end by itself.
    terminate_at: Mutex<Moment>,
    /// From this moment on, nobody waits for a process that was killed.
    give_up_at: Mutex<Moment>,
    pub(crate) clock: Clock,
    /// The stdin of processes that read nothing. It is opened once, since opening it takes longer than
    /// the rest of the work for a stream.
    null: OnceLock<File>,
    me: Weak<Self>,
    /// Whether some group has a stop that its slot has not seen.
    has_stops: AtomicBool,
    /// How much memory a group may use, in bytes; 0: any.
    memory_limit: AtomicU64,
    /// Whether some group uses more, and its slot has not seen that.
    has_excess: AtomicBool,
    orphans: Orphans,
    /// The terminal, while it is lent to a job.
    foreground: Mutex<Option<Foreground>>,
}

/// Processes that become children of this process when their parents end.
#[derive(Debug)]
struct Orphans {
    /// All children that are not on the list are orphans, as for PID 1.
    are_all_others: bool,
    /// Descendants of this process become its children when their parents end.
    are_adopted: AtomicBool,
    /// Held for reading while a process is started.
    starting: RwLock<()>,
}

impl Orphans {
    fn new(are_all_others: bool) -> Self {
        Self { are_all_others, are_adopted: AtomicBool::new(false), starting: RwLock::default() }
    }

    /// Whether orphans are to be reaped.
    fn are_reaped(&self) -> bool {
        self.are_all_others || self.are_adopted.load(Ordering::Acquire)
    }

    /// Whether a zombie that is a child of this process, and not on the list, is an orphan.
    fn has(&self, zombie: &Stat) -> bool {
        self.are_all_others || Stat::of(getpid()).is_some_and(|me| zombie.was_not_started_by(&me))
    }
}

/// What a process is to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It runs jobs.
    Worker,
    /// It forks workers. It is not counted, and no limit of a job holds for it.
    Nursery,
}

/// A process group.
#[derive(Debug)]
struct Member {
    standing: Standing,
    /// Wakes the slot that the process was started for.
    wake: Arc<Wake>,
    /// A stop that the slot has not seen.
    stop: Option<Stopped>,
    /// Whether a stop by somebody was noted before.
    is_remarked: bool,
    /// How much memory it uses, if that is too much and its slot has not seen it.
    excess: Option<u64>,
}

impl Member {
    /// Notes a stop. A stop by somebody is noted only once.
    fn note(&mut self, stop: Option<Stopped>) {
        let is_new = |stop: &Stopped| stop.wanted_terminal() || !self.is_remarked;
        if let Some(stop) = stop.filter(is_new) {
            self.is_remarked |= !stop.wanted_terminal();
            self.stop = Some(stop);
        }
    }
}

/// The list of groups. Only a thread that holds its lock may signal or reap.
#[derive(Debug, Default)]
pub(super) struct Members {
    groups: HashMap<Pid, Member>,
    is_paused: bool,
    /// Whether the monitor is to be notified of the next process.
    notifies: bool,
    /// The thread that looks for stops. It is started with the first process that does not end at once.
    monitor: Option<stops::Monitor>,
    /// The number of processes that were started.
    started: u64,
    /// It is started with the first process.
    guardian: Option<Guardian>,
}

impl Members {
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    fn add(&mut self, group: Pid, entry: ListEntry, wake: Arc<Wake>, standing: Standing) {
        let member = Member { standing, wake, stop: None, is_remarked: false, excess: None };
        self.groups.insert(group, member);
        self.started += u64::from(standing == Standing::Worker);
        if std::mem::take(&mut self.notifies)
            && let Some(monitor) = &self.monitor
        {
            monitor.notify();
        }
        if let Some(guardian) = &mut self.guardian {
            guardian.add(group, entry);
        }
    }

    /// Takes a group off the list. This comes before its leader is reaped, since a group whose leader
    /// was reaped must not be signalled.
    pub(super) fn remove(&mut self, group: Pid) {
        self.groups.remove(&group);
        if let Some(guardian) = &mut self.guardian {
            guardian.remove(group);
        }
    }

    /// Notes the groups with a stopped process. `seen`: the processes of the system.
    fn note_stops(&mut self, seen: &[Stat]) {
        for (group, member) in &mut self.groups {
            member.note(stops::stop_of(*group));
        }
        // A leader may wait for a member of its group that is stopped, and not notice the stop.
        for stat in seen.iter().filter(|stat| stat.is_stopped() && Some(stat.pid) != stat.group) {
            if let Some(member) = stat.group.and_then(|group| self.groups.get_mut(&group)) {
                member.note(stops::stop_of_member(stat));
            }
        }
    }

    /// The groups with a stop that their slots have not seen.
    fn stopped(&self) -> impl Iterator<Item = &Member> {
        self.groups.values().filter(|member| member.stop.is_some())
    }

    /// Whether the process is the leader of a group, or the guardian.
    fn has(&self, pid: Pid) -> bool {
        let guardian = self.guardian.as_ref().and_then(Guardian::pid);
        self.groups.contains_key(&pid) || guardian == Some(pid)
    }

    /// The groups that run jobs.
    fn workers(&self) -> impl Iterator<Item = Pid> {
        let workers = self.groups.iter().filter(|(_, member)| member.standing == Standing::Worker);
        workers.map(|(group, _)| *group)
    }

    fn signal(&self, signal: Signal) {
        for &group in self.groups.keys() {
            let _ = kill_process_group(group, signal);
        }
    }
}

/// What is done to all processes.
impl Groups {
    /// `reaps_orphans`: whether to reap processes that become children of this process when their
    /// parents end.
    pub(crate) fn new(reaps_orphans: bool) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            members: Mutex::default(),
            is_killing: AtomicBool::new(false),
            terminate_at: Mutex::new(Moment::NEVER),
            give_up_at: Mutex::new(Moment::NEVER),
            clock: Clock::new(),
            null: OnceLock::new(),
            me: Weak::clone(me),
            has_stops: AtomicBool::new(false),
            memory_limit: AtomicU64::new(0),
            has_excess: AtomicBool::new(false),
            orphans: Orphans::new(reaps_orphans),
            foreground: Mutex::default(),
        })
    }

    /// From now on no group may use more memory than this, in bytes.
    pub(crate) fn limit_memory(&self, bytes: u64) {
        self.memory_limit.store(bytes, Ordering::Relaxed);
    }

    /// Stops all processes and the clock.
    pub(crate) fn pause(&self) {
        let mut members = self.lock();
        self.clock.pause();
        members.is_paused = true;
        members.signal(Signal::STOP);
        if let Some(foreground) = &mut *lock(&self.foreground) {
            foreground.take_back();
        }
    }

    /// Whether all processes are stopped.
    pub(crate) fn is_paused(&self) -> bool {
        self.lock().is_paused
    }

    /// Continues all processes and the clock.
    pub(crate) fn resume(&self) {
        let mut members = self.lock();
        members.is_paused = false;
        // A job that has no terminal when it goes on would be stopped again.
        if let Some(foreground) = &mut *lock(&self.foreground) {
            foreground.lend();
        }
        members.signal(Signal::CONT);
        self.clock.resume();
    }

    /// Lends the terminal to a group until [`Groups::take_terminal_back`]. It is in the foreground if this
    /// process was.
    pub(super) fn lend_terminal(&self, mut foreground: Foreground, group: Pid) {
        foreground.is_for(group);
        let members = self.lock();
        if !members.is_paused {
            foreground.lend();
            // It may have used the terminal already, and was stopped for that.
            let _ = kill_process_group(group, Signal::CONT);
        }
        *lock(&self.foreground) = Some(foreground);
    }

    /// Lends the terminal again to the group that had it, if it is in the foreground now. `is_stopped`: the
    /// group was stopped, and goes on then. Returns whether the group has the terminal.
    pub(super) fn lend_terminal_again(&self, group: Pid, is_stopped: bool) -> bool {
        let members = self.lock();
        let mut foreground = lock(&self.foreground);
        let is_lent = !members.is_paused && foreground.as_mut().is_some_and(Foreground::lend);
        if is_lent && is_stopped {
            let _ = kill_process_group(group, Signal::CONT);
        }
        is_lent
    }

    /// Lets a stopped group go on, with the terminal if this process has it.
    pub(super) fn go_on(&self, group: Pid) {
        let members = self.lock();
        if let Some(foreground) = &mut *lock(&self.foreground) {
            foreground.lend();
        }
        if !members.is_paused {
            let _ = kill_process_group(group, Signal::CONT);
        }
    }

    /// Takes the terminal back from a group that gets it again when it goes on.
    pub(crate) fn take_terminal_aside(&self) {
        if let Some(foreground) = &mut *lock(&self.foreground) {
            foreground.take_back();
        }
    }

    /// Takes the terminal back from the group that has it. The group may be gone.
    pub(crate) fn take_terminal_back(&self) {
        if let Some(mut foreground) = lock(&self.foreground).take() {
            foreground.take_back();
        }
    }

    /// Kills all processes, and every process that is started before [`Groups::stop_killing`].
    pub(crate) fn kill(&self) {
        let members = self.lock();
        let give_up_at = self.clock.now().after(LAST_PATIENCE);
        // Of several orders the first one counts.
        let mut before = lock(&self.give_up_at);
        *before = give_up_at.min(*before);
        drop(before);
        self.is_killing.store(true, Ordering::Release);
        members.signal(Signal::KILL);
    }

    /// Processes that are started from now on are not killed, and may end by themselves.
    pub(crate) fn stop_killing(&self) {
        self.is_killing.store(false, Ordering::Release);
        *lock(&self.give_up_at) = Moment::NEVER;
        *lock(&self.terminate_at) = Moment::NEVER;
    }

    pub(crate) fn is_killing(&self) -> bool {
        self.is_killing.load(Ordering::Acquire)
    }

    /// From this moment on a process that is to end gets TERM at once, and is not left to end by
    /// itself. If an earlier moment is set already, that one counts.
    pub(crate) fn terminate_at(&self, at: Moment) {
        let mut terminate_at = lock(&self.terminate_at);
        *terminate_at = at.min(*terminate_at);
    }

    /// The moment that [`Groups::terminate_at`] has set.
    pub(crate) fn termination(&self) -> Moment {
        *lock(&self.terminate_at)
    }

    /// From this moment on, nobody waits for a process that was killed. Never, unless all are being
    /// killed.
    pub(crate) fn end_of_patience(&self) -> Moment {
        if self.is_killing() { *lock(&self.give_up_at) } else { Moment::NEVER }
    }

    /// The number of processes that were started.
    pub(crate) fn started(&self) -> u64 {
        self.lock().started
    }

    /// Sets the number of processes that were started to 0.
    pub(crate) fn count_anew(&self) {
        self.lock().started = 0;
    }

    /// The number of processes that run.
    pub(crate) fn count(&self) -> usize {
        self.lock().workers().count()
    }

    /// Locks the list of groups. Hold the lock while you signal or reap the leader of a group: when it
    /// has been reaped, its number may be another process's.
    pub(super) fn lock(&self) -> MutexGuard<'_, Members> {
        lock(&self.members)
    }
}

/// The start of a process.
impl Groups {
    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// `/dev/null` as the stdin of a process.
    pub(super) fn null(&self) -> io::Result<Stdio> {
        let null = match self.null.get() {
            Some(null) => null,
            None => {
                let null = match File::open("/dev/null") {
                    // An empty root has none. A pipe that nobody writes to is empty as well.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => pipe::new()?.0.into(),
                    null => null?,
                };
                self.null.get_or_init(|| null)
            }
        };
        null.try_clone().map(Stdio::from)
    }

    /// Announces a process that is about to be started.
    pub(super) fn announce(&self, start: StartMark) -> ListEntry {
        if self.orphans.are_reaped() {
            self.watch_for_stops();
        }
        self.lock().guardian.get_or_insert_with(Guardian::start).announce(start)
    }

    /// Whether there is a thread that looks for stops.
    pub(crate) fn watches_for_stops(&self) -> bool {
        self.lock().monitor.is_some()
    }

    /// Starts the thread that looks for stops, if there is none yet.
    pub(crate) fn watch_for_stops(&self) {
        self.lock().monitor.get_or_insert_with(|| {
            let me = Weak::clone(&self.me);
            stops::start(move |survey| me.upgrade().map(|groups| groups.look(survey)))
        });
    }

    /// Withdraws a process that was announced and could not be started.
    pub(super) fn withdraw(&self, entry: ListEntry) {
        if let Some(guardian) = &mut self.lock().guardian {
            guardian.withdraw(entry);
        }
    }

    /// Adds a process that was started. If all others are stopped or killed, so is this one.
    pub(super) fn add(&self, group: Pid, entry: ListEntry, wake: Arc<Wake>, standing: Standing) {
        let mut members = self.lock();
        members.add(group, entry, wake, standing);
        if self.is_killing() {
            let _ = kill_process_group(group, Signal::KILL);
        } else if members.is_paused {
            let _ = kill_process_group(group, Signal::STOP);
        }
    }

    /// Hold this lock while you start a process, until it is on the list. Otherwise its zombie may be taken
    /// for an orphan.
    pub(super) fn lock_start(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let lock = || self.orphans.starting.read().unwrap_or_else(PoisonError::into_inner);
        self.orphans.are_reaped().then(lock)
    }

    /// From now on the descendants of this process become its children when their parents end, and are reaped.
    ///
    /// # Errors
    /// The system can't do that.
    pub(crate) fn adopt_orphans(&self) -> io::Result<()> {
        leader::adopt_orphans()?;
        self.orphans.are_adopted.store(true, Ordering::Release);
        Ok(())
    }
}

/// The search for stops and orphans, by the thread of [`stops`].
impl Groups {
    /// A stop that was found in a group since the last call.
    pub(super) fn take_stop(&self, group: Pid) -> Option<Stopped> {
        if !self.has_stops.load(Ordering::Acquire) {
            return None;
        }
        self.lock().groups.get_mut(&group)?.stop.take()
    }

    /// How much memory a group uses, if a look since the last call has found that this is too much.
    pub(super) fn take_excess(&self, group: Pid) -> Option<u64> {
        if !self.has_excess.load(Ordering::Acquire) {
            return None;
        }
        self.lock().groups.get_mut(&group)?.excess.take()
    }

    /// Looks for stopped processes and for groups with too much memory, wakes the slots of those that it
    /// finds, and reaps orphans.
    fn look(&self, survey: &mut Survey) -> ToWatch {
        let limit = self.memory_limit.load(Ordering::Relaxed);
        let has_orphans = self.orphans.are_reaped() && exit::is_any_zombie();
        let wants_all = survey.has_terminal || has_orphans || limit > 0;
        let seen = if wants_all { survey.processes(limit > 0) } else { Vec::new() };
        self.reap_orphans(&seen);
        if limit > 0 {
            self.note_excesses(&seen, limit);
        }
        let mut members = self.lock();
        members.notifies = true;
        if !members.is_paused {
            members.note_stops(&seen);
        }
        self.has_stops.store(members.stopped().next().is_some(), Ordering::Release);
        members.stopped().for_each(|member| member.wake.notify());
        if !members.groups.is_empty() {
            if limit > 0 { ToWatch::Memory } else { ToWatch::Groups }
        } else if self.orphans.are_reaped() {
            ToWatch::Orphans
        } else {
            ToWatch::Nothing
        }
    }

    /// Notes the groups that use too much memory, and wakes their slots.
    fn note_excesses(&self, seen: &[Stat], limit: u64) {
        let ours: HashSet<Pid> = self.lock().workers().collect();
        let found;
        let seen = if seen.is_empty() {
            // It is too soon to look at all processes again.
            found = memory::with_descendants(ours.iter().copied());
            &found
        } else {
            seen
        };
        let over = memory::over_limit(seen, |group| ours.contains(&group), limit);
        let mut members = self.lock();
        for (group, used) in over {
            if let Some(member) = members.groups.get_mut(&group) {
                member.excess = Some(used);
            }
        }
        let excesses = members.groups.values().filter(|member| member.excess.is_some());
        self.has_excess.store(excesses.clone().next().is_some(), Ordering::Release);
        excesses.for_each(|member| member.wake.notify());
    }

    /// Reaps the zombies that no slot reaps.
    fn reap_orphans(&self, seen: &[Stat]) {
        if !self.orphans.are_reaped() {
            return;
        }
        let me = getpid();
        let is_orphan = |stat: &&Stat| stat.is_zombie_of(me) && self.orphans.has(stat);
        let mut zombies = seen.iter().filter(is_orphan).peekable();
        if zombies.peek().is_none() {
            return;
        }
        // While a process is being started, orphans wait for the next look.
        let Ok(_nothing_is_started) = self.orphans.starting.try_write() else { return };
        let members = self.lock();
        zombies.map(|stat| stat.pid).filter(|&pid| !members.has(pid)).for_each(exit::reap);
    }
}
