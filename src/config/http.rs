//! `LISTEN_ADDR`, `HTTP_*` and `CLIENT_REQUESTS`: the REST address, and the limits for callers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::http::StatusCode;

use super::Role;
use super::reader::{Fault, Reader};
use crate::domain::ReturnUrl;

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
    let url = reader.optional(
        "PUBLIC_URL",
        "the address at which shoppers reach this service, such as https://pay.example/payments-api: https, or http on \
         this machine; without query and fragment",
        |text| {
            let url = ReturnUrl::parse(text.trim_end_matches('/')).ok()?;
            (!url.as_str().contains('?')).then_some(url)
        },
    );
    let own = || {
        let address = listen_addr.filter(|address| address.ip().is_loopback())?;
        (role != Role::Worker).then(|| own_url(address))
    };
    url.map(|url| url.as_str().to_owned()).or_else(own)
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
