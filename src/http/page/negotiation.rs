//! What a caller prefers: the page or JSON, and the language (RFC 9110, sections 12.5.1 and 12.5.4).

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName};

use super::texts::Language;

/// Whether a caller prefers the page: it does if it ranks HTML above JSON, as browsers do. A caller that accepts
/// anything, or sends no preference, gets JSON.
pub fn for_the_page(headers: &HeaderMap) -> bool {
    let accepted = weighted(headers, ACCEPT);
    quality(&accepted, "text", "html") > quality(&accepted, "application", "json")
}

/// The page's language that a caller ranks first; of two with the same rank, the one that it lists first.
pub fn language(headers: &HeaderMap) -> Language {
    let mut first = (0, Language::default());
    for (range, quality) in weighted(headers, ACCEPT_LANGUAGE) {
        let primary = range.split('-').next().unwrap_or("");
        match Language::from_primary_subtag(primary) {
            Some(language) if quality > first.0 => first = (quality, language),
            _ => {}
        }
    }
    first.1
}

/// The caller's weight for a media type, in thousandths: the most specific range that covers it counts.
fn quality(accepted: &[(String, u16)], kind: &str, subtype: &str) -> u16 {
    let covers = |range: &str| match range.split_once('/')? {
        ("*", "*") => Some(0),
        (k, "*") if k == kind => Some(1),
        (k, s) if k == kind && s == subtype => Some(2),
        _ => None,
    };
    accepted
        .iter()
        .filter_map(|(range, quality)| Some((covers(range)?, *quality)))
        .max()
        .map_or(0, |(_, quality)| quality)
}

/// The values of a list header with their weights in thousandths, in order; parameters other than `q` are ignored.
fn weighted(headers: &HeaderMap, name: HeaderName) -> Vec<(String, u16)> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|element| {
            let mut parts = element.split(';').map(str::trim);
            let value = parts.next().unwrap_or("").to_ascii_lowercase();
            let weight = parts.find_map(|part| {
                let (name, value) = part.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
            });
            (value, weight.map_or(1000, thousandths))
        })
        .collect()
}

/// `qvalue`: from 0 to 1 with three decimals at most. An invalid one counts as 0.
fn thousandths(text: &str) -> u16 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.bytes().all(|byte| byte.is_ascii_digit()) && decimals.len() <= 3;
    match whole {
        "1" if digits && decimals.bytes().all(|digit| digit == b'0') => 1000,
        "0" if digits => format!("{decimals:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn a_browser_gets_the_page_and_every_other_caller_json() {
        let page = |values: &[&str]| for_the_page(&headers(ACCEPT, values));
        for browser in [
            // Firefox, Chrome, Safari
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
            "text/html",
            "Text/HTML; charset=utf-8",
            "text/*",
            "text/html;q=0.2, application/json;q=0.1",
            "application/json;q=0, */*",
        ] {
            assert!(page(&[browser]), "{browser}");
        }
        assert!(page(&["application/json;q=0.5", "text/html"]));
        assert!(!page(&[]));
        for other in [
            "*/*",
            "application/json",
            "application/json, text/plain, */*",
            "text/html, application/json",
            "text/html;q=0.8, application/json;q=0.9",
            "text/html;q=0, */*",
            "text/html;q=2",
            "text/html;q=0.1234",
            "text/html;q=x",
            "text/plain",
            "html",
            ";;,",
        ] {
            assert!(!page(&[other]), "{other}");
        }
    }

    #[test]
    fn the_language_is_the_callers_first_choice_that_the_page_has() {
        let chosen = |value: &str| language(&headers(ACCEPT_LANGUAGE, &[value]));
        for french in [
            "fr",
            "fr-CA,fr;q=0.9,en;q=0.8",
            "FR-be",
            "de, fr;q=0.5, en;q=0.4",
            "fr, en",
            "en;q=0.3, fr;q=0.301",
            "en;q=0, fr;q=0.1",
        ] {
            assert_eq!(chosen(french), Language::French, "{french}");
        }
        for english in [
            "",
            "en",
            "en, fr",
            "de",
            "*",
            "fr;q=0",
            "fry",
            "en-CA, fr-CA;q=0.9",
        ] {
            assert_eq!(chosen(english), Language::English, "{english}");
        }
    }
}
