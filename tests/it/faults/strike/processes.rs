//! Processes that die, stop, or are suspended.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Ground, issuer};
use crate::faults::fleet::{CLAIM, ROLES};
use crate::faults::kind::Kind;
use crate::faults::random::Random;
use crate::support::faketime;

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

/// What was in their memory, such as commits whose messages were not published yet, is gone in all of them.
pub async fn kill_all(ground: &Ground) -> Result<(), String> {
    ground.fleet.kill_all().await;
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
    issuer::burst(ground, Kind::WorkerHeldUp);
    sleep(random.millis(500, 1_500)).await;
    freeze(ground, "worker", random).await
}

/// The other process of its role does its work meanwhile; then it goes on as if nothing had happened.
pub async fn freeze(ground: &Ground, role: &str, random: &mut Random) -> Result<(), String> {
    let number = any(role, random);
    ground.fleet.signal(number, "STOP").await;
    sleep(CLAIM + random.millis(500, 2_000)).await;
    ground.fleet.signal(number, "CONT").await;
    Ok(())
}

/// One worker's clock is off by so much. It says so, and works as before.
pub async fn set_clock(ground: &Ground, off: &str, random: &mut Random) -> Result<(), String> {
    let number = any("worker", random);
    let variables = [
        ("LD_PRELOAD", faketime::library()?),
        ("FAKETIME", off),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let before = clocks_told(ground);
    ground.fleet.restart_with(number, &variables).await?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while clocks_told(ground) == before && Instant::now() < deadline {
        sleep(Duration::from_millis(100)).await;
    }
    let told = clocks_told(ground) > before;
    sleep(random.millis(2_000, 4_000)).await;
    ground.fleet.stop(number).await?;
    if told {
        Ok(())
    } else {
        Err("the worker does not say that its clock is off".to_owned())
    }
}

/// A worker whose clock jumps beyond the year 9999, where `time` has no dates and panics: nothing in the service need be
/// there for that. It must end by itself, and not with 0; the other worker takes over what it held.
pub async fn panic(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let clock = faketime::Clock::make()?;
    let variables = clock.variables();
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let number = any("worker", random);
    ground.fleet.restart_with(number, &variables).await?;
    ground.fleet.until_ready(number).await?;
    sleep(random.millis(500, 1_500)).await;
    let before = panics(ground);
    let mut jumped = Ok(());
    let jump = || jumped = clock.set("+8000y");
    let ended = ground.fleet.must_end(number, jump).await;
    jumped.map_err(|error| error.to_string())?;
    if panics(ground) == before {
        return Err("the worker did not panic".to_owned());
    }
    match ended?.code() {
        Some(0) | None => Err("a panic did not end the worker with an exit code".to_owned()),
        Some(_) => Ok(()),
    }
}

fn panics(ground: &Ground) -> usize {
    let log = std::fs::read_to_string(&ground.fleet.log).unwrap_or_default();
    log.matches(" panicked at ").count()
}

fn clocks_told(ground: &Ground) -> usize {
    let log = std::fs::read_to_string(&ground.fleet.log).unwrap_or_default();
    log.matches("the clocks of this process and of the database differ")
        .count()
}
