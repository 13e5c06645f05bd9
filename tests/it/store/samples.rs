//! Sample rows, with and without optional values.

use std::collections::BTreeMap;

use payment_service::broker::Publication;
use payment_service::domain::Funds;
use payment_service::domain::Origin;
use payment_service::domain::{
    Brand, CardSummary, ClientName, Currency, DeclineCode, Event, EventId, EventKind, Expiration,
    Funding, Metadata, Money, Operation, OperationId, OperationKind, OperationPhase,
    OperationStatus, OrderId, Payment, PaymentId, PaymentStatus, Phase, ReturnUrl, Timestamp,
    UserId,
};
use payment_service::store::rows::{
    CardToken, Content, Fact, Idempotency, LedgerLine, OutboxId, OutboxRow, StoredOperation,
    StoredPayment, TokenId,
};
use payment_service::store::{Store, Transaction};
use payment_service::vault::SealedCard;
use payment_service::wire::work::WorkMessage;
use time::Duration;
use time::macros::datetime;
use uuid::Uuid;

pub const NOON: Timestamp = datetime!(2026-11-22 12:00:00.123456 UTC);

pub fn client(name: &str) -> ClientName {
    ClientName::parse(name).unwrap()
}

pub fn seconds(seconds: i64) -> Timestamp {
    NOON + Duration::seconds(seconds)
}

/// A payment that waits for its card: every optional value is null.
pub fn payment(id: i64) -> StoredPayment {
    StoredPayment {
        payment: Payment {
            id: PaymentId(id),
            client: client("store-manager"),
            order_id: OrderId(7),
            user_id: UserId(8),
            amount: amount(),
            status: PaymentStatus::RequiresPaymentMethod,
            decline_code: None,
            authorization_code: None,
            method: None,
            attempt: 0,
            metadata: Metadata::default(),
            action: None,
            return_url: None,
            funds: Funds::default(),
            sequence: 1,
            created_at: NOON,
            updated_at: NOON,
        },
        try_number: 0,
        phase: Phase::Authorize,
        uncertain: false,
        pending: None,
        staged: false,
        sealed_card: None,
        claimed_until: None,
        check_at: None,
        idempotency: None,
        origin: Origin::default(),
    }
}

pub fn with_key(id: i64, key: &str) -> StoredPayment {
    let idempotency = Some(Idempotency {
        key: key.to_owned(),
        fingerprint: [7; 32],
    });
    StoredPayment {
        idempotency,
        ..payment(id)
    }
}

pub fn processing(id: i64, check_at: Timestamp) -> StoredPayment {
    let mut row = payment(id);
    row.payment.status = PaymentStatus::Processing;
    row.payment.attempt = 1;
    row.payment.method = Some(card().into());
    row.try_number = 1;
    row.sealed_card = Some(SealedCard(vec![1, 2, 3]));
    row.check_at = Some(check_at);
    row
}

/// Nothing null, every value at its longest, and texts that a careless statement would break on.
pub fn full(id: i64) -> StoredPayment {
    let mut row = processing(id, seconds(60));
    let nasty = "é \"'\\ \u{1}\n\t😀 \u{fffd} %s ? $[0] -- ".repeat(20);
    let value: String = nasty.chars().cycle().take(500).collect();
    let metadata: BTreeMap<String, String> = (0..20)
        .map(|number| (format!("{number:k>38}\"é"), value.clone()))
        .collect();
    row.payment.metadata = Metadata::parse(metadata).unwrap();
    row.payment.client = client(&"c".repeat(64));
    row.payment.order_id = OrderId(i64::MAX);
    row.payment.user_id = UserId(i64::MIN);
    row.payment.amount =
        Money::from_minor(Money::MAX_MINOR, Currency::parse("JPY").unwrap()).unwrap();
    row.payment.decline_code = Some(DeclineCode::new("d".repeat(64)));
    row.payment.authorization_code = Some("a".repeat(64));
    let url = format!(
        "https://shop.example/{}",
        "u".repeat(ReturnUrl::MAX_LENGTH - 21)
    );
    row.payment.return_url = Some(ReturnUrl::parse(&url).unwrap());
    row.payment.attempt = i32::MAX as u32;
    let card = CardSummary {
        funding: Funding::Prepaid,
        ..card()
    };
    row.payment.method = Some(card.into());
    row.payment.sequence = i32::MAX as u32;
    row.payment.updated_at = seconds(1);
    row.try_number = i32::MAX as u32;
    row.phase = Phase::Reverse;
    row.uncertain = true;
    row.sealed_card = Some(SealedCard((0..=u8::MAX).cycle().take(1024).collect()));
    row.claimed_until = Some(seconds(30));
    let key: String = ('!'..='~').cycle().take(255).collect();
    let fingerprint = std::array::from_fn(|byte| 200 + u8::try_from(byte).unwrap());
    row.idempotency = Some(Idempotency { key, fingerprint });
    row.origin = Origin {
        correlation_id: Some("c\"".repeat(100)),
        reply_to: Some("amq.rabbitmq.reply-to.é".to_owned()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    };
    row
}

pub fn card() -> CardSummary {
    CardSummary {
        brand: Brand::Mastercard,
        last4: "4444".to_owned(),
        expiration: Expiration::parse("2031-05").unwrap(),
        funding: Funding::Unknown,
        processor: None,
    }
}

pub fn event(payment: i64, sequence: u32) -> Event {
    Event {
        id: EventId(Uuid::now_v7()),
        payment: PaymentId(payment),
        sequence,
        kind: EventKind::TryFailed,
        at: seconds(sequence.into()),
        attempt: 1,
        try_number: sequence,
        reason: Some("issuer_unavailable".to_owned()),
    }
}

pub fn outbox(payment: Option<i64>, due_at: Timestamp) -> OutboxRow {
    let message = WorkMessage {
        payment_id: PaymentId(payment.unwrap_or(0)),
        attempt: 1,
        try_number: 2,
    };
    OutboxRow {
        id: OutboxId(Uuid::now_v7()),
        payment: payment.map(PaymentId),
        due_at,
        content: Content::Message(message.publication(&client("store-manager"), Some("00-é\"-01"))),
    }
}

/// A row that holds a fact.
pub fn fact(payment: i64, due_at: Timestamp, fact: Fact) -> OutboxRow {
    OutboxRow {
        content: Content::Fact(fact),
        ..outbox(Some(payment), due_at)
    }
}

/// The message that a row holds.
pub fn message_in(row: &OutboxRow) -> &Publication {
    match &row.content {
        Content::Message(publication) => publication,
        fact => panic!("a fact: {fact:?}"),
    }
}

pub fn token(name: &str) -> CardToken {
    CardToken {
        id: TokenId(name.to_owned()),
        client: client("store-manager"),
        card: card(),
        sealed_card: Some(SealedCard(vec![9; 100])),
        expires_at: seconds(900),
        used_by: None,
    }
}

fn amount() -> Money {
    Money::from_minor(9953, Currency::parse("CAD").unwrap()).unwrap()
}

pub fn line(payment: i64, attempt: u32) -> LedgerLine {
    LedgerLine {
        key: format!("{payment}-{attempt}"),
        payment: PaymentId(payment),
        amount: amount(),
        held: false,
        test_card: None,
    }
}

/// One transaction that only inserts payments.
pub async fn keep(database: &Store, rows: &[StoredPayment]) {
    let mut tx = begin(database).await;
    tx.insert_payments(rows).await.unwrap();
    tx.commit().await.unwrap();
}

pub async fn keep_outbox(database: &Store, rows: &[OutboxRow]) {
    let mut tx = begin(database).await;
    tx.insert_outbox(rows).await.unwrap();
    tx.commit().await.unwrap();
}

pub async fn begin(database: &Store) -> Transaction {
    database.begin().await.unwrap()
}

pub async fn read(database: &Store, id: i64) -> Option<StoredPayment> {
    database.payment(PaymentId(id)).await.unwrap()
}

pub fn ids(rows: &[StoredPayment]) -> Vec<i64> {
    rows.iter().map(|row| row.payment.id.0).collect()
}

/// A refund of a payment that has succeeded.
pub fn refund(of: i64, minor: i64) -> StoredOperation {
    let row = payment(of);
    let at = seconds(30);
    StoredOperation {
        operation: Operation {
            id: OperationId(Uuid::now_v7()),
            payment: row.payment.id,
            client: row.payment.client,
            kind: OperationKind::Refund,
            amount: Money::from_minor(minor, row.payment.amount.currency()).unwrap(),
            status: OperationStatus::Succeeded,
            failure_code: None,
            reason: Some("late".to_owned()),
            client_reference: None,
            created_at: at,
            updated_at: at,
        },
        try_number: 2,
        phase: OperationPhase::Execute,
        uncertain: false,
        pending_failure: None,
        cancellation_reason: None,
        claimed_until: None,
        check_at: None,
        idempotency: None,
        origin: Origin::default(),
    }
}
