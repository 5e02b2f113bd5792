//! Fixed blocks of memory for segments: allocated once, never moved, freed as a whole.
//!
//! # Invariants
//! - A block owns `len` elements at `ptr`, from `new` to `drop`. They are initialised, zero at first, except in a
//!   block of words made by `unset`, which hands out nothing but its address.
//! - The block hands out only its address. Whoever dereferences it answers for aliasing; `segment.rs` says how.
//! - `Plain` types are valid for every bit pattern, zero included, and need no drop.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use crate::error::{Code, Error, Result};

/// A type whose every bit pattern is a value and that needs no drop.
///
/// # Safety
/// Implement it only for such types: blocks are born zeroed and are freed without dropping elements.
pub(crate) unsafe trait Plain {}

// SAFETY: integers take every bit pattern and have no drop glue.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for i64 {}
// SAFETY: an atomic has the size and bit validity of its integer.
unsafe impl Plain for std::sync::atomic::AtomicU32 {}
// SAFETY: as above.
unsafe impl Plain for std::sync::atomic::AtomicU64 {}
// SAFETY: a null `AtomicPtr` is valid and it owns nothing.
unsafe impl<T> Plain for std::sync::atomic::AtomicPtr<T> {}

/// `len` elements of zeroed memory at a fixed address.
pub(crate) struct Block<T: Plain> {
    ptr: NonNull<T>,
    len: usize,
}

// SAFETY: a block is an address and a length and reads nothing by itself; what is done at the address is the
// business of its owner, who states it in its own `Send` and `Sync`.
unsafe impl<T: Plain + Send> Send for Block<T> {}
// SAFETY: as above: shared access hands out the address only.
unsafe impl<T: Plain + Sync> Sync for Block<T> {}

impl<T: Plain> Block<T> {
    /// Allocates a block of zeros; `no_memory` when there is none to be had.
    pub(crate) fn new(len: usize) -> Result<Self> {
        Self::allocated_by(alloc_zeroed, len)
    }

    fn allocated_by(allocate: unsafe fn(Layout) -> *mut u8, len: usize) -> Result<Self> {
        let failed = || {
            Error::new(Code::NoMemory, format!("no memory for a block of {len} elements of the event store"))
                .with("elements", len)
        };
        let layout = Self::layout(len).ok_or_else(failed)?;
        // SAFETY: the layout is not of size zero: `layout` asks for at least one element of a sized type.
        let raw = unsafe { allocate(layout) }.cast::<T>();
        NonNull::new(raw).map(|ptr| Self { ptr, len: len.max(1) }).ok_or_else(failed)
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::array::<T>(len.max(1)).ok()
    }

    /// Has the kernel provide all of the memory now, in large pages where it can. What stands there is not changed.
    pub(crate) fn touch(&mut self) {
        const PAGE: usize = 4096;
        let bytes = self.bytes();
        // SAFETY: the range is the block's own, widened to nothing beyond it: the address is rounded up and the
        // length down to whole pages. Advice changes no contents; where it is refused nothing is lost.
        unsafe {
            let start = self.ptr.as_ptr().cast::<u8>();
            let skip = start.align_offset(PAGE);
            if let Some(whole) =
                bytes.checked_sub(skip).map(|rest| rest / PAGE * PAGE).filter(|rest| *rest > 0)
            {
                libc::madvise(start.add(skip).cast(), whole, libc::MADV_HUGEPAGE);
            }
        }
        for at in (0..bytes).step_by(PAGE) {
            // SAFETY: `at` lies inside the block, which `&mut` makes ours alone. A byte is read as what the allocator
            // left there, through a volatile access that may see anything, and written back as it was.
            unsafe {
                let byte = self.ptr.as_ptr().cast::<MaybeUninit<u8>>().add(at);
                byte.write_volatile(byte.read_volatile());
            }
        }
    }

    /// The address of the first element.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.ptr.as_ptr()
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl Block<u64> {
    /// Allocates a block that is to be written before it is read. Memory that the allocator has had back is not
    /// zeroed again, which takes milliseconds for the records of a segment.
    pub(crate) fn unset(len: usize) -> Result<Self> {
        Self::allocated_by(alloc, len)
    }
}

impl<T: Plain + Sync> Block<T> {
    /// The elements, for types that are changed through shared references (atomics).
    pub(crate) fn shared(&self) -> &[T]
    where
        T: Interior,
    {
        // SAFETY: the block owns `len` initialised elements; atomics are changed only through shared references,
        // so no exclusive reference to them exists while the block is borrowed.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// Makes every element zero again.
    #[cfg(not(loom))]
    pub(crate) fn clear(&mut self)
    where
        T: Interior,
    {
        // SAFETY: the block owns `len` elements, `&mut` makes the access exclusive, and zero is a value of a
        // plain type.
        unsafe { std::ptr::write_bytes(self.ptr.as_ptr(), 0, self.len) }
    }
}

/// Asks for a line of memory that will be read soon. Any address will do: nothing is read if it is none of ours.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on caches and never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Marks types that are written through shared references.
pub(crate) trait Interior {}
impl Interior for std::sync::atomic::AtomicU32 {}
impl Interior for std::sync::atomic::AtomicU64 {}
impl<T> Interior for std::sync::atomic::AtomicPtr<T> {}

impl<T: Plain> Drop for Block<T> {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: `ptr` came from the allocator with this very layout (`len` was at least 1 there too).
            unsafe { dealloc(self.ptr.as_ptr().cast(), layout) }
        }
    }
}
