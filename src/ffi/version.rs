//! Version of the library in use, as opposed to the header's constants `ESF_VERSION` and `ESF_ABI_VERSION`.

use super::abi::ESF_ABI_VERSION;
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
