//! Standard Webhooks 1.0: three headers by which a receiver knows who sent a callback, and that it is not an old one
//! played again.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// How many bytes a secret may have, as the standard says.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Shared with one receiver. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?);
        LENGTHS.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// A new one: 256 random bits.
    pub fn generate() -> Zeroizing<String> {
        let random: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(*random)))
    }

    /// `v1,` and the HMAC-SHA-256 of `id.timestamp.body` in base64.
    fn sign(&self, id: &str, timestamp: u64, body: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        Some(format!(
            "v1,{}",
            STANDARD.encode(mac.finalize().into_bytes())
        ))
    }
}

/// The headers for one try. With several secrets there are several signatures, so that a receiver can change its
/// secret without a gap; without any there are none.
pub fn headers(
    secrets: &[Secret],
    id: &str,
    since_1970: Duration,
    body: &str,
) -> Vec<(&'static str, String)> {
    let timestamp = since_1970.as_secs();
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|secret| secret.sign(id, timestamp, body))
        .collect();
    let mut headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
    ];
    if !signatures.is_empty() {
        headers.push(("webhook-signature", signatures.join(" ")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out with Python's hmac and base64.
    #[test]
    fn a_signature_is_the_hmac_of_id_timestamp_and_body() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let headers = headers(
            &[secret.clone(), secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Duration::from_millis(1_614_265_330_999),
            r#"{"test": 2432232314}"#,
        );
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(
            headers[0],
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned())
        );
        assert_eq!(headers[1], ("webhook-timestamp", "1614265330".to_owned()));
        assert_eq!(
            headers[2],
            ("webhook-signature", format!("{expected} {expected}"))
        );
    }

    #[test]
    fn a_secret_is_24_to_64_bytes_in_base64_behind_its_prefix_and_never_shown() {
        let of =
            |bytes: usize| Secret::parse(&format!("whsec_{}", STANDARD.encode(vec![7; bytes])));
        assert!(of(23).is_none() && of(65).is_none());
        assert!(of(24).is_some() && of(64).is_some());
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_~~~~",
        ] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
        let secret = Secret::generate();
        let read = Secret::parse(&secret).expect("a generated secret");
        assert!(!secret.contains(&format!("{read:?}")));
        assert_eq!(format!("{read:?}"), "Secret(..)");
    }
}
