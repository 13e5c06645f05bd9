//! Check digits, and the characters that people write between digits.

/// Spaces that people and programs write between groups of digits. Several of them are non-breaking: browsers, word
/// processors and banks' letters use those.
pub const SPACES: &[char] = &[
    ' ', '\t', '\u{a0}', '\u{2000}', '\u{2001}', '\u{2002}', '\u{2003}', '\u{2004}', '\u{2005}',
    '\u{2006}', '\u{2007}', '\u{2008}', '\u{2009}', '\u{200a}', '\u{202f}', '\u{205f}', '\u{3000}',
];

/// The keyboard's hyphen, and the longer and non-breaking ones that word processors replace it with.
pub const HYPHENS: &[char] = &['-', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}'];

/// Whether a character is allowed between the digits of a card number.
pub(super) fn separates(c: char) -> bool {
    SPACES.contains(&c) || HYPHENS.contains(&c)
}

/// Whether the last of some ASCII digits is the check digit of the others (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            if place % 2 == 0 {
                digit
            } else {
                digit * 2 / 10 + digit * 2 % 10
            }
        })
        .sum();
    sum.is_multiple_of(10)
}
