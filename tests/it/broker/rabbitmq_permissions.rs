//! The permissions in rabbitmq/definitions.json, in a broker that has loaded it: every refusal is tried.

use std::path::Path;

use lapin::{
    BasicProperties, Channel, Confirmation, ConnectionProperties,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{FieldTable, ShortString},
};
use payment_service::broker::{Broker, Exchange, Queue, rabbitmq::RabbitMq};

use super::fixture::{is_registered, is_up, message, next, options, publish, text};
use crate::support::servers::{Broker as Server, BrokerOptions};

struct Loaded {
    server: Server,
}

impl Loaded {
    /// A broker with the definitions loaded and passwords given, as rabbitmq/README.md says.
    async fn start() -> Self {
        let loaded = tokio::task::spawn_blocking(|| {
            let server = Server::start(&BrokerOptions::default()).unwrap();
            let loaded = Self { server };
            loaded.import();
            loaded
        });
        loaded.await.unwrap()
    }

    fn import(&self) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("rabbitmq/definitions.json");
        self.server.import_definitions(&file).unwrap();
    }

    fn give_password(&self, user: &str) {
        self.server
            .rabbitmqctl(&["change_password", user, "from-the-deployment"])
            .unwrap();
    }

    fn url(&self, user: &str, password: &str) -> String {
        format!(
            "amqp://{user}:{password}@127.0.0.1:{}/%2f",
            self.server.port()
        )
    }

    async fn connect(&self, user: &str, password: &str) -> lapin::Result<lapin::Connection> {
        lapin::Connection::connect(&self.url(user, password), ConnectionProperties::default()).await
    }
}

#[tokio::test]
async fn users_of_the_definitions_cannot_log_in_until_a_password_is_set() {
    let loaded = Loaded::start().await;
    for user in ["payment-service", "store-manager"] {
        for password in ["", user, "guest"] {
            assert!(
                loaded.connect(user, password).await.is_err(),
                "{user} came in with {password:?}"
            );
        }
        loaded.give_password(user);
        loaded.connect(user, "from-the-deployment").await.unwrap();
    }
    service_does_its_work(&loaded).await;
    client_does_its_work(&loaded).await;
    client_may_not_do_more(&loaded).await;
    // As the README warns.
    let loaded = tokio::task::spawn_blocking(move || {
        loaded.import();
        loaded
    });
    let again = loaded.await.unwrap();
    assert!(
        again
            .connect("payment-service", "from-the-deployment")
            .await
            .is_err()
    );
}

/// With what the broker loaded, declared over AMQP from the same file: no difference, and every right it needs.
async fn service_does_its_work(loaded: &Loaded) {
    let client = RabbitMq::new(options(
        &loaded.url("payment-service", "from-the-deployment"),
    ));
    is_up(&client).await;
    client.declare_topology().await.unwrap();
    let mut results = client.subscribe_results(&["payment.#"]);
    is_registered(&results).await;
    for (exchange, key, queue) in [
        (Exchange::Work, "payment.authorize", Queue::Work),
        (
            Exchange::DeadLetters,
            "payments.requests",
            Queue::DeadLetters,
        ),
        (Exchange::Default, "payments.requests", Queue::Requests),
        (Exchange::Default, "payments.callbacks", Queue::Callbacks),
    ] {
        publish(&client, message(exchange, key, "x", true)).await;
        let mut consumer = client.consume(queue, 1);
        next(&mut consumer).await.settle.acknowledge().await;
    }
    let key = ["payment.succeeded.store-manager".to_owned()];
    let bound = client.bind_results(Queue::Callbacks, &key, &key);
    bound.await.unwrap();
    publish(
        &client,
        message(
            Exchange::Results,
            "payment.succeeded.store-manager",
            "heard",
            false,
        ),
    )
    .await;
    assert_eq!(text(&next(&mut results).await), "heard");
    client.close().await;
}

/// An order and its results, by its own queue and by direct reply-to.
async fn client_does_its_work(loaded: &Loaded) {
    let service = RabbitMq::new(options(
        &loaded.url("payment-service", "from-the-deployment"),
    ));
    let mut orders = service.consume(Queue::Requests, 1);
    let connection = loaded
        .connect("store-manager", "from-the-deployment")
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    declare_own_queue(&channel).await;
    for key in [
        "payment.*.store-manager",
        "payment.succeeded.store-manager",
        "payment.requires_payment_method.store-manager",
    ] {
        bind_results(&channel, key).await.unwrap();
    }
    let replies = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let mut replies = channel
        .basic_consume(
            "amq.rabbitmq.reply-to".into(),
            "".into(),
            replies,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let properties = BasicProperties::default()
        .with_user_id("store-manager".into())
        .with_reply_to("amq.rabbitmq.reply-to".into());
    send(&channel, "payments.requests", "order.payment", properties)
        .await
        .unwrap();

    let order = next(&mut orders).await;
    assert_eq!(order.properties.user_id.as_deref(), Some("store-manager"));
    let reply_to = order.properties.reply_to.clone().unwrap();
    order.settle.acknowledge().await;
    is_up(&service).await;
    publish(
        &service,
        message(Exchange::Default, &reply_to, "accepted", false),
    )
    .await;
    publish(
        &service,
        message(
            Exchange::Results,
            "payment.succeeded.store-manager",
            "paid",
            false,
        ),
    )
    .await;
    let reply = futures::StreamExt::next(&mut replies)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(reply.data, b"accepted");
    service.close().await;
}

async fn client_may_not_do_more(loaded: &Loaded) {
    let connection = loaded
        .connect("store-manager", "from-the-deployment")
        .await
        .unwrap();
    // A refusal closes its channel, so each attempt has a separate one.
    let channel = async || connection.create_channel().await.unwrap();
    for (exchange, key) in [
        ("payments.work", "payment.authorize"),
        ("payments.results", "payment.succeeded.store-manager"),
        ("payments.dead-letters", "payments.work"),
        ("payments.requests", "order.other"),
        ("", "payments.work"),
        ("", "payments.callbacks"),
    ] {
        let sent = send(&channel().await, exchange, key, BasicProperties::default()).await;
        assert_refused(sent, &format!("publish to {exchange:?} {key}"));
    }
    let as_other = BasicProperties::default().with_user_id("payment-service".into());
    assert!(
        send(
            &channel().await,
            "payments.requests",
            "order.payment",
            as_other
        )
        .await
        .is_err()
    );
    for key in [
        "payment.#",
        "#",
        "payment.succeeded.*",
        "payment.succeeded.other",
        "*.*.store-manager",
    ] {
        assert_refused(
            bind_results(&channel().await, key).await,
            &format!("bind {key}"),
        );
    }
    for queue in [
        "payments.work",
        "payments.requests",
        "payments.callbacks",
        "payments.dead-letters",
    ] {
        let options = BasicConsumeOptions::default();
        let consumed = channel()
            .await
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await;
        assert_refused(consumed, &format!("consume {queue}"));
        let deleted = channel()
            .await
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await;
        assert_refused(deleted, &format!("delete {queue}"));
    }
    let options = QueueDeclareOptions::default();
    let declared = channel()
        .await
        .queue_declare("payments.mine".into(), options, FieldTable::default())
        .await;
    assert_refused(declared, "declare payments.mine");
}

fn assert_refused<T>(result: lapin::Result<T>, what: &str) {
    let Err(error) = result else {
        panic!("{what}: was allowed")
    };
    assert!(
        error.to_string().contains("ACCESS_REFUSED"),
        "{what}: {error}"
    );
}

const OWN_QUEUE: &str = "store-manager.results";

async fn declare_own_queue(channel: &Channel) {
    let quorum = [(
        "x-queue-type".into(),
        lapin::types::AMQPValue::LongString("quorum".into()),
    )];
    let arguments = FieldTable::from(std::collections::BTreeMap::from(quorum));
    channel
        .queue_declare(OWN_QUEUE.into(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
}

async fn bind_results(channel: &Channel, key: &str) -> lapin::Result<()> {
    let (queue, exchange) = (OWN_QUEUE.into(), "payments.results".into());
    channel
        .queue_bind(
            queue,
            exchange,
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}

async fn send(
    channel: &Channel,
    exchange: &str,
    key: &str,
    properties: BasicProperties,
) -> lapin::Result<()> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let (exchange, key) = (ShortString::from(exchange), ShortString::from(key));
    let confirm = channel
        .basic_publish(
            exchange,
            key,
            BasicPublishOptions::default(),
            b"{}",
            properties,
        )
        .await?
        .await?;
    assert!(matches!(confirm, Confirmation::Ack(None)), "{confirm:?}");
    Ok(())
}
