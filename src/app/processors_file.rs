//! Reads `PROCESSORS_FILE` again when it changes.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::issuer::Makers;
use super::processor_types;
use crate::config::ProcessorSettings;
use crate::file_changes::FileChanges;
use crate::processors::named::Processors;
use crate::store::Store;

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
        let mut changes = FileChanges::of(&path);
        let mut told = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = changes.next() => {}
            }
            match self.reload().await {
                Ok(()) => {
                    told = None;
                    self.processors.note_file(None);
                }
                // Payments that use a removed processor will end, and the database will be back.
                Err(why) => {
                    changes.again();
                    if told.as_ref() != Some(&why) {
                        tracing::error!(
                            why,
                            "PROCESSORS_FILE cannot be used; the processors stay unchanged"
                        );
                        self.processors.note_file(Some(why.clone()));
                        told = Some(why);
                    }
                }
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
        let in_use = &self.settings.file.processors;
        let unchanged = |listed: &_| match in_use.contains(listed) {
            true => self.processors.listed(listed.name()),
            false => None,
        };
        let listed = self.makers.listed(&file, unchanged);
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
