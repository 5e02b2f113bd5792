//! The hash of the indexes and filters: XXH3, 64 bits, with a seed that belongs to the store.
//!
//! It is part of what files hold (filters of sealed segments), so it is the same on every machine and in every
//! version. The seed is drawn when a store is made and kept with it, so that nobody outside can choose keys that
//! meet. Byte strings (correlation ids, pids) are hashed as they are, ids as their eight bytes, little-endian.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How a store hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash {
    seed: u64,
}

impl Hash {
    /// The hash of a store that has this seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub(crate) fn seed(self) -> u64 {
        self.seed
    }

    /// The hash of a correlation id or pid.
    pub(crate) fn bytes(self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.seed)
    }

    /// A cheap hash of an event id for tables that live in memory only.
    pub(crate) fn quick(self, id: u64) -> u64 {
        (id ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }

    /// The hash of an event id.
    pub(crate) fn id(self, id: u64) -> u64 {
        self.bytes(&id.to_le_bytes())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // From the reference implementation, `XXH3_64bits_withSeed`.
        assert_eq!(Hash::seeded(0).bytes(b""), 0x2d06_8005_38d3_94c2);
        assert_ne!(Hash::seeded(1).bytes(b"a"), Hash::seeded(0).bytes(b"a"));
        assert_eq!(Hash::seeded(7).id(258), Hash::seeded(7).bytes(&[2, 1, 0, 0, 0, 0, 0, 0]));
    }
}
