//! Bindings of the results exchange, which change with the clients' callbacks.

use lapin::Connection;
use lapin::options::QueueBindOptions;
use lapin::types::{FieldTable, ShortString};

use super::properties::short;
use crate::broker::{Exchange, Queue};

/// Binds and unbinds. A binding that already exists, or does not exist, is not an error to the broker.
pub(super) async fn change(
    connection: &Connection,
    queue: Queue,
    wanted: &[String],
    unwanted: &[String],
) -> lapin::Result<()> {
    // A refusal closes the channel, so this uses a separate one.
    let channel = connection.create_channel().await?;
    let (queue, exchange) = (
        ShortString::from(queue.name()),
        ShortString::from(Exchange::Results.name()),
    );
    for key in wanted.iter().filter_map(|key| short("key", key).ok()) {
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                queue.clone(),
                exchange.clone(),
                key,
                options,
                FieldTable::default(),
            )
            .await?;
    }
    for key in unwanted.iter().filter_map(|key| short("key", key).ok()) {
        channel
            .queue_unbind(queue.clone(), exchange.clone(), key, FieldTable::default())
            .await?;
    }
    channel.close(200, "done".into()).await
}
