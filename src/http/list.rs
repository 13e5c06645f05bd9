//! `GET /payments`: a client's payments, newest first, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use super::Api;
use super::auth::Caller;
use super::problem::{Kind, Problem};
use crate::domain::{ClientName, OrderId, Payment, PaymentId, PaymentStatus, Timestamp, UserId};
use crate::store::rows::PaymentFilter;
use crate::wire::did_you_mean;
use crate::wire::fields::{Faults, FieldError, Object, shown};
use crate::wire::payment::PaymentObject;

const PARAMETERS: [&str; 5] = ["order_id", "user_id", "status", "limit", "cursor"];
pub const DEFAULT_LIMIT: u32 = 20;
pub const MAX_LIMIT: u32 = 100;

/// One page.
#[derive(Serialize, JsonSchema)]
pub struct Page {
    /// Newest first.
    data: Vec<PaymentObject>,
    /// Send it as `cursor` to get the next page; null on the last one.
    next_cursor: Option<String>,
}

/// A page of the caller's payments.
pub async fn list(
    State(api): State<Arc<Api>>,
    Caller(client, _turn): Caller,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(query) =
        query.map_err(|_| Problem::new(Kind::BadRequest, "The query cannot be read."))?;
    let mut filter =
        parse(client, &query).map_err(|faults| Problem::with_errors(Kind::BadRequest, faults))?;
    let limit = filter.limit as usize;
    // One payment more than the page shows whether another page follows.
    filter.limit += 1;
    let mut payments = api.queries.payments(&filter).await?;
    let more = payments.len() > limit;
    payments.truncate(limit);
    let next_cursor = payments.last().filter(|_| more).map(cursor);
    let data = payments.iter().map(PaymentObject::from).collect();
    Ok(Json(Page { data, next_cursor }))
}

fn parse(client: ClientName, query: &[(String, String)]) -> Result<PaymentFilter, Vec<FieldError>> {
    let mut faults = Faults::default();
    let mut filter = PaymentFilter {
        client,
        order_id: None,
        user_id: None,
        status: None,
        before: None,
        limit: DEFAULT_LIMIT,
    };
    for (place, (name, value)) in query.iter().enumerate() {
        if query[..place].iter().any(|(earlier, _)| earlier == name) {
            faults.add(shown(name), "repeated", "must be given once");
            continue;
        }
        match name.as_str() {
            "order_id" => filter.order_id = number(name, value, &mut faults).map(OrderId),
            "user_id" => filter.user_id = number(name, value, &mut faults).map(UserId),
            "status" => filter.status = status(value, &mut faults),
            "limit" => filter.limit = limit(value, &mut faults).unwrap_or(DEFAULT_LIMIT),
            "cursor" => filter.before = position(value, &mut faults),
            _ => unknown(name, &mut faults),
        }
    }
    faults.settle(Some(filter))
}

fn number(name: &str, value: &str, faults: &mut Faults) -> Option<i64> {
    let number = value.parse().ok();
    let number = number.filter(|number| (1..=Object::MAX_INTEGER).contains(number));
    if number.is_none() {
        let message = "must be a whole number of at least 1";
        faults.add(name.to_owned(), "invalid_number", message);
    }
    number
}

fn status(value: &str, faults: &mut Faults) -> Option<PaymentStatus> {
    let status = PaymentStatus::parse(value);
    if status.is_none() {
        let known = PaymentStatus::ALL.map(PaymentStatus::as_str).join(", ");
        let message = format!("must be one of {known}");
        faults.add("status".to_owned(), "unknown_status", message);
    }
    status
}

fn limit(value: &str, faults: &mut Faults) -> Option<u32> {
    let limit = value.parse().ok();
    let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
    if limit.is_none() {
        let message = format!("must be a whole number from 1 to {MAX_LIMIT}");
        faults.add("limit".to_owned(), "invalid_limit", message);
    }
    limit
}

fn unknown(name: &str, faults: &mut Faults) {
    let hint = match did_you_mean::closest(name, PARAMETERS.into_iter()) {
        Some(meant) => format!("is not a known parameter: use {meant}"),
        None => format!(
            "is not a known parameter: use only {}",
            PARAMETERS.join(", ")
        ),
    };
    faults.add(shown(name), "unknown_parameter", hint);
}

/// The position after a payment: its time in microseconds and its id, in hexadecimal. Opaque to callers.
fn cursor(payment: &Payment) -> String {
    let micros = payment.created_at.unix_timestamp_nanos() / 1000;
    format!("{micros:016x}{:016x}", payment.id.0)
}

fn position(cursor: &str, faults: &mut Faults) -> Option<(Timestamp, PaymentId)> {
    let read = |part: &str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| i64::from_str_radix(part, 16).ok()).flatten()
    };
    let position = (cursor.len() == 32)
        .then(|| cursor.split_at_checked(16))
        .flatten()
        .and_then(|(micros, id)| {
            let nanos = i128::from(read(micros)?) * 1000;
            let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
            Some((moment, PaymentId(read(id)?)))
        });
    if position.is_none() {
        let message = "is not a valid cursor: send next_cursor of the previous page, unchanged";
        faults.add("cursor".to_owned(), "invalid_cursor", message);
    }
    position
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;
    use crate::domain::{Currency, Metadata, Money};

    fn read(query: &[(&str, &str)]) -> Result<PaymentFilter, Vec<(String, &'static str)>> {
        let query: Vec<(String, String)> = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let client = ClientName::parse("default").expect("a name");
        parse(client, &query).map_err(|faults| {
            let fault = |fault: FieldError| (fault.field, fault.code);
            faults.into_iter().map(fault).collect()
        })
    }

    #[test]
    fn a_query_becomes_a_filter() {
        let filter = read(&[]).expect("a filter");
        assert_eq!((filter.limit, filter.before), (20, None));
        let filter = read(&[("order_id", "7"), ("status", "declined"), ("limit", "100")]);
        let filter = filter.expect("a filter");
        assert_eq!(filter.order_id, Some(OrderId(7)));
        assert_eq!(filter.status, Some(PaymentStatus::Declined));
        assert_eq!(filter.limit, 100);
    }

    #[test]
    fn every_error_in_a_query_is_listed() {
        let faults = read(&[
            ("order_id", "0"),
            ("user_id", "x"),
            ("status", "paid"),
            ("limit", "101"),
            ("cursor", "12"),
            ("cursor", "13"),
            ("order", "1"),
        ]);
        let expected = [
            ("order_id", "invalid_number"),
            ("user_id", "invalid_number"),
            ("status", "unknown_status"),
            ("limit", "invalid_limit"),
            ("cursor", "invalid_cursor"),
            ("cursor", "repeated"),
            ("order", "unknown_parameter"),
        ];
        let expected = expected.map(|(field, code)| (field.to_owned(), code));
        assert_eq!(faults, Err(expected.to_vec()));
    }

    #[test]
    fn a_cursor_round_trips() {
        let payment = Payment {
            id: PaymentId(2_147_483_647),
            client: ClientName::parse("default").expect("a name"),
            order_id: OrderId(1),
            user_id: UserId(1),
            amount: Money::from_minor(1, Currency::parse("CAD").expect("CAD")).expect("an amount"),
            status: PaymentStatus::Processing,
            decline_code: None,
            authorization_code: None,
            method: None,
            attempt: 0,
            metadata: Metadata::default(),
            action: None,
            return_url: None,
            funds: crate::domain::Funds::default(),
            disputes: Vec::new(),
            sequence: 1,
            created_at: datetime!(2026-11-01 10:00:00.123456 UTC),
            updated_at: datetime!(2026-11-01 10:00:00.123456 UTC),
        };
        let filter = read(&[("cursor", &cursor(&payment))]).expect("a filter");
        assert_eq!(filter.before, Some((payment.created_at, payment.id)));
    }

    proptest! {
        #[test]
        fn parsing_a_cursor_never_panics(cursor in "[0-9a-f+-]{32}|.{0,40}") {
            let _ = read(&[("cursor", &cursor)]);
        }
    }
}
