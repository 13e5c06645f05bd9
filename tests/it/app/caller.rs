//! The message interface as a calling application uses it: with servers by a separate AMQP connection, embedded by the
//! broker in this process.

use std::collections::BTreeMap;

use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use payment_service::broker::{Consumer, Delivery, Exchange, Properties, Publication, Queue};
use payment_service::wire::order::ORDER_PAYMENT;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Backend, RABBITMQ_USER, TestApp};
use crate::contracts::messages;

/// A request by message.
#[derive(Debug, Clone)]
pub struct Order {
    pub routing_key: &'static str,
    pub body: String,
    pub properties: Properties,
}

impl Order {
    /// With all properties that a caller should set.
    pub fn new(message_id: &str, body: &Value) -> Self {
        Self {
            routing_key: ORDER_PAYMENT,
            body: body.to_string(),
            properties: Properties {
                message_id: Some(message_id.to_owned()),
                content_type: Some("application/json".to_owned()),
                user_id: Some(RABBITMQ_USER.to_owned()),
                ..Properties::default()
            },
        }
    }

    /// A request for a capture, cancellation or refund.
    pub fn operation(routing_key: &'static str, message_id: &str, body: &Value) -> Self {
        Self {
            routing_key,
            ..Self::new(message_id, body)
        }
    }

    /// For an order with a card token.
    pub fn paid_with(message_id: &str, order_id: i64, token: &str) -> Self {
        let body = json!({
            "order_id": order_id, "user_id": 1, "total_amount": 99.53, "card_token": token,
        });
        Self::new(message_id, &body)
    }

    pub fn with(mut self, change: impl FnOnce(&mut Properties)) -> Self {
        change(&mut self.properties);
        self
    }

    pub fn with_header(self, name: &str, value: &str) -> Self {
        self.with(|properties| {
            properties.headers.insert(name.to_owned(), value.to_owned());
        })
    }
}

/// A message that a calling application received.
#[derive(Debug, Clone)]
pub struct Heard {
    pub routing_key: String,
    pub content_type: String,
    pub message_id: String,
    /// The property `type`.
    pub kind: String,
    pub correlation_id: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

/// A subscription to results.
pub struct Results {
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Results {
    /// The next matching message; those before it are dropped.
    pub async fn next(&mut self, fits: impl Fn(&Heard) -> bool) -> Heard {
        let next = async {
            loop {
                let heard = self.heard.recv().await.expect("the subscription stands");
                messages::must_allow(&heard);
                if fits(&heard) {
                    return heard;
                }
            }
        };
        tokio::time::timeout(super::api::LIMIT, next)
            .await
            .expect("a result in time")
    }

    /// The next one of this payment.
    pub async fn of(&mut self, payment: i64) -> Heard {
        let subject = format!("payments/{payment}");
        self.next(|heard| heard.body["subject"] == *subject).await
    }
}

impl TestApp {
    /// Publishes a request and waits for the confirm.
    pub async fn publish(&self, order: Order) {
        match self.backend() {
            Backend::Embedded => {
                let publication = Publication {
                    exchange: Exchange::Requests,
                    routing_key: order.routing_key.to_owned(),
                    properties: order.properties,
                    body: order.body,
                    mandatory: true,
                };
                assert_eq!(self.broker.publish(&[publication]).await, [Ok(())]);
            }
            Backend::Servers => {
                let channel = self.channel().await;
                publish_on(&channel, &order).await;
            }
        }
    }

    /// Subscribes to results.
    pub async fn results(&self, binding_key: &str) -> Results {
        let (sender, heard) = mpsc::unbounded_channel();
        match self.backend() {
            Backend::Embedded => {
                let consumer = self.broker.subscribe_results(&[binding_key]);
                tokio::spawn(hear_embedded(consumer, sender));
            }
            Backend::Servers => {
                let channel = self.channel().await;
                let queue = own_queue(&channel).await;
                channel
                    .queue_bind(
                        queue.clone(),
                        Exchange::Results.name().into(),
                        binding_key.into(),
                        QueueBindOptions::default(),
                        FieldTable::default(),
                    )
                    .await
                    .unwrap();
                let consumer = consume(&channel, queue).await;
                tokio::spawn(hear_amqp(channel, consumer, sender));
            }
        }
        Results { heard }
    }

    /// Publishes with direct reply-to and receives the replies. Only RabbitMQ has this.
    pub async fn ask(&self, order: Order) -> Results {
        let channel = self.channel().await;
        let address = "amq.rabbitmq.reply-to";
        let consumer = consume(&channel, address.into()).await;
        let order = order.with(|properties| properties.reply_to = Some(address.to_owned()));
        publish_on(&channel, &order).await;
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(hear_amqp(channel, consumer, sender));
        Results { heard }
    }

    /// Takes the next dead letter out of its queue: its body and its `reason` header.
    pub async fn dead_letter(&self, consumer: &mut Consumer) -> (Value, String) {
        let next = tokio::time::timeout(super::api::LIMIT, consumer.deliveries.recv());
        let letter: Delivery = next.await.expect("a dead letter in time").unwrap();
        let body = serde_json::from_slice(&letter.body).unwrap();
        messages::must_allow_letter(&letter.properties, &body);
        let reason = letter.properties.headers.get("reason").cloned();
        letter.settle.acknowledge().await;
        (body, reason.unwrap_or_default())
    }

    pub fn dead_letters(&self) -> Consumer {
        self.broker.consume(Queue::DeadLetters, 10)
    }

    async fn channel(&self) -> Channel {
        let channel = self.lapin().await.create_channel().await.unwrap();
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await.unwrap();
        channel
    }
}

async fn publish_on(channel: &Channel, order: &Order) {
    let confirmed = channel
        .basic_publish(
            Exchange::Requests.name().into(),
            order.routing_key.into(),
            BasicPublishOptions::default(),
            order.body.as_bytes(),
            to_amqp(&order.properties),
        )
        .await
        .unwrap();
    assert!(matches!(confirmed.await.unwrap(), Confirmation::Ack(None)));
}

fn to_amqp(properties: &Properties) -> BasicProperties {
    let short = |text: &Option<String>| text.as_deref().map(ShortString::from);
    let mut amqp = BasicProperties::default();
    if let Some(text) = short(&properties.message_id) {
        amqp = amqp.with_message_id(text);
    }
    if let Some(text) = short(&properties.correlation_id) {
        amqp = amqp.with_correlation_id(text);
    }
    if let Some(text) = short(&properties.reply_to) {
        amqp = amqp.with_reply_to(text);
    }
    if let Some(text) = short(&properties.content_type) {
        amqp = amqp.with_content_type(text);
    }
    if let Some(text) = short(&properties.user_id) {
        amqp = amqp.with_user_id(text);
    }
    let mut headers = FieldTable::default();
    for (name, value) in &properties.headers {
        headers.insert(
            name.as_str().into(),
            AMQPValue::LongString(value.as_str().into()),
        );
    }
    amqp.with_headers(headers)
}

async fn own_queue(channel: &Channel) -> ShortString {
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default());
    queue.await.unwrap().name().clone()
}

async fn consume(channel: &Channel, queue: ShortString) -> lapin::Consumer {
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    channel
        .basic_consume(queue, "".into(), no_ack, FieldTable::default())
        .await
        .unwrap()
}

async fn hear_amqp(
    channel: Channel,
    mut consumer: lapin::Consumer,
    sender: mpsc::UnboundedSender<Heard>,
) {
    while let Some(Ok(delivery)) = consumer.next().await {
        let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
        let properties = &delivery.properties;
        let headers = properties.headers().as_ref().map(|table| {
            let header = |(name, value): (&ShortString, &AMQPValue)| match value {
                AMQPValue::LongString(text) => (name.to_string(), text.to_string()),
                other => (name.to_string(), format!("{other:?}")),
            };
            table.inner().iter().map(header).collect()
        });
        let heard = Heard {
            routing_key: delivery.routing_key.to_string(),
            content_type: text(properties.content_type()).unwrap_or_default(),
            message_id: text(properties.message_id()).unwrap_or_default(),
            kind: text(properties.kind()).unwrap_or_default(),
            correlation_id: text(properties.correlation_id()),
            headers: headers.unwrap_or_default(),
            body: serde_json::from_slice(&delivery.data).unwrap_or_default(),
        };
        if sender.send(heard).is_err() {
            break;
        }
    }
    let _ = channel.close(200, "".into()).await;
}

async fn hear_embedded(mut consumer: Consumer, sender: mpsc::UnboundedSender<Heard>) {
    while let Some(delivery) = consumer.deliveries.recv().await {
        let properties = delivery.properties;
        let heard = Heard {
            routing_key: delivery.routing_key,
            content_type: properties.content_type.unwrap_or_default(),
            message_id: properties.message_id.unwrap_or_default(),
            kind: properties.kind.unwrap_or_default(),
            correlation_id: properties.correlation_id,
            headers: properties.headers,
            body: serde_json::from_slice(&delivery.body).unwrap_or_default(),
        };
        delivery.settle.acknowledge().await;
        if sender.send(heard).is_err() {
            return;
        }
    }
}
