//! What the service's database and the issuer's tables hold when a drill has ended.

use std::collections::BTreeMap;

use sqlx::query_as;

use super::fixture::Fixture;

/// What the database holds for one order of the client's.
#[derive(Debug, Default)]
pub struct Held {
    pub ids: Vec<i64>,
    pub statuses: Vec<String>,
    pub standing_charges: i64,
    /// Its operations: status by key.
    pub operations: BTreeMap<String, String>,
    /// Kind and amount of what the issuer has carried out, without refunds that were returned since, sorted.
    pub carried_out: Vec<(String, i64)>,
}

impl Held {
    /// Of all orders.
    pub async fn read(fixture: &Fixture) -> sqlx::Result<BTreeMap<i64, Self>> {
        let mut administrator = fixture.administrator().await?;
        let payments: Vec<(i64, i64, String)> =
            query_as("SELECT order_id, id, CAST(COALESCE(stage, status) AS CHAR) FROM payments")
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
        let mut held = BTreeMap::<i64, Self>::new();
        for (order, id, status) in payments {
            let held = held.entry(order).or_default();
            held.ids.push(id);
            held.statuses.push(status);
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
