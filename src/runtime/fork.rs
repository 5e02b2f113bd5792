//! The fork guard: a child of `fork` learns that it is one, and how to go on.
//!
//! A forked child has the parent's memory but none of its threads, and locks that those threads held stay
//! locked for ever. So the child's calls answer `forked`, which costs one load to find out: the guard word
//! lies in a page of its own that the kernel fills with zeros in the child (`MADV_WIPEONFORK`). A host that
//! means to go on in the child calls [`before_fork`], forks, and calls [`after_fork_parent`] or
//! [`after_fork_child`], all on one thread; instances register a [`ForkHook`] that ends their threads
//! before and starts them again after.
//!
//! Invariants: the guard word is 0 before [`arm`] and in a child that has not gone on, 1 otherwise;
//! `ARMED`, in ordinary memory, tells those two zeros apart. Nothing but the guard word lives in its page.
//! While a fork is under way the thread that does it holds the registry's lock, and those that hooks had it
//! [`keep`], so no other thread can hold them at the moment of the fork. What needs such a lock asks
//! [`under_way_here`] first: the thread that forks cannot wait for itself.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use crate::error::{Code, Error, Result};

/// The smallest page of the machines that Linux runs on; on others the fallback of [`arm`] serves.
const PAGE: usize = 4096;

#[repr(C, align(4096))]
struct GuardPage {
    alive: AtomicU32,
    _rest: [u8; PAGE - size_of::<AtomicU32>()],
}

static GUARD: GuardPage = GuardPage { alive: AtomicU32::new(0), _rest: [0; PAGE - size_of::<AtomicU32>()] };
static ARMED: AtomicBool = AtomicBool::new(false);

/// What an instance does around a fork. Called without a lock of the guard's; a panic is caught.
pub trait ForkHook: Send + Sync {
    /// Ends threads and brings everything to rest. An error calls the fork off.
    fn before_fork(&self) -> Result<()>;

    /// Goes on in the parent, or after a fork that was called off.
    fn after_fork_parent(&self);

    /// Goes on in the child.
    fn after_fork_child(&self);
}

/// A registered hook; dropping this takes the hook out.
#[derive(Debug)]
#[must_use = "the hook is taken out when this is dropped"]
pub struct Registration {
    id: u64,
}

struct Registry {
    hooks: Vec<(u64, Arc<dyn ForkHook>)>,
    under_way: bool,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { hooks: Vec::new(), under_way: false });

thread_local! {
    /// The registry's lock, between `before_fork` and what follows it, on the thread that forks.
    static HELD: RefCell<Option<MutexGuard<'static, Registry>>> = const { RefCell::new(None) };
    /// What hooks had this thread keep until the fork is over.
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    /// Whether this thread is between `before_fork` and what follows it.
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// Keeps a lock on this thread until the fork that it prepares is over or called off. For hooks; given back,
/// in the child while [`is_forked`] still says so, before any hook goes on.
pub(crate) fn keep(lock: impl Any) {
    KEPT.with(|kept| kept.borrow_mut().push(Box::new(lock)));
}

/// Gives back what was kept, the last first.
fn give_back() {
    let mut kept = KEPT.with(RefCell::take);
    while let Some(lock) = kept.pop() {
        drop(lock);
    }
    HERE.set(false);
}

/// `operation_forbidden` on a thread that called [`before_fork`] and has not gone on: it holds the locks that
/// it would wait for.
#[inline]
pub(crate) fn under_way_here() -> Result<()> {
    if HERE.get() { Err(between()) } else { Ok(()) }
}

#[cold]
fn between() -> Error {
    Error::new(
        Code::OperationForbidden,
        "this thread is about to fork: between esf_before_fork and esf_after_fork_parent or \
         esf_after_fork_child it can make no calls",
    )
}

/// Whether this process is a fork's child that has not gone on: one load, while all is well. Before
/// [`arm`] the answer is no.
#[inline]
pub fn is_forked() -> bool {
    GUARD.alive.load(Ordering::Relaxed) == 0 && was_armed()
}

#[cold]
fn was_armed() -> bool {
    ARMED.load(Ordering::Relaxed)
}

/// `forked` when this process is a fork's child that has not gone on.
#[inline]
pub fn check() -> Result<()> {
    if is_forked() { Err(forked()) } else { Ok(()) }
}

#[cold]
fn forked() -> Error {
    Error::new(
        Code::Forked,
        "this process is a copy made by fork, without the instance's threads; call esf_before_fork before a \
         fork and esf_after_fork_child in the child, or open an instance only after the fork",
    )
}

/// Arms the guard; the first instance does so. Later calls do nothing.
pub fn arm() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Where the kernel will not wipe the page (before Linux 4.14, or with larger pages), libc's fork calls
        // us in the child. That misses children made by a raw system call.
        if !wipe_on_fork() {
            // SAFETY: the handler is a plain function that lives as long as the library, which is never
            // unloaded, and does nothing but store an atomic.
            unsafe { libc::pthread_atfork(None, None, Some(wipe)) };
        }
        GUARD.alive.store(1, Ordering::Relaxed);
        ARMED.store(true, Ordering::Release);
    });
}

/// Asks the kernel to wipe the guard's page in children; whether it will.
fn wipe_on_fork() -> bool {
    let page = (&raw const GUARD).cast_mut().cast();
    // SAFETY: sysconf takes no pointers. The range given to madvise is exactly the guard's page, which holds
    // nothing but atomics and padding; the advice changes what a child finds there, not this process.
    unsafe {
        libc::sysconf(libc::_SC_PAGESIZE) == PAGE as libc::c_long
            && libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) == 0
    }
}

extern "C" fn wipe() {
    GUARD.alive.store(0, Ordering::Relaxed);
}

/// Registers what an instance does around a fork, for as long as the registration is kept.
///
/// While another thread's fork is being prepared this is `service_unavailable`: try again.
pub fn register(hook: Arc<dyn ForkHook>) -> Result<Registration> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    with_registry(|registry| {
        if registry.under_way {
            return Err(Error::new(Code::ServiceUnavailable, "a fork is under way; try again after it"));
        }
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        registry.hooks.push((id, hook));
        Ok(Registration { id })
    })
}

impl Drop for Registration {
    fn drop(&mut self) {
        let hook = with_registry(|registry| {
            let at = registry.hooks.iter().position(|(id, _)| *id == self.id)?;
            Some(registry.hooks.remove(at))
        });
        // Destroyed without the lock: a hook may be the last to hold an instance.
        drop(hook);
    }
}

/// Brings all instances to rest, the newest first. After this fork at once, on this thread, and call
/// [`after_fork_parent`] or [`after_fork_child`]. On an error everything goes on as before: do not fork.
pub fn before_fork() -> Result<()> {
    check()?;
    let hooks = with_registry(|registry| {
        if std::mem::replace(&mut registry.under_way, true) {
            return Err(Error::new(Code::OperationForbidden, "a fork is under way already"));
        }
        Ok(registry.hooks())
    })?;
    HERE.set(true);
    for (done, hook) in hooks.iter().rev().enumerate() {
        let outcome = catch_unwind(AssertUnwindSafe(|| hook.before_fork()));
        let outcome = outcome
            .unwrap_or_else(|_| Err(Error::new(Code::InternalError, "an instance panicked before a fork")));
        if let Err(error) = outcome {
            let first = hooks.len() - done - 1;
            give_back();
            run(hooks.get(first..).unwrap_or_default(), |hook| hook.after_fork_parent());
            with_registry(|registry| registry.under_way = false);
            return Err(error);
        }
    }
    HELD.with(|held| *held.borrow_mut() = Some(lock()));
    Ok(())
}

/// Lets all instances go on in the parent, the oldest first.
pub fn after_fork_parent() -> Result<()> {
    after_fork(|hook| hook.after_fork_parent())
}

/// Lets all instances go on in the child, the oldest first; its calls are answered again.
pub fn after_fork_child() -> Result<()> {
    after_fork(|hook| hook.after_fork_child())
}

fn after_fork(go_on: impl Fn(&dyn ForkHook)) -> Result<()> {
    let Some(registry) = HELD.with(|held| held.borrow_mut().take()) else {
        let message = "esf_before_fork was not called on this thread before the fork";
        return Err(Error::new(Code::OperationForbidden, message));
    };
    let hooks = registry.hooks();
    drop(registry);
    give_back();
    GUARD.alive.store(u32::from(was_armed()), Ordering::Relaxed);
    run(&hooks, go_on);
    with_registry(|registry| registry.under_way = false);
    Ok(())
}

fn run(hooks: &[Arc<dyn ForkHook>], go_on: impl Fn(&dyn ForkHook)) {
    for hook in hooks {
        // One instance that cannot go on must not keep the others from it.
        let _ = catch_unwind(AssertUnwindSafe(|| go_on(&**hook)));
    }
}

/// The registry, whether or not this thread holds its lock for a fork.
fn with_registry<R>(f: impl FnOnce(&mut Registry) -> R) -> R {
    // A thread that is ending has no thread-local values any more, and holds nothing.
    let held = HELD.try_with(|held| held.borrow_mut().take()).unwrap_or_default();
    match held {
        None => f(&mut lock()),
        Some(mut registry) => {
            let answer = f(&mut registry);
            HELD.with(|held| *held.borrow_mut() = Some(registry));
            answer
        }
    }
}

fn lock() -> MutexGuard<'static, Registry> {
    // A list and a flag are whole at every step, so a holder's panic changes nothing.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    fn hooks(&self) -> Vec<Arc<dyn ForkHook>> {
        self.hooks.iter().map(|(_, hook)| hook.clone()).collect()
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;

    /// Runs this in a forked child, which may do very little and has ten seconds; answers its exit code.
    pub(crate) fn in_child(body: impl FnOnce() -> i32) -> i32 {
        // SAFETY: the child calls only what is allowed after a fork of a process with threads (atomics,
        // system calls) and leaves by _exit; the parent reaps it.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(10);
                libc::_exit(body());
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert!(libc::WIFEXITED(status), "status {status:#x}");
            libc::WEXITSTATUS(status)
        }
    }

    #[test]
    fn the_kernel_wipes_the_guard_in_children_and_theirs() {
        arm();
        assert!(!is_forked());
        let code = in_child(|| {
            let child = is_forked();
            GUARD.alive.store(1, Ordering::Relaxed);
            let gone_on = !is_forked();
            let grandchild = in_child(|| i32::from(is_forked()));
            i32::from(child) | i32::from(gone_on) << 1 | grandchild << 2
        });
        assert_eq!(code, 0b111);
        assert!(!is_forked(), "the parent is no child");
    }

    #[test]
    fn without_the_kernel_the_handler_does_it() {
        arm();
        let code = in_child(|| {
            let page = (&raw const GUARD).cast_mut().cast();
            // SAFETY: as in `arm`, with the opposite advice; the handler lives as long as the child.
            let kept = unsafe { libc::madvise(page, PAGE, libc::MADV_KEEPONFORK) } == 0;
            GUARD.alive.store(1, Ordering::Relaxed);
            let unnoticed = in_child(|| i32::from(!is_forked()));
            // SAFETY: as in `arm`.
            unsafe { libc::pthread_atfork(None, None, Some(wipe)) };
            let noticed = in_child(|| i32::from(is_forked()));
            i32::from(kept) | unnoticed << 1 | noticed << 2
        });
        assert_eq!(code, 0b111);
    }

    #[test]
    fn nothing_else_lies_in_the_guards_page() {
        assert_eq!((&raw const GUARD).addr() % PAGE, 0);
        assert_eq!(size_of::<GuardPage>(), PAGE);
    }
}
