//! The same count on clusters: single nodes fail, and work continues without them.

use std::time::{Duration, Instant};

use super::drill::{Drill, Plan};
use super::fixture::Needs;
use super::kind::{Group, Kind};
use super::random::Random;
use super::short::{must_be_clean, seed};
use super::table;
use super::verdict::Verdict;
use crate::support::servers::Flavor;

/// Payments per second.
const RATE: u32 = 20;

async fn start(seed: u64) -> Drill {
    let began = Instant::now();
    let plan = Plan {
        name: "clusters",
        seed,
        needs: Needs {
            own_database: true,
            own_broker: true,
            durable: false,
            clusters: true,
        },
        rate: RATE,
        previous: None,
    };
    let drill = Drill::start(&plan).await;
    println!(
        "FAULT_SEED={seed}; both clusters work after {:.1?}",
        began.elapsed()
    );
    drill
}

async fn finish(mut drill: Drill, seed: u64) {
    // The node that was cut off or killed last rejoins and catches up.
    if let Some(clusters) = &drill.ground.fixture.clusters
        && let Err(what) = clusters.complete().await
    {
        drill
            .faults
            .push(format!("a node does not come back: {what}"));
    }
    drill.settle().await;
    let verdicts = [Verdict::of(&drill).await];
    drill.stop();
    println!(
        "{} payments, {} operations\n{}",
        verdicts[0].payments,
        verdicts[0].operations,
        table::markdown(&verdicts)
    );
    must_be_clean(seed, &verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_continues_when_a_node_of_each_cluster_dies_under_load() {
    let seed = seed();
    let mut drill = start(seed).await;
    let mut kinds = once_each();
    if Flavor::from_env().unwrap() == Flavor::Old {
        // RabbitMQ 4 has the others in its short form. A node of 3.10 that comes back after them needs half a minute, and once
        // in a while minutes; the long form has that time.
        let others = [
            Kind::BrokerInMinorityPauses,
            Kind::BrokerInMinorityServes,
            Kind::ReplyQueuesLost,
        ];
        kinds.retain(|kind| !others.contains(kind));
    }
    for kind in Kind::chosen(kinds) {
        drill.strike(kind).await;
    }
    finish(drill, seed).await;
}

/// Beside RabbitMQ 4, which has no choice of what a minority does, is a single MySQL: Galera is MariaDB's.
fn once_each() -> Vec<Kind> {
    let mut kinds = Kind::of(Group::BrokerNodes);
    if Flavor::from_env().unwrap() == Flavor::New {
        kinds.retain(|kind| *kind != Kind::BrokerInMinorityPauses);
    } else {
        kinds.extend(Kind::of(Group::DatabaseNodes));
    }
    kinds
}

/// For `CLUSTER_MINUTES`, ten by default; every kind at least once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; scripts/test --soak runs it"]
async fn nodes_of_both_clusters_die_and_come_back_for_minutes() {
    let seed = seed();
    let minutes = std::env::var("CLUSTER_MINUTES").ok();
    let minutes = minutes.map_or(10, |text| {
        text.parse().expect("CLUSTER_MINUTES is a number")
    });
    let mut drill = start(seed).await;
    let mut random = Random::named(seed, "clusters in the long form");
    let began = Instant::now();
    loop {
        let mut kinds = once_each();
        kinds.extend(once_each());
        kinds.extend(Kind::of(Group::ClustersSlowly));
        random.shuffle(&mut kinds);
        for kind in kinds {
            drill.strike(kind).await;
        }
        if began.elapsed() > Duration::from_secs(60 * minutes) {
            break;
        }
    }
    finish(drill, seed).await;
}
