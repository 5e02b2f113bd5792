//! How tails learn that something was stored, at the cost of one load to an append that nobody waits for.
//!
//! Who has read everything *arms* the bell and looks once more; an append that finds it armed disarms it and rings
//! for all who wait. So there is one ring for all that is stored while somebody comes to look.
//!
//! Why no ring is missed: an append takes its numbers by a read-modify-write of the frontier's counter and then
//! loads `armed`. Who arms stores `armed` first and then looks at that same counter by a read-modify-write. One of
//! the two comes first: either the look finds the numbers taken and nobody waits, or the append's load sees `armed`
//! (or that another append has disarmed it since, which rings for all).

use std::os::fd::RawFd;
use std::time::Duration;

use super::super::frontier::Frontier;
use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::descriptor::Descriptor;
use crate::runtime::sync::{AtomicBool, Condvar, Mutex, Ordering, lock, wait_timeout};

pub(crate) struct Bell {
    armed: AtomicBool,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    /// How often it rang, or woke somebody.
    moment: u64,
    /// Those of the tails that have one, by their number.
    descriptors: Vec<(u64, Descriptor)>,
}

impl Bell {
    pub(crate) fn new() -> Self {
        let inner = Inner { moment: 0, descriptors: Vec::new() };
        Self { armed: AtomicBool::new(false), inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Something was stored.
    #[inline]
    pub(crate) fn stored(&self) {
        if self.armed.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        if self.armed.swap(false, Ordering::AcqRel) {
            let mut inner = lock(&self.inner);
            inner.moment += 1;
            for (_, descriptor) in &mut inner.descriptors {
                descriptor.set(true);
            }
            drop(inner);
            self.changed.notify_all();
        }
    }

    /// Wakes all who wait, to look at something else than what was stored.
    pub(crate) fn wake(&self) {
        lock(&self.inner).moment += 1;
        self.changed.notify_all();
    }

    /// The moment: to be noted before looking at what [`Bell::wake`] is called for.
    pub(crate) fn moment(&self) -> u64 {
        lock(&self.inner).moment
    }

    /// Has the next append ring. Answers `false` when something at or past `position` is stored or about to be: then
    /// there is something to read and nothing to wait for.
    pub(crate) fn arm(&self, position: u64, frontier: &Frontier) -> bool {
        self.armed.swap(true, Ordering::AcqRel);
        frontier.taken() <= position
    }

    /// Waits for a ring or a wake since that moment.
    pub(crate) fn wait(&self, moment: u64, deadline: Deadline) {
        let mut inner = lock(&self.inner);
        while inner.moment == moment {
            let Some(left) = deadline.left() else { return };
            inner = wait_timeout(&self.changed, inner, left);
        }
    }

    /// Waits that long, while `goes_on`.
    pub(crate) fn pause(&self, pause: Duration, goes_on: impl Fn() -> bool) {
        let deadline = Deadline::after(pause);
        let mut inner = lock(&self.inner);
        while goes_on() {
            let Some(left) = deadline.left() else { return };
            inner = wait_timeout(&self.changed, inner, left);
        }
    }

    /// The descriptor of a tail, readable at first.
    pub(crate) fn descriptor(&self, tail: u64) -> Result<RawFd> {
        let mut inner = lock(&self.inner);
        if let Some((_, descriptor)) = inner.descriptors.iter().find(|(id, _)| *id == tail) {
            return Ok(descriptor.number());
        }
        let mut descriptor = Descriptor::new()?;
        descriptor.set(true);
        let number = descriptor.number();
        inner.descriptors.push((tail, descriptor));
        Ok(number)
    }

    /// Makes a tail's descriptor readable or not.
    pub(crate) fn set(&self, tail: u64, readable: bool) {
        let mut inner = lock(&self.inner);
        if let Some((_, descriptor)) = inner.descriptors.iter_mut().find(|(id, _)| *id == tail) {
            descriptor.set(readable);
        }
    }

    /// Closes a tail's descriptor.
    pub(crate) fn forget(&self, tail: u64) {
        lock(&self.inner).descriptors.retain(|(id, _)| *id != tail);
    }

    /// In a forked child: no longer shares a tail's descriptor with the parent.
    pub(crate) fn separate(&self, tail: u64) {
        let mut inner = lock(&self.inner);
        let Some(at) = inner.descriptors.iter().position(|(id, _)| *id == tail) else { return };
        let (_, shared) = inner.descriptors.swap_remove(at);
        if let Some(mut own) = shared.separate() {
            // There may be something to read.
            own.set(true);
            inner.descriptors.push((tail, own));
        }
    }
}
