//! The number of this ABI: it grows when a compiled program could no longer work with a newer library, and
//! it is the number in the library's SONAME. `build.rs` includes this very file.

/// The ABI that this header describes; `esf_abi_version()` answers that of the library in use.
pub const ESF_ABI_VERSION: u32 = 0;
