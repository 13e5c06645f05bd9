//! Who may open the page. The checks come before every page and every asset, in this order: the `Host`, the `Origin`, the
//! session. Health checks and metrics are not behind them.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::{COOKIE, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::sessions::Sessions;
use super::throttle::Throttle;
use crate::clients::operators::Operators;
use crate::metric::ADMIN_REQUESTS_REFUSED;
use crate::wire::dead_letter::masked_text;

/// The cookie with the id of a session. Not `__Host-`: that needs `Secure`, and the page is served without TLS.
pub const COOKIE_NAME: &str = "operator_session";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// How long a page that an operator has read is not logged again: open pages renew themselves.
const LOGGED_FOR: Duration = Duration::from_secs(600);

/// The part of a path that is logged, in characters.
const LONGEST_PATH: usize = 100;

/// The name in the log if no login is needed.
const NOBODY: &str = "local";

/// Pages that are remembered as logged.
const MOST_LOGGED: usize = 10_000;

/// For each reason at most one refusal is logged within this time; all are counted.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(1);

/// Whether a login is needed.
pub enum Entry {
    /// The page is off.
    Closed,
    /// No: only this machine can reach it, and no real money is behind it.
    Open,
    /// These may, with their tokens.
    Login(Operators),
}

impl Entry {
    /// Whether the cookie of a session means anything.
    pub fn has_sessions(&self) -> bool {
        matches!(self, Self::Login(_))
    }
}

/// Who may open the page.
pub struct Access {
    /// The values of `Host` under which it may be opened.
    hosts: Vec<String>,
    pub entry: Entry,
    pub sessions: Sessions,
    pub throttle: Throttle,
    /// Who read which page, and when that was logged.
    logged: Mutex<HashMap<(Arc<str>, String), Instant>>,
    /// For each reason when a refusal was last logged, and how many were not logged since.
    refusals: Mutex<HashMap<Refused, (Option<Instant>, u64)>>,
}

/// Why a request is refused. [`Self::as_str`] is its name in the log and in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Under a name that is not allowed.
    Host,
    /// From a page of another origin.
    Origin,
    /// With a wrong token.
    Token,
    /// After too many wrong tokens.
    Throttled,
    /// Without a session, or with one that has ended.
    Session,
}

/// The values of [`Refused::as_str`].
pub const REASONS: [&str; 5] = ["host", "origin", "token", "throttled", "session"];

impl Refused {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::Throttled => "throttled",
            Self::Session => "session",
        }
    }
}

impl Access {
    /// For a listener at this address, which may also be opened under the given names.
    pub fn new(address: SocketAddr, further: &[String], entry: Entry) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string()];
        let is_local = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
        if is_local(address.ip()) {
            let local = ["localhost", "127.0.0.1", "[::1]"];
            hosts.extend(local.map(|name| format!("{name}:{port}")));
        }
        hosts.extend_from_slice(further);
        Self {
            hosts,
            entry,
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            logged: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Checks where a request comes from. A page of another site cannot choose `Host` and `Origin`: a name that leads here
    /// by DNS (rebinding) has the wrong `Host`, and a page on another port the wrong `Origin`.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let path = uri.path();
        let mut given = headers.get_all(HOST).iter();
        let (host, another) = (given.next(), given.next());
        let host = host.filter(|_| another.is_none());
        let host = host.and_then(|host| host.to_str().ok());
        let host = host.ok_or(Refused::Host)?.to_ascii_lowercase();
        // A request may name the host twice: `GET http://host/ HTTP/1.1`.
        let target = uri.authority().map(|it| it.as_str().to_ascii_lowercase());
        if !self.hosts.contains(&host) || target.is_some_and(|target| target != host) {
            return Err(Refused::Host);
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let mut origins = headers.get_all(ORIGIN).iter();
        let same = match origins.next() {
            Some(origin) => is_of(origin.as_bytes(), &host) && origins.next().is_none(),
            // Browsers send it with every other method.
            None => reads,
        };
        let opens_a_page = reads
            && !path.starts_with("/api/")
            && headers
                .get(SEC_FETCH_MODE)
                .is_none_or(|mode| mode == "navigate");
        let from_elsewhere = headers
            .get(SEC_FETCH_SITE)
            .is_some_and(|site| site == "cross-site" || site == "same-site");
        if same && (!from_elsewhere || opens_a_page) {
            Ok(())
        } else {
            Err(Refused::Origin)
        }
    }

    /// The operator whose session a request belongs to; an empty name if no login is needed.
    pub fn operator(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        match &self.entry {
            Entry::Closed => None,
            Entry::Open => Some("".into()),
            Entry::Login(operators) => session_ids(headers)
                .filter_map(|id| self.sessions.proof(id))
                // The file may have changed since the login.
                .find(|proof| operators.still_has(proof))
                .map(|proof| proof.operator),
        }
    }

    /// Counts a refused request, and logs it unless another one was just logged.
    pub fn refuse(&self, why: Refused, address: Option<IpAddr>) {
        metrics::counter!(ADMIN_REQUESTS_REFUSED, "reason" => why.as_str()).increment(1);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unlogged) = refusals.entry(why).or_default();
        if last.is_some_and(|last| last.elapsed() < REFUSALS_LOGGED_EVERY) {
            *unlogged += 1;
            return;
        }
        tracing::warn!(
            reason = why.as_str(),
            address = address.map(tracing::field::display),
            before = *unlogged,
            "a request for the operators' page was refused; `before` counts those with the same reason that were not logged"
        );
        (*last, *unlogged) = (Some(Instant::now()), 0);
    }

    /// Logs that an operator reads a page, unless that was logged in the last ten minutes. Without the query, and masked: a
    /// card number may have been typed into the address.
    pub fn log_reading(&self, operator: &Arc<str>, path: &str) {
        let path = loggable(path);
        let key = (Arc::clone(operator), path.clone());
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if logged.get(&key).is_some_and(|at| *at + LOGGED_FOR > now) {
            return;
        }
        if logged.len() >= MOST_LOGGED {
            logged.clear();
        }
        logged.insert(key, now);
        drop(logged);
        let operator = Some(&**operator).filter(|name| !name.is_empty());
        tracing::info!(
            operator = operator.unwrap_or(NOBODY),
            path,
            "an operator reads a page"
        );
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Access");
        shown.field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// The beginning of a path, decoded, since `%20` between digits is a space, and then masked.
fn loggable(path: &str) -> String {
    let path: String = path.chars().take(LONGEST_PATH).collect();
    masked_text(&percent_decode_str(&path).decode_utf8_lossy())
}

/// Whether an origin is that of a page under this host and port.
fn is_of(origin: &[u8], host: &str) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else {
        return false;
    };
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// The ids in the session's cookies: a page on another port of the host can add one, but not replace ours.
pub fn session_ids(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, path: &str, pairs: &[(&'static str, &str)]) -> Result<(), Refused> {
        let address = "127.0.0.1:9009".parse().expect("an address");
        let further = ["ops.example".to_owned(), "ops.example:8443".to_owned()];
        let access = Access::new(address, &further, Entry::Open);
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header"));
        }
        access.check(&method, &path.parse().expect("an address"), &headers)
    }

    #[test]
    fn only_the_listeners_own_names_and_those_of_the_settings_are_served() {
        for host in [
            "127.0.0.1:9009",
            "localhost:9009",
            "LocalHost:9009",
            "[::1]:9009",
            "ops.example",
            "ops.example:8443",
        ] {
            assert_eq!(
                checked(Method::GET, "/", &[("host", host)]),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "",
            "127.0.0.1",
            "localhost",
            "localhost:5009",
            "localhost.:9009",
            "rebound.example:9009",
            "ops.example:9009",
            "127.0.0.1:9009.evil.example",
        ] {
            let refused = checked(Method::GET, "/", &[("host", host)]);
            assert_eq!(refused, Err(Refused::Host), "{host}");
        }
        assert_eq!(checked(Method::GET, "/", &[]), Err(Refused::Host));
        let two = [("host", "localhost:9009"), ("host", "localhost:9009")];
        assert_eq!(checked(Method::GET, "/", &two), Err(Refused::Host));
    }

    #[test]
    fn an_address_of_the_network_is_served_under_itself_only() {
        let address = "192.0.2.7:9009".parse().expect("an address");
        let access = Access::new(address, &[], Entry::Open);
        assert_eq!(access.hosts, ["192.0.2.7:9009"]);
    }

    #[test]
    fn the_origin_must_be_that_of_the_page_including_its_port() {
        let host = ("host", "localhost:9009");
        let with = |origin| checked(Method::POST, "/api/try", &[host, ("origin", origin)]);
        assert_eq!(with("http://localhost:9009"), Ok(()));
        assert_eq!(with("https://localhost:9009"), Ok(()));
        for foreign in [
            "null",
            "",
            "http://localhost",
            "http://localhost:5009",
            "http://127.0.0.1:9009",
            "http://localhost:9009.evil.example",
            "ftp://localhost:9009",
            "https://evil.example",
        ] {
            assert_eq!(with(foreign), Err(Refused::Origin), "{foreign}");
            let read = checked(Method::GET, "/", &[host, ("origin", foreign)]);
            assert_eq!(read, Err(Refused::Origin), "{foreign}");
        }
        let without = checked(Method::POST, "/api/try", &[host]);
        assert_eq!(without, Err(Refused::Origin));
    }

    #[test]
    fn other_sites_may_link_to_a_page_but_load_nothing() {
        let from = |site, mode, path| {
            let headers = [
                ("host", "localhost:9009"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
            ];
            checked(Method::GET, path, &headers)
        };
        assert_eq!(from("same-site", "navigate", "/payments"), Ok(()));
        assert_eq!(from("cross-site", "navigate", "/"), Ok(()));
        assert_eq!(from("same-origin", "cors", "/api/events"), Ok(()));
        assert_eq!(from("none", "navigate", "/api/payments"), Ok(()));
        for (site, mode, path) in [
            ("same-site", "cors", "/payments"),
            ("cross-site", "no-cors", "/assets/admin.js"),
            ("same-site", "navigate", "/api/payments"),
        ] {
            assert_eq!(from(site, mode, path), Err(Refused::Origin), "{path}");
        }
    }

    #[test]
    fn a_second_origin_and_another_host_in_the_target_are_refused() {
        let host = ("host", "localhost:9009");
        let good = ("origin", "http://localhost:9009");
        let foreign = ("origin", "http://evil.example");
        for origins in [[good, foreign], [foreign, good], [good, good]] {
            let headers = [host, origins[0], origins[1]];
            let checked = checked(Method::POST, "/api/try", &headers);
            assert_eq!(checked, Err(Refused::Origin), "{origins:?}");
        }
        for (target, expected) in [
            ("http://localhost:9009/", Ok(())),
            ("http://LOCALHOST:9009/", Ok(())),
            ("http://evil.example/", Err(Refused::Host)),
            ("http://evil@localhost:9009/", Err(Refused::Host)),
            ("http://127.0.0.1:9009/", Err(Refused::Host)),
        ] {
            assert_eq!(checked(Method::GET, target, &[host]), expected, "{target}");
        }
    }

    #[test]
    fn a_card_number_in_a_path_is_masked_however_it_is_encoded() {
        for written in [
            "4242424242424242",
            "4242%204242%204242%204242",
            "%34242424242424242",
            "4242%2D4242%2D4242%2D4242",
        ] {
            let logged = loggable(&format!("/payments/{written}"));
            assert_eq!(logged, "[masked]", "{written}");
        }
        assert_eq!(loggable("/payments/42"), "/payments/42");
    }

    #[test]
    fn the_sessions_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(session_ids(&headers).next(), None);
        headers.append(
            COOKIE,
            "a=b; operator_session=12; c=d".parse().expect("text"),
        );
        headers.append(COOKIE, "operator_session=34".parse().expect("text"));
        assert!(session_ids(&headers).eq(["12", "34"]));
    }
}
