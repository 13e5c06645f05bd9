//! Reads `PROCESSORS_FILE` again when it changes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::issuer::Makers;
use super::processor_types;
use crate::config::ProcessorSettings;
use crate::processors::named::Processors;
use crate::store::Store;

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);

/// What is needed to use a new file.
pub(super) struct Watch {
    /// Where the file is; its content is the one in use.
    pub settings: ProcessorSettings,
    pub makers: Makers,
    pub processors: Processors,
    pub database: Store,
}

impl Watch {
    /// Looks every second until `stop`. A file that cannot be used changes nothing.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let Some(path) = self.settings.path().map(Path::to_owned) else {
            return stop.cancelled().await;
        };
        // It is read again at the start: it may have changed since it was loaded.
        let mut seen = None;
        let mut told = None;
        loop {
            let now = stamp(&path).await;
            if now != seen {
                match self.reload().await {
                    Ok(()) => {
                        (seen, told) = (now, None);
                        self.processors.note_file(None);
                    }
                    // Payments that use a removed processor will end, and the database will be back.
                    Err(why) if told.as_ref() != Some(&why) => {
                        tracing::error!(
                            why,
                            "PROCESSORS_FILE cannot be used; the processors stay unchanged"
                        );
                        self.processors.note_file(Some(why.clone()));
                        told = Some(why);
                    }
                    Err(_) => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || settings.read_again()).await;
        let file = read.map_err(|error| error.to_string())??;
        let in_use = self.settings.file.processors.iter();
        let removed = in_use.filter(|listed| !file.keeps(listed));
        let removed: Vec<String> = removed.map(|it| it.name().to_owned()).collect();
        self.none_is_needed(&removed).await?;
        let listed = self.makers.listed(&file);
        let listed = listed.map_err(|error| error.to_string())?;
        let before = self.processors.list(listed);
        // A payment may have been accepted for it meanwhile. From now on none is.
        if let Err(why) = self.none_is_needed(&removed).await {
            self.processors.list_again(before);
            return Err(why);
        }
        if let Err(why) = processor_types::settle(&self.database, &file).await {
            self.processors.list_again(before);
            return Err(why.to_string());
        }
        self.processors.hold(false);
        let number = file.processors.len();
        tracing::info!(processors = number, "PROCESSORS_FILE is in use");
        self.settings.file = file;
        Ok(())
    }

    /// A file must not lack a processor that payments need.
    async fn none_is_needed(&self, removed: &[String]) -> Result<(), String> {
        for name in removed {
            let open = self.database.payments_open_at(name).await;
            let open = open.map_err(|error| error.to_string())?;
            if open > 0 {
                return Err(format!(
                    "it lacks the processor {name}, or gives it another type, but {open} payments still need it: list it as it was until they have ended"
                ));
            }
        }
        Ok(())
    }
}

/// A value that changes when the file changes, without reading it.
async fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
