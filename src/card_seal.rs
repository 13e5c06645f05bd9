//! Seals cards for storage and opens them again.

/// A sealed card as it is stored: key id, nonce, ciphertext. Says nothing without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCard(pub Vec<u8>);
