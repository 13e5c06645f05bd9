//! What a seal must guarantee.

use proptest::prelude::*;

use super::*;

const OLD: &str = "old:0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "new:0202020202020202020202020202020202020202020202020202020202020202";
const HERE: Owner<'static> = Owner::Payment(PaymentId(7), 1);

fn a_card() -> Card {
    Card {
        number: CardNumber::parse("4242424242424242").unwrap(),
        code: CardCode::parse("737").unwrap(),
        expiration: Expiration::parse("2031-05").unwrap(),
    }
}

fn keys(text: &str) -> SealKeys {
    SealKeys::parse(text).unwrap()
}

fn same(left: &Card, right: &Card) -> bool {
    left.number.expose() == right.number.expose()
        && left.code.expose() == right.code.expose()
        && left.expiration == right.expiration
}

#[test]
fn a_sealed_card_opens_for_its_owner_and_its_debug_output_shows_nothing() {
    let sealed = keys(OLD).seal(&a_card(), HERE).unwrap();
    assert!(same(&keys(OLD).open(&sealed, HERE).unwrap(), &a_card()));
    let bytes = String::from_utf8_lossy(&sealed.0);
    assert!(!bytes.contains("424242") && !bytes.contains("737") && !bytes.contains("2031"));
    assert!(sealed.0.len() < 128, "fits its column");
    assert!(!format!("{sealed:?} {:?} {:?}", keys(OLD), a_card()).contains("42"));
}

#[test]
fn another_method_opens_under_its_own_name_only() {
    let secret = Zeroizing::new(b"GIFT 1234".to_vec());
    let voucher = OtherMethod::new("voucher", secret, [].into()).unwrap();
    let keys = keys(OLD);
    let sealed = keys.seal_other(&voucher, HERE).unwrap();
    let opened = keys.open_other(&sealed, "voucher", HERE).unwrap();
    assert_eq!(opened.as_slice(), b"GIFT 1234");
    for name in ["vouch", "voucher2", "4242424242424242"] {
        let opened = keys.open_other(&sealed, name, HERE);
        assert_eq!(opened, Err(SealError::UnknownFormat), "{name}");
    }
    let elsewhere = keys.open_other(&sealed, "voucher", Owner::Payment(PaymentId(7), 2));
    assert_eq!(elsewhere, Err(SealError::NotAuthentic));
    assert_eq!(
        keys.open(&sealed, HERE).unwrap_err(),
        SealError::UnknownFormat
    );
    let card = keys.seal(&a_card(), HERE).unwrap();
    assert_eq!(
        keys.open_other(&card, "voucher", HERE),
        Err(SealError::UnknownFormat)
    );
    let longest = vec![7; OtherMethod::LONGEST_SECRET];
    let longest = OtherMethod::new(&"x".repeat(32), Zeroizing::new(longest), [].into()).unwrap();
    assert!(keys.seal_other(&longest, HERE).unwrap().0.len() <= 1024);
}

#[test]
fn the_same_card_is_sealed_differently_each_time() {
    let keys = keys(OLD);
    assert_ne!(
        keys.seal(&a_card(), HERE).unwrap(),
        keys.seal(&a_card(), HERE).unwrap()
    );
}

#[test]
fn a_card_does_not_open_for_another_owner() {
    let (client, other) = (
        ClientName::parse("7").unwrap(),
        ClientName::parse("8").unwrap(),
    );
    let owners = [
        HERE,
        Owner::Payment(PaymentId(7), 2),
        Owner::Payment(PaymentId(71), 1),
        Owner::Payment(PaymentId(7), 11),
        Owner::Token("1", &client),
        Owner::Token("1", &other),
        Owner::Token("7/1", &client),
    ];
    for sealed_for in owners {
        let sealed = keys(OLD).seal(&a_card(), sealed_for).unwrap();
        for owner in owners {
            let opened = keys(OLD).open(&sealed, owner);
            assert_eq!(
                opened.is_ok(),
                owner == sealed_for,
                "{sealed_for:?} as {owner:?}"
            );
        }
    }
}

#[test]
fn a_new_key_seals_and_an_old_one_still_opens() {
    let before = keys(OLD).seal(&a_card(), HERE).unwrap();
    let rotated = keys(&format!("{NEW}, {OLD}"));
    assert!(rotated.open(&before, HERE).is_ok());
    let after = rotated.seal(&a_card(), HERE).unwrap();
    assert!(keys(NEW).open(&after, HERE).is_ok());
    assert_eq!(
        keys(OLD).open(&after, HERE).unwrap_err(),
        SealError::UnknownKey("new".to_owned())
    );
    let same_name = keys(&NEW.replace("new", "old"));
    assert_eq!(
        same_name.open(&before, HERE).unwrap_err(),
        SealError::NotAuthentic
    );
}

proptest! {
    #[test]
    fn a_card_with_any_byte_changed_or_cut_off_does_not_open(place: prop::sample::Index, change in 1_u8..) {
        let sealed = keys(OLD).seal(&a_card(), HERE).unwrap();
        let place = place.index(sealed.0.len());
        let mut changed = sealed.clone();
        changed.0[place] ^= change;
        prop_assert!(keys(OLD).open(&changed, HERE).is_err());
        prop_assert!(keys(OLD).open(&SealedCard(sealed.0[..place].to_vec()), HERE).is_err());
    }

    #[test]
    fn no_input_panics(bytes: Vec<u8>) {
        prop_assert!(keys(OLD).open(&SealedCard(bytes), HERE).is_err());
    }

    #[test]
    fn every_card_round_trips(number in "[0-9]{12,19}", code in "[0-9]{3,4}", month in "20[0-9]{2}-(0[1-9]|1[0-2])") {
        let card = Card {
            number: CardNumber::parse(&number).unwrap(),
            code: CardCode::parse(&code).unwrap(),
            expiration: Expiration::parse(&month).unwrap(),
        };
        let sealed = keys(OLD).seal(&card, HERE).unwrap();
        prop_assert!(same(&keys(OLD).open(&sealed, HERE).unwrap(), &card));
        prop_assert_eq!(plaintext(&card).capacity(), LONGEST_CARD);
    }
}
