//! Slows down guessing: after too many wrong tokens, nobody at that address can try for the rest of the minute; after many
//! more in total, nobody at all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong tokens from one address within [`WINDOW`].
const FROM_ONE_ADDRESS: u32 = 5;

/// Wrong tokens in total within [`WINDOW`]; also the most addresses that are remembered.
const IN_TOTAL: u32 = 100;

/// How long wrong tokens count.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The wrong tokens of the last minute.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// When the current window began.
    since: Option<Instant>,
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// Too many wrong tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl Throttle {
    /// Checks a token, unless there were too many wrong ones. `check` returns none for a wrong token.
    pub fn attempt<T>(
        &self,
        address: IpAddr,
        check: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, TooMany> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if counts.since.is_none_or(|since| now >= since + WINDOW) {
            *counts = Counts {
                since: Some(now),
                ..Counts::default()
            };
        }
        let network = network(address);
        let here = counts.by_address.get(&network).copied().unwrap_or(0);
        if here >= FROM_ONE_ADDRESS || counts.total >= IN_TOTAL {
            return Err(TooMany);
        }
        let checked = check();
        if checked.is_none() {
            counts.total += 1;
            counts.by_address.insert(network, here + 1);
        }
        Ok(checked)
    }
}

/// What one guesser can use as its address: one IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn five_wrong_tokens_close_an_address_for_a_minute_and_no_other() {
        let throttle = Throttle::default();
        let wrong = |from: &str| throttle.attempt(ip(from), || None::<()>);
        assert_eq!(throttle.attempt(ip("2001:db8::1"), || Some(1)), Ok(Some(1)));
        for last in 1..=5 {
            assert_eq!(wrong(&format!("2001:db8::{last}")), Ok(None));
        }
        assert_eq!(wrong("2001:db8::6"), Err(TooMany));
        assert_eq!(
            throttle.attempt(ip("2001:db8::1"), || Some(1)),
            Err(TooMany)
        );
        assert_eq!(wrong("2001:db8:0:1::1"), Ok(None));
        assert_eq!(wrong("192.0.2.1"), Ok(None));
        tokio::time::advance(WINDOW).await;
        assert_eq!(throttle.attempt(ip("2001:db8::1"), || Some(1)), Ok(Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_wrong_tokens_close_it_for_everyone_and_no_more_addresses_are_remembered() {
        let throttle = Throttle::default();
        let from = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..IN_TOTAL {
            assert_eq!(throttle.attempt(from(number), || None::<()>), Ok(None));
        }
        assert_eq!(throttle.attempt(from(999), || Some(())), Err(TooMany));
        assert_eq!(throttle.0.lock().unwrap().by_address.len(), 100);
        tokio::time::advance(WINDOW).await;
        assert_eq!(throttle.attempt(from(999), || Some(())), Ok(Some(())));
    }
}
