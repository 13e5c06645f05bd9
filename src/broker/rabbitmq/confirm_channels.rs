//! The confirm-mode channels of one connection.

use std::sync::{Mutex, PoisonError};

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Maximum number of concurrent calls; others wait. Each channel costs the broker a few Erlang processes.
const CHANNELS: usize = 64;

/// Channels in confirm mode, each lent to one call at a time.
pub(super) struct ConfirmChannels {
    idle: Mutex<Vec<Channel>>,
    permits: Semaphore,
}

impl Default for ConfirmChannels {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            permits: Semaphore::new(CHANNELS),
        }
    }
}

impl ConfirmChannels {
    /// Lends a channel, a new one if none is idle; waits while all are lent.
    pub(super) async fn lend(
        &self,
        connection: &Connection,
    ) -> Result<(Channel, SemaphorePermit<'_>), String> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let channel = match idle {
            Some(channel) => channel,
            None => open(connection).await.map_err(|error| error.to_string())?,
        };
        Ok((channel, permit))
    }

    /// Takes back a channel that can be used for another call.
    pub(super) fn give_back(&self, channel: Channel) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(channel);
    }
}

async fn open(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}
