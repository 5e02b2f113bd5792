//! Copies of damaged bytes, kept for whoever wants to look at them: the files that they were in are recycled or
//! removed in time. A courtesy, so whatever fails here is no error, and bounded.

use std::path::Path;

use crate::storage::Storage;

/// The directory of the copies, below the store's.
pub(crate) const NAME: &str = "quarantine";
/// Most copies that are kept, and most bytes of each.
const MAX_COPIES: usize = 64;
const MAX_BYTES: u64 = 1 << 20;

/// Keeps a copy of the bytes of a file from one offset to below another.
pub(crate) fn keep(storage: &dyn Storage, directory: &Path, file: &Path, from: u64, to: u64) {
    let _ = try_keep(storage, directory, file, from, to);
}

fn try_keep(
    storage: &dyn Storage,
    directory: &Path,
    file: &Path,
    from: u64,
    to: u64,
) -> crate::error::Result<()> {
    let place = directory.join(NAME);
    storage.create_dir_all(&place)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let path = place.join(format!("{name}-{from:016x}"));
    if storage.list(&place)?.len() >= MAX_COPIES || storage.exists(&path)? {
        return Ok(());
    }
    let mut bytes = vec![0; to.saturating_sub(from).min(MAX_BYTES) as usize];
    let read = storage.open_read(file)?.read_at(from, &mut bytes)?;
    bytes.truncate(read);
    storage.create_new(&path)?.write_all(&bytes)
}
