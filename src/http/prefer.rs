//! `Prefer` (RFC 7240): whether and how long a request waits for its outcome.

use std::time::Duration;

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};

/// Request header.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Response header.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The preferences that this service knows; others are ignored, as the RFC requires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `respond-async`: the caller prefers 202 at once to 200 later.
    pub respond_async: bool,
    /// `wait=N` in seconds, at most the longest wait that the service grants.
    pub wait: Option<Duration>,
}

impl Prefer {
    /// Reads all `Prefer` headers. If a preference is repeated, the first counts; invalid ones are ignored.
    pub fn parse(headers: &HeaderMap, longest: Duration) -> Self {
        let mut prefer = Self::default();
        for header in headers.get_all(PREFER) {
            let Ok(text) = header.to_str() else { continue };
            for preference in outside_quotes(text, ',') {
                prefer.apply(preference, longest);
            }
        }
        prefer
    }

    /// `Preference-Applied` for an answer: `respond-async` if the answer has no outcome, `wait` if it waited (or did not
    /// need to), with the seconds that were granted.
    pub fn applied(self, responded_async: bool) -> Option<HeaderValue> {
        let respond_async =
            (self.respond_async && responded_async).then(|| "respond-async".to_owned());
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let applied = match (respond_async, wait) {
            (Some(respond_async), Some(wait)) => format!("{respond_async}, {wait}"),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => return None,
        };
        HeaderValue::try_from(applied).ok()
    }

    fn apply(&mut self, preference: &str, longest: Duration) {
        // Parameters after a semicolon are ignored: the known preferences have none.
        let Some(preference) = outside_quotes(preference, ';').next() else {
            return;
        };
        let (name, value) = match preference.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim().trim_matches('"')),
            None => (preference.trim(), ""),
        };
        if name.eq_ignore_ascii_case("respond-async") {
            self.respond_async = true;
        } else if name.eq_ignore_ascii_case("wait") && self.wait.is_none() {
            self.wait = seconds(value).map(|wait| wait.min(longest));
        }
    }
}

/// `delta-seconds`: only digits; a value that does not fit counts as infinite (RFC 9111, section 1.2.2).
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// Splits at a separator outside quoted strings.
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn parse(values: &[&str]) -> (bool, Option<u64>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).expect("a header"));
        }
        let prefer = Prefer::parse(&headers, LONGEST);
        (prefer.respond_async, prefer.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn reads_what_the_standard_allows() {
        assert_eq!(parse(&[]), (false, None));
        assert_eq!(parse(&["respond-async"]), (true, None));
        assert_eq!(parse(&["respond-async, wait=10"]), (true, Some(10)));
        assert_eq!(parse(&["Respond-Async", "WAIT = 10"]), (true, Some(10)));
        assert_eq!(parse(&["wait=\"5\"; strict"]), (false, Some(5)));
        assert_eq!(parse(&["wait=3, wait=4"]), (false, Some(3)));
        assert_eq!(parse(&["foo; bar=\"a, wait=9\", wait=2"]), (false, Some(2)));
        assert_eq!(parse(&["foo=\"\\\", wait=9\""]), (false, None));
        assert_eq!(parse(&["wait=0"]), (false, Some(0)));
    }

    #[test]
    fn grants_no_more_than_the_longest_wait() {
        assert_eq!(parse(&["wait=31"]), (false, Some(30)));
        assert_eq!(parse(&["wait=99999999999999999999999"]), (false, Some(30)));
    }

    #[test]
    fn ignores_what_cannot_be_read() {
        for value in [
            "wait",
            "wait=",
            "wait=-1",
            "wait=1.5",
            "wait=x",
            ",,;=",
            "waiting=3",
        ] {
            assert_eq!(parse(&[value]), (false, None), "{value}");
        }
    }

    #[test]
    fn says_which_preferences_were_applied() {
        let applied = |respond_async, wait: Option<u64>, responded_async| {
            let wait = wait.map(Duration::from_secs);
            Prefer {
                respond_async,
                wait,
            }
            .applied(responded_async)
            .map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(applied(false, None, true), None);
        assert_eq!(applied(true, None, false), None);
        assert_eq!(applied(true, None, true).as_deref(), Some("respond-async"));
        assert_eq!(applied(true, Some(4), false).as_deref(), Some("wait=4"));
        assert_eq!(
            applied(true, Some(4), true).as_deref(),
            Some("respond-async, wait=4")
        );
    }

    proptest! {
        #[test]
        fn never_panics(value in "[ -~]{0,40}") {
            parse(&[value.as_str()]);
        }
    }
}
