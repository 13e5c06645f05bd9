//! Searches for operators, over the payments of every client. Each reads at most [`MOST_READ`] rows in the order of an
//! index, and reports where it stopped. The lists of a client, also of one status, have indexes of their own, so that they
//! read no other rows.

use time::PrimitiveDateTime;

use super::payments::{END_OF_TIME, PaymentRecord, of_client};
use crate::domain::{PaymentId, Timestamp};
use crate::store::quarantine::{Key, SetAside};
use crate::store::records::{Tried, each, utc};
use crate::store::rows::{PaymentSearch, StoredPayment};
use crate::store::sql_values::SqlValue;
use crate::store::{Store, StoreError};

/// How many rows a search reads at most; the number in the statements.
pub const MOST_READ: u32 = 5_000;

/// The result of a search.
#[derive(Debug)]
pub struct FoundPayments {
    /// The newest first, at most as many as were wanted.
    pub payments: Vec<StoredPayment>,
    /// Matching rows that are set aside or cannot be read.
    pub left_out: Vec<SetAside>,
    /// Where the search stopped after [`MOST_READ`] rows; none if it reached the end, or found as many as were wanted.
    pub stopped_at: Option<(Timestamp, PaymentId)>,
}

impl FoundPayments {
    fn of(found: Vec<Tried<PaymentRecord>>, stopped_at: Option<(Timestamp, PaymentId)>) -> Self {
        let mut left_out = Vec::new();
        Self {
            payments: each(found, &mut left_out),
            left_out,
            stopped_at,
        }
    }
}

/// Some payments of any client, in the order of their ids.
#[derive(Debug)]
pub struct PaymentsInOrder {
    /// Those that can be read.
    pub payments: Vec<StoredPayment>,
    /// How many are set aside or cannot be read.
    pub left_out: u64,
    /// The smallest id that was not looked at yet; none at the end.
    pub next: Option<PaymentId>,
}

/// A search: the statement for its rows, and the one for the last row that it may read.
struct Statements {
    found: &'static str,
    last: &'static str,
}

/// From the condition and the order that an index serves. The parameters of the condition are followed by the number of rows that
/// are read, the order, the shopper, the status (each may be null) and the limit.
macro_rules! statements {
    ($condition:literal, $order:literal) => {
        Statements {
            found: concat!(
                "SELECT payments.* FROM (SELECT id AS found_id FROM (",
                "SELECT id, created_at, order_id, user_id, COALESCE(stage, status) AS shown_status FROM payments WHERE ",
                $condition,
                " ORDER BY ",
                $order,
                " LIMIT ?) AS newest WHERE order_id = COALESCE(?, order_id) AND user_id = COALESCE(?, user_id)",
                " AND shown_status = COALESCE(?, shown_status) ORDER BY ",
                $order,
                " LIMIT ?) AS found JOIN payments ON payments.id = found.found_id ORDER BY ",
                $order
            ),
            last: concat!(
                "SELECT created_at, id FROM payments WHERE ",
                $condition,
                " ORDER BY ",
                $order,
                " LIMIT 1 OFFSET 4999"
            ),
        }
    };
}

/// (id)
const OF_ALL: Statements = statements!("id < ?", "id DESC");

/// (client, shopper, time twice, id)
const OF_USER: Statements = statements!(
    "client = ? AND user_id = ? AND created_at <= ? AND (created_at < ? OR id < ?)",
    "created_at DESC, id DESC"
);

/// (client, order, time twice, id)
const OF_ORDER: Statements = statements!(
    "client = ? AND order_id = ? AND created_at <= ? AND (created_at < ? OR id < ?)",
    "created_at DESC, id DESC"
);

/// The statements of the best index, and the parameters of their condition. A client without an order or a shopper is not
/// searched: see [`of_client`].
fn choose(search: &PaymentSearch) -> (&'static Statements, Vec<SqlValue<'_>>) {
    let (before, id) = search.before.unwrap_or((END_OF_TIME, PaymentId(i64::MAX)));
    let (statements, client, wanted) = match (&search.client, search.order_id, search.user_id) {
        (Some(client), Some(order), _) => (&OF_ORDER, client, order.0),
        (Some(client), None, Some(user)) => (&OF_USER, client, user.0),
        _ => return (&OF_ALL, vec![id.0.into()]),
    };
    let parameters = vec![
        client.as_str().into(),
        wanted.into(),
        before.into(),
        before.into(),
        id.0.into(),
    ];
    (statements, parameters)
}

/// () → the largest id
const LAST_ID: &str = "SELECT id FROM payments ORDER BY id DESC LIMIT 1";

/// (id) → id and time of the payment with this id, or the next one
const FROM_ID: &str = "SELECT id, created_at FROM payments WHERE id >= ? ORDER BY id LIMIT 1";

/// (id, limit) → payments
const FROM_ID_ON: &str = "SELECT * FROM payments WHERE id >= ? ORDER BY id LIMIT ?";

impl Store {
    /// At most `limit` payments with this id or a larger one.
    pub async fn payments_in_order(
        &self,
        from: PaymentId,
        limit: u32,
    ) -> Result<PaymentsInOrder, StoreError> {
        let parameters = [from.0.into(), limit.into()];
        let found: Vec<Tried<PaymentRecord>> = self.read(FROM_ID_ON, &parameters).await?;
        let last = found.last().filter(|_| found.len() >= limit as usize);
        let next = last.and_then(|last| match &last.key {
            Key::Payment(id) => id.0.checked_add(1).map(PaymentId),
            _ => None,
        });
        let mut left_out = Vec::new();
        Ok(PaymentsInOrder {
            payments: each(found, &mut left_out),
            left_out: left_out.len() as u64,
            next,
        })
    }

    /// The first payment that was created at this time or later, by halving the range of ids; beyond all, if there is none. Ids
    /// are nearly in the order of time: every process has blocks of its own.
    pub async fn first_payment_since(&self, since: Timestamp) -> Result<PaymentId, StoreError> {
        let last: Vec<(i64,)> = self.read(LAST_ID, &[]).await?;
        let Some((last,)) = last.into_iter().next() else {
            return Ok(PaymentId(0));
        };
        let (mut earlier, mut later) = (0, last.saturating_add(1));
        while earlier < later {
            let middle = earlier + (later - earlier) / 2;
            let found: Vec<(i64, PrimitiveDateTime)> = self.read(FROM_ID, &[middle.into()]).await?;
            match found.first() {
                Some((id, at)) if utc(*at) < since => earlier = id.saturating_add(1),
                _ => later = middle,
            }
        }
        Ok(PaymentId(earlier))
    }

    /// Searches the payments of one client or of all, the newest first: by `created_at` and id with a client, by id
    /// without.
    pub async fn search_payments(
        &self,
        search: &PaymentSearch,
    ) -> Result<FoundPayments, StoreError> {
        if let (Some(client), None, None) = (&search.client, search.order_id, search.user_id) {
            let (found, parameters) = of_client(client, search.status, search.before, search.limit);
            let found: Vec<Tried<PaymentRecord>> = self.read(found, &parameters).await?;
            return Ok(FoundPayments::of(found, None));
        }
        let (statements, condition) = choose(search);
        // Whatever the index finds is wanted, unless there is a further condition.
        let is_searched = search.status.is_some()
            || search.client.is_none() && (search.order_id.is_some() || search.user_id.is_some())
            || search.order_id.is_some() && search.user_id.is_some();
        let most = if is_searched { MOST_READ } else { search.limit };
        let mut parameters = condition.clone();
        parameters.extend([
            most.into(),
            search.order_id.map(|order| order.0).into(),
            search.user_id.map(|user| user.0).into(),
            search.status.map(|status| status.as_str()).into(),
            search.limit.into(),
        ]);
        let found: Vec<Tried<PaymentRecord>> = self.read(statements.found, &parameters).await?;
        let is_full = found.len() >= search.limit as usize;
        let stopped_at = if is_full || !is_searched {
            None
        } else {
            let last: Vec<(PrimitiveDateTime, i64)> =
                self.read(statements.last, &condition).await?;
            last.first().map(|(at, id)| (utc(*at), PaymentId(*id)))
        };
        Ok(FoundPayments::of(found, stopped_at))
    }

    /// Rows that are set aside: payments and operations among the newest [`MOST_READ`] of each, and rows of the outbox; at
    /// most 100 of each.
    pub async fn rows_set_aside(&self) -> Result<Vec<RowSetAside>, StoreError> {
        let payments: Vec<(i64, String)> = self.read(PAYMENTS_SET_ASIDE, &[]).await?;
        let payments = payments
            .into_iter()
            .map(|(id, reason)| RowSetAside::new(("payments", id.to_string()), Some(id), reason));
        let operations: Vec<(Vec<u8>, i64, String)> = self.read(OPERATIONS_SET_ASIDE, &[]).await?;
        let operations = operations.into_iter().map(|(id, payment, reason)| {
            RowSetAside::new(("operations", hex::encode(id)), Some(payment), reason)
        });
        let outbox: Vec<(Vec<u8>, Option<i64>, String)> = self.read(OUTBOX_SET_ASIDE, &[]).await?;
        let outbox = outbox.into_iter().map(|(id, payment, reason)| {
            RowSetAside::new(("outbox", hex::encode(id)), payment, reason)
        });
        Ok(payments.chain(operations).chain(outbox).collect())
    }
}

/// A row that is set aside, without any of its values.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RowSetAside {
    /// The table.
    pub table: &'static str,
    /// The row's id, in hexadecimal digits if it is a UUID.
    pub id: String,
    /// The payment that it is about, if there is one.
    pub payment_id: Option<i64>,
    /// Why.
    pub reason: String,
}

impl RowSetAside {
    fn new((table, id): (&'static str, String), payment_id: Option<i64>, reason: String) -> Self {
        Self {
            table,
            id,
            payment_id,
            reason,
        }
    }
}

impl From<&SetAside> for RowSetAside {
    fn from(row: &SetAside) -> Self {
        let (table, id, payment) = match &row.key {
            Key::Payment(id) => ("payments", id.to_string(), Some(id.0)),
            Key::Outbox(id) => ("outbox", id.0.simple().to_string(), None),
            Key::Operation(id) => ("operations", id.0.simple().to_string(), None),
            Key::Unmarked(table) => (*table, String::new(), None),
        };
        Self::new((table, id), payment, row.reason.clone())
    }
}

/// () → id, reason
const PAYMENTS_SET_ASIDE: &str = "
SELECT id, quarantined FROM (SELECT id, quarantined FROM payments ORDER BY id DESC LIMIT 5000) AS newest
WHERE quarantined IS NOT NULL LIMIT 100";

/// () → id, payment, reason
const OPERATIONS_SET_ASIDE: &str = "
SELECT id, payment_id, quarantined
FROM (SELECT id, payment_id, quarantined FROM operations ORDER BY id DESC LIMIT 5000) AS newest
WHERE quarantined IS NOT NULL LIMIT 100";

/// () → id, payment, reason. Rows that are set aside are in a separate lane.
const OUTBOX_SET_ASIDE: &str = "
SELECT id, payment_id, COALESCE(quarantined, '') FROM outbox WHERE lane = 'aside' ORDER BY due_at LIMIT 100";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_read_as_many_rows_as_is_said() {
        let limit = format!("LIMIT {MOST_READ})");
        let offset = format!("LIMIT 1 OFFSET {}", MOST_READ - 1);
        for statements in [OF_ALL, OF_USER, OF_ORDER] {
            assert!(statements.last.ends_with(&offset), "{}", statements.last);
        }
        for statement in [PAYMENTS_SET_ASIDE, OPERATIONS_SET_ASIDE] {
            assert!(statement.contains(&limit), "{statement}");
        }
    }
}
