//! Text and bytes: lent, owned, or written into a buffer.
//!
//! An `esf_str` is lent: a pointer and a length, without a terminating NUL. As an argument it is read
//! during the call only; as a result it lives as long as the function says. `(NULL, 0)` is empty, both ways.
//! It is the one struct that is passed by value.
//!
//! An `esf_string` is owned by whoever got it, until `esf_string_free`. Its text is followed by a NUL, so
//! that `printf("%s", text.ptr)` works.
//!
//! Every function that answers text has a second form, named `..._into`, that fills a buffer of the caller.
//! It writes the text and a NUL and sets `*out_needed` to the bytes that takes. If the buffer is smaller
//! than that it writes nothing into it and answers `ESF_AGAIN`; with `(NULL, 0)` it only tells the size.

use std::ffi::c_char;
use std::time::Duration;

use super::arg::{self, Out};
use super::status::{ESF_AGAIN, ESF_OK, esf_status};
use crate::error::{Code, Error, Result};
use crate::runtime::fork;
use crate::runtime::handle::{ColdTable, Tag};

/// Bytes that are lent: UTF-8 where a function speaks of text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_str {
    /// The first byte; may be NULL if `len` is 0.
    pub ptr: *const c_char,
    /// How many bytes there are.
    pub len: usize,
}

/// Text that the caller owns; free it with `esf_string_free`.
#[repr(C)]
pub struct esf_string {
    /// The first byte; the text is followed by a NUL.
    pub ptr: *const c_char,
    /// How many bytes the text has, without the NUL.
    pub len: usize,
    /// Whom it belongs to: leave it alone.
    pub owner: u64,
}

layout! {
    esf_str 16 { ptr 0, len 8 }
    esf_string 24 { ptr 0, len 8, owner 16 }
}

/// How many texts C callers may own at once.
const MAX_TEXTS: u32 = 1 << 20;

/// The texts that C callers own; each ends with a NUL.
static STRINGS: ColdTable<Vec<u8>> = ColdTable::new(Tag::Text, MAX_TEXTS);

/// Lets the texts rest for a fork of this thread's.
pub(super) fn rest(deadline: Duration) -> Result<()> {
    fork::keep(STRINGS.rest(deadline)?);
    Ok(())
}

/// Frees a text and sets it to the empty one.
///
/// NULL and an empty text are fine. A text that was freed already is an error and nothing else happens.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before (through a copy of the struct), ESF_E_FORKED in a
/// forked child.
/// Threads: any; not concurrently on the same text.
/// Ownership: ends here; pointers into the text are no longer valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_string_free(text: *mut esf_string) -> esf_status {
    guard! { brief, optional_out(text) => { free(text) } }
}

fn free(text: Option<Out<esf_string>>) -> Result<esf_status> {
    let Some(mut text) = text else { return Ok(ESF_OK) };
    let owner = text.get().owner;
    if owner == 0 {
        return Ok(ESF_OK);
    }
    fork::check()?;
    drop(STRINGS.remove(owner, arg::AT_ONCE)?);
    text.set(esf_string { ptr: std::ptr::null(), len: 0, owner: 0 });
    Ok(ESF_OK)
}

/// Lends text to C for as long as `text` lives; empty text is `(NULL, 0)`.
pub(super) fn lend(text: &str) -> esf_str {
    lend_bytes(text.as_bytes())
}

/// Lends bytes to C for as long as `bytes` lives; none are `(NULL, 0)`.
pub(super) fn lend_bytes(bytes: &[u8]) -> esf_str {
    if bytes.is_empty() {
        return esf_str { ptr: std::ptr::null(), len: 0 };
    }
    esf_str { ptr: bytes.as_ptr().cast(), len: bytes.len() }
}

/// Where a getter puts its text: one of the two forms that every getter has.
pub(super) trait Sink {
    /// Hands the text over.
    fn put(&mut self, text: String) -> Result<esf_status>;
}

impl Sink for Out<esf_string> {
    fn put(&mut self, text: String) -> Result<esf_status> {
        let len = text.len();
        let mut bytes = text.into_bytes();
        bytes.try_reserve_exact(1).map_err(|_| no_memory(len))?;
        bytes.push(0);
        // The vector's own memory stays where it is when the vector moves into the table.
        let ptr = bytes.as_ptr().cast();
        let owner = STRINGS.insert(bytes)?;
        self.set(esf_string { ptr, len, owner });
        Ok(ESF_OK)
    }
}

/// A buffer of the caller's and where to say how much it takes.
pub(super) struct Buffer {
    pub(super) start: *mut c_char,
    pub(super) capacity: usize,
    pub(super) needed: Out<usize>,
}

impl Buffer {
    /// Copies the text and a NUL if they fit; says how many bytes that takes either way.
    pub(super) fn fill(&mut self, text: &str) -> esf_status {
        let needed = text.len() + 1;
        self.needed.set(needed);
        if needed > self.capacity {
            return ESF_AGAIN;
        }
        // SAFETY: the buffer is not NULL (checked when it was made, since its capacity is not 0) and has
        // room for `capacity >= needed` bytes, says the caller; text of ours does not overlap it.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), self.start.cast::<u8>(), text.len());
            self.start.add(text.len()).write(0);
        }
        ESF_OK
    }
}

impl Sink for Buffer {
    fn put(&mut self, text: String) -> Result<esf_status> {
        Ok(self.fill(&text))
    }
}

/// Copies lent pieces into one text of the caller's, and points them there.
pub(super) fn own(pieces: &mut [&mut esf_str], out: &mut Out<esf_string>) -> Result<esf_status> {
    let len = pieces.iter().map(|piece| piece.len).sum::<usize>();
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(len + 1).map_err(|_| no_memory(len))?;
    let start = bytes.as_mut_ptr();
    // SAFETY: the vector has room for all pieces and a NUL, so that all of it is initialised up to `len + 1`;
    // the pieces are ours and do not overlap it.
    unsafe {
        gather(pieces, start);
        start.add(len).write(0);
        bytes.set_len(len + 1);
    }
    let owner = STRINGS.insert(bytes)?;
    out.set(esf_string { ptr: start.cast(), len, owner });
    Ok(ESF_OK)
}

impl Buffer {
    /// Copies lent pieces into the buffer and points them there, if they and a NUL fit.
    pub(super) fn own(&mut self, pieces: &mut [&mut esf_str]) -> esf_status {
        let len = pieces.iter().map(|piece| piece.len).sum::<usize>();
        self.needed.set(len + 1);
        if len + 1 > self.capacity {
            return ESF_AGAIN;
        }
        // SAFETY: as in `fill`.
        unsafe {
            gather(pieces, self.start.cast());
            self.start.add(len).write(0);
        }
        ESF_OK
    }
}

/// Copies pieces one after the other and points them to their copies.
///
/// # Safety
/// The pieces are what `lend` made of text that still lives; there is room for all of them at `to`.
unsafe fn gather(pieces: &mut [&mut esf_str], mut to: *mut u8) {
    for piece in pieces {
        if piece.len > 0 {
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(piece.ptr.cast::<u8>(), to, piece.len) };
            piece.ptr = to.cast_const().cast();
            // SAFETY: still within the room that the caller promised.
            to = unsafe { to.add(piece.len) };
        }
    }
}

fn no_memory(len: usize) -> Error {
    Error::new(Code::NoMemory, format!("no memory for {len} bytes of text")).with("bytes", len)
}
