//! One message that cannot be published, among many that can.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::broker::{BrokerError, Consumer, Exchange, Properties};
use crate::payments::leases::Leases;
use crate::relay::RelaySettings;
use crate::store::Store;
use crate::store::ids::IdSpace;
use crate::store::rows::OutboxRow;
use crate::watchdog::pulse::Pulse;
use crate::watchdog::vital::Vital;

/// A broker that closes the connection on some messages; what is published together with one has no confirm.
struct Touchy {
    connection: watch::Sender<ConnectionState>,
    is_away: AtomicBool,
    /// Once, whatever is published.
    breaks: AtomicBool,
}

#[async_trait]
impl Broker for Touchy {
    async fn publish(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        let has = |kind: &str| messages.iter().any(|it| it.routing_key == kind);
        assert!(!has("panics"), "as the test wants it");
        if self.is_away.load(Ordering::SeqCst) {
            return vec![Err(PublishError::NotConnected); messages.len()];
        }
        if has("closes") || self.breaks.swap(false, Ordering::SeqCst) {
            return vec![Err(PublishError::NotConfirmed); messages.len()];
        }
        let outcome = |message: &Publication| match message.routing_key.as_str() {
            "unwritable" => Err(PublishError::Unwritable("too long".to_owned())),
            "refused" => Err(PublishError::Refused),
            _ => Ok(()),
        };
        messages.iter().map(outcome).collect()
    }

    fn consume(&self, _: Queue, _: u16) -> Consumer {
        unreachable!("the publisher consumes nothing")
    }

    fn subscribe_results(&self, _: &[&str]) -> Consumer {
        unreachable!("the publisher consumes nothing")
    }

    async fn bind_results(&self, _: Queue, _: &[String], _: &[String]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn depth(&self, _: Queue) -> Result<u64, BrokerError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(BrokerError::NotConnected),
            false => Ok(0),
        }
    }

    async fn is_consumed(&self, _: Queue) -> bool {
        false
    }
    async fn declare_topology(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn vital(&self) -> Vital {
        Vital::new("touchy")
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.connection.subscribe()
    }

    async fn stop_consuming(&self) {}

    async fn close(&self) {}
}

struct Case {
    _folder: TempDir,
    database: Store,
    broker: Arc<Touchy>,
    publisher: Publisher,
}

impl Case {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let database = Store::sqlite(&folder.path().join("payments.db"));
        database.migrate().await.expect("a schema");
        let second = Duration::from_secs(1);
        let leases = Leases {
            outbox: second,
            claim: second,
            check: second,
        };
        let ids = IdSpace { first: 1, last: 9 };
        let (commands, _) = Commands::new(database.clone(), ids, leases);
        let stages = RelayStages::new(RelaySettings {
            sweep_every: second,
            check_every: second,
            backlog_limit: 100,
            work_tries: 1,
        });
        let pulses = Pulses {
            publish: Pulse::new("relay"),
            sweep: Pulse::new("sweep"),
            rescue: Pulse::new("rescue"),
            backlog: Pulse::new("backlog"),
            tokens: Pulse::new("card tokens"),
        };
        let broker = Arc::new(Touchy {
            connection: watch::Sender::new(ConnectionState::Up),
            is_away: AtomicBool::new(false),
            breaks: AtomicBool::new(false),
        });
        Self {
            publisher: Publisher::new(
                Arc::clone(&broker) as _,
                commands,
                (stages, Groups::of(1)),
                pulses,
            ),
            broker,
            database,
            _folder: folder,
        }
    }

    /// Rows of the outbox: ordinary ones, with this one in the middle.
    async fn rows(&self, bad: &str, ordinary: usize) -> Vec<Outgoing> {
        let row = |index| Outgoing {
            id: OutboxId(Uuid::now_v7()),
            payment: None,
            due_at: OffsetDateTime::now_utc(),
            publication: Publication {
                exchange: Exchange::Results,
                routing_key: if index == ordinary / 2 { bad } else { "fine" }.to_owned(),
                properties: Properties::default(),
                body: String::new(),
                mandatory: false,
            },
        };
        let rows: Vec<Outgoing> = (0..=ordinary).map(row).collect();
        let mut tx = self.database.begin().await.expect("a transaction");
        let stored: Vec<OutboxRow> = rows.iter().map(Outgoing::row).collect();
        tx.insert_outbox(&stored).await.expect("written");
        tx.commit().await.expect("committed");
        rows
    }

    async fn set_aside(&self) -> u64 {
        let depth = self.database.outbox_depth().await;
        depth.expect("a depth").quarantined
    }
}

#[tokio::test]
async fn a_message_that_breaks_the_connection_is_set_aside_and_others_are_published() {
    for bad in ["closes", "panics"] {
        let case = Case::new().await;
        let rows = case.rows(bad, 200).await;
        let poison = rows[100].clone();
        let confirmed = case.publisher.publish(rows).await;
        assert_eq!(confirmed.len(), 200, "{bad}");
        assert!(!confirmed.contains(&poison.id));
        // The first time was in the middle of the others; from then on it is published after them, alone.
        for _ in 1..BREAKS {
            assert_eq!(case.set_aside().await, 0, "{bad}");
            let mut rows = case.rows("fine", 20).await;
            rows.insert(3, poison.clone());
            assert_eq!(case.publisher.publish(rows).await.len(), 21);
        }
        assert_eq!(case.set_aside().await, 1, "{bad}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_written_is_set_aside_at_once() {
    let case = Case::new().await;
    let rows = case.rows("unwritable", 10).await;
    assert_eq!(case.publisher.publish(rows).await.len(), 10);
    assert_eq!(case.set_aside().await, 1);
}

#[tokio::test]
async fn an_outage_or_a_full_queue_does_not_set_messages_aside() {
    let case = Case::new().await;
    for _ in 0..2 * BREAKS {
        let rows = case.rows("refused", 10).await;
        assert_eq!(case.publisher.publish(rows).await.len(), 10);
    }
    let rows = case.rows("fine", 40).await;
    // A connection that breaks and is back at once costs nothing but that.
    case.broker.breaks.store(true, Ordering::SeqCst);
    assert_eq!(case.publisher.publish(rows.clone()).await.len(), 41);
    case.broker.is_away.store(true, Ordering::SeqCst);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(case.publisher.publish(rows.clone()).await, []);
    }
    assert!(
        began.elapsed() < 2 * AWAY,
        "an outage is waited for only once"
    );
    case.broker.is_away.store(false, Ordering::SeqCst);
    assert_eq!(case.publisher.publish(rows).await.len(), 41);
    assert_eq!(case.set_aside().await, 0);
}
