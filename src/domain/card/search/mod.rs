//! Finds card numbers in texts in which they must not be stored, logged or published. Only this module decides what
//! looks like a card number.
//!
//! A card number is a sequence of digits that is in an issuer range of ISO/IEC 7812, has a length of that range, and
//! ends in the right check digit. Its digits may be of any script and may be separated by anything that is neither a
//! letter nor a digit: `4242 4242 4242 4242`, `4242.4242/4242_4242`, `4 2 4 2 …`.
//!
//! Other numbers must pass: times, UUIDs, tracking numbers, prices. Hence the ranges, and the shapes in
//! [`Row::is_another_number`].

use std::ops::Range;

use super::digits::luhn;

/// Replaces a text that contains a card number.
pub const MASK: &str = "[masked]";

/// First digits, from and to, and the lengths of the numbers that begin with them.
type IssuerRange = (u32, u32, &'static [usize]);

/// The ranges of the card schemes. Maestro's own ranges go down to 12 digits; the wider ones around them are shared with
/// national schemes (RuPay, Elo, Verve, Hipercard) whose numbers have at least 16.
const ISSUER_RANGES: &[IssuerRange] = &[
    // Visa
    (4, 4, &[13, 16, 19]),
    // Mastercard
    (51, 55, &[16]),
    (2221, 2720, &[16]),
    // American Express
    (34, 34, &[15]),
    (37, 37, &[15]),
    // Diners Club
    (300, 305, &[14, 16, 19]),
    (3095, 3095, &[14, 16, 19]),
    (36, 36, &[14, 16, 19]),
    (38, 39, &[14, 16, 19]),
    // JCB
    (3528, 3589, &[16, 17, 18, 19]),
    // Maestro
    (5018, 5018, MAESTRO),
    (5020, 5020, MAESTRO),
    (5038, 5038, MAESTRO),
    (5893, 5893, MAESTRO),
    (6304, 6304, MAESTRO),
    (6759, 6759, MAESTRO),
    (6761, 6763, MAESTRO),
    // Maestro and national schemes; Discover, UnionPay and others under 6
    (50, 50, &[16, 19]),
    (56, 58, &[16, 19]),
    (6, 6, &[16, 17, 18, 19]),
    // UnionPay and RuPay
    (81, 82, &[16, 17, 18, 19]),
    // Mir
    (2200, 2204, &[16, 17, 18, 19]),
    // Troy, Uzcard, Humo
    (9792, 9792, &[16]),
    (8600, 8600, &[16]),
    (9860, 9860, &[16]),
];

const MAESTRO: &[usize] = &[12, 13, 14, 15, 16, 17, 18, 19];

/// How people group the digits of a card number. Such groups are found among other numbers, whatever separates them: a
/// code or a date often follows a card number.
const LAYOUTS: &[&[usize]] = &[
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 4, 4, 1],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 3],
    &[6, 13],
    &[4, 4, 4, 3],
    &[4, 4, 4, 2],
    &[4, 4, 4, 1],
    &[4, 4, 4],
    &[4, 5, 4],
];

/// Maximum number of separators between two digits of one number: ` - `.
const LONGEST_GAP: usize = 3;

/// The code point of the digit 0 of each script; the digits 1 to 9 follow it (Unicode 14, general category Nd).
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66,
    0xDE6, 0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90,
    0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
    0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650,
    0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50,
    0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
];

/// Whether a text contains a card number.
pub fn holds_card_number(text: &str) -> bool {
    // Most texts have too few digits; all others are short, since all input has a size limit.
    if text.chars().filter_map(digit).nth(11).is_none() {
        return false;
    }
    let holds =
        |identifiers: &[Range<usize>]| rows(text, identifiers).iter().any(Row::holds_card_number);
    holds(&[]) && holds(&identifiers(text))
}

/// The text, or [`MASK`] if it contains a card number: for everything that is logged, stored or published.
pub fn without_card_number(text: &str) -> &str {
    if holds_card_number(text) { MASK } else { text }
}

/// One or more groups of digits, with their separators; letters end a row.
#[derive(Default)]
struct Row {
    groups: Vec<String>,
    /// Between each group and the next.
    gaps: Vec<String>,
    /// There is a plus sign directly before the first group.
    after_plus: bool,
}

impl Row {
    fn holds_card_number(&self) -> bool {
        let sizes: Vec<usize> = self.groups.iter().map(String::len).collect();
        let in_usual_groups = !self.is_parcel_number(&sizes)
            && LAYOUTS.iter().any(|layout| {
                let windows = sizes.windows(layout.len()).enumerate();
                let mut fitting = windows.filter(|(_, window)| window == layout);
                fitting.any(|(first, _)| self.is_card_number(first, first + layout.len()))
            });
        in_usual_groups
            || self
                .uniform_parts()
                .any(|(first, end)| self.is_card_number(first, end))
    }

    /// Single groups, and the longest parts with equal gaps; each from its first group to the one after its last.
    fn uniform_parts(&self) -> impl Iterator<Item = (usize, usize)> {
        let single = (0..self.groups.len()).map(|group| (group, group + 1));
        let mut first = 0;
        let several = (0..self.gaps.len()).filter_map(move |gap| {
            if self.gaps.get(gap) == self.gaps.get(gap + 1) {
                return None;
            }
            let part = (first, gap + 2);
            first = gap + 1;
            Some(part)
        });
        single.chain(several)
    }

    /// Whether the groups from `first` to before `end` are one card number.
    fn is_card_number(&self, first: usize, end: usize) -> bool {
        let digits = self.groups[first..end].concat();
        is_in_issuer_range(&digits) && luhn(&digits) && !self.is_another_number(first, end)
    }

    /// Other kinds of numbers, which sometimes have the digits of a card number.
    fn is_another_number(&self, first: usize, end: usize) -> bool {
        match &self.groups[first..end] {
            // A telephone number in its international form.
            [phone] if first == 0 && self.after_plus && phone.len() == 13 => true,
            [article] => article.len() == 13 && is_article_number(article),
            // A decimal number with many places, such as a degree of longitude.
            [whole, _] => matches!(self.gaps[first].as_str(), "." | ",") && whole.len() <= 3,
            // An order number of Amazon.
            [market, first, second] => [market.len(), first.len(), second.len()] == [3, 7, 7],
            _ => false,
        }
    }

    /// A parcel number of the US postal service: 20 to 22 digits from 91 to 95, in groups of four.
    fn is_parcel_number(&self, sizes: &[usize]) -> bool {
        (20..=22).contains(&sizes.iter().sum::<usize>())
            && sizes.iter().rev().skip(1).all(|size| *size == 4)
            && matches!(self.groups[0].as_bytes(), [b'9', b'1'..=b'5', ..])
    }
}

fn is_in_issuer_range(digits: &str) -> bool {
    ISSUER_RANGES.iter().any(|(from, to, lengths)| {
        let prefix = digits
            .get(..from.to_string().len())
            .and_then(|prefix| prefix.parse().ok());
        lengths.contains(&digits.len())
            && prefix.is_some_and(|prefix: u32| (*from..=*to).contains(&prefix))
    })
}

/// An article number (EAN, GTIN-13): its digits, weighted 1 and 3 in turn, end in the right check digit.
fn is_article_number(digits: &str) -> bool {
    let weights = [1, 3].into_iter().cycle();
    let sum: u32 = digits
        .bytes()
        .zip(weights)
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    sum.is_multiple_of(10)
}

/// Splits a text into its rows of digits; those of identifiers count as letters.
fn rows(text: &str, identifiers: &[Range<usize>]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = Row::default();
    // The text since the last digit, or since the beginning.
    let mut gap = String::new();
    for (at, c) in text.char_indices() {
        let in_identifier = identifiers.iter().any(|range| range.contains(&at));
        match digit(c).filter(|_| !in_identifier) {
            Some(digit) => {
                row.push(digit, &gap);
                gap.clear();
            }
            None => {
                gap.push(c);
                let ends =
                    in_identifier || c.is_alphanumeric() || gap.chars().count() > LONGEST_GAP;
                if ends {
                    gap.clear();
                    rows.push(std::mem::take(&mut row));
                }
            }
        }
    }
    rows.push(row);
    rows
}

impl Row {
    fn push(&mut self, digit: char, gap: &str) {
        match self.groups.last_mut() {
            Some(group) if gap.is_empty() => group.push(digit),
            Some(_) => {
                self.gaps.push(gap.to_owned());
                self.groups.push(digit.to_string());
            }
            None => {
                self.after_plus = gap.ends_with('+');
                self.groups.push(digit.to_string());
            }
        }
    }
}

/// The positions of UUIDs and of longer hexadecimal ids of databases and traces: their random digits are sometimes those
/// of a card number. At least one of their digits is a letter.
fn identifiers(text: &str) -> Vec<Range<usize>> {
    let between_words = |c: char| !c.is_ascii_alphanumeric();
    let mut end = 0;
    let words: Vec<(usize, &str)> = text
        .split_inclusive(between_words)
        .map(|word| {
            let begin = end;
            end += word.len();
            (begin, word.trim_end_matches(between_words))
        })
        .collect();
    let range = |words: &[(usize, &str)]| {
        let (last, word) = words[words.len() - 1];
        words[0].0..last + word.len()
    };
    let long = words
        .chunks(1)
        .filter(|word| matches!(word[0].1.len(), 24 | 32 | 40 | 64));
    let uuids = words.windows(5).filter(|words| {
        let lengths = [8, 4, 4, 4, 12];
        words.iter().map(|(_, word)| word.len()).eq(lengths) && text[range(words)].len() == 36
    });
    long.chain(uuids)
        .filter(|words| {
            let mut characters = words.iter().flat_map(|(_, word)| word.bytes());
            characters.clone().all(|c| c.is_ascii_hexdigit())
                && characters.any(|c| c.is_ascii_alphabetic())
        })
        .map(range)
        .collect()
}

/// A decimal digit of any script as its ASCII digit.
fn digit(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c).filter(char::is_ascii_digit);
    }
    let code = u32::from(c);
    let zero = ZEROS[ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?];
    char::from_digit(code - zero, 10)
}

#[cfg(test)]
mod tests;
