//! The keys that cards are sealed with, from configuration or from a file of the embedded service, and the keys for
//! idempotency fingerprints that are derived from them.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Generate, Key};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// One or more keys. The first one seals, all of them open: to change keys, put the new one in front, and remove the old
/// one when nothing is sealed with it any more.
#[derive(Clone)]
pub struct SealKeys {
    current: SealKey,
    older: Vec<SealKey>,
}

/// A key with its name.
#[derive(Clone)]
pub(super) struct SealKey {
    id: String,
    secret: Zeroizing<[u8; SealKeys::LENGTH]>,
    /// Derived, so that a fingerprint reveals nothing about the sealing key.
    fingerprint: Zeroizing<[u8; 32]>,
}

/// Why the keys cannot be used, and what to do. Never contains a key; the caller adds the variable's name.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSealKeys {
    /// The value is empty.
    #[error("contains no key: write id:key, as `payment-service keys` prints it")]
    Missing,
    /// One entry is not `id:key`; entries are counted from 1, since their text may be a key.
    #[error("entry {0}: write id:key, with an id of 1 to 16 of a-z and 0-9")]
    Id(usize),
    /// One key is not 32 bytes in hexadecimal.
    #[error("key `{0}`: must be 64 hexadecimal digits, as `openssl rand -hex 32` makes them")]
    Key(String),
    /// Two keys have the same id.
    #[error("key `{0}` is listed twice: give each key its own id")]
    Twice(String),
    /// The key file exists, but its content is invalid.
    #[error(
        "the key file {path} is damaged ({source}): restore it from a backup; without it no stored card can be opened"
    )]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<InvalidSealKeys>,
    },
    /// The key file cannot be read or created.
    #[error("the key file {path} cannot be read or created: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl SealKeys {
    /// Bytes in a key.
    pub const LENGTH: usize = 32;

    /// Longest key id, in characters; it is stored with every sealed card.
    pub const MAX_ID: usize = 16;

    /// Reads `id:key[,id:key…]`, keys in hexadecimal.
    pub fn parse(text: &str) -> Result<Self, InvalidSealKeys> {
        let mut keys: Vec<SealKey> = Vec::new();
        let entries = text.split(',').map(str::trim);
        for (number, entry) in (1..).zip(entries.filter(|entry| !entry.is_empty())) {
            let key = SealKey::parse(entry, number)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(InvalidSealKeys::Twice(key.id));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        Ok(Self {
            current: keys.next().ok_or(InvalidSealKeys::Missing)?,
            older: keys.collect(),
        })
    }

    /// One new key from the system's random source, with its own id.
    pub fn generate() -> Self {
        let secret = Zeroizing::new(Key::<XChaCha20Poly1305>::generate().into());
        let id = hex::encode(<[u8; 4]>::generate());
        Self {
            current: SealKey::new(id, secret),
            older: Vec::new(),
        }
    }

    /// The keys of the embedded service: reads the file, or creates it with a new key, readable only by its owner.
    pub fn load_or_create(path: &Path) -> Result<Self, InvalidSealKeys> {
        let unusable = |source| InvalidSealKeys::File {
            path: path.to_owned(),
            source,
        };
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => Self::parse(&text).map_err(|source| InvalidSealKeys::DamagedFile {
                path: path.to_owned(),
                source: Box::new(source),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keys = Self::generate();
                keys.write_new(path).map_err(unusable)?;
                Ok(keys)
            }
            Err(error) => Err(unusable(error)),
        }
    }

    /// The text that [`Self::parse`] reads. It contains the keys: only for the operator and the key file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let length = (Self::MAX_ID + 2 * Self::LENGTH + 2) * (1 + self.older.len());
        let mut text = Zeroizing::new(String::with_capacity(length));
        for key in self.all() {
            let separator = if text.is_empty() { "" } else { "," };
            let digits = Zeroizing::new(hex::encode(*key.secret));
            for part in [separator, &key.id, ":", &digits] {
                text.push_str(part);
            }
        }
        text
    }

    /// An HMAC-SHA-256 that identifies a repeated request without revealing its content.
    pub fn fingerprint(&self, message: &[u8]) -> [u8; 32] {
        mac(&self.current.fingerprint, message)
    }

    /// Whether a stored fingerprint belongs to this message, with any listed key; takes the same time either way.
    pub fn matches(&self, fingerprint: &[u8; 32], message: &[u8]) -> bool {
        self.all().fold(false, |found, key| {
            let same = subtle::ConstantTimeEq::ct_eq(
                mac(&key.fingerprint, message).as_slice(),
                fingerprint.as_slice(),
            );
            found | bool::from(same)
        })
    }

    pub(super) fn current(&self) -> &SealKey {
        &self.current
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&SealKey> {
        self.all().find(|key| key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &SealKey> {
        std::iter::once(&self.current).chain(&self.older)
    }

    /// Writes the file completely or not at all, even if the machine stops: a half-written key is lost.
    fn write_new(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        // Created with permissions 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(file, "{}", *self.to_text())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        #[cfg(unix)]
        std::fs::File::open(folder)?.sync_all()?;
        Ok(())
    }
}

impl SealKey {
    fn new(id: String, secret: Zeroizing<[u8; SealKeys::LENGTH]>) -> Self {
        let fingerprint = Zeroizing::new(mac(&secret, b"idempotency-fingerprint v1"));
        Self {
            id,
            secret,
            fingerprint,
        }
    }

    fn parse(entry: &str, number: usize) -> Result<Self, InvalidSealKeys> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let (id, digits) = entry.split_once(':').ok_or(InvalidSealKeys::Id(number))?;
        if !(1..=SealKeys::MAX_ID).contains(&id.len()) || !id.bytes().all(allowed) {
            return Err(InvalidSealKeys::Id(number));
        }
        let mut secret = Zeroizing::new([0; SealKeys::LENGTH]);
        hex::decode_to_slice(digits, secret.as_mut_slice())
            .map_err(|_| InvalidSealKeys::Key(id.to_owned()))?;
        Ok(Self::new(id.to_owned(), secret))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn secret(&self) -> &[u8; SealKeys::LENGTH] {
        &self.secret
    }
}

/// Shows the ids, never a key.
impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.all().map(SealKey::id).collect();
        f.debug_tuple("SealKeys").field(&ids).finish()
    }
}

fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    // HMAC pads a shorter key with zeros to the hash's block size.
    let mut block = Zeroizing::new([0; 64]);
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
