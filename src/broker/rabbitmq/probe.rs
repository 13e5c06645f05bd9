//! The queries that a check of the environment sends to RabbitMQ, without publishing or consuming a message.

use std::net::SocketAddr;

use futures::{AsyncReadExt, AsyncWriteExt};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, BasicProperties, Channel};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::RabbitMq;
use super::declare::{arguments, is_access_refused};
use crate::broker::{BrokerError, Exchange, Queue};

/// A routing key without a binding.
const NOWHERE: &str = "check.nowhere";

/// A right that the service needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// `consume payments.work`
    pub what: String,
    /// The broker's message, if it refused.
    pub refused: Option<String>,
}

impl RabbitMq {
    /// The version from the greeting of the first host that answers, before any login.
    pub async fn version(&self) -> Result<String, BrokerError> {
        for uri in self.options.hosts.uris() {
            let greeting = greeting(uri, self.options.ca_certificates.clone());
            let answer = timeout(self.options.connect_timeout, greeting).await;
            if let Ok(Ok(Some(version))) = answer.map(|seen| seen.map(|seen| version_in(&seen))) {
                return Ok(version);
            }
        }
        Err(BrokerError::NotConnected)
    }

    /// Tries everything that the service does at the broker, one by one.
    pub async fn rights(&self) -> Result<Vec<Right>, BrokerError> {
        let mut rights = Vec::new();
        for definition in &self.options.topology.queues {
            let name = ShortString::from(definition.name.as_str());
            let options = QueueDeclareOptions {
                durable: definition.durable,
                ..Default::default()
            };
            let channel = self.channel().await?;
            let declared = channel.queue_declare(name, options, arguments(definition));
            let declared = timeout(self.options.connect_timeout, declared).await;
            let refused = answered(declared)?.filter(is_access_refused);
            rights.push(right("declare", &definition.name, refused));
        }
        for exchange in [
            Exchange::Requests,
            Exchange::Work,
            Exchange::Results,
            Exchange::DeadLetters,
            Exchange::Default,
        ] {
            let name = match exchange {
                Exchange::Default => "the default exchange (replies)",
                named => named.name(),
            };
            let channel = self.channel().await?;
            let published = timeout(self.options.connect_timeout, publish(&channel, exchange));
            rights.push(right("publish to", name, answered(published.await)?));
        }
        for queue in Queue::ALL {
            let channel = self.channel().await?;
            let consumed = timeout(self.options.connect_timeout, consume(&channel, queue)).await;
            let refused = answered(consumed)?.filter(is_access_refused);
            rights.push(right("consume", queue.name(), refused));
        }
        Ok(rights)
    }

    /// Opens a channel for each request: a refusal closes it.
    async fn channel(&self) -> Result<Channel, BrokerError> {
        let session = self.session().ok_or(BrokerError::NotConnected)?;
        let opened = timeout(
            self.options.connect_timeout,
            session.connection.create_channel(),
        );
        match opened.await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(BrokerError::Refused(error.to_string())),
            Err(_) => Err(BrokerError::NotConnected),
        }
    }
}

/// The first bytes that a broker sends on a new connection.
async fn greeting(uri: &AMQPUri, ca_certificates: Option<String>) -> lapin::Result<Vec<u8>> {
    let runtime = lapin::runtime::default_runtime()?;
    let host = uri.authority.host.as_str();
    let addresses: Vec<SocketAddr> = lookup_host((host, uri.authority.port)).await?.collect();
    let mut stream = AsyncTcpStream::connect(&runtime, addresses).await?;
    if uri.scheme == AMQPScheme::AMQPS {
        let tls = OwnedTLSConfig {
            identity: None,
            cert_chain: ca_certificates,
        };
        stream = stream.into_tls(host, tls.as_ref()).await?;
    }
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut seen = vec![0; 4096];
    let length = stream.read(&mut seen).await?;
    seen.truncate(length);
    Ok(seen)
}

fn right(verb: &str, object: &str, refused: Option<lapin::Error>) -> Right {
    Right {
        what: format!("{verb} {object}"),
        refused: refused.map(|error| error.to_string()),
    }
}

/// The broker's refusal, if it was one.
fn answered<T>(
    answer: Result<lapin::Result<T>, tokio::time::error::Elapsed>,
) -> Result<Option<lapin::Error>, BrokerError> {
    match answer {
        Ok(Ok(_)) => Ok(None),
        Ok(Err(error)) => Ok(Some(error)),
        Err(_) => Err(BrokerError::NotConnected),
    }
}

/// The broker checks the right before the route. There is no route: the message is returned and dropped here.
async fn publish(channel: &Channel, exchange: Exchange) -> lapin::Result<()> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let (exchange, key) = (exchange.name().into(), NOWHERE.into());
    let published = channel.basic_publish(exchange, key, options, b"", BasicProperties::default());
    published.await?.await?;
    Ok(())
}

/// The broker checks the right before the arguments. One of these is wrong on purpose, because a registered consumer
/// would receive messages.
async fn consume(channel: &Channel, queue: Queue) -> lapin::Result<()> {
    let mut wrong = FieldTable::default();
    let value = AMQPValue::LongString(LongString::from("no number"));
    wrong.insert("x-priority".into(), value);
    let (queue, tag) = (queue.name().into(), ShortString::default());
    channel
        .basic_consume(queue, tag, BasicConsumeOptions::default(), wrong)
        .await?;
    Ok(())
}

/// `version`, a long string in the table of the greeting (Connection.Start).
fn version_in(greeting: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\x07versionS";
    let at = greeting.windows(NAME.len()).position(|it| it == NAME)?;
    let (length, rest) = greeting[at + NAME.len()..].split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some(String::from_utf8_lossy(rest.get(..length)?).into_owned())
}
