//! `dead-letters replay`: accepts requests, publishes other messages again, and removes the letters for which that worked.

use std::error::Error;

use time::OffsetDateTime;

use super::Lines;
use super::store::{DeadLetterStore, DeadLetterStoreError, Held};
use crate::app::{AppError, requests};
use crate::broker::Publication;
use crate::cli::open;
use crate::config::Config;
use crate::intake::order_reader::OrderReader;
use crate::intake::replay::{NotReplayable, Replay, replay};
use crate::intake::request::Request;
use crate::intake::{accept, consumer};
use crate::payments::{Accepted, Acceptor};

/// Replays letters, one after the other.
pub(super) struct Replays<'a> {
    config: &'a Config,
    store: &'a DeadLetterStore,
    reader: OrderReader,
    /// Opened for the first request. After the database has failed, with its error: further requests are not tried.
    acceptor: Option<Result<Acceptor, String>>,
    dry_run: bool,
    lines: Lines,
}

/// What became of one letter.
enum Step {
    Replayed,
    /// It stays, because it cannot be replayed.
    Left,
    /// It stays, because the database or the broker failed.
    Failed,
}

/// How many letters stay.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Remaining {
    /// They cannot be replayed.
    pub(super) left: usize,
    /// They can be, but the database or the broker failed.
    pub(super) failed: usize,
}

/// Why a request was not accepted.
enum NotAccepted {
    Refused(NotReplayable),
    NotNow(String),
}

impl<'a> Replays<'a> {
    pub(super) fn new(
        config: &'a Config,
        store: &'a DeadLetterStore,
        (dry_run, lines): (bool, Lines),
    ) -> Self {
        Self {
            config,
            store,
            reader: requests::order_reader(config),
            acceptor: None,
            dry_run,
            lines,
        }
    }

    /// Replays each letter once; further copies of it (a message can be published twice) are discarded with the first.
    pub(super) async fn run(mut self, letters: Vec<Held>) -> Remaining {
        let mut remaining = Remaining::default();
        let mut replayed = Vec::new();
        for mut held in letters {
            let id = held.letter.id.clone();
            let step = if replayed.contains(&id) {
                self.discard_copy(&mut held).await
            } else {
                self.replay(&mut held).await
            };
            match step {
                Step::Replayed => replayed.push(id),
                Step::Left => remaining.left += 1,
                Step::Failed => remaining.failed += 1,
            }
        }
        if let Some(Ok(acceptor)) = self.acceptor {
            acceptor.database.close().await;
        }
        remaining
    }

    fn not_replayable(&self, id: &str, why: &NotReplayable) -> Step {
        self.lines.print(id, false, &format!("not replayed: {why}"));
        Step::Left
    }

    async fn discard_copy(&self, held: &mut Held) -> Step {
        if self.dry_run {
            return Step::Replayed;
        }
        let done = self.store.discard(held).await;
        step(
            self.lines
                .result(&held.letter.id, "discarded: a copy", done),
        )
    }

    async fn replay(&mut self, held: &mut Held) -> Step {
        let id = held.letter.id.clone();
        match replay(&held.letter, &self.reader, OffsetDateTime::now_utc()) {
            Err(why) => self.not_replayable(&id, &why),
            Ok(replay) if self.dry_run => {
                let what = match &replay {
                    Replay::Accept(request) => format!("as a request of {}", request.client()),
                    Replay::Publish(message) => format!("to {}", address(message)),
                };
                self.lines
                    .print(&id, false, &format!("would be replayed {what}"));
                Step::Replayed
            }
            Ok(Replay::Accept(request)) => match self.accept(request).await {
                Ok(accepted) => self.remove(held, &accepted).await,
                Err(NotAccepted::Refused(why)) => self.not_replayable(&id, &why),
                Err(NotAccepted::NotNow(why)) => {
                    self.lines
                        .print(&id, false, &format!("not replayed: {why}; it stays"));
                    Step::Failed
                }
            },
            Ok(Replay::Publish(message)) => {
                let what = format!("replayed to {}", address(&message));
                let done = self.store.publish(held, message).await;
                step(self.lines.result(&id, &what, done))
            }
        }
    }

    /// Accepts a request. If it was accepted before, under its message id, that changes nothing.
    async fn accept(&mut self, request: Request) -> Result<Accepted, NotAccepted> {
        let opened = match self.acceptor.take() {
            Some(opened) => opened,
            None => open(self.config).await.map_err(|error| error.to_string()),
        };
        match opened {
            Err(why) => {
                self.acceptor = Some(Err(why.clone()));
                Err(NotAccepted::NotNow(why))
            }
            Ok(acceptor) => {
                let accepted = accept(&acceptor, &self.reader, request).await;
                self.acceptor = Some(match &accepted {
                    Err(NotAccepted::NotNow(why)) => {
                        acceptor.database.close().await;
                        Err(why.clone())
                    }
                    _ => Ok(acceptor),
                });
                accepted
            }
        }
    }

    /// Removes the letter of a request that has been accepted. Another process may have done both.
    async fn remove(&self, held: &mut Held, accepted: &Accepted) -> Step {
        let (id, payment) = (&held.letter.id.clone(), &accepted.payment);
        match self.store.discard(held).await {
            Ok(()) | Err(DeadLetterStoreError::Gone) => {
                let before = if accepted.replayed {
                    ", which existed already"
                } else {
                    ""
                };
                let message = format!(
                    "replayed: payment {} of {}{before}",
                    payment.id, payment.client
                );
                self.lines.print(id, true, &message);
                Step::Replayed
            }
            Err(error) => {
                let message = format!(
                    "payment {} is accepted, but the dead letter stays: {error}; replaying it again changes nothing",
                    payment.id
                );
                self.lines.print(id, false, &message);
                Step::Failed
            }
        }
    }
}

async fn open(config: &Config) -> Result<Acceptor, Box<dyn Error>> {
    let database = open::database(config)?;
    let opened = match database.check().await {
        Ok(_) => requests::acceptor(config, database.clone()).await,
        Err(error) => Err(AppError::Store(error)),
    };
    if opened.is_err() {
        database.close().await;
    }
    Ok(opened?)
}

async fn accept(
    acceptor: &Acceptor,
    reader: &OrderReader,
    request: Request,
) -> Result<Accepted, NotAccepted> {
    let (client, form) = (request.client().clone(), request.method_form());
    let accepted = accept::accept(acceptor, reader, request).await;
    accepted.map_err(|error| {
        let refused = |refusal| NotAccepted::Refused(NotReplayable::Refused(refusal));
        match error {
            accept::NotAccepted::Refused(refusal) => refused(refusal),
            accept::NotAccepted::Failed(error) => match consumer::refusal(&error, form) {
                Some(refusal) => refused(refusal.of(&client)),
                None => NotAccepted::NotNow(error.to_string()),
            },
        }
    })
}

fn address(message: &Publication) -> String {
    format!("{} {}", message.exchange.name(), message.routing_key)
}

fn step(done: bool) -> Step {
    if done { Step::Replayed } else { Step::Failed }
}
