//! `payments list` and `payments show`, over both databases.

use payment_service::broker::{Exchange, Properties, Publication, Queue};
use payment_service::domain::{EventKind, PaymentStatus};
use payment_service::store::rows::{Content, Fact, OutboxRow};

use super::fixture::Fixture;
use crate::store::samples::{
    client, event, fact, line, outbox, payment, processing, refund, seconds,
};

/// 1 waits for a card, 2 is processing with a try that is due, 3 succeeded and its callback is repeated; 4 is another
/// client's.
async fn some(fixture: &Fixture) {
    let database = fixture.database();
    let mut tx = database.begin().await.unwrap();
    let now = tx.now();
    let mut rows = vec![payment(1), processing(2, now), payment(3), payment(4)];
    rows[2].payment.status = PaymentStatus::Succeeded;
    rows[2].payment.attempt = 1;
    rows[3].payment.client = client("another");
    for (row, second) in rows.iter_mut().zip(0..) {
        row.payment.created_at = seconds(second);
    }
    tx.insert_payments(&rows).await.unwrap();
    let mut succeeded = event(3, 2);
    succeeded.kind = EventKind::Succeeded;
    succeeded.reason = None;
    tx.insert_events(&[event(3, 1), succeeded]).await.unwrap();
    tx.ledger_charge(&[line(3, 1)], now).await.unwrap();
    tx.insert_operations(&[refund(3, 250)]).await.unwrap();
    let due = Fact::Try {
        attempt: 1,
        try_number: 1,
        postponed: 0,
    };
    tx.insert_outbox(&[fact(2, now, due), callback(3), callback(33)])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    database.close().await;
}

fn callback(payment: i64) -> OutboxRow {
    let headers = [("callback-tries", "4"), ("callback-reason", "not_updated")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let event =
        serde_json::json!({"subject": format!("payments/{payment}"), "type": "payment.succeeded"});
    OutboxRow {
        content: Content::Message(Publication {
            exchange: Exchange::Default,
            routing_key: Queue::Callbacks.name().to_owned(),
            properties: Properties {
                headers: headers.into(),
                ..Properties::default()
            },
            body: event.to_string(),
            mandatory: true,
        }),
        ..outbox(None, seconds(60))
    }
}

#[tokio::test]
async fn the_newest_payments_of_all_clients_are_listed_and_can_be_narrowed() {
    for fixture in Fixture::both().await {
        some(&fixture).await;
        let ids = async |arguments: &[&str]| {
            let arguments = [&["payments", "list", "--json"], arguments].concat();
            let listed = fixture.run(&arguments).await.with(0).json();
            let ids = listed.as_array().unwrap().iter();
            ids.map(|it| it["payment_id"].as_i64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&[]).await, [4, 3, 2, 1]);
        assert_eq!(ids(&["--client", "another"]).await, [4]);
        assert_eq!(ids(&["--status", "processing"]).await, [2]);
        assert_eq!(ids(&["--order", "7", "--limit", "2"]).await, [4, 3]);
        assert_eq!(ids(&["--order", "8"]).await, [0_i64; 0]);
        let words = fixture.run(&["payments", "list"]).await.with(0).out;
        assert!(words.contains("store-manager") && words.contains("processing"));
        let listed = fixture.run(&["payments", "list", "--refunds", "--json"]);
        let refunds = listed.await.with(0).json();
        assert_eq!(refunds.as_array().map(Vec::len), Some(1), "{refunds}");
        assert_eq!(refunds[0]["payment_id"], 3);
        assert_eq!(refunds[0]["amount"], "2.50");
        let of_another = ["payments", "list", "--refunds", "--client", "another"];
        let words = fixture.run(&of_another).await.with(0).out;
        assert_eq!(words, "no refunds\n");
        let words = fixture.run(&["payments", "list", "--refunds"]).await;
        assert!(words.with(0).out.starts_with("refunds\n  id "));
        let refused = fixture.run(&["payments", "list", "--status", "paid"]).await;
        assert!(refused.err.contains("`paid` is not a payment status"));
    }
}

#[tokio::test]
async fn one_payment_is_shown_with_history_charges_operations_and_pending_messages() {
    for fixture in Fixture::both().await {
        some(&fixture).await;
        let show = async |id: &str| fixture.run(&["payments", "show", id, "--json"]).await;
        let waiting = show("2").await.with(0).json();
        assert_eq!(
            (&waiting["try"], &waiting["phase"]),
            (&1.into(), &"authorize".into())
        );
        assert_eq!(waiting["due"].as_array().unwrap().len(), 1);
        assert_eq!(waiting["due"][0]["what"], "try");
        assert!(!waiting.to_string().contains("sealed"));

        let paid = show("3").await.with(0).json();
        assert_eq!(paid["charges"][0]["key"], "3-1");
        assert_eq!(paid["events"][1]["kind"], "succeeded");
        let refund = &paid["operations"][0];
        assert_eq!(
            (&refund["kind"], &refund["amount"]),
            (&"refund".into(), &"2.50".into())
        );
        assert_eq!(
            (&refund["status"], &refund["try"]),
            (&"succeeded".into(), &2.into())
        );
        assert_eq!(paid["due"].as_array().unwrap().len(), 1, "33 is another");
        assert_eq!(paid["due"][0]["what"], "callback");
        assert_eq!(paid["due"][0]["tries"], "4");
        assert_eq!(paid["due"][0]["reason"], "not_updated");

        let words = fixture.run(&["payments", "show", "3"]).await.with(0).out;
        for part in [
            "status             succeeded",
            "history",
            "charges",
            "operations",
            "not_updated",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        let missing = fixture.run(&["payments", "show", "5"]).await.with(1);
        assert!(missing.err.contains("there is no payment 5"));
    }
}
