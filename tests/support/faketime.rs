//! Clocks that tests set, for processes that are started with them: libfaketime.

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

/// The path in Debian's package `faketime`.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The library, or how to install it.
pub fn library() -> Result<&'static str, String> {
    if Path::new(LIBRARY).exists() {
        return Ok(LIBRARY);
    }
    Err(format!(
        "{LIBRARY} is missing: scripts/test installs it; by hand: apt-get install faketime"
    ))
}

/// A clock that can be set while processes run by it. They follow within a second.
#[derive(Debug)]
pub struct Clock {
    library: &'static str,
    folder: TempDir,
}

impl Clock {
    /// Shows the right time.
    pub fn make() -> Result<Self, String> {
        let library = library()?;
        // The server's user has to get through the folder.
        let folder = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir();
        let folder = folder.map_err(|error| format!("a folder for a clock: {error}"))?;
        let clock = Self { library, folder };
        clock
            .set("+0")
            .map_err(|error| format!("a clock cannot be set: {error}"))?;
        Ok(clock)
    }

    /// An offset in seconds, or with a unit: `-3600`, `+8000y`.
    pub fn set(&self, offset: &str) -> io::Result<()> {
        let next = self.folder.path().join("next");
        fs::write(&next, offset)?;
        fs::set_permissions(&next, Permissions::from_mode(0o644))?;
        // At once: an empty file is no time.
        fs::rename(next, self.folder.path().join("clock"))
    }

    /// The environment variables for a process.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        let file = self.folder.path().join("clock");
        [
            ("LD_PRELOAD", self.library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}
