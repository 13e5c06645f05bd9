//! Reading, making and rotating keys.

use super::*;

const OLD: &str = "old:0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "new:0202020202020202020202020202020202020202020202020202020202020202";

fn fault(text: &str) -> String {
    SealKeys::parse(text).unwrap_err().to_string()
}

#[test]
fn errors_name_the_entry_and_the_remedy_but_never_a_key() {
    assert!(fault(" ,").contains("write id:key"));
    assert!(fault(&OLD[4..]).contains("entry 1: write id:key"));
    assert!(fault(&format!("{OLD},UPPER:00")).contains("entry 2"));
    assert!(fault(&OLD.replace("old", "")).contains("entry 1"));
    assert!(fault(&OLD.replace("old", "seventeenletters0")).contains("entry 1"));
    assert!(fault(&OLD[..OLD.len() - 2]).contains("key `old`: must be 64 hexadecimal digits"));
    assert!(fault(&OLD.replace('1', "é")).contains("key `old`"));
    assert!(fault(&format!("{OLD},{OLD}")).contains("listed twice"));
    for text in [&OLD[4..], &OLD[..OLD.len() - 2]] {
        assert!(!fault(text).contains("0101"));
    }
}

#[test]
fn fingerprints_match_while_their_key_is_listed() {
    let (old, new) = (SealKeys::parse(OLD).unwrap(), SealKeys::parse(NEW).unwrap());
    let rotated = SealKeys::parse(&format!("{NEW},{OLD}")).unwrap();
    let stored = old.fingerprint(b"request");
    assert!(rotated.matches(&stored, b"request"));
    assert!(!rotated.matches(&stored, b"another request"));
    assert!(!new.matches(&stored, b"request"));
    assert_eq!(rotated.fingerprint(b"request"), new.fingerprint(b"request"));
}

#[test]
fn fingerprints_and_seals_use_different_keys() {
    let keys = SealKeys::parse(OLD).unwrap();
    assert_ne!(keys.fingerprint(b"m"), mac(&[1; 32], b"m"));
}

#[test]
fn the_key_file_is_created_once_and_only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seal.key");
    let made = SealKeys::load_or_create(&path).unwrap();
    let read = SealKeys::load_or_create(&path).unwrap();
    assert_eq!(made.fingerprint(b"m"), read.fingerprint(b"m"));
    assert_ne!(
        made.fingerprint(b"m"),
        SealKeys::generate().fingerprint(b"m")
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_damaged_or_unreadable_key_file_is_named_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seal.key");
    std::fs::write(&path, "half a k").unwrap();
    let fault = SealKeys::load_or_create(&path).unwrap_err().to_string();
    assert!(fault.contains("seal.key is damaged"), "{fault}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "half a k");
    let nowhere = folder.path().join("missing/seal.key");
    let fault = SealKeys::load_or_create(&nowhere).unwrap_err().to_string();
    assert!(
        fault.contains("missing/seal.key cannot be read or created"),
        "{fault}"
    );
}

#[test]
fn keys_round_trip_as_text() {
    let text = format!("{NEW},{OLD}");
    assert_eq!(*SealKeys::parse(&text).unwrap().to_text(), text);
    let made = SealKeys::generate();
    let read = SealKeys::parse(&made.to_text()).unwrap();
    assert_eq!(made.fingerprint(b"m"), read.fingerprint(b"m"));
    assert!(!format!("{made:?}").contains(&made.to_text().as_str()[10..20]));
}
