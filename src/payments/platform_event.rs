//! Storing the event that a payment platform has reported: all that happens before its webhook is answered.

use super::AcceptError;
use super::acceptor::Acceptor;
use crate::processors::notifications::{PlatformEvent, Subject};

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Its event is stored, and is looked after.
    Stored,
    /// Its event was stored already.
    Duplicate,
    /// It is about something of another installation on the same account.
    OtherInstallation,
    /// Nothing here depends on such events.
    Unused,
}

impl Noted {
    /// The label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::OtherInstallation => "other_installation",
            Self::Unused => "unused",
        }
    }
}

impl Acceptor {
    /// Stores a verified event, once.
    pub async fn note_event(
        &self,
        processor: &str,
        event: &PlatformEvent,
    ) -> Result<Noted, AcceptError> {
        let Some(columns) = event.subject.columns() else {
            return Ok(match event.subject {
                Subject::OtherInstallation => Noted::OtherInstallation,
                _ => Noted::Unused,
            });
        };
        let key = (processor, event.id.as_str());
        let adding = async {
            let adding = self.database.add_platform_event(key, &event.kind, &columns);
            Ok(adding.await?)
        };
        Ok(match self.answered(adding).await? {
            true => Noted::Stored,
            false => Noted::Duplicate,
        })
    }
}
