//! Broker URLs with one or several hosts. The password is never shown.
//!
//! lapin's parser accepts one host, turns an IPv6 address into `localhost` and repeats an invalid URL in its error,
//! including the password; so this module parses the hosts, and lapin only the rest.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The hosts of one broker or cluster, in the order in which they are tried.
#[derive(Clone, PartialEq, Eq)]
pub struct Hosts {
    uris: Vec<AMQPUri>,
    ca_certificates: Option<String>,
}

/// Why a broker URL cannot be used. Contains no part of the URL, since that may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmqpUrl {
    /// Empty, or not in this form.
    #[error(
        "expected amqp://USER:PASSWORD@HOST:PORT/VHOST (hosts may be several, separated by commas), with / ? and @ in the \
         password as %2F, %3F and %40"
    )]
    Malformed,
    /// Not a supported scheme.
    #[error("expected a URL that begins with amqp:// or amqps://")]
    Scheme,
    /// A host is missing or malformed.
    #[error(
        "a host name is missing or malformed; a / ? or @ in the password is written %2F, %3F or %40"
    )]
    Host,
    /// Not a port number.
    #[error(
        "a port is not a number between 1 and 65535, or a / or ? in the password is not written %2F or %3F"
    )]
    Port,
}

/// Why a certificate authority cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCa {
    /// Not PEM, or without certificates.
    #[error("does not hold certificates in PEM form (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// A host without TLS.
    #[error("has no effect with amqp://, which is not encrypted: write amqps:// in AMQP_URL")]
    NotEncrypted,
}

/// Reads `amqp://user:password@host1:5672,host2:5673/vhost`, or whole URLs separated by commas.
/// Without a virtual host, or with an empty one, it is `/`.
pub fn parse_urls(text: &str) -> Result<Hosts, InvalidAmqpUrl> {
    let mut hosts = Vec::new();
    for url in whole_urls(text.trim()) {
        hosts.extend(hosts_of(url)?);
    }
    if hosts.is_empty() {
        Err(InvalidAmqpUrl::Malformed)
    } else {
        Ok(Hosts {
            uris: hosts,
            ca_certificates: None,
        })
    }
}

impl Hosts {
    /// All hosts; at least one.
    pub(super) fn uris(&self) -> &[AMQPUri] {
        &self.uris
    }

    /// Host and port of each host.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        let address = |uri: &AMQPUri| (uri.authority.host.clone(), uri.authority.port);
        self.uris.iter().map(address).collect()
    }

    /// Adds a CA certificate as PEM, in addition to the system's.
    pub fn with_ca(self, pem: &str) -> Result<Self, InvalidCa> {
        let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
        if certificates.next().is_none_or(|first| first.is_err())
            || certificates.any(|it| it.is_err())
        {
            return Err(InvalidCa::NoCertificate);
        }
        // It would have no effect, and the operator would believe that the connection is encrypted.
        if self.uris.iter().any(|uri| uri.scheme == AMQPScheme::AMQP) {
            return Err(InvalidCa::NotEncrypted);
        }
        Ok(Self {
            ca_certificates: Some(pem.to_owned()),
            ..self
        })
    }

    pub(super) fn ca_certificates(&self) -> Option<String> {
        self.ca_certificates.clone()
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.uris.iter().map(address))
            .finish()
    }
}

/// `host:port`, for logs and reasons.
pub(super) fn address(uri: &AMQPUri) -> String {
    format!("{}:{}", uri.authority.host, uri.authority.port)
}

/// Splits at commas that are followed by another URL.
fn whole_urls(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut start = 0;
    for (comma, _) in text.match_indices(',') {
        let next = text[comma + 1..].trim_start();
        if next.starts_with("amqp://") || next.starts_with("amqps://") {
            urls.push(text[start..comma].trim());
            start = comma + 1;
        }
    }
    urls.push(text[start..].trim());
    urls
}

fn hosts_of(url: &str) -> Result<Vec<AMQPUri>, InvalidAmqpUrl> {
    let (scheme, rest) = url.split_once("://").ok_or(InvalidAmqpUrl::Scheme)?;
    if scheme != "amqp" && scheme != "amqps" {
        return Err(InvalidAmqpUrl::Scheme);
    }
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(authority_end);
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    let (vhost, query) = after.split_once('?').unwrap_or((after, ""));
    // The path `/` would mean the virtual host with the empty name, which nobody uses; but many URLs end in `/`.
    let vhost = if vhost.len() > 1 { vhost } else { "" };
    let around: AMQPUri = format!("{scheme}://{login}host{vhost}?{query}")
        .parse()
        .map_err(|_| InvalidAmqpUrl::Malformed)?;
    hosts
        .split(',')
        .map(|host| with_host(&around, host.trim()))
        .collect()
}

fn with_host(around: &AMQPUri, host: &str) -> Result<AMQPUri, InvalidAmqpUrl> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(InvalidAmqpUrl::Host)?;
            (
                address,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or(InvalidAmqpUrl::Port)?)
                },
            )
        }
        None => host
            .split_once(':')
            .map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(InvalidAmqpUrl::Host);
    }
    let port = match port {
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(InvalidAmqpUrl::Port)?,
        None => around.scheme.default_port(),
    };
    let mut uri = around.clone();
    uri.authority.host = name.to_owned();
    uri.authority.port = port;
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        parse_urls(text)
            .expect(text)
            .uris()
            .iter()
            .map(address)
            .collect()
    }

    #[test]
    fn several_hosts_share_one_login_and_virtual_host() {
        let hosts = parse_urls("amqp://shop:p%40ss,word@one:5673,two,[::1]:5674/odd%2Fone%20%25")
            .expect("hosts");
        assert_eq!(
            hosts.uris().iter().map(address).collect::<Vec<_>>(),
            ["one:5673", "two:5672", "::1:5674"]
        );
        for uri in hosts.uris() {
            assert_eq!(uri.authority.userinfo.username, "shop");
            assert_eq!(uri.authority.userinfo.password, "p@ss,word");
            assert_eq!(uri.vhost, "odd/one %");
        }
    }

    #[test]
    fn whole_urls_may_be_separated_by_commas() {
        assert_eq!(
            addresses("amqp://a@one, amqps://b@two/x"),
            ["one:5672", "two:5671"]
        );
    }

    #[test]
    fn without_a_virtual_host_it_is_the_slash() {
        for url in [
            "amqp://one",
            "amqp://one/",
            "amqp://one/%2f",
            "amqp://one?heartbeat=3",
            "amqp://one/?heartbeat=3",
        ] {
            assert_eq!(parse_urls(url).expect(url).uris()[0].vhost, "/", "{url}");
        }
    }

    #[test]
    fn errors_do_not_contain_the_password() {
        for (url, fault) in [
            ("", InvalidAmqpUrl::Scheme),
            ("secret", InvalidAmqpUrl::Scheme),
            ("http://u:secret@host", InvalidAmqpUrl::Scheme),
            ("amqp://u:secret@", InvalidAmqpUrl::Host),
            ("amqp://u:secret@host,", InvalidAmqpUrl::Host),
            ("amqp://u:secret@ho st", InvalidAmqpUrl::Host),
            ("amqp://u:secret@host:0", InvalidAmqpUrl::Port),
            ("amqp://u:secret@host:70000", InvalidAmqpUrl::Port),
            ("amqp://u:%ff@host", InvalidAmqpUrl::Malformed),
        ] {
            let error = parse_urls(url).expect_err(url);
            assert_eq!(error, fault, "{url}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_ca_file_needs_certificates_and_amqps_hosts() {
        let hosts = |url| parse_urls(url).expect(url);
        let no_pem = hosts("amqps://host").with_ca("secret");
        assert_eq!(no_pem, Err(InvalidCa::NoCertificate));
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(hosts("amqps://host").with_ca(pem).is_ok());
        let in_clear = hosts("amqps://one, amqp://two").with_ca(pem);
        assert_eq!(in_clear, Err(InvalidCa::NotEncrypted));
    }

    #[test]
    fn debug_shows_no_password() {
        let hosts = parse_urls("amqp://u:secret@host").expect("hosts");
        assert_eq!(format!("{hosts:?}"), r#"["host:5672"]"#);
    }
}
