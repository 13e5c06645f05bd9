//! The keys under which a platform executes a request at most once.

use std::time::Duration;

use tokio::sync::OnceCell;

use super::OperationCall;
use super::unclear::Unclear;
use crate::store::{Store, StoreError};

/// The keys of this installation at one platform.
pub(super) struct Keys {
    database: Store,
    /// Read once.
    installation: OnceCell<String>,
}

impl Keys {
    pub(super) fn new(database: Store) -> Self {
        Self {
            database,
            installation: OnceCell::new(),
        }
    }

    /// The id of this installation.
    pub(super) async fn installation(&self) -> Result<&str, StoreError> {
        let read = || self.database.installation();
        Ok(self.installation.get_or_try_init(read).await?)
    }

    /// A key that no other installation uses.
    pub(super) async fn unique(&self, key: &str) -> Result<String, StoreError> {
        let installation = self.installation().await?;
        Ok(format!("{installation}-{key}"))
    }

    /// Whether a platform that keeps keys for this long still knows that of an operation, whose id contains the time when it
    /// was made. Half of that is left for calls that are on their way.
    pub(super) async fn is_kept(
        &self,
        call: &OperationCall,
        life: Duration,
    ) -> Result<bool, Unclear> {
        let made = call.key.0.get_timestamp().ok_or(Unclear::Unknown)?;
        let (seconds, _) = made.to_unix();
        let age = self.seconds().await?.saturating_sub(seconds);
        Ok(age < life.as_secs() / 2)
    }

    /// The database's clock, in seconds since 1970.
    pub(super) async fn seconds(&self) -> Result<u64, Unclear> {
        let now = self.database.now().await?.unix_timestamp();
        u64::try_from(now).map_err(|_| Unclear::Unknown)
    }
}
