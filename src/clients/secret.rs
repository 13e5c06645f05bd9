//! The secret that a client shares with the service to verify callbacks (Standard Webhooks 1.0).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The prefix of every secret.
const PREFIX: &str = "whsec_";

/// Allowed lengths in bytes, from the standard.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret shared with one receiver. Its `Debug` output shows nothing of it.
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
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        Some(format!(
            "v1,{}",
            STANDARD.encode(mac.finalize().into_bytes())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_prefix_and_24_to_64_bytes_in_base64_and_is_never_shown() {
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
