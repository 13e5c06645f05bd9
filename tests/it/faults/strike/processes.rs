//! Processes that die, stop, or are held.

use tokio::time::sleep;

use super::Ground;
use crate::faults::fleet::{CLAIM, ROLES};
use crate::faults::kind::Kind;
use crate::faults::random::Random;

/// One of the processes of a role.
fn any(role: &str, random: &mut Random) -> usize {
    let numbers: Vec<usize> = (0..ROLES.len())
        .filter(|number| ROLES[*number] == role)
        .collect();
    random.pick(&numbers)
}

pub async fn kill(ground: &Ground, role: &str, random: &mut Random) -> Result<(), String> {
    ground.fleet.kill(any(role, random)).await;
    Ok(())
}

pub async fn stop(ground: &Ground, role: &str, random: &mut Random) -> Result<(), String> {
    ground.fleet.stop(any(role, random)).await
}

/// One after the other, as a release is rolled out: the next one when the last is ready.
pub async fn restart_all(ground: &Ground) -> Result<(), String> {
    for number in 0..ROLES.len() {
        ground.fleet.stop(number).await?;
        ground.fleet.until_ready(number).await?;
    }
    Ok(())
}

/// As [`freeze`], in the middle of calls that take two seconds. Whoever asks again is declined, refused or not answered;
/// then the calls go on and charge.
pub async fn hold_up(ground: &Ground, random: &mut Random) -> Result<(), String> {
    super::issuer::burst(ground, Kind::WorkerHeldUp);
    sleep(random.millis(500, 1_500)).await;
    freeze(ground, random).await
}

/// Its tries are given to the other worker meanwhile; then it goes on as if nothing had happened.
pub async fn freeze(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let number = any("worker", random);
    ground.fleet.signal(number, "STOP").await;
    sleep(CLAIM + random.millis(500, 2_000)).await;
    ground.fleet.signal(number, "CONT").await;
    Ok(())
}
