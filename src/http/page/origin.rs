//! Whether a form was posted from another site.
//!
//! Browsers show this in `Sec-Fetch-Site` if the page came by https or from this machine, and in `Origin` otherwise.
//! Another site cannot forge these headers, nor add a header to a form. A caller that sends neither is not a current
//! browser, and still needs the form's token.

use axum::http::HeaderMap;
use axum::http::header::{HOST, HeaderName, ORIGIN};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The host that the browser requested, as the gateway reports it; `Host` is then the service's own.
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether the browser reports that the request comes from another site.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site != "same-origin";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().unwrap_or("null");
    // `null`, as sandboxed frames send it, has no authority, so it never matches.
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let asked = [FORWARDED_HOST, HOST]
        .iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .any(|host| authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)));
    !asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header"));
        }
        is_foreign(&headers)
    }

    #[test]
    fn sec_fetch_site_counts_first() {
        assert!(!foreign(&[
            ("sec-fetch-site", "same-origin"),
            ("host", "a")
        ]));
        for elsewhere in ["cross-site", "same-site", "none", "x"] {
            assert!(foreign(&[
                ("sec-fetch-site", elsewhere),
                ("origin", "http://a"),
                ("host", "a")
            ]));
        }
    }

    #[test]
    fn without_sec_fetch_site_the_origin_must_match_the_host() {
        let host = ("host", "payments_api:5009");
        let forwarded = ("x-forwarded-host", "api-gateway:8080");
        assert!(!foreign(&[host]));
        assert!(!foreign(&[host, ("origin", "http://payments_api:5009")]));
        assert!(!foreign(&[
            host,
            forwarded,
            ("origin", "http://API-gateway:8080")
        ]));
        assert!(!foreign(&[
            ("host", "pay.example"),
            ("origin", "https://pay.example")
        ]));
        for elsewhere in [
            "null",
            "http://elsewhere",
            "http://payments_api",
            "http://payments_api:5009.evil",
        ] {
            assert!(
                foreign(&[host, forwarded, ("origin", elsewhere)]),
                "{elsewhere}"
            );
        }
    }
}
