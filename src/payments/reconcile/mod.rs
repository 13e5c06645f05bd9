//! Compares our payments at a platform with the platform's own record, both ways. Changes nothing.
//!
//! Our payments are read in the order of their ids, a thousand at a time. For each such part, the platform lists what it
//! has charged in the same time, and what it did not list is asked about by its reference. If its list is late, all of them are
//! asked about, and the list is read afterwards, for what is not known here (`only_there`). So the memory that is needed does
//! not depend on how many payments there are.

mod compare;
mod only_there;
mod patient;

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::{
    EventKind, MethodSummary, OperationKind, OperationStatus, PaymentId, PaymentStatus, Timestamp,
};
use crate::processors::books::{List, Page, Pages, TheirCharge, TheirRefund, Wanted};
use crate::processors::references::{Known, References};
use crate::processors::{AttemptKey, Processor};
use crate::store::rows::{StoredOperation, StoredPayment};
use crate::store::{Store, StoreError};
pub use compare::{Difference, Kind};
use compare::{Standing, Verdict};
use patient::Patient;

/// How many of our payments are compared at once, and how many rows are read at once.
const PART: u32 = 1000;

/// The most refunds of one payment that are compared.
const REFUNDS: u32 = 10_000;

/// The most pages of a platform's list that are read for one part of our payments: ten million charges.
const MOST_PAGES: u64 = 100_000;

/// What was compared so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Our payments and their charges that were compared.
    pub compared: u64,
    /// Of these, those that are still under way, here or there.
    pub under_way: u64,
    /// Differences.
    pub differences: u64,
    /// Charges there that belong to somebody else, such as another installation.
    pub others: u64,
    /// Our payments that cannot be read, and are not compared.
    pub left_out: u64,
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The processor has no record that can be read.
    #[error("it keeps no record that this service can read")]
    NoBooks,
    /// The platform gave no answer.
    #[error("the platform gave no usable answer: {0}")]
    Platform(String),
    /// The account or its key may not read this.
    #[error("{0}")]
    Forbidden(String),
    /// The database gave no answer.
    #[error(transparent)]
    Database(#[from] StoreError),
}

/// How far it was looked for charges that are only there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// Up to now.
    UpToNow,
    /// Those made before this time: the platform's list is late.
    Until(Timestamp),
    /// Not at all, for this reason.
    Not(String),
}

/// A comparison.
pub struct Reconciliation<'a, R> {
    database: &'a Store,
    name: &'a str,
    processor: &'a dyn Processor,
    references: References,
    /// What changed less long ago is still under way: the two records are not read at the same moment.
    settle: Duration,
    /// How many of our payments are compared at once.
    part: u32,
    /// The most pages of a list that are read.
    most_pages: u64,
    /// Gets every difference as soon as it is found.
    report: R,
    /// What was compared so far.
    pub counts: Counts,
    /// Everything that was created before this time has been compared.
    pub reached: Timestamp,
    /// How far it was looked for charges that are only there.
    pub looked: Looked,
}

/// What a listed charge is, of those that name an attempt of a payment here.
enum Turn {
    /// It is compared with its attempt.
    Now,
    /// It is another one than that of the attempt which it names.
    Another,
    /// It is compared with another part of our payments.
    NotNow,
}

/// Some of our payments, in the order of their ids.
struct Part {
    /// Those of the platform that are still to be compared.
    payments: HashMap<PaymentId, StoredPayment>,
    /// The next id to read; none at the end.
    next: Option<PaymentId>,
    /// When the last of them was created, rounded up to a second.
    until: Timestamp,
}

/// A time with an end only if there is more after it.
type Time = (Timestamp, Option<Timestamp>);

impl<'a, R: FnMut(&Difference) + Send> Reconciliation<'a, R> {
    /// Compares the payments that were created at this time or later. What changed less long ago than `settle` counts as
    /// under way: the two records are not read at the same moment.
    pub fn new(
        database: &'a Store,
        (name, processor): (&'a str, &'a dyn Processor),
        (since, settle): (Timestamp, Duration),
        report: R,
    ) -> Self {
        Self {
            database,
            name,
            processor,
            references: References::new(database.clone(), name),
            settle,
            part: PART,
            most_pages: MOST_PAGES,
            report,
            counts: Counts::default(),
            reached: since,
            looked: Looked::UpToNow,
        }
    }

    /// The same, with so many of our payments at once.
    #[must_use]
    pub fn in_parts_of(mut self, payments: u32) -> Self {
        self.part = payments.max(1);
        self
    }

    /// The same, with at most so many pages of a platform's list at once.
    #[must_use]
    pub fn with_most_pages(mut self, pages: u64) -> Self {
        self.most_pages = pages;
        self
    }

    /// Compares everything.
    pub async fn run(&mut self) -> Result<(), Stopped> {
        let books = Patient::new(self.processor.books().ok_or(Stopped::NoBooks)?);
        let since = self.reached;
        self.compare_ours(&books).await?;
        match books.list() {
            List::Complete => Ok(()),
            List::Late(lag) => self.look_for_what_is_only_there(&books, since, lag).await,
        }
    }

    /// Compares our payments, with what is listed if the list is complete.
    async fn compare_ours(&mut self, books: &Patient<'_>) -> Result<(), Stopped> {
        let first = self.database.first_payment_since(self.reached).await?;
        let mut next = Some(first);
        while let Some(from) = next {
            let mut part = self.part(from).await?;
            next = part.next;
            let until = part.until.max(self.reached);
            let time = (self.reached, next.map(|_| until));
            if books.list() == List::Complete {
                self.compare_listed(books, time, (first, &mut part)).await?;
            }
            for row in part.payments.into_values() {
                let key = AttemptKey {
                    payment: row.payment.id,
                    attempt: row.payment.attempt,
                };
                self.ask_about(books, (&row, key)).await?;
            }
            self.reached = until;
        }
        Ok(())
    }

    /// Reads our payments until enough of them are the platform's.
    async fn part(&mut self, from: PaymentId) -> Result<Part, StoreError> {
        let mut part = Part {
            payments: HashMap::new(),
            next: Some(from),
            until: self.reached,
        };
        while let Some(from) = part
            .next
            .filter(|_| part.payments.len() < self.part as usize)
        {
            let found = self.database.payments_in_order(from, self.part).await?;
            self.counts.left_out += found.left_out;
            part.next = found.next;
            for row in found.payments {
                part.until = part.until.max(row.payment.created_at);
                if self.is_at_platform(&row) {
                    part.payments.insert(row.payment.id, row);
                }
            }
        }
        part.until += Duration::from_secs(1);
        Ok(part)
    }

    fn is_at_platform(&self, row: &StoredPayment) -> bool {
        let method = row.payment.method.as_ref();
        method.and_then(MethodSummary::processor) == Some(self.name)
    }

    /// Compares what the platform lists, and takes it from the part.
    async fn compare_listed(
        &mut self,
        books: &Patient<'_>,
        (from, until): Time,
        (first, part): (PaymentId, &mut Part),
    ) -> Result<(), Stopped> {
        let mut pages = Pages::default();
        loop {
            let after = pages.after().map(str::to_owned);
            let page = books.charges(&Wanted { from, until, after }).await?;
            self.counts.others += page.others;
            let rows = self.rows_of(&page).await?;
            for charge in page.unreadable {
                let (key, payment) = (charge.key, charge.key.map(|key| key.payment));
                let row = key.and_then(|key| Some((rows.get(&key.payment)?.as_ref()?, key)));
                if row.is_none_or(|(row, key)| self.is_its_turn((row, key), first, part)) {
                    self.tell(Difference::unreadable(
                        payment,
                        charge.reference,
                        &charge.why,
                    ));
                }
            }
            for theirs in page.charges {
                let Some(key) = theirs.key else {
                    self.tell(Difference::without_key(&theirs));
                    continue;
                };
                match rows.get(&key.payment) {
                    None => {
                        let of = (None, key);
                        self.compare(books, of, Some(&theirs), false).await?;
                    }
                    Some(Some(row)) => {
                        let (of, part) = ((row, key), (first, &mut *part));
                        let is_another = match self.turn(books, of, &theirs, part).await? {
                            Turn::Now => false,
                            Turn::Another => true,
                            Turn::NotNow => continue,
                        };
                        let of = (Some(row), key);
                        self.compare(books, of, Some(&theirs), is_another).await?;
                    }
                    Some(None) => {}
                }
            }
            let turned = pages.turn(page.next, self.most_pages);
            if !turned.map_err(|error| Stopped::Platform(error.to_string()))? {
                return Ok(());
            }
        }
    }

    async fn turn(
        &self,
        books: &Patient<'_>,
        (row, key): (&StoredPayment, AttemptKey),
        theirs: &TheirCharge,
        (first, part): (PaymentId, &mut Part),
    ) -> Result<Turn, Stopped> {
        if self.is_current((row, key)) && !self.is_its_charge(books, key, theirs).await? {
            return Ok(Turn::Another);
        }
        Ok(match self.is_its_turn((row, key), first, part) {
            true => Turn::Now,
            false => Turn::NotNow,
        })
    }

    /// Whether it is about the attempt that the payment now has.
    fn is_current(&self, (row, key): (&StoredPayment, AttemptKey)) -> bool {
        self.is_at_platform(row) && key.attempt == row.payment.attempt
    }

    /// Whether a listed charge is that of the attempt which it names, by the reference that is stored for it. Otherwise the
    /// attempt was charged twice.
    async fn is_its_charge(
        &self,
        books: &Patient<'_>,
        key: AttemptKey,
        theirs: &TheirCharge,
    ) -> Result<bool, Stopped> {
        match self.references.known(&key.to_string()).await? {
            Known::As(stored) => books.is_of(key, &stored, &theirs.reference).await,
            Known::Closed | Known::Nothing => Ok(true),
        }
    }

    /// Whether a listed charge is compared now. Each is compared once: with the part that its payment belongs to, unless it
    /// is about an attempt that no part has.
    fn is_its_turn(
        &self,
        (row, key): (&StoredPayment, AttemptKey),
        first: PaymentId,
        part: &mut Part,
    ) -> bool {
        let is_walked = row.payment.id >= first && self.is_current((row, key));
        !is_walked || part.payments.remove(&key.payment).is_some()
    }

    /// Our payments that charges belong to; none for one that cannot be read.
    async fn rows_of(
        &self,
        page: &Page,
    ) -> Result<HashMap<PaymentId, Option<StoredPayment>>, StoreError> {
        let charges = page.charges.iter().filter_map(|it| it.key);
        let unreadable = page.unreadable.iter().filter_map(|it| it.key);
        let ids = charges.chain(unreadable).map(|key| key.payment);
        let ids: Vec<PaymentId> = ids.collect();
        let (rows, left_out) = self.database.payments_or_left_out(&ids).await?;
        let rows = rows.into_iter().map(|row| (row.payment.id, Some(row)));
        Ok(rows
            .chain(left_out.into_iter().map(|id| (id, None)))
            .collect())
    }

    /// Compares one attempt of a payment, which need not be the one that the payment now has. The platform is asked once, by the
    /// reference that is stored for the attempt; without one there is nothing to compare.
    pub async fn attempt(&mut self, row: &StoredPayment, attempt: u32) -> Result<(), Stopped> {
        let books = self.processor.books().ok_or(Stopped::NoBooks)?;
        let key = AttemptKey {
            payment: row.payment.id,
            attempt,
        };
        match self.references.known(&key.to_string()).await? {
            Known::As(_) => {
                let books = Patient::without_repeats(books);
                self.ask_about(&books, (row, key)).await
            }
            Known::Closed | Known::Nothing => Ok(()),
        }
    }

    /// Asks about an attempt that the platform has not listed, by the reference that is stored for it.
    async fn ask_about(
        &mut self,
        books: &Patient<'_>,
        (row, key): (&StoredPayment, AttemptKey),
    ) -> Result<(), Stopped> {
        let theirs = match self.references.known(&key.to_string()).await? {
            Known::As(reference) => match books.charge(key, &reference).await? {
                Ok(theirs) => theirs,
                Err(why) => {
                    self.tell(Difference::unreadable(Some(key.payment), reference, &why));
                    return Ok(());
                }
            },
            Known::Closed | Known::Nothing => None,
        };
        self.compare(books, (Some(row), key), theirs.as_ref(), false)
            .await
    }

    /// `is_another`: the charge is another one than that of the attempt which it names, so it must have been returned.
    async fn compare(
        &mut self,
        books: &Patient<'_>,
        (row, key): (Option<&StoredPayment>, AttemptKey),
        theirs: Option<&TheirCharge>,
        is_another: bool,
    ) -> Result<(), Stopped> {
        let now = self.database.now().await?;
        let standing = self.standing(row, key, now).await?;
        let mut refunds = Refunds::default();
        if let Some(theirs) = theirs {
            let is_ours = matches!(standing, Standing::Charged(_)) && !is_another;
            let has_refunds = row.is_some_and(|row| row.payment.funds.reserved > 0);
            if theirs.has_refunds || is_ours && has_refunds {
                let of = row.filter(|_| is_ours);
                match self.refunds(books, theirs, of).await? {
                    Ok(read) => refunds = read,
                    Err(why) => {
                        let reference = theirs.reference.clone();
                        self.tell(Difference::unreadable(Some(key.payment), reference, &why));
                        return Ok(());
                    }
                }
            }
        }
        let compared = compare::Compared {
            key,
            currency: row.map(|row| row.payment.amount.currency()),
            standing,
            theirs,
            is_another,
            refunds: &refunds,
            now,
            patience: self.processor.finds_out_within(),
            settle: self.settle,
        };
        self.counts.compared += 1;
        match compared.verdict() {
            Verdict::Agrees => {}
            Verdict::UnderWay => self.counts.under_way += 1,
            Verdict::Differs(differences) => differences.into_iter().for_each(|it| self.tell(it)),
        }
        Ok(())
    }

    fn tell(&mut self, difference: Difference) {
        self.counts.differences += 1;
        (self.report)(&difference);
    }

    /// What we say of an attempt.
    async fn standing(
        &self,
        row: Option<&StoredPayment>,
        key: AttemptKey,
        now: Timestamp,
    ) -> Result<Standing, StoreError> {
        let Some(row) = row else {
            return Ok(Standing::Unknown);
        };
        let payment = &row.payment;
        if key.attempt != payment.attempt {
            return Ok(Standing::Nothing("another attempt"));
        }
        let is_new = now - payment.updated_at < self.settle;
        Ok(match payment.status {
            PaymentStatus::Processing => {
                let since = self.under_way_since(row).await?;
                match self.processor.finds_out_within() {
                    Some(patience) if now - since > patience => Standing::Stuck(since),
                    _ => Standing::UnderWay,
                }
            }
            PaymentStatus::RequiresAction => Standing::UnderWay,
            _ if is_new => Standing::UnderWay,
            PaymentStatus::Succeeded => Standing::Charged(payment.funds.captured),
            PaymentStatus::RequiresCapture => Standing::Held(payment.amount.minor()),
            status => Standing::Nothing(status.as_str()),
        })
    }

    /// Since when a payment has been processing.
    async fn under_way_since(&self, row: &StoredPayment) -> Result<Timestamp, StoreError> {
        let id = row.payment.id;
        if row.payment.funds.operation.is_some() {
            let operations = self.database.operations_of(id, None, REFUNDS).await?;
            let pending = operations.iter().find(|it| is_running(it));
            return Ok(pending.map_or(row.payment.updated_at, |it| it.operation.created_at));
        }
        let events = self.database.events(id).await?;
        let started = events
            .iter()
            .rfind(|event| event.kind == EventKind::AttemptStarted);
        Ok(started.map_or(row.payment.created_at, |event| event.at))
    }

    /// Those of a charge that the platform lists, with ours, which are read later: whatever the platform knows of ours is
    /// here. An error says why they cannot be expressed here.
    async fn refunds(
        &self,
        books: &Patient<'_>,
        charge: &TheirCharge,
        row: Option<&StoredPayment>,
    ) -> Result<patient::Readable<Refunds>, Stopped> {
        let theirs = match books.refunds(charge).await? {
            Ok(listed) => listed,
            Err(why) => return Ok(Err(why)),
        };
        let ours = match row {
            Some(row) => {
                let refunds = Some(OperationKind::Refund);
                let id = row.payment.id;
                self.database.operations_of(id, refunds, REFUNDS).await?
            }
            None => Vec::new(),
        };
        let mut refunds = Refunds { ours, theirs };
        self.match_by_reference(books, &mut refunds).await?;
        Ok(Ok(refunds))
    }

    /// Finds our refunds that the platform does not name by the references that are stored for them. One that is not listed is
    /// asked about.
    async fn match_by_reference(
        &self,
        books: &Patient<'_>,
        refunds: &mut Refunds,
    ) -> Result<(), Stopped> {
        let Refunds { ours, theirs } = refunds;
        for refund in ours {
            let id = refund.operation.id;
            if theirs.iter().any(|it| it.operation == Some(id)) {
                continue;
            }
            let Known::As(reference) = self.references.known(&id.0.to_string()).await? else {
                continue;
            };
            let mut listed = theirs.iter_mut();
            if let Some(found) = listed.find(|it| it.reference == reference) {
                found.operation = Some(id);
            } else if let Ok(Some(mut found)) = books.refund(&reference).await? {
                found.operation = Some(id);
                theirs.push(found);
            }
        }
        Ok(())
    }
}

fn is_running(row: &StoredOperation) -> bool {
    let operation = &row.operation;
    operation.kind != OperationKind::Refund && operation.status == OperationStatus::Pending
}

/// The refunds of a charge, ours and theirs.
#[derive(Default)]
struct Refunds {
    ours: Vec<StoredOperation>,
    theirs: Vec<TheirRefund>,
}
