//! A file's beginning as memory, shared with the kernel's cache.
//!
//! Invariants: `base` is a live mapping of `len` bytes that only this value unmaps; every access is checked
//! against `len` first; the memory is written through the raw pointer and never lent out as a reference, so
//! that other processes (and `pread` here) may look at the file at any time. The blocks were reserved before
//! mapping, so a full disk cannot raise SIGBUS; only cutting the file can, which the trait states.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, Ordering};

use super::space;
use crate::error::Result;
use crate::storage::{Failure, Mapping};

/// File systems whose pages live in another machine or process: NFS, SMB (three generations), FUSE, 9p,
/// AFS, Ceph, Coda, NCP.
const REFUSED: [(u64, &str); 10] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
];
/// The smallest page of any target; touching more often than needed does no harm.
const PAGE: usize = 4096;

#[derive(Debug)]
pub(super) struct RealMapping {
    base: NonNull<u8>,
    len: usize,
    path: PathBuf,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this value is its only user.
unsafe impl Send for RealMapping {}

impl RealMapping {
    pub(super) fn new(file: &fs::File, path: &Path, len: u64) -> std::result::Result<Self, Failure> {
        let refused = |why: &str| Failure::MappingRefused(why.to_owned());
        let there = file.metadata()?.len();
        if there < len {
            return Err(Failure::MappingRefused(format!("it has {there} bytes, fewer than {len}")));
        }
        let size = usize::try_from(len).map_err(|_| refused("it is larger than memory can be"))?;
        if size == 0 {
            return Err(refused("nothing of it is to be mapped"));
        }
        let kind = space::kind(file)?;
        if let Some((_, name)) = REFUSED.iter().find(|(refused, _)| *refused == kind) {
            return Err(Failure::MappingRefused(format!("it is on a {name} file system")));
        }
        // Without blocks behind every page, writing to one when the disk is full would be a SIGBUS.
        match space::reserve(file, libc::FALLOC_FL_KEEP_SIZE, 0, len) {
            Err(cause) if space::unsupported(&cause) => {
                return Err(refused("its file system cannot reserve space"));
            }
            reserved => reserved?,
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours; the
        // descriptor is open.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), size, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| refused("the kernel gave no address"))?;
        Ok(Self { base, len: size, path: path.to_owned() })
    }
}

impl Mapping for RealMapping {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let start = usize::try_from(offset).ok().filter(|start| *start <= self.len);
        let Some(start) = start.filter(|start| bytes.len() <= self.len - start) else {
            return Err(Failure::BeyondMapping.at("write", &self.path));
        };
        // SAFETY: `start + bytes.len() <= len` was checked, so the target lies within the live mapping;
        // `bytes` cannot overlap it, because no reference into the mapping exists.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(start), bytes.len()) };
        Ok(())
    }

    fn prefault(&self, from: u64, to: u64) {
        let within = |at: u64| usize::try_from(at).unwrap_or(self.len).min(self.len);
        let (start, end) = (within(from) & !(PAGE - 1), within(to));
        if start >= end {
            return;
        }
        // SAFETY: the range lies within the live mapping and populating it changes no byte.
        let populated = unsafe {
            libc::madvise(self.base.as_ptr().add(start).cast(), end - start, libc::MADV_POPULATE_WRITE)
        };
        if populated == 0 {
            return;
        }
        // Kernels before 5.14 and pages larger than ours: touch each page for writing, atomically, so that
        // a byte written by another process at this moment is not undone.
        for at in (start..end).step_by(PAGE) {
            // SAFETY: `at < end <= len`: within the live mapping, which is writable.
            unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(at)) }.fetch_or(0, Ordering::Relaxed);
        }
    }
}

impl Drop for RealMapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped is unmapped, once, and nothing can use it afterwards.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
