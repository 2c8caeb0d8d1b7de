//! TLS to the server, by rustls. The certificate is always checked: who signed it, and the name that the URL has.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::url::{Asked, Authorities};

/// The protocol within TLS, as PostgreSQL 17 and later ask for it.
const PROTOCOL: &[u8] = b"postgresql";

/// Makes TLS sessions as a URL asks for them. Reads the authorities, which may have been renewed since the last time.
pub(super) fn connector(asked: &Asked) -> Result<MakeRustlsConnect, StoreError> {
    let mode = asked.config.get_ssl_mode();
    let trusted = match mode {
        SslMode::Disable => RootCertStore::empty(),
        _ => trusted(&asked.authorities)?,
    };
    if mode == SslMode::Require && trusted.is_empty() {
        return Err(StoreError::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::System {
            doing: "set TLS up",
            source: std::io::Error::other(error),
        })?;
    let mut config = config.with_root_certificates(trusted).with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

/// Whose certificates are believed. Of a machine that trusts nobody there are none.
fn trusted(authorities: &Authorities) -> Result<RootCertStore, StoreError> {
    let mut trusted = RootCertStore::empty();
    let Authorities::File(path) = authorities else {
        let system = rustls_native_certs::load_native_certs();
        trusted.add_parsable_certificates(system.certs);
        return Ok(trusted);
    };
    let unusable = |reason: String| StoreError::Authorities {
        path: path.clone(),
        reason,
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|error| unusable(error.to_string()))?;
    match trusted.add_parsable_certificates(read) {
        (0, 0) => Err(unusable("there is no certificate in it".to_owned())),
        (_, 0) => Ok(trusted),
        (_, count) => Err(unusable(format!(
            "{count} of its certificates cannot be read"
        ))),
    }
}

/// What is to be done about a server that TLS cannot be spoken with; nothing, if that is not what is wrong.
pub(super) fn advice(error: &tokio_postgres::Error) -> Option<&'static str> {
    use std::error::Error;
    let source = error.source()?;
    if source.to_string() == "server does not support TLS" {
        return Some(
            "it does not speak TLS, so nothing was told to it; switch `ssl` on there, or write sslmode=disable into the URL if \
            nobody can listen or answer in its place on the way",
        );
    }
    let source = source.downcast_ref::<std::io::Error>()?.get_ref()?;
    Some(match source.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(error) => about(error),
        _ => "TLS 1.2 or 1.3 cannot be agreed on with it",
    })
}

fn about(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "none of the trusted authorities signed its certificate; name the file of the one that did, in PEM, with \
            --postgres-ca, NETPOL_POSTGRES_CA or sslrootcert in the URL"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name than the URL's; write a name that it holds into the URL, or give it that one as a \
            subjectAltName (its common name does not count)"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid at this time; renew it, or set this machine's clock"
        }
        _ => {
            "its certificate cannot be used; give it one for servers that is not an authority's own, signed by the authority that \
            --postgres-ca, NETPOL_POSTGRES_CA or sslrootcert in the URL names"
        }
    }
}
