//! The list of payments, and the search in it.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::Admin;
use super::shell::{self, Shell, Visitor, soon};
use super::timeline::{moment, status_word};
use crate::domain::{ClientName, OrderId, PaymentId, PaymentStatus, Timestamp, UserId};
use crate::http::page::{Language, amount};
use crate::http::problem::{Kind, Problem};
use crate::payments::{needs_person, story};
use crate::store::rows::{PaymentSearch, StoredPayment};
use crate::store::{FoundPayments, MOST_READ, RowSetAside, StoreError};

/// Payments on one page.
const ON_A_PAGE: u32 = 50;

/// The longest text in a field of the search, in bytes: longer than any number or name.
const LONGEST_FIELD: usize = 64;

/// The fields of the search, as they were typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    payment: String,
    order: String,
    user: String,
    client: String,
    status: String,
    /// Only payments created before this minute, in UTC: `2026-11-26T12:30`, as browsers send it.
    until: String,
    /// `person`: only payments that need a person.
    needs: String,
    /// Where the page begins.
    before: String,
}

/// A search that can be run; or the names of the fields that cannot be read.
struct Read {
    payment: Option<PaymentId>,
    /// Only payments created before that time.
    until: Option<Timestamp>,
    /// Only payments that need a person.
    needs_person: bool,
    search: PaymentSearch,
}

impl Fields {
    fn read(&self) -> Result<Read, Vec<&'static str>> {
        let mut faults = Vec::new();
        let mut number = |name, text: &str| -> Option<i64> {
            let text = checked(name, text, &mut faults)?;
            let read = text.parse().ok().filter(|number| *number >= 0);
            if read.is_none() {
                faults.push(name);
            }
            read
        };
        let payment = number("payment", &self.payment).map(PaymentId);
        let order_id = number("order", &self.order).map(OrderId);
        let user_id = number("user", &self.user).map(UserId);
        let client = checked("client", &self.client, &mut faults).and_then(|text| {
            let client = ClientName::parse(text).ok();
            if client.is_none() {
                faults.push("client");
            }
            client
        });
        let status = checked("status", &self.status, &mut faults).and_then(|text| {
            let status = PaymentStatus::parse(text);
            if status.is_none() {
                faults.push("status");
            }
            status
        });
        let until = checked("until", &self.until, &mut faults).and_then(|text| {
            let until = minute(text);
            if until.is_none() {
                faults.push("until");
            }
            until
        });
        let before = checked("before", &self.before, &mut faults).and_then(|text| {
            let position = position(text);
            if position.is_none() {
                faults.push("before");
            }
            position
        });
        let needs_person = match self.needs.as_str() {
            "" => false,
            "person" => true,
            _ => {
                faults.push("needs");
                false
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Read {
            payment,
            until,
            needs_person,
            search: PaymentSearch {
                client,
                order_id,
                user_id,
                status,
                before,
                limit: ON_A_PAGE,
            },
        })
    }

    /// The address of the rest of the list.
    fn rest(&self, from: (Timestamp, PaymentId)) -> String {
        let micros = from.0.unix_timestamp_nanos() / 1000;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("order", &self.order),
            ("user", &self.user),
            ("client", &self.client),
            ("status", &self.status),
            ("until", &self.until),
            ("needs", &self.needs),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("before", &format!("{micros}-{}", from.1.0));
        format!("/payments?{}", query.finish())
    }
}

/// The trimmed text of a field; none if it is empty, or too long, which is a fault.
fn checked<'t>(
    name: &'static str,
    text: &'t str,
    faults: &mut Vec<&'static str>,
) -> Option<&'t str> {
    let text = text.trim();
    if text.len() > LONGEST_FIELD {
        faults.push(name);
        return None;
    }
    (!text.is_empty()).then_some(text)
}

/// A minute in UTC, as `<input type="datetime-local">` writes it.
fn minute(text: &str) -> Option<Timestamp> {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]");
    let minute = PrimitiveDateTime::parse(text, form).ok()?;
    Some(minute.assume_utc())
}

/// The search, beginning at the last payment before the wanted time. Without a client the list is in the order of the ids,
/// which is nearly that of the times: what was created later all the same is left out by [`is_wanted`].
async fn beginning_at(admin: &Admin, read: &Read) -> Result<PaymentSearch, StoreError> {
    let mut search = read.search.clone();
    if let (Some(until), None) = (read.until, search.before) {
        let id = match search.client {
            Some(_) => PaymentId(0),
            None => admin.database.first_payment_since(until).await?,
        };
        search.before = Some((until, id));
    }
    Ok(search)
}

/// The payments that are searched for, and the search.
async fn found(admin: &Admin, read: &Read) -> Result<(FoundPayments, PaymentSearch), StoreError> {
    let search = beginning_at(admin, read).await?;
    if read.needs_person {
        return Ok((in_need(admin, &read.search).await?, search));
    }
    Ok((admin.database.search_payments(&search).await?, search))
}

/// Those that need a person, the newest first, all on one page.
async fn in_need(admin: &Admin, search: &PaymentSearch) -> Result<FoundPayments, StoreError> {
    let cases = needs_person::by_payment(&admin.database, &admin.processors).await?;
    let ids: Vec<PaymentId> = cases.into_keys().collect();
    let mut payments = admin.database.payments_by_id(&ids).await?;
    payments.retain(|row| {
        let payment = &row.payment;
        let fits = |wanted: Option<bool>| wanted.unwrap_or(true);
        fits(search.client.as_ref().map(|it| *it == payment.client))
            && fits(search.order_id.map(|it| it == payment.order_id))
            && fits(search.user_id.map(|it| it == payment.user_id))
            && fits(search.status.map(|it| it == payment.status))
    });
    payments.sort_by_key(|row| std::cmp::Reverse(row.payment.id));
    Ok(FoundPayments {
        payments,
        left_out: Vec::new(),
        stopped_at: None,
    })
}

/// Whether a payment is one of the wanted time.
fn is_wanted(row: &StoredPayment, until: Option<Timestamp>) -> bool {
    until.is_none_or(|until| row.payment.created_at < until)
}

/// A position in the list: microseconds since 1970 and a payment's id.
fn position(text: &str) -> Option<(Timestamp, PaymentId)> {
    let (micros, id) = text.split_once('-')?;
    let nanos = micros.parse::<i64>().ok().map(i128::from)? * 1000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some((moment, PaymentId(id.parse().ok()?)))
}

#[derive(Template)]
#[template(path = "admin/payments.html")]
struct ListPage {
    shell: Shell,
    fields: Fields,
    /// The names of fields that cannot be read.
    faults: Vec<&'static str>,
    statuses: Vec<(&'static str, &'static str)>,
    rows: Vec<Row>,
    set_aside: Vec<RowSetAside>,
    /// The address of the rest.
    rest: Option<String>,
    /// How many rows were read before the search stopped, if it did.
    stopped_after: Option<u32>,
    is_filtered: bool,
}

/// A payment in the list.
struct Row {
    id: i64,
    client: String,
    order: i64,
    user: i64,
    amount: String,
    status: &'static str,
    word: &'static str,
    code: String,
    created: String,
}

impl Row {
    fn of(row: &StoredPayment, l: Language) -> Self {
        let payment = &row.payment;
        let code = payment.decline_code.as_ref();
        Self {
            id: payment.id.0,
            client: payment.client.to_string(),
            order: payment.order_id.0,
            user: payment.user_id.0,
            amount: amount(payment.amount, l),
            status: payment.status.as_str(),
            word: status_word(payment.status, l),
            code: code.map(ToString::to_string).unwrap_or_default(),
            created: moment(payment.created_at),
        }
    }
}

impl ListPage {
    fn new(admin: &Admin, visitor: &Visitor, fields: Fields) -> Self {
        let l = visitor.language;
        let status = |status: PaymentStatus| (status.as_str(), status_word(status, l));
        let filters = [
            &fields.order,
            &fields.user,
            &fields.client,
            &fields.status,
            &fields.until,
            &fields.needs,
        ];
        let is_filtered = filters.iter().any(|text| !text.trim().is_empty());
        let is_first = fields.before.is_empty() && fields.until.is_empty();
        let shell = Shell::new(admin, visitor, "/payments");
        Self {
            // Older pages do not change by themselves.
            shell: if is_first { shell.renewed(2000) } else { shell },
            fields,
            faults: Vec::new(),
            statuses: PaymentStatus::ALL.map(status).to_vec(),
            rows: Vec::new(),
            set_aside: Vec::new(),
            rest: None,
            stopped_after: None,
            is_filtered,
        }
    }

    fn with(mut self, found: &FoundPayments, search: &PaymentSearch, read: &Read) -> Self {
        let l = self.shell.l;
        let wanted = found.payments.iter();
        let wanted = wanted.filter(|row| is_wanted(row, read.until));
        self.rows = wanted.map(|row| Row::of(row, l)).collect();
        self.set_aside = found.left_out.iter().map(Into::into).collect();
        let rest = rest(found, search).filter(|_| !read.needs_person);
        self.rest = rest.map(|from| self.fields.rest(from));
        self.stopped_after = found.stopped_at.map(|_| MOST_READ);
        self
    }
}

/// Where the rest of the list begins, if there may be any.
fn rest(found: &FoundPayments, search: &PaymentSearch) -> Option<(Timestamp, PaymentId)> {
    let shown = found.payments.len() + found.left_out.len();
    if found.stopped_at.is_some() || shown < search.limit as usize {
        return found.stopped_at;
    }
    let payments = found.payments.iter().map(|row| &row.payment);
    let payments = payments.map(|payment| (payment.created_at, payment.id));
    let set_aside = found.left_out.iter().filter_map(|row| {
        let created_at = row.created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Some((created_at, row.payment()?.payment))
    });
    let positions = payments.chain(set_aside);
    if search.client.is_none() {
        positions.min_by_key(|(_, id)| *id)
    } else {
        positions.min()
    }
}

/// The page.
pub async fn page(
    State(admin): State<Arc<Admin>>,
    visitor: Visitor,
    fields: Result<Query<Fields>, QueryRejection>,
) -> Response {
    let Ok(Query(fields)) = fields else {
        return unreadable().into_response();
    };
    let read = match fields.read() {
        Ok(read) => read,
        Err(faults) => {
            let page = ListPage {
                faults,
                ..ListPage::new(&admin, &visitor, fields)
            };
            return shell::html(StatusCode::BAD_REQUEST, &page);
        }
    };
    if let Some(PaymentId(id)) = read.payment {
        return Redirect::to(&format!("/payments/{id}")).into_response();
    }
    match soon(found(&admin, &read)).await {
        Ok((found, search)) => {
            let page = ListPage::new(&admin, &visitor, fields);
            let page = page.with(&found, &search, &read);
            shell::html(StatusCode::OK, &page)
        }
        Err(away) => away.page(&admin, &visitor, "/payments"),
    }
}

/// The same list.
pub async fn json(
    State(admin): State<Arc<Admin>>,
    fields: Result<Query<Fields>, QueryRejection>,
) -> Response {
    let Ok(Query(fields)) = fields else {
        return unreadable().into_response();
    };
    let Ok(mut read) = fields.read() else {
        return unreadable().into_response();
    };
    if let Some(PaymentId(id)) = read.payment {
        // The list from this id on, which begins with it.
        read.search.before = Some((OffsetDateTime::UNIX_EPOCH, PaymentId(id.saturating_add(1))));
        read.search.client = None;
        read.search.limit = 1;
    }
    match soon(found(&admin, &read)).await {
        Ok((found, search)) => {
            let is_it = |id: i64| read.payment.is_none_or(|wanted| wanted.0 == id);
            let payments = found.payments.iter();
            let payments =
                payments.filter(|row| is_it(row.payment.id.0) && is_wanted(row, read.until));
            let set_aside = found.left_out.iter().map(RowSetAside::from);
            let set_aside = set_aside.filter(|row| row.payment_id.is_none_or(is_it));
            let set_aside: Vec<RowSetAside> = set_aside.collect();
            let is_list = read.payment.is_none() && !read.needs_person;
            let next = rest(&found, &search).filter(|_| is_list);
            Json(json!({
                "payments": payments.map(story::payment).collect::<Vec<Value>>(),
                "set_aside": set_aside,
                "searched_all": found.stopped_at.is_none(),
                "next": next.map(|from| fields.rest(from)),
            }))
            .into_response()
        }
        Err(away) => away.json(),
    }
}

fn unreadable() -> Problem {
    let sentence = "The search cannot be read: payment, order and user are whole numbers, client is a name, status a \
                    status, until a minute such as 2026-11-26T12:30, and needs is person.";
    Problem::new(Kind::BadRequest, sentence)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_search_is_read_and_its_faults_are_named() {
        let fields = Fields {
            order: " 7 ".to_owned(),
            client: "shop".to_owned(),
            status: "declined".to_owned(),
            until: "2026-11-26T12:30".to_owned(),
            ..Fields::default()
        };
        let read = fields.read().unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(read.search.order_id, Some(OrderId(7)));
        assert_eq!(read.search.status, Some(PaymentStatus::Declined));
        assert_eq!(read.until, Some(datetime!(2026-11-26 12:30 UTC)));
        let wrong = Fields {
            payment: "-1".to_owned(),
            order: "x".to_owned(),
            user: "9".repeat(LONGEST_FIELD + 1),
            client: "A b".to_owned(),
            status: "paid".to_owned(),
            until: "yesterday".to_owned(),
            needs: "rest".to_owned(),
            before: "1".to_owned(),
        };
        let faults = wrong.read().map(|_| ()).unwrap_err();
        let expected = [
            "payment", "order", "user", "client", "status", "until", "before", "needs",
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn the_address_of_the_rest_is_read_back() {
        let from = (
            OffsetDateTime::from_unix_timestamp_nanos(1_800_000_000_123_456_000).expect("a time"),
            PaymentId(41),
        );
        let fields = Fields {
            status: "failed".to_owned(),
            ..Fields::default()
        };
        let rest = fields.rest(from);
        assert_eq!(rest, "/payments?status=failed&before=1800000000123456-41");
        assert_eq!(position("1800000000123456-41"), Some(from));
        for wrong in ["", "-", "1-", "-1", "1-x", "99999999999999999999-1"] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }
}
