//! The client application's own AMQP publisher: confirms, `mandatory`, and the same message again until it is taken.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// One connection. A channel is lent to one publication at a time, because lapin hands a returned message to whichever
/// confirm comes next on its channel.
struct OrderSession {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
    broken: CancellationToken,
}

/// A request, for a payment or an operation.
pub struct RequestMessage {
    pub routing_key: &'static str,
    /// The same whenever it is sent again.
    pub id: String,
    pub body: Value,
}

/// Publishes orders on sessions that are built again for ever.
#[derive(Clone)]
pub struct Orders(watch::Receiver<Option<Arc<OrderSession>>>);

impl Orders {
    pub fn start(amqp_url: &str, stop: CancellationToken) -> Self {
        let (sender, sessions) = watch::channel(None);
        tokio::spawn(supervise(amqp_url.to_owned(), sender, stop));
        Self(sessions)
    }

    /// Publishes until the broker has confirmed that a queue has it.
    pub async fn send(&self, request: &RequestMessage) {
        loop {
            let session = self.0.borrow().clone();
            let Some(session) = session else {
                sleep(PAUSE).await;
                continue;
            };
            match timeout(PATIENCE, session.publish(request)).await {
                Ok(Ok(true)) => return,
                // Refused, or no queue is bound: later.
                Ok(Ok(false)) => sleep(PAUSE).await,
                Ok(Err(_)) | Err(_) => {
                    session.broken.cancel();
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl OrderSession {
    async fn open(amqp_url: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
        Ok(Self {
            connection,
            idle: Mutex::default(),
            broken: CancellationToken::new(),
        })
    }

    async fn publish(&self, request: &RequestMessage) -> lapin::Result<bool> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let channel = match idle {
            Some(channel) => channel,
            None => {
                let channel = self.connection.create_channel().await?;
                let options = ConfirmSelectOptions::default();
                channel.confirm_select(options).await?;
                channel
            }
        };
        let properties = BasicProperties::default()
            .with_message_id(request.id.as_str().into())
            .with_correlation_id(request.id.as_str().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let (exchange, key) = ("payments.requests".into(), request.routing_key.into());
        let body = request.body.to_string();
        let confirm = channel
            .basic_publish(exchange, key, options, body.as_bytes(), properties)
            .await?;
        let taken = matches!(confirm.await?, Confirmation::Ack(None));
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(channel);
        Ok(taken)
    }
}

async fn supervise(
    amqp_url: String,
    sessions: watch::Sender<Option<Arc<OrderSession>>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if let Ok(Ok(session)) = timeout(PATIENCE, OrderSession::open(&amqp_url)).await {
            let session = Arc::new(session);
            sessions.send_replace(Some(Arc::clone(&session)));
            while session.connection.status().connected() && !session.broken.is_cancelled() {
                tokio::select! {
                    () = session.broken.cancelled() => {}
                    () = stop.cancelled() => session.broken.cancel(),
                    () = sleep(PAUSE) => {}
                }
            }
            sessions.send_replace(None);
            let closing = session.connection.close(200, "done".into());
            let _ = timeout(Duration::from_secs(1), closing).await;
        }
        sleep(PAUSE).await;
    }
}
