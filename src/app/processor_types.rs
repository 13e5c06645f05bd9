//! Checks that `PROCESSORS_FILE` gives no name another type while payments need the one before: they have only the name, and
//! would be looked for at another platform.

use crate::config::ProcessorsFile;
use crate::store::{Store, StoreError};

/// Why the types in the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TypesRefused {
    /// Payments need the type before.
    #[error(
        "PROCESSORS_FILE gives the processor {name} the type {is}, but {open} payments still need it as {was}: list it as \
         {was} until they have ended, and give the other account another name"
    )]
    Other {
        /// The processor's name.
        name: String,
        /// Its type before.
        was: String,
        /// Its type in the file.
        is: &'static str,
        /// Payments that are under way there, or can still be captured there.
        open: u64,
    },
    /// The database cannot be asked.
    #[error("the types in PROCESSORS_FILE cannot be compared with those before: {0}")]
    Store(#[from] StoreError),
}

/// Notes the types in the file, unless payments need another.
pub(super) async fn settle(database: &Store, file: &ProcessorsFile) -> Result<(), TypesRefused> {
    let mut changed = Vec::new();
    for listed in &file.processors {
        let (name, is) = (listed.name(), listed.kind());
        match database.processor_type(name).await? {
            None => database.note_processor_type(name, is).await?,
            Some(was) if was == is => {}
            Some(was) => {
                let open = database.payments_open_at(name).await?;
                if open > 0 {
                    let name = name.to_owned();
                    return Err(TypesRefused::Other {
                        name,
                        was,
                        is,
                        open,
                    });
                }
                changed.push((name, is));
            }
        }
    }
    for (name, is) in changed {
        database.change_processor_type(name, is).await?;
    }
    Ok(())
}
