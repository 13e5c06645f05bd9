//! Reads `DATABASE_URL`: `mysql://user:password@host1:3306,host2:3306/database?ssl-mode=VERIFY_CA&ssl-ca=/path`.
//! Error messages never repeat a part of the URL: any part may contain a piece of a badly escaped password.

use std::fmt;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

/// The possible servers: one set of options for each host, in the order of preference.
#[derive(Clone)]
pub struct Hosts(pub(super) Vec<MySqlConnectOptions>);

/// What is wrong with a database URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// Another scheme, or none.
    #[error("must start with mysql://")]
    Scheme,
    /// No user before an `@`.
    #[error(
        "has no user; write mysql://user:password@host/database, with / ? and @ in the password as %2F, %3F and %40"
    )]
    User,
    /// An empty host.
    #[error("has no host, or an empty one; a / ? or @ in the password is written %2F, %3F or %40")]
    Host,
    /// A port that is not a number up to 65535.
    #[error(
        "has a port that is not a number from 1 to 65535, or a password with a / or ? in it: write %2F or %3F for them"
    )]
    Port,
    /// No database, or a name with a slash or an `@` in it.
    #[error(
        "has no database after the hosts, or one with special characters; a / ? or @ in the password is written %2F, \
         %3F or %40"
    )]
    Database,
    /// Not one of `OPTIONS`.
    #[error(
        "has an option that is not known; known are {}; a ? in the password is written %3F",
        OPTIONS.join(", ")
    )]
    Option,
    /// A CA certificate without verification, so that any server certificate would be accepted.
    #[error(
        "has ssl-ca, but no ssl-mode=VERIFY_IDENTITY (or VERIFY_CA), without which nothing is verified"
    )]
    NotVerified,
    /// A value of an option, or an escape, that cannot be read.
    #[error("has an option or a percent-encoding that cannot be read")]
    Unreadable,
}

/// The options allowed after the question mark.
pub const OPTIONS: [&str; 4] = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"];

const DEFAULT_PORT: u16 = 3306;

impl Hosts {
    /// Host and port of each host.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        let address = |host: &MySqlConnectOptions| (host.get_host().to_owned(), host.get_port());
        self.0.iter().map(address).collect()
    }
}

/// Reads a URL with one or several hosts.
pub fn parse_url(url: &str) -> Result<Hosts, InvalidDatabaseUrl> {
    let rest = url
        .strip_prefix("mysql://")
        .or_else(|| url.strip_prefix("mariadb://"))
        .ok_or(InvalidDatabaseUrl::Scheme)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority
        .rsplit_once('@')
        .filter(|(user, _)| !user.is_empty() && !user.starts_with(':'))
        .ok_or(InvalidDatabaseUrl::User)?;
    if database.is_empty() || database.contains(['/', '@', '?', '#']) {
        return Err(InvalidDatabaseUrl::Database);
    }
    let is_known = |pair: &str| OPTIONS.contains(&pair.split('=').next().unwrap_or(""));
    if !query
        .split('&')
        .all(|pair| pair.is_empty() || is_known(pair))
    {
        return Err(InvalidDatabaseUrl::Option);
    }
    let common: MySqlConnectOptions = format!("mysql://{user}@host/{database}?{query}")
        .parse()
        .map_err(|_| InvalidDatabaseUrl::Unreadable)?;
    let verified = matches!(
        common.get_ssl_mode(),
        MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity
    );
    if !verified && query.split('&').any(|pair| pair.starts_with("ssl-ca=")) {
        return Err(InvalidDatabaseUrl::NotVerified);
    }
    let hosts: Result<Vec<_>, _> = hosts
        .split(',')
        .map(|place| {
            let (host, port) = host_and_port(place)?;
            Ok(common.clone().host(host).port(port))
        })
        .collect();
    Ok(Hosts(hosts?))
}

/// `host`, `host:port`, `[::1]`, `[::1]:port`; an IPv6 address is returned without its brackets.
fn host_and_port(place: &str) -> Result<(&str, u16), InvalidDatabaseUrl> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(InvalidDatabaseUrl::Host)?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':').ok_or(InvalidDatabaseUrl::Port)?),
            };
            (host, port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err(InvalidDatabaseUrl::Host);
    }
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse);
    match port {
        Ok(port @ 1..) => Ok((host, port)),
        _ => Err(InvalidDatabaseUrl::Port),
    }
}

/// Shows only hosts and ports: the options contain the password.
impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.0.iter().map(|host| (host.get_host(), host.get_port()));
        f.debug_list().entries(places).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<(String, u16)> {
        let hosts = parse_url(url).expect("a good URL");
        let place = |host: &MySqlConnectOptions| (host.get_host().to_owned(), host.get_port());
        hosts.0.iter().map(place).collect()
    }

    #[test]
    fn one_host_several_hosts_and_ipv6_addresses_are_parsed() {
        assert_eq!(places("mysql://u:p@db/x"), [("db".to_owned(), 3306)]);
        assert_eq!(
            places("mysql://u:p%40ss@a:1,b,[::1]:7,[fe80::1]/x?ssl-mode=REQUIRED"),
            [
                ("a".to_owned(), 1),
                ("b".to_owned(), 3306),
                ("::1".to_owned(), 7),
                ("fe80::1".to_owned(), 3306)
            ]
        );
    }

    #[test]
    fn user_database_and_options_are_the_same_for_every_host() {
        let hosts = parse_url("mysql://us%2Fer:p@a,b/pay?ssl-mode=DISABLED").expect("a good URL");
        for host in &hosts.0 {
            assert_eq!(host.get_username(), "us/er");
            assert_eq!(host.get_database(), Some("pay"));
            assert!(matches!(
                host.get_ssl_mode(),
                sqlx::mysql::MySqlSslMode::Disabled
            ));
        }
    }

    #[test]
    fn each_error_is_named_without_parts_of_the_url() {
        use InvalidDatabaseUrl as Fault;
        let table = [
            ("postgres://u:secret@h/x", Fault::Scheme),
            ("mysql://h/x", Fault::User),
            ("mysql://:secret@h/x", Fault::User),
            ("mysql://u:sec/ret@h/x", Fault::User),
            ("mysql://u:secret@/x", Fault::Host),
            ("mysql://u:secret@a,,b/x", Fault::Host),
            ("mysql://u:secret@h:port/x", Fault::Port),
            ("mysql://u:secret@h:0/x", Fault::Port),
            ("mysql://u:secret@h:70000/x", Fault::Port),
            ("mysql://u:secret@h", Fault::Database),
            ("mysql://u:a@b/secret@h/x", Fault::Database),
            ("mysql://u:secret@h/x?sslmode=REQUIRED", Fault::Option),
            ("mysql://u:a@b/c?secret@h/x", Fault::Option),
            ("mysql://u:secret@h/x?ssl-mode=perhaps", Fault::Unreadable),
            ("mysql://u:secret@h/x?ssl-ca=/ca.pem", Fault::NotVerified),
            (
                "mysql://u:secret@h/x?ssl-mode=REQUIRED&ssl-ca=/ca.pem",
                Fault::NotVerified,
            ),
        ];
        for (url, fault) in table {
            let found = parse_url(url).expect_err(url);
            assert_eq!(found, fault, "{url}");
            assert!(!found.to_string().contains("secret"), "{url}");
        }
        let hosts = parse_url("mysql://u:secret@h/x").expect("a good URL");
        assert!(!format!("{hosts:?}").contains("secret"));
    }
}
