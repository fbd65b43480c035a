//! The shared parts about the other machines of a pool: a desk for each, where its slots are called, and
//! through which all threads speak to its agent; how many log in at a time; the copy of procpool for them.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

use crate::config::{Host, Hosts};
use crate::link::boot::Parcel;
use crate::link::outgoing::Outgoing;
use crate::link::to_agent::ToAgent;
use crate::pool::background::STACK;
use crate::pool::shared::minder::{MANY, Minder};
use crate::process::{Groups, PipeCopy, Transfer, Wake};
use crate::util::lock::lock;
use crate::util::names::intern;

/// This many hosts are logged in to at a time. `sshd` refuses some of more than 10.
const MOST_LOGINS: usize = 8;

/// The other machines of a pool.
pub(crate) struct HostDesks {
    pub(crate) settings: Arc<Hosts>,
    pub(crate) desks: Vec<Arc<Desk>>,
    /// The processes that carry the connections. They are not stopped together with those that run jobs.
    pub(crate) launchers: Arc<Groups>,
    /// Slots that were added, and the host of each: the first one, the count, the host.
    added: Mutex<Vec<(usize, usize, usize)>>,
    /// How many slots have numbers.
    numbered: AtomicUsize,
    logins: AtomicUsize,
    copy: OnceLock<Result<Arc<ProgramCopy>, String>>,
    /// Serves those that are quiet, where there are many.
    pub(crate) minder: Option<Arc<Minder>>,
    has_heart: AtomicBool,
    /// How many machines may still run jobs.
    usable: AtomicUsize,
    /// No worker starts on this machine.
    is_local_aside: AtomicBool,
    /// Some job has succeeded on any machine.
    pub(crate) has_succeeded: AtomicBool,
}

/// A copy of this program, for hosts that have none.
#[derive(Debug)]
pub(crate) struct ProgramCopy {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parcel: Parcel,
}

/// Where a host is called, and spoken to.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) host: Host,
    /// Its name, for results.
    pub(crate) name: &'static str,
    calls: Mutex<Calls>,
    voice: Mutex<Option<HostVoice>>,
}

/// The slots of a host that were called, and the thread that serves them.
#[derive(Debug, Default)]
struct Calls {
    /// How the thread is woken; `None`: there is none.
    wake: Option<Arc<Wake>>,
    /// Slots that the thread does not know of yet.
    fresh: Vec<usize>,
    /// All slots that have come and not left.
    present: Vec<usize>,
}

/// The messages to an agent.
#[derive(Debug)]
pub(crate) struct HostVoice {
    outgoing: Outgoing,
    pipe: PipeCopy,
    /// An agent is there that understands messages.
    pub(crate) has_agent: bool,
}

impl HostVoice {
    pub(crate) fn new(pipe: PipeCopy) -> Self {
        Self { outgoing: Outgoing::new(), pipe, has_agent: false }
    }

    /// Where messages are appended.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        self.outgoing.end()
    }

    /// Says as much as can be said now.
    pub(crate) fn flush(&mut self) -> Transfer {
        while !self.outgoing.is_empty() {
            match self.pipe.write(self.outgoing.rest()) {
                Transfer::Moved(count) => self.outgoing.advance(count),
                other => return other,
            }
        }
        Transfer::Moved(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }
}

impl Desk {
    fn new(host: &Host) -> Self {
        Self {
            name: intern(&host.name),
            host: host.clone(),
            calls: Mutex::default(),
            voice: Mutex::new(None),
        }
    }

    /// Whether it is a server on this machine.
    pub(crate) fn is_server(&self) -> bool {
        self.host.line.is_some()
    }

    /// Its name in results and messages. `None`: it is a server on this machine, which they do not name.
    pub(crate) fn label(&self) -> Option<&'static str> {
        (!self.is_server()).then_some(self.name)
    }

    /// What it is, in messages about itself.
    pub(crate) fn title(&self) -> String {
        if self.is_server() {
            format!("the server at '{}'", self.name)
        } else {
            self.name.to_owned()
        }
    }

    /// A message from it, with its name.
    pub(crate) fn named(&self, text: &str) -> String {
        self.label().map_or_else(|| text.to_owned(), |name| format!("{name}: {text}"))
    }

    /// Calls a slot of the host. `enter` is called with its wake. Returns whether a thread is to be
    /// started for the host.
    pub(crate) fn call(
        &self,
        index: usize,
        enter: impl FnOnce(&Arc<Wake>),
    ) -> io::Result<Option<Arc<Wake>>> {
        let mut calls = lock(&self.calls);
        let (wake, is_new) = match &calls.wake {
            Some(wake) => (Arc::clone(wake), false),
            None => (Arc::new(Wake::new()?), true),
        };
        calls.wake = Some(Arc::clone(&wake));
        calls.fresh.push(index);
        calls.present.push(index);
        enter(&wake);
        if is_new {
            return Ok(Some(wake));
        }
        wake.notify();
        Ok(None)
    }

    /// The slots that were called since the last look.
    pub(crate) fn take_calls(&self) -> Vec<usize> {
        std::mem::take(&mut lock(&self.calls).fresh)
    }

    /// All slots that have come: the thread has lost its knowledge of them.
    pub(crate) fn present(&self) -> Vec<usize> {
        let mut calls = lock(&self.calls);
        calls.fresh.clear();
        calls.present.clone()
    }

    /// How many slots have come and not left.
    pub(crate) fn count(&self) -> usize {
        lock(&self.calls).present.len()
    }

    /// The thread ends, unless slots were called meanwhile. `leave` is called with each slot. Returns
    /// whether the thread ends.
    pub(crate) fn leave(&self, leave: impl FnMut(usize)) -> bool {
        let mut calls = lock(&self.calls);
        if !calls.fresh.is_empty() {
            return false;
        }
        calls.wake = None;
        std::mem::take(&mut calls.present).into_iter().for_each(leave);
        true
    }

    /// The thread of the host has ended or never began, and says so for no slot.
    pub(crate) fn abandon(&self, leave: impl FnMut(usize)) {
        let mut calls = lock(&self.calls);
        calls.wake = None;
        calls.fresh.clear();
        std::mem::take(&mut calls.present).into_iter().for_each(leave);
    }

    /// The voice; it holds nobody up for long.
    pub(crate) fn voice(&self) -> MutexGuard<'_, Option<HostVoice>> {
        lock(&self.voice)
    }

    /// Says something, if there is an agent.
    pub(crate) fn say(&self, message: &ToAgent<'_>) {
        if let Some(voice) = &mut *self.voice()
            && voice.has_agent
        {
            message.put(voice.end());
            voice.flush();
        }
    }
}

impl HostDesks {
    pub(crate) fn new(settings: Arc<Hosts>) -> Arc<Self> {
        let named = settings.hosts.iter().map(|host| host.slots.unwrap_or(0)).sum::<usize>();
        Arc::new(Self {
            desks: settings.hosts.iter().map(|host| Arc::new(Desk::new(host))).collect(),
            launchers: Groups::new(false),
            added: Mutex::default(),
            numbered: AtomicUsize::new(settings.local_slots + named),
            logins: AtomicUsize::new(0),
            copy: OnceLock::new(),
            minder: (settings.hosts.len() >= MANY).then(Arc::default),
            has_heart: AtomicBool::new(false),
            usable: AtomicUsize::new(settings.hosts.len() + usize::from(settings.local_slots > 0)),
            is_local_aside: AtomicBool::new(false),
            has_succeeded: AtomicBool::new(false),
            settings,
        })
    }

    /// The host of a slot; `None`: this machine.
    pub(crate) fn desk_of(&self, index: usize) -> Option<&Arc<Desk>> {
        let mut first = self.settings.local_slots;
        if index < first {
            return None;
        }
        for desk in &self.desks {
            first += desk.host.slots.unwrap_or(1);
            if index < first {
                return Some(desk);
            }
        }
        let added = lock(&self.added);
        let of = added.iter().find(|(begin, count, _)| (*begin..begin + count).contains(&index))?;
        self.desks.get(of.2)
    }

    /// Slots were added for a host.
    pub(crate) fn add_slots(&self, first: usize, count: usize, desk: &Arc<Desk>) {
        let host = self.desks.iter().position(|one| Arc::ptr_eq(one, desk)).unwrap_or_default();
        lock(&self.added).push((first, count, host));
    }

    /// How many slots are numbered before those of a host. `slots`: how many it has.
    pub(crate) fn slots_before(&self, desk: &Arc<Desk>, slots: usize) -> usize {
        if desk.host.slots.is_none() {
            return self.numbered.fetch_add(slots, Ordering::Relaxed);
        }
        let before = self.desks.iter().take_while(|one| !Arc::ptr_eq(one, desk));
        self.settings.local_slots + before.map(|one| one.host.slots.unwrap_or(0)).sum::<usize>()
    }

    /// The right to log in, unless many do now.
    pub(crate) fn begin_login(self: &Arc<Self>) -> Option<Login> {
        self.logins
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < MOST_LOGINS).then_some(count + 1)
            })
            .ok()
            .map(|_| Login(Arc::clone(self)))
    }

    /// The copy of this program, which is read when it is first asked for.
    ///
    /// # Errors
    /// It can't be read: a sentence.
    pub(crate) fn copy(&self) -> Result<Arc<ProgramCopy>, String> {
        let read = || {
            let path = &self.settings.program;
            let bytes = fs::read(path).map_err(|error| {
                format!("this program can't be copied: '{}': {error}", path.display())
            })?;
            let hash = hash(&bytes);
            let parcel = Parcel { size: bytes.len(), hash };
            Ok(Arc::new(ProgramCopy { bytes, parcel }))
        };
        self.copy.get_or_init(read).clone()
    }

    /// A host will run no jobs any more. Returns how many are left.
    pub(crate) fn set_aside(&self) -> usize {
        self.usable.fetch_sub(1, Ordering::AcqRel) - 1
    }

    /// No worker starts on this machine, but on others. Returns `None` if there is no other that may run
    /// jobs, otherwise whether this is new.
    pub(crate) fn set_local_aside(&self) -> Option<bool> {
        if self.is_local_aside.swap(true, Ordering::AcqRel) {
            return Some(false);
        }
        if self.usable.load(Ordering::Acquire) > 1 {
            self.set_aside();
            return Some(true);
        }
        self.is_local_aside.store(false, Ordering::Release);
        None
    }

    /// Says something to all agents.
    pub(crate) fn say_to_all(&self, message: &ToAgent<'_>) {
        self.desks.iter().for_each(|desk| desk.say(message));
    }

    /// Starts the thread that gives agents a sign of life while nobody else speaks to them: the thread of
    /// a host may wait for the reader of stdout.
    pub(crate) fn start_heart(self: &Arc<Self>) {
        if self.has_heart.swap(true, Ordering::AcqRel) {
            return;
        }
        let pause = pause_of_heart(self.settings.timeout);
        let desks = Arc::downgrade(self);
        let beat = move || {
            let never = Wake::new();
            while let (Some(desks), Ok(wake)) = (desks.upgrade(), &never) {
                for desk in &desks.desks {
                    if let Some(voice) = &mut *desk.voice()
                        && voice.has_agent
                    {
                        if voice.outgoing.is_silent_for(pause) {
                            ToAgent::Ping(0).put(voice.end());
                        }
                        // The thread of the host may be the one that has not said all.
                        voice.flush();
                    }
                }
                drop(desks);
                wake.wait(Some(pause / 2));
            }
        };
        let _ = thread::Builder::new().name("signs of life".into()).stack_size(STACK).spawn(beat);
    }
}

/// How long an end of a link is silent at most, where the other end has this timeout.
pub(crate) fn pause_of_heart(timeout: Duration) -> Duration {
    (timeout / 5).clamp(Duration::from_millis(20), Duration::from_secs(5))
}

/// Half of the SHA-256 of a program, in hexadecimal digits: an agent's copy is checked against it.
#[cfg(feature = "unstable-engine")]
pub fn hash(program: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(program)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Only [`Builder::hosts`](crate::Builder) makes hosts, and it has this feature as well.
#[cfg(not(feature = "unstable-engine"))]
fn hash(_program: &[u8]) -> String {
    String::new()
}

/// The right to log in to a host, until it is dropped.
#[derive(Debug)]
pub(crate) struct Login(Arc<HostDesks>);

impl std::fmt::Debug for HostDesks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostDesks").field("desks", &self.desks).finish_non_exhaustive()
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.0.logins.fetch_sub(1, Ordering::AcqRel);
    }
}
