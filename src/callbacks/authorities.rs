//! The CA certificates that receivers are checked against: the system's, and those of `CALLBACK_CA_FILE`.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Extra CA certificates, in addition to the system's.
#[derive(Clone, Default)]
pub struct Authorities(Arc<[CertificateDer<'static>]>);

/// Why a CA file cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidAuthorities {
    /// The file is empty, is not PEM, or holds no certificate.
    #[error("does not hold certificates in PEM form (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// It is PEM, but a certificate in it is not a usable CA certificate.
    #[error("holds a certificate that cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl Authorities {
    /// Parses CA certificates from PEM.
    pub fn parse(pem: &str) -> Result<Self, InvalidAuthorities> {
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let certificates = certificates.unwrap_or_default();
        if certificates.is_empty() {
            return Err(InvalidAuthorities::NoCertificate);
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(InvalidAuthorities::Unusable)?;
        }
        Ok(Self(certificates.into()))
    }

    /// Adds the system's certificates, which takes a while to read. If there are none at all, `https` fails and `http`
    /// works.
    pub(super) fn and_the_system_s(&self) -> RootCertStore {
        let system = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.certs);
        roots.add_parsable_certificates(self.0.iter().cloned());
        if roots.is_empty() {
            let errors = system.errors;
            tracing::warn!(
                ?errors,
                "no root certificates: callbacks by https will fail"
            );
        }
        roots
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} extra", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        for pem in ["", "a certificate", "-----BEGIN CERTIFICATE-----\n%%%\n"] {
            let read = Authorities::parse(pem).map(|_| ());
            assert_eq!(read, Err(InvalidAuthorities::NoCertificate), "{pem}");
        }
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let read = Authorities::parse(pem).map(|_| ());
        assert!(
            matches!(read, Err(InvalidAuthorities::Unusable(_))),
            "{read:?}"
        );
    }
}
