//! Requests that the service refuses, so that there are dead letters.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};

/// More than one page shows.
const LETTERS: usize = 1000;

/// Publishes them; the api that starts next refuses them.
pub async fn publish(amqp_url: &str) {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default())
        .await
        .expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    for number in 0..LETTERS {
        let body = format!(r#"{{"order_id": {number}, "user_id": "nobody"}}"#);
        let published = channel
            .basic_publish(
                "payments.requests".into(),
                "order.payment".into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                BasicProperties::default(),
            )
            .await;
        let confirmed = published.expect("a message").await;
        confirmed.map(drop).expect("a confirm");
    }
}
