//! One transaction, for both databases: turns rows into parameters and records into rows. The [`Engine`] provides the
//! connection and the statements.

use std::marker::PhantomData;

use async_trait::async_trait;
use uuid::Uuid;

use super::cells::{Cell, Row};
use super::decode::{all, each};
use super::engine::{Connection, Engine};
use super::many::ManyRows;
use super::quarantine::{Key, SetAside};
use super::records::{
    EventRecord, LedgerRecord, OutboxRecord, PaymentRecord, Record, TokenRecord, Tried,
};
use super::rows::{
    CardToken, Content, LedgerEntry, LedgerLine, OutboxId, OutboxRow, StoredPayment, TokenId,
};
use super::{StoreError, Transaction, encode, statements};
use crate::broker::Lane;
use crate::domain::{ClientName, Event, EventId, PaymentId, Timestamp};

/// If fewer payments than this end alike, they do not get a separate statement.
const FEW_ALIKE: usize = 8;

/// A transaction that has begun.
pub struct OpenTransaction<E: Engine> {
    connection: E::Connection,
    began: Timestamp,
    left_out: Vec<SetAside>,
    engine: PhantomData<fn() -> E>,
}

impl<E: Engine> OpenTransaction<E> {
    /// Takes a connection with a transaction that has begun.
    pub fn new(connection: E::Connection, began: Timestamp) -> Self {
        Self {
            connection,
            began,
            left_out: Vec::new(),
            engine: PhantomData,
        }
    }

    /// Runs a statement over rows, with its other parameters.
    async fn write(
        &mut self,
        statement: &'static ManyRows,
        rows: Vec<Row<'_>>,
        others: &[Cell<'_>],
    ) -> Result<(), StoreError> {
        let longest = self.connection.longest();
        for (sql, parameters) in statement.commands(rows, others, longest)? {
            self.connection.execute(sql, &parameters).await?;
        }
        Ok(())
    }

    /// Looks rows up by rows of keys.
    async fn look_up<R: Record>(
        &mut self,
        statement: &'static ManyRows,
        keys: Vec<Row<'_>>,
        others: &[Cell<'_>],
    ) -> Result<Vec<R>, StoreError> {
        let mut found = Vec::new();
        let longest = self.connection.longest();
        for (sql, parameters) in statement.commands(keys, others, longest)? {
            found.extend(self.connection.fetch::<R>(sql, &parameters).await?);
        }
        Ok(found)
    }

    async fn look_up_payments(
        &mut self,
        statement: &'static ManyRows,
        keys: Vec<Row<'_>>,
        others: &[Cell<'_>],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let found = self
            .look_up::<Tried<PaymentRecord>>(statement, keys, others)
            .await?;
        Ok(each(found, &mut self.left_out))
    }
}

#[async_trait]
impl<E: Engine> Transaction for OpenTransaction<E> {
    fn now(&self) -> Timestamp {
        self.began
    }

    fn left_out(&mut self) -> Vec<SetAside> {
        std::mem::take(&mut self.left_out)
    }

    async fn quarantine(&mut self, rows: &[SetAside]) -> Result<(), StoreError> {
        for row in rows {
            let reason = row.reason.as_str().into();
            let (sql, id): (_, Cell<'_>) = match row.key {
                Key::Payment(id) if !row.marked => (statements::QUARANTINE_PAYMENT, id.0.into()),
                // A row that an operator has marked must still leave its lane.
                Key::Outbox(id) => (
                    statements::QUARANTINE_OUTBOX,
                    hex::encode(id.0.as_bytes()).into(),
                ),
                Key::Payment(_) | Key::Unmarked(_) => continue,
            };
            self.connection.execute(sql, &[reason, id]).await?;
        }
        Ok(())
    }

    async fn release_outbox(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        let released: Vec<(Uuid,)> = self
            .connection
            .fetch(statements::OUTBOX_IS_RELEASED, &[])
            .await?;
        if released.is_empty() {
            return Ok(0);
        }
        self.connection
            .execute(statements::RELEASE_OUTBOX, &[now.into()])
            .await
    }

    async fn payments_by_key(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let statement = &E::statements().payments_by_keys;
        self.look_up_payments(statement, encode::keys(keys), &[])
            .await
    }

    async fn payment_ids_by_key(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<PaymentId>, StoreError> {
        let statement = &E::statements().payment_ids_by_keys;
        let found: Vec<(i64,)> = self.look_up(statement, encode::keys(keys), &[]).await?;
        Ok(found.into_iter().map(|(id,)| PaymentId(id)).collect())
    }

    async fn lock_payments(&mut self, ids: &[PaymentId]) -> Result<Vec<StoredPayment>, StoreError> {
        let ids = encode::payment_ids(ids);
        self.look_up_payments(&E::statements().lock_payments, ids, &[])
            .await
    }

    async fn read_payments(&mut self, ids: &[PaymentId]) -> Result<Vec<StoredPayment>, StoreError> {
        let ids = encode::payment_ids(ids);
        self.look_up_payments(&E::statements().read_payments, ids, &[])
            .await
    }

    async fn insert_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        self.write(
            &E::statements().insert_payments,
            encode::payments(rows)?,
            &[],
        )
        .await
    }

    async fn update_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        let rows = encode::moved_payments(rows);
        self.write(&E::statements().update_payments, rows, &[])
            .await
    }

    /// Runs one statement for each group of payments that end alike. Each is a round trip, so small groups are updated
    /// together with the rest.
    async fn end_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        let alike = encode::ended_alike(rows);
        let enough = if alike.len() == 1 {
            1
        } else {
            FEW_ALIKE.max(rows.len() / 4)
        };
        let mut rest = Vec::new();
        for (end, rows) in alike {
            if rows.len() < enough {
                rest.extend(rows);
                continue;
            }
            let codes = encode::authorization_codes(&rows);
            self.write(&E::statements().end_payments, codes, &end)
                .await?;
        }
        rest.sort_unstable_by_key(|row| row.payment.id);
        let rest = encode::moved_payments(rest);
        self.write(&E::statements().update_payments, rest, &[])
            .await
    }

    async fn claim_payments(
        &mut self,
        ids: &[PaymentId],
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = encode::payment_ids(ids);
        self.write(&E::statements().claim_payments, rows, &[until.into()])
            .await
    }

    async fn lock_forgotten_payments(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let found: Vec<(i64,)> = self
            .connection
            .fetch(statements::FORGOTTEN_PAYMENTS, &[now.into(), limit.into()])
            .await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = found.into_iter().map(|(id,)| PaymentId(id)).collect();
        let statement = &E::statements().lock_forgotten_payments;
        let ids = encode::payment_ids(&ids);
        self.look_up_payments(statement, ids, &[now.into()]).await
    }

    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.write(&E::statements().insert_events, encode::events(events), &[])
            .await
    }

    async fn existing_events(
        &mut self,
        events: &[(PaymentId, EventId)],
    ) -> Result<Vec<EventId>, StoreError> {
        let found: Vec<(Uuid,)> = self
            .look_up(
                &E::statements().existing_events,
                encode::event_ids(events),
                &[],
            )
            .await?;
        Ok(found.into_iter().map(|(id,)| EventId(id)).collect())
    }

    async fn read_events(&mut self, events: &[(PaymentId, u32)]) -> Result<Vec<Event>, StoreError> {
        let numbers = encode::event_numbers(events);
        let found = self.look_up::<EventRecord>(&E::statements().read_events, numbers, &[]);
        // The events of another row must not suffer: one that cannot be read is missing.
        let read = found.await?.into_iter().map(TryInto::try_into);
        Ok(read.filter_map(Result::ok).collect())
    }

    async fn insert_outbox(&mut self, rows: &[OutboxRow]) -> Result<(), StoreError> {
        self.write(&E::statements().insert_outbox, encode::outbox(rows)?, &[])
            .await
    }

    async fn delete_outbox(&mut self, ids: &[OutboxId]) -> Result<(), StoreError> {
        self.write(&E::statements().delete_outbox, encode::outbox_ids(ids), &[])
            .await
    }

    async fn lock_due_outbox(
        &mut self,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let lanes = Content::lanes(lane);
        let [first, second] = lanes.map(Cell::from);
        let due: Vec<(i64, i64)> = self
            .connection
            .fetch(
                statements::OUTBOX_IS_DUE,
                &[first, now.into(), second, now.into()],
            )
            .await?;
        let (first, second) = due.into_iter().next().unwrap_or_default();
        let mut found: Vec<Tried<OutboxRecord>> = Vec::new();
        for (lane, is_due) in lanes.into_iter().zip([first, second]) {
            if is_due == 0 {
                continue;
            }
            let parameters = [lane.into(), now.into(), limit.into()];
            let sql = E::statements().lock_due_outbox;
            let rows: Vec<Tried<OutboxRecord>> = self.connection.fetch(sql, &parameters).await?;
            found.extend(rows);
        }
        Ok(each(found, &mut self.left_out))
    }

    async fn lock_facts(&mut self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = E::statements().lock_facts;
        let found: Vec<Tried<OutboxRecord>> = self.connection.fetch(sql, &[limit.into()]).await?;
        Ok(each(found, &mut self.left_out))
    }

    async fn postpone_outbox(
        &mut self,
        ids: &[OutboxId],
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = encode::outbox_ids(ids);
        self.write(&E::statements().postpone_outbox, rows, &[due_at.into()])
            .await
    }

    async fn insert_tokens(&mut self, tokens: &[CardToken]) -> Result<(), StoreError> {
        self.write(&E::statements().insert_tokens, encode::tokens(tokens), &[])
            .await
    }

    async fn lock_tokens(&mut self, tokens: &[TokenId]) -> Result<Vec<CardToken>, StoreError> {
        let ids = encode::token_ids(tokens);
        let statement = &E::statements().lock_tokens;
        let found: Vec<Tried<TokenRecord>> = self.look_up(statement, ids, &[]).await?;
        Ok(each(found, &mut self.left_out))
    }

    async fn use_tokens(&mut self, uses: &[(TokenId, PaymentId)]) -> Result<(), StoreError> {
        self.write(&E::statements().use_tokens, encode::uses(uses), &[])
            .await
    }

    async fn erase_expired_tokens(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let expired: Vec<(Vec<u8>,)> = self
            .connection
            .fetch(statements::TOKENS_ARE_EXPIRED, &[now.into()])
            .await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let parameters = [now.into(), limit.into()];
        let locked: Vec<(Vec<u8>,)> = self
            .connection
            .fetch(E::statements().lock_expired_tokens, &parameters)
            .await?;
        let rows = encode::binary_ids(locked.iter().map(|(id,)| id.as_slice()));
        self.write(&E::statements().erase_tokens, rows, &[]).await?;
        Ok(locked.len() as u64)
    }

    async fn ledger_charge(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = encode::ledger(lines, now);
        self.write(&E::statements().ledger_charge, rows, &[]).await
    }

    async fn ledger_reverse(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = encode::ledger(lines, now);
        self.write(&E::statements().ledger_reverse, rows, &[]).await
    }

    async fn ledger_entries(&mut self, keys: &[String]) -> Result<Vec<LedgerEntry>, StoreError> {
        let keys = encode::texts(keys);
        let found = self.look_up::<LedgerRecord>(&E::statements().ledger_entries, keys, &[]);
        all(found.await?)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.connection.commit().await
    }
}
