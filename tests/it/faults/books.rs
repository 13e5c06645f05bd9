//! Our books against those of the payment platforms, to the minor unit.

use std::collections::{BTreeMap, BTreeSet};

use super::drill::Drill;
use super::held::Held;
use super::method::{Method, Platform};
use crate::platforms::unreliable::Book;

/// Of the payments that a platform would usually take, so many in a hundred must have succeeded, whatever the faults.
const SUCCEED: usize = 50;

/// Fewer payments say nothing about that.
const ENOUGH: usize = 10;

/// What is wrong with a platform's book of one payment, compared with what we say of it.
pub fn differences(book: &Book, held: &Held) -> Vec<String> {
    let mut wrong = Vec::new();
    if book.charges > 1 {
        wrong.push(format!("is charged {} times at its platform", book.charges));
    }
    let funds = &held.funds;
    if funds.refunds.iter().sum::<i64>() != funds.refunded {
        wrong.push(format!("does not sum its refunds up: {funds:?}"));
    }
    let is_same = match held.statuses.first().map(String::as_str) {
        Some("succeeded") => {
            let same_amount = book.captured == funds.captured && book.held == 0;
            same_amount && book.refunds == funds.refunds
        }
        Some("requires_capture") => {
            book.held == funds.amount && book.captured == 0 && funds.captured == 0
        }
        Some("declined" | "failed" | "canceled") => {
            // What was charged all the same has been returned.
            let stands = book.captured - book.refunds.iter().sum::<i64>();
            stands == 0 && book.held == 0 && funds.captured == 0
        }
        // It is stuck, which is counted elsewhere.
        _ => true,
    };
    if !is_same {
        let statuses = &held.statuses;
        wrong.push(format!(
            "is {statuses:?} with {funds:?}, but its platform has {book:?}"
        ));
    }
    wrong
}

/// Whether so many payments of a platform have failed that a fault alone does not explain it.
pub fn too_few_succeed(drill: &Drill, held: &BTreeMap<i64, Held>) -> Vec<String> {
    let mut all = BTreeMap::<Platform, (usize, usize)>::new();
    for (order, entry) in drill.ground.client.notes.all() {
        let Method::At(way) = entry.method else {
            continue;
        };
        let statuses = held.get(&order).map(|held| &held.statuses[..]);
        if way.usual() == "succeeded" {
            let (number, failed) = all.entry(way.platform()).or_default();
            *number += 1;
            *failed += usize::from(statuses.is_some_and(|it| it.iter().any(|it| it == "failed")));
        }
    }
    println!("payments at platforms, and those that failed: {all:?}");
    let too_few = all.into_iter().filter(|(_, (number, failed))| {
        *number >= ENOUGH && (number - failed) * 100 < number * SUCCEED
    });
    let too_few = too_few.map(|(platform, (number, failed))| {
        format!("{failed} of {number} payments of {platform:?}'s have failed")
    });
    too_few.collect()
}

/// What the service's own commands say once nothing fails any more: its comparison with Stripe finds nothing, and it lists
/// exactly the refunds that nobody can find out about.
pub async fn compared(drill: &Drill) -> Vec<String> {
    let ground = &drill.ground;
    if !drill.has_platforms {
        return Vec::new();
    }
    ground.platforms.fail_never();
    let open: BTreeSet<i64> = open_for_ever(drill);
    let mut wrong = Vec::new();
    match ground.fleet.reconcile(&ground.fixture).await {
        Ok(found) if open.is_empty() => wrong.extend(found),
        Ok(_) => {}
        Err(error) => wrong.push(format!("Stripe's books cannot be compared: {error}")),
    }
    // As if they had been asked about for as long as that makes sense.
    let aged =
        "UPDATE operations SET created_at = '2026-01-01 00:00:00.000000' WHERE status = 'pending'";
    if let Err(error) = ground.fixture.sql(aged).await {
        wrong.push(error);
    }
    match ground.fleet.needs_person(&ground.fixture).await {
        Ok(listed) if listed != open => wrong.push(format!(
            "payments {listed:?} are said to need a person, instead of {open:?}"
        )),
        Ok(_) => {}
        Err(error) => wrong.push(format!("what needs a person is not listed: {error}")),
    }
    wrong
}

/// The payments with refunds that Stripe's keys make undecidable.
fn open_for_ever(drill: &Drill) -> BTreeSet<i64> {
    let entries = drill.ground.client.notes.all().into_values();
    let open = entries.filter(|entry| {
        let mut operations = entry.operations.iter();
        operations.any(|it| it.needs_person && it.heard.is_none())
    });
    open.flat_map(|entry| entry.ids).collect()
}
