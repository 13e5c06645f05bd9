//! Supervised sessions: in a loop, take the next host, connect, declare what is missing, run until any fault, drop
//! everything, wait. lapin's own recovery is not used: it knows one host, stops trying, and leaves faulty channels behind.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::uri::AMQPUri;
use lapin::{Connection, ErrorKind, Event};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::RabbitMqOptions;
use super::confirm_channels::ConfirmChannels;
use super::connect::{Socket, connect, delay};
use super::connection_status::{ConnectionStatus, Purpose};
use super::declare::declare;
use super::hosts::address;
use crate::broker::ConnectionState;

/// How often a session checks whether its connection is still open, in case an event was missed.
const GLANCE: Duration = Duration::from_millis(500);
/// How often a mismatch is checked again: it may have been corrected.
const RECHECK: Duration = Duration::from_secs(15);
/// This many consecutive sessions for replies start without a pause when the broker has closed the previous one.
const AT_ONCE: u32 = 10;
/// The reason for ending a session whose host does not confirm.
pub(super) const NO_CONFIRM: &str = "no confirm in time";
/// A session that lasted this long does not count as a failure to connect.
const SETTLED: Duration = Duration::from_secs(5);

/// One connection to one host, from login to the first fault.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) host: String,
    pub(super) confirm_channels: ConfirmChannels,
    socket: Socket,
    broken: CancellationToken,
    reason: Mutex<Option<String>>,
    closed_by_broker: OnceLock<String>,
    /// Signals that an exchange or queue was missing.
    missing: Notify,
}

impl Session {
    /// Connects and logs in.
    pub(super) async fn open(
        uri: &AMQPUri,
        purpose: Purpose,
        options: &RabbitMqOptions,
    ) -> Result<Self, String> {
        let (connection, socket) = connect(uri, purpose, options).await?;
        Ok(Self {
            connection,
            host: address(uri),
            confirm_channels: ConfirmChannels::default(),
            socket,
            broken: CancellationToken::new(),
            reason: Mutex::new(None),
            closed_by_broker: OnceLock::new(),
            missing: Notify::new(),
        })
    }

    /// Marks it as broken: it is dropped and replaced.
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

    /// Whether the broker has stopped accepting messages. Messages written now would wait in memory.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Why the broker has closed the connection or one of its channels, if it has: a message published on it may be the
    /// cause. Connections closed by an operator do not count.
    pub(super) fn closed_by_broker(&self) -> Option<&str> {
        self.closed_by_broker.get().map(String::as_str)
    }

    /// Stores lapin's error about the end of the session.
    pub(super) fn note(&self, error: &lapin::Error) {
        if let ErrorKind::ProtocolError(said) = error.kind()
            && *said.kind() != AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED)
        {
            self.closed_by_broker.get_or_init(|| error.to_string());
        }
    }

    /// Requests that the topology is declared again soon.
    pub(super) fn report_missing(&self) {
        self.missing.notify_one();
    }

    /// Sends a close to the broker, so that it does not log a lost connection; it need not answer.
    pub(super) async fn close(&self, time: Duration) {
        let _ = timeout(time, self.connection.close(200, "closed".into())).await;
    }

    pub(super) fn end(&self, reason: &str) {
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
    pub(super) status: Arc<ConnectionStatus>,
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
            let (mut opened, mut closed_by_broker) = (false, false);
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
                    closed_by_broker = session.closed_by_broker().is_some();
                    if reason == NO_CONFIRM && self.purpose != Purpose::Replies {
                        self.status.doubt(&session.host);
                    }
                    reason
                }
                Err(reason) => reason,
            };
            if self.closing.is_cancelled() {
                break;
            }
            self.tell_end(format!("{}: {reason}", address(uri)), opened, &mut told);
            failures = if started.elapsed() > SETTLED {
                0
            } else {
                failures.saturating_add(1)
            };
            let pause = self.pause(failures, hosts.len(), closed_by_broker);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.closing.cancelled() => break,
            }
        }
        self.status
            .set(self.purpose, ConnectionState::Down("closed".to_owned()));
    }

    fn tell_end(&self, reason: String, opened: bool, told: &mut Option<String>) {
        if told.as_ref() != Some(&reason) {
            tracing::warn!(
                broker.purpose = self.purpose.name(),
                reason,
                "no session to the broker"
            );
            *told = Some(reason.clone());
        }
        // A session for results or replies may end because of a client's queue, which says nothing about the broker.
        let to_others = matches!(self.purpose, Purpose::Results | Purpose::Replies);
        if !opened || !to_others {
            self.status.set(self.purpose, ConnectionState::Down(reason));
        }
    }

    /// The pause before the next session.
    fn pause(&self, failures: u32, hosts: usize, closed_by_broker: bool) -> Duration {
        // The reply that made the broker close the connection is not published here again, and others wait.
        if closed_by_broker && self.purpose == Purpose::Replies {
            return if failures <= AT_ONCE {
                Duration::ZERO
            } else {
                delay(0)
            };
        }
        // The delay grows when all hosts have been tried.
        delay(failures / u32::try_from(hosts).unwrap_or(u32::MAX).max(1))
    }

    async fn open(&self, uri: &AMQPUri) -> Result<(Arc<Session>, Vec<String>), String> {
        let session = Session::open(uri, self.purpose, &self.options).await?;
        match self.declare(&session).await {
            Ok(findings) => Ok((Arc::new(session), findings)),
            Err(reason) => {
                session.end(&reason);
                Err(reason)
            }
        }
    }

    async fn declare(&self, session: &Session) -> Result<Vec<String>, String> {
        // Replies only use the default exchange and clients' queues, and must not wait longer than necessary.
        if self.purpose == Purpose::Replies {
            return Ok(Vec::new());
        }
        declare(
            &session.connection,
            &self.options.topology,
            self.options.connect_timeout,
        )
        .await
        .map_err(|error| error.to_string())
    }

    /// Publishes the session to its users, runs it to its end and returns why it ended.
    async fn serve(&self, session: &Arc<Session>, findings: Vec<String>) -> String {
        // First the session, then the status: code that waits for `Up` must find it.
        self.sessions.send_replace(Some(Arc::clone(session)));
        self.tell(session, &findings);
        let reason = tokio::select! {
            reason = self.watch(session, findings) => reason,
            () = session.broken() => session.reason(),
            () = self.closing.cancelled() => {
                self.sessions.send_replace(None);
                session.close(self.options.connect_timeout).await;
                "closed".to_owned()
            }
        };
        self.sessions.send_replace(None);
        session.end(&reason);
        reason
    }

    /// Returns the reason why the session cannot continue.
    async fn watch(&self, session: &Session, mut findings: Vec<String>) -> String {
        let mut events = session.connection.events_listener();
        let mut glance = interval(GLANCE);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checked = Instant::now();
        loop {
            let mut check = false;
            tokio::select! {
                // The event has more detail than the closed connection.
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
                // At most once a second, however many publications request it.
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
            ConnectionState::Blocked
        } else if findings.is_empty() {
            ConnectionState::Up
        } else {
            ConnectionState::Mismatch(findings.join("; "))
        };
        self.status.set(self.purpose, state);
    }
}
