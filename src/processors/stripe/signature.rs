//! The header `Stripe-Signature`: `t=…,v1=…`, an HMAC-SHA256 over time and raw body.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::domain::Timestamp;

/// How far the time of a signature may be from ours, in seconds: an older one may be replayed, and clocks differ.
const TOLERANCE: u64 = 300;

/// More signatures than Stripe sends: one for each secret that is valid.
const MOST_SIGNATURES: usize = 16;

/// Why a signature is not accepted: a label of a metric.
pub(super) type Fault = &'static str;

/// Checks that one of the signatures is of one of the secrets, and recent.
pub(super) fn check(
    header: Option<&[u8]>,
    body: &[u8],
    secrets: &[SecretString],
    now: Timestamp,
) -> Result<(), Fault> {
    let header = header.ok_or("no_signature")?;
    let header = std::str::from_utf8(header).map_err(|_| "unreadable_signature")?;
    let parts = header
        .split(',')
        .filter_map(|part| part.trim().split_once('='));
    let (mut time, mut signatures) = (None, Vec::new());
    for (name, value) in parts {
        match name {
            "t" => time = Some(value),
            "v1" if signatures.len() < MOST_SIGNATURES => {
                signatures.extend(hex::decode(value).ok())
            }
            _ => {}
        }
    }
    let time = time.ok_or("unreadable_signature")?;
    let seconds: i64 = time.parse().map_err(|_| "unreadable_signature")?;
    let is_signed =
        |secret: &SecretString| signatures.iter().any(|it| is_of(secret, time, body, it));
    if !secrets.iter().any(is_signed) {
        return Err("wrong_signature");
    }
    // Only now: somebody who does not know the secret does not learn our time.
    if seconds.abs_diff(now.unix_timestamp()) > TOLERANCE {
        return Err("too_old");
    }
    Ok(())
}

/// Compares in constant time.
fn is_of(secret: &SecretString, time: &str, body: &[u8], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return false;
    };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id": "evt_1", "object": "event"}"#;

    /// Worked out with Stripe's Python library (`stripe.WebhookSignature._compute_signature`), for 1700000000.
    const SIGNED: &str = "86d195bdf7fa8d2a41b621d0367baa5f34b0c4861d35227c2012edbaf25cf1a2";

    fn checked(header: &str, at: i64) -> Result<(), Fault> {
        let secrets = ["whsec_other_secret", "whsec_test_secret"].map(SecretString::from);
        let now = Timestamp::from_unix_timestamp(at).unwrap();
        check(Some(header.as_bytes()), BODY, &secrets, now)
    }

    #[test]
    fn a_signature_is_accepted_for_five_minutes_and_only_over_these_bytes() {
        let header = format!("t=1700000000,v1={SIGNED}");
        for (at, expected) in [
            (1_700_000_000, Ok(())),
            (1_700_000_300, Ok(())),
            (1_699_999_700, Ok(())),
            (1_700_000_301, Err("too_old")),
            (1_699_999_699, Err("too_old")),
        ] {
            assert_eq!(checked(&header, at), expected, "{at}");
        }
        let secrets = [SecretString::from("whsec_test_secret")];
        let now = Timestamp::from_unix_timestamp(1_700_000_000).unwrap();
        let of = |body: &[u8]| check(Some(header.as_bytes()), body, &secrets, now);
        assert_eq!(of(BODY), Ok(()));
        assert_eq!(
            of(br#"{"id":"evt_1","object":"event"}"#),
            Err("wrong_signature")
        );
        assert_eq!(of(b""), Err("wrong_signature"));
        assert_eq!(check(None, BODY, &secrets, now), Err("no_signature"));
        assert_eq!(
            check(Some(header.as_bytes()), BODY, &[], now),
            Err("wrong_signature")
        );
    }

    #[test]
    fn other_headers_are_refused() {
        let zeros = "0".repeat(64);
        for (header, expected) in [
            (String::new(), "unreadable_signature"),
            (format!("v1={SIGNED}"), "unreadable_signature"),
            (format!("t=now,v1={SIGNED}"), "unreadable_signature"),
            (
                format!("t=99999999999999999999,v1={SIGNED}"),
                "unreadable_signature",
            ),
            ("t=1700000000".to_owned(), "wrong_signature"),
            (format!("t=1700000000,v0={SIGNED}"), "wrong_signature"),
            (format!("t=1700000000,v1={zeros}"), "wrong_signature"),
            (
                format!("t=1700000000,v1={}", &SIGNED[..32]),
                "wrong_signature",
            ),
            (format!("t=1700000001,v1={SIGNED}"), "wrong_signature"),
            (
                format!("t=-9223372036854775808,v1={SIGNED}"),
                "wrong_signature",
            ),
        ] {
            assert_eq!(checked(&header, 1_700_000_000), Err(expected), "{header}");
        }
        let several = format!("t=1700000000,v1={zeros},v1={SIGNED},v0=abc");
        assert_eq!(checked(&several, 1_700_000_000), Ok(()));
    }
}
