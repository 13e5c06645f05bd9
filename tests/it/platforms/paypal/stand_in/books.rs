//! What somebody does at PayPal without us, the search of transactions, and disputes.

use std::collections::HashMap;

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{Account, Order, Pays, Reply, StandIn, error, listed, payment_of};

/// How transactions are found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search {
    /// All transactions are this old.
    pub age: Duration,
    /// The app may not search.
    pub forbidden: bool,
    /// The most that is found at once; no limit if zero.
    pub most: usize,
    /// The most in one page; what is asked for if zero.
    pub page: usize,
    /// The first page is listed again and again.
    pub endless: bool,
}

impl StandIn {
    /// From now on transactions are found like this.
    pub fn search(&self, search: Search) {
        let mut account = self.account();
        account.search = search;
        account.made = Some(OffsetDateTime::now_utc() - search.age);
    }

    /// A charge with this custom id, without any request of ours. Returns its transaction.
    pub fn charge_of(&self, custom_id: &str) -> String {
        let mut account = self.account();
        account.created += 1;
        let (order, capture) = (
            format!("{:06}X", account.created),
            format!("{:06}C", account.created),
        );
        let amount = json!({"currency_code": "CAD", "value": "20.00"});
        let payment = json!({"id": capture, "status": "COMPLETED", "amount": amount, "custom_id": custom_id, "invoice_id": order});
        let body = json!({
            "id": order, "intent": "CAPTURE", "status": "COMPLETED", "links": [], "purchase_units": [{
                "custom_id": custom_id, "amount": amount,
                "payments": {"captures": [payment], "authorizations": [], "refunds": []},
            }],
        });
        let pays = Pays::Well;
        account.orders.insert(order, Order { body, pays });
        capture
    }

    /// Somebody changes the captures, authorizations or refunds of a payment's orders.
    pub fn change(&self, payment: i64, list: &str, change: impl Fn(&mut Value)) {
        let mut account = self.account();
        let orders = account.orders.values_mut().map(|order| &mut order.body);
        for order in orders.filter(|order| payment_of(order) == payment) {
            listed(order, list).for_each(&change);
        }
    }

    /// The orders of a payment are gone, with all that they have charged.
    pub fn forget(&self, payment: i64) {
        let mut account = self.account();
        account
            .orders
            .retain(|_, order| payment_of(&order.body) != payment);
    }

    /// The refunds of a payment are gone.
    pub fn forget_refunds(&self, payment: i64) {
        let mut account = self.account();
        for order in account.orders.values_mut() {
            if payment_of(&order.body) == payment {
                order.body["purchase_units"][0]["payments"]["refunds"] = json!([]);
            }
        }
    }

    /// The shopper disputes a charge.
    pub fn disputes(&self, transaction: &str) -> Value {
        let mut account = self.account();
        let id = format!("PP-D-{}", account.disputes.len() + 1);
        let dispute = json!({
            "dispute_id": id, "reason": "UNAUTHORISED", "status": "OPEN",
            "disputed_transactions": [{"buyer_transaction_id": "1B", "seller_transaction_id": transaction}],
        });
        account.disputes.insert(id, dispute.clone());
        dispute
    }

    /// A dispute changes.
    pub fn change_dispute(&self, dispute: &Value, status: &str, outcome: &str) -> Value {
        let mut account = self.account();
        let id = dispute["dispute_id"].as_str().unwrap();
        let dispute = account.disputes.get_mut(id).unwrap();
        dispute["status"] = json!(status);
        dispute["dispute_outcome"] = json!({"outcome_code": outcome});
        dispute.clone()
    }
}

impl Account {
    pub(super) fn dispute(&self, id: &str) -> Reply {
        let found = self.disputes.get(id);
        found.map_or_else(
            || error(404, "RESOURCE_NOT_FOUND"),
            |dispute| (200, dispute.clone()),
        )
    }

    pub(super) fn transactions(&self, query: &str) -> Reply {
        let search = self.search;
        if search.forbidden {
            return (
                403,
                json!({"name": "NOT_AUTHORIZED", "message": "Insufficient permissions."}),
            );
        }
        let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let time = |name: &str| OffsetDateTime::parse(&query[name], &Rfc3339).unwrap();
        let (from, until) = (time("start_date"), time("end_date"));
        let number = |name: &str| query[name].parse::<usize>().unwrap();
        let (page, size) = (number("page"), number("page_size"));
        if until - from > Duration::days(31) || page == 0 || size > 500 {
            return (
                400,
                json!({"name": "INVALID_REQUEST", "message": "Check the request."}),
            );
        }
        let made = self.made.unwrap_or_else(OffsetDateTime::now_utc);
        let made = made.replace_nanosecond(0).unwrap();
        let found = match from <= made && made <= until {
            true => self.all_transactions(),
            false => Vec::new(),
        };
        if search.most > 0 && found.len() > search.most && until > from {
            return (
                400,
                json!({"name": "RESULTSET_TOO_LARGE", "message": "Change the filter criteria."}),
            );
        }
        let size = if search.page > 0 { search.page } else { size };
        let (pages, page) = match search.endless && !found.is_empty() {
            true => (1_000_000, 1),
            false => (found.len().div_ceil(size), page),
        };
        let some: Vec<Value> = found
            .into_iter()
            .skip((page - 1) * size)
            .take(size)
            .collect();
        (
            200,
            json!({"transaction_details": some, "page": page, "total_pages": pages}),
        )
    }

    /// Captures, authorizations and refunds.
    fn all_transactions(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for order in self.orders.values() {
            let payments = &order.body["purchase_units"][0]["payments"];
            for (list, code) in [
                ("captures", "T0006"),
                ("authorizations", "T1300"),
                ("refunds", "T1107"),
            ] {
                let payments = payments[list].as_array().into_iter().flatten();
                all.extend(payments.map(|payment| transaction(payment, code)));
            }
        }
        all
    }
}

fn transaction(payment: &Value, code: &str) -> Value {
    let status = match payment["status"].as_str().unwrap() {
        "PENDING" => "P",
        "DECLINED" | "FAILED" => "D",
        _ => "S",
    };
    json!({"transaction_info": {
        "transaction_id": payment["id"], "transaction_event_code": code, "transaction_status": status,
        "transaction_amount": payment["amount"], "custom_field": payment["custom_id"], "invoice_id": payment["invoice_id"],
    }})
}
