//! Random bytes from the operating system, for identities and seeds.

/// Sixteen random bytes.
pub(crate) fn bytes() -> [u8; 16] {
    let mut bytes = [0_u8; 16];
    // SAFETY: the buffer is valid for its whole length; the call writes at most that many bytes.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got != bytes.len() as isize {
        // Only before the system's generator was seeded; then the hasher of the standard library is as good.
        use std::hash::{BuildHasher, RandomState};
        let (a, b) = (RandomState::new().hash_one(1), RandomState::new().hash_one(2));
        bytes = (u128::from(a) << 64 | u128::from(b)).to_le_bytes();
    }
    bytes
}

/// A random word.
pub(crate) fn word() -> u64 {
    u128::from_le_bytes(bytes()) as u64
}
