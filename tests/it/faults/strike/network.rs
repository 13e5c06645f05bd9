//! Faults of the network between the service and its servers.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Ground;
use crate::faults::kind::Kind;
use crate::faults::random::Random;
use crate::support::proxy::{Mode, Trigger};

/// A commit and a confirm are never this far away under load.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn impair(ground: &Ground, kind: Kind, random: &mut Random) -> Result<(), String> {
    let (mode, time) = match kind {
        Kind::DatabaseCut | Kind::BrokerCut => (Mode::Cut, random.millis(500, 3_000)),
        // Longer than a statement's or a confirm's time-out of five seconds.
        Kind::DatabaseSilent | Kind::BrokerSilent => (Mode::BlackHole, random.millis(6_000, 8_000)),
        Kind::DatabaseDelayed | Kind::BrokerDelayed => (
            Mode::Delay(Duration::from_millis(500)),
            random.millis(2_000, 5_000),
        ),
        _ => (Mode::ByteByByte, random.millis(2_000, 4_000)),
    };
    let way = match kind {
        Kind::DatabaseCut
        | Kind::DatabaseSilent
        | Kind::DatabaseDelayed
        | Kind::DatabaseByteByByte => &ground.fixture.database_way,
        _ => &ground.fixture.broker_way,
    };
    way.set(mode);
    sleep(time).await;
    way.set(Mode::Pass);
    Ok(())
}

/// Five connections in turn, each at the worst of moments.
pub async fn cut_in_the_middle(ground: &Ground, kind: Kind) -> Result<(), String> {
    for _ in 0..5 {
        let tripped = match kind {
            Kind::CommitNotDelivered => ground
                .fixture
                .database_way
                .cut_at(Trigger::commit_not_delivered()),
            Kind::CommitNotAnswered => ground
                .fixture
                .database_way
                .cut_at(Trigger::commit_not_answered()),
            _ => ground
                .fixture
                .broker_way
                .cut_at(Trigger::confirm_not_delivered()),
        };
        if !matches!(timeout(PATIENCE, tripped.wait()).await, Ok(true)) {
            return Err("what was to be cut did not come by".to_owned());
        }
    }
    Ok(())
}
