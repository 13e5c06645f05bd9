//! Seals cards for storage and opens them again: XChaCha20-Poly1305, with the owner as associated data, so that a
//! sealed card that was moved to another row cannot be opened there.
//!
//! A sealed card is: format (1 byte, 1), length of the key id (1 byte), key id, nonce (24 bytes), ciphertext and tag. So is
//! the sealed secret of another payment method; its plaintext begins with the method's name and a space, that of a card
//! with a digit.

pub mod keys;

use std::fmt;

use chacha20poly1305::aead::{AeadInOut, Generate, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

pub use keys::{InvalidSealKeys, SealKeys};

use crate::domain::{Card, CardCode, CardNumber, ClientName, Expiration, OtherMethod, PaymentId};

/// A sealed card as it is stored: key id, nonce, ciphertext. Unreadable without the key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedCard(pub Vec<u8>);

/// The owner of a sealed card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// One attempt of a payment.
    Payment(PaymentId, u32),
    /// A card token of one client, by its id.
    Token(&'a str, &'a ClientName),
}

/// Why a card could not be sealed or opened. Contains nothing of the card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is no longer in the configuration.
    #[error(
        "the card is sealed with key `{0}`, which SEAL_KEYS does not list: add it after the current one"
    )]
    UnknownKey(String),
    /// Changed, moved from another row, or sealed with another key of the same name.
    #[error(
        "the sealed card cannot be opened: it was changed, moved, or its key has another value"
    )]
    NotAuthentic,
    /// Not written by this program.
    #[error("the sealed card has an unknown format")]
    UnknownFormat,
    /// The cipher refused the input; it does so only beyond 256 GiB.
    #[error("the card could not be sealed")]
    NotSealed,
}

const FORMAT: u8 = 1;
const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
/// 19 digits, 4 digits, `YYYY-MM`, two separators and the tag: enough that no buffer grows and leaves a copy in memory.
const LONGEST_CARD: usize = 19 + 4 + 7 + 2 + TAG_LENGTH;

impl SealKeys {
    /// Seals a card with the first key.
    pub fn seal(&self, card: &Card, owner: Owner<'_>) -> Result<SealedCard, SealError> {
        self.encrypt(plaintext(card), owner)
    }

    /// Seals another payment method with the first key.
    pub fn seal_other(
        &self,
        method: &OtherMethod,
        owner: Owner<'_>,
    ) -> Result<SealedCard, SealError> {
        let (name, secret) = (&method.summary().name, method.expose());
        let length = name.len() + 1 + secret.len() + TAG_LENGTH;
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        text.extend_from_slice(name.as_bytes());
        text.push(b' ');
        text.extend_from_slice(secret);
        self.encrypt(text, owner)
    }

    /// Opens the secret of another payment method, if this method of this owner was sealed.
    pub fn open_other(
        &self,
        sealed: &SealedCard,
        name: &str,
        owner: Owner<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let opened = self.decrypt(sealed, owner)?;
        let secret = opened.strip_prefix(name.as_bytes());
        let secret = secret.and_then(|rest| rest.strip_prefix(b" "));
        let secret = secret.ok_or(SealError::UnknownFormat)?;
        Ok(Zeroizing::new(secret.to_vec()))
    }

    fn encrypt(
        &self,
        mut buffer: Zeroizing<Vec<u8>>,
        owner: Owner<'_>,
    ) -> Result<SealedCard, SealError> {
        let key = self.current();
        let nonce = XNonce::generate();
        XChaCha20Poly1305::new(key.secret().into())
            .encrypt_in_place(&nonce, &owner.associated_data(), &mut *buffer)
            .map_err(|_| SealError::NotSealed)?;
        let id = key.id().as_bytes();
        let id_length = u8::try_from(id.len()).map_err(|_| SealError::NotSealed)?;
        Ok(SealedCard(
            [&[FORMAT, id_length], id, nonce.as_slice(), &buffer].concat(),
        ))
    }

    /// Opens a card with the key that sealed it, if the key is listed and the card belongs to this owner.
    pub fn open(&self, sealed: &SealedCard, owner: Owner<'_>) -> Result<Card, SealError> {
        card(&self.decrypt(sealed, owner)?).ok_or(SealError::UnknownFormat)
    }

    fn decrypt(
        &self,
        sealed: &SealedCard,
        owner: Owner<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, nonce, ciphertext) = parts(&sealed.0).ok_or(SealError::UnknownFormat)?;
        let key = self
            .by_id(id)
            .ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        XChaCha20Poly1305::new(key.secret().into())
            .decrypt_in_place(
                &XNonce::from(*nonce),
                &owner.associated_data(),
                &mut *buffer,
            )
            .map_err(|_| SealError::NotAuthentic)?;
        Ok(buffer)
    }
}

impl Owner<'_> {
    /// Unique for each owner: a client's name contains no slash, and the token's id follows the last one.
    fn associated_data(self) -> Vec<u8> {
        match self {
            Self::Payment(payment, attempt) => format!("payment/{payment}/{attempt}").into_bytes(),
            Self::Token(token, client) => format!("token/{client}/{token}").into_bytes(),
        }
    }
}

fn plaintext(card: &Card) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_CARD));
    text.extend_from_slice(card.number.expose().as_bytes());
    text.push(b' ');
    text.extend_from_slice(card.code.expose().as_bytes());
    text.push(b' ');
    text.extend_from_slice(card.expiration.to_string().as_bytes());
    text
}

fn card(plaintext: &[u8]) -> Option<Card> {
    let mut fields = std::str::from_utf8(plaintext).ok()?.split(' ');
    Some(Card {
        number: CardNumber::parse(fields.next()?).ok()?,
        code: CardCode::parse(fields.next()?).ok()?,
        expiration: Expiration::parse(fields.next()?).ok()?,
    })
}

fn parts(sealed: &[u8]) -> Option<(&str, &[u8; NONCE_LENGTH], &[u8])> {
    let ([FORMAT, id_length], rest) = sealed.split_first_chunk()? else {
        return None;
    };
    let (id, rest) = rest.split_at_checked(usize::from(*id_length))?;
    let (nonce, ciphertext) = rest.split_first_chunk()?;
    Some((std::str::from_utf8(id).ok()?, nonce, ciphertext))
}

/// Shows only its length, to keep log lines short.
impl fmt::Debug for SealedCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedCard({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
