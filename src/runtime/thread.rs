//! Starting threads: the only place where the library does so.
//!
//! Threads of ours are named `esf-…` (the kernel keeps 15 bytes) and take no signal that is meant for the
//! host: they inherit a mask that blocks everything but what a thread raises itself.

#![allow(clippy::disallowed_methods, reason = "this is the seam")]

use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

use crate::error::{Code, Error, Result};

/// Raised by a thread's own doing, or by profilers on purpose: never blocked.
const NOT_BLOCKED: [libc::c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGPROF];

/// Starts a thread named `esf-<name>`.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let full = format!("esf-{name}");
    with_signals_blocked(|| Builder::new().name(full).spawn(body)).map_err(|cause| {
        Error::new(Code::ResourceExhausted, format!("thread esf-{name} could not be started: {cause}"))
            .with("thread", format!("esf-{name}"))
    })
}

/// Runs `start` with the host's signals blocked on this thread, so that what it starts inherits that.
fn with_signals_blocked<R>(start: impl FnOnce() -> R) -> R {
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set that sigdelset then changes; all signal numbers are valid, and
    // pthread_sigmask writes the old mask to a place of the right type. None of them fails on valid input.
    unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in NOT_BLOCKED {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr());
    }
    let result = start();
    // SAFETY: `before` was filled by the call above and is what this thread had.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn blocks(signal: libc::c_int) -> bool {
        let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: with no new set the call only writes the current mask, which is then read.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            libc::sigismember(mask.as_ptr(), signal) == 1
        }
    }

    #[test]
    fn threads_are_named_and_leave_signals_to_the_host() {
        let before = blocks(libc::SIGTERM);
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = spawn("signals", move || {
            let name = std::thread::current().name().map(str::to_owned);
            sender.send((name, blocks(libc::SIGTERM), blocks(libc::SIGSEGV))).unwrap();
        });
        thread.unwrap().join().unwrap();
        assert_eq!(receiver.recv().unwrap(), (Some("esf-signals".to_owned()), true, false));
        assert_eq!(blocks(libc::SIGTERM), before, "the caller's own mask is as it was");
    }
}
