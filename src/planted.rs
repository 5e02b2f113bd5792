//! What the crash tests need of the library: mistakes made on purpose, to show that they are noticed, and one thread
//! that appends as if it were several. Without the feature `crash-tests` nothing of this is in the library: whether a
//! mistake is made is a constant then.

/// A mistake in the code of the library. Forgotten syncs are made by the file system of the tests instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "crash-tests"), allow(dead_code, reason = "asked about only"))]
pub enum Mistake {
    /// A frame of a file is believed whatever its checksum says.
    ChecksumNotCompared,
    /// The first log after an opening goes on in a log that was left behind.
    AppendToUnclean,
}

#[cfg(feature = "crash-tests")]
std::thread_local! {
    static MADE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
    static SHARD: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread appends to this shard of a store (the remainder by their number), or to its own.
#[cfg(feature = "crash-tests")]
pub fn append_to(shard: Option<usize>) {
    SHARD.set(shard);
}

#[cfg(feature = "crash-tests")]
pub(crate) fn shard() -> Option<usize> {
    SHARD.get()
}

/// From now on this thread makes this mistake, or none.
#[cfg(feature = "crash-tests")]
pub fn make(mistake: Option<Mistake>) {
    MADE.set(mistake);
}

#[cfg(feature = "crash-tests")]
pub(crate) fn made(mistake: Mistake) -> bool {
    MADE.get() == Some(mistake)
}

#[cfg(not(feature = "crash-tests"))]
#[inline]
pub(crate) const fn made(_: Mistake) -> bool {
    false
}
