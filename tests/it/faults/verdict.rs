//! The count, payment by payment: the client's list compared with the database and the published results.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::query_as;

use super::cards::{is_answered_at_once, promised};
use super::drill::{Drill, Episode};
use super::kind::Kind;
use super::notes::Entry;
use super::watch::{self, STOP};

/// What became of the payments that one kind of fault met.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub times: usize,
    /// On their way at some moment of it.
    pub in_flight: usize,
    pub lost: usize,
    pub charged_twice: usize,
    pub stuck: usize,
    pub missing: usize,
    /// Until work flowed again: of each time.
    pub seconds: Vec<f64>,
    /// From the client's request to its outcome, of payments that the fault was not about.
    pub innocent: Vec<f64>,
    /// Times without any outcome that a process has told of, or not; and alarms without such a time.
    pub told: usize,
    pub untold: usize,
    pub false_alarms: usize,
}

/// The count of one drill.
#[derive(Debug, Default)]
pub struct Verdict {
    pub rows: BTreeMap<Option<Kind>, Row>,
    pub payments: usize,
    /// All problems as sentences, with the payment.
    pub faults: Vec<String>,
}

/// What the database holds for one order of the client's.
#[derive(Debug, Default)]
struct Held {
    ids: Vec<i64>,
    statuses: Vec<String>,
    standing_charges: i64,
}

impl Verdict {
    /// Counts a drill that has settled.
    pub async fn of(drill: &Drill) -> Self {
        let mut verdict = Self {
            faults: drill.faults.clone(),
            ..Self::default()
        };
        for episode in &drill.episodes {
            let row = verdict.rows.entry(Some(episode.kind)).or_default();
            row.times += 1;
            row.seconds
                .extend(episode.flowing.map(|it| it.as_secs_f64()));
        }
        let held = match held(drill).await {
            Ok(held) => held,
            Err(error) => {
                verdict
                    .faults
                    .push(format!("nothing could be counted: {error}"));
                return verdict;
            }
        };
        for (order, entry) in drill.ground.client.notes.all() {
            verdict.payments += 1;
            for episode in drill.episodes.iter().filter(|it| meets(&entry, it)) {
                let row = verdict.rows.entry(Some(episode.kind)).or_default();
                row.in_flight += 1;
            }
            // Of several faults the first has delayed it longest.
            if let Some(episode) = drill.episodes.iter().find(|it| is_beside(&entry, it)) {
                let row = verdict.rows.entry(Some(episode.kind)).or_default();
                row.innocent.extend(innocent_delay(&entry));
            }
            verdict.judge(order, &entry, held.get(&order), &drill.episodes);
        }
        verdict.look_at_health(drill);
        match drill.ground.fleet.audit(&drill.ground.fixture).await {
            Ok(broken) => verdict.faults.extend(broken),
            Err(error) => verdict.faults.push(format!("the oracle failed: {error}")),
        }
        verdict
    }

    /// Whether exactly the stops were reported.
    fn look_at_health(&mut self, drill: &Drill) {
        let entries = drill.ground.client.notes.all();
        let mut outcomes: Vec<Instant> = entries.values().filter_map(|it| it.heard).collect();
        outcomes.sort_unstable();
        let alarms = drill.watch.all();
        let of = |at: Instant| {
            let met = drill.episodes.iter().rfind(|it| it.began <= at);
            met.map(|episode| episode.kind)
        };
        // Afterwards no load is left that could stop.
        let loaded = |last: Instant| drill.load_ended.is_none_or(|end| last + STOP < end);
        for stop in watch::stops(&outcomes) {
            if !loaded(stop.0) {
                continue;
            }
            let kind = of(stop.1);
            let row = self.rows.entry(kind).or_default();
            if watch::is_told(stop, &alarms) {
                row.told += 1;
            } else {
                row.untold += 1;
                let (name, seconds) = (kind.map_or("no fault", Kind::name), stop.1 - stop.0);
                self.faults.push(format!(
                    "{name}: no payment ended for {seconds:.1?}, and no process said so"
                ));
            }
        }
        for alarm in watch::false_alarms(&outcomes, &alarms) {
            println!("an alarm while payments end: {}", alarm.words);
            self.rows.entry(of(alarm.at)).or_default().false_alarms += 1;
        }
    }

    fn judge(&mut self, order: i64, entry: &Entry, held: Option<&Held>, episodes: &[Episode]) {
        let met = episodes.iter().rfind(|episode| meets(entry, episode));
        let row = self
            .rows
            .entry(met.map(|episode| episode.kind))
            .or_default();
        let mut wrong = entry.odd.clone();
        let nothing = Held::default();
        let held = held.unwrap_or(&nothing);
        let promised = promised(entry.card);
        if entry.accepted.is_none() {
            wrong.push("was never accepted".to_owned());
        } else if held.ids.is_empty() {
            row.lost += 1;
            wrong.push("is lost".to_owned());
        } else if held.statuses.iter().any(|status| status == "processing") {
            row.stuck += 1;
            wrong.push("is stuck".to_owned());
        } else if entry.outcomes.is_empty() {
            row.missing += 1;
            wrong.push("has no result".to_owned());
        } else if let Some(late) = late(entry, met) {
            row.stuck += 1;
            wrong.push(format!("was stuck: {late:.1?} longer than it may take"));
        }
        if held.standing_charges > 1 {
            row.charged_twice += 1;
            wrong.push(format!("is charged {} times", held.standing_charges));
        }
        if held.ids.len() > 1 || entry.ids.iter().any(|id| !held.ids.contains(id)) {
            wrong.push(format!("is known as {:?} and {:?}", held.ids, entry.ids));
        }
        if entry.outcomes.len() > 1 {
            wrong.push("has several outcomes".to_owned());
        }
        let told = entry.outcomes.values().chain(&held.statuses);
        if let Some(other) = told
            .into_iter()
            .find(|status| !promised.contains(&status.as_str()))
        {
            wrong.push(format!("ended {other} instead of {promised:?}"));
        }
        if !wrong.is_empty() {
            let fault = met.map_or("no fault", |episode| episode.kind.name());
            self.faults.push(format!(
                "order {order} ({:?}, {}, met {fault}; payment {:?}): {}",
                entry.way,
                entry.card.token,
                held.ids,
                wrong.join(", ")
            ));
        }
    }
}

/// Whether the payment was on its way at any moment of it.
fn meets(entry: &Entry, episode: &Episode) -> bool {
    let over = entry.heard.unwrap_or_else(Instant::now);
    entry.submitted < episode.healed && over > episode.began
}

/// Whether the payment was on its way before work flowed again after it.
fn is_beside(entry: &Entry, episode: &Episode) -> bool {
    let flowing = episode.healed + episode.flowing.unwrap_or_default();
    entry.submitted < flowing && entry.heard.is_some_and(|heard| heard > episode.began)
}

/// How long one of the steady load took, if its card has no trouble of its own.
fn innocent_delay(entry: &Entry) -> Option<f64> {
    let is_innocent = entry.steady && is_answered_at_once(entry.card);
    let took = entry.heard? - entry.submitted;
    is_innocent.then_some(took.as_secs_f64())
}

/// How much later its outcome came than a fault's aftermath may take.
fn late(entry: &Entry, met: Option<&Episode>) -> Option<Duration> {
    let limit = met?.healed + entry.patience();
    entry.heard?.checked_duration_since(limit)
}

async fn held(drill: &Drill) -> sqlx::Result<BTreeMap<i64, Held>> {
    let mut administrator = drill.ground.fixture.administrator().await?;
    let payments: Vec<(i64, i64, String)> =
        query_as("SELECT order_id, id, CAST(status AS CHAR) FROM payments")
            .fetch_all(&mut administrator)
            .await?;
    let charges: Vec<(i64, i64)> = query_as(
        "SELECT p.order_id, COUNT(*) FROM issuer_ledger l JOIN payments p ON p.id = l.payment_id
         WHERE l.charged_at IS NOT NULL AND l.reversed_at IS NULL GROUP BY p.order_id",
    )
    .fetch_all(&mut administrator)
    .await?;
    let mut held = BTreeMap::<i64, Held>::new();
    for (order, id, status) in payments {
        let held = held.entry(order).or_default();
        held.ids.push(id);
        held.statuses.push(status);
    }
    for (order, number) in charges {
        held.entry(order).or_default().standing_charges = number;
    }
    Ok(held)
}
