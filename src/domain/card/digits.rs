//! Check digits, and the search for card numbers where none may be.

/// Whether a text holds a card number, which must never be kept, logged or published: 13 to 19 digits with a right
/// check digit. They may be grouped by spaces and hyphens, and other groups of digits may stand before and after
/// them; but digits within a longer unbroken row of digits are part of some other number.
pub fn holds_card_number(text: &str) -> bool {
    let separator = |c| c == ' ' || c == '-';
    text.split(|c: char| !c.is_ascii_digit() && !separator(c))
        .any(|row| {
            let groups: Vec<&str> = row.split(separator).filter(|g| !g.is_empty()).collect();
            (0..groups.len()).any(|first| starts_with_card_number(&groups[first..]))
        })
}

fn starts_with_card_number(groups: &[&str]) -> bool {
    let mut digits = String::new();
    for group in groups {
        digits.push_str(group);
        match digits.len() {
            13..=19 if luhn(&digits) => return true,
            0..=19 => {}
            _ => return false,
        }
    }
    false
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
