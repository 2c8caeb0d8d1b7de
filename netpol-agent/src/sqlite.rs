//! What every SQLite file of ours needs: telling damage from other errors, and moving a damaged file away.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rusqlite::ErrorCode;

/// Whether the error tells that the file is no sound database, so that it never will be.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    let damage = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
    let code = error.sqlite_error_code();
    code.is_some_and(|code| damage.contains(&code))
}

/// Moves a database away, to `<path>.damaged`, with its log: without it its last transactions cannot be read, and it would
/// be taken for that of the next database.
///
/// # Errors
///
/// What the system answered.
pub(crate) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = beside(path, ".damaged");
    for suffix in ["-wal", "-shm"] {
        let moved = fs::rename(beside(path, suffix), beside(&aside, suffix));
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => remove(&beside(&aside, suffix))?,
            Ok(()) => {}
        }
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
