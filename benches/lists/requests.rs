//! The lists, with the requests that read them.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::fill::CLIENTS;
use crate::sample::{Sampled, random};

/// How long the service shows a reading of the dead letters again.
const DEAD_LETTERS_SHOWN: Duration = Duration::from_millis(3100);

/// Requests for dead letters at most, as each has to wait.
const MOST_FOR_DEAD_LETTERS: u64 = 60;

/// Statuses that many payments have.
const MANY: [&str; 5] = [
    "succeeded",
    "declined",
    "failed",
    "canceled",
    "requires_payment_method",
];

/// Those of payments that are under way, which are few.
const FEW: [&str; 3] = ["processing", "requires_action", "requires_capture"];

/// One list, asked for in one way.
pub struct List {
    pub name: &'static str,
    pub filter: &'static str,
    /// The first ones only warm up.
    pub requests: Vec<Request>,
    /// Before each request.
    pub pause: Duration,
}

impl List {
    /// Whether its name or filter has one of these words (`BENCH_LISTS`, separated by commas), or there are none.
    pub fn has_one_of(&self, words: &str) -> bool {
        let said = format!("{} {}", self.name, self.filter).to_lowercase();
        words
            .split(',')
            .any(|word| said.contains(&word.trim().to_lowercase()))
    }
}

/// What is requested, and as whom.
pub enum Request {
    /// At the REST interface, with the key of this client.
    Client(String, String),
    /// At the operators' page.
    Operator(String),
}

/// All lists, each with so many requests.
pub fn all(sample: &[Sampled], requests: u64) -> Vec<List> {
    let lists = Lists { sample, requests };
    let mut all = lists.of_clients();
    all.extend(lists.of_a_payment());
    all.extend(lists.of_operators());
    all.extend(lists.of_operators_with_a_client());
    all.push(lists.of_dead_letters());
    all
}

struct Lists<'a> {
    sample: &'a [Sampled],
    requests: u64,
}

impl Lists<'_> {
    /// The payment that the request of this number is about.
    fn payment(&self, number: u64) -> &Sampled {
        &self.sample[number as usize % self.sample.len()]
    }

    /// Requests of the clients that the payments belong to.
    fn owner(&self, filter: &'static str, path: impl Fn(u64, &Sampled) -> String) -> List {
        self.list("GET /payments", filter, |number, payment| {
            Request::Client(payment.client.clone(), path(number, payment))
        })
    }

    /// Requests of every client in turn, however few payments it has.
    fn client(&self, filter: &'static str, path: impl Fn(u64, &Sampled) -> String) -> List {
        self.list("GET /payments", filter, |number, payment| {
            Request::Client(client(number).to_owned(), path(number, payment))
        })
    }

    fn operator(&self, filter: &'static str, path: impl Fn(u64, &Sampled) -> String) -> List {
        self.list("operators: payments", filter, |number, payment| {
            Request::Operator(path(number, payment))
        })
    }

    fn list(
        &self,
        name: &'static str,
        filter: &'static str,
        request: impl Fn(u64, &Sampled) -> Request,
    ) -> List {
        let requests = (0..self.requests).map(|number| request(number, self.payment(number)));
        List {
            name,
            filter,
            requests: requests.collect(),
            pause: Duration::ZERO,
        }
    }

    fn of_clients(&self) -> Vec<List> {
        vec![
            self.client("none", |_, _| "/payments".to_owned()),
            self.client("100 on a page", |_, _| "/payments?limit=100".to_owned()),
            self.client("status, many", |number, _| {
                format!("/payments?status={}", many(number))
            }),
            self.client("status, few", |number, _| {
                format!("/payments?status={}", few(number))
            }),
            self.owner("order", |_, it| format!("/payments?order_id={}", it.order)),
            self.owner("shopper", |_, it| format!("/payments?user_id={}", it.user)),
            self.owner("shopper, status", |number, it| {
                format!("/payments?user_id={}&status={}", it.user, many(number))
            }),
            self.owner("order, shopper", |_, it| {
                format!("/payments?order_id={}&user_id={}", it.order, it.user)
            }),
            self.client("far back", |_, it| {
                format!("/payments?cursor={}", cursor(it))
            }),
            self.client("far back, status, many", |number, it| {
                format!("/payments?status={}&cursor={}", many(number), cursor(it))
            }),
            self.client("far back, status, few", |number, it| {
                format!("/payments?status={}&cursor={}", few(number), cursor(it))
            }),
        ]
    }

    fn of_a_payment(&self) -> Vec<List> {
        vec![
            List {
                name: "GET /payments/{id}/events",
                ..self.owner("", |_, it| format!("/payments/{}/events", it.id))
            },
            List {
                name: "GET /payments/{id}/refunds",
                ..self.owner("", |_, it| format!("/payments/{}/refunds", it.id))
            },
            List {
                name: "operators: timeline",
                ..self.operator("", |_, it| format!("/payments/{}", it.id))
            },
        ]
    }

    fn of_operators(&self) -> Vec<List> {
        vec![
            self.operator("none", |_, _| "/payments".to_owned()),
            self.operator("payment", |_, it| {
                format!("/api/payments?payment={}", it.id)
            }),
            self.operator("order", |_, it| format!("/payments?order={}", it.order)),
            self.operator("shopper", |_, it| format!("/payments?user={}", it.user)),
            self.operator("status, many", |number, _| {
                format!("/payments?status={}", many(number))
            }),
            self.operator("status, few", |number, _| {
                format!("/payments?status={}", few(number))
            }),
            self.operator("far back", |_, it| {
                format!("/payments?before={}", place(it))
            }),
            self.operator("until", |_, it| format!("/payments?until={}", minute(it))),
            self.operator("until, order", |_, it| {
                format!("/payments?until={}&order={}", minute(it), it.order)
            }),
            self.operator("until, status, many", |number, it| {
                format!("/payments?until={}&status={}", minute(it), many(number))
            }),
            self.operator("until, status, few", |number, it| {
                format!("/payments?until={}&status={}", minute(it), few(number))
            }),
        ]
    }

    fn of_operators_with_a_client(&self) -> Vec<List> {
        let of = |number: u64| format!("/payments?client={}", client(number));
        vec![
            self.operator("client", |number, _| of(number)),
            self.operator("client, order", |_, it| {
                format!("/payments?client={}&order={}", it.client, it.order)
            }),
            self.operator("client, shopper", |_, it| {
                format!("/payments?client={}&user={}", it.client, it.user)
            }),
            self.operator("client, status, many", |number, _| {
                format!("{}&status={}", of(number), many(number))
            }),
            self.operator("client, status, few", |number, _| {
                format!("{}&status={}", of(number), few(number))
            }),
            self.operator("client, far back", |number, it| {
                format!("{}&before={}", of(number), place(it))
            }),
            self.operator("client, until", |number, it| {
                format!("{}&until={}", of(number), minute(it))
            }),
            self.operator("client, until, status, few", |number, it| {
                format!("{}&until={}&status={}", of(number), minute(it), few(number))
            }),
        ]
    }

    fn of_dead_letters(&self) -> List {
        let lists = Lists {
            sample: self.sample,
            requests: self.requests.min(MOST_FOR_DEAD_LETTERS),
        };
        List {
            name: "operators: dead letters",
            pause: DEAD_LETTERS_SHOWN,
            ..lists.operator("", |_, _| "/dead-letters".to_owned())
        }
    }
}

/// Every client in turn.
fn client(number: u64) -> &'static str {
    CLIENTS[number as usize % CLIENTS.len()].0
}

/// A status that many payments have.
fn many(number: u64) -> &'static str {
    MANY[random(number) as usize % MANY.len()]
}

/// A status that few payments have.
fn few(number: u64) -> &'static str {
    FEW[random(number) as usize % FEW.len()]
}

/// Where the page after this payment begins.
fn place(payment: &Sampled) -> String {
    format!("{}-{}", payment.created_micros, payment.id)
}

/// The `next_cursor` of a page that ends with this payment.
fn cursor(payment: &Sampled) -> String {
    format!("{:016x}{:016x}", payment.created_micros, payment.id)
}

/// The minute in which it was created, as browsers send it.
fn minute(payment: &Sampled) -> String {
    let nanos = i128::from(payment.created_micros) * 1000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("a time");
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]");
    at.format(form).expect("a minute")
}
