use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::*;

/// Test cards of this service and of others, one or more of each scheme.
const CARDS: &[&str] = &[
    "4242424242424242",
    "4000056655665556",
    "5555555555554444",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "3056930009020004",
    "36227206271667",
    "30569309025904",
    "38520000023237",
    "3566002020360505",
    "6200000000000005",
    "6205500000000000004",
    "4222222222222",
    "4000000000000002",
    "4000009900000400",
    "6759649826438453",
    "6799990100000000019",
    "501800000009",
    "2200000000000004",
];

/// The digits in groups of this size; the last group has the rest.
fn grouped(digits: &str, sizes: &[usize], separator: &str) -> String {
    let mut groups = Vec::new();
    let mut rest = digits;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (group, further) = rest.split_at(sizes.next().unwrap().min(rest.len()));
        groups.push(group);
        rest = further;
    }
    groups.join(separator)
}

fn in_script(text: &str, zero: u32) -> String {
    text.chars()
        .map(|c| match c.to_digit(10) {
            Some(digit) => char::from_u32(zero + digit).unwrap(),
            None => c,
        })
        .collect()
}

#[test]
fn a_card_number_is_found_in_every_notation() {
    let separators = [
        "", " ", "-", ".", "/", "_", ":", "\u{a0}", "\t", "–", " - ", "·", "*", ",", "\u{200b}",
        "\u{2009}", "|", "\n", "𝄞",
    ];
    let sizes: [&[usize]; 6] = [&[4], &[4, 6, 5], &[1], &[2], &[8], &[6, 13]];
    let around = [
        ("", ""),
        ("card ", ", 12/30 123"),
        ("x", "y"),
        ("2026-11-26: ", "!"),
        ("é", "…"),
    ];
    for card in CARDS {
        for separator in separators {
            for sizes in sizes {
                for zero in [0x30, 0xFF10, 0x1D7CE] {
                    for (before, after) in around {
                        let card = in_script(&grouped(card, sizes, separator), zero);
                        let text = format!("{before}{card}{after}");
                        assert!(holds_card_number(&text), "{text:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn separators_may_vary_and_other_numbers_may_be_adjacent() {
    for text in [
        "4242-4242 4242.4242",
        "12 4242 4242 4242 4242 0130 123",
        "order 1234: 4242424242424242, 12/30",
        "2030 4242-4242-4242-4242 123",
        "3782 822463 10005 0130",
    ] {
        assert!(holds_card_number(text), "{text}");
    }
}

#[test]
fn other_numbers_are_not_taken_for_cards() {
    for text in [
        "4242424242424241",                     // a wrong check digit
        "1732573800007",                        // milliseconds
        "9999999999999995",                     // no issuer
        "14242424242424242",                    // a longer number
        "424242424242424242",                   // no length of that issuer
        "4006381333931",                        // an article number
        "+4915112345674",                       // a telephone number
        "51.50735091234564",                    // a latitude
        "9400 1118 9922 3397 6249 21",          // a parcel number
        "2026-11-30 05:12:33.123456",           // a time
        "42424242-4242-4242-8242-42424242424a", // a UUID
        "order 42, 4242 of 4242 pieces, 4242",  // a text
        "",
    ] {
        assert!(!holds_card_number(text), "{text}");
    }
}

/// Numbers and ids that callers use, with the name of each kind.
fn other_ids(random: &mut StdRng) -> Vec<(&'static str, String)> {
    let seconds: u64 = random.random_range(1_000_000_000..2_200_000_000);
    let fraction: u64 = random.random_range(0..1_000_000_000);
    let nanoseconds = seconds * 1_000_000_000 + fraction;
    let bits: u128 = random.random();
    let v4 = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
    let number = |random: &mut StdRng, digits: usize| -> String {
        (0..digits)
            .map(|_| random.random_range('0'..='9'))
            .collect()
    };
    let crockford = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let ulid: String = (0..26)
        .map(|place| {
            crockford
                [(bits >> (125 - 5 * place.min(25)) & if place == 0 { 7 } else { 31 }) as usize]
                as char
        })
        .collect();
    let alphanumeric: String = (0..6)
        .map(|_| char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[random.random_range(0..36)]))
        .collect();
    let amazon = [
        "026", "028", "112", "113", "171", "203", "305", "404", "503", "701",
    ];
    let amazon = amazon[random.random_range(0..amazon.len())];
    vec![
        ("seconds", seconds.to_string()),
        ("milliseconds", (nanoseconds / 1_000_000).to_string()),
        ("microseconds", (nanoseconds / 1_000).to_string()),
        ("nanoseconds", nanoseconds.to_string()),
        (
            "seconds with a fraction",
            format!("{seconds}.{:06}", fraction / 1_000),
        ),
        ("UUID 4", v4.to_string()),
        ("UUID 4, simple", v4.simple().to_string()),
        (
            "UUID 7",
            Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0)).to_string(),
        ),
        ("ULID", ulid),
        ("object id", v4.simple().to_string()[..24].to_owned()),
        (
            "trace",
            format!("00-{}-{:016x}-01", v4.simple(), bits >> 64),
        ),
        ("order", format!("ORD-2026-{}", number(random, 6))),
        (
            "order by day",
            format!("20{}-{}", number(random, 6), number(random, 6)),
        ),
        (
            "order, Amazon",
            format!("{amazon}-{}-{}", number(random, 7), number(random, 7)),
        ),
        ("order, ten digits", number(random, 10)),
        (
            "date and time",
            format!(
                "2026-11-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                seconds % 30 + 1,
                seconds % 24,
                seconds % 60,
                fraction % 60,
                fraction / 1_000
            ),
        ),
        (
            "parcel, UPS",
            format!("1Z{alphanumeric}{}", number(random, 10)),
        ),
        ("parcel, USPS", format!("94{}", number(random, 20))),
        (
            "parcel, USPS in groups",
            grouped(&format!("94{}", number(random, 20)), &[4], " "),
        ),
        ("parcel, FedEx", number(random, 12)),
        ("parcel, DHL", format!("JD0{}", number(random, 17))),
        ("parcel, post", format!("RR{}DE", number(random, 9))),
        ("article", {
            let digits = format!("4{}", number(random, 11));
            let check = (0..10).find(|check| is_article_number(&format!("{digits}{check}")));
            format!("{digits}{}", check.unwrap())
        }),
    ]
}

#[test]
fn fewer_than_one_in_ten_thousand_ids_are_taken_for_a_card() {
    let mut random = StdRng::seed_from_u64(20_261_126);
    let mut taken = std::collections::BTreeMap::new();
    let mut all = 0;
    while all < 1_000_000 {
        for (kind, id) in other_ids(&mut random) {
            all += 1;
            *taken.entry(kind).or_insert(0) += u32::from(holds_card_number(&id));
        }
    }
    let sum: u32 = taken.values().sum();
    assert!(sum < all / 10_000, "{taken:?} of {all}");
}

proptest! {
    #[test]
    fn a_card_number_of_any_brand_is_found_in_any_text(
        range in 0..ISSUER_RANGES.len(), length: prop::sample::Index, digits in "[0-9]{19}", separator in "[ -]?",
        // No group of four before it: with such a one it may be a parcel number.
        before in r"(\PC*[^\p{Nd}\-])?(([0-9]{1,3}|[0-9]{5,19}) {1,2})?", after in r"( {1,2}[0-9]{1,19})?([^\p{Nd}]\PC*)?",
    ) {
        let (prefix, _, lengths) = ISSUER_RANGES[range];
        let mut number = format!("{prefix}{digits}");
        number.truncate(lengths[length.index(lengths.len())] - 1);
        let check = ('0'..='9').find(|check| luhn(&format!("{number}{check}"))).unwrap();
        number.push(check);
        prop_assume!(number.len() != 13 || !is_article_number(&number));
        let text = format!("{before}{}{after}", grouped(&number, &[4], &separator));
        prop_assert!(holds_card_number(&text), "{}", text);
    }

    #[test]
    fn the_search_never_panics(text: String) {
        let _ = holds_card_number(&text);
    }
}
