//! Reads and accepts payment requests as a service does, also in a command that runs none of the service's tasks.

use std::sync::Arc;
use std::time::Duration;

use super::{AppError, issuer};
use crate::config::Config;
use crate::intake::order_reader::OrderReader;
use crate::payments::commands::Commands;
use crate::payments::leases::Leases;
use crate::payments::{Acceptor, Backlog};
use crate::processors::named::Processors;
use crate::processors::simulated::TestTokens;
use crate::store::Store;

/// Reads requests by message.
pub fn order_reader(config: &Config) -> OrderReader {
    OrderReader {
        clients: config.clients.clone(),
        default_client: config.default_client.clone(),
        default_currency: config.default_currency,
        seal: Arc::new(config.seal_keys.clone()),
    }
}

/// The processors, for a command that only asks platforms.
pub fn processors(config: &Config, database: &Store) -> Result<Processors, AppError> {
    issuer::to_check_with(config, database)
}

/// Accepts requests in a process without a relay: the rows that it writes are due at once, and the next sweep of a running
/// service publishes them.
pub async fn acceptor(config: &Config, database: Store) -> Result<Acceptor, AppError> {
    let leases = Leases {
        outbox: Duration::ZERO,
        ..config.leases
    };
    let (commands, _) = Commands::new(database.clone(), config.ids, leases);
    let backlog = Backlog::default();
    backlog.note(&database.outbox_depth().await?, config.relay.backlog_limit);
    Ok(Acceptor {
        processors: issuer::to_check_with(config, &database)?,
        commands,
        database,
        seal: Arc::new(config.seal_keys.clone()),
        test_tokens: Some(TestTokens {
            now: time::OffsetDateTime::now_utc,
        }),
        has_public_url: config.public_url.is_some(),
        reaches_shoppers: config.public_url.is_some() && config.issuer.ledger,
        clients: config.clients.clone(),
        backlog,
    })
}
