//! Supervised sessions: next host, connect, declare what is missing, run until any fault, drop everything, wait, again,
//! for ever. lapin's own recovery is not used: it knows one host, gives up, and leaves faulty channels behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use lapin::{Connection, ErrorKind, Event};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::RabbitMqOptions;
use super::board::{Board, Purpose};
use super::connect::{Socket, connect, delay};
use super::declare::declare;
use super::hosts::address;
use super::publisher::ConfirmChannels;
use crate::broker::Connection as State;

/// How often a session looks whether its connection is still one, should no event have said so.
const GLANCE: Duration = Duration::from_millis(500);
/// How often a mismatch is looked at again: somebody may have put it right.
const RECHECK: Duration = Duration::from_secs(15);
/// A session that lived this long was no failure to connect.
const SETTLED: Duration = Duration::from_secs(5);

/// One connection to one host, from log-in to the first fault.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) confirm_channels: ConfirmChannels,
    socket: Socket,
    broken: CancellationToken,
    reason: Mutex<Option<String>>,
    unreadable: AtomicBool,
    /// Something that should be there was missing.
    missing: Notify,
}

impl Session {
    /// Declares it broken: it is dropped and another one built.
    pub(super) fn fail(&self, reason: impl Into<String>) {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason.into());
        self.broken.cancel();
    }

    /// Ends when the session does.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.broken.is_cancelled() && self.connection.status().connected()
    }

    /// The broker has stopped taking messages. What is written now would wait in memory.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Whether something came that lapin cannot read: names and properties that are not UTF-8, which RabbitMQ passes on
    /// as any client has sent them, are the end of the connection for it.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Notes what lapin said of the end.
    pub(super) fn note(&self, error: &lapin::Error) {
        if matches!(error.kind(), ErrorKind::ParsingError(_)) {
            self.unreadable.store(true, Ordering::Relaxed);
        }
    }

    /// Asks for the topology to be declared again soon.
    pub(super) fn report_missing(&self) {
        self.missing.notify_one();
    }

    fn end(&self, reason: &str) {
        self.fail(reason);
        self.socket.cut();
    }

    fn reason(&self) -> String {
        let reason = self
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        reason.unwrap_or_else(|| "connection lost".to_owned())
    }
}

/// The sessions of one connection, one after the other.
pub(super) struct Supervisor {
    pub(super) options: Arc<RabbitMqOptions>,
    pub(super) purpose: Purpose,
    pub(super) board: Arc<Board>,
    pub(super) sessions: watch::Sender<Option<Arc<Session>>>,
    pub(super) closing: CancellationToken,
}

impl Supervisor {
    pub(super) async fn run(self) {
        let hosts = self.options.hosts.uris();
        let mut failures: u32 = 0;
        let mut told = None;
        for uri in hosts.iter().cycle() {
            let started = Instant::now();
            let (mut opened, mut unreadable) = (false, false);
            let reason = match self.open(uri).await {
                Ok((session, findings)) => {
                    tracing::info!(
                        broker.host = address(uri),
                        broker.purpose = self.purpose.name(),
                        "connected"
                    );
                    told = None;
                    opened = true;
                    let reason = self.serve(&session, findings).await;
                    unreadable = session.is_unreadable();
                    reason
                }
                Err(reason) => reason,
            };
            if self.closing.is_cancelled() {
                break;
            }
            let reason = format!("{}: {reason}", address(uri));
            if told.as_ref() != Some(&reason) {
                tracing::warn!(
                    broker.purpose = self.purpose.name(),
                    reason,
                    "no session to the broker"
                );
                told = Some(reason.clone());
            }
            // The end of a session for results may be the fault of somebody's queue, and no word on the broker.
            if !opened || self.purpose != Purpose::Results {
                self.board.set(self.purpose, State::Down(reason));
            }
            // Behind a message that cannot be read wait others that can, and each attempt brings its end nearer.
            failures = if started.elapsed() > SETTLED || unreadable {
                0
            } else {
                failures.saturating_add(1)
            };
            // The delay grows when all hosts have been tried.
            let rounds = failures / u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
            tokio::select! {
                () = sleep(delay(rounds)) => {}
                () = self.closing.cancelled() => break,
            }
        }
        self.board
            .set(self.purpose, State::Down("closed".to_owned()));
    }

    async fn open(&self, uri: &lapin::uri::AMQPUri) -> Result<(Arc<Session>, Vec<String>), String> {
        let (connection, socket) = connect(uri, self.purpose, &self.options).await?;
        let session = Session {
            connection,
            confirm_channels: ConfirmChannels::default(),
            socket,
            broken: CancellationToken::new(),
            reason: Mutex::new(None),
            unreadable: AtomicBool::new(false),
            missing: Notify::new(),
        };
        match self.declare(&session).await {
            Ok(findings) => Ok((Arc::new(session), findings)),
            Err(reason) => {
                session.end(&reason);
                Err(reason)
            }
        }
    }

    async fn declare(&self, session: &Session) -> Result<Vec<String>, String> {
        declare(
            &session.connection,
            &self.options.topology,
            self.options.connect_timeout,
        )
        .await
        .map_err(|error| error.to_string())
    }

    /// Hands the session out, runs it to its end and says why it ended.
    async fn serve(&self, session: &Arc<Session>, findings: Vec<String>) -> String {
        // Handed out before it is announced: who waits for `Up` finds it.
        self.sessions.send_replace(Some(Arc::clone(session)));
        self.tell(session, &findings);
        let reason = tokio::select! {
            reason = self.watch(session, findings) => reason,
            () = session.broken() => session.reason(),
            () = self.closing.cancelled() => {
                self.sessions.send_replace(None);
                // The other side is told, so that it does not log a lost connection; it need not answer.
                let _ = timeout(self.options.connect_timeout, session.connection.close(200, "closed".into())).await;
                "closed".to_owned()
            }
        };
        self.sessions.send_replace(None);
        session.end(&reason);
        reason
    }

    /// Ends with the reason why the session cannot go on.
    async fn watch(&self, session: &Session, mut findings: Vec<String>) -> String {
        let mut events = session.connection.events_listener();
        let mut glance = interval(GLANCE);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checked = Instant::now();
        loop {
            let mut check = false;
            tokio::select! {
                // The event says more than that the connection is gone.
                biased;
                event = events.next() => match event {
                    Some(Event::Error(error)) if !session.connection.status().connected() => {
                        session.note(&error);
                        return error.to_string();
                    }
                    None => return "connection lost".to_owned(),
                    _ => self.tell(session, &findings),
                },
                _ = glance.tick() => {
                    if !session.connection.status().connected() {
                        return "connection lost".to_owned();
                    }
                    check = !findings.is_empty() && checked.elapsed() > RECHECK;
                }
                // At most once a second, however many publications ask for it.
                () = session.missing.notified(), if checked.elapsed() > Duration::from_secs(1) => check = true,
            }
            if check && !session.is_blocked() {
                findings = match self.declare(session).await {
                    Ok(findings) => findings,
                    Err(reason) => return reason,
                };
                checked = Instant::now();
                self.tell(session, &findings);
            }
        }
    }

    fn tell(&self, session: &Session, findings: &[String]) {
        let state = if session.is_blocked() {
            State::Blocked
        } else if findings.is_empty() {
            State::Up
        } else {
            State::Mismatch(findings.join("; "))
        };
        self.board.set(self.purpose, state);
    }
}
