//! The token by which a worker learns that it is to stop.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::deadline::Deadline;

type Waker = Box<dyn FnOnce() + Send>;

/// Says whether a worker is to stop, and wakes it where it waits. Clones are the same token.
#[derive(Clone)]
pub struct StopToken {
    inner: Arc<Inner>,
}

struct Inner {
    stopped: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    changed: Condvar,
}

impl StopToken {
    pub(super) fn new() -> Self {
        let inner = Inner {
            stopped: AtomicBool::new(false),
            wakers: Mutex::new(Vec::new()),
            changed: Condvar::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the worker is to stop: one load.
    pub fn is_stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::Acquire)
    }

    /// Calls this once when the worker is to stop, at once if that is so already: it wakes the worker
    /// where it waits, such as by `Queue::wake`. A body that is run again registers again.
    pub fn on_stop(&self, waker: impl FnOnce() + Send + 'static) {
        {
            let mut wakers = self.lock();
            if !self.is_stopped() {
                wakers.push(Box::new(waker));
                return;
            }
        }
        waker();
    }

    /// Waits until the worker is to stop, at most this long; whether it is. For work that recurs.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Deadline::after(timeout);
        let mut wakers = self.lock();
        while !self.is_stopped() {
            let Some(left) = deadline.left() else { return false };
            wakers = self.inner.changed.wait_timeout(wakers, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(super) fn stop(&self) {
        let wakers = {
            let mut wakers = self.lock();
            self.inner.stopped.store(true, Ordering::Release);
            std::mem::take(&mut *wakers)
        };
        self.inner.changed.notify_all();
        for waker in wakers {
            waker();
        }
    }

    /// Drops what an earlier run of the body registered.
    pub(super) fn forget_wakers(&self) {
        let forgotten = std::mem::take(&mut *self.lock());
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        // A list is whole at every step, so a holder's panic changes nothing.
        self.inner.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopToken").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn wakers_run_once_each_even_when_they_come_late() {
        let token = StopToken::new();
        let (sender, receiver) = channel();
        let early = sender.clone();
        token.on_stop(move || early.send("early").unwrap());
        assert!(!token.is_stopped() && !token.wait_timeout(Duration::ZERO));
        assert!(receiver.try_recv().is_err());
        token.stop();
        token.stop();
        token.on_stop(move || sender.send("late").unwrap());
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["early", "late"]);
        assert!(token.is_stopped() && token.wait_timeout(Duration::MAX));
    }

    #[test]
    fn what_an_earlier_run_registered_is_forgotten() {
        let token = StopToken::new();
        let (sender, receiver) = channel::<()>();
        token.on_stop(move || sender.send(()).unwrap());
        token.forget_wakers();
        token.stop();
        assert!(receiver.recv().is_err());
    }
}
