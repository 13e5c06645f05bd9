use proptest::prelude::*;

use super::*;
use crate::broker::{
    HEADERS_DROPPED, LONGEST_HEADER_BYTES, LONGEST_HEADERS_BYTES, ORIGINAL_SIZE, SUBSTITUTE,
};

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind][..], &channel.to_be_bytes(), &size, payload, &[0xce]].concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
}

fn header(size: u64, flags: u16, properties: &[u8]) -> Vec<u8> {
    let fixed = [
        &[0, 60, 0, 0][..],
        &size.to_be_bytes(),
        &flags.to_be_bytes(),
    ];
    frame(2, 1, &[&fixed.concat(), properties].concat())
}

fn with_headers(size: u64, entries: &[u8]) -> Vec<u8> {
    header(size, 1 << 13, &long(entries))
}

fn text_entry(name: &str, value: &[u8]) -> Vec<u8> {
    [&short(name.as_bytes())[..], b"S", &long(value)].concat()
}

/// Cleaned in pieces of this size.
fn cleaned(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut cleaner = Cleaner::default();
    let mut clean = Vec::new();
    for piece in bytes.chunks(piece) {
        cleaner.push(piece, &mut clean);
    }
    clean
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn short_readable_messages_are_not_changed() {
    let properties = [
        short(b"application/json"),
        long(&text_entry("traceparent", b"\xff\xfe any bytes")),
        vec![2],
        short("é".as_bytes()),
    ];
    let flags = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7;
    let deliver = [
        &[0, 60, 0, 60][..],
        &short(b"tag"),
        &[0; 9],
        &short(b"e"),
        &short(b"k"),
    ];
    let stream = [
        frame(1, 1, &deliver.concat()),
        header(5, flags, &properties.concat()).to_vec(),
        frame(3, 1, b"hello"),
        frame(8, 0, b""),
    ]
    .concat();
    let as_text = stream.clone();
    // A long text may hold any bytes for AMQP; here it becomes text too.
    let expected: Vec<u8> = as_text
        .iter()
        .map(|byte| {
            if matches!(byte, 0xff | 0xfe) {
                SUBSTITUTE
            } else {
                *byte
            }
        })
        .collect();
    for piece in [1, 2, 7, 8, 1000] {
        assert_eq!(cleaned(&stream, piece), expected, "{piece}");
    }
}

#[test]
fn names_and_properties_that_are_not_utf_8_become_text_of_the_same_length() {
    let deliver = |key: &[u8]| {
        let parts = [
            &[0, 60, 0, 60][..],
            &short(b"tag"),
            &[0; 9],
            &short(b"e"),
            &short(key),
        ];
        frame(1, 1, &parts.concat())
    };
    assert_eq!(
        cleaned(&deliver(b"a\xff\xfeb"), 1000),
        deliver(b"a\x1a\x1ab")
    );
    let id = |id: &[u8]| header(0, 1 << 7, &short(id));
    assert_eq!(cleaned(&id(b"\xc3(\xe2\x82"), 1000), id(b"\x1a(\x1a\x1a"));
    let close = |why: &[u8]| {
        let parts = [&[0, 10, 0, 50, 2, 29][..], &short(why), &[0, 60, 0, 40]];
        frame(1, 0, &parts.concat())
    };
    assert_eq!(cleaned(&close(b"cut \xc3"), 1000), close(b"cut \x1a"));
    let name = |name: &[u8]| with_headers(0, &[&short(name)[..], b"V"].concat());
    assert_eq!(cleaned(&name(b"\xff"), 1000), name(b"\x1a"));
}

#[test]
fn a_long_body_is_cut_and_its_original_size_is_added() {
    let size = 15_000_000;
    let mut stream = header(size, 1 << 7, &short(b"m-1"));
    for part in vec![b'x'; usize::try_from(size).unwrap()].chunks(131_064) {
        stream.extend(frame(3, 1, part));
    }
    let behind = [header(2, 0, b""), frame(3, 1, b"{}")].concat();
    stream.extend(&behind);
    let clean = cleaned(&stream, 10_000);
    assert!(clean.len() < KEPT_BODY_BYTES + 200, "{}", clean.len());
    assert!(holds(&clean, ORIGINAL_SIZE.as_bytes()) && holds(&clean, b"15000000"));
    assert!(clean.ends_with(&behind));
    let kept = u32::try_from(KEPT_BODY_BYTES).unwrap().to_be_bytes();
    assert!(holds(&clean, &[&[3, 0, 1][..], &kept, b"xxxx"].concat()));
}

#[test]
fn the_size_of_headers_is_limited() {
    let long_text = text_entry("traceparent", &[b'x'; 66_000]);
    let clean = cleaned(&with_headers(0, &long_text), 1000);
    assert!(clean.len() < LONGEST_HEADER_BYTES + 100);
    assert!(!holds(&clean, HEADERS_DROPPED.as_bytes()));

    let many: Vec<u8> = (0..1000)
        .flat_map(|number| text_entry(&format!("h-{number}"), &[b'x'; 100]))
        .collect();
    let clean = cleaned(&with_headers(0, &many), 1000);
    assert!(clean.len() < LONGEST_HEADERS_BYTES + 100);
    assert!(holds(&clean, HEADERS_DROPPED.as_bytes()));

    let mut nested = b"V".to_vec();
    for _ in 0..20_000 {
        nested = [b"A", &long(&nested)[..]].concat();
    }
    let deep = [&short(b"deep")[..], &nested].concat();
    let unknown_type = [&short(b"odd")[..], b"?"].concat();
    let half = &text_entry("half", b"text")[..8];
    for entries in [&deep[..], &unknown_type, half] {
        let entries = [&text_entry("first", b"1")[..], entries].concat();
        let clean = cleaned(&with_headers(0, &entries), 1000);
        assert!(clean.len() < 200, "{}", clean.len());
        assert!(holds(&clean, b"first") && holds(&clean, HEADERS_DROPPED.as_bytes()));
    }
}

proptest! {
    #[test]
    fn no_input_panics_however_it_is_split(
        payloads in prop::collection::vec((1_u8..=4, any::<Vec<u8>>()), 0..20),
        piece in 1_usize..50,
    ) {
        let stream: Vec<u8> = payloads.iter().flat_map(|(kind, payload)| frame(*kind, 1, payload)).collect();
        prop_assert_eq!(cleaned(&stream, piece), cleaned(&stream, usize::MAX));
    }

    #[test]
    fn properties_with_any_bytes_become_text(flags: u16, bytes: Vec<u8>, size in 0_u64..1000) {
        let clean = cleaned(&header(size, flags, &bytes), usize::MAX);
        // It cannot be told apart from what is clean already.
        prop_assert_eq!(cleaned(&clean, usize::MAX), clean);
    }
}
