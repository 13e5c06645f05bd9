//! The signed token in the page's form: the payment that it was shown for, the attempt before which it was shown, and its
//! expiry.
//!
//! It makes a form valid for one attempt: a second click, a reload or a page left open never presents a card again to a
//! payment that has changed since. And only a form that this service has shown can be posted.

use std::time::Duration;

use crate::domain::{ClientName, Payment, PaymentId, Timestamp};
use crate::vault::SealKeys;

/// How long a form can be posted after it was shown.
pub const LIFE: Duration = Duration::from_secs(60 * 60);

/// Why a form is not accepted. The shopper gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Shown too long ago.
    Expired,
    /// Not signed by this service, or for another payment.
    Foreign,
}

/// A token for this payment in its current state: `attempt.expiry.mac`.
pub fn sign(keys: &SealKeys, payment: &Payment, now: Timestamp) -> String {
    let expiry = (now + LIFE).unix_timestamp();
    let message = message(&payment.client, payment.id, payment.attempt, expiry);
    let mac = hex::encode(keys.fingerprint(&message));
    format!("{}.{expiry}.{mac}", payment.attempt)
}

/// Checks a token and returns how many cards had been presented when the form was shown.
pub fn verify(
    keys: &SealKeys,
    (client, id): (&ClientName, PaymentId),
    token: &str,
    now: Timestamp,
) -> Result<u32, Stale> {
    let mut parts = token.splitn(3, '.');
    let attempt = parts.next().and_then(|text| text.parse().ok());
    let expiry = parts.next().and_then(|text| text.parse().ok());
    let mut mac = [0; 32];
    let decoded = hex::decode_to_slice(parts.next().unwrap_or(""), &mut mac);
    let (Some(attempt), Some(expiry), Ok(())) = (attempt, expiry, decoded) else {
        return Err(Stale::Foreign);
    };
    if !keys.matches(&mac, &message(client, id, attempt, expiry)) {
        return Err(Stale::Foreign);
    }
    if now.unix_timestamp() > expiry {
        return Err(Stale::Expired);
    }
    Ok(attempt)
}

/// It begins differently from a fingerprinted request, which uses the same key and begins with its version as one byte.
fn message(client: &ClientName, id: PaymentId, attempt: u32, expiry: i64) -> Vec<u8> {
    format!("payment page form v1/{client}/{id}/{attempt}/{expiry}").into_bytes()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: Timestamp = datetime!(2026-11-01 10:00 UTC);
    const KEYS: &str = "b:1111111111111111111111111111111111111111111111111111111111111111";
    const ROTATED: &str = "c:2222222222222222222222222222222222222222222222222222222222222222,\
                           b:1111111111111111111111111111111111111111111111111111111111111111";

    fn token(keys: &SealKeys, id: i64, attempt: u32) -> String {
        let mac = keys.fingerprint(&message(
            &shop(),
            PaymentId(id),
            attempt,
            (NOW + LIFE).unix_timestamp(),
        ));
        format!(
            "{attempt}.{}.{}",
            (NOW + LIFE).unix_timestamp(),
            hex::encode(mac)
        )
    }

    fn shop() -> ClientName {
        ClientName::parse("shop").expect("a name")
    }

    #[test]
    fn a_token_is_valid_only_for_its_payment_client_and_time() {
        let keys = SealKeys::parse(KEYS).expect("keys");
        let token = token(&keys, 7, 2);
        let verify = |client: &str, id, now| {
            let client = ClientName::parse(client).expect("a name");
            super::verify(&keys, (&client, PaymentId(id)), &token, now)
        };
        assert_eq!(verify("shop", 7, NOW), Ok(2));
        assert_eq!(verify("shop", 7, NOW + LIFE), Ok(2));
        let later = NOW + LIFE + Duration::from_secs(1);
        assert_eq!(verify("shop", 7, later), Err(Stale::Expired));
        assert_eq!(verify("shop", 8, NOW), Err(Stale::Foreign));
        assert_eq!(verify("kiosk", 7, NOW), Err(Stale::Foreign));
    }

    #[test]
    fn a_changed_token_is_invalid() {
        let keys = SealKeys::parse(KEYS).expect("keys");
        let good = token(&keys, 7, 0);
        let other_attempt = good.replacen("0.", "1.", 1);
        let longer = good.replacen(".1", ".2", 1);
        let other_mac = format!("{}0", &good[..good.len() - 1]).replace("00", "01");
        for wrong in [
            "",
            "...",
            "0",
            "x.y.z",
            &other_attempt,
            &longer,
            &other_mac,
            &good[1..],
        ] {
            let read = super::verify(&keys, (&shop(), PaymentId(7)), wrong, NOW);
            assert_eq!(read, Err(Stale::Foreign), "{wrong}");
        }
    }

    #[test]
    fn a_form_stays_valid_when_keys_are_rotated() {
        let old = SealKeys::parse(KEYS).expect("keys");
        let new = SealKeys::parse(ROTATED).expect("keys");
        let token = token(&old, 7, 0);
        assert_eq!(
            super::verify(&new, (&shop(), PaymentId(7)), &token, NOW),
            Ok(0)
        );
    }
}
