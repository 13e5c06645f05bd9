//! A client whose receiver does not know some orders.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::Ground;
use crate::callbacks::receiver::{Call, Receiver, ready};
use crate::faults::cards::by_token;
use crate::faults::drill::AFTERMATH;
use crate::faults::notes::Payer;

const UNKNOWN: usize = 20;
const KNOWN: usize = 5;

/// From the outcome to the call for it: nothing that is called for again is in its way.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The receiver answers 404 for twenty orders. Calls for the others must go on.
pub async fn refuse_orders(ground: &Ground) -> Result<(), String> {
    let receiver = &ground.fleet.receiver;
    let pay = || ground.client.pay_for(Payer::Kiosk, by_token("tok_visa"));
    // Orders count up: the next ones are those that it does not know.
    let first = pay();
    receiver.answers(move |_, call| {
        let unknown = order_of(&call).is_some_and(|order| order > first && order % 5 != 0);
        ready(if unknown { 404 } else { 204 }, "")
    });
    let done = refused(ground, pay).await;
    receiver.answers_with(204, "");
    done
}

async fn refused(ground: &Ground, pay: impl Fn() -> i64) -> Result<(), String> {
    let mut unknown = Vec::new();
    let mut known = Vec::new();
    while unknown.len() < UNKNOWN || known.len() < KNOWN {
        let order = pay();
        let orders = if order % 5 == 0 {
            &mut known
        } else {
            &mut unknown
        };
        orders.push(order);
    }
    let heard = ground.until_heard(&unknown, AFTERMATH).await;
    heard.ok_or("payments of another client do not end")?;
    until_called(&ground.fleet.receiver, &unknown)
        .await
        .ok_or("not every order that is unknown was called for")?;
    ground.until_heard(&known, AFTERMATH).await;
    until_called(&ground.fleet.receiver, &known)
        .await
        .ok_or("calls wait for those that the receiver does not accept")?;
    Ok(())
}

async fn until_called(receiver: &Receiver, orders: &[i64]) -> Option<()> {
    let deadline = Instant::now() + AT_ONCE;
    loop {
        let called: BTreeSet<i64> = receiver.calls().iter().filter_map(order_of).collect();
        if orders.iter().all(|order| called.contains(order)) {
            return Some(());
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn order_of(call: &Call) -> Option<i64> {
    let event: Value = serde_json::from_str(&call.text).ok()?;
    event["data"]["order_id"].as_i64()
}
