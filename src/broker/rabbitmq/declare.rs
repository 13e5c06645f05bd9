//! Declares the exchanges, queues and bindings of a [`Topology`], and reports differences.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use serde_json::Value;
use tokio::time::timeout;

use super::properties::short;
use crate::broker::topology::{BindingDefinition, ExchangeDefinition, QueueDefinition, Topology};

/// Declares everything. Anything that exists and differs, or may not be declared, becomes a finding with the broker's
/// message; the rest is still declared. An error means that the connection is unusable.
pub(super) async fn declare(
    connection: &Connection,
    topology: &Topology,
    time: Duration,
) -> lapin::Result<Vec<String>> {
    let mut declaring = Declaring {
        connection,
        time,
        channel: None,
        findings: Vec::new(),
    };
    for exchange in &topology.exchanges {
        declaring.exchange(exchange).await?;
    }
    for queue in &topology.queues {
        declaring.queue(queue).await?;
    }
    for binding in &topology.bindings {
        declaring.binding(binding).await?;
    }
    Ok(declaring.findings)
}

struct Declaring<'a> {
    connection: &'a Connection,
    time: Duration,
    /// None at first, and after a fault: a refusal closes the channel.
    channel: Option<Channel>,
    findings: Vec<String>,
}

impl Declaring<'_> {
    async fn exchange(&mut self, exchange: &ExchangeDefinition) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions {
            durable: exchange.durable,
            ..Default::default()
        };
        let declared = self.exchange_as(exchange, options).await?;
        let declared = match declared {
            // A login without the right to configure is fine if the object already exists.
            Outcome::Forbidden(words) => {
                let passive = ExchangeDeclareOptions {
                    passive: true,
                    ..options
                };
                let exists = self.exchange_as(exchange, passive).await?;
                exists.or_forbidden(&words)
            }
            other => other,
        };
        self.note(&exchange.name, declared);
        Ok(())
    }

    async fn exchange_as(
        &mut self,
        exchange: &ExchangeDefinition,
        options: ExchangeDeclareOptions,
    ) -> lapin::Result<Outcome> {
        let kind = match exchange.kind.as_str() {
            "topic" => ExchangeKind::Topic,
            "direct" => ExchangeKind::Direct,
            other => ExchangeKind::Custom(other.to_owned()),
        };
        let Ok(name) = short("exchange", &exchange.name) else {
            return Ok(Outcome::Refused("name too long".into()));
        };
        let channel = self.channel().await?;
        self.run(channel.exchange_declare(name, kind, options, FieldTable::default()))
            .await
    }

    async fn queue(&mut self, queue: &QueueDefinition) -> lapin::Result<()> {
        let options = QueueDeclareOptions {
            durable: queue.durable,
            ..Default::default()
        };
        let declared = match self.queue_as(queue, options).await? {
            Outcome::Forbidden(words) => {
                let passive = QueueDeclareOptions {
                    passive: true,
                    ..options
                };
                let exists = self.queue_as(queue, passive).await?;
                exists.or_forbidden(&words)
            }
            other => other,
        };
        self.note(&queue.name, declared);
        Ok(())
    }

    async fn queue_as(
        &mut self,
        queue: &QueueDefinition,
        options: QueueDeclareOptions,
    ) -> lapin::Result<Outcome> {
        let Ok(name) = short("queue", &queue.name) else {
            return Ok(Outcome::Refused("name too long".into()));
        };
        let channel = self.channel().await?;
        self.run(channel.queue_declare(name, options, arguments(queue)))
            .await
    }

    async fn binding(&mut self, binding: &BindingDefinition) -> lapin::Result<()> {
        let names = (
            short("queue", &binding.destination),
            short("exchange", &binding.source),
            short("binding key", &binding.routing_key),
        );
        let (Ok(queue), Ok(exchange), Ok(key)) = names else {
            return Ok(());
        };
        let channel = self.channel().await?;
        let bound = self
            .run(channel.queue_bind(
                queue,
                exchange,
                key,
                QueueBindOptions::default(),
                FieldTable::default(),
            ))
            .await?;
        // Without the right to bind, this cannot be checked: AMQP cannot query bindings.
        if !matches!(bound, Outcome::Forbidden(_)) {
            self.note(
                &format!("{} → {}", binding.source, binding.destination),
                bound,
            );
        }
        Ok(())
    }

    async fn channel(&mut self) -> lapin::Result<Channel> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let channel = timeout(self.time, self.connection.create_channel())
            .await
            .map_err(|_| timed_out())??;
        Ok(self.channel.insert(channel).clone())
    }

    async fn run<T>(
        &mut self,
        operation: impl Future<Output = lapin::Result<T>>,
    ) -> lapin::Result<Outcome> {
        let error = match timeout(self.time, operation).await {
            Ok(Ok(_)) => return Ok(Outcome::Done),
            // If the leader of one queue does not answer, the others must still be usable.
            Err(_) => timed_out(),
            Ok(Err(error)) => error,
        };
        self.channel = None;
        if is_access_refused(&error) {
            return Ok(Outcome::Forbidden(error.to_string()));
        }
        match error.kind() {
            ErrorKind::ProtocolError(refusal) => match refusal.kind() {
                AMQPErrorKind::Soft(_) => Ok(Outcome::Refused(error.to_string())),
                AMQPErrorKind::Hard(_) => Err(error),
            },
            _ if self.connection.status().connected() => Ok(Outcome::Refused(error.to_string())),
            _ => Err(error),
        }
    }

    fn note(&mut self, name: &str, outcome: Outcome) {
        if let Outcome::Forbidden(words) | Outcome::Refused(words) = outcome {
            self.findings.push(format!("{name}: {words}"));
        }
    }
}

enum Outcome {
    Done,
    Forbidden(String),
    Refused(String),
}

impl Outcome {
    /// What is missing and may not be declared needs a right, not another declaration.
    fn or_forbidden(self, words: &str) -> Self {
        match self {
            Self::Refused(missing) if missing.contains("NOT_FOUND") => Self::Forbidden(format!(
                "it does not exist, and the RabbitMQ user may not declare it: give the user the permissions in \
                 rabbitmq/definitions.json ({words})"
            )),
            other => other,
        }
    }
}

/// Whether the login lacks a right.
pub(super) fn is_access_refused(error: &lapin::Error) -> bool {
    let refused = AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
    matches!(error.kind(), ErrorKind::ProtocolError(refusal) if *refusal.kind() == refused)
}

fn timed_out() -> lapin::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into()
}

/// The arguments of a queue as an AMQP table.
pub(super) fn arguments(queue: &QueueDefinition) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in &queue.arguments {
        let value = match value {
            Value::String(text) => AMQPValue::LongString(LongString::from(text.as_str())),
            Value::Bool(it) => AMQPValue::Boolean(*it),
            // The broker compares numbers by value, regardless of their width.
            Value::Number(number) => number
                .as_i64()
                .map_or(AMQPValue::Void, AMQPValue::LongLongInt),
            _ => AMQPValue::Void,
        };
        if let Ok(name) = short("argument", name) {
            table.insert(name, value);
        }
    }
    table
}
