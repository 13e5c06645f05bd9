//! Opens the configured database for commands that inspect or repair it while the service runs.

use std::path::{Path, PathBuf};

use crate::config::{Backend, Config};
use crate::store::dead_letters::DeadLetterTable;
use crate::store::{Store, StoreError};

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A command that only reads must not create the data.
    #[error(
        "there is no data in {0}: name the folder with DATA_DIR, or start the service once; for servers set \
         DATABASE_URL and AMQP_URL"
    )]
    NoData(PathBuf),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The database. Its schema is not changed.
pub fn database(config: &Config) -> Result<Store, OpenError> {
    match &config.backend {
        Backend::Embedded { data_dir } => Ok(file(data_dir)?.0),
        Backend::Servers {
            database,
            connections,
            ..
        } => Ok(Store::mysql(database.clone(), *connections)),
    }
}

/// The database of an embedded service, which may be running: SQLite allows reads at any time, and one writer at a time.
pub fn file(data_dir: &Path) -> Result<(Store, DeadLetterTable), OpenError> {
    let file = data_dir.join("payments.db");
    if !file.is_file() {
        return Err(OpenError::NoData(data_dir.to_owned()));
    }
    Ok(Store::embedded(&file))
}
