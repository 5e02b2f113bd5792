//! Errors: the details behind a status.
//!
//! A call that fails stores an `esf_error` in its last argument, `err`, unless that is NULL; a call that
//! succeeds leaves it alone. An error is independent of the instance that it came from and lives until
//! `esf_error_free`. In JSON it has the keys `code`, `hierarchical_code`, `error_type`, `category`,
//! `subcategory`, `severity`, `message`, `context`, `correlation_id`, `timestamp_ns`, `retry_strategy` and
//! `recovery_actions`; `context` names what was wrong: `argument`, `path`, `value`, `limit`, `violations`.

use std::ffi::c_char;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use super::arg::{self, Out};
use super::status::{ESF_AGAIN, ESF_DONE, ESF_GAP, ESF_OK, ESF_TIMED_OUT, esf_status};
use super::text::{self, Sink, esf_str, esf_string};
use crate::error::{Code, Error, Result};
use crate::runtime::fork;
use crate::runtime::handle::{ColdTable, Tag};

/// One failure, with all that is known about it.
pub struct esf_error {
    _opaque: [u8; 0],
}

/// An error as C sees it: what is lent of it is made once and stays until it is freed.
struct Entry {
    error: Error,
    hierarchical: String,
    json: OnceLock<String>,
}

impl Entry {
    fn new(error: Error) -> Self {
        Self { hierarchical: error.hierarchical(), error, json: OnceLock::new() }
    }
}

/// How many errors C callers may own at once; beyond it they get prepared ones, without details.
const MAX_ERRORS: u32 = 1 << 16;

/// The errors that C callers own.
static ERRORS: ColdTable<Entry> = ColdTable::new(Tag::Error, MAX_ERRORS);

/// One error of each code, with the table's message: for a forked child, which may take no lock of the
/// table, for a thread that is about to fork, and for when the table itself is full.
static PREPARED: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    Code::ALL.iter().map(|code| Entry::new(Error::new(*code, code.row().message))).collect()
});

/// Marks the handle of a prepared error, above the 59 bits of handles; below it is the code.
const PREPARED_MARK: u64 = 1 << 62;

/// Lets the errors rest for a fork of this thread's.
pub(super) fn rest(deadline: Duration) -> Result<()> {
    fork::keep(ERRORS.rest(deadline)?);
    Ok(())
}

/// Makes the prepared errors, so that a forked child finds them.
pub(super) fn prepare() {
    LazyLock::force(&PREPARED);
}

/// Stores the error for the caller, if it wants it, and answers its number.
#[cold]
#[inline(never)]
pub(super) fn report(err: *mut *mut esf_error, error: Error) -> esf_status {
    let status = error.code() as esf_status;
    // SAFETY: `guard!` passes on the `err` of an export, whose caller made the promise of `arg`.
    if let Ok(Some(mut out)) = unsafe { arg::optional_out(err, "err") } {
        // In a forked child the table's lock may be one that nobody will ever give back.
        let handle = if fork::is_forked() { None } else { ERRORS.insert(Entry::new(error)).ok() };
        let handle = handle.unwrap_or_else(|| prepared_handle(status));
        out.set(arg::to_handle(handle));
    }
    status
}

/// Answers `forked`, without a lock that another thread of the parent may have held.
#[cold]
#[inline(never)]
pub(super) fn report_forked(err: *mut *mut esf_error) -> esf_status {
    let status = Code::Forked as esf_status;
    // SAFETY: as in `report`.
    if let Ok(Some(mut out)) = unsafe { arg::optional_out(err, "err") } {
        out.set(arg::to_handle(prepared_handle(status)));
    }
    status
}

/// Shows an outcome to a function of the caller's: its number and, until `call` returns, its error.
pub(super) fn lend(outcome: Result<()>, call: impl FnOnce(esf_status, *const esf_error)) {
    let Err(error) = outcome else { return call(ESF_OK, std::ptr::null()) };
    let mut lent = std::ptr::null_mut();
    let status = report(&raw mut lent, error);
    call(status, lent);
    let handle = lent.addr() as u64;
    if prepared(handle).is_none() {
        // The caller may have freed it, which was not its to do and does no harm.
        let _ = ERRORS.remove(handle, LENT);
    }
}

/// How long the end of a lent error waits for another thread of the caller's that reads it against the rules.
const LENT: Duration = Duration::from_secs(1);

fn prepared_handle(status: esf_status) -> u64 {
    PREPARED_MARK | status as u64
}

fn prepared(handle: u64) -> Option<&'static Entry> {
    // Of the bits above the number only the mark may be set.
    let code = Code::from_number(u32::try_from(handle ^ PREPARED_MARK).ok()?)?;
    PREPARED.iter().find(|entry| entry.error.code() == code)
}

fn with<T>(handle: u64, read: impl FnOnce(&Entry) -> Result<T>) -> Result<T> {
    match prepared(handle) {
        Some(entry) => read(entry),
        None => read(&*ERRORS.pin(handle)?),
    }
}

/// The name of a status, such as `range_error` for 1203.
///
/// Answers `ok`, `done`, `again`, `timed_out`, the name of the error, or `unknown`. The text is static.
///
/// Errors: none.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_status_name(status: esf_status) -> esf_str {
    guard! { value(text::lend("unknown")) => { text::lend(name_of(status)) } }
}

/// The name of a status, into a buffer.
///
/// Errors: ESF_E_NULL_ARGUMENT; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_status_name_into(
    status: esf_status,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
) -> esf_status {
    guard! { brief, buffer(buffer, capacity, out_needed) => { Ok(buffer.fill(name_of(status))) } }
}

fn name_of(status: esf_status) -> &'static str {
    match status {
        ESF_OK => "ok",
        ESF_DONE => "done",
        ESF_AGAIN => "again",
        ESF_TIMED_OUT => "timed_out",
        ESF_GAP => "gap",
        other => {
            let code = u32::try_from(other).ok().and_then(Code::from_number);
            code.map_or("unknown", |code| code.row().name)
        }
    }
}

/// The error's number: what the failed call answered.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_code(error: *const esf_error, out_code: *mut esf_status) -> esf_status {
    guard! { brief, handle(error), out(out_code) => {
        out_code.set(with(error, |entry| Ok(entry.error.code() as esf_status))?);
        Ok(ESF_OK)
    } }
}

/// The error's name, such as `range_error`: the same word in every language.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
/// Threads: any, concurrently.
/// Ownership: the text is static; nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_type(error: *const esf_error, out_type: *mut esf_str) -> esf_status {
    guard! { brief, handle(error), out(out_type) => {
        lend_part(error, &mut out_type, |entry| entry.error.error_type())
    } }
}

/// The error's name, into a buffer.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_type_into(
    error: *const esf_error,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
) -> esf_status {
    guard! { brief, handle(error), buffer(buffer, capacity, out_needed) => {
        with(error, |entry| Ok(buffer.fill(entry.error.error_type())))
    } }
}

/// The error's hierarchical code, such as `C203`: category and the last three digits of its number.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
/// Threads: any, concurrently.
/// Ownership: the text is the error's; it lives until `esf_error_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_hierarchical(
    error: *const esf_error,
    out_hierarchical: *mut esf_str,
) -> esf_status {
    guard! { brief, handle(error), out(out_hierarchical) => {
        lend_part(error, &mut out_hierarchical, |entry| &entry.hierarchical)
    } }
}

/// The error's hierarchical code, into a buffer.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_hierarchical_into(
    error: *const esf_error,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
) -> esf_status {
    guard! { brief, handle(error), buffer(buffer, capacity, out_needed) => {
        with(error, |entry| Ok(buffer.fill(&entry.hierarchical)))
    } }
}

/// What was wrong, with which value, and what to do: a message for a person.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
/// Threads: any, concurrently.
/// Ownership: the text is the error's; it lives until `esf_error_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_message(error: *const esf_error, out_message: *mut esf_str) -> esf_status {
    guard! { brief, handle(error), out(out_message) => {
        lend_part(error, &mut out_message, |entry| entry.error.message())
    } }
}

/// The error's message, into a buffer.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_message_into(
    error: *const esf_error,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
) -> esf_status {
    guard! { brief, handle(error), buffer(buffer, capacity, out_needed) => {
        with(error, |entry| Ok(buffer.fill(entry.error.message())))
    } }
}

/// The whole error as JSON; this section's introduction lists the keys.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE, ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_json(error: *const esf_error, out_json: *mut esf_string) -> esf_status {
    guard! { brief, handle(error), out(out_json) => {
        fork::check()?;
        out_json.put(with(error, |entry| Ok(json(entry).to_owned()))?)
    } }
}

/// The whole error as JSON, into a buffer.
///
/// Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_json_into(
    error: *const esf_error,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
) -> esf_status {
    guard! { brief, handle(error), buffer(buffer, capacity, out_needed) => {
        with(error, |entry| Ok(buffer.fill(json(entry))))
    } }
}

/// Frees an error. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before; ESF_E_TIMEOUT if another thread is reading it: it is not
/// freed then. ESF_E_FORKED in a forked child, whose memory ends with it anyway.
/// Threads: any; not while a call on the same error runs.
/// Ownership: ends here; text that was lent from it is no longer valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_error_free(error: *mut esf_error) -> esf_status {
    guard! { brief, optional_handle(error) => {
        if error != 0 && prepared(error).is_none() {
            fork::check()?;
            drop(ERRORS.remove(error, arg::AT_ONCE)?);
        }
        Ok(ESF_OK)
    } }
}

fn json(entry: &Entry) -> &str {
    entry.json.get_or_init(|| entry.error.to_json().to_string())
}

/// Lends text of an error; it stays where it is until the error is freed.
fn lend_part(error: u64, out: &mut Out<esf_str>, part: impl FnOnce(&Entry) -> &str) -> Result<esf_status> {
    out.set(with(error, |entry| Ok(text::lend(part(entry))))?);
    Ok(ESF_OK)
}

/// Panics inside the boundary, which must answer `internal_error`: for the test of the packaged library.
/// It is no part of the ABI and not in the header.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf__test_panic(err: *mut *mut esf_error) -> esf_status {
    guard! { local(err) => { deliberate_panic() } }
}

#[allow(clippy::panic, reason = "this is what the function is for")]
fn deliberate_panic() -> Result<esf_status> {
    panic!("asked for by esf__test_panic")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::runtime::fork::tests::in_child;

    #[test]
    fn a_forked_child_reports_without_the_tables_lock() {
        fork::arm();
        prepare();
        // As if another thread held the lock at the moment of the fork.
        let held = ERRORS.rest(Duration::from_secs(30)).unwrap();
        let code = in_child(|| {
            let mut err = std::ptr::null_mut();
            let status = report(&raw mut err, Error::new(Code::OperationForbidden, "no"));
            let read = with(err.addr() as u64, |entry| Ok(entry.error.code())).ok();
            i32::from(status == Code::OperationForbidden as i32 && read == Some(Code::OperationForbidden))
        });
        drop(held);
        assert_eq!(code, 1);
    }
}
