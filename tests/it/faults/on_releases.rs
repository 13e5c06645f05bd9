//! The same count while the service is rolled out: this release and the one before it, side by side under load.

use super::drill::{Drill, Plan};
use super::fixture::Needs;
use super::kind::{Group, Kind};
use super::short::{must_be_clean, seed};
use super::strike::previous_release;
use super::table;
use super::verdict::Verdict;

/// The schema first, then the workers, then back to the old workers behind the new api, then all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the release before this one: scripts/test --releases builds it, and runs this"]
async fn the_release_before_this_one_works_beside_it_in_every_order_of_a_roll_out() {
    let seed = seed();
    let previous = previous_release();
    assert!(
        previous.is_some(),
        "PREVIOUS_RELEASE is not set: scripts/test --releases sets it to the program of the release before this one"
    );
    let plan = Plan {
        name: "releases",
        seed,
        needs: Needs::default(),
        rate: 10,
        previous,
    };
    let mut drill = Drill::start(&plan).await;
    for kind in Kind::of(Group::Releases) {
        drill.strike(kind).await;
    }
    drill.settle().await;
    let verdicts = [Verdict::of(&drill).await];
    drill.stop();
    println!(
        "FAULT_SEED={seed}; {} payments\n{}",
        verdicts[0].payments,
        table::markdown(&verdicts)
    );
    must_be_clean(seed, &verdicts);
}
