//! The database, for both kinds: reads outside of transactions, blocks of ids, and the check of the schema.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migrator};
use time::OffsetDateTime;
use time::macros::datetime;

use super::audit::{self, Audit, Bounds};
use super::cells::Cell;
use super::clock_setback;
use super::decode::{all, each, one};
use super::engine::{Connection, Engine};
use super::environment::{self, Server, Stock};
use super::quarantine::{Key, SetAside};
use super::records::{
    EventRecord, LedgerRecord, OutboxRecord, PaymentRecord, Record, TokenRecord, Tried,
};
use super::rows::{
    CardToken, Horizons, LedgerEntry, OutboxRow, PaymentFilter, StoredPayment, TokenId,
};
use super::transaction::OpenTransaction;
use super::{Checked, Database, OutboxDepth, StoreError, Transaction, statements};
use crate::domain::{ClientName, Event, PaymentId, Timestamp};

/// Later than every payment: the start of a list without a cursor.
const END_OF_TIME: Timestamp = datetime!(9999-12-31 23:59:59.999999 UTC);

/// Maximum number of rows remembered as reported.
const MOST_REPORTED: usize = 10_000;

/// A database of one kind.
#[derive(Debug)]
pub struct SqlDatabase<E> {
    /// Its connections.
    pub(super) engine: E,
    /// Payments that could not be read and have been reported.
    reported: Mutex<HashSet<PaymentId>>,
}

impl<E: Engine> SqlDatabase<E> {
    /// Uses these connections.
    pub(super) fn new(engine: E) -> Self {
        Self {
            engine,
            reported: Mutex::default(),
        }
    }

    async fn read<R: Record>(
        &self,
        sql: &'static str,
        parameters: &[Cell<'_>],
    ) -> Result<Vec<R>, StoreError> {
        let mut connection = self.engine.reader().await?;
        match connection.fetch(sql, parameters).await {
            Err(error) if is_broken_connection(&error) => {
                drop(connection);
                self.engine.reader().await?.fetch(sql, parameters).await
            }
            result => result,
        }
    }

    async fn one_payment(
        &self,
        sql: &'static str,
        parameters: &[Cell<'_>],
    ) -> Result<Option<StoredPayment>, StoreError> {
        let found: Vec<Tried<PaymentRecord>> = self.read(sql, parameters).await?;
        let Some(found) = found.into_iter().next() else {
            return Ok(None);
        };
        one(found).map(Some).map_err(|left_out| {
            let (reason, payment) = (left_out.reason.clone(), left_out.payment());
            payment.map_or(StoreError::Corrupt(reason), Into::into)
        })
    }

    /// Logs one line for each row, however often it is read.
    fn report_once(&self, left_out: &[SetAside]) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for row in left_out {
            if let Key::Payment(id) = row.key
                && reported.len() < MOST_REPORTED
                && reported.insert(id)
            {
                row.report();
            }
        }
    }

    async fn try_reserve_ids(&self, count: i64, first_ever: i64) -> Result<i64, StoreError> {
        let (mut connection, _) = self.engine.begin().await?;
        let lock = E::statements().lock_next_id;
        let mut found: Vec<(i64,)> = connection.fetch(lock, &[]).await?;
        if found.is_empty() {
            // Another process may do the same at this time; the second one finds the row of the first.
            let insert = E::statements().insert_next_id;
            connection.execute(insert, &[first_ever.into()]).await?;
            found = connection.fetch(lock, &[]).await?;
        }
        let Some((unreserved,)) = found.pop() else {
            return Err(StoreError::Corrupt("table id_blocks has no row".to_owned()));
        };
        // The next id can be too low after a restore of only some tables, or a fail-over to a lagging replica.
        let largest: Vec<(i64,)> = connection.fetch(statements::LARGEST_ID, &[]).await?;
        let free = largest.first().map_or(0, |(id,)| id.saturating_add(1));
        let first = unreserved.max(free);
        let next = first.checked_add(count).ok_or(StoreError::IdsExhausted)?;
        connection
            .execute(statements::UPDATE_NEXT_ID, &[next.into()])
            .await?;
        connection.commit().await?;
        Ok(first)
    }
}

#[async_trait]
impl<E: Engine> Database for SqlDatabase<E> {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.engine.migrate().await
    }

    fn lanes(&self) -> usize {
        E::LANES
    }

    async fn check(&self) -> Result<Checked, StoreError> {
        let mut connection = self.engine.reader().await?;
        let now = match connection.now().await {
            Err(error) if is_broken_connection(&error) => {
                drop(connection);
                connection = self.engine.reader().await?;
                connection.now().await?
            }
            result => result?,
        };
        let here = OffsetDateTime::now_utc();
        let applied = connection
            .fetch(statements::APPLIED_MIGRATIONS, &[])
            .await?;
        let later_migration = same_schema(self.engine.migrations(), &applied)
            .map_err(|error| StoreError::Migration(error.into()))?;
        Ok(Checked {
            later_migration,
            clock_ahead: now - here,
        })
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let (connection, began) = self.engine.begin().await?;
        Ok(Box::new(OpenTransaction::<E>::new(connection, began)))
    }

    async fn reserve_ids(&self, count: i64, first_ever: i64) -> Result<i64, StoreError> {
        // A block that is lost in a commit without an answer only leaves a harmless gap.
        const TRIES: usize = 5;
        for _ in 1..TRIES {
            match self.try_reserve_ids(count, first_ever).await {
                Err(
                    StoreError::Conflict(_) | StoreError::Locked(_) | StoreError::CommitUnknown(_),
                ) => {}
                result => return result,
            }
        }
        self.try_reserve_ids(count, first_ever).await
    }

    async fn payment(&self, id: PaymentId) -> Result<Option<StoredPayment>, StoreError> {
        self.one_payment(statements::PAYMENT, &[id.0.into()]).await
    }

    async fn payment_by_key(
        &self,
        client: &ClientName,
        key: &str,
    ) -> Result<Option<StoredPayment>, StoreError> {
        let parameters = [client.as_str().into(), hex::encode(key).into()];
        self.one_payment(statements::PAYMENT_BY_KEY, &parameters)
            .await
    }

    async fn payments(&self, filter: &PaymentFilter) -> Result<Vec<StoredPayment>, StoreError> {
        let mut filter = filter.clone();
        let limit = filter.limit as usize;
        let mut page: Vec<StoredPayment> = Vec::new();
        loop {
            let (sql, parameters) = list(&filter);
            let found: Vec<Tried<PaymentRecord>> = self.read(sql, &parameters).await?;
            let is_last = found.len() < limit;
            let mut left_out = Vec::new();
            let read = each(found, &mut left_out);
            let read_to = read.iter().map(StoredPayment::place_in_lists).next_back();
            page.extend(read);
            self.report_once(&left_out);
            // Rows that were left out are replaced by later ones: the order is by time, then id.
            let places = left_out.iter().filter_map(SetAside::place_in_lists);
            let next = places.chain(read_to).min();
            if left_out.is_empty() || is_last || page.len() >= limit || next.is_none() {
                break;
            }
            filter.before = next;
        }
        page.truncate(limit);
        Ok(page)
    }

    async fn outbox_about(&self, id: PaymentId) -> Result<Vec<OutboxRow>, StoreError> {
        // In the publication, the event's JSON is a text, so its quotes are escaped.
        let subject = format!("payments/{id}\\\"");
        let parameters = [id.0.into(), subject.into()];
        let found: Vec<Tried<OutboxRecord>> =
            self.read(statements::OUTBOX_ABOUT, &parameters).await?;
        let mut left_out = Vec::new();
        let rows = each(found, &mut left_out);
        left_out.iter().for_each(SetAside::report);
        Ok(rows)
    }

    async fn clients(&self) -> Result<Vec<ClientName>, StoreError> {
        let mut clients: Vec<ClientName> = Vec::new();
        // Goes from name to name in the index of the lists; DISTINCT would read the whole index.
        let mut last = String::new();
        loop {
            let found: Vec<(Option<String>,)> =
                self.read(statements::CLIENT_AFTER, &[last.into()]).await?;
            let Some((Some(name),)) = found.into_iter().next() else {
                return Ok(clients);
            };
            clients.extend(ClientName::parse(&name));
            last = name;
        }
    }

    async fn events(&self, id: PaymentId) -> Result<Vec<Event>, StoreError> {
        let parameters = [id.0.into()];
        all(self
            .read::<EventRecord>(statements::EVENTS, &parameters)
            .await?)
    }

    async fn card_token(&self, token: &TokenId) -> Result<Option<CardToken>, StoreError> {
        let parameters = [hex::encode(&token.0).into()];
        let found: Vec<Tried<TokenRecord>> = self.read(statements::TOKEN, &parameters).await?;
        // A token that cannot be read is useless to its client, which can create another.
        let mut left_out = Vec::new();
        let token = each(found, &mut left_out).pop();
        left_out.iter().for_each(SetAside::report);
        Ok(token)
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        let mut connection = self.engine.reader().await?;
        let now = connection.now().await?;
        let counts: Vec<(i64, i64, i64, i64)> = connection
            .fetch(statements::OUTBOX_DEPTH, &[now.into()])
            .await?;
        let (total, due, of_payments, quarantined) = counts.into_iter().next().unwrap_or_default();
        Ok(OutboxDepth {
            total: total.unsigned_abs(),
            due: due.unsigned_abs(),
            of_payments: of_payments.unsigned_abs(),
            quarantined: quarantined.unsigned_abs(),
        })
    }

    async fn ledger(&self, payment: PaymentId) -> Result<Vec<LedgerEntry>, StoreError> {
        // Exactly the payment's keys, `{payment_id}-{attempt}`: "." is the next character after "-".
        let keys = [format!("{payment}-").into(), format!("{payment}.").into()];
        all(self
            .read::<LedgerRecord>(statements::LEDGER_BETWEEN, &keys)
            .await?)
    }

    async fn end_all_claims(&self) -> Result<(), StoreError> {
        let (mut connection, now) = self.engine.begin().await?;
        connection
            .execute(statements::END_ALL_CLAIMS, &[now.into(), now.into()])
            .await?;
        connection.commit().await
    }

    async fn bring_back(&self, horizons: Horizons) -> Result<u64, StoreError> {
        clock_setback::bring_back(&self.engine, horizons).await
    }

    async fn holds_others_than(&self, client: &ClientName) -> Result<bool, StoreError> {
        let parameters = [client.as_str().into(), client.as_str().into()];
        let found: Vec<(i64,)> = self.read(statements::OTHERS_THAN, &parameters).await?;
        Ok(!found.is_empty())
    }

    async fn audit(&self, bounds: Bounds) -> Result<Audit, StoreError> {
        audit::run(&mut self.engine.reader().await?, bounds).await
    }

    async fn server(&self) -> Result<Server, StoreError> {
        environment::server(&mut self.engine.reader().await?, E::statements()).await
    }

    async fn stock(&self, sample: u32) -> Result<Stock, StoreError> {
        environment::stock(&mut self.engine.reader().await?, sample).await
    }

    async fn close(&self) {
        self.engine.close().await;
    }
}

/// The statement for a list, which uses the best index, and its parameters.
fn list(filter: &PaymentFilter) -> (&'static str, Vec<Cell<'_>>) {
    let user = filter.user_id.map(|user| user.0);
    let (sql, mut parameters): (_, Vec<Cell<'_>>) = match (filter.order_id, user) {
        (Some(order), user) => (
            statements::PAYMENTS_BY_ORDER,
            vec![order.0.into(), user.into()],
        ),
        (None, Some(user)) => (statements::PAYMENTS_BY_USER, vec![user.into()]),
        (None, None) => (statements::PAYMENTS_BY_CLIENT, vec![]),
    };
    let (before, id) = filter.before.unwrap_or((END_OF_TIME, PaymentId(i64::MAX)));
    parameters.insert(0, filter.client.as_str().into());
    parameters.extend([before.into(), before.into(), id.0.into()]);
    parameters.push(filter.status.map(|status| status.as_str()).into());
    parameters.push(filter.limit.into());
    (sql, parameters)
}

/// Whether an immediate retry on another connection may succeed, as after a restart of the server. Not after a
/// time-out: the caller has waited long enough.
pub fn is_broken_connection(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(cause) => match cause.as_ref() {
            sqlx::Error::Io(io) => io.kind() != std::io::ErrorKind::TimedOut,
            sqlx::Error::Database(_) | sqlx::Error::Protocol(_) => true,
            _ => false,
        },
        _ => false,
    }
}

/// A migration that failed because the database could not be used says nothing about the schema.
pub fn migration_error(error: MigrateError, classify: fn(sqlx::Error) -> StoreError) -> StoreError {
    match error {
        MigrateError::Execute(cause) => classify(cause),
        MigrateError::ExecuteMigration(cause, version) => match classify(cause) {
            StoreError::Rejected(cause)
            | StoreError::Conflict(cause)
            | StoreError::Locked(cause) => {
                let words = format!("migration {version}: {cause}");
                StoreError::Migration(MigrateError::Source(words.into()).into())
            }
            error => error,
        },
        error => StoreError::Migration(error.into()),
    }
}

/// Checks that the migrations of this program are applied, with the same checksums. A later release may have added some,
/// or be adding them now: this program can still use the tables. Returns the latest of those, if there are any.
fn same_schema(
    migrations: &Migrator,
    applied: &[(i64, Vec<u8>, bool)],
) -> Result<Option<i64>, MigrateError> {
    let mut later = None;
    for (version, checksum, success) in applied {
        let Some(ours) = migrations.iter().find(|ours| ours.version == *version) else {
            later = Some(*version);
            continue;
        };
        if !success {
            let words = format!(
                "migration {version} is under way or was interrupted; `payment-service setup` completes it"
            );
            return Err(MigrateError::Source(words.into()));
        }
        if ours.checksum != checksum.as_slice() {
            return Err(MigrateError::VersionMismatch(*version));
        }
    }
    let is_applied = |version| applied.iter().any(|(applied, ..)| *applied == version);
    let latest = applied.last().map_or(0, |(version, ..)| *version);
    match migrations.iter().find(|ours| !is_applied(ours.version)) {
        Some(missing) => Err(MigrateError::VersionTooNew(missing.version, latest)),
        None => Ok(later),
    }
}
