//! Makes the database's files readable only by their owner, whatever the umask: they contain names, amounts and sealed
//! cards.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const OWNER: u32 = 0o600;
const OTHERS: u32 = 0o077;

/// Creates the file if it does not exist, and removes other users' permissions from files of an earlier version. SQLite
/// gives its write-ahead log and shared memory the file's permissions. Failures here are left to SQLite, whose errors
/// have more detail.
pub(super) fn keep(path: &Path) {
    let made = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(OWNER)
        .open(path);
    if let Err(error) = made {
        tracing::debug!(%error, path = %path.display(), "could not create the database file here");
        return;
    }
    for file in files(path) {
        if let Err(error) = close_to_others(&file) {
            tracing::warn!(%error, path = %file.display(), "other users can read a file of the database: chmod 600 it");
        }
    }
}

/// The database file and SQLite's additional files.
fn files(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm"].into_iter().map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

fn close_to_others(file: &Path) -> io::Result<()> {
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(metadata) if metadata.permissions().mode() & OTHERS == 0 => Ok(()),
        Ok(_) => fs::set_permissions(file, Permissions::from_mode(OWNER)),
        Err(error) => Err(error),
    }
}
