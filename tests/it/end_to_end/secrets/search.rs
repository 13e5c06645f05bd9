//! Searches files for card numbers and codes, as raw bytes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The code of all cards that are searched for.
pub const CODE: &str = "7391";

const LENGTH: usize = 16;

/// Card numbers that only this test uses.
pub struct Search {
    pub numbers: Vec<String>,
    known: HashSet<Vec<u8>>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Each as number and file.
    pub numbers: Vec<String>,
    /// Files where a card's code follows its name.
    pub named_codes: Vec<String>,
    /// How often the code occurs as a separate word.
    pub lone_codes: usize,
    /// Bytes that were searched.
    pub bytes: u64,
}

impl Search {
    pub fn for_random_numbers(count: usize) -> Self {
        let mut known = HashSet::new();
        while known.len() < count {
            known.insert(random_number());
        }
        let text = |digits: &Vec<u8>| String::from_utf8(digits.clone()).unwrap();
        Self {
            numbers: known.iter().map(text).collect(),
            known,
        }
    }

    /// Searches every file below these folders.
    pub fn below(&self, places: &[PathBuf]) -> Found {
        let mut found = Found::default();
        for place in places {
            assert!(place.exists(), "{} is not there", place.display());
            self.look(place, &mut found);
        }
        found
    }

    fn look(&self, path: &Path, found: &mut Found) {
        let kind = std::fs::symlink_metadata(path).unwrap().file_type();
        if kind.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                self.look(&entry.unwrap().path(), found);
            }
        } else if kind.is_file() {
            let bytes = std::fs::read(path).unwrap();
            found.bytes += bytes.len() as u64;
            self.look_for_numbers(path, &bytes, found);
            look_for_codes(path, &bytes, found);
        }
    }

    /// In digits, and in the hexadecimal form of digits ("3" before each): both are sequences of digits.
    fn look_for_numbers(&self, path: &Path, bytes: &[u8], found: &mut Found) {
        let mut seen = HashSet::new();
        for row in bytes.split(|byte| !byte.is_ascii_digit()) {
            for window in row.windows(LENGTH) {
                seen.extend(self.known.get(window));
            }
            for window in row.windows(LENGTH * 2) {
                if window.iter().step_by(2).all(|byte| *byte == b'3') {
                    let digits: Vec<u8> = window.iter().skip(1).step_by(2).copied().collect();
                    seen.extend(self.known.get(&digits));
                }
            }
        }
        let told =
            |number: &Vec<u8>| format!("{} in {}", String::from_utf8_lossy(number), path.display());
        found.numbers.extend(seen.into_iter().map(told));
    }
}

fn look_for_codes(path: &Path, bytes: &[u8], found: &mut Found) {
    let name = b"cardCode";
    for (place, window) in bytes.windows(name.len()).enumerate() {
        if window[0] == name[0] && window == name {
            // A quote, a colon, a space, another quote.
            let behind = &bytes[place + name.len()..bytes.len().min(place + name.len() + 12)];
            if behind.windows(CODE.len()).any(|it| it == CODE.as_bytes()) {
                found.named_codes.push(path.display().to_string());
            }
        }
    }
    let part_of_a_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    let words = bytes.split(|byte| !part_of_a_word(byte));
    found.lone_codes += words.filter(|word| *word == CODE.as_bytes()).count();
}

/// Sixteen digits with a valid check digit that are in no list of test cards.
fn random_number() -> Vec<u8> {
    loop {
        let mut digits = vec![b'4', b'7'];
        digits.extend((2..LENGTH).map(|_| rand::random_range(b'0'..=b'9')));
        if luhn(&digits) {
            return digits;
        }
    }
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |place: usize, digit: u32| match (place % 2, digit * 2) {
        (0, _) => digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| doubled(place, u32::from(digit - b'0')))
        .sum();
    sum.is_multiple_of(10)
}
