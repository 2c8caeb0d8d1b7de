//! The key and the certificate that the aggregator serves with, and how they are kept up to date.

mod certificates;
mod files;
mod secret;
mod served;

use std::path::PathBuf;

pub(super) use files::Files;
pub(super) use secret::Secrets;
pub(super) use served::Served;

/// Where key and certificate come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TlsSource {
    /// A Secret that the aggregator makes and renews itself.
    Secret,
    /// Files that somebody else renews.
    Files {
        /// The certificate, and those that vouch for it, in PEM.
        certificate: PathBuf,
        /// Its key, in PEM.
        key: PathBuf,
        /// The certificate authority that clients are to trust, in PEM; published for them if it is named.
        authority: Option<PathBuf>,
    },
}

/// A key or certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The key is no key, the certificate none, or they do not belong together.
    #[error("{place} does not hold a certificate and its key in PEM: {reason}")]
    Unusable {
        /// Where it was read.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The API server refused.
    #[error("cannot {doing}: look at the aggregator's Role in its namespace")]
    Api {
        /// What was tried.
        doing: String,
        /// Why not.
        source: Box<kube::Error>,
    },
}

impl TlsError {
    fn unusable(place: &str, reason: impl ToString) -> Self {
        Self::Unusable {
            place: place.to_owned(),
            reason: reason.to_string(),
        }
    }
}
