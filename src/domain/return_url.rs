//! Where a shopper goes after paying: a URL of the client.

use std::fmt;

/// An absolute `https` address, or `http` on this machine, without user, password and fragment.
///
/// It becomes a link on the payment page, so everything that browsers read differently from this parser is refused:
/// backslashes, spaces, control characters and all non-ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnUrl {
    text: String,
    origin: WebOrigin,
}

/// Scheme, host and port (RFC 6454): `https://shop.example`, `http://localhost:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin {
    https: bool,
    /// In lower case; an IPv6 address with its brackets.
    host: String,
    port: u16,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Longer than [`ReturnUrl::MAX_LENGTH`].
    #[error("must have at most 2048 characters")]
    TooLong,
    /// Relative, or with characters that browsers read differently.
    #[error(
        "must be an absolute address such as https://shop.example/orders/1, with everything but ASCII percent-encoded"
    )]
    Malformed,
    /// A scheme other than https, or http to another machine.
    #[error("must begin with https:// (http:// only for localhost, 127.0.0.1 and [::1])")]
    Scheme,
    /// `user:password@`
    #[error("must not have a user or a password")]
    Credentials,
    /// `#…`
    #[error("must not have a fragment (#)")]
    Fragment,
    /// An origin with a path or a query.
    #[error("must be an origin such as https://shop.example, without a path")]
    NotAnOrigin,
}

impl ReturnUrl {
    /// Maximum number of characters; the database column has the same width.
    pub const MAX_LENGTH: usize = 2048;

    /// Reads an address. To check whether the client may use it, see [`Self::origin`].
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.chars().count() > Self::MAX_LENGTH {
            return Err(InvalidUrl::TooLong);
        }
        let (origin, rest) = split(text)?;
        if rest.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        Ok(Self {
            text: text.to_owned(),
            origin,
        })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its origin.
    pub fn origin(&self) -> &WebOrigin {
        &self.origin
    }
}

impl WebOrigin {
    /// Reads an origin; a slash at its end is ignored.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        match split(text)? {
            (origin, "" | "/") => Ok(origin),
            _ => Err(InvalidUrl::NotAnOrigin),
        }
    }

    /// The host, in lower case; an IPv6 address with its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also if it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is on the machine of the browser itself.
    pub fn is_loopback(&self) -> bool {
        ["localhost", "127.0.0.1", "[::1]"].contains(&self.host.as_str())
    }
}

/// The origin, and what comes after it.
fn split(text: &str) -> Result<(WebOrigin, &str), InvalidUrl> {
    let safe = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
    if !text.bytes().all(safe) {
        return Err(InvalidUrl::Malformed);
    }
    let (scheme, rest) = text.split_once("://").ok_or(match text.split_once(':') {
        // `javascript:`, `mailto:`
        Some((scheme, _)) if is_scheme(scheme) => InvalidUrl::Scheme,
        _ => InvalidUrl::Malformed,
    })?;
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        scheme if is_scheme(scheme) => return Err(InvalidUrl::Scheme),
        _ => return Err(InvalidUrl::Malformed),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains('@') {
        return Err(InvalidUrl::Credentials);
    }
    let (host, port) = host_and_port(authority, if https { 443 } else { 80 })?;
    let origin = WebOrigin { https, host, port };
    if !https && !origin.is_loopback() {
        return Err(InvalidUrl::Scheme);
    }
    Ok((origin, rest))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16), InvalidUrl> {
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of an IPv6 address.
        Some((_, rest)) if rest.ends_with(']') => (authority, default),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().map_err(|_| InvalidUrl::Malformed)?)
        }
        Some(_) => return Err(InvalidUrl::Malformed),
        None => (authority, default),
    };
    let host = host.to_ascii_lowercase();
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !host.is_empty() && host.bytes().all(name) && !is_short_ipv4(&host);
    let is_ipv6 = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if is_name || is_ipv6 {
        Ok((host, port))
    } else {
        Err(InvalidUrl::Malformed)
    }
}

/// Browsers read a host whose last part is a number as an IPv4 address: `1` means 0.0.0.1.
fn is_short_ipv4(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let is_number = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()));
    is_number && host.parse::<std::net::Ipv4Addr>().is_err()
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != default {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_that_browsers_read_as_another_address_is_refused() {
        for host in [
            "1",
            "127.1",
            "0x7f000001",
            "127.0.0.01",
            "2130706433.",
            "1.2.3.4.5",
            "shop.0x",
        ] {
            let read = ReturnUrl::parse(&format!("https://{host}/"));
            assert_eq!(read, Err(InvalidUrl::Malformed), "{host}");
        }
        for host in ["127.0.0.1", "1shop.example", "shop.1a", "0xshop.example"] {
            assert!(
                ReturnUrl::parse(&format!("https://{host}/")).is_ok(),
                "{host}"
            );
        }
    }

    #[test]
    fn web_addresses_are_parsed_with_their_origin() {
        for (text, origin) in [
            ("https://shop.example", "https://shop.example"),
            ("https://shop.example/", "https://shop.example"),
            (
                "https://shop.example/orders/1?x=%20y&z=1",
                "https://shop.example",
            ),
            ("HTTPS://Shop.Example:443?x", "https://shop.example"),
            ("https://shop.example:8443/a", "https://shop.example:8443"),
            ("http://localhost:3000/x", "http://localhost:3000"),
            ("http://127.0.0.1/", "http://127.0.0.1"),
            ("http://[::1]:80/", "http://[::1]"),
            ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ] {
            let url = ReturnUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.origin().to_string(), origin);
            assert_eq!(url.as_str(), text);
            let again = WebOrigin::parse(origin).expect("an origin");
            assert_eq!(&again, url.origin());
        }
    }

    #[test]
    fn addresses_that_browsers_read_differently_are_refused() {
        use InvalidUrl as E;
        for (text, error) in [
            ("", E::Malformed),
            ("/orders/1", E::Malformed),
            ("//shop.example", E::Malformed),
            ("shop.example", E::Malformed),
            ("https:/shop.example", E::Scheme),
            ("https://", E::Malformed),
            ("https:///x", E::Malformed),
            ("https://shop.example:x/", E::Malformed),
            ("https://shop.example:65536/", E::Malformed),
            ("https://shop.example:/", E::Malformed),
            ("https://shop.example\\@evil.example/", E::Malformed),
            ("https://shop.example/a b", E::Malformed),
            (" https://shop.example/", E::Malformed),
            ("https://shop.example/\n", E::Malformed),
            ("https://shop.example/\u{e9}", E::Malformed),
            ("https://sh\u{f6}p.example/", E::Malformed),
            ("https://shop.example%2eevil/", E::Malformed),
            ("https://[::1/", E::Malformed),
            ("https://[x]/", E::Malformed),
            ("https://shop.example/\"><b>", E::Malformed),
            ("javascript:alert(1)", E::Scheme),
            ("javascript://shop.example/%0aalert(1)", E::Scheme),
            ("data:text/html,x", E::Scheme),
            ("ftp://shop.example/", E::Scheme),
            ("http://shop.example/", E::Scheme),
            ("http://localhost.evil.example/", E::Scheme),
            ("http://127.0.0.2/", E::Scheme),
            ("https://user@shop.example/", E::Credentials),
            ("https://shop.example:443@evil.example/", E::Credentials),
            ("https://shop.example/#paid", E::Fragment),
            ("https://shop.example#", E::Fragment),
        ] {
            assert_eq!(ReturnUrl::parse(text), Err(error), "{text}");
        }
        let of_length = |length: usize| format!("https://shop.example/{}", "x".repeat(length - 21));
        assert!(ReturnUrl::parse(&of_length(2048)).is_ok());
        assert_eq!(ReturnUrl::parse(&of_length(2049)), Err(E::TooLong));
        for text in [
            "https://shop.example/x",
            "https://shop.example?x",
            "https://shop.example/#",
        ] {
            assert_eq!(WebOrigin::parse(text), Err(E::NotAnOrigin), "{text}");
        }
    }

    proptest! {
        /// What is taken leads, in a browser (the URL Standard), to the origin that was checked.
        #[test]
        fn browsers_go_to_the_origin_that_was_checked(
            text in r"(https?|HTTPS|ftp)://[a-z.:@\\\[\]%/?#1-]{0,12}(shop\.example|localhost|\[::1\]|127\.0\.0\.1)[a-z.:@\\%/?#0-9 ]{0,12}",
        ) {
            if let Ok(url) = ReturnUrl::parse(&text) {
                // A host that no browser knows leads nowhere.
                if let Ok(read) = reqwest::Url::parse(&text) {
                    prop_assert_eq!(read.origin().ascii_serialization(), url.origin().to_string());
                    prop_assert!(read.username().is_empty() && read.fragment().is_none());
                }
            }
        }
    }
}
