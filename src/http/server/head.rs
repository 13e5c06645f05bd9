//! Checks a request head before any handler gets it: rules of HTTP/1.1 that hyper leaves to its users.

use std::net::Ipv6Addr;

use axum::http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Version};

use crate::http::problem::{Kind, Problem};

/// Refuses a head without exactly one valid `Host` (RFC 9112, section 3.2), with transfer codings other than `chunked`
/// (section 6.1), or with an unknown expectation (RFC 9110, section 10.1.1).
pub(super) fn check(head: &Parts) -> Result<(), Problem> {
    host(head)?;
    transfer_codings(&head.headers)?;
    expectation(&head.headers)
}

/// Whether the caller waits for `100 Continue` before it sends its body.
pub(super) fn waits_to_send(head: &Parts) -> bool {
    head.headers.contains_key(EXPECT) && head.version > Version::HTTP_10
}

fn host(head: &Parts) -> Result<(), Problem> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let sentence = match (hosts.next(), hosts.next()) {
        (None, _) if head.version < Version::HTTP_11 => return Ok(()),
        (None, _) => "The header Host is missing: HTTP/1.1 requires it.",
        (Some(_), Some(_)) => "The header Host was sent more than once.",
        (Some(host), None) if is_host(host) => return Ok(()),
        (Some(_), None) => {
            "The header Host is invalid: it must be a host name or an address, optionally with a port, such as \
             localhost:5009."
        }
    };
    Err(Problem::new(Kind::BadRequest, sentence))
}

/// `uri-host [":" port]` of RFC 3986; empty where the target has no authority.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    if let Some(literal) = text.strip_prefix('[') {
        return literal.split_once(']').is_some_and(|(address, rest)| {
            let port = rest.strip_prefix(':');
            (rest.is_empty() || port.is_some_and(is_port)) && is_literal(address)
        });
    }
    match text.split_once(':') {
        Some((name, port)) => !name.is_empty() && is_name(name) && is_port(port),
        None => is_name(text),
    }
}

fn is_literal(address: &str) -> bool {
    let future = || {
        let (version, rest) = address.strip_prefix(['v', 'V'])?.split_once('.')?;
        let hexadecimal = version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let known = |byte| is_unreserved(byte) || is_sub_delimiter(byte) || byte == b':';
        Some(!version.is_empty() && hexadecimal && !rest.is_empty() && rest.bytes().all(known))
    };
    address.parse::<Ipv6Addr>().is_ok() || future().unwrap_or(false)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            b'%' => digit(bytes.next()) && digit(bytes.next()),
            other => is_unreserved(other) || is_sub_delimiter(other),
        };
        if !valid {
            return false;
        }
    }
    true
}

fn is_port(port: &str) -> bool {
    port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_sub_delimiter(byte: u8) -> bool {
    b"!$&'()*+,;=".contains(&byte)
}

/// hyper requires that `chunked` comes last; this service cannot decode a coding before it.
fn transfer_codings(headers: &HeaderMap) -> Result<(), Problem> {
    let codings: Vec<&str> = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|coding| !coding.is_empty())
        .collect();
    match codings.as_slice() {
        [] => Ok(()),
        [only] if only.eq_ignore_ascii_case("chunked") => Ok(()),
        several if several.iter().all(|it| it.eq_ignore_ascii_case("chunked")) => {
            let sentence = "Transfer-Encoding has chunked more than once.";
            Err(Problem::new(Kind::BadRequest, sentence))
        }
        _ => Err(unknown_transfer_coding()),
    }
}

fn expectation(headers: &HeaderMap) -> Result<(), Problem> {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(known) {
        return Ok(());
    }
    Err(unknown_expectation())
}

/// The answer to a transfer coding other than `chunked`.
pub(in crate::http) fn unknown_transfer_coding() -> Problem {
    let sentence =
        "The only supported transfer coding is chunked: send the body without other codings.";
    Problem::new(Kind::TransferCoding, sentence)
}

/// The answer to an expectation other than `100-continue`.
pub(in crate::http) fn unknown_expectation() -> Problem {
    let sentence = "The only supported expectation is Expect: 100-continue.";
    Problem::new(Kind::Expectation, sentence)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn checked(version: Version, headers: &[(&'static str, &str)]) -> Result<(), Kind> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            request.headers_mut().append(*name, value);
        }
        check(&request.into_parts().0).map_err(|problem| problem.kind())
    }

    #[test]
    fn http_1_1_has_one_valid_host_and_http_1_0_may_have_none() {
        for good in [
            "",
            "localhost",
            "payments_api:5009",
            "api-gateway.example.",
            "127.0.0.1:5009",
            "host:",
            "[::1]",
            "[::1]:5009",
            "[::ffff:10.0.0.1]:80",
            "[v1.fe80::a]",
            "a%2db",
            "a,b",
        ] {
            assert_eq!(
                checked(Version::HTTP_11, &[("host", good)]),
                Ok(()),
                "{good}"
            );
        }
        for bad in [
            "a b",
            "a/b",
            "user@host",
            "host:port",
            "host:-1",
            "host:65536",
            "host:80:80",
            ":80",
            "[::1",
            "[::1]x",
            "[]",
            "[::1%25eth0]",
            "::1",
            "http://host",
            "a%2",
            "a%zz",
            "é",
            "a\\b",
            "a?b",
            "a#b",
            "a\"b",
            "<a>",
        ] {
            assert_eq!(
                checked(Version::HTTP_11, &[("host", bad)]),
                Err(Kind::BadRequest),
                "{bad}"
            );
            // Whatever the version, a wrong one is wrong.
            assert_eq!(
                checked(Version::HTTP_10, &[("host", bad)]),
                Err(Kind::BadRequest),
                "{bad}"
            );
        }
        let twice = [("host", "a"), ("host", "a")];
        assert_eq!(checked(Version::HTTP_11, &twice), Err(Kind::BadRequest));
        assert_eq!(checked(Version::HTTP_10, &twice), Err(Kind::BadRequest));
        assert_eq!(checked(Version::HTTP_11, &[]), Err(Kind::BadRequest));
        assert_eq!(checked(Version::HTTP_10, &[]), Ok(()));
    }

    #[test]
    fn chunked_is_the_only_transfer_coding_and_may_be_applied_once() {
        let coded = |values: &[&str]| {
            let mut headers = vec![("host", "a")];
            headers.extend(values.iter().map(|value| ("transfer-encoding", *value)));
            checked(Version::HTTP_11, &headers)
        };
        for good in [&["chunked"][..], &["Chunked"], &[" , chunked ,"]] {
            assert_eq!(coded(good), Ok(()), "{good:?}");
        }
        for unknown in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["identity, chunked"],
            &["chunked, gzip, chunked"],
            &["é, chunked"],
        ] {
            assert_eq!(coded(unknown), Err(Kind::TransferCoding), "{unknown:?}");
        }
        assert_eq!(coded(&["chunked, chunked"]), Err(Kind::BadRequest));
    }

    #[test]
    fn the_only_expectation_is_100_continue() {
        let expected = |value| checked(Version::HTTP_11, &[("host", "a"), ("expect", value)]);
        assert_eq!(expected("100-continue"), Ok(()));
        assert_eq!(expected("100-Continue"), Ok(()));
        assert_eq!(expected("200-ok"), Err(Kind::Expectation));
        assert_eq!(expected("100-continue, x"), Err(Kind::Expectation));
    }
}
