//! The relay's replies at a broker that closes connections for some addresses and never confirms others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use payment_service::broker::{
    Broker, BrokerError, ConnectionState, Consumer, Exchange, Lane, Properties, Publication,
    PublishError, Queue, embedded::Embedded,
};
use payment_service::payments::commands::Commands;
use payment_service::payments::leases::Leases;
use payment_service::payments::outbox::Message;
use payment_service::relay::{RelaySettings, relay};
use payment_service::store::Store;
use payment_service::store::ids::IdSpace;
use payment_service::store::rows::OutboxId;
use payment_service::watchdog::vital::Vital;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::eventually;

/// The confirm time-out.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// `evil…` closes the connection of everything behind it, `silent…` is never confirmed, the rest is taken.
struct Fickle {
    embedded: Embedded,
    taken: Mutex<Vec<(String, Instant)>>,
    closed: AtomicUsize,
}

impl Fickle {
    async fn take(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        let is = |what: &str| {
            messages
                .iter()
                .position(|it| it.routing_key.starts_with(what))
        };
        let end = is("evil").unwrap_or(messages.len());
        if end < messages.len() {
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
        let outcomes: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(place, message)| {
                if place >= end {
                    return Err(PublishError::Closed("541".to_owned()));
                }
                if message.routing_key.starts_with("silent") {
                    return Err(PublishError::NotConfirmed);
                }
                let taken = (message.routing_key.clone(), Instant::now());
                self.taken.lock().unwrap().push(taken);
                Ok(())
            })
            .collect();
        if outcomes.contains(&Err(PublishError::NotConfirmed)) {
            tokio::time::sleep(CONFIRM_TIMEOUT).await;
        }
        outcomes
    }

    fn count(&self, name: &str) -> usize {
        let taken = self.taken.lock().unwrap();
        taken.iter().filter(|(key, _)| key == name).count()
    }
}

#[async_trait]
impl Broker for Fickle {
    async fn publish(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        self.take(messages).await
    }

    async fn publish_alone(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        self.take(messages).await
    }

    fn vital(&self) -> Vital {
        self.embedded.vital()
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        self.embedded.consume(queue, prefetch)
    }

    fn subscribe_results(&self, binding_keys: &[&str]) -> Consumer {
        self.embedded.subscribe_results(binding_keys)
    }

    async fn bind_results(
        &self,
        queue: Queue,
        wanted: &[String],
        unwanted: &[String],
    ) -> Result<(), BrokerError> {
        self.embedded.bind_results(queue, wanted, unwanted).await
    }

    async fn depth(&self, queue: Queue) -> Result<u64, BrokerError> {
        self.embedded.depth(queue).await
    }

    async fn is_consumed(&self, _: Queue) -> bool {
        false
    }
    async fn declare_topology(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.embedded.connection()
    }

    async fn stop_consuming(&self) {}

    async fn close(&self) {}
}

struct Fixture {
    broker: Arc<Fickle>,
    database: Store,
    commands: Commands,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Store::sqlite(&folder.path().join("payments.db"));
        database.migrate().await.unwrap();
        let lease = Duration::from_millis(300);
        let leases = Leases {
            outbox: lease,
            claim: lease,
            check: lease,
        };
        let space = IdSpace {
            first: 1,
            last: 1000,
        };
        let (commands, handed_over) = Commands::new(database.clone(), space, leases);
        let settings = RelaySettings {
            sweep_every: Duration::from_millis(50),
            check_every: Duration::from_secs(60),
            backlog_limit: 100_000,
            work_tries: 1,
        };
        let broker = Arc::new(Fickle {
            embedded: Embedded::new().unwrap(),
            taken: Mutex::default(),
            closed: AtomicUsize::default(),
        });
        let publishing: Arc<dyn Broker> = Arc::clone(&broker) as Arc<dyn Broker>;
        let tasks = relay(
            publishing,
            database.clone(),
            (commands.clone(), handed_over),
            settings,
        );
        let stop = CancellationToken::new();
        tokio::spawn(tasks.run(stop.clone()));
        Self {
            broker,
            database,
            commands,
            stop,
            _folder: folder,
        }
    }

    /// Commits replies, all at once; the commit hands them over.
    async fn reply(&self, names: &[String], id: impl Fn() -> Uuid) {
        let writing = names.iter().map(|name| {
            self.commands.enqueue(Message {
                id: OutboxId(id()),
                publication: reply(name),
                delay: None,
            })
        });
        for written in futures::future::join_all(writing).await {
            written.unwrap();
        }
    }

    async fn left(&self, expected: u64) {
        eventually("what is done with is deleted", || async {
            self.database.outbox_depth().await.unwrap().total == expected
        })
        .await;
    }
}

fn reply(name: &str) -> Publication {
    let publication = Publication {
        exchange: Exchange::Default,
        routing_key: name.to_owned(),
        properties: Properties::default(),
        body: "{}".to_owned(),
        mandatory: false,
    };
    assert_eq!(publication.lane(), Lane::Replies);
    publication
}

#[tokio::test]
async fn replies_that_close_the_connection_are_set_aside_and_all_others_are_published() {
    let fixture = Fixture::new().await;
    let names: Vec<String> = (0..250)
        .map(|number| match number % 50 {
            7 => format!("evil-{number}"),
            8 => "evil-again".to_owned(),
            _ => format!("good-{number}"),
        })
        .collect();
    fixture.reply(&names, Uuid::now_v7).await;
    fixture.left(0).await;
    for name in names.iter().filter(|name| name.starts_with("good")) {
        assert!(fixture.broker.count(name) >= 1, "{name}");
    }
    let letters = fixture.broker.count("payments.replies");
    assert!(letters >= 10, "{letters}");
    // Found by halving: far fewer closed connections than one for each.
    let closed = fixture.broker.closed.load(Ordering::Relaxed);
    assert!(closed < 150, "{closed}");
    // Known addresses are not tried again.
    fixture
        .reply(&["evil-again".to_owned()], Uuid::now_v7)
        .await;
    fixture.left(0).await;
    assert_eq!(fixture.broker.closed.load(Ordering::Relaxed), closed);
    assert!(fixture.broker.count("payments.replies") > letters);
    fixture.stop.cancel();
}

#[tokio::test]
async fn an_address_without_confirms_delays_no_other_and_its_reply_becomes_a_dead_letter() {
    let fixture = Fixture::new().await;
    let silent = vec!["silent".to_owned(); 50];
    let begin = Instant::now();
    for number in 0..100 {
        fixture.reply(&silent[..1], Uuid::now_v7).await;
        let good = format!("good-{number}");
        fixture
            .reply(std::slice::from_ref(&good), Uuid::now_v7)
            .await;
        let asked = Instant::now();
        eventually("it is published", || async {
            fixture.broker.count(&good) >= 1
        })
        .await;
        let took = asked.elapsed();
        assert!(took < CONFIRM_TIMEOUT / 2, "{number}: {took:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
    fixture.left(100).await;
    assert_eq!(fixture.broker.count("payments.replies"), 0);
    // One that has been published for a long time.
    let old = || {
        Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            1_700_000_000,
            0,
        ))
    };
    fixture.reply(&["silent".to_owned()], old).await;
    eventually("it is set aside", || async {
        fixture.broker.count("payments.replies") == 1
    })
    .await;
    fixture.stop.cancel();
}
