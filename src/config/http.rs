//! `HTTP_*` and `CLIENT_REQUESTS`: what callers may take.

use std::time::Duration;

use super::reader::Reader;

/// What callers may take.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// `HTTP_CONNECTIONS`: open at the same time.
    pub connections: usize,
    /// `HTTP_IDLE_TIMEOUT`: how long a connection may take to its next request's head.
    pub idle_timeout: Duration,
    /// `CLIENT_REQUESTS`: worked on at the same time for one client.
    pub client_requests: usize,
}

impl HttpLimits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            connections: reader.number("HTTP_CONNECTIONS", 10_000, 1..=1_000_000),
            idle_timeout: reader.duration("HTTP_IDLE_TIMEOUT", Duration::from_secs(30)),
            client_requests: reader.number("CLIENT_REQUESTS", 1024, 1..=1_000_000),
        }
    }
}
