//! Publishing with confirms: everything is handed over first, then the confirms are awaited.
//!
//! Each call has a channel to itself for as long as it lasts. lapin hands a returned (unroutable) message to whichever
//! confirm comes next on the channel, which with confirms for several messages at once is any of them; so what came
//! back is collected over the whole call, and a message counts as unroutable if one for the same place came back.

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

/// From the first byte to the broker's word on it.
type Confirming<'c> = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send + 'c>>;

/// Publishes on this session until the deadline. Whatever has no confirm by then makes the session a broken one,
/// except while the broker blocks it, which says itself why nothing comes.
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
                // One that still has confirms to come is dropped, which closes it.
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
    /// Exchange and routing key of every message that came back.
    returned: HashSet<(String, String)>,
    /// What makes the session useless.
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

    /// Hands everything to the connection in its order, waiting for nothing.
    fn write<'c>(&mut self, channel: &'c Channel) -> Vec<(usize, Confirming<'c>)>
    where
        'a: 'c,
    {
        let mut written = Vec::with_capacity(self.messages.len());
        for (index, message) in self.messages.iter().enumerate() {
            match write(channel, message) {
                // Its first poll puts the frames into the connection's queue.
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

    /// After a fault it waits no longer, but takes what has come by then: a return may be among it.
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

    /// An unroutable message is acknowledged too: only what came back tells.
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

    /// A reply queue may be gone; a queue of ours may not.
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
