//! TLS to the server, by rustls, if the URL asks for it. The certificate is always checked.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

use super::StoreError;

/// Where distributions keep the certificates that they trust.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Makes TLS sessions.
#[derive(Clone)]
pub(super) struct Connector(Arc<ClientConfig>);

/// A session to be made with one server.
pub(super) struct Session {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A session.
pub(super) struct Stream<S>(client::TlsStream<S>);

/// What a URL asks for.
pub(super) fn parse(url: &str) -> Result<(Config, Connector), StoreError> {
    let wrong = |reason: String| StoreError::Url { reason };
    check(url).map_err(|reason| wrong(reason.to_owned()))?;
    let (url, roots, verifies) = split(url);
    let mut config: Config = url
        .parse()
        .map_err(|error| wrong(crate::trouble::chain(&error as &tokio_postgres::Error)))?;
    if verifies {
        config.ssl_mode(SslMode::Require);
    }
    config.application_name("netpol");
    let mut trusted = RootCertStore::empty();
    if config.get_ssl_mode() != SslMode::Disable {
        let paths = match &roots {
            Some(path) => vec![path.clone()],
            None => SYSTEM.map(PathBuf::from).to_vec(),
        };
        for path in paths.iter().filter(|path| roots.is_some() || path.exists()) {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let read: Vec<_> =
                read.map_err(|error| wrong(format!("sslrootcert {}: {error}", path.display())))?;
            trusted.add_parsable_certificates(read);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok((config, Connector(Arc::new(tls))))
}

/// Refuses what would be read otherwise than it is meant. No reason may tell a part of the password, and what is read as the
/// name of a parameter is told.
fn check(url: &str) -> Result<(), &'static str> {
    let rest = ["postgresql://", "postgres://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or("it does not begin with postgresql://")?;
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if place.matches('@').count() > 1 || parameters.contains('@') {
        return Err("a ? or @ in a password is to be written as %3F or %40");
    }
    Ok(())
}

/// Takes out what the driver does not know: `sslrootcert`, and the modes of libpq that are stricter than `require`, which
/// is as strict here.
fn split(url: &str) -> (String, Option<PathBuf>, bool) {
    let Some((base, query)) = url.split_once('?') else {
        return (url.to_owned(), None, false);
    };
    let (mut roots, mut verifies, mut rest) = (None, false, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslrootcert", path)) => roots = Some(PathBuf::from(path.replace("%2F", "/"))),
            Some(("sslmode", "verify-ca" | "verify-full")) => verifies = true,
            _ => rest.push(pair),
        }
    }
    match rest.is_empty() {
        true => (base.to_owned(), roots, verifies),
        false => (format!("{base}?{}", rest.join("&")), roots, verifies),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Connector {
    type Stream = Stream<S>;
    type TlsConnect = Session;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Session, Self::Error> {
        // A unix socket has no name, and no TLS.
        let name = if domain.is_empty() {
            "localhost"
        } else {
            domain
        };
        Ok(Session {
            config: Arc::clone(&self.0),
            name: ServerName::try_from(name.to_owned())?,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Session {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = TlsConnector::from(self.config).connect(self.name, stream);
        Box::pin(async move { Ok(Stream(connecting.await?)) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, to)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_does_not_know_is_taken_out() {
        let url =
            "postgresql://me@db/netpol?sslmode=verify-full&connect_timeout=3&sslrootcert=/ca.crt";
        let (rest, roots, verifies) = split(url);
        assert_eq!(rest, "postgresql://me@db/netpol?connect_timeout=3");
        assert_eq!((roots, verifies), (Some(PathBuf::from("/ca.crt")), true));
        let plain = "postgresql:///netpol?host=/run/db";
        assert_eq!(split(plain), (plain.to_owned(), None, false));
    }

    #[test]
    fn a_password_with_signs_of_urls_is_refused_without_a_part_of_it() {
        for bad in [
            "postgresql://me:s3c@ret@db:5432/netpol",
            "postgresql://me:s3c?ret@db:5432/netpol",
        ] {
            let error = parse(bad).err().unwrap().to_string();
            assert!(error.contains("%40"), "{error}");
            assert!(!error.contains("s3c") && !error.contains("ret@"), "{error}");
        }
    }

    #[test]
    fn urls_that_name_no_database_are_told() {
        for bad in [
            "postgresql://a:b:c",
            "postgresql://h/n?sslmode=perhaps",
            "postgresql://h/n?sslmode=require&sslrootcert=/none",
        ] {
            let error = parse(bad).err().unwrap();
            assert!(matches!(error, StoreError::Url { .. }), "{bad}: {error}");
        }
    }
}
