//! Looking names up, and the guard between a name and a connection.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::netguard::{Netguard, Range};

type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// How names become addresses. Cheap to clone.
#[derive(Clone)]
pub struct Lookup(Arc<dyn Fn(String) -> Addresses + Send + Sync>);

impl Lookup {
    /// As the system does it.
    pub fn system() -> Lookup {
        Lookup::by(|name| async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    /// In another way.
    pub fn by<F, Fut>(lookup: F) -> Lookup
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Lookup(Arc::new(move |name| Box::pin(lookup(name))))
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// There are none, or nobody can say now.
    pub async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = (self.0)(name.to_owned()).await?;
        if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

/// What the HTTP client asks before it connects: gives admitted addresses, or none.
pub(super) struct Guarded {
    pub guard: Arc<Netguard>,
    pub lookup: Lookup,
    pub range: Range,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, lookup, range) = (Arc::clone(&self.guard), self.lookup.clone(), self.range);
        Box::pin(async move {
            let found = lookup.addresses(name.as_str()).await?;
            let admitted = guard.admit(&found, range)?;
            // Port 0: that of the URL.
            let addresses: Addrs = Box::new(admitted.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}
