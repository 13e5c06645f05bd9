//! Opens what the configuration names, for commands that look at it or put it right, beside the running service.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Backend, Config};
use crate::store::mysql::MySql;
use crate::store::sqlite::Sqlite;
use crate::store::{Database, StoreError};

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A command that looks must not make what it looks for.
    #[error(
        "there is no data in {0}: name the folder with DATA_DIR, or start the service once; for servers set \
         DATABASE_URL and AMQP_URL"
    )]
    NoData(PathBuf),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The database. Its schema is left as it is.
pub fn database(config: &Config) -> Result<Arc<dyn Database>, OpenError> {
    match &config.backend {
        Backend::Embedded { data_dir } => Ok(Arc::new(file(data_dir)?)),
        Backend::Servers {
            database,
            connections,
            ..
        } => Ok(Arc::new(MySql::connect(database.clone(), *connections)?)),
    }
}

/// The database of an embedded service, which may be running: SQLite lets others read at any time, and write in turn.
pub fn file(data_dir: &Path) -> Result<Sqlite, OpenError> {
    let file = data_dir.join("payments.db");
    if !file.is_file() {
        return Err(OpenError::NoData(data_dir.to_owned()));
    }
    Ok(Sqlite::open(&file)?)
}
