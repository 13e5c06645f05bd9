//! PayPal's Transaction Search: a list that is up to three hours late, of at most 31 days at once.

use std::fmt;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::amount;
use super::order::is_id;
use super::webhook::attempt_in;
use crate::domain::Currency;
use crate::processors::books::{NoBooks, Page, TheirCharge, UnreadableCharge, Wanted};
use crate::processors::notifications::Subject;

/// The longest time that can be searched at once, in seconds.
const LONGEST: i64 = 31 * 24 * 60 * 60;

/// The most that PayPal lists in one page.
const PAGE: u32 = 500;

/// PayPal finds at most 10,000 transactions at once; a list with more pages than that has no end.
const MOST_PAGES: u32 = 100;

/// RFC 3339, in whole seconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// One page of what is searched: [`Page::next`] is its text. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    from: i64,
    until: i64,
    page: u32,
    /// The last transaction of the page before, or `-`.
    last: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            until,
            page,
            last,
        } = self;
        write!(f, "{from} {until} {page} {last}")
    }
}

impl Place {
    /// Where a search goes on.
    pub(super) fn of(wanted: &Wanted, end: i64) -> Option<Self> {
        match &wanted.after {
            None => Some(Self::beginning(wanted.from.unix_timestamp(), end, LONGEST)),
            Some(text) => Self::read(text),
        }
    }

    fn beginning(from: i64, end: i64, length: i64) -> Self {
        Self {
            from,
            until: end.min(from.saturating_add(length)),
            page: 1,
            last: "-".to_owned(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [from, until, page, last] = words.as_slice() else {
            return None;
        };
        Some(Self {
            from: from.parse().ok()?,
            until: until.parse().ok()?,
            page: page.parse().ok()?,
            last: (*last).to_owned(),
        })
    }

    /// The same from its beginning, with half of the time; none if that is one second.
    pub(super) fn halved(&self) -> Option<Self> {
        let half = (self.until - self.from) / 2;
        (half > 0).then(|| Self::beginning(self.from, self.until, half))
    }

    /// The search, as the query of an address.
    pub(super) fn query(&self) -> Option<String> {
        let text = |seconds| {
            let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
            time.format(TIME).ok()
        };
        // Both ends belong to it.
        let (from, until) = (text(self.from)?, text(self.until - 1)?);
        Some(format!(
            "start_date={from}&end_date={until}&fields=transaction_info&balance_affecting_records_only=N\
             &page_size={PAGE}&page={}",
            self.page
        ))
    }

    /// The place after this one, whose list is this; none at the end.
    pub(super) fn next(&self, list: &Value, end: i64) -> Result<Option<Self>, NoBooks> {
        let pages = list["total_pages"].as_u64().unwrap_or(0);
        if u64::from(self.page) < pages {
            return self.next_page(list).map(Some);
        }
        if self.until >= end {
            return Ok(None);
        }
        let length = (self.until - self.from).saturating_mul(2).min(LONGEST);
        Ok(Some(Self::beginning(self.until, end, length)))
    }

    fn next_page(&self, list: &Value) -> Result<Self, NoBooks> {
        let last = list["transaction_details"]
            .as_array()
            .and_then(|it| it.last());
        let last = last.and_then(|it| it["transaction_info"]["transaction_id"].as_str());
        let last = last.filter(|id| is_id(id)).ok_or_else(|| {
            let why = "PayPal's list has more pages, and this one has no last transaction";
            NoBooks::Failed(why.to_owned())
        })?;
        if last == self.last || self.page >= MOST_PAGES {
            let (page, from) = (self.page, self.from);
            let why = format!("page {page} of what was charged since {from} is not the last one");
            return Err(NoBooks::Endless(why));
        }
        Ok(Self {
            page: self.page + 1,
            last: last.to_owned(),
            ..*self
        })
    }
}

/// The captures and authorizations of a list that name an attempt of this installation.
pub(super) fn page(list: &Value, installation: &str) -> Page {
    let mut page = Page::default();
    let listed = list["transaction_details"].as_array();
    for transaction in listed.into_iter().flatten() {
        let info = &transaction["transaction_info"];
        if !is_charge(info) {
            continue;
        }
        let custom = info["custom_field"].as_str().unwrap_or_default();
        match attempt_in(custom, installation) {
            Some(Subject::Attempt(key)) => match charge(info) {
                Some(charge) => page.charges.push(TheirCharge {
                    key: Some(key),
                    ..charge
                }),
                None => page.unreadable.push(UnreadableCharge {
                    reference: id(info).unwrap_or("a transaction without an id").to_owned(),
                    key: Some(key),
                    why: "its amount or id cannot be read".to_owned(),
                }),
            },
            _ => page.others += 1,
        }
    }
    page
}

/// Whether it is a payment or an authorization that was not denied: their event codes are T00nn, T1300 and T1301.
fn is_charge(info: &Value) -> bool {
    let code = info["transaction_event_code"].as_str().unwrap_or_default();
    let is_one = code.starts_with("T00") || code == "T1300" || code == "T1301";
    is_one && info["transaction_status"] != "D"
}

fn id(info: &Value) -> Option<&str> {
    info["transaction_id"].as_str().filter(|id| is_id(id))
}

/// As the list says, which is late.
fn charge(info: &Value) -> Option<TheirCharge> {
    let amount = amount::read(&info["transaction_amount"])?;
    let currency: Currency = amount.currency();
    let is_held = info["transaction_event_code"].as_str()?.starts_with("T13");
    let (held, captured) = match is_held {
        true => (amount.minor(), 0),
        false => (0, amount.minor()),
    };
    Some(TheirCharge {
        reference: id(info)?.to_owned(),
        key: None,
        currency,
        held,
        captured,
        has_refunds: false,
        is_moving: info["transaction_status"] == "P",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    fn wanted(after: Option<String>) -> Wanted {
        Wanted {
            from: OffsetDateTime::from_unix_timestamp(0).unwrap(),
            until: None,
            after,
        }
    }

    fn pages(number: u64, last: &str) -> Value {
        let transaction = json!({"transaction_info": {"transaction_id": last}});
        json!({"total_pages": number, "transaction_details": [transaction]})
    }

    #[test]
    fn a_long_time_is_searched_in_parts_without_a_gap() {
        let end = 70 * DAY;
        let mut place = Place::of(&wanted(None), end).unwrap();
        let mut reached = 0;
        let mut searches = 0;
        loop {
            assert_eq!(place.from, reached);
            assert!(place.until - place.from <= LONGEST);
            reached = place.until;
            searches += 1;
            let Some(next) = place.next(&json!({}), end).unwrap() else {
                break;
            };
            place = Place::of(&wanted(Some(next.to_string())), end).unwrap();
            assert_eq!(place, next);
        }
        assert_eq!((reached, searches), (end, 3));
    }

    #[test]
    fn a_search_that_finds_too_much_is_halved_until_it_fits() {
        let place = Place::of(&wanted(None), 31 * DAY).unwrap();
        let half = place.halved().unwrap();
        assert_eq!((half.from, half.until), (0, 31 * DAY / 2));
        // Afterwards it grows again.
        let next = half.next(&json!({}), 31 * DAY).unwrap().unwrap();
        assert_eq!((next.from, next.until), (31 * DAY / 2, 31 * DAY));
        let mut shortest = half;
        while let Some(shorter) = shortest.halved() {
            shortest = shorter;
        }
        assert_eq!(shortest.until, 1);
        let query = shortest.query().unwrap();
        let second = "start_date=1970-01-01T00:00:00Z&end_date=1970-01-01T00:00:00Z&";
        assert!(query.starts_with(second), "{query}");
    }

    #[test]
    fn pages_without_an_end_are_noticed() {
        let mut place = Place::of(&wanted(None), DAY).unwrap();
        place = place.next(&pages(3, "1C"), DAY).unwrap().unwrap();
        assert_eq!((place.page, place.last.as_str()), (2, "1C"));
        let repeated = place.next(&pages(3, "1C"), DAY);
        assert!(matches!(repeated, Err(NoBooks::Endless(_))), "{repeated:?}");
        let empty = place.next(&json!({"total_pages": 3, "transaction_details": []}), DAY);
        assert!(matches!(empty, Err(NoBooks::Failed(_))), "{empty:?}");
        for number in 2.. {
            match place.next(&pages(u64::MAX, &format!("{number}C")), DAY) {
                Ok(next) => place = next.unwrap(),
                Err(error) => {
                    assert!(matches!(error, NoBooks::Endless(_)), "{error}");
                    assert_eq!(number, MOST_PAGES);
                    break;
                }
            }
        }
    }

    #[test]
    fn only_charges_of_this_installation_count() {
        let of = |code: &str, custom: &str, status: &str| {
            let amount = json!({"currency_code": "CAD", "value": "20.00"});
            json!({"transaction_info": {
                "transaction_id": "3C6", "transaction_event_code": code, "custom_field": custom,
                "transaction_status": status, "transaction_amount": amount,
            }})
        };
        let list = json!({"transaction_details": [
            of("T0006", "ours-7-2", "S"), of("T1300", "ours-8-1", "P"), of("T0006", "theirs-7-2", "S"),
            of("T0006", "", "S"), of("T1107", "ours-7-2", "S"), of("T0006", "ours-9-1", "D"),
            {"transaction_info": {"transaction_event_code": "T0006", "custom_field": "ours-10-1"}}, {},
        ]});
        let page = page(&list, "ours");
        let read: Vec<_> = page
            .charges
            .iter()
            .map(|it| (it.captured, it.held, it.is_moving))
            .collect();
        assert_eq!(read, [(2000, 0, false), (0, 2000, true)]);
        assert_eq!((page.others, page.unreadable.len()), (2, 1));
    }
}
