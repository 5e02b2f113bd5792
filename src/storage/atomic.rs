//! Whole files: written so that a reader, and a crash at any moment, finds the old or the new one.

use std::io;
use std::path::{Path, PathBuf};

use super::{Failure, File, Storage};
use crate::error::{Code, Error, Result};

/// How many temporary files of one name may lie about after crashes before writing is refused.
const MAX_TEMPORARY: u32 = 64;
/// How much a [`Writer`] gathers before it writes.
const BUFFER: usize = 64 * 1024;
const SUFFIX: &str = ".tmp";

/// Gathers small writes to a new file. It is also an [`io::Write`], for formatters.
#[derive(Debug)]
pub struct Writer {
    file: Box<dyn File>,
    buffer: Vec<u8>,
    written: u64,
}

impl Writer {
    fn new(file: Box<dyn File>) -> Self {
        Self { file, buffer: Vec::new(), written: 0 }
    }

    /// Appends these bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len().saturating_add(bytes.len()) > BUFFER {
            self.drain()?;
        }
        if bytes.len() >= BUFFER {
            self.file.write_all(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes were put in so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn drain(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain().map_err(io::Error::other)
    }
}

/// Puts a file of these bytes in the place of whatever has this name, durably and in one step.
pub fn write_atomically(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_with(storage, path, |writer| writer.put(bytes))
}

/// As [`write_atomically`], with the bytes that `fill` puts into the writer; answers what `fill` answered.
///
/// A temporary file beside the target is written, synced and renamed, then the directory is synced. When
/// any of it fails before the renaming, the old file is untouched and the temporary one is removed.
pub fn write_atomically_with<R>(
    storage: &dyn Storage,
    path: &Path,
    fill: impl FnOnce(&mut Writer) -> Result<R>,
) -> Result<R> {
    let (temporary, opened) = create_temporary(storage, path)?;
    let mut writer = Writer::new(opened);
    let written = fill(&mut writer).and_then(|answer| {
        writer.drain()?;
        writer.file.sync()?;
        storage.rename(&temporary, path)?;
        Ok(answer)
    });
    match written {
        Ok(answer) => {
            storage.sync_dir(path.parent().unwrap_or(Path::new("")))?;
            Ok(answer)
        }
        Err(error) => {
            // The first error is the one to report; a temporary file left behind is known by its name.
            let _ = storage.remove(&temporary);
            Err(error)
        }
    }
}

/// Makes a directory and those above it, so that they are there after a crash too; fine if they exist.
///
/// Directories that exist are synced as well, as far as this process may: whoever made them may have been stopped
/// before that.
pub fn create_dir_durably(storage: &dyn Storage, directory: &Path) -> Result<()> {
    let mut above: Vec<(&Path, bool)> = Vec::new();
    for made in directory.ancestors().filter(|made| made.file_name().is_some()) {
        above.push((made.parent().unwrap_or(Path::new("")), storage.exists(made)?));
    }
    storage.create_dir_all(directory)?;
    for (parent, existed) in above.into_iter().rev() {
        match storage.sync_dir(parent) {
            // A directory above may be one that others can enter and not read.
            Err(error) if existed && Failure::PermissionDenied.is(&error) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Whether this is the name of a temporary file of [`write_atomically`], left behind by a crash when
/// nobody is writing.
pub fn is_temporary(name: &str) -> bool {
    let number = name.strip_suffix(SUFFIX).and_then(|name| name.rsplit_once('.')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The bytes of a whole file, which must not have more than `limit`.
pub fn read_all(storage: &dyn Storage, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = storage.open_read(path)?;
    let length = file.len()?;
    if length > limit {
        let message = format!("{} has {length} bytes; at most {limit} are read", path.display());
        return Err(Error::new(Code::DataTooLarge, message)
            .with("path", path.to_string_lossy())
            .with("limit", limit));
    }
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn create_temporary(storage: &dyn Storage, path: &Path) -> Result<(PathBuf, Box<dyn File>)> {
    let Some(name) = path.file_name() else {
        let message = format!("{} is not the name of a file", path.display());
        return Err(Error::new(Code::InvalidInput, message).with("path", path.to_string_lossy()));
    };
    // The number is the first that is free, not a random one: simulations repeat themselves exactly.
    for number in 0..MAX_TEMPORARY {
        let mut temporary = name.to_owned();
        temporary.push(format!(".{number}{SUFFIX}"));
        let temporary = path.with_file_name(temporary);
        match storage.create_new(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if Failure::AlreadyExists.is(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("{MAX_TEMPORARY} temporary files of {} lie about; remove them", path.display());
    Err(Error::new(Code::ResourceExhausted, message).with("path", path.to_string_lossy()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_known() {
        for (name, temporary) in [
            ("config.json.0.tmp", true),
            ("a.63.tmp", true),
            ("a.tmp", false),
            ("a.x1.tmp", false),
            ("a.1", false),
        ] {
            assert_eq!(is_temporary(name), temporary, "{name}");
        }
    }
}
