//! What new connections are served with. Connections that are open keep what they began with.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::certificates::expiry;

/// The key and certificate at present.
#[derive(Debug, Default)]
pub(crate) struct Served(RwLock<Option<Current>>);

#[derive(Debug)]
struct Current {
    certificate: String,
    key: Arc<CertifiedKey>,
    expires: i64,
}

impl Served {
    /// Serves with these from now on; both in PEM. Tells whether they differ from what was served with before.
    ///
    /// # Errors
    ///
    /// [`TlsError::Unusable`]; what was served with before still is.
    pub(crate) fn put(&self, place: &str, certificate: &str, key: &str) -> Result<bool, TlsError> {
        let known = |current: &Current| current.certificate == certificate;
        if self.with(|current| current.as_ref().is_some_and(known)) {
            return Ok(false);
        }
        let current = Current {
            key: Arc::new(certified(place, certificate, key)?),
            expires: expiry(certificate).map_err(|reason| TlsError::unusable(place, reason))?,
            certificate: certificate.to_owned(),
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(current);
        Ok(true)
    }

    /// When the certificate expires, in seconds of Unix time.
    pub(crate) fn expires(&self) -> Option<i64> {
        self.with(|current| current.as_ref().map(|current| current.expires))
    }

    /// A TLS server that serves with whatever is current.
    ///
    /// # Errors
    ///
    /// No version of TLS is spoken.
    pub(crate) fn server(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn with<T>(&self, read: impl FnOnce(&Option<Current>) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.with(|current| Some(Arc::clone(&current.as_ref()?.key)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certified(place: &str, certificate: &str, key: &str) -> Result<CertifiedKey, TlsError> {
    let unusable = |reason: String| TlsError::unusable(place, reason);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| unusable(format!("the certificate: {error}")))?;
    if chain.is_empty() {
        return Err(unusable("there is no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| unusable(format!("the key: {error}")))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::aggregator::tls::certificates::{Authority, make};

    #[test]
    fn what_is_unusable_leaves_what_was_served_with() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let authority = Authority::new(now).unwrap();
        let one = make(&authority, &["a".to_owned()], now).unwrap();
        let other = make(&authority, &["a".to_owned()], now).unwrap();
        let served = Served::default();
        assert!(served.put("x", "", &one.key).is_err());
        assert_eq!(served.expires(), None);
        assert!(served.put("x", &one.certificate, &one.key).unwrap());
        assert!(!served.put("x", &one.certificate, &one.key).unwrap());
        let expires = served.expires();
        assert!(served.put("x", &other.certificate, &one.key).is_err());
        assert!(served.put("x", "nonsense", &one.key).is_err());
        assert_eq!(served.expires(), expires);
        assert!(served.put("x", &other.certificate, &other.key).unwrap());
    }
}
