//! A manifest made from the files when there is none that checks.

use std::collections::BTreeMap;
use std::path::Path;

use super::corrupt;
use super::frame::{FileKind, Header};
use super::layout::FileName;
use super::manifest::{Manifest, MissingRange, SegmentRow, identity};
use super::segment_read::{Limits, SegmentFile};
use crate::error::{Code, Result};
use crate::events::random;
use crate::storage::Storage;

/// Why events between segments are missing, when nobody knows any more.
const REASON: &str = "damage";
/// Memory that a record may take beside what is stored of it: less than the header, and rounding.
const RECORD_BYTES: u64 = 96;

impl Manifest {
    /// Makes a manifest from the headers and footers of a directory's segments and the names of its logs; logs are all
    /// read then. Nothing is written. What only the manifest knew is lost: prunes that segments still hold, counters,
    /// and changes of the configuration that no log holds. A segment that cannot be read at all is left out.
    ///
    /// Errors: `data_corruption` if not one file has a header that checks, `incompatible_format` if one is of a later
    /// version.
    pub(crate) fn rebuild(storage: &dyn Storage, directory: &Path) -> Result<Self> {
        let names = storage.list(directory)?;
        let files: Vec<FileName> = names.iter().filter_map(|name| FileName::parse(name)).collect();
        let Some(store) = store_of(storage, directory, &files)? else {
            let what =
                "it has files of an event store, and neither its manifest nor any file's header can be read";
            return Err(corrupt(directory, what));
        };
        let mut manifest = Self::new(store, random::word());
        let mut segments: Vec<(u64, u64)> = Vec::new();
        for file in files {
            match file {
                FileName::Log { number } => {
                    manifest.next_log = manifest.next_log.max(number.saturating_add(1));
                }
                FileName::Segment { first_seq, number } => {
                    manifest.next_file = manifest.next_file.max(number.saturating_add(1));
                    segments.push((number, first_seq));
                }
            }
        }
        // Where files hold the same events, the one written last took the place of the others.
        segments.sort_unstable_by(|a, b| b.cmp(a));
        let mut seed = None;
        for (number, first_seq) in segments {
            let path = directory.join(SegmentRow::name(number, first_seq));
            let segment = match SegmentFile::open(storage, &path, identity(store, number), Limits::default())
            {
                Ok(segment) => segment,
                Err(error) if error.code() == Code::DataCorruption => continue,
                Err(error) => return Err(error),
            };
            let footer = segment.footer();
            let (first, last) = (footer.first_seq.min(first_seq), footer.last_seq);
            let taken = |row: &SegmentRow| first <= row.last_seq && row.first_seq <= last;
            if footer.events == 0 || manifest.segments.iter().any(taken) {
                continue;
            }
            seed = seed.or_else(|| segment.read_filter(0).ok().map(|filter| filter.seed));
            let bytes = segment.file_bytes()?;
            // What compressing saved is not known: more than this it has never been.
            let record_bytes = footer.events * RECORD_BYTES + 64 * bytes;
            // By the `seq` of its name the file is found, even if its first block is damaged.
            manifest.segments.push(SegmentRow::new(number, (first_seq, last), footer, bytes, record_bytes));
        }
        manifest.segments.sort_unstable_by_key(|row| row.first_seq);
        let rows = &manifest.segments;
        manifest.sealed_seq = rows.last().map_or(1, |row| row.last_seq.saturating_add(1));
        manifest.low_seq = rows.first().map_or(1, |row| row.first_seq);
        manifest.next_id =
            rows.iter().map(|row| row.max_id.saturating_add(1)).max().unwrap_or(1).min(1 << 58);
        // Ids that the store will give are new, unless hosts have brought one that is out of its reach.
        manifest.scattered = rows.iter().any(|row| row.max_id >= manifest.next_id);
        manifest.gaps = rows
            .iter()
            .zip(rows.iter().skip(1))
            .filter(|(before, behind)| before.last_seq.saturating_add(1) < behind.first_seq)
            .map(|(before, behind)| MissingRange {
                first_seq: before.last_seq + 1,
                last_seq: behind.first_seq - 1,
                reason: REASON.to_owned(),
            })
            .collect();
        manifest.hash_seed = seed.unwrap_or(manifest.hash_seed);
        Ok(manifest)
    }
}

/// The store that most files say they belong to.
fn store_of(storage: &dyn Storage, directory: &Path, files: &[FileName]) -> Result<Option<[u8; 16]>> {
    let mut votes: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for name in files {
        let kind = match name {
            FileName::Log { .. } => FileKind::Log,
            FileName::Segment { .. } => FileKind::Segment,
        };
        let file = storage.open_read(&directory.join(name.to_string()))?;
        if let Some(header) = Header::read(&*file, kind)? {
            *votes.entry(header.identity.store).or_default() += 1;
        }
    }
    Ok(votes.into_iter().max_by_key(|(_, count)| *count).map(|(store, _)| store))
}
