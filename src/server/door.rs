//! The door of a server: greets each connection, and lets it in if its request comes in time. One thread looks after
//! all connections that have sent no request yet, so each of them costs a descriptor and no more.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use tokio::sync::Notify;

use super::party_work::PartyWork;
use super::socket::{ServerSocket, is_own};
use super::status::ServerStatus;
use super::{ServedPool, ServerSettings};
use crate::agent::outbox::LinkOutbox;
use crate::agent::session::{Session, SessionLimits};
use crate::agent::work::Work;
use crate::link::frame::{FrameSplit, split};
use crate::link::from_agent::FromAgent;
use crate::link::greeting::greeting;
use crate::link::to_agent::{Setup, ToAgent};
use crate::process::Wake;
use crate::util::lock::lock;

/// The request of a connection comes within this time.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// A message that has begun is whole within this time.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(30);

/// A caller gives a sign of life at least this often.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// At most this many connections may have sent no request yet. For a further one, the oldest of them is closed.
const MOST_WAITING: usize = 512;

/// But no connection is closed for that before this time.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// The first message has at most this many bytes.
const LONGEST_FIRST: usize = 64 << 10;

/// While the system has no room for another connection, it is asked this often.
const CROWDED_PAUSE: Duration = Duration::from_millis(50);

/// A reader of the status may take this long.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// The door of a server.
pub(super) struct Door {
    wake: Wake,
    pools: Vec<ServedPool>,
    settings: ServerSettings,
    began: Instant,
    callers: AtomicUsize,
    /// When the last caller has left.
    deserted: Mutex<Instant>,
    /// How many callers ask for the status now.
    askers: AtomicUsize,
    is_closed: AtomicBool,
    is_to_end: AtomicBool,
    /// Nobody is at the door any more.
    is_over: AtomicBool,
    /// Those at the door are sent away.
    is_at_once: AtomicBool,
    changed: Notify,
    /// Those who wait for the end of the server.
    farewells: Mutex<Vec<UnixStream>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("callers", &self.callers).finish_non_exhaustive()
    }
}

/// There is no room for another connection now.
struct NoRoom;

/// Somebody who has connected and has not said what they want.
struct Visitor {
    stream: UnixStream,
    bytes: Vec<u8>,
    since: Instant,
}

/// What a visitor wants.
enum Wish {
    /// Nothing yet.
    None,
    /// To have jobs run.
    Work,
    Status,
    End,
    /// It makes no sense, or nobody is there any more.
    Nonsense,
}

impl Door {
    pub(super) fn new(wake: Wake, pools: Vec<ServedPool>, settings: ServerSettings) -> Self {
        Self {
            wake,
            pools,
            settings,
            began: Instant::now(),
            callers: AtomicUsize::new(0),
            deserted: Mutex::new(Instant::now()),
            askers: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            is_at_once: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_to_end: AtomicBool::new(false),
            changed: Notify::new(),
            farewells: Mutex::default(),
        }
    }

    pub(super) fn callers(&self) -> usize {
        self.callers.load(Ordering::Acquire)
    }

    pub(super) fn is_to_end(&self) -> bool {
        self.is_to_end.load(Ordering::Acquire)
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Lets nobody in who has not connected yet. `at_once`: nor anybody else.
    pub(super) fn close(&self, at_once: bool) {
        self.is_at_once.fetch_or(at_once, Ordering::AcqRel);
        self.is_closed.store(true, Ordering::Release);
        self.wake.notify();
    }

    /// Since when there is no caller; `None`: there is one. Those who ask for the status are no callers.
    pub(super) fn deserted_since(&self) -> Option<Instant> {
        let since = lock(&self.deserted);
        (self.callers() == 0).then_some(*since)
    }

    /// Whether the socket is gone, and with it all who were there.
    pub(super) fn is_over(&self) -> bool {
        let is_empty = self.callers() == 0 && self.askers.load(Ordering::Acquire) == 0;
        is_empty && self.is_over.load(Ordering::Acquire)
    }

    pub(super) fn fall_silent(&self) {
        self.pools.iter().for_each(|served| served.switchboard.fall_silent());
    }

    pub(super) fn status(&self) -> String {
        let is_closed = self.is_closed.load(Ordering::Acquire);
        let (slots, uptime) = (self.settings.slots, self.began.elapsed());
        ServerStatus::of(&self.pools, slots, self.callers(), is_closed, uptime).text()
    }

    /// Lets callers in until it is closed. Then the socket is gone, and those who have connected before may
    /// still come in.
    pub(super) fn run(&self, me: &Arc<Self>, socket: ServerSocket) {
        let mut visitors: Vec<Visitor> = Vec::new();
        let mut crowded_until = None;
        while !self.is_closed.load(Ordering::Acquire) {
            let listener = Some(&socket.listener).filter(|_| crowded_until.is_none());
            if self.round(me, listener, &mut visitors, crowded_until.take()).is_err() {
                crowded_until = Some(Instant::now() + CROWDED_PAUSE);
            }
        }
        let listener = socket.into_listener();
        let _ = self.welcome(&listener, &mut visitors);
        drop(listener);
        while !visitors.is_empty() && !self.is_at_once.load(Ordering::Acquire) {
            let _ = self.round(me, None, &mut visitors, None);
        }
        drop(visitors);
        self.is_over.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits, and deals with what has come. The error: the system has no room for another connection now.
    fn round(
        &self,
        me: &Arc<Self>,
        listener: Option<&UnixListener>,
        visitors: &mut Vec<Visitor>,
        crowded_until: Option<Instant>,
    ) -> Result<(), NoRoom> {
        let now = Instant::now();
        visitors.retain(|visitor| visitor.since + GREETING_PATIENCE > now);
        if let Some(mut ready) = self.wait(listener, visitors, crowded_until).map(Vec::into_iter) {
            let all = std::mem::take(visitors).into_iter();
            visitors.extend(all.filter_map(|visitor| {
                if ready.next() == Some(true) { self.hear(me, visitor) } else { Some(visitor) }
            }));
        }
        listener.map_or(Ok(()), |listener| self.welcome(listener, visitors))
    }

    /// Waits for a caller, or for something that is said. Returns which visitors have said something.
    fn wait(
        &self,
        listener: Option<&UnixListener>,
        visitors: &[Visitor],
        crowded_until: Option<Instant>,
    ) -> Option<Vec<bool>> {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        fds.extend(visitors.iter().map(|visitor| PollFd::new(&visitor.stream, PollFlags::IN)));
        fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let dues = visitors.iter().map(|visitor| visitor.since + GREETING_PATIENCE);
        let due = dues.chain(crowded_until).min();
        let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        poll(&mut fds, wait.as_ref()).ok()?;
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let ready = fds[1..=visitors.len()].iter().map(is_ready).collect();
        if is_ready(&fds[0]) {
            self.wake.clear();
        }
        Some(ready)
    }

    /// Greets all who have come.
    fn welcome(&self, listener: &UnixListener, visitors: &mut Vec<Visitor>) -> Result<(), NoRoom> {
        for _ in 0..MOST_WAITING {
            let is_full = visitors.len() >= MOST_WAITING;
            if is_full && visitors.first().is_some_and(|first| first.since.elapsed() < LEAST_WAIT) {
                return Err(NoRoom);
            }
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
                Err(_) => return Err(NoRoom),
            };
            if !is_own(&stream) || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let mut bytes = greeting(self.settings.slots);
            FromAgent::Pool(&self.settings.words).put(&mut bytes);
            // A fresh socket has room for this.
            if (&stream).write_all(&bytes).is_err() {
                continue;
            }
            if is_full {
                visitors.remove(0);
            }
            visitors.push(Visitor { stream, bytes: Vec::new(), since: Instant::now() });
        }
        Ok(())
    }

    /// Hears a visitor. Returns it if it has not said all yet.
    fn hear(&self, me: &Arc<Self>, mut visitor: Visitor) -> Option<Visitor> {
        match visitor.wish() {
            Wish::None => return Some(visitor),
            Wish::Nonsense => {}
            Wish::Work => self.let_in(me, visitor),
            Wish::Status => self.tell_status(me, visitor.stream),
            Wish::End => {
                lock(&self.farewells).push(visitor.stream);
                self.is_to_end.store(true, Ordering::Release);
                self.changed.notify_one();
            }
        }
        None
    }

    /// Starts a thread for a caller.
    fn let_in(&self, me: &Arc<Self>, visitor: Visitor) {
        let callers = self.callers.fetch_add(1, Ordering::AcqRel);
        let guest = Guest(Arc::clone(me));
        if callers >= self.settings.most_callers {
            let text = format!("it has {callers} callers, and takes no more: try again later");
            let mut bytes = Vec::new();
            FromAgent::Refused(&text).put(&mut bytes);
            let _ = (&visitor.stream).write_all(&bytes);
            return;
        }
        self.changed.notify_one();
        let door = Arc::clone(me);
        let serve = move || {
            let _guest = guest;
            door.serve(visitor);
        };
        let _ = thread::Builder::new().name("caller".into()).spawn(serve);
    }

    /// Talks with a caller until it is gone, or all is said.
    fn serve(&self, visitor: Visitor) {
        let input = OwnedFd::from(visitor.stream);
        let Ok(end) = input.try_clone() else { return };
        let Ok(outbox) = input.try_clone().and_then(|output| LinkOutbox::start(output, &[])) else {
            return;
        };
        let limits = SessionLimits {
            silence: GREETING_PATIENCE,
            longest_silence: LONGEST_SILENCE,
            message: Some(MESSAGE_PATIENCE),
            longest: self.settings.longest,
        };
        let mut session = Session::new(input, outbox, limits).with(&visitor.bytes);
        let (outbox, is_ending) = (Arc::clone(&session.outbox), Arc::clone(&session.is_ending));
        session.run(&mut |setup| self.begin(setup, &outbox, &is_ending));
        // Whatever the caller does, nobody waits for it any more.
        let _ = rustix::net::shutdown(end, Shutdown::Both);
        session.outbox.close();
    }

    /// Begins the work for a caller.
    fn begin(
        &self,
        setup: &Setup<'_>,
        outbox: &Arc<LinkOutbox>,
        is_ending: &Arc<AtomicBool>,
    ) -> Result<Box<dyn Work>, Box<dyn std::error::Error>> {
        let index = std::str::from_utf8(setup.task)
            .ok()
            .and_then(|text| text.split('\0').next().and_then(|index| index.parse::<usize>().ok()));
        let served = index.and_then(|index| self.pools.get(index));
        let served = served.ok_or("it has no such pool")?;
        let work = PartyWork::begin(&served.switchboard, setup.parts, outbox, is_ending);
        let work = work.ok_or("it has too many callers: try again later")?;
        outbox.say(&FromAgent::Ready { slots: self.settings.slots as u64 });
        if let Some(jobs) = served.switchboard.pool().and_then(|pool| pool.at_a_time()) {
            outbox.say(&FromAgent::AtATime { jobs: jobs as u64, is_concurrent: true });
        }
        Ok(Box::new(work))
    }

    /// Sends the status. Whoever asked may read slowly.
    fn tell_status(&self, me: &Arc<Self>, mut stream: UnixStream) {
        let askers = self.askers.fetch_add(1, Ordering::AcqRel);
        let asker = Asker(Arc::clone(me));
        if askers >= self.settings.most_callers {
            return;
        }
        let mut bytes = Vec::new();
        FromAgent::Status(&self.status()).put(&mut bytes);
        let tell = move || {
            let _asker = asker;
            let is_set = stream.set_nonblocking(false).is_ok()
                && stream.set_write_timeout(Some(STATUS_PATIENCE)).is_ok();
            if is_set {
                let _ = stream.write_all(&bytes);
            }
        };
        let _ = thread::Builder::new().name("status".into()).spawn(tell);
    }
}

/// Counts as a caller until it is dropped.
struct Guest(Arc<Door>);

impl Drop for Guest {
    fn drop(&mut self) {
        let mut since = lock(&self.0.deserted);
        if self.0.callers.fetch_sub(1, Ordering::AcqRel) == 1 {
            *since = Instant::now();
        }
        drop(since);
        self.0.changed.notify_one();
    }
}

/// Is told the status until it is dropped.
struct Asker(Arc<Door>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.askers.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

impl Visitor {
    /// Reads what it has said.
    fn wish(&mut self) -> Wish {
        let mut piece = [0; 16 << 10];
        match rustix::io::read(self.stream.as_fd(), &mut piece) {
            Ok(0) => return Wish::Nonsense,
            Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => return Wish::Nonsense,
        }
        match split(&self.bytes, LONGEST_FIRST) {
            FrameSplit::Partial => Wish::None,
            FrameSplit::Broken => Wish::Nonsense,
            FrameSplit::Frame { kind, message, .. } => match ToAgent::read(kind, message) {
                Some(ToAgent::Setup(_)) => Wish::Work,
                Some(ToAgent::AskStatus) => Wish::Status,
                Some(ToAgent::Drain) => Wish::End,
                _ => Wish::Nonsense,
            },
        }
    }
}
