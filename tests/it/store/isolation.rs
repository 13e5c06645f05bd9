//! One unreadable row affects no other: it is set aside, and all others continue. On both databases,
//! with rows that are damaged directly in the database.

use std::time::Duration;

use payment_service::broker::Lane;
use payment_service::domain::CaptureMethod;
use payment_service::domain::Origin;
use payment_service::domain::{OrderId, PaymentId, Trigger};
use payment_service::payments::accept::AcceptOutcome;
use payment_service::payments::advance::Advanced;
use payment_service::payments::apply::Advance;
use payment_service::payments::claim::Claim;
use payment_service::payments::commands::Commands;
use payment_service::payments::draft::NewPayment;
use payment_service::payments::leases::Leases;
use payment_service::payments::outgoing::Outgoing;
use payment_service::payments::row_ids::RowIds;
use payment_service::payments::tokens::TokenFault;
use payment_service::store::ids::IdSpace;
use payment_service::store::rows::{Idempotency, OutboxRow, PaymentFilter, TokenId};
use payment_service::store::{Store, StoreError};
use payment_service::wire::work::WorkMessage;
use time::OffsetDateTime;

use super::samples::*;
use crate::tools::fixture::Fixture;

const SECOND: Duration = Duration::from_secs(1);

struct Case {
    fixture: Fixture,
    database: Store,
    commands: Commands,
}

impl Case {
    async fn on_both() -> Vec<Self> {
        let case = |fixture: Fixture| {
            let database = fixture.database();
            let leases = Leases {
                outbox: 10 * SECOND,
                claim: 10 * SECOND,
                check: 60 * SECOND,
            };
            let ids = IdSpace {
                first: 1000,
                last: 1_000_000,
            };
            Self {
                commands: Commands::new(database.clone(), ids, leases).0,
                database,
                fixture,
            }
        };
        Fixture::both().await.into_iter().map(case).collect()
    }

    /// Payments that are processing and forgotten.
    async fn forgotten(&self, ids: impl Iterator<Item = i64>) {
        let row = |id| {
            let mut row = processing(id, NOON);
            row.payment.updated_at = OffsetDateTime::now_utc();
            row
        };
        keep(&self.database, &ids.map(row).collect::<Vec<_>>()).await;
    }

    async fn swept(&self, lane: Lane) -> (Vec<Outgoing>, usize) {
        let taken = self.commands.sweep(lane, 100).await.unwrap();
        (taken.messages, taken.found)
    }

    /// What the rescue finds.
    async fn dispatched(&self) -> (Vec<i64>, usize) {
        let taken = self.commands.dispatch_forgotten(Duration::ZERO, 100);
        let taken = taken.await.unwrap();
        let mut ids: Vec<i64> = taken
            .messages
            .iter()
            .map(|row| row.payment.unwrap().0)
            .collect();
        ids.sort_unstable();
        (ids, taken.found)
    }

    async fn reason(&self, id: i64) -> String {
        match self.database.payment(PaymentId(id)).await {
            Err(StoreError::Quarantined(payment)) if payment.payment == PaymentId(id) => {
                payment.reason.clone()
            }
            other => panic!("payment {id}: {other:?}"),
        }
    }
}

fn work(id: i64) -> WorkMessage {
    WorkMessage {
        payment_id: PaymentId(id),
        attempt: 1,
        try_number: 1,
    }
}

fn cancel(id: i64) -> Advance {
    Advance {
        payment: PaymentId(id),
        client: None,
        trigger: Trigger::Cancel,
        card: None,
        token: None,
        delay: Duration::ZERO,
        capture_within: Duration::ZERO,
        ids: RowIds::draw(),
    }
}

fn new_payment(id: i64, key: Option<&str>, token: Option<&str>) -> NewPayment {
    let sample = payment(id);
    NewPayment {
        id: PaymentId(id),
        client: sample.payment.client,
        order_id: OrderId(1),
        user_id: sample.payment.user_id,
        amount: sample.payment.amount,
        metadata: sample.payment.metadata,
        return_url: None,
        capture_method: CaptureMethod::Automatic,
        card: None,
        token: token.map(|token| TokenId(token.to_owned())),
        idempotency: key.map(|key| Idempotency {
            key: key.to_owned(),
            fingerprint: [7; 32],
        }),
        origin: Origin::default(),
        announce: false,
        ids: RowIds::draw(),
    }
}

#[tokio::test]
async fn an_unreadable_outbox_row_is_set_aside_and_published_when_released() {
    for case in Case::on_both().await {
        let rows: Vec<OutboxRow> = (1..=4).map(|id| outbox(Some(id), NOON)).collect();
        keep_outbox(&case.database, &rows).await;
        let broken = "UPDATE outbox SET publication =";
        for (id, publication) in [(1, "'{'"), (2, "'{\"exchange\":\"nowhere\"}'"), (3, "''")] {
            let sql = format!("{broken} {publication} WHERE payment_id = {id}");
            case.fixture.execute(&sql).await;
        }
        let (swept, found) = case.swept(Lane::Work).await;
        assert_eq!((swept.len(), found), (1, 4));
        assert_eq!(
            (swept[0].id, &swept[0].publication),
            (rows[3].id, message_in(&rows[3]))
        );
        assert_eq!(case.swept(Lane::Work).await, (vec![], 0));
        let depth = case.database.outbox_depth().await.unwrap();
        assert_eq!((depth.total, depth.due, depth.quarantined), (1, 0, 3));

        let mended = serde_json::to_string(message_in(&rows[0])).unwrap();
        let sql = format!(
            "UPDATE outbox SET quarantined = NULL, publication = '{}' WHERE payment_id = 1",
            mended.replace('\\', "\\\\").replace("\\\\\"", "\\\"")
        );
        let sql = match case.database.server().await.unwrap().version {
            version if version.starts_with("3.") => sql.replace("\\\\", "\\"),
            _ => sql.replace("\\\"", "\\\\\""),
        };
        case.fixture.execute(&sql).await;
        assert_eq!(case.commands.release_outbox().await.unwrap(), 1);
        let (released, _) = case.swept(Lane::Work).await;
        assert_eq!(released.len(), 1);
        assert_eq!(&released[0].publication, message_in(&rows[0]));
    }
}

#[tokio::test]
async fn a_row_marked_by_an_operator_is_not_published() {
    for case in Case::on_both().await {
        keep_outbox(&case.database, &[outbox(Some(1), NOON)]).await;
        case.fixture
            .execute("UPDATE outbox SET quarantined = 'by hand'")
            .await;
        assert_eq!(case.swept(Lane::Work).await, (vec![], 1));
        assert_eq!(case.swept(Lane::Work).await, (vec![], 0));
        case.fixture
            .execute("UPDATE outbox SET quarantined = NULL")
            .await;
        assert_eq!(case.commands.release_outbox().await.unwrap(), 1);
        assert_eq!(case.swept(Lane::Work).await.1, 1);
    }
}

/// Every column that has more values in the database than the service can read.
const BROKEN: [(&str, &str); 13] = [
    ("origin", "'{'"),
    ("origin", "'[1]'"),
    ("metadata", "'{\"a\":'"),
    ("metadata", "'[]'"),
    ("status", "'odd'"),
    ("phase", "'odd'"),
    ("currency", "'??'"),
    ("amount_minor", "-1"),
    ("client", "''"),
    ("attempt", "-1"),
    ("sequence", "-1"),
    ("try_number", "-1"),
    ("card_brand", "'odd'"),
];

#[tokio::test]
async fn unreadable_payments_are_left_out_of_the_rescue_until_they_are_released() {
    for case in Case::on_both().await {
        let healthy = 100..=105;
        case.forgotten((1..=13).chain(healthy.clone())).await;
        for (id, (column, value)) in (1..).zip(BROKEN) {
            let sql = format!("UPDATE payments SET {column} = {value} WHERE id = {id}");
            case.fixture.execute(&sql).await;
        }
        let expected: Vec<i64> = healthy.collect();
        assert_eq!(case.dispatched().await, (expected, 19));
        assert_eq!(case.dispatched().await, (vec![], 0));
        for (id, (column, _)) in (1..).zip(BROKEN) {
            let column = if column == "card_brand" {
                "card"
            } else {
                column
            };
            assert_eq!(case.reason(id).await, format!("{column} cannot be read"));
        }
        let mend = "UPDATE payments SET origin = '{}', quarantined = NULL WHERE id = 1";
        case.fixture.execute(mend).await;
        assert_eq!(case.dispatched().await, (vec![1], 1));
    }
}

#[tokio::test]
async fn the_rescue_dispatches_a_payment_whose_outbox_row_is_set_aside() {
    for case in Case::on_both().await {
        case.forgotten(1..=1).await;
        keep_outbox(&case.database, &[outbox(Some(1), NOON)]).await;
        assert_eq!(case.dispatched().await, (vec![], 0));
        case.fixture
            .execute("UPDATE outbox SET publication = ''")
            .await;
        assert_eq!(case.swept(Lane::Work).await.0, []);
        assert_eq!(case.dispatched().await, (vec![1], 1));
    }
}

#[tokio::test]
async fn work_for_an_unreadable_payment_is_settled_and_the_others_are_claimed() {
    for case in Case::on_both().await {
        case.forgotten(1..=4).await;
        case.fixture
            .execute("UPDATE payments SET metadata = 'x' WHERE id = 2")
            .await;
        for _ in 0..2 {
            assert!(matches!(
                case.commands.claim(work(2)).await,
                Ok(Claim::Quarantined(_))
            ));
        }
        let claims = (1..=4).map(|id| case.commands.claim(work(id)));
        let claims = futures::future::join_all(claims).await;
        let taken = |claim: &Result<Claim, _>| matches!(claim, Ok(Claim::Taken(_)));
        assert_eq!(
            claims.iter().map(taken).collect::<Vec<_>>(),
            [true, false, true, true]
        );
        // The mark was written by the claim.
        assert_eq!(case.dispatched().await, (vec![1, 3, 4], 3));
    }
}

#[tokio::test]
async fn an_unreadable_payment_is_not_changed_and_the_others_are() {
    for case in Case::on_both().await {
        keep(&case.database, &[payment(1), payment(2), payment(3)]).await;
        case.fixture
            .execute("UPDATE payments SET origin = 'x' WHERE id = 2")
            .await;
        let moves = (1..=3).map(|id| case.commands.advance(cancel(id)));
        let moves = futures::future::join_all(moves).await;
        assert!(matches!(moves[0], Ok(Advanced::Moved(..))), "{moves:?}");
        assert!(matches!(moves[1], Ok(Advanced::Quarantined(_))));
        assert!(matches!(moves[2], Ok(Advanced::Moved(..))));
    }
}

#[tokio::test]
async fn lists_leave_out_unreadable_payments_and_pages_stay_full() {
    for case in Case::on_both().await {
        let row = |id| {
            let mut row = payment(id);
            row.payment.created_at = seconds(id);
            row
        };
        keep(&case.database, &(1..=20).map(row).collect::<Vec<_>>()).await;
        for (id, (column, value)) in (4..).zip(BROKEN) {
            // A row of another client is in no list anyway.
            if column != "client" {
                let sql = format!("UPDATE payments SET {column} = {value} WHERE id = {id}");
                case.fixture.execute(&sql).await;
            }
        }
        case.fixture
            .execute("UPDATE payments SET quarantined = 'by hand' WHERE id = 19")
            .await;
        let mut filter = PaymentFilter {
            client: client("store-manager"),
            order_id: None,
            user_id: None,
            status: None,
            before: None,
            limit: 3,
        };
        let mut pages = Vec::new();
        loop {
            let page = case.database.payments(&filter).await.unwrap();
            pages.push(ids(&page));
            let Some(last) = page.last().filter(|_| page.len() == 3) else {
                break;
            };
            filter.before = Some((last.payment.created_at, last.payment.id));
        }
        assert_eq!(pages, [vec![20, 18, 17], vec![12, 3, 2], vec![1]]);
    }
}

#[tokio::test]
async fn only_the_key_of_an_unreadable_payment_is_refused() {
    for case in Case::on_both().await {
        keep(
            &case.database,
            &[with_key(1, "broken"), with_key(2, "fine")],
        )
        .await;
        case.fixture
            .execute("UPDATE payments SET currency = '' WHERE id = 1")
            .await;
        let keys = ["a", "b", "broken", "fine", "c"];
        let accepted = (10..)
            .zip(keys)
            .map(|(id, key)| case.commands.accept(new_payment(id, Some(key), None)));
        let accepted = futures::future::join_all(accepted).await;
        for index in [0, 1, 4] {
            assert!(
                matches!(accepted[index], Ok(AcceptOutcome::Accepted(..))),
                "{accepted:?}"
            );
        }
        assert!(matches!(&accepted[2], Err(StoreError::Quarantined(it)) if it.payment.0 == 1));
        assert!(matches!(accepted[3], Ok(AcceptOutcome::Existing(_))));
    }
}

#[tokio::test]
async fn an_unreadable_card_token_cannot_be_used_and_others_can() {
    for case in Case::on_both().await {
        let mut tx = begin(&case.database).await;
        let mut tokens = [token("tok_broken"), token("tok_fine")];
        for token in &mut tokens {
            token.expires_at = OffsetDateTime::now_utc() + 900 * SECOND;
        }
        tx.insert_tokens(&tokens).await.unwrap();
        tx.commit().await.unwrap();
        case.fixture
            .execute(
                "UPDATE card_tokens SET card_expiration = '?' WHERE HEX(id) = HEX('tok_broken')",
            )
            .await;
        let token = |name: &str| TokenId(name.to_owned());
        assert_eq!(
            case.database
                .card_token(&token("tok_broken"))
                .await
                .unwrap(),
            None
        );
        let accepted = [(1, "tok_broken"), (2, "tok_fine")]
            .map(|(id, name)| case.commands.accept(new_payment(id, None, Some(name))));
        let accepted = futures::future::join_all(accepted).await;
        let unusable = AcceptOutcome::TokenRefused(TokenFault::Unusable);
        assert_eq!(accepted[0].as_ref().unwrap(), &unusable);
        assert!(matches!(accepted[1], Ok(AcceptOutcome::Accepted(..))));
    }
}
