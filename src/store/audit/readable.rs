//! Checks whether every payment and every outbox row can be read: reads all of them, a page at a time, as the service
//! does. Quarantined rows have their own rule.

use super::{Finding, Severity};
use crate::store::StoreError;
use crate::store::engine::Connection;
use crate::store::quarantine::{Key, SetAside};
use crate::store::records::{Table, Tried, each};
use crate::store::rows::{OutboxRow, StoredPayment};
use crate::store::sql_values::SqlValue;
use crate::store::tables::outbox::OutboxRecord;
use crate::store::tables::payments::PaymentRecord;

/// The rule's name.
pub const READABLE: &str = "readable";

/// Rows in one page.
const PAGE: i64 = 1000;

/// Maximum number of rows listed.
const EXAMPLES: usize = 10;

/// (last id of the page before, limit) → payments
const PAYMENTS: &str = "SELECT * FROM payments WHERE id > ? ORDER BY id LIMIT ?";

/// (last id of the page before, in hexadecimal digits, limit) → outbox rows
const OUTBOX: &str = "SELECT * FROM outbox WHERE id > UNHEX(?) ORDER BY id LIMIT ?";

/// Reads all rows.
pub(super) async fn look(connection: &mut Connection) -> Result<Finding, StoreError> {
    let mut unreadable = Unreadable::default();
    let mut last = SqlValue::from(i64::MIN);
    loop {
        let page: Vec<Tried<PaymentRecord>> =
            connection.fetch(PAYMENTS, &[last, PAGE.into()]).await?;
        let Some(Key::Payment(id)) = page.last().map(|row| row.key.clone()) else {
            break;
        };
        last = id.0.into();
        unreadable.read::<_, StoredPayment>(page);
    }
    let mut last = SqlValue::from("0".repeat(32));
    loop {
        let page: Vec<Tried<OutboxRecord>> = connection.fetch(OUTBOX, &[last, PAGE.into()]).await?;
        let Some(Key::Outbox(id)) = page.last().map(|row| row.key.clone()) else {
            break;
        };
        last = id.0.simple().to_string().into();
        unreadable.read::<_, OutboxRow>(page);
    }
    Ok(unreadable.finding())
}

#[derive(Default)]
struct Unreadable {
    count: i64,
    examples: Vec<String>,
}

impl Unreadable {
    fn read<T: Table + TryInto<R, Error = StoreError>, R>(&mut self, page: Vec<Tried<T>>) {
        let mut left_out = Vec::new();
        let _readable = each::<T, R>(page, &mut left_out);
        for row in left_out.iter().filter(|row| !row.marked) {
            self.count += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(named(row));
            }
        }
    }

    fn finding(self) -> Finding {
        Finding {
            rule: READABLE,
            promise: "every payment and outbox row can be read",
            severity: Severity::Breach,
            count: self.count,
            examples: self.examples,
            remedy: "rows were changed from outside, or a newer release wrote them; they are quarantined when the service \
                     reads them: see Quarantine in docs/runbook.md",
        }
    }
}

/// Table, id and reason; never stored values.
fn named(row: &SetAside) -> String {
    match &row.key {
        Key::Payment(id) => format!("payment {id}: {}", row.reason),
        Key::Outbox(id) => format!("outbox {}: {}", id.0, row.reason),
        Key::Operation(id) => format!("operation {}: {}", id.0, row.reason),
        Key::Unmarked(table) => format!("{table}: {}", row.reason),
    }
}
