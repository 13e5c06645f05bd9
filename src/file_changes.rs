//! Notices when a file changes, by looking every second.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);

/// The changes of one file.
#[derive(Debug)]
pub struct FileChanges<'a> {
    path: &'a Path,
    /// Whether it was looked at before.
    looked: bool,
    /// What the file was like when it was reported.
    seen: Option<Stamp>,
}

/// A value that changes when the file changes: its time and length. None if there is no file.
type Stamp = Option<(SystemTime, u64)>;

impl<'a> FileChanges<'a> {
    /// The changes of this file.
    pub fn of(path: &'a Path) -> Self {
        Self {
            path,
            looked: false,
            seen: None,
        }
    }

    /// Waits until the file has changed. Returns at once the first time: it may have changed since it was loaded.
    pub async fn next(&mut self) {
        loop {
            if self.looked {
                tokio::time::sleep(EVERY).await;
            }
            self.looked = true;
            let stamp = Some(stamp(self.path).await);
            if stamp != self.seen {
                self.seen = stamp;
                return;
            }
        }
    }

    /// The file could not be used as it is: [`Self::next`] returns after the next look, whether it has changed or not.
    pub fn again(&mut self) {
        self.seen = None;
    }
}

/// Does not read the file.
async fn stamp(path: &Path) -> Stamp {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_noticed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut changes = FileChanges::of(&file);
        assert!(
            timeout(EVERY * 3, changes.next()).await.is_ok(),
            "the first look"
        );
        assert!(
            timeout(EVERY * 3, changes.next()).await.is_err(),
            "unchanged"
        );
        std::fs::write(&file, "more").unwrap();
        assert!(timeout(EVERY * 3, changes.next()).await.is_ok(), "longer");
        assert!(
            timeout(EVERY * 3, changes.next()).await.is_err(),
            "unchanged again"
        );
        changes.again();
        assert!(timeout(EVERY * 3, changes.next()).await.is_ok(), "not used");
        std::fs::remove_file(&file).unwrap();
        assert!(
            timeout(EVERY * 3, changes.next()).await.is_ok(),
            "it is gone"
        );
    }
}
