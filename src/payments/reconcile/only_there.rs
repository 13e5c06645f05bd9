//! Charges that only the platform has, for a platform whose list is late: each of our payments was asked about by its
//! reference, and the list shows what else was charged.

use std::collections::HashSet;
use std::time::Duration;

use super::patient::Patient;
use super::{Difference, Looked, Reconciliation, Stopped};
use crate::domain::{PaymentId, Timestamp};
use crate::processors::AttemptKey;
use crate::processors::books::{Page, Pages, TheirCharge, Wanted};
use crate::processors::references::Known;
use crate::store::rows::StoredPayment;

/// A list may name a charge more than once. So many of those that were compared are remembered.
const REMEMBERED: usize = 100_000;

/// What a charge in the list belongs to.
enum Owner<'r> {
    /// It is that of an attempt which was asked about.
    Known,
    /// It names the current attempt of this payment, whose charge is another one.
    Another(&'r StoredPayment),
    /// It names another attempt of this payment, or one without a reference; or there is no such payment.
    Other(Option<&'r StoredPayment>),
}

impl<R: FnMut(&Difference) + Send> Reconciliation<'_, R> {
    /// Reads what was charged from this time until now, less the lag.
    pub(super) async fn look_for_what_is_only_there(
        &mut self,
        books: &Patient<'_>,
        since: Timestamp,
        lag: Duration,
    ) -> Result<(), Stopped> {
        let until = (self.database.now().await? - lag).max(since);
        self.looked = Looked::Until(until);
        match self.look(books, (since, until)).await {
            Err(Stopped::Forbidden(why)) => {
                self.looked = Looked::Not(why);
                Ok(())
            }
            looked => looked,
        }
    }

    async fn look(
        &mut self,
        books: &Patient<'_>,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<(), Stopped> {
        let mut pages = Pages::default();
        let mut compared = HashSet::new();
        if from >= until {
            return Ok(());
        }
        loop {
            let mut page = books
                .charges(&Wanted {
                    from,
                    until: Some(until),
                    after: pages.after().map(str::to_owned),
                })
                .await?;
            self.counts.others += page.others;
            let next = page.next.take();
            self.look_at(books, page, &mut compared).await?;
            if compared.len() > REMEMBERED {
                compared.clear();
            }
            let turned = pages.turn(next, self.most_pages);
            if !turned.map_err(|error| Stopped::Platform(error.to_string()))? {
                return Ok(());
            }
        }
    }

    async fn look_at(
        &mut self,
        books: &Patient<'_>,
        page: Page,
        compared: &mut HashSet<String>,
    ) -> Result<(), Stopped> {
        let rows = self.rows_of(&page).await?;
        let is_left_out = |payment: PaymentId| matches!(rows.get(&payment), Some(None));
        for charge in page.unreadable {
            let Some(key) = charge.key.filter(|key| !is_left_out(key.payment)) else {
                continue;
            };
            let row = rows.get(&key.payment).and_then(Option::as_ref);
            let owner = self.owner(books, (row, key), &charge.reference).await?;
            if !matches!(owner, Owner::Known) && compared.insert(charge.reference.clone()) {
                let payment = Some(key.payment);
                let told = Difference::unreadable(payment, charge.reference, &charge.why);
                self.tell(told);
            }
        }
        for theirs in page.charges {
            let Some(key) = theirs.key.filter(|key| !is_left_out(key.payment)) else {
                continue;
            };
            let row = rows.get(&key.payment).and_then(Option::as_ref);
            let owner = self.owner(books, (row, key), &theirs.reference).await?;
            if !matches!(owner, Owner::Known) && compared.insert(theirs.reference.clone()) {
                self.compare_unknown(books, owner, &theirs).await?;
            }
        }
        Ok(())
    }

    async fn owner<'r>(
        &self,
        books: &Patient<'_>,
        (row, key): (Option<&'r StoredPayment>, AttemptKey),
        charge: &str,
    ) -> Result<Owner<'r>, Stopped> {
        let Some(current) = row.filter(|row| self.is_current((row, key))) else {
            return Ok(Owner::Other(row));
        };
        Ok(match self.references.known(&key.to_string()).await? {
            Known::As(stored) => match books.is_of(key, &stored, charge).await? {
                true => Owner::Known,
                false => Owner::Another(current),
            },
            // It could not be asked about.
            Known::Closed | Known::Nothing => Owner::Other(row),
        })
    }

    /// Compares a charge that was not asked about, as it stands now.
    async fn compare_unknown(
        &mut self,
        books: &Patient<'_>,
        owner: Owner<'_>,
        listed: &TheirCharge,
    ) -> Result<(), Stopped> {
        let Some(key) = listed.key else {
            return Ok(());
        };
        let theirs = match books.current(listed).await? {
            Ok(theirs) => theirs,
            Err(why) => {
                let reference = listed.reference.clone();
                self.tell(Difference::unreadable(Some(key.payment), reference, &why));
                return Ok(());
            }
        };
        let (row, is_another) = match owner {
            Owner::Known => return Ok(()),
            Owner::Another(row) => (Some(row), true),
            Owner::Other(row) => (row, false),
        };
        self.compare(books, (row, key), Some(&theirs), is_another)
            .await
    }
}
