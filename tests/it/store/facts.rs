//! The outbox holds facts about a payment's messages. A sweep renders the same message that the commit handed over,
//! byte for byte, even if the payment has changed since; and facts can be turned into messages for older releases.

use std::time::Duration;

use payment_service::broker::{Lane, Publication};
use payment_service::domain::{Answer, CaptureMethod, DeclineCode, Origin, PaymentId, Trigger};
use payment_service::payments::apply::Advance;
use payment_service::payments::claim::Claim;
use payment_service::payments::commands::Commands;
use payment_service::payments::draft::NewPayment;
use payment_service::payments::hand_over::HandedOver;
use payment_service::payments::leases::Leases;
use payment_service::payments::outbox::{Replaced, replace_facts};
use payment_service::payments::outgoing::Outgoing;
use payment_service::payments::postpone::{Postpone, Postponed};
use payment_service::payments::presented_card::PresentedCard;
use payment_service::payments::row_ids::RowIds;
use payment_service::store::Store;
use payment_service::store::ids::IdSpace;
use payment_service::store::rows::{Fact, StoredPayment};
use payment_service::vault::SealedCard;
use payment_service::wire::work::WorkMessage;
use tokio::sync::mpsc;

use super::samples::*;
use crate::tools::fixture::Fixture;

struct Case {
    fixture: Fixture,
    database: Store,
    commands: Commands,
    handed_over: HandedOver,
}

impl Case {
    /// Every row is due as soon as it is written, and the rescue finds nothing.
    async fn on_both() -> Vec<Self> {
        let case = |fixture: Fixture| {
            let database = fixture.database();
            let leases = Leases {
                outbox: Duration::ZERO,
                claim: Duration::from_secs(10),
                check: Duration::from_secs(3600),
            };
            let ids = IdSpace {
                first: 1000,
                last: 1_000_000,
            };
            let (commands, handed_over) = Commands::new(database.clone(), ids, leases);
            Self {
                fixture,
                database,
                commands,
                handed_over,
            }
        };
        Fixture::both().await.into_iter().map(case).collect()
    }

    async fn advance(&self, trigger: Trigger, card: Option<(PresentedCard, u32)>) {
        let advance = Advance {
            payment: PaymentId(1),
            client: None,
            trigger,
            card,
            token: None,
            delay: Duration::ZERO,
            capture_within: Duration::ZERO,
            ids: RowIds::draw(),
        };
        self.commands.record(advance).await.unwrap();
    }

    /// A declined payment of a client that wants replies, and the messages that were handed over for it.
    async fn declined(&mut self) -> [Outgoing; 3] {
        self.commands.accept(new_payment()).await.unwrap();
        self.claim(1, 1).await;
        let answer = Answer::Declined {
            code: DeclineCode::new("insufficient_funds".to_owned()),
        };
        self.advance(answered((1, 1), answer), None).await;
        [
            first(&mut self.handed_over.work).await,
            first(&mut self.handed_over.results).await,
            first(&mut self.handed_over.replies).await,
        ]
    }

    async fn claim(&self, attempt: u32, try_number: u32) {
        let claimed = self.commands.claim(work(attempt, try_number)).await;
        let claim = claimed.unwrap();
        assert!(matches!(claim, Claim::Taken(_)), "{claim:?}");
    }

    /// Puts the first try back until its claim ends.
    async fn put_back(&self) {
        let waits = Postpone::until_its_claim_ends(work(1, 1));
        let put_back = self.commands.postpone(waits).await;
        assert_eq!(put_back.unwrap(), Postponed::Done);
    }

    async fn swept(&self) -> Vec<Publication> {
        let mut messages = Vec::new();
        for lane in Lane::ALL {
            let taken = self.commands.sweep(lane, 10).await.unwrap();
            messages.extend(taken.messages);
        }
        publications(messages)
    }

    async fn number(&self, sql: &'static str) -> i64 {
        self.fixture.number(sql).await
    }
}

const FACTS: &str = "SELECT COUNT(*) FROM outbox WHERE lane IN ('try', 'result', 'reply')";
const MESSAGES: &str = "SELECT COUNT(*) FROM outbox WHERE lane IN ('work', 'results', 'replies')";

fn publications(messages: impl IntoIterator<Item = Outgoing>) -> Vec<Publication> {
    let messages = messages.into_iter();
    messages.map(|message| message.publication).collect()
}

async fn first(lane: &mut mpsc::Receiver<Outgoing>) -> Outgoing {
    let next = tokio::time::timeout(Duration::from_secs(60), lane.recv());
    next.await
        .expect("handed over in time")
        .expect("not closed")
}

fn presented(last4: &str) -> PresentedCard {
    let mut summary = card();
    summary.last4 = last4.to_owned();
    PresentedCard {
        summary: summary.into(),
        sealed: SealedCard(vec![1]),
    }
}

fn work(attempt: u32, try_number: u32) -> WorkMessage {
    WorkMessage {
        payment_id: PaymentId(1),
        attempt,
        try_number,
    }
}

fn new_payment() -> NewPayment {
    let sample = payment(1);
    NewPayment {
        id: PaymentId(1),
        client: sample.payment.client,
        order_id: sample.payment.order_id,
        user_id: sample.payment.user_id,
        amount: sample.payment.amount,
        metadata: sample.payment.metadata,
        return_url: None,
        capture_method: CaptureMethod::Automatic,
        card: Some(presented("1111")),
        token: None,
        idempotency: None,
        origin: Origin {
            correlation_id: Some("c-1".to_owned()),
            reply_to: Some("their-replies".to_owned()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        },
        announce: false,
        ids: RowIds::draw(),
    }
}

fn answered(asked: (u32, u32), answer: Answer) -> Trigger {
    Trigger::Answered {
        asked,
        answer,
        max_tries: 5,
    }
}

#[tokio::test]
async fn a_sweep_renders_the_same_messages_that_the_commit_handed_over() {
    for mut case in Case::on_both().await {
        let handed_over = case.declined().await;
        assert_eq!(case.number(FACTS).await, 3);
        assert_eq!(case.number(MESSAGES).await, 0);
        assert_eq!(case.swept().await, publications(handed_over));
    }
}

#[tokio::test]
async fn a_result_shows_its_own_moment_even_if_the_payment_has_moved_on() {
    for mut case in Case::on_both().await {
        let [_, result, reply] = case.declined().await;
        case.advance(Trigger::PresentCard, Some((presented("2222"), 2)))
            .await;
        let second = first(&mut case.handed_over.work).await;
        case.claim(2, 1).await;
        let answer = Answer::Approved {
            authorization_code: "A1".to_owned(),
        };
        case.advance(answered((2, 1), answer), None).await;
        let last = first(&mut case.handed_over.results).await;
        assert!(result.publication.body.contains("\"last4\":\"1111\""));
        assert!(last.publication.body.contains("\"last4\":\"2222\""));
        assert_ne!(result.publication, last.publication);

        let swept = case.swept().await;
        for handed_over in [second, result, reply, last] {
            let message = &handed_over.publication;
            assert!(swept.contains(message), "{message:?}");
        }

        // Never more than four digits of a card.
        let mut long = card();
        long.last4 = "4242424242424242".to_owned();
        let tampered = Fact::Result {
            sequence: 3,
            method: Some(long.into()),
        };
        let now = tx_now(&case.database).await;
        keep_outbox(&case.database, &[fact(1, now, tampered)]).await;
        assert_eq!(case.swept().await.len(), swept.len());
        let depth = case.database.outbox_depth().await.unwrap();
        assert_eq!(depth.quarantined, 1);
    }
}

#[tokio::test]
async fn the_funding_of_a_card_that_an_earlier_release_wrote_is_unknown() {
    for case in Case::on_both().await {
        let rows = [1, 2, 3].map(|id| StoredPayment {
            idempotency: None,
            ..full(id)
        });
        keep(&case.database, &rows).await;
        let attempt = rows[0].payment.attempt;
        for sql in [
            "UPDATE payments SET method = NULL WHERE id = 2".to_owned(),
            // It has presented another card, and left the column as it was.
            format!("UPDATE payments SET attempt = {attempt} - 1 WHERE id = 3"),
        ] {
            case.fixture.execute(&sql).await;
        }
        for (id, funding) in [(1, "prepaid"), (2, "unknown"), (3, "unknown")] {
            let row = case.database.payment(PaymentId(id)).await.unwrap();
            let payment = row.unwrap().payment;
            let card = payment.card().unwrap();
            assert_eq!(
                (card.last4.as_str(), card.funding.as_str()),
                ("4444", funding)
            );
        }
    }
}

#[tokio::test]
async fn facts_become_messages_for_a_release_without_facts() {
    for mut case in Case::on_both().await {
        let handed_over = case.declined().await;
        let database = &case.database;
        for messages in [2, 1, 0] {
            let replaced = replace_facts(database, 2).await.unwrap();
            let set_aside = 0;
            assert_eq!(
                replaced,
                Replaced {
                    messages,
                    set_aside
                }
            );
        }
        assert_eq!(case.number(FACTS).await, 0);
        assert_eq!(case.number(MESSAGES).await, 3);
        assert_eq!(case.swept().await, publications(handed_over));
    }
}

#[tokio::test]
async fn a_fact_with_an_unreadable_payment_is_set_aside_and_the_others_are_published() {
    for mut case in Case::on_both().await {
        case.declined().await;
        let due = tx_now(&case.database).await;
        let lost = Fact::Result {
            sequence: 9,
            method: None,
        };
        let rows = [fact(1, due, lost.clone()), fact(77, due, lost)];
        keep_outbox(&case.database, &rows).await;
        assert_eq!(case.swept().await.len(), 3);
        let depth = case.database.outbox_depth().await.unwrap();
        assert_eq!((depth.total, depth.quarantined), (3, 2));

        // Released, it is looked at again, by releases that can read it.
        case.fixture
            .execute("UPDATE outbox SET quarantined = NULL WHERE payment_id = 77")
            .await;
        assert_eq!(case.commands.release_outbox().await.unwrap(), 1);
        assert_eq!(case.number(MESSAGES).await, 0);
    }
}

#[tokio::test]
async fn a_running_try_that_was_put_back_comes_again_when_its_claim_ends_unless_it_is_recorded() {
    for mut case in Case::on_both().await {
        case.commands.accept(new_payment()).await.unwrap();
        let sent = first(&mut case.handed_over.work).await;
        case.commands.published(sent.id).await.unwrap();
        case.claim(1, 1).await;
        case.put_back().await;
        let until_then = "SELECT COUNT(*) FROM outbox JOIN payments ON due_at = claimed_until";
        assert_eq!(case.number(until_then).await, 1);
        assert!(case.swept().await.is_empty(), "it is not due");

        let then = "'2020-01-01 00:00:00.000000'";
        for (table, column) in [("payments", "claimed_until"), ("outbox", "due_at")] {
            let sql = format!("UPDATE {table} SET {column} = {then}");
            case.fixture.execute(&sql).await;
        }
        assert_eq!(case.swept().await, [sent.publication]);
        case.claim(1, 1).await;
        let uncertain = "SELECT COUNT(*) FROM payments WHERE uncertain";
        assert_eq!(
            case.number(uncertain).await,
            1,
            "the first call may have charged"
        );

        let answer = Answer::Approved {
            authorization_code: "A1".to_owned(),
        };
        case.advance(answered((1, 1), answer), None).await;
        let rows = case.number(FACTS).await;
        case.put_back().await;
        assert_eq!(case.number(FACTS).await, rows, "it is over");
        let over = case.commands.claim(work(1, 1)).await.unwrap();
        assert_eq!(over, Claim::Over);
    }
}

#[tokio::test]
async fn pending_messages_of_an_earlier_moment_hide_no_lost_try() {
    for case in Case::on_both().await {
        let now = tx_now(&case.database).await;
        let rows: Vec<_> = (1..=5).map(|id| processing(id, seconds(0))).collect();
        keep(&case.database, &rows).await;
        let (sequence, method) = (1, None);
        let due = Fact::Try {
            attempt: 1,
            try_number: 1,
            postponed: 0,
        };
        let result = Fact::Result {
            sequence,
            method: method.clone(),
        };
        let rows = [
            fact(1, now, due),
            outbox(Some(2), now),
            fact(3, now, result),
            fact(4, now, Fact::Reply { sequence, method }),
        ];
        keep_outbox(&case.database, &rows).await;
        let mut tx = case.database.begin().await.unwrap();
        let forgotten = tx.lock_forgotten_payments(now, 10).await.unwrap();
        let ids: Vec<i64> = forgotten.iter().map(|row| row.payment.id.0).collect();
        assert_eq!(ids, [3, 4, 5]);
    }
}

async fn tx_now(database: &Store) -> payment_service::domain::Timestamp {
    database.begin().await.unwrap().now()
}
