//! Version of the library in use, as opposed to the header's constants `ESF_VERSION` and `ESF_ABI_VERSION`.

use std::ffi::c_char;

use super::abi::ESF_ABI_VERSION;
use super::status::esf_status;
use super::text::{esf_str, lend};

/// The ABI of the library in use; compare with `ESF_ABI_VERSION`, or use `ESF_CHECK_VERSION()`.
///
/// Errors: none.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_abi_version() -> u32 {
    guard! { value(ESF_ABI_VERSION) => { ESF_ABI_VERSION } }
}

/// The version of the library in use, such as `0.1.0`.
///
/// Errors: none.
/// Threads: any, concurrently.
/// Ownership: the text is static; nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_version() -> esf_str {
    guard! { value(lend("")) => { lend(env!("CARGO_PKG_VERSION")) } }
}

/// The version of the library in use, into a buffer.
///
/// Errors: ESF_E_NULL_ARGUMENT; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_version_into(
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
) -> esf_status {
    guard! { brief, buffer(buffer, capacity, out_needed) => {
        Ok(buffer.fill(env!("CARGO_PKG_VERSION")))
    } }
}
