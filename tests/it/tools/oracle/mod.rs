//! `check --payments` finds every broken promise: each is broken on purpose, in both databases, and only
//! its rule reports it (or rules that break with it).

mod actions;
mod history;
mod money;
mod operations;
mod time_and_cards;

use std::time::Duration;

use payment_service::domain::{EventKind, PaymentId, PaymentStatus, Phase};
use payment_service::store::audit::{Audit, Bounds, RULES};
use payment_service::store::rows::{OutboxRow, StoredPayment, TokenId};
use time::OffsetDateTime;

use super::fixture::Fixture;
use crate::store::samples::{event, line, outbox, payment, processing, token};

const BOUNDS: Bounds = Bounds {
    first_try: Duration::from_secs(60),
    processing: Duration::from_secs(120),
    ahead: Duration::from_secs(600),
    outbox: Duration::from_secs(60),
    outbox_age: Duration::from_secs(120),
    token: Duration::from_secs(60),
    ledger: true,
};

/// One payment of every kind, all of them in order: 1 waits, 2 is processing, 3 succeeded at its second attempt after a
/// decline, 4 was declined, 5 failed after a reversal, 6 was declined and then canceled.
async fn all_in_order(fixture: &Fixture) {
    let database = fixture.database();
    database.reserve_ids(1000, 1).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    let now = tx.now();
    let mut rows: Vec<StoredPayment> = (1..=6).map(payment).collect();
    rows[1] = processing(2, now + Duration::from_secs(60));
    let statuses = [
        (2, PaymentStatus::Succeeded, 2),
        (3, PaymentStatus::Declined, 1),
        (4, PaymentStatus::Failed, 1),
        (5, PaymentStatus::Canceled, 1),
    ];
    for (index, status, attempt) in statuses {
        rows[index].payment.status = status;
        rows[index].payment.attempt = attempt;
        rows[index].payment.authorization_code =
            (status == PaymentStatus::Succeeded).then(|| "A1B2C3".to_owned());
    }
    use EventKind::{
        Accepted, AttemptStarted, Canceled, Declined, Failed, ReversalStarted, Succeeded,
    };
    let histories: [&[(EventKind, u32)]; 6] = [
        &[(Accepted, 0)],
        &[(Accepted, 0), (AttemptStarted, 1)],
        &[
            (Accepted, 0),
            (AttemptStarted, 1),
            (Declined, 1),
            (AttemptStarted, 2),
            (Succeeded, 2),
        ],
        &[(Accepted, 0), (AttemptStarted, 1), (Declined, 1)],
        &[
            (Accepted, 0),
            (AttemptStarted, 1),
            (ReversalStarted, 1),
            (Failed, 1),
        ],
        &[
            (Accepted, 0),
            (AttemptStarted, 1),
            (Declined, 1),
            (Canceled, 1),
        ],
    ];
    let mut events = Vec::new();
    for (row, history) in rows.iter_mut().zip(histories) {
        row.payment.updated_at = now;
        for (sequence, (kind, attempt)) in (1..).zip(history) {
            let mut event = event(row.payment.id.0, sequence);
            (event.kind, event.attempt) = (*kind, *attempt);
            row.payment.sequence = sequence;
            events.push(event);
        }
    }
    tx.insert_payments(&rows).await.unwrap();
    tx.insert_events(&events).await.unwrap();
    // The one that is processing may be charged already; the one that failed was charged and reversed.
    let charges = [line(2, 1), line(3, 2), line(5, 1)];
    tx.ledger_charge(&charges, now).await.unwrap();
    tx.ledger_reverse(&[line(5, 1), line(4, 1)], now)
        .await
        .unwrap();
    let due: [OutboxRow; 1] = [outbox(Some(2), now + Duration::from_secs(10))];
    tx.insert_outbox(&due).await.unwrap();
    let tokens = ["tok_fresh", "tok_used"].map(|name| {
        let mut token = token(name);
        token.expires_at = now + Duration::from_secs(900);
        token
    });
    tx.insert_tokens(&tokens).await.unwrap();
    tx.use_tokens(&[(TokenId("tok_used".to_owned()), PaymentId(4))])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    database.close().await;
}

async fn audit(fixture: &Fixture) -> Audit {
    let database = fixture.database();
    let audit = database.audit(BOUNDS).await.unwrap();
    database.close().await;
    audit
}

/// Breaks a promise by this statement in each database; exactly these rules report these examples.
async fn breaking(statement: &str, expected: &[(&str, &str)]) {
    for fixture in Fixture::both().await {
        all_in_order(&fixture).await;
        let before = audit(&fixture).await;
        assert!(
            before.findings.iter().all(|finding| finding.count == 0),
            "{before:#?}"
        );
        // The rules, and whether every row can be read.
        assert_eq!(before.findings.len(), RULES.len() + 1);
        fixture.execute(statement).await;
        let after = audit(&fixture).await;
        let objections: Vec<(&str, String)> = after
            .findings
            .iter()
            .filter(|finding| finding.count > 0)
            .map(|finding| (finding.rule, finding.examples.join(" ")))
            .collect();
        let expected: Vec<(&str, String)> = expected
            .iter()
            .map(|(rule, examples)| (*rule, (*examples).to_owned()))
            .collect();
        assert_eq!(objections, expected, "{statement}");
    }
}

/// The example is the row's id, which the test does not know beforehand.
#[tokio::test]
async fn an_overdue_outbox_row_is_a_breach_by_its_due_time_and_by_its_age() {
    for fixture in Fixture::both().await {
        all_in_order(&fixture).await;
        for (statement, overdue, ahead) in [
            (
                "UPDATE outbox SET due_at = '2026-01-01 00:00:00.000000'",
                true,
                false,
            ),
            (
                "UPDATE outbox SET due_at = '2036-01-01 00:00:00.000000'",
                false,
                true,
            ),
            (
                "UPDATE outbox SET id = x'01900000000070008000000000000000'",
                true,
                true,
            ),
        ] {
            fixture.execute(statement).await;
            let audit = audit(&fixture).await;
            let finding = audit.finding("outbox_in_time").unwrap();
            assert_eq!(finding.count == 1, overdue, "{statement}");
            let too_far_ahead = audit.finding("due_in_time").unwrap().count == 1;
            assert_eq!(too_far_ahead, ahead, "{statement}");
        }
    }
}

#[tokio::test]
async fn ten_examples_are_shown_and_all_cases_are_counted() {
    for fixture in Fixture::both().await {
        let database = fixture.database();
        let mut tx = database.begin().await.unwrap();
        let now = OffsetDateTime::now_utc();
        let rows: Vec<StoredPayment> = (1..=25).map(|id| processing(id, now)).collect();
        tx.insert_payments(&rows).await.unwrap();
        tx.commit().await.unwrap();
        let audit = audit(&fixture).await;
        let finding = audit.finding("last_event").unwrap();
        assert_eq!((finding.count, finding.examples.len()), (25, 10));
        assert_eq!(finding.examples[..3], ["1", "2", "3"]);
        assert_eq!(rows[0].phase, Phase::Authorize);
        assert_eq!(rows[0].payment.id, PaymentId(1));
    }
}

#[tokio::test]
async fn without_a_ledger_charges_are_not_compared() {
    for fixture in Fixture::both().await {
        all_in_order(&fixture).await;
        fixture.execute("DELETE FROM issuer_ledger").await;
        let database = fixture.database();
        let bounds = Bounds {
            ledger: false,
            ..BOUNDS
        };
        let audit = database.audit(bounds).await.unwrap();
        assert!(!audit.is_breached(), "{audit:#?}");
        assert!(audit.finding("charged_once").is_none());
    }
}

#[tokio::test]
async fn the_command_prints_figures_and_exits_with_1_on_a_breach() {
    for fixture in Fixture::both().await {
        all_in_order(&fixture).await;
        let fine = fixture
            .run(&["check", "--payments", "--json"])
            .await
            .with(0);
        let answer = fine.json();
        assert_eq!(answer["breached"], false);
        assert_eq!(answer["figures"]["succeeded"], 1);
        assert_eq!(answer["figures"]["charges"], 3);
        assert_eq!(answer["figures"]["outbox"], 1);
        fixture
            .execute("UPDATE issuer_ledger SET reversed_at = charged_at WHERE payment_id = 3")
            .await;
        let breached = fixture
            .run(&["check", "--payments", "--json"])
            .await
            .with(1);
        assert_eq!(breached.json()["breached"], true);
        let words = fixture.run(&["check", "--payments"]).await.with(1);
        assert!(
            words.out.contains(
                "BREACH  charged_once        charges less reversals are 1 for a succeeded payment"
            ),
            "{}",
            words.out
        );
        assert!(words.out.contains("1 against it: 3\n"), "{}", words.out);
        let ended = fixture
            .run(&["check", "--payments", "--overdue", "0s"])
            .await
            .with(1);
        assert!(
            ended.out.contains("BREACH  processing_in_time"),
            "{}",
            ended.out
        );
    }
}

#[tokio::test]
async fn a_folder_without_data_is_an_error() {
    let fixture = Fixture::nothing();
    let ended = fixture.run(&["check", "--payments"]).await.with(1);
    assert!(ended.err.contains("there is no data in"), "{ended:?}");
}
