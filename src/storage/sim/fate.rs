//! What a disk looks like after the process or the machine has stopped.

use std::collections::BTreeMap;

use super::content::{Content, Dirty, Survival};
use super::medium::{Medium, NodeId, Writing};
use super::random::Random;

/// With more combinations of names than this, an enumeration takes all of a directory's changes or none.
const MAX_NAMES: u64 = 64;

/// Which unsynced sectors reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    None,
    All,
    /// All but these positions in the list of unsynced sectors.
    Without(usize, usize),
    /// These alone.
    Only(usize, usize),
    /// As many from the front as this.
    Front(usize),
}

impl Medium {
    /// The disk after a power failure whose accidents come from `random`.
    pub(super) fn crash(&self, random: &mut Random) -> Self {
        let mut after = self.clone();
        after.writing = None;
        let all_alike = random.below(6);
        let names = self.unsettled().into_iter().map(|(directory, count)| {
            let kept = match if all_alike < 2 { all_alike } else { random.below(4) } {
                0 => 0,
                1 => count,
                _ => random.index(count + 1),
            };
            (directory, kept)
        });
        after.names_survive(names.collect());
        for node in after.files() {
            let Ok(content) = after.content(node) else { continue };
            if !content.is_clean() {
                let content = draw(content, random);
                after.replace(node, content);
            }
        }
        after
    }

    /// The disk after the process was killed: what was written is there, the last write perhaps in part.
    pub(super) fn kill(&self, random: &mut Random) -> Self {
        let mut after = self.clone();
        if let Some(Writing { node, before, offset, bytes, mapped }) = after.writing.take()
            && !random.once_in(3)
        {
            let mut content = Content::clone(&before);
            let cut = random.index(bytes.len() + 1);
            let (front, back) = bytes.split_at(cut);
            match random.below(4) {
                // Copying into memory may begin anywhere; a system call begins at the front.
                0 if mapped => content.write(offset + cut, back),
                1 if mapped => {
                    for (number, word) in bytes.chunks(8).enumerate() {
                        if random.once_in(2) {
                            content.write(offset + number * 8, word);
                        }
                    }
                }
                _ => content.write(offset, front),
            }
            after.replace(node, content);
        }
        after
    }

    /// How many outcomes of a power failure [`outcome`](Self::outcome) tells apart.
    pub(super) fn outcomes(&self) -> u64 {
        let sectors = self.unsynced().len();
        self.name_outcomes() * 2 * data_outcomes(sectors)
    }

    /// One of the outcomes of a power failure, without garbage: for each combination of surviving names, all
    /// old or all new lengths, and of the unsynced sectors none, all, all but one or two, one or two, or a
    /// front part.
    pub(super) fn outcome(&self, number: u64) -> Self {
        let mut after = self.clone();
        after.writing = None;
        let sectors = self.unsynced();
        let (names, rest) = (number % self.name_outcomes(), number / self.name_outcomes());
        let (grown, data) = (rest % 2 == 1, data_outcome(rest / 2, sectors.len()));
        after.names_survive(self.name_outcome(names));
        for node in after.files() {
            let Ok(content) = after.content(node) else { continue };
            if content.is_clean() {
                continue;
            }
            let first = sectors.partition_point(|(other, _)| *other < node);
            let versions = content
                .dirty()
                .iter()
                .enumerate()
                .map(|(position, dirty)| if data.keeps(first + position) { dirty.count() } else { 0 });
            let versions = versions.collect();
            let lens = content.lens();
            let len = if grown { lens.last() } else { lens.first() }.copied().unwrap_or(0);
            let mut random = Random::new(number);
            let survival = &mut Survival { versions, garbled: Vec::new(), len, random: &mut random };
            let content = Content::restarted(content.survive(survival));
            after.replace(node, content);
        }
        after
    }

    /// The unsynced sectors of all files that have a name, in the order of the files.
    fn unsynced(&self) -> Vec<(NodeId, usize)> {
        let mut files = self.files();
        files.sort_unstable();
        let sectors = files.into_iter().filter_map(|node| Some((node, self.content(node).ok()?)));
        sectors
            .flat_map(|(node, content)| content.dirty().iter().map(move |dirty| (node, dirty.sector)))
            .collect()
    }

    fn name_outcomes(&self) -> u64 {
        let counts = self.unsettled();
        let all = counts.values().try_fold(1_u64, |product, count| product.checked_mul(*count as u64 + 1));
        match all {
            Some(all) if all <= MAX_NAMES => all,
            _ => 1 << counts.len().min(6),
        }
    }

    fn name_outcome(&self, number: u64) -> BTreeMap<NodeId, usize> {
        let counts = self.unsettled();
        let all = counts.values().try_fold(1_u64, |product, count| product.checked_mul(*count as u64 + 1));
        let mut rest = number;
        let kept = counts.into_iter().map(|(directory, count)| {
            let choices = if all.is_some_and(|all| all <= MAX_NAMES) { count as u64 + 1 } else { 2 };
            let choice = rest % choices;
            rest /= choices;
            (directory, if choice + 1 == choices { count } else { choice as usize })
        });
        kept.collect()
    }
}

impl Data {
    fn keeps(self, position: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Without(a, b) => position != a && position != b,
            Self::Only(a, b) => position == a || position == b,
            Self::Front(count) => position < count,
        }
    }
}

/// None, all, each front part, and each one or two sectors lost or kept.
fn data_outcomes(sectors: usize) -> u64 {
    let (n, pairs) = (sectors as u64, (sectors * (sectors + 1) / 2) as u64);
    2 + n + 2 * pairs
}

fn data_outcome(number: u64, sectors: usize) -> Data {
    let (n, pairs) = (sectors, sectors * (sectors + 1) / 2);
    let number = number as usize;
    match number {
        0 => Data::None,
        1 => Data::All,
        _ if number < 2 + n => Data::Front(number - 2),
        _ if number < 2 + n + pairs => {
            let (a, b) = pair(number - 2 - n);
            Data::Without(a, b)
        }
        _ => {
            let (a, b) = pair(number - 2 - n - pairs);
            Data::Only(a, b)
        }
    }
}

/// The pairs with a <= b, numbered by b, then a.
fn pair(number: usize) -> (usize, usize) {
    let mut b = 0;
    while (b + 1) * (b + 2) / 2 <= number {
        b += 1;
    }
    (number - b * (b + 1) / 2, b)
}

/// A file after a power failure.
fn draw(content: &Content, random: &mut Random) -> Content {
    let dirty = content.dirty();
    let sectors = dirty.len();
    let one = |random: &mut Random| random.index(sectors);
    let mut versions: Vec<usize> = match random.below(8) {
        0 => vec![0; sectors],
        1 => dirty.iter().map(Dirty::count).collect(),
        // Everything up to a change, which may be torn: of its sectors those at the front are there.
        2 | 3 => {
            let cut = random.index(content.changes() + 1);
            let touched = dirty.iter().filter(|sector| sector.touched_by(cut)).count();
            let mut torn = random.index(touched + 1);
            let version = |sector: &Dirty| {
                let whole = torn > 0 && sector.touched_by(cut);
                torn -= usize::from(whole);
                sector.before(cut + usize::from(whole))
            };
            dirty.iter().map(version).collect()
        }
        // All but one or two, or one or two alone.
        4 => {
            let lost = (one(random), one(random));
            let version = |(position, sector): (usize, &Dirty)| {
                if position == lost.0 || position == lost.1 { 0 } else { sector.count() }
            };
            dirty.iter().enumerate().map(version).collect()
        }
        5 => {
            let kept = (one(random), one(random));
            let version = |(position, sector): (usize, &Dirty)| {
                if position == kept.0 || position == kept.1 { sector.count() } else { 0 }
            };
            dirty.iter().enumerate().map(version).collect()
        }
        // Each sector as it was at any moment, mostly kept or mostly lost.
        lost => {
            let version = |sector: &Dirty| match random.below(4) {
                0 => random.index(sector.count() + 1),
                _ if lost == 6 => 0,
                _ => sector.count(),
            };
            dirty.iter().map(version).collect()
        }
    };
    let mut garbled = Vec::new();
    if sectors > 0 && random.once_in(4) {
        for _ in 0..=random.below(3) {
            garbled.push(random.index(sectors));
        }
    }
    versions.truncate(sectors);
    let lens = content.lens();
    let len = match random.below(3) {
        0 => lens.first(),
        1 => lens.last(),
        _ => lens.get(random.index(lens.len())),
    };
    let len = len.copied().unwrap_or(0);
    Content::restarted(content.survive(&mut Survival { versions, garbled, len, random }))
}
