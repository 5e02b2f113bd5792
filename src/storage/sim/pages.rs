//! Bytes in pages that copies share until one of them writes: a disk is copied once for every crash.

use std::sync::Arc;

use super::random::mix;

const PAGE: usize = 4096;

type Page = [u8; PAGE];

/// A row of bytes.
///
/// Invariants: there are exactly as many pages as the length needs; a page that is `None` is all zeros; the
/// last page is zero behind the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    pages: Arc<Vec<Option<Arc<Page>>>>,
    len: usize,
}

impl Pages {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Cuts, or extends by zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        if len == self.len {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        pages.resize(len.div_ceil(PAGE), None);
        if len < self.len
            && let Some(Some(last)) = pages.last_mut().filter(|_| !len.is_multiple_of(PAGE))
            && let Some(behind) = Arc::make_mut(last).get_mut(len % PAGE..)
        {
            behind.fill(0);
        }
        self.len = len;
    }

    /// Copies what there is from this offset on; answers how many bytes that were.
    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let there = self.len.saturating_sub(offset).min(buffer.len());
        let mut done = 0;
        while done < there {
            let (page, from) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let part = (there - done).min(PAGE - from);
            let source = self.pages.get(page).and_then(Option::as_ref);
            if let Some(target) = buffer.get_mut(done..done + part) {
                match source.and_then(|page| page.get(from..from + part)) {
                    Some(source) => target.copy_from_slice(source),
                    None => target.fill(0),
                }
            }
            done += part;
        }
        there
    }

    /// Puts these bytes in place, making the row longer if they reach beyond its end.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.set_len(self.len.max(offset.saturating_add(bytes.len())));
        let pages = Arc::make_mut(&mut self.pages);
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let (page, from) = (at / PAGE, at % PAGE);
            let (part, behind) = rest.split_at(rest.len().min(PAGE - from));
            if let Some(slot) = pages.get_mut(page) {
                let zeros = slot.is_none() && part.iter().all(|byte| *byte == 0);
                let target = if zeros { None } else { Some(slot.get_or_insert_with(|| Arc::new([0; PAGE]))) };
                if let Some(target) =
                    target.and_then(|page| Arc::make_mut(page).get_mut(from..from + part.len()))
                {
                    target.copy_from_slice(part);
                }
            }
            at += part.len();
            rest = behind;
        }
    }

    /// A number that differs, as good as always, when the bytes differ.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut sum = mix(self.len as u64);
        for (number, page) in self.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            let mut hash = mix(number as u64 + 1);
            for word in page.chunks_exact(8) {
                let word = word.try_into().map_or(0, u64::from_le_bytes);
                hash = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
            // A page of zeros counts as one that was never written.
            if page.iter().any(|byte| *byte != 0) {
                sum = sum.wrapping_add(mix(hash));
            }
        }
        sum
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_are_a_vector(steps in prop::collection::vec((0_usize..20_000, 0_usize..9_000, any::<u8>()), 1..20)) {
            let (mut pages, mut model) = (Pages::default(), Vec::new());
            for (at, size, byte) in steps {
                let before = pages.clone();
                let old = model.clone();
                if byte % 4 == 0 {
                    pages.set_len(at);
                    model.resize(at, 0);
                } else {
                    pages.write(at, &vec![byte; size]);
                    model.resize(model.len().max(at + size), 0);
                    model[at..at + size].fill(byte);
                }
                let mut all = vec![1; model.len() + 7];
                prop_assert_eq!(pages.read(0, &mut all), model.len());
                prop_assert_eq!(&all[..model.len()], &model[..]);
                let mut part = vec![1; size];
                let count = pages.read(at / 2, &mut part);
                prop_assert_eq!(&part[..count], &model[(at / 2).min(model.len())..][..count]);
                prop_assert_eq!(pages.fingerprint() == before.fingerprint(), model == old);
            }
        }
    }
}
