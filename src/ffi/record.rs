//! Structs that grow: each starts with `uint32_t size`, which is how a program that was compiled with an
//! older or newer header and this library understand each other.
//!
//! Read: a struct shorter than ours is taken as if the missing fields were zero; of a longer one the bytes
//! beyond ours must be zero, since this library could not do what they ask for. Written: exactly the bytes
//! that the caller's `size` covers; those beyond ours become zero.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::arg;
use crate::error::{Code, Error, Result};

/// The largest `size` that is believed: one page, far more than any record will ever have.
const MAX_SIZE: usize = 4096;
/// The smallest: the size itself.
const MIN_SIZE: usize = size_of::<u32>();

/// A struct of the header that starts with its size.
///
/// # Safety
/// `repr(C)`, the first field is `size: u32`, all other fields are integers, floats, raw pointers or structs
/// of these, so that any bytes are a valid value.
pub(super) unsafe trait Record: Copy {}

/// Copies a record out of the caller's memory.
pub(super) unsafe fn read<T: Record>(ptr: *const T, name: &str) -> Result<T> {
    // SAFETY: the caller's promise: `ptr` points to a struct of this kind, of whatever version.
    let size = unsafe { checked_size(ptr, name) }?;
    let known = size.min(size_of::<T>());
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller's struct has `size` bytes; `value` has room for `size_of::<T>()`.
    unsafe { std::ptr::copy_nonoverlapping(ptr.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), known) };
    if size > known {
        // SAFETY: the caller's struct has `size` bytes, of which `known` were looked at.
        let tail = unsafe { std::slice::from_raw_parts(ptr.cast::<u8>().add(known), size - known) };
        if tail.iter().any(|byte| *byte != 0) {
            return Err(Error::new(
                Code::InvalidInput,
                format!(
                    "{name} sets fields beyond the {known} bytes that version {} of this library knows",
                    env!("CARGO_PKG_VERSION")
                ),
            )
            .with("argument", name)
            .with("size", size)
            .with("known", known));
        }
    }
    // SAFETY: `Record` says that any bytes are a valid value, and all of them are initialised.
    Ok(unsafe { value.assume_init() })
}

/// A record of the caller's to write to.
pub(super) struct OutRecord<T> {
    ptr: NonNull<T>,
    size: usize,
}

impl<T: Record> OutRecord<T> {
    /// Writes as much of the record as the caller has room for; the caller's `size` stays.
    pub(super) fn set(&mut self, value: &T) {
        let known = self.size.min(size_of::<T>());
        let to = self.ptr.cast::<u8>();
        // SAFETY: an `OutRecord` is made by `out` only, from a pointer that was checked and has `size` bytes
        // behind it, says the caller. The first `MIN_SIZE` of them are the size, which is left alone.
        unsafe {
            let from = std::ptr::from_ref(value).cast::<u8>();
            std::ptr::copy_nonoverlapping(from.add(MIN_SIZE), to.as_ptr().add(MIN_SIZE), known - MIN_SIZE);
            std::ptr::write_bytes(to.as_ptr().add(known), 0, self.size - known);
        }
    }
}

/// A record of the caller's to write to; its `size` must have been set.
pub(super) unsafe fn out<T: Record>(ptr: *mut T, name: &str) -> Result<OutRecord<T>> {
    // SAFETY: the same promise as ours.
    let size = unsafe { checked_size(ptr, name) }?;
    Ok(OutRecord { ptr: arg::non_null(ptr, name)?, size })
}

/// An array of records: all have the size that the first one states, which is also their distance.
pub(super) struct Array<T> {
    start: NonNull<T>,
    size: usize,
    count: usize,
    name: &'static str,
}

impl<T: Record> Array<T> {
    /// `count` records of the caller's, from the size of the first.
    pub(super) unsafe fn new(ptr: *mut T, name: &'static str, count: usize) -> Result<Self> {
        if count == 0 {
            return Ok(Self { start: NonNull::dangling(), size: size_of::<T>(), count, name });
        }
        let start = arg::items(ptr, name, count)?;
        // SAFETY: the same promise as ours.
        let size = unsafe { checked_size(ptr, name) }?;
        if size % align_of::<T>() != 0 {
            return Err(wrong_size::<T>(name, size));
        }
        Ok(Self { start, size, count, name })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Copies them out of the caller's memory one by one.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<T>> + '_ {
        (0..self.count).map(|index| {
            let ptr = self.checked(index)?;
            // SAFETY: `checked` answers one of the `count` records that are there.
            unsafe { read(ptr, self.name) }
        })
    }

    /// Refuses an array whose items do not all state the same size.
    pub(super) fn check(&self) -> Result<()> {
        (0..self.count).try_for_each(|index| match self.checked(index) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.with("index", index)),
        })
    }

    /// Writes one of them.
    pub(super) fn set(&mut self, index: usize, value: &T) {
        if let Some(ptr) = self.at(index) {
            OutRecord { ptr, size: self.size }.set(value);
        }
    }

    fn at(&self, index: usize) -> Option<NonNull<T>> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `count` records of `size` bytes are there, says the caller, and `index` is below `count`.
        Some(unsafe { self.start.byte_add(index * self.size) })
    }

    fn checked(&self, index: usize) -> Result<*const T> {
        let Some(ptr) = self.at(index) else {
            return Err(Error::new(Code::InternalError, format!("{} has no item {index}", self.name)));
        };
        // SAFETY: the record is there, as in `at`, and starts with its size.
        let size = unsafe { ptr.cast::<u32>().read() } as usize;
        if size == self.size {
            return Ok(ptr.as_ptr());
        }
        Err(Error::new(
            Code::InvalidInput,
            format!("{0}[{index}].size is {size}, but {0}[0].size is {1}", self.name, self.size),
        )
        .with("argument", self.name))
    }
}

unsafe fn checked_size<T: Record>(ptr: *const T, name: &str) -> Result<usize> {
    let start = arg::non_null(ptr.cast_mut(), name)?;
    // SAFETY: not NULL and aligned, as was just checked; the first field of every record is a `u32`.
    let size = unsafe { start.cast::<u32>().read() } as usize;
    if (MIN_SIZE..=MAX_SIZE).contains(&size) {
        return Ok(size);
    }
    Err(wrong_size::<T>(name, size))
}

#[cold]
fn wrong_size<T>(name: &str, size: usize) -> Error {
    Error::new(
        Code::InvalidInput,
        format!("{name}.size is {size}; start from the struct's _INIT, which sets {}", size_of::<T>()),
    )
    .with("argument", name)
    .with("size", size)
}
