//! Processes that die, stop, or are held.

use std::path::Path;
use std::time::{Duration, Instant};

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

/// Where Debian's package `faketime` puts it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// One worker believes that it is tomorrow. It says so, and works as before.
pub async fn set_clock_ahead(ground: &Ground, random: &mut Random) -> Result<(), String> {
    if !Path::new(FAKETIME).exists() {
        println!("NOT STRUCK: install the package faketime");
        return Ok(());
    }
    let number = any("worker", random);
    let ahead = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME", "+1d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let before = clocks_told(ground);
    ground.fleet.replace_with(number, &ahead).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while clocks_told(ground) == before && Instant::now() < deadline {
        sleep(Duration::from_millis(100)).await;
    }
    let told = clocks_told(ground) > before;
    sleep(random.millis(2_000, 4_000)).await;
    ground.fleet.kill(number).await;
    if told {
        Ok(())
    } else {
        Err("the worker does not say that its clock is off".to_owned())
    }
}

fn clocks_told(ground: &Ground) -> usize {
    let log = std::fs::read_to_string(&ground.fleet.log).unwrap_or_default();
    log.matches("the clocks of this process and of the database differ")
        .count()
}
