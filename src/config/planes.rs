//! How the words of many keys change together while readers never wait.
//!
//! Every key has a [`Line`] of `N` words, its planes; all keys of a tree share a [`Head`] with the
//! published version. Version `v` lives in plane `v % N` of every line.
//!
//! Invariants:
//! - There is one writer at a time (it holds a lock). It fills plane `(v + 1) % N` of every line, and only
//!   then publishes `v + 1`. So the plane of a published version is whole.
//! - The plane of `v` is written again only for `v + N`, which the writer begins after `v + N - 1` was
//!   published. The release fence before that and the reader's acquire fence mean that a reader who sees
//!   a word of `v + N` in the plane of `v` also sees a version of at least `v + N - 1`, and retries.
//!   So a read always returns the word of exactly the version that it saw published.
//! - The version never decreases, so two reads of one thread never go back in time, whichever keys.
//!
//! A reader retries only when `N - 1` versions were published during its two loads.

use crate::runtime::sync::{AtomicU64, Ordering, fence};

/// The words of one key, one for each of the last versions. One cache line when there are eight.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Line<const N: usize>([AtomicU64; N]);

/// The published version of a tree, in a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Head(AtomicU64);

impl<const N: usize> Line<N> {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    #[inline]
    #[allow(clippy::indexing_slicing, reason = "a remainder of the array's length is always inside")]
    fn plane(&self, version: u64) -> &AtomicU64 {
        &self.0[version as usize % N]
    }
}

impl Head {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The version that is published.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// The word of this line in the published version.
    #[inline]
    pub(crate) fn read<const N: usize>(&self, line: &Line<N>) -> u64 {
        loop {
            let version = self.0.load(Ordering::Acquire);
            let word = line.plane(version).load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if self.0.load(Ordering::Relaxed).wrapping_sub(version) < N as u64 - 1 {
                return word;
            }
        }
    }

    /// Publishes the first version of a new tree, which nobody reads yet: a head that was used before
    /// starts again.
    pub(crate) fn start(&self, version: u64) {
        self.0.store(version, Ordering::Release);
    }

    /// Publishes a version whose planes are filled. The writer's own step.
    pub(crate) fn publish(&self, version: u64) {
        self.0.fetch_max(version, Ordering::AcqRel);
    }

    /// Publishes a version on the writer's behalf, for a reader who learned of it another way (it saw the
    /// snapshot, which is stored after the planes are filled) and must not see an older one afterwards.
    #[inline]
    pub(crate) fn catch_up(&self, version: u64) {
        if self.version() < version {
            self.publish(version);
        }
    }
}

/// Fills the plane of the version that comes next. The caller is the only writer.
pub(crate) fn fill<'a, const N: usize>(version: u64, words: impl Iterator<Item = (&'a Line<N>, u64)>) {
    // Orders the publication of the version before this one ahead of the words below (second invariant).
    fence(Ordering::Release);
    for (line, word) in words {
        line.plane(version).store(word, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_cache_line() {
        assert_eq!(size_of::<Line<8>>(), 64);
        assert_eq!(size_of::<Head>(), 64);
    }

    #[test]
    fn readers_under_a_busy_writer_see_whole_versions_that_only_grow() {
        let head = Head::new();
        let lines: [Line<8>; 2] = std::array::from_fn(|_| Line::new());
        let last = 200_000_u64;
        fill(0, lines.iter().zip([0, 1]));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < last {
                        for (at, line) in lines.iter().enumerate() {
                            let before = head.version();
                            let word = head.read(line);
                            let after = head.version();
                            assert_eq!(word % 2, at as u64, "another line's word");
                            let version = word / 2;
                            assert!(before <= version && version <= after && seen <= version);
                            seen = version;
                        }
                    }
                });
            }
            for version in 1..=last {
                fill(version, lines.iter().zip([version * 2, version * 2 + 1]));
                head.publish(version);
            }
        });
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    struct Tree<const N: usize> {
        head: Head,
        lines: [Line<N>; 2],
        /// Stands for the snapshot pointer: the newest version whose planes are filled.
        snapshot: AtomicU64,
    }

    impl<const N: usize> Tree<N> {
        fn new() -> Arc<Self> {
            let tree = Self {
                head: Head::new(),
                lines: std::array::from_fn(|_| Line::new()),
                snapshot: AtomicU64::new(0),
            };
            tree.write(1);
            Arc::new(tree)
        }

        fn write(&self, version: u64) {
            fill(version, self.lines.iter().zip([version * 10, version * 10 + 1]));
            self.snapshot.store(version, Ordering::Release);
            self.head.publish(version);
        }
    }

    /// The writer goes round all planes while a reader reads both keys: each word belongs to its key and
    /// to a version that was published around the read, and versions never go back.
    fn wrap_around<const N: usize>(versions: u64) {
        let tree = Tree::<N>::new();
        let writer = {
            let tree = tree.clone();
            thread::spawn(move || {
                for version in 2..=versions {
                    tree.write(version);
                }
            })
        };
        let mut seen = 1;
        for (at, line) in tree.lines.iter().enumerate() {
            let before = tree.head.version();
            let word = tree.head.read(line);
            let after = tree.head.version();
            assert_eq!(word % 10, at as u64, "another key's word");
            let version = word / 10;
            assert!(before <= version && version <= after, "{before} <= {version} <= {after}");
            assert!(seen <= version, "back in time");
            seen = version;
        }
        writer.join().unwrap();
        assert_eq!(tree.head.read(&tree.lines[0]), versions * 10);
    }

    #[test]
    fn loom_two_planes_wrap_around() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| wrap_around::<2>(4));
    }

    #[test]
    fn loom_four_planes_wrap_around() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| wrap_around::<4>(6));
    }

    /// A reader that saw a snapshot sees the same version or a newer one through a key, and the other way
    /// round, also while the writer stands between the two steps of its publication.
    #[test]
    fn loom_snapshot_and_keys_agree() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let tree = Tree::<4>::new();
            let writer = {
                let tree = tree.clone();
                thread::spawn(move || {
                    tree.write(2);
                    tree.write(3);
                })
            };
            let by_key = tree.head.read(&tree.lines[0]) / 10;
            let by_snapshot = tree.snapshot.load(Ordering::Acquire);
            tree.head.catch_up(by_snapshot);
            assert!(by_key <= by_snapshot, "the snapshot is older than the key");
            let again = tree.head.read(&tree.lines[1]) / 10;
            assert!(by_snapshot <= again, "the key is older than the snapshot");
            writer.join().unwrap();
            assert_eq!(tree.head.version(), 3);
        });
    }
}
