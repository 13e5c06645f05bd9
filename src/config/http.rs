//! `LISTEN_ADDR`, `HTTP_*` and `CLIENT_REQUESTS`: the REST address, and the limits for callers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::http::StatusCode;
use percent_encoding::percent_decode_str;

use super::Role;
use super::reader::{Fault, Reader};
use crate::domain::{InvalidUrl, ReturnUrl};

/// Limits for callers.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// `HTTP_CONNECTIONS`: connections open at the same time.
    pub connections: usize,
    /// `HTTP_IDLE_TIMEOUT`: how long a connection may take until its next request's head is complete.
    pub idle_timeout: Duration,
    /// `CREATED_STATUS`: the status of a create without a card, 202 or 201.
    pub created_status: StatusCode,
    /// `CLIENT_REQUESTS`: requests of one client worked on at the same time.
    pub client_requests: usize,
}

impl HttpLimits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            connections: reader.number("HTTP_CONNECTIONS", 10_000, 1..=1_000_000),
            idle_timeout: reader.duration("HTTP_IDLE_TIMEOUT", Duration::from_secs(30)),
            created_status: reader
                .optional("CREATED_STATUS", "202 or 201", |text| match text {
                    "202" => Some(StatusCode::ACCEPTED),
                    "201" => Some(StatusCode::CREATED),
                    _ => None,
                })
                .unwrap_or(StatusCode::ACCEPTED),
            client_requests: reader.number("CLIENT_REQUESTS", 1024, 1..=1_000_000),
        }
    }
}

/// `PUBLIC_URL`. By default the address that only this machine can reach, if this process listens there.
pub(super) fn public_url(
    role: Role,
    listen_addr: Option<SocketAddr>,
    reader: &mut Reader<'_>,
) -> Option<String> {
    let url = reader.text("PUBLIC_URL").and_then(|text| {
        let read = checked_public_url(&text);
        reader.checked("PUBLIC_URL", read)
    });
    let own = || {
        let address = listen_addr.filter(|address| address.ip().is_loopback())?;
        (role != Role::Worker).then(|| own_url(address))
    };
    url.or_else(own)
}

/// What is wrong with a `PUBLIC_URL`. Does not repeat it, since it may contain a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum WrongPublicUrl {
    #[error(
        "it {0}; it is the address at which shoppers reach this service, such as https://pay.example/payments-api"
    )]
    NotAnAddress(#[from] InvalidUrl),
    #[error("it must not have a query (?)")]
    Query,
    #[error("its port must not be 0")]
    Port,
    #[error("its host is not a name or an address")]
    Host,
    #[error(
        "its path must consist of names such as /payments-api, without empty parts, `.` and `..`, and %-encodings must be whole"
    )]
    Path,
}

/// A `PUBLIC_URL` without slashes at its end. Addresses are made from it by appending a path, so everything that a browser or
/// a proxy would read differently is refused.
fn checked_public_url(text: &str) -> Result<String, WrongPublicUrl> {
    let text = text.trim_end_matches('/');
    let url = ReturnUrl::parse(text)?;
    if text.contains('?') {
        return Err(WrongPublicUrl::Query);
    }
    let origin = url.origin();
    if origin.port() == 0 {
        return Err(WrongPublicUrl::Port);
    }
    if !is_host(origin.host()) {
        return Err(WrongPublicUrl::Host);
    }
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.split_once('/').map(|(_, path)| path);
    if path.is_some_and(|path| !path.split('/').all(is_path_segment)) {
        return Err(WrongPublicUrl::Path);
    }
    Ok(text.to_owned())
}

/// Whether each label of a name has 1 to 63 characters and neither begins nor ends with a hyphen; or an IPv6 address.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    host.starts_with('[') || (name.len() <= 253 && name.split('.').all(is_label))
}

/// Not empty, no dots alone, also not percent-encoded, no backslash, and no half encoding.
fn is_path_segment(segment: &str) -> bool {
    let Ok(decoded) = percent_decode_str(segment).decode_utf8() else {
        return false;
    };
    let encodings = segment.split('%').skip(1);
    let whole = |it: &str| it.len() >= 2 && it.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    let is_plain = |c: char| !c.is_control() && !"/\\".contains(c);
    encodings.into_iter().all(whole)
        && !["", ".", ".."].contains(&&*decoded)
        && decoded.chars().all(is_plain)
}

/// Where this machine reaches a listener of its own.
pub(super) fn own_url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Reads only `LISTEN_ADDR`, for commands that call the service.
pub fn listen_addr(variable: &dyn Fn(&str) -> Option<String>) -> Result<SocketAddr, Vec<Fault>> {
    let mut reader = Reader::new(variable);
    let address = parsed(&mut reader);
    reader.finish(address)
}

fn parsed(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    reader.parsed(
        "LISTEN_ADDR",
        "127.0.0.1:5009",
        "an address such as 127.0.0.1:5009",
    )
}

pub(super) fn checked_listen_addr(
    role: Role,
    has_clients: bool,
    reader: &mut Reader<'_>,
) -> Option<SocketAddr> {
    let address = parsed(reader)?;
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if role != Role::Worker && !loopback && !has_clients {
        reader.fault(
            "LISTEN_ADDR",
            format!(
                "{address} can be reached from other machines, so callers need API keys: set CLIENTS_FILE \
                 (`payment-service keys` creates a key and shows the file), or listen on 127.0.0.1"
            ),
        );
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_an_address_that_everyone_reads_alike() {
        for good in [
            "https://pay.example",
            "https://pay.example:8443/payments-api",
            "https://pay.example./a/b%20c",
            "http://localhost:5009",
            "http://[::1]:5009/x",
            "https://203.0.113.7",
        ] {
            assert_eq!(checked_public_url(good).as_deref(), Ok(good));
            let with_slash = format!("{good}/");
            assert_eq!(checked_public_url(&with_slash).as_deref(), Ok(good));
        }
        for (odd, why) in [
            ("https://pay.example?x=1", WrongPublicUrl::Query),
            ("https://pay.example/?", WrongPublicUrl::Query),
            ("https://pay.example:0", WrongPublicUrl::Port),
            ("https://pay..example", WrongPublicUrl::Host),
            ("https://.", WrongPublicUrl::Host),
            ("https://-pay.example", WrongPublicUrl::Host),
            ("https://pay-.example", WrongPublicUrl::Host),
            ("https://pay.example//x", WrongPublicUrl::Path),
            ("https://pay.example/a/../b", WrongPublicUrl::Path),
            ("https://pay.example/./b", WrongPublicUrl::Path),
            ("https://pay.example/%2e%2E/b", WrongPublicUrl::Path),
            ("https://pay.example/a%2Fb", WrongPublicUrl::Path),
            ("https://pay.example/a%0d%0ab", WrongPublicUrl::Path),
            ("https://pay.example/a%ff", WrongPublicUrl::Path),
            ("https://pay.example/a%2", WrongPublicUrl::Path),
            ("https://pay.example/a%zz", WrongPublicUrl::Path),
            ("pay.example", InvalidUrl::Malformed.into()),
            ("http://pay.example", InvalidUrl::Scheme.into()),
            ("https://pay.example/#x", InvalidUrl::Fragment.into()),
        ] {
            assert_eq!(checked_public_url(odd), Err(why), "{odd}");
        }
    }

    #[test]
    fn a_password_in_a_public_url_is_not_repeated() {
        for url in [
            "https://maria:secret@pay.example",
            "maria:secret@pay.example",
            "http://maria:secret",
        ] {
            let wrong = checked_public_url(url).unwrap_err().to_string();
            assert!(!wrong.contains("secret"), "{wrong}");
        }
    }
}
