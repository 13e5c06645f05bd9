//! Messages that were lost: rows that were not handed over, and work that was deleted with its queue.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueuePurgeOptions;
use payment_service::broker::Queue;
use payment_service::clients::Clients;
use payment_service::config::Role;
use payment_service::domain::Origin;
use payment_service::domain::{ClientName, Currency};
use payment_service::payments::commands::Commands;
use payment_service::payments::leases::Leases;
use payment_service::payments::{Acceptor, Submission, WayIn};
use payment_service::processors::named::Processors;
use payment_service::processors::simulated::{Latency, Options, SimulatedIssuer, TestTokens};
use payment_service::relay::{RelaySettings, relay};
use payment_service::store::ids::IdSpace;
use payment_service::vault::SealKeys;
use payment_service::wire::request::parse_payment;
use payment_service::wire::rules::{CardsAllowed, ClientRules, Rules};
use serde_json::json;
use time::OffsetDateTime;

use crate::app::{Backend, Setup, TestApp, eventually, on_both, run_on};
use crate::support::process::SEAL_KEYS;

/// Accepts a payment like a process that dies right after its commit: the row is not handed over.
async fn accepted_by_one_that_died(app: &TestApp, check: Duration) -> i64 {
    let leases = Leases {
        outbox: Duration::from_millis(300),
        claim: Duration::from_secs(1),
        check,
    };
    let ids = IdSpace {
        first: 1,
        last: i64::from(i32::MAX),
    };
    let (commands, handed_over) = Commands::new(app.database.clone(), ids, leases);
    let settings = RelaySettings {
        sweep_every: Duration::from_secs(1),
        check_every: Duration::from_secs(1),
        backlog_limit: 1000,
        work_tries: 8,
    };
    let (broker, database) = (Arc::clone(&app.broker), app.database.clone());
    let tasks = relay(broker, database, (commands.clone(), handed_over), settings);
    let backlog = tasks.backlog();
    drop(tasks);
    let options = Options {
        latency: Latency {
            mean: Duration::ZERO,
            seed: 0,
        },
        now: OffsetDateTime::now_utc,
    };
    let acceptor = Acceptor {
        commands,
        database: app.database.clone(),
        seal: Arc::new(SealKeys::parse(SEAL_KEYS).unwrap()),
        test_tokens: Some(TestTokens {
            now: OffsetDateTime::now_utc,
        }),
        has_public_url: false,
        reaches_shoppers: true,
        processors: Processors::new(Arc::new(SimulatedIssuer::new(options, None))),
        clients: Clients::single(),
        backlog,
    };
    let order = json!({
        "order_id": 1, "user_id": 1, "total_amount": 99.53, "card_token": "tok_visa",
    });
    let rules = Rules {
        default_currency: Currency::parse("CAD").unwrap(),
        now: OffsetDateTime::now_utc(),
        cards: CardsAllowed::No,
        client: &ClientRules::default(),
    };
    let submission = Submission {
        client: ClientName::parse("default").unwrap(),
        request: parse_payment(&order, &rules).unwrap(),
        idempotency_key: None,
        origin: Origin::default(),
        way_in: WayIn::Rest,
    };
    acceptor.accept(submission).await.unwrap().payment.id.0
}

#[tokio::test]
async fn the_sweep_publishes_rows_that_were_not_handed_over() {
    // The rescue is not due yet, so the sweep has to publish it.
    on_both(Setup::new().with("CHECK_AFTER", "1h"), |app| async move {
        let id = accepted_by_one_that_died(&app, Duration::from_secs(3600)).await;
        assert_eq!(app.api.outcome(id).await["status"], "succeeded");
        assert_eq!(app.standing_charges(id).await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_rescue_dispatches_a_payment_whose_outbox_row_and_message_are_gone() {
    on_both(Setup::new().with("CHECK_AFTER", "1s"), |app| async move {
        let id = accepted_by_one_that_died(&app, Duration::from_secs(1)).await;
        assert_eq!(app.execute("DELETE FROM outbox").await, 1);
        assert_eq!(app.api.outcome(id).await["status"], "succeeded");
        let expected = ["accepted", "attempt_started", "succeeded"];
        assert_eq!(app.api.history(id).await, expected);
    })
    .await;
}

#[tokio::test]
async fn the_rescue_dispatches_payments_whose_queue_was_purged() {
    let setup = Setup::new().with("CHECK_AFTER", "1s").without_worker();
    run_on(setup, Backend::Servers, |app| async move {
        let mut ids = Vec::new();
        for order_id in 1..=5 {
            ids.push(app.api.pay(order_id, "tok_visa").await);
        }
        eventually("all messages wait in the queue", || async {
            app.broker.depth(Queue::Work).await.unwrap() == 5
        })
        .await;
        let channel = app.lapin().await.create_channel().await.unwrap();
        let purge = QueuePurgeOptions::default();
        channel
            .queue_purge(Queue::Work.name().into(), purge)
            .await
            .unwrap();
        app.another(Role::Worker).await;
        for id in ids {
            assert_eq!(app.api.outcome(id).await["status"], "succeeded");
            assert_eq!(app.ledger(id).await.len(), 1);
        }
    })
    .await;
}
