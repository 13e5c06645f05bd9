//! What the service's database and the issuer's tables hold when a drill has ended.

use std::collections::BTreeMap;

use sqlx::{query_as, query_scalar};

use super::fixture::Fixture;
use super::operations::parse_key;

/// What the database holds for one order of the client's.
#[derive(Debug, Default)]
pub struct Held {
    pub ids: Vec<i64>,
    pub statuses: Vec<String>,
    pub standing_charges: i64,
    /// Its operations: status by key.
    pub operations: BTreeMap<String, String>,
    /// What the payment says of its money, in minor units.
    pub funds: Funds,
    /// Kind and amount of what the issuer has carried out, without refunds that were returned since, sorted.
    pub carried_out: Vec<(String, i64)>,
}

/// What a payment says of its money, in minor units.
#[derive(Debug, Default)]
pub struct Funds {
    pub amount: i64,
    pub captured: i64,
    /// Refunds that have succeeded, sorted.
    pub refunds: Vec<i64>,
    /// As the payment's row sums them up.
    pub refunded: i64,
}

/// The operations, as order and number, of these ids.
pub async fn undecidable_operations(
    fixture: &Fixture,
    ids: &[String],
) -> sqlx::Result<Vec<(i64, usize)>> {
    let mut administrator = fixture.administrator().await?;
    let mut found = Vec::new();
    for id in ids {
        let id = uuid::Uuid::parse_str(id).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let key: Option<String> = query_scalar(
            "SELECT CONVERT(idempotency_key USING utf8mb4) FROM operations WHERE id = ?",
        )
        .bind(&id.as_bytes()[..])
        .fetch_optional(&mut administrator)
        .await?;
        found.extend(key.as_deref().and_then(parse_key));
    }
    Ok(found)
}

impl Held {
    /// Of all orders.
    pub async fn read(fixture: &Fixture) -> sqlx::Result<BTreeMap<i64, Self>> {
        let mut administrator = fixture.administrator().await?;
        let payments: Vec<(i64, i64, String)> =
            query_as("SELECT order_id, id, CAST(COALESCE(stage, status) AS CHAR) FROM payments")
                .fetch_all(&mut administrator)
                .await?;
        let funds: Vec<(i64, i64, i64, i64)> = query_as(
            "SELECT order_id, amount_minor, COALESCE(captured_minor, IF(status = 'succeeded', amount_minor, 0)),
             COALESCE(refunded_minor, 0) FROM payments",
        )
        .fetch_all(&mut administrator)
        .await?;
        let charges: Vec<(i64, i64)> = query_as(
            "SELECT p.order_id, COUNT(*) FROM issuer_ledger l JOIN payments p ON p.id = l.payment_id
             WHERE l.charged_at IS NOT NULL AND l.reversed_at IS NULL GROUP BY p.order_id",
        )
        .fetch_all(&mut administrator)
        .await?;
        let operations: Vec<(i64, String, String)> = query_as(
            "SELECT p.order_id, CONVERT(o.idempotency_key USING utf8mb4), CAST(o.status AS CHAR)
             FROM operations o JOIN payments p ON p.id = o.payment_id WHERE o.idempotency_key IS NOT NULL",
        )
        .fetch_all(&mut administrator)
        .await?;
        let carried_out: Vec<(i64, String, i64)> = query_as(
            "SELECT p.order_id, CAST(o.kind AS CHAR), o.amount_minor
             FROM issuer_operations o JOIN payments p ON p.id = o.payment_id
             WHERE o.executed_at IS NOT NULL AND o.failed_at IS NULL
             ORDER BY p.order_id, o.kind, o.amount_minor",
        )
        .fetch_all(&mut administrator)
        .await?;
        let refunds: Vec<(i64, i64)> = query_as(
            "SELECT p.order_id, o.amount_minor FROM operations o JOIN payments p ON p.id = o.payment_id
             WHERE o.kind = 'refund' AND o.status = 'succeeded' ORDER BY p.order_id, o.amount_minor",
        )
        .fetch_all(&mut administrator)
        .await?;
        let mut held = BTreeMap::<i64, Self>::new();
        for (order, id, status) in payments {
            let held = held.entry(order).or_default();
            held.ids.push(id);
            held.statuses.push(status);
        }
        for (order, amount, captured, refunded) in funds {
            let held = held.entry(order).or_default();
            let refunds = Vec::new();
            held.funds = Funds {
                amount,
                captured,
                refunds,
                refunded,
            };
        }
        for (order, amount) in refunds {
            held.entry(order).or_default().funds.refunds.push(amount);
        }
        for (order, number) in charges {
            held.entry(order).or_default().standing_charges = number;
        }
        for (order, key, status) in operations {
            let held = held.entry(order).or_default();
            held.operations.insert(key, status);
        }
        for (order, kind, amount) in carried_out {
            let held = held.entry(order).or_default();
            held.carried_out.push((kind, amount));
        }
        Ok(held)
    }
}
