//! Which stripe the calling thread adds to: the CPU that it runs on.
//!
//! The C library publishes the CPU of each thread through restartable sequences (rseq): reading it is one
//! load relative to the thread pointer. Where that is missing (an old kernel or C library, another
//! architecture) a number handed out to each thread takes its place. No stripe belongs to a thread: every
//! cell is added to atomically, and a thread that moves to another CPU between reading the number and adding
//! merely shares a cache line for once.
//!
//! Invariants that the `unsafe` code below rests on:
//! - `WHERE.offset` is 0 or the distance from the thread pointer to the `cpu_id` field of the rseq area that
//!   the C library registers for **every** thread of the process, before any of its code runs.
//! - `WHERE.mask` is 0 until [`count`] was called, and `count() - 1` ever after.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// More stripes than this cost memory and gain nothing.
const MAX_STRIPES: usize = 64;

/// Where the number comes from; on one cache line, because each recording reads it.
#[repr(align(64))]
struct Where {
    offset: AtomicIsize,
    mask: AtomicUsize,
}

static WHERE: Where = Where { offset: AtomicIsize::new(0), mask: AtomicUsize::new(0) };

/// The number of stripes of this process: a power of two, at least the number of CPUs (at most 64).
pub(super) fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        WHERE.offset.store(cpu_id_offset().unwrap_or(0), Ordering::Relaxed);
        // SAFETY: sysconf takes no pointer and has no precondition.
        let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
        let count = usize::try_from(cpus).unwrap_or(1).next_power_of_two().clamp(1, MAX_STRIPES);
        WHERE.mask.store(count - 1, Ordering::Relaxed);
        count
    })
}

/// The stripe to add to now: less than [`count`].
#[inline]
pub(super) fn index() -> usize {
    current() & WHERE.mask.load(Ordering::Relaxed)
}

/// What the numbers come from, for the statistics: `rseq` or `thread`.
pub(super) fn source() -> &'static str {
    count();
    if WHERE.offset.load(Ordering::Relaxed) == 0 { "thread" } else { "rseq" }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
#[inline]
fn current() -> usize {
    let offset = WHERE.offset.load(Ordering::Relaxed);
    if offset == 0 {
        return of_thread();
    }
    let cpu: u32;
    // SAFETY: `offset` leads from the thread pointer (fs on this architecture) to the `cpu_id` of this
    // thread's own rseq area, four readable bytes for as long as the thread runs (first invariant). The
    // kernel may change them at any time, which a plain load of an aligned word tolerates.
    unsafe {
        std::arch::asm!(
            "mov {cpu:e}, dword ptr fs:[{offset}]",
            cpu = out(reg) cpu,
            offset = in(reg) offset,
            options(nostack, preserves_flags, readonly),
        );
    }
    cpu as usize
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
#[inline]
fn current() -> usize {
    of_thread()
}

/// A number that the thread keeps: neighbours in time get neighbouring stripes.
fn of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Without a destructor, so that it can be read while the thread ends.
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    MINE.with(|mine| {
        mine.get().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            mine.set(Some(number));
            number
        })
    })
}

/// The distance from the thread pointer to `cpu_id`, when the C library registered rseq.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
fn cpu_id_offset() -> Option<isize> {
    /// Offset of `cpu_id` in `struct rseq`, and the least size that has it.
    const CPU_ID: isize = 4;
    const CPU_ID_END: u32 = 8;
    // SAFETY: both names are C strings. Where they exist they are, by the C library's manual, constants of
    // type ptrdiff_t and unsigned int, initialised before any code of ours runs.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<u32>();
        // The size is 0 when the kernel refused the registration or the administrator switched it off.
        if offset.is_null() || size.is_null() || size.read() < CPU_ID_END {
            return None;
        }
        offset.read().checked_add(CPU_ID)
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
fn cpu_id_offset() -> Option<isize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stripe_is_always_in_range() {
        let count = count();
        assert!(count.is_power_of_two() && count <= MAX_STRIPES);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000).for_each(|_| assert!(index() < count)));
            }
        });
    }

    #[test]
    fn with_rseq_the_stripe_is_the_cpu() {
        if source() != "rseq" {
            return;
        }
        // SAFETY: sched_getcpu has no precondition.
        let cpu = || usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
        // The thread may move between the calls: compare only when it stayed.
        let agreed = (0..1_000).any(|_| {
            let before = cpu();
            let stripe = current();
            before == cpu() && before == stripe
        });
        assert!(agreed);
    }

    #[test]
    fn without_rseq_threads_get_different_numbers() {
        let mine = of_thread();
        assert_eq!(of_thread(), mine);
        let other = std::thread::scope(|scope| scope.spawn(of_thread).join().unwrap());
        assert_ne!(mine, other);
    }
}
