//! The interface over a real, embedded store; nothing authorizes here, so outcomes come when a test says so.

mod answers;
mod page;
mod refusals;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tower::ServiceExt;

use super::health::{Liveness, Readiness};
use super::webhooks::Turns;
use super::*;
use crate::broker::embedded::Embedded;
use crate::domain::{Answer, DeclineCode, PaymentId, Trigger};
use crate::payments::advance::Advanced;
use crate::payments::apply::Advance;
use crate::payments::commands::Commands;
use crate::payments::leases::Leases;
use crate::payments::row_ids::RowIds;
use crate::processors::named::Processors;
use crate::processors::simulated::{Latency, Options, SimulatedIssuer, TEST_CARDS, TestTokens};
use crate::relay::{RelaySettings, relay};
use crate::store::Store;
use crate::store::ids::IdSpace;
use crate::vault::SealKeys;

const PAYMENT: &str = r#"{"order_id": 1, "user_id": 1, "total_amount": 99.53}"#;
const WITH_CARD: &str = r#"{"order_id": 1, "user_id": 1, "total_amount": 99.53,
    "card": {"cardNumber": 4242424242424242, "cardCode": 123, "expirationDate": "2030-01-05"}}"#;
const CARD: &str =
    r#"{"cardNumber": 9999999999999, "cardCode": 123, "expirationDate": "2030-01-05"}"#;

/// 15 January 2027.
fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

struct Served {
    router: Router,
    commands: Commands,
    waiters: Arc<Waiters>,
    _folder: TempDir,
}

impl Served {
    async fn start() -> Self {
        Self::with(Clients::single(), now).await
    }

    async fn with(clients: Clients, now: fn() -> OffsetDateTime) -> Self {
        Self::with_status(clients, now, StatusCode::ACCEPTED).await
    }

    async fn with_status(
        clients: Clients,
        now: fn() -> OffsetDateTime,
        created_status: StatusCode,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Store::sqlite(&folder.path().join("payments.db"));
        database.migrate().await.expect("a schema");
        let minute = Duration::from_secs(60);
        let leases = Leases {
            outbox: minute,
            claim: minute,
            check: minute,
        };
        let ids = IdSpace {
            first: 1,
            last: 1000,
        };
        let (commands, handed_over) = Commands::new(database.clone(), ids, leases);
        let settings = RelaySettings {
            sweep_every: minute,
            check_every: minute,
            backlog_limit: 1000,
            work_tries: 1,
        };
        let broker = Arc::new(Embedded::new().expect("a broker"));
        let never_run = relay(
            broker,
            database.clone(),
            (commands.clone(), handed_over),
            settings,
        );
        let waiters = Waiters::new(100);
        let options = Options {
            latency: Latency {
                mean: Duration::ZERO,
                seed: 0,
            },
            now: || OffsetDateTime::UNIX_EPOCH,
        };
        let router = router(Api {
            acceptor: Arc::new(Acceptor {
                commands: commands.clone(),
                database: database.clone(),
                seal: Arc::new(SealKeys::generate()),
                test_tokens: Some(TestTokens {
                    now: || OffsetDateTime::UNIX_EPOCH,
                }),
                has_public_url: false,
                reaches_shoppers: false,
                processors: Processors::new(Arc::new(SimulatedIssuer::new(options, None))),
                clients: clients.clone(),
                backlog: never_run.backlog(),
            }),
            queries: Queries::new(database),
            clients,
            admission: Admission::new(100, 200),
            waiters: Arc::clone(&waiters),
            health: Health::new(
                || Liveness::Live,
                || Readiness::Degraded("no broker".to_owned()),
            ),
            default_currency: Currency::parse("CAD").expect("CAD"),
            created_status,
            max_wait: Api::MAX_WAIT,
            process_wait: Duration::from_millis(200),
            processor: "simulated",
            test_cards: TEST_CARDS,
            webhooks: Turns::default(),
            shoppers: None,
            operators_page: None,
            now,
        });
        Self {
            router,
            commands,
            waiters,
            _folder: folder,
        }
    }

    async fn answer(&self, request: Request<Body>) -> (Response<Body>, Value) {
        answer(self.router.clone(), request).await
    }

    async fn status(&self, request: Request<Body>) -> u16 {
        self.answer(request).await.0.status().as_u16()
    }

    /// What a worker would do: the outcome is recorded, then waiting requests are woken.
    async fn approve(&self, id: i64, attempt: u32) {
        let authorization_code = "A1".to_owned();
        self.record(id, attempt, Answer::Approved { authorization_code })
            .await;
    }

    async fn decline(&self, id: i64, attempt: u32, code: &'static str) {
        let code = DeclineCode::from_static(code);
        self.record(id, attempt, Answer::Declined { code }).await;
    }

    async fn record(&self, id: i64, attempt: u32, answer: Answer) {
        let advance = Advance {
            payment: PaymentId(id),
            client: None,
            trigger: Trigger::Answered {
                asked: (attempt, 1),
                answer,
                max_tries: 1,
            },
            card: None,
            token: None,
            delay: Duration::ZERO,
            capture_within: Duration::ZERO,
            ids: RowIds::draw(),
        };
        let advanced = self.commands.advance(advance).await.expect("recorded");
        assert!(matches!(advanced, Advanced::Moved(..)), "{advanced:?}");
        self.waiters.wake(PaymentId(id));
    }

    /// Answers a request that waits: the outcome comes once it does.
    async fn answer_with_outcome(
        &self,
        request: Request<Body>,
        id: i64,
    ) -> (Response<Body>, Value) {
        let outcome = async {
            while self.waiters.number() == 0 {
                tokio::task::yield_now().await;
            }
            self.approve(id, 1).await;
        };
        tokio::join!(self.answer(request), outcome).0
    }
}

/// Checks what holds for every answer.
async fn answer(router: Router, request: Request<Body>) -> (Response<Body>, Value) {
    let response = router.oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let document: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    assert_eq!(parts.headers["cache-control"], "no-store");
    if parts.status.is_client_error() || parts.status.is_server_error() {
        assert_eq!(parts.headers["content-type"], "application/problem+json");
        let sentence = document["error"].as_str();
        assert!(sentence.is_some_and(|sentence| !sentence.is_empty()));
    }
    (Response::from_parts(parts, Body::empty()), document)
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .expect("a request")
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    let value = value.parse().expect("a header");
    request.headers_mut().insert(name, value);
    request
}
