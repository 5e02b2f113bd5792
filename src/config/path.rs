//! Dotted paths: what is one, and the errors of those that lead nowhere.

use crate::error::{Code, Error, Result};

/// The longest path that is looked at, in bytes.
const LONGEST: usize = 1024;

/// Refuses what cannot be a path. The empty path is the whole tree.
pub(crate) fn check(path: &str) -> Result<()> {
    if path.len() > LONGEST {
        let message =
            format!("a configuration path has at most {LONGEST} bytes; this one has {}", path.len());
        return Err(Error::new(Code::InvalidPath, message).with("path", shown(path)));
    }
    if !path.is_empty() && path.split('.').any(str::is_empty) {
        let message = format!(
            "\"{path}\" is not a configuration path: names joined by single dots are, such as \"dev.debug_mode\""
        );
        return Err(Error::new(Code::InvalidPath, message).with("path", path));
    }
    Ok(())
}

/// The error for a path that leads nowhere: malformed, or of no key and no section.
#[cold]
pub(crate) fn not_found(path: &str) -> Error {
    match check(path) {
        Err(error) => error,
        Ok(()) => Error::new(Code::ConfigPathNotFound, format!("there is no configuration value \"{path}\""))
            .with("path", path),
    }
}

/// At most 200 characters of somebody else's text, for a message.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
