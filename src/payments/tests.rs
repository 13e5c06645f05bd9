//! Commands on a database: the commit hands rows over, and duplicates get the first payment.

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;

use super::accept::AcceptOutcome;
use super::advance::Advanced;
use super::apply::Advance;
use super::claim::Claim;
use super::commands::Commands;
use super::draft::NewPayment;
use super::hand_over::HandedOver;
use super::leases::Leases;
use super::outbox::{Message, Refused};
use super::presented_card::PresentedCard;
use super::row_ids::RowIds;
use super::tokens::NewToken;
use crate::broker::Publication;
use crate::broker::{Exchange, Properties};
use crate::domain::CaptureMethod;
use crate::domain::Origin;
use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, Brand, ClientName, Currency, EventKind, Expiration,
    Funding, Metadata, Money, OrderId, Trigger, UserId,
};
use crate::domain::{CardSummary, PaymentId};
use crate::payments::outgoing::Outgoing;
use crate::store::Store;
use crate::store::ids::IdSpace;
use crate::store::rows::OutboxId;
use crate::store::rows::{Idempotency, TokenId};
use crate::vault::SealedCard;
use crate::wire::work::WorkMessage;
use uuid::Uuid;

struct Place {
    commands: Commands,
    handed_over: HandedOver,
    database: Store,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Store::sqlite(&folder.path().join("payments.db"));
        database.migrate().await.unwrap();
        let hour = Duration::from_secs(3600);
        let leases = Leases {
            outbox: hour,
            claim: hour,
            check: hour,
        };
        let ids = IdSpace {
            first: 1,
            last: 1000,
        };
        let (commands, handed_over) = Commands::new(database.clone(), ids, leases);
        Self {
            commands,
            handed_over,
            database,
            _folder: folder,
        }
    }

    async fn token(&self, name: &str) -> TokenId {
        let id = TokenId(name.to_owned());
        self.commands.add_token(new_token(name)).await.unwrap();
        id
    }

    async fn work(&mut self) -> Outgoing {
        let row = tokio::time::timeout(Duration::from_secs(10), self.handed_over.work.recv());
        row.await.expect("work is handed over").unwrap()
    }

    async fn result(&mut self) -> Outgoing {
        let row = tokio::time::timeout(Duration::from_secs(10), self.handed_over.results.recv());
        row.await.expect("a result is handed over").unwrap()
    }
}

fn client() -> ClientName {
    ClientName::parse("store").unwrap()
}

fn new_token(name: &str) -> NewToken {
    NewToken {
        id: TokenId(name.to_owned()),
        client: client(),
        card: presented().summary.card().expect("a card").clone(),
        sealed: presented().sealed,
        life: Duration::from_secs(60),
    }
}

fn presented() -> PresentedCard {
    PresentedCard {
        summary: CardSummary {
            brand: Brand::Visa,
            last4: "4242".to_owned(),
            expiration: Expiration::parse("2040-01").unwrap(),
            funding: Funding::Credit,
            processor: None,
        }
        .into(),
        sealed: SealedCard(vec![1]),
    }
}

fn payment(id: i64, key: Option<&str>, token: Option<&TokenId>) -> NewPayment {
    NewPayment {
        id: PaymentId(id),
        client: client(),
        order_id: OrderId(1),
        user_id: UserId(1),
        amount: Money::from_minor(9953, Currency::parse("CAD").unwrap()).unwrap(),
        metadata: Metadata::default(),
        return_url: None,
        capture_method: CaptureMethod::Automatic,
        card: Some(presented()),
        token: token.cloned(),
        idempotency: key.map(|key| Idempotency {
            key: key.to_owned(),
            fingerprint: [7; 32],
        }),
        origin: Origin::default(),
        announce: false,
        ids: RowIds::draw(),
    }
}

fn advance(id: i64, trigger: Trigger) -> Advance {
    Advance {
        payment: PaymentId(id),
        client: None,
        trigger,
        card: None,
        token: None,
        delay: Duration::ZERO,
        capture_within: Duration::ZERO,
        ids: RowIds::draw(),
    }
}

fn publication(exchange: Exchange) -> Publication {
    Publication {
        exchange,
        routing_key: "somewhere".to_owned(),
        properties: Properties::default(),
        body: String::new(),
        mandatory: false,
    }
}

/// As a caller that disconnects: the command is begun, and nobody waits for its outcome.
fn begun_and_dropped<T>(command: impl Future<Output = T>) {
    assert!(command.now_or_never().is_none(), "it waits for its commit");
}

#[tokio::test]
async fn a_card_token_is_stored_even_if_its_caller_disconnects() {
    let place = Place::new().await;
    begun_and_dropped(place.commands.add_token(new_token("tok_dropped")));
    // The next one is committed with it or after it.
    let kept = place.token("tok_kept").await;
    for id in [TokenId("tok_dropped".to_owned()), kept] {
        assert!(place.database.card_token(&id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn committed_rows_are_handed_over_even_if_the_caller_disconnects() {
    let mut place = Place::new().await;
    let commands = place.commands.clone();
    begun_and_dropped(commands.accept(payment(1, None, None)));
    assert_eq!(place.work().await.payment, Some(PaymentId(1)));
    let approved = Trigger::Answered {
        asked: (1, 1),
        answer: Answer::Approved {
            authorization_code: "A1B2C3".to_owned(),
        },
        max_tries: 1,
    };
    begun_and_dropped(commands.record(advance(1, approved)));
    assert_eq!(place.result().await.payment, Some(PaymentId(1)));

    let no_card = NewPayment {
        card: None,
        ..payment(2, None, None)
    };
    commands.accept(no_card).await.unwrap();
    let card = Advance {
        card: Some((presented(), 1)),
        ..advance(2, Trigger::PresentCard)
    };
    begun_and_dropped(commands.advance(card));
    assert_eq!(place.work().await.payment, Some(PaymentId(2)));
    commands
        .accept(NewPayment {
            card: None,
            ..payment(3, None, None)
        })
        .await
        .unwrap();
    begun_and_dropped(commands.advance(advance(3, Trigger::Cancel)));
    assert_eq!(place.result().await.payment, Some(PaymentId(3)));

    let ids = [RowIds::draw(), RowIds::draw()];
    let publications = vec![publication(Exchange::DeadLetters)];
    begun_and_dropped(commands.refuse(Refused { publications, ids }));
    let refused = place.work().await;
    assert_eq!(refused.id, ids[0].outbox[0]);
    let message = Message {
        id: OutboxId(Uuid::now_v7()),
        publication: publication(Exchange::DeadLetters),
        delay: None,
    };
    begun_and_dropped(commands.enqueue(message.clone()));
    assert_eq!(place.work().await.id, message.id);
}

#[tokio::test]
async fn later_tries_and_delayed_messages_are_left_to_the_sweep() {
    let mut place = Place::new().await;
    let commands = place.commands.clone();
    commands.accept(payment(1, None, None)).await.unwrap();
    place.work().await;
    let unknown = Trigger::Answered {
        asked: (1, 1),
        answer: Answer::Unknown,
        max_tries: 5,
    };
    let advanced = commands.record(advance(1, unknown)).await.unwrap();
    assert!(matches!(advanced, Advanced::Moved(_)));
    let delayed = Message {
        id: OutboxId(Uuid::now_v7()),
        publication: publication(Exchange::DeadLetters),
        delay: Some(Duration::from_secs(60)),
    };
    commands.enqueue(delayed).await.unwrap();
    assert!(place.handed_over.work.try_recv().is_err());
    assert!(place.handed_over.results.try_recv().is_err());
}

#[tokio::test]
async fn duplicates_in_one_batch_get_the_first_payment_and_use_no_token() {
    let place = Place::new().await;
    let (one, two) = (place.token("tok_1").await, place.token("tok_2").await);
    // One batch: all of them are submitted before the task runs.
    let outcomes = join_all([
        place.commands.accept(payment(1, Some("a"), Some(&one))),
        // The same request again.
        place.commands.accept(payment(2, Some("a"), Some(&one))),
        // Another card under the same key: no duplicate, but its token is not used up for it.
        place.commands.accept(payment(3, Some("a"), Some(&two))),
        place.commands.accept(payment(4, Some("b"), Some(&two))),
        // Another payment with a token that is used by now.
        place.commands.accept(payment(5, Some("c"), Some(&one))),
    ])
    .await;
    let outcomes: Vec<AcceptOutcome> = outcomes.into_iter().map(Result::unwrap).collect();
    let made = |outcome: &AcceptOutcome| match outcome {
        AcceptOutcome::Accepted(payment) => (true, payment.id.0),
        AcceptOutcome::Existing(known) => (false, known.payment.id.0),
        AcceptOutcome::TokenRefused(_) | AcceptOutcome::KeyOfOperation => (false, 0),
    };
    let made: Vec<(bool, i64)> = outcomes.iter().map(made).collect();
    assert_eq!(
        made,
        [(true, 1), (false, 1), (false, 1), (true, 4), (false, 0)]
    );
    for (token, user) in [(one, 1), (two, 4)] {
        let row = place.database.card_token(&token).await.unwrap().unwrap();
        assert_eq!(row.used_by, Some(PaymentId(user)));
    }
}

/// The rescue of a payment that needs its shopper: whether it would find it in two hours.
async fn is_watched(place: &Place, id: i64) -> bool {
    let mut tx = place.database.begin().await.unwrap();
    let later = tx.now() + Duration::from_secs(7200);
    let due = tx.due_capture_checks(later, 10).await.unwrap();
    due.contains(&PaymentId(id))
}

#[tokio::test]
async fn a_payment_that_needs_its_shopper_stays_watched_whatever_happens() {
    let place = Place::new().await;
    let commands = place.commands.clone();
    commands.accept(payment(1, None, None)).await.unwrap();
    let required = Trigger::Answered {
        asked: (1, 1),
        answer: Answer::ActionRequired {
            url: "https://issuer.example/".to_owned(),
            expires_at: time::macros::datetime!(2099-01-01 00:00 UTC),
        },
        max_tries: 5,
    };
    commands.record(advance(1, required)).await.unwrap();
    assert!(is_watched(&place, 1).await, "asked");
    let waiting = Trigger::ActionAnswered {
        asked: (1, 2),
        answer: ActionAnswer::Waiting,
        expired: false,
    };
    commands.record(advance(1, waiting)).await.unwrap();
    assert!(is_watched(&place, 1).await, "asked again");
    commands
        .shopper_returned((PaymentId(1), 1), false)
        .await
        .unwrap();
    assert!(is_watched(&place, 1).await, "the shopper is back");
    commands.advance(advance(1, Trigger::Cancel)).await.unwrap();
    assert!(is_watched(&place, 1).await, "being closed");
    let work = WorkMessage {
        payment_id: PaymentId(1),
        attempt: 1,
        try_number: 5,
    };
    let claimed = commands.claim(work).await.unwrap();
    assert!(matches!(claimed, Claim::Taken(_)), "{claimed:?}");
    for _ in 0..2 {
        commands
            .shopper_returned((PaymentId(1), 1), true)
            .await
            .unwrap();
        assert!(is_watched(&place, 1).await, "approved too late");
    }
    let closed = Trigger::AttemptClosed {
        asked: (1, 5),
        answer: AttemptCloseAnswer::Closed,
    };
    let moved = commands.record(advance(1, closed)).await.unwrap();
    assert!(matches!(moved, Advanced::Moved(_)), "{moved:?}");
    assert!(!is_watched(&place, 1).await, "canceled");
    let history = place.database.events(PaymentId(1)).await.unwrap();
    let late = history
        .iter()
        .filter(|event| event.kind == EventKind::LateApproval);
    assert_eq!(late.count(), 1);
    assert!(history.is_sorted_by_key(|event| event.at));
}
