//! A descriptor that event loops wait on: readable while its owner says so.
//!
//! It is an eventfd, which belongs to its owner and dies with it: hosts wait on it (`poll`, `epoll`, `select`)
//! and never read, write or close it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::error::{Code, Error, Result};

#[derive(Debug)]
pub(crate) struct Descriptor {
    event: OwnedFd,
    readable: bool,
}

impl Descriptor {
    /// One that is not readable.
    pub(crate) fn new() -> Result<Self> {
        let event = eventfd().ok_or_else(|| {
            let cause = std::io::Error::last_os_error();
            Error::new(
                Code::ResourceExhausted,
                format!(
                    "no descriptor for a subscription could be made: {cause}; raise the limit of open files"
                ),
            )
        })?;
        Ok(Self { event, readable: false })
    }

    /// Its number.
    pub(crate) fn number(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Makes it readable or not; a system call only when that changes.
    pub(crate) fn set(&mut self, readable: bool) {
        if readable == self.readable {
            return;
        }
        self.readable = readable;
        let mut count: u64 = 1;
        if readable {
            // SAFETY: the descriptor is ours and open; the 8 bytes behind the pointer live through the call.
            unsafe { libc::write(self.number(), (&raw const count).cast(), 8) };
        } else {
            // SAFETY: as above, for a read into the same 8 bytes.
            unsafe { libc::read(self.number(), (&raw mut count).cast(), 8) };
        }
    }

    /// In a forked child: puts an event of its own in the place of the one that it shares with the parent,
    /// under the same number and not readable, so that reading here does not take the parent's signal away.
    /// `None`, with the descriptor closed, where none can be made.
    pub(crate) fn separate(self) -> Option<Self> {
        let own = eventfd()?;
        // SAFETY: the call takes no pointers. `dup3` closes what the number names and makes it name the new
        // event, so that `event` goes on owning the number.
        let same = unsafe { libc::dup3(own.as_raw_fd(), self.number(), libc::O_CLOEXEC) };
        (same >= 0).then_some(Self { event: self.event, readable: false })
    }
}

fn eventfd() -> Option<OwnedFd> {
    // SAFETY: eventfd takes no pointers; the result is checked before it is used.
    let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    // SAFETY: `raw` was just made by the kernel and nothing else owns it.
    (raw >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw) })
}
