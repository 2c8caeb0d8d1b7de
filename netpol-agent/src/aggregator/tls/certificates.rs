//! Making certificates: an authority of our own, and what it vouches for.
//!
//! The authority's key is kept, so that a new certificate needs nothing of the clients. An authority that is to be
//! replaced stays in the bundle that clients trust for as long as it is valid.

use std::time::Duration;

use jiff::Timestamp;
use netpol_common::names::cluster;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use x509_parser::pem::Pem;

use super::TlsError;

const DAY: i64 = 24 * 3600;
/// How long an authority is valid, and how long before its end it is replaced.
const AUTHORITY: (i64, i64) = (3_650 * DAY, 365 * DAY);
/// The same of a certificate.
const CERTIFICATE: (i64, i64) = (90 * DAY, 30 * DAY);
/// How far a client's clock may be behind ours.
const BEHIND: i64 = 3600;

/// A certificate authority, in PEM.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Authority {
    /// Its certificate.
    pub(super) certificate: String,
    /// Its key.
    pub(super) key: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Material {
    /// The certificate.
    pub(super) certificate: String,
    /// Its key.
    pub(super) key: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(super) fn new(now: Timestamp) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = params("netpol", now, AUTHORITY.0);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Whether it is to be replaced.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        is_due(&self.certificate, AUTHORITY.1, now)
    }
}

impl Material {
    /// Whether it is to be replaced: it will expire, or is not for all of these names.
    pub(super) fn is_due(&self, names: &[String], now: Timestamp) -> bool {
        let told = alternative_names(&self.certificate).unwrap_or_default();
        is_due(&self.certificate, CERTIFICATE.1, now)
            || names.iter().any(|name| !told.contains(name))
    }
}

/// A certificate for a server of these names, which may be addresses.
///
/// # Errors
///
/// A name that is none, or no random numbers.
pub(super) fn make(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> Result<Material, TlsError> {
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let key = KeyPair::generate()?;
    let own = CertificateParams::new(names.to_vec())?;
    let mut params = params(cluster::AGGREGATOR_SERVICE, now, CERTIFICATE.0);
    params.subject_alt_names = own.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(Material {
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

/// The names under which the aggregator is reached in a namespace.
pub(crate) fn names(namespace: &str) -> Vec<String> {
    let service = cluster::AGGREGATOR_SERVICE;
    vec![
        service.to_owned(),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        "localhost".to_owned(),
    ]
}

/// The authorities of a bundle that are still valid.
pub(super) fn valid(bundle: &str, now: Timestamp) -> Vec<String> {
    let parts = Pem::iter_from_buffer(bundle.as_bytes()).filter_map(Result::ok);
    let certificates = parts.filter_map(|part| {
        let end = part.parse_x509().ok()?.validity().not_after.timestamp();
        (end > now.as_second()).then(|| text(&part))
    });
    certificates.collect()
}

/// When a certificate expires, in seconds of Unix time.
pub(super) fn expiry(certificate: &str) -> Result<i64, String> {
    with_first(certificate, |first| first.validity().not_after.timestamp())
}

fn is_due(certificate: &str, before: i64, now: Timestamp) -> bool {
    expiry(certificate).map_or(true, |end| end - before <= now.as_second())
}

fn alternative_names(certificate: &str) -> Result<Vec<String>, String> {
    with_first(certificate, |first| {
        let names = first.subject_alternative_name().ok().flatten();
        let names = names
            .into_iter()
            .flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        names.collect()
    })
}

fn with_first<T>(
    certificate: &str,
    read: impl FnOnce(&x509_parser::certificate::X509Certificate<'_>) -> T,
) -> Result<T, String> {
    let first = Pem::iter_from_buffer(certificate.as_bytes()).next();
    let first = first.ok_or("there is no certificate")?;
    let first = first.map_err(|error| error.to_string())?;
    let parsed = first.parse_x509().map_err(|error| error.to_string())?;
    Ok(read(&parsed))
}

/// A certificate as PEM has it (RFC 7468): 64 characters a line.
fn text(part: &Pem) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(&part.contents);
    let mut text = format!("-----BEGIN {}-----\n", part.label);
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {}-----\n", part.label)
}

fn params(name: &str, now: Timestamp, seconds: i64) -> CertificateParams {
    let at = |second: i64| {
        let since = Duration::from_secs(second.max(0).unsigned_abs());
        date_time_ymd(1970, 1, 1) + since
    };
    let mut params = CertificateParams::default();
    params.not_before = at(now.as_second() - BEHIND);
    params.not_after = at(now.as_second() + seconds);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
    }

    #[test]
    fn a_certificate_is_replaced_before_it_expires_and_for_new_names() {
        let authority = Authority::new(at(0)).unwrap();
        let own = names("netpol-system");
        let material = make(&authority, &own, at(0)).unwrap();
        assert_eq!(expiry(&material.certificate).unwrap(), at(90).as_second());
        assert!(!material.is_due(&own, at(59)));
        assert!(material.is_due(&own, at(60)));
        assert!(material.is_due(&names("elsewhere"), at(0)));
        assert!(!authority.is_due(at(3_650 - 366)));
        assert!(authority.is_due(at(3_650 - 365)));
    }

    #[test]
    fn a_bundle_keeps_what_is_valid_as_it_is() {
        let (old, new) = (
            Authority::new(at(-3_640)).unwrap(),
            Authority::new(at(0)).unwrap(),
        );
        let bundle = format!("{}{}", new.certificate, old.certificate).replace("\r\n", "\n");
        assert_eq!(valid(&bundle, at(0)).concat(), bundle);
        let kept = valid(&bundle, at(11)).concat();
        assert_eq!(kept, new.certificate.replace("\r\n", "\n"));
    }

    #[test]
    fn nonsense_is_due() {
        let nonsense = Material {
            certificate: "nonsense".to_owned(),
            key: String::new(),
        };
        assert!(nonsense.is_due(&[], at(0)));
    }
}
