//! A file system of a few megabytes that tests fill.

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Everyone may write to it. Unmounted when dropped, even if it is in use.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// None, with a warning, if this user may not mount: then the test is skipped.
    pub fn mount(megabytes: u32) -> Option<Self> {
        match Self::try_mount(megabytes) {
            Ok(disk) => Some(disk),
            Err(error) => {
                println!(
                    "LEFT OUT: a small file system cannot be mounted ({error}): run the tests as root, in a container with CAP_SYS_ADMIN"
                );
                None
            }
        }
    }

    fn try_mount(megabytes: u32) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={megabytes}m,mode=1777"))
            .arg("tmpfs")
            .arg(folder.path())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(folder))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Uses all remaining space.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        loop {
            match ballast.write_all(&[1; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Frees it again.
    pub fn free(&self) -> io::Result<()> {
        std::fs::remove_file(self.ballast())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
