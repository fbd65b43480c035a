//! `Crowd`: one wait for the descriptors of many processes. Its cost does not grow with their number. It exists only on
//! Linux.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::wake::Wake;

/// A wait takes at most this many events.
#[cfg(target_os = "linux")]
const MOST_EVENTS: usize = 256;

/// The longest wait. The system may not accept a much longer one.
#[cfg(target_os = "linux")]
const LONGEST: Duration = Duration::from_secs(3600);

/// Why a wait has ended: an event of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrowdEvent {
    /// It was woken.
    Woken,
    /// Stdout of its process can be read.
    Stdout,
    /// Anything else has happened to its process.
    Other,
}

#[cfg(target_os = "linux")]
const EVENTS: [CrowdEvent; 3] = [CrowdEvent::Woken, CrowdEvent::Stdout, CrowdEvent::Other];

/// The descriptors of the members, each of which has a number.
#[derive(Debug)]
pub(crate) struct Crowd {
    #[cfg(target_os = "linux")]
    epoll: std::os::fd::OwnedFd,
}

impl Crowd {
    /// Ends waits when a member is woken.
    pub(crate) fn add_wake(&self, wake: &Wake, member: u64) -> io::Result<()> {
        self.add(wake.as_fd(), member, CrowdEvent::Woken, true)
    }

    pub(crate) fn remove_wake(&self, wake: &Wake) {
        self.remove(wake.as_fd());
    }
}

/// The number of a member and an event of it, as one number.
#[cfg(target_os = "linux")]
fn mark(member: u64, event: CrowdEvent) -> u64 {
    member * EVENTS.len() as u64 + event as u64
}

#[cfg(target_os = "linux")]
fn unmark(mark: u64) -> (u64, CrowdEvent) {
    let count = EVENTS.len() as u64;
    (mark / count, EVENTS[(mark % count) as usize])
}

#[cfg(target_os = "linux")]
impl Crowd {
    /// # Errors
    /// There is no room for another descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::event::epoll;
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// `reads`: whether the descriptor is to be read. Its end is an event in any case.
    pub(super) fn add(
        &self,
        fd: BorrowedFd<'_>,
        member: u64,
        event: CrowdEvent,
        reads: bool,
    ) -> io::Result<()> {
        use rustix::event::epoll::{self, EventData, EventFlags};
        let data = EventData::new_u64(mark(member, event));
        let flags = if reads { EventFlags::IN } else { EventFlags::empty() };
        Ok(epoll::add(&self.epoll, fd, data, flags)?)
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = rustix::event::epoll::delete(&self.epoll, fd);
    }

    /// Waits until something happens to a member, for at most `timeout`. Appends each event.
    pub(crate) fn wait(&self, timeout: Option<Duration>, into: &mut Vec<(u64, CrowdEvent)>) {
        use rustix::event::{Timespec, epoll};
        // The kernel counts in milliseconds here.
        let timeout = timeout.map_or(LONGEST, |time| time.min(LONGEST));
        let timeout = Timespec::try_from(timeout).ok();
        let mut events = Vec::with_capacity(MOST_EVENTS);
        let spare = rustix::buffer::spare_capacity(&mut events);
        let waited = match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            // A signal hides nothing that is ready, as in `poll_and_look`.
            Err(rustix::io::Errno::INTR) => {
                let spare = rustix::buffer::spare_capacity(&mut events);
                epoll::wait(&self.epoll, spare, Some(&Timespec::default()))
            }
            result => result,
        };
        if waited.is_ok() {
            into.extend(events.iter().map(|event| unmark({ event.data }.u64())));
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Crowd {
    /// # Errors
    /// Always: this system has none.
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn add(&self, _: BorrowedFd<'_>, _: u64, _: CrowdEvent, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn remove(&self, _: BorrowedFd<'_>) {}

    pub(crate) fn wait(&self, _: Option<Duration>, _: &mut Vec<(u64, CrowdEvent)>) {}
}
