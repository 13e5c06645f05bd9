//! Content headers and methods: makes every text UTF-8 and limits the size of every table.
//!
//! Each byte of a text that is not UTF-8 becomes the character SUBSTITUTE (U+001A), so that the text is clearly not the
//! original.

use crate::broker::{
    HEADERS_DROPPED, KEPT_BODY_BYTES, LONGEST_BODY_BYTES, LONGEST_HEADER_BYTES,
    LONGEST_HEADERS_BYTES, ORIGINAL_SIZE, SUBSTITUTE,
};

/// Maximum nesting of tables; deeper ones would overflow the reader's stack. RabbitMQ's own tables have two levels.
const DEEPEST: usize = 8;

/// Class, weight, size of the body, flags.
const FIXED: usize = 14;

/// The properties that the flags of a content header announce, from bit 15 on.
const PROPERTIES: [Kind; 14] = [
    Kind::Text,     // content-type
    Kind::Text,     // content-encoding
    Kind::Table,    // headers
    Kind::Bytes(1), // delivery-mode
    Kind::Bytes(1), // priority
    Kind::Text,     // correlation-id
    Kind::Text,     // reply-to
    Kind::Text,     // expiration
    Kind::Text,     // message-id
    Kind::Bytes(8), // timestamp
    Kind::Text,     // type
    Kind::Text,     // user-id
    Kind::Text,     // app-id
    Kind::Text,     // cluster-id
];
const HEADERS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes(usize),
    /// A length of one byte, and the text.
    Text,
    /// A length of four bytes, and the entries.
    Table,
}

/// Bytes that are read from front to back; returns none if there are too few.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, count: usize) -> Option<usize> {
        let bytes = self.take(count)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let length = self.number(1)?;
        Some(made_text(self.take(length)?))
    }
}

/// The cleaned payload of a content header, and the original size of the body.
pub(super) fn cleaned(payload: &[u8]) -> (Vec<u8>, u64) {
    let fixed = payload.first_chunk::<FIXED>();
    let Some([c0, c1, w0, w1, size @ .., f0, f1]) = fixed else {
        return (payload.to_vec(), 0);
    };
    let size = size
        .iter()
        .fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    let mut headers = Table::default();
    let flags = u16::from_be_bytes([*f0, *f1]);
    // No broker sends incomplete properties; if one did, a header says that something is missing.
    let properties = properties(flags, &payload[FIXED..], &mut headers).unwrap_or_else(|| {
        headers.dropped = true;
        Default::default()
    });
    let kept = if size > LONGEST_BODY_BYTES as u64 {
        headers.note(ORIGINAL_SIZE, &size.to_string());
        KEPT_BODY_BYTES as u64
    } else {
        size
    };
    if headers.dropped {
        headers.note(HEADERS_DROPPED, "true");
    }
    let (before, after, mut flags) = properties;
    let mut clean = vec![*c0, *c1, *w0, *w1];
    clean.extend_from_slice(&kept.to_be_bytes());
    let has_headers = !headers.entries.is_empty();
    if has_headers {
        flags |= 1 << (15 - HEADERS);
    }
    clean.extend_from_slice(&flags.to_be_bytes());
    clean.extend_from_slice(&before);
    if has_headers {
        clean.extend_from_slice(&length(&headers.entries));
        clean.extend_from_slice(&headers.entries);
    }
    clean.extend_from_slice(&after);
    (clean, size)
}

/// Properties before the headers and after them, and the flags without that of the headers.
fn properties(flags: u16, bytes: &[u8], headers: &mut Table) -> Option<(Vec<u8>, Vec<u8>, u16)> {
    let mut bytes = Bytes(bytes);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (place, kind) in PROPERTIES.into_iter().enumerate() {
        if flags & 1 << (15 - place) == 0 {
            continue;
        }
        let clean = if place < HEADERS {
            &mut before
        } else {
            &mut after
        };
        match kind {
            Kind::Bytes(count) => clean.extend_from_slice(bytes.take(count)?),
            Kind::Text => push_text(&bytes.text()?, clean),
            Kind::Table => {
                let size = bytes.number(4)?;
                headers.read(Bytes(bytes.take(size)?));
            }
        }
    }
    // The last two bits have no meaning in this class.
    let known = flags & !(1 << (15 - HEADERS)) & !0b11;
    bytes.0.is_empty().then_some((before, after, known))
}

/// The headers of a message, cleaned entry by entry.
#[derive(Default)]
struct Table {
    entries: Vec<u8>,
    dropped: bool,
}

impl Table {
    fn read(&mut self, mut bytes: Bytes<'_>) {
        while !bytes.0.is_empty() {
            let Some((entry, value)) = entry(&mut bytes) else {
                // It is unknown where the next one begins.
                self.dropped = true;
                return;
            };
            if value > LONGEST_HEADER_BYTES + 5
                || self.entries.len() + entry.len() > LONGEST_HEADERS_BYTES
            {
                self.dropped = true;
            } else {
                self.entries.extend_from_slice(&entry);
            }
        }
    }

    fn note(&mut self, name: &str, value: &str) {
        push_text(name.as_bytes(), &mut self.entries);
        self.entries.push(b'S');
        self.entries.extend_from_slice(&length(value.as_bytes()));
        self.entries.extend_from_slice(value.as_bytes());
    }
}

/// An entry of the headers, and how many of its bytes are the value. A long text is cut.
fn entry(bytes: &mut Bytes<'_>) -> Option<(Vec<u8>, usize)> {
    let mut entry = Vec::new();
    push_text(&bytes.text()?, &mut entry);
    let name = entry.len();
    if bytes.0.first() == Some(&b'S') {
        bytes.take(1)?;
        let size = bytes.number(4)?;
        let text = made_text(bytes.take(size)?);
        let kept = &text[..text.len().min(LONGEST_HEADER_BYTES)];
        entry.push(b'S');
        entry.extend_from_slice(&length(kept));
        entry.extend_from_slice(kept);
    } else {
        value(bytes, &mut entry, DEEPEST)?;
    }
    let value = entry.len() - name;
    Some((entry, value))
}

/// A value with its type in front.
fn value(bytes: &mut Bytes<'_>, clean: &mut Vec<u8>, deepest: usize) -> Option<()> {
    let kind = bytes.number(1)?;
    let kind = u8::try_from(kind).ok()?;
    clean.push(kind);
    let fixed = match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'S' | b'x' => {
            let size = bytes.number(4)?;
            let content = bytes.take(size)?;
            clean.extend_from_slice(&length(content));
            clean.extend_from_slice(content);
            return Some(());
        }
        b'F' | b'A' => {
            let size = bytes.number(4)?;
            let mut items = Bytes(bytes.take(size)?);
            let deeper = deepest.checked_sub(1)?;
            let mut inner = Vec::new();
            while !items.0.is_empty() {
                if kind == b'F' {
                    push_text(&items.text()?, &mut inner);
                }
                value(&mut items, &mut inner, deeper)?;
            }
            clean.extend_from_slice(&length(&inner));
            clean.extend_from_slice(&inner);
            return Some(());
        }
        _ => return None,
    };
    clean.extend_from_slice(bytes.take(fixed)?);
    Some(())
}

/// Makes the short texts of a method UTF-8, in place: those that repeat text from other clients.
pub(super) fn clean_method(payload: &mut [u8]) {
    let &mut [_, class, _, method, ..] = payload else {
        return;
    };
    // Bytes before the texts, and between the first and the others.
    let (before, between, texts) = match (class, method) {
        // The reason for closing a connection or channel: RabbitMQ cuts long reasons at any byte.
        (10, 50) | (20, 40) => (6, 0, 1),
        // A returned message: code, reason, exchange, routing key.
        (60, 50) => (6, 0, 3),
        // A delivery: consumer tag, number and flag, exchange, routing key.
        (60, 60) => (4, 9, 3),
        _ => return,
    };
    let mut at = before;
    for text in 0..texts {
        let Some(&size) = payload.get(at) else {
            return;
        };
        let end = at + 1 + usize::from(size);
        let Some(bytes) = payload.get_mut(at + 1..end) else {
            return;
        };
        let clean = made_text(bytes);
        bytes.copy_from_slice(&clean);
        at = if text == 0 { end + between } else { end };
    }
}

fn push_text(text: &[u8], clean: &mut Vec<u8>) {
    // Its length fitted into one byte when it arrived, and it did not grow.
    clean.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    clean.extend_from_slice(text);
}

fn length(content: &[u8]) -> [u8; 4] {
    u32::try_from(content.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}

/// The text as UTF-8 with the same number of bytes.
fn made_text(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.resize(text.len() + chunk.invalid().len(), SUBSTITUTE);
    }
    text
}
