//! Resolves the names of callback receivers to addresses that callbacks may use.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::clients::address::{Refused, is_public};

/// Why a name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system cannot resolve it.
    #[error("the name cannot be resolved: {0}")]
    Unknown(#[from] io::Error),
    /// It resolves to addresses that clients must not make the service call.
    #[error("{0}")]
    Refused(Refused),
}

/// Resolves names, and returns only allowed addresses.
#[derive(Debug, Clone, Copy)]
pub struct Resolver {
    /// Allows every address.
    pub allow_private: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow_private = self.allow_private;
        Box::pin(async move {
            // The caller fills in the port.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            allowed(found.collect(), allow_private).map(Vec::into_iter)
        })
    }
}

fn allowed(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, ResolveError> {
    let first = found.first().map(SocketAddr::ip);
    let allowed: Vec<SocketAddr> = found
        .into_iter()
        .filter(|address| allow_private || is_public(address.ip()))
        .collect();
    match (allowed.is_empty(), first) {
        (true, Some(refused)) => Err(ResolveError::Refused(Refused(refused))),
        (true, None) => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        (false, _) => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_of_a_host_are_used() {
        let address = |text: &str| SocketAddr::new(text.parse().expect("an address"), 0);
        let mixed = vec![address("127.0.0.1"), address("1.1.1.1")];
        let found = allowed(mixed.clone(), false).expect("one is left");
        assert_eq!(found, [address("1.1.1.1")]);
        assert_eq!(allowed(mixed.clone(), true).expect("both"), mixed);
        let error = allowed(vec![address("127.0.0.1")], false).expect_err("refused");
        assert!(matches!(error, ResolveError::Refused(_)));
        assert!(matches!(
            allowed(Vec::new(), true),
            Err(ResolveError::Unknown(_))
        ));
    }

    /// The way that a connection takes: a name of the system's own that leads to this machine.
    #[tokio::test]
    async fn a_host_name_is_checked_by_the_addresses_it_resolves_to() {
        let name = || "localhost".parse::<Name>().expect("a name");
        let resolve = |allow_private| Resolver { allow_private }.call(name());
        assert!(matches!(
            resolve(false).await,
            Err(ResolveError::Refused(_))
        ));
        assert!(resolve(true).await.is_ok());
    }
}
