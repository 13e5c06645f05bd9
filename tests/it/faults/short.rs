//! The short form: every kind of fault once, in seven places, two of them at the same time, with one count for each.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use super::drill::{Drill, Plan};
use super::fixture::Needs;
use super::kind::{Group, Kind};
use super::random::Random;
use super::table;
use super::verdict::Verdict;

/// Places at the same time: more servers and processes would be late for want of a processor, not because of a fault.
const AT_ONCE: usize = 2;

/// `FAULT_SEED`, or another one each time.
pub fn seed() -> u64 {
    let given = std::env::var("FAULT_SEED").ok();
    let given = given.map(|text| text.parse().expect("FAULT_SEED is a number"));
    given.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs() % 1_000_000)
    })
}

/// Fails with all problems.
pub fn must_be_clean(seed: u64, verdicts: &[Verdict]) {
    let faults = verdicts.iter().flat_map(|verdict| &verdict.faults);
    let faults: Vec<&str> = faults.map(String::as_str).collect();
    for what in faults.iter().take(10) {
        println!("WRONG: {what}");
    }
    let shown = faults.iter().take(50).copied().collect::<Vec<_>>();
    assert!(
        faults.is_empty(),
        "{} things are wrong; FAULT_SEED={seed} makes the same choices again:\n{}",
        faults.len(),
        shown.join("\n")
    );
}

async fn drill(
    name: &'static str,
    groups: &'static [Group],
    seed: u64,
    own: (bool, bool),
) -> Verdict {
    let begun = Instant::now();
    let plan = Plan {
        name,
        seed,
        needs: Needs {
            own_database: own.0,
            own_broker: own.1,
            durable: false,
            clusters: false,
        },
        rate: 6,
        previous: None,
    };
    let mut kinds: Vec<Kind> = groups.iter().copied().flat_map(Kind::of).collect();
    Random::named(seed, name).shuffle(&mut kinds);
    // What it leaves behind takes a minute, in which the others strike.
    kinds.sort_by_key(|kind| *kind != Kind::ClientFloods);
    let mut drill = Drill::start(&plan).await;
    let started = begun.elapsed();
    for kind in kinds {
        drill.strike(kind).await;
    }
    let struck = begun.elapsed();
    drill.settle().await;
    let verdict = Verdict::of(&drill).await;
    drill.stop();
    println!(
        "{name}: {} payments, {} operations; started after {started:.1?}, faults over after {struck:.1?}, counted after {:.1?}",
        verdict.payments,
        verdict.operations,
        begun.elapsed()
    );
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_loses_a_payment_charges_it_twice_or_leaves_it_stuck_or_unreported() {
    let seed = seed();
    println!("FAULT_SEED={seed}");
    let only = std::env::var("FAULT_GROUP").ok();
    // Those that take longest begin first.
    let runs = [
        (
            "database server",
            &[Group::DatabaseServer][..],
            (true, false),
        ),
        ("broker", &[Group::Broker][..], (false, true)),
        ("platforms", &[Group::Platforms][..], (false, false)),
        ("issuer", &[Group::Issuer, Group::Input][..], (false, false)),
        ("processes", &[Group::Processes][..], (false, false)),
        ("network", &[Group::Network][..], (false, false)),
        ("database", &[Group::Database][..], (true, false)),
    ];
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let runs = runs
        .into_iter()
        .filter(|(name, ..)| only.as_deref().is_none_or(|only| only == *name))
        .map(|(name, groups, own)| {
            let at_once = Arc::clone(&at_once);
            tokio::spawn(async move {
                let _permit = at_once.acquire().await.expect("it is never closed");
                drill(name, groups, seed, own).await
            })
        });
    let mut verdicts = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        verdicts.push(run.await.expect("a drill that ends"));
    }
    println!("{}", table::markdown(&verdicts));
    must_be_clean(seed, &verdicts);
}
