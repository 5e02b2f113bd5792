//! Space on the disk: reserving it for a file, and how much there is.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How many zeros are written at a time.
const CHUNK: usize = 256 * 1024;

/// Makes the file at least `len` bytes long with written zeros; after an error it is as long as before.
pub(super) fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    let old = file.metadata()?.len();
    if len <= old {
        return Ok(());
    }
    let filled = fill(file, old, len);
    if filled.is_err() {
        // Gives back what was reserved. The first error is the one to report.
        let _ = file.set_len(old);
    }
    filled
}

fn fill(file: &fs::File, from: u64, to: u64) -> io::Result<()> {
    // Reserved first, in one call: a full disk refuses before anything is written.
    match reserve(file, 0, from, to - from) {
        Err(cause) if unsupported(&cause) => {}
        reserved => reserved?,
    }
    let zeros = vec![0; CHUNK.min(usize::try_from(to - from).unwrap_or(CHUNK))];
    let mut at = from;
    while at < to {
        let part = usize::try_from(to - at).unwrap_or(CHUNK).min(zeros.len());
        file.write_all_at(zeros.get(..part).unwrap_or_default(), at)?;
        at += part as u64;
    }
    Ok(())
}

/// Reserves the space of a range, as `fallocate` with these flags does; never emulated.
pub(super) fn reserve(file: &fs::File, flags: libc::c_int, offset: u64, len: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let offset = libc::off_t::try_from(offset).map_err(too_large)?;
    let len = libc::off_t::try_from(len).map_err(too_large)?;
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed; no memory is passed.
        if unsafe { libc::fallocate(file.as_raw_fd(), flags, offset, len) } == 0 {
            return Ok(());
        }
        let cause = io::Error::last_os_error();
        if cause.kind() != io::ErrorKind::Interrupted {
            return Err(cause);
        }
    }
}

/// Whether this is how a file system says that it cannot reserve space at all.
pub(super) fn unsupported(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

/// The bytes that a process without privileges may still use where `path` is.
pub(super) fn available(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in NUL and `answer` has room for the struct that the call fills.
    if unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled all of it.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// The number that says what kind of file system holds this file.
pub(super) fn kind(file: &fs::File) -> io::Result<u64> {
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and `answer` has room for the struct that the call fills.
    if unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled all of it.
    let answer = unsafe { answer.assume_init() };
    // The width and sign of the field differ between targets; the magic numbers have 32 bits.
    Ok(answer.f_type as u64 & 0xffff_ffff)
}
