//! Which known name a caller most likely meant. Runs only when a request is refused anyway.

/// The candidate that is the name in another spelling, contains it, or differs from it by at most two letters.
/// A candidate may be a dotted path; its last part is compared.
pub fn closest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let wanted = plain(name);
    if !(3..=40).contains(&wanted.len()) {
        return None;
    }
    candidates
        .filter_map(|candidate| Some((distance(&wanted, &plain(last_part(candidate)))?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether a name is a known one in another spelling or with a typing error. Stricter than [`closest`], because this
/// decides about a request: `cart` is not a misspelt `card`.
pub fn misspells(name: &str, candidate: &str) -> bool {
    let (name, candidate) = (plain(name), plain(last_part(candidate)));
    let slips = match name.len().min(candidate.len()) {
        0..=5 => 0,
        6..=7 => 1,
        _ => 2,
    };
    name.len().abs_diff(candidate.len()) <= slips && strsim::levenshtein(&name, &candidate) <= slips
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Only lower-case letters and digits: `card_number` and `cardNumber` become equal.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn distance(wanted: &str, candidate: &str) -> Option<usize> {
    let edits = strsim::levenshtein(wanted, candidate);
    if edits <= 2 && edits < wanted.len() / 2 {
        return Some(edits);
    }
    (candidate.contains(wanted) && wanted.len() >= 4).then_some(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_parts_and_typing_errors_are_found() {
        let known = ["order_id", "user_id", "total_amount", "card.cardNumber"];
        let closest = |name| closest(name, known.into_iter());
        assert_eq!(closest("orderId"), Some("order_id"));
        assert_eq!(closest("totl_amuont"), None);
        assert_eq!(closest("total_amuont"), Some("total_amount"));
        assert_eq!(closest("amount"), Some("total_amount"));
        assert_eq!(closest("card_number"), Some("card.cardNumber"));
        assert_eq!(closest("x"), None);
        assert_eq!(closest("colour"), None);
    }

    #[test]
    fn a_typing_error_is_distinguished_from_another_word() {
        for (name, known) in [
            ("currancy", "currency"),
            ("curency", "currency"),
            ("CURRENCY", "currency"),
            ("cardToken", "card_token"),
            ("crad_token", "card_token"),
            ("Card", "card"),
            ("return_uri", "return_url"),
            ("card_number", "card.cardNumber"),
            ("idempotency_ky", "idempotency_key"),
        ] {
            assert!(misspells(name, known), "{name}");
        }
        for (name, known) in [
            ("cart", "card"),
            ("card_id", "card"),
            ("current", "currency"),
            ("amount", "total_amount"),
            ("items", "metadata"),
            ("", "card"),
        ] {
            assert!(!misspells(name, known), "{name}");
        }
    }
}
