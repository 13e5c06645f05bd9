//! The count, payment by payment: the client's list compared with the database and the published results.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::books;
use super::drill::{AFTERMATH, Drill, Episode};
use super::held::Held;
use super::kind::Kind;
use super::method::Method;
use super::notes::Entry;
use super::operations::{self, Operation};
use super::watch::{self, STOP};

/// What became of the payments and operations that one kind of fault met.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub times: usize,
    /// On their way at some moment of it.
    pub in_flight: usize,
    pub lost: usize,
    /// Payments with more than one charge, and payments for which the issuer has carried out more operations than it should.
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
    pub operations: usize,
    /// All problems as sentences, with the payment.
    pub faults: Vec<String>,
    /// The payments with problems.
    wrong: Vec<i64>,
}

/// So many payments with problems are shown with their history.
const SHOWN: usize = 5;

/// What became of a payment or an operation, as far as its existence and its results are concerned.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Ended,
    NeverAccepted,
    Lost,
    Stuck,
    WithoutResult,
    /// So much later than it may.
    Late(Duration),
}

impl Row {
    /// Counts it; what is wrong with it.
    fn count(&mut self, fate: Fate) -> Option<String> {
        match fate {
            Fate::Ended => None,
            Fate::NeverAccepted => Some("was never accepted".to_owned()),
            Fate::Lost => {
                self.lost += 1;
                Some("is lost".to_owned())
            }
            Fate::Stuck => {
                self.stuck += 1;
                Some("is stuck".to_owned())
            }
            Fate::WithoutResult => {
                self.missing += 1;
                Some("has no result".to_owned())
            }
            Fate::Late(late) => {
                self.stuck += 1;
                Some(format!("was stuck: {late:.1?} longer than it may take"))
            }
        }
    }
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
        let held = match Held::read(&drill.ground.fixture).await {
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
            verdict.operations += entry.operations.len();
            for span in spans(&entry) {
                for episode in drill.episodes.iter().filter(|it| span.meets(it)) {
                    let row = verdict.rows.entry(Some(episode.kind)).or_default();
                    row.in_flight += 1;
                }
            }
            // Of several faults the first has delayed it longest.
            if let Some(episode) = drill.episodes.iter().find(|it| is_beside(&entry, it)) {
                let row = verdict.rows.entry(Some(episode.kind)).or_default();
                row.innocent.extend(innocent_delay(&entry));
            }
            verdict.judge(order, &entry, held.get(&order), drill);
        }
        verdict.faults.extend(books::too_few_succeed(drill, &held));
        for payment in verdict.wrong.iter().take(SHOWN) {
            println!("{}", drill.ground.show(*payment).await);
        }
        verdict.look_at_health(drill);
        match drill.ground.fleet.audit(&drill.ground.fixture).await {
            Ok(broken) => verdict.faults.extend(broken),
            Err(error) => verdict.faults.push(format!("the oracle failed: {error}")),
        }
        // Last, because it makes what is open look old.
        verdict.faults.extend(books::compared(drill).await);
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
        let usual = entries
            .values()
            .filter(|it| it.method.is_answered_at_once());
        let payments: Vec<_> = usual.map(|it| (it.submitted, it.heard)).collect();
        for stop in watch::stops(&outcomes, &payments) {
            if !loaded(stop.0) {
                continue;
            }
            let kind = of(stop.1);
            let row = self.rows.entry(kind).or_default();
            if watch::is_told(stop, &alarms) {
                row.told += 1;
            } else {
                row.untold += 1;
                let log = watch::log_around(stop, &drill.ground.fleet.log);
                println!("the log of a stop that no process reported:\n{log}");
                let (name, seconds) = (kind.map_or("no fault", Kind::name), stop.1 - stop.0);
                self.faults.push(format!(
                    "{name}: no payment ended for {seconds:.1?}, and no process said so"
                ));
            }
        }
        for alarm in watch::false_alarms(&outcomes, &payments, &alarms) {
            println!("an alarm while payments end: {}", alarm.words);
            self.rows.entry(of(alarm.at)).or_default().false_alarms += 1;
        }
    }

    fn judge(&mut self, order: i64, entry: &Entry, held: Option<&Held>, drill: &Drill) {
        let episodes = &*drill.episodes;
        let met = Span::of(entry).last_met(episodes);
        let row = self
            .rows
            .entry(met.map(|episode| episode.kind))
            .or_default();
        let mut wrong = entry.odd.clone();
        let nothing = Held::default();
        let held = held.unwrap_or(&nothing);
        wrong.extend(row.count(fate(entry, held, met)));
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
        for (told, promised) in [
            (entry.outcomes.values().collect(), entry.promised_outcomes()),
            (Vec::from_iter(&held.statuses), entry.promised_statuses()),
        ] {
            let is_other = |status: &&String| !promised.contains(&status.as_str());
            if let Some(other) = told.into_iter().find(is_other) {
                wrong.push(format!("ended {other} instead of {promised:?}"));
            }
        }
        for (number, operation) in entry.operations.iter().enumerate() {
            let key = operations::key(order, number);
            let held = held.operations.get(&key).map(String::as_str);
            wrong.extend(self.judge_operation(operation, held, entry.method, episodes));
        }
        let (done, promised) = match entry.method {
            Method::Card(_) => (&held.carried_out, entry.promised_operations()),
            // The simulated issuer has nothing to do with it.
            Method::At(_) => (&held.carried_out, Vec::new()),
        };
        if let (Method::At(way), Some(payment)) = (entry.method, held.ids.first()) {
            let book = drill.ground.platforms.book(way.platform(), *payment);
            if book.charges > 1 {
                let row = self.rows.entry(met.map(|episode| episode.kind));
                row.or_default().charged_twice += 1;
            }
            wrong.extend(books::differences(&book, held));
        }
        if done.len() > promised.len() {
            let row = self.rows.entry(met.map(|episode| episode.kind));
            row.or_default().charged_twice += 1;
        }
        if *done != promised {
            wrong.push(format!(
                "the issuer has carried out {done:?} instead of {promised:?}"
            ));
        }
        if !wrong.is_empty() {
            self.wrong.extend(held.ids.first());
            let fault = met.map_or("no fault", |episode| episode.kind.name());
            self.faults.push(format!(
                "order {order} ({:?}, {}, met {fault}; payment {:?}): {}",
                entry.way,
                entry.method.name(),
                held.ids,
                wrong.join(", ")
            ));
        }
    }

    /// What is wrong with an operation that has this status in the database, and whose results must be the promised ones.
    fn judge_operation(
        &mut self,
        operation: &Operation,
        held: Option<&str>,
        method: Method,
        episodes: &[Episode],
    ) -> Vec<String> {
        let promised = method.results(operation.kind);
        let span = Span::of_operation(operation);
        let met = span.and_then(|span| span.last_met(episodes));
        let row = self.rows.entry(met.map(|episode| episode.kind));
        let fate = operation_fate(operation, held, method, met);
        let mut wrong = Vec::from_iter(row.or_default().count(fate));
        let mut told: Vec<&str> = operation.results.values().map(String::as_str).collect();
        told.sort_unstable();
        let is_promised = |results: &[&str]| {
            let mut expected = results.to_vec();
            expected.sort_unstable();
            told == expected
        };
        if !told.is_empty() && !promised.iter().any(|it| is_promised(it)) {
            wrong.push(format!("has the results {told:?} instead of {promised:?}"));
        }
        let ends = |held| promised.iter().any(|it| it.last() == Some(&held));
        let is_open = operation.needs_person && held == Some("pending");
        if held.is_some_and(|held| !is_open && !ends(held)) {
            wrong.push(format!("ended {held:?} instead of {promised:?}"));
        }
        let named = |what| {
            format!(
                "its {} by {:?} {what}",
                operation.kind.as_str(),
                operation.way
            )
        };
        wrong.into_iter().map(named).collect()
    }
}

fn fate(entry: &Entry, held: &Held, met: Option<&Episode>) -> Fate {
    if entry.accepted.is_none() {
        Fate::NeverAccepted
    } else if held.ids.is_empty() {
        Fate::Lost
    } else if held.statuses.iter().any(|status| is_open(status)) {
        Fate::Stuck
    } else if entry.outcomes.is_empty() {
        Fate::WithoutResult
    } else {
        late(entry.heard, met, entry.patience()).map_or(Fate::Ended, Fate::Late)
    }
}

fn is_open(status: &str) -> bool {
    matches!(status, "processing" | "requires_action")
}

fn operation_fate(
    operation: &Operation,
    held: Option<&str>,
    method: Method,
    met: Option<&Episode>,
) -> Fate {
    if operation.accepted.is_none() {
        Fate::NeverAccepted
    } else if held.is_none() {
        Fate::Lost
    } else if held == Some("pending") && operation.needs_person {
        Fate::Ended
    } else if held == Some("pending") {
        Fate::Stuck
    } else if operation.results.is_empty() {
        Fate::WithoutResult
    } else {
        // A card's trouble with its authorization does not delay its operations.
        let patience = match method {
            Method::Card(_) => AFTERMATH,
            Method::At(_) => method.patience(),
        };
        late(operation.heard, met, patience).map_or(Fate::Ended, Fate::Late)
    }
}

/// The time in which a payment or an operation was on its way.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Instant,
    to: Instant,
}

impl Span {
    fn of(entry: &Entry) -> Self {
        Self {
            from: entry.submitted,
            to: entry.heard.unwrap_or_else(Instant::now),
        }
    }

    fn of_operation(operation: &Operation) -> Option<Self> {
        Some(Self {
            from: operation.submitted?,
            to: operation.heard.unwrap_or_else(Instant::now),
        })
    }

    /// Whether it was on its way at any moment of the episode.
    fn meets(self, episode: &Episode) -> bool {
        self.from < episode.healed && self.to > episode.began
    }

    fn last_met(self, episodes: &[Episode]) -> Option<&Episode> {
        episodes.iter().rfind(|episode| self.meets(episode))
    }
}

/// Of a payment and its operations.
fn spans(entry: &Entry) -> impl Iterator<Item = Span> {
    let operations = entry.operations.iter().filter_map(Span::of_operation);
    std::iter::once(Span::of(entry)).chain(operations)
}

/// Whether the payment was on its way before work flowed again after it.
fn is_beside(entry: &Entry, episode: &Episode) -> bool {
    let flowing = episode.healed + episode.flowing.unwrap_or_default();
    entry.submitted < flowing && entry.heard.is_some_and(|heard| heard > episode.began)
}

/// How long one of the steady load took, if its card has no trouble of its own.
fn innocent_delay(entry: &Entry) -> Option<f64> {
    let is_innocent = entry.steady && entry.method.is_answered_at_once();
    let took = entry.heard? - entry.submitted;
    is_innocent.then_some(took.as_secs_f64())
}

/// How much later an outcome came than a fault's aftermath may take.
fn late(heard: Option<Instant>, met: Option<&Episode>, patience: Duration) -> Option<Duration> {
    heard?.checked_duration_since(met?.healed + patience)
}
