//! Publishing with confirms: all messages are written first, then the confirms are awaited.
//!
//! Each call uses its own channel. lapin attaches a returned (unroutable) message to the next confirm on the channel,
//! which may belong to another message if one confirm covers several; so returned messages are collected over the whole
//! call, and a message counts as unroutable if one with the same exchange and routing key was returned.

use std::collections::HashSet;
use std::pin::{Pin, pin};

use futures::FutureExt;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::time::{Instant, sleep_until};

use super::properties::{TooLong, short, to_amqp};
use super::session::{NO_CONFIRM, Session};
use crate::broker::{Exchange, Publication, PublishError};

type Outcome = Result<(), PublishError>;

/// A publication until the broker's confirm.
type Confirming<'c> = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send + 'c>>;

/// Publishes on this session until the deadline. A missing confirm then marks the session as broken, except while the
/// broker blocks it, which explains the missing confirm.
pub(super) async fn publish(
    session: &Session,
    messages: &[&Publication],
    deadline: Instant,
) -> Vec<Outcome> {
    if messages.is_empty() {
        return Vec::new();
    }
    let mut call = Call::new(session, messages);
    let mut end = pin!(async {
        tokio::select! {
            () = sleep_until(deadline) => NO_CONFIRM.to_owned(),
            () = session.broken() => "session lost".to_owned(),
        }
    });
    tokio::select! {
        biased;
        lent = session.confirm_channels.lend(&session.connection) => match lent {
            Ok((channel, _permit)) => {
                let written = call.write(&channel);
                call.collect(written, end.as_mut()).await;
                // A channel with outstanding confirms is dropped, which closes it.
                if call.fault.is_none() {
                    session.confirm_channels.give_back(channel);
                }
            }
            Err(fault) => call.fault = Some(fault),
        },
        fault = end.as_mut() => call.fault = Some(fault),
    }
    if let Some(fault) = call.fault.take().filter(|_| !session.is_blocked()) {
        session.fail(fault);
    }
    call.judge();
    if call.misses_topology() {
        session.report_missing();
    }
    call.outcomes
}

struct Call<'a> {
    session: &'a Session,
    messages: &'a [&'a Publication],
    outcomes: Vec<Outcome>,
    acknowledged: Vec<usize>,
    /// Exchange and routing key of every returned message.
    returned: HashSet<(String, String)>,
    /// Why the session is unusable.
    fault: Option<String>,
}

impl<'a> Call<'a> {
    fn new(session: &'a Session, messages: &'a [&'a Publication]) -> Self {
        let outcomes = vec![Err(PublishError::NotConfirmed); messages.len()];
        Self {
            session,
            messages,
            outcomes,
            acknowledged: Vec::new(),
            returned: HashSet::new(),
            fault: None,
        }
    }

    /// Writes all messages to the connection in order, without waiting.
    fn write<'c>(&mut self, channel: &'c Channel) -> Vec<(usize, Confirming<'c>)>
    where
        'a: 'c,
    {
        let mut written = Vec::with_capacity(self.messages.len());
        for (index, message) in self.messages.iter().enumerate() {
            match write(channel, message) {
                // The first poll puts the frames into the connection's queue.
                Ok(mut confirming) => match (&mut confirming).now_or_never() {
                    Some(confirmation) => self.note(index, confirmation),
                    None => written.push((index, confirming)),
                },
                Err(too_long) => {
                    self.outcomes[index] = Err(PublishError::Unwritable(too_long.to_string()));
                }
            }
        }
        written
    }

    /// After a fault it stops waiting, but takes the confirms received so far: one may carry a returned message.
    async fn collect(
        &mut self,
        written: Vec<(usize, Confirming<'_>)>,
        mut end: impl Future<Output = String> + Unpin,
    ) {
        for (index, mut confirm) in written {
            let confirmation = if self.fault.is_some() {
                confirm.now_or_never()
            } else {
                tokio::select! {
                    biased;
                    confirmation = &mut confirm => Some(confirmation),
                    reason = &mut end => {
                        self.fault = Some(reason);
                        None
                    }
                }
            };
            if let Some(confirmation) = confirmation {
                self.note(index, confirmation);
            }
        }
    }

    fn note(&mut self, index: usize, confirmation: lapin::Result<Confirmation>) {
        let returned = match confirmation {
            Ok(Confirmation::Ack(returned)) => {
                self.acknowledged.push(index);
                returned
            }
            Ok(Confirmation::Nack(returned)) => {
                self.outcomes[index] = Err(PublishError::Refused);
                returned
            }
            Ok(Confirmation::NotRequested) => {
                self.fault = Some("the channel is not in confirm mode".to_owned());
                None
            }
            Err(error) => {
                self.session.note(&error);
                self.fault = Some(error.to_string());
                None
            }
        };
        if let Some(message) = returned {
            self.returned.insert((
                message.exchange.to_string(),
                message.routing_key.to_string(),
            ));
        }
    }

    /// Unroutable messages are confirmed, too: only the returned messages show it.
    fn judge(&mut self) {
        for index in std::mem::take(&mut self.acknowledged) {
            let message = &self.messages[index];
            let place = (
                message.exchange.name().to_owned(),
                message.routing_key.clone(),
            );
            self.outcomes[index] = if message.mandatory && self.returned.contains(&place) {
                Err(PublishError::Unroutable {
                    exchange: place.0,
                    routing_key: place.1,
                })
            } else {
                Ok(())
            };
        }
        if let Some(reason) = self.session.closed_by_broker() {
            for outcome in &mut self.outcomes {
                if *outcome == Err(PublishError::NotConfirmed) {
                    *outcome = Err(PublishError::Closed(reason.to_owned()));
                }
            }
        }
    }

    /// A reply queue may be gone; a queue of this service may not.
    fn misses_topology(&self) -> bool {
        self.messages
            .iter()
            .zip(&self.outcomes)
            .any(|(message, outcome)| {
                message.exchange != Exchange::Default
                    && matches!(outcome, Err(PublishError::Unroutable { .. }))
            })
    }
}

fn write<'c>(channel: &'c Channel, message: &'c Publication) -> Result<Confirming<'c>, TooLong> {
    let exchange = short("exchange", message.exchange.name())?;
    let routing_key = short("routing key", &message.routing_key)?;
    let options = BasicPublishOptions {
        mandatory: message.mandatory,
        ..Default::default()
    };
    let properties = to_amqp(message)?;
    let body = message.body.as_bytes();
    Ok(Box::pin(async move {
        let written = channel.basic_publish(exchange, routing_key, options, body, properties);
        written.await?.await
    }))
}
