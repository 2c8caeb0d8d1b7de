//! Key and certificate in files that somebody else renews, as cert-manager does.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use super::TlsError;
use super::secret::publish;
use super::served::Served;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Serves with what files hold.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) authority: Option<PathBuf>,
    pub(crate) served: Arc<Served>,
    pub(crate) config_maps: Api<ConfigMap>,
}

impl Files {
    /// The ConfigMaps into which an authority goes.
    pub(crate) fn config_maps(client: Client, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(client, namespace)
    }

    /// Reads the files, and serves with what they hold.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or used; whatever was served with before still is.
    pub(crate) async fn keep(&self) -> Result<(), TlsError> {
        let certificate = read(&self.certificate).await?;
        let key = read(&self.key).await?;
        let place = format!("{} with {}", self.certificate.display(), self.key.display());
        if self.served.put(&place, &certificate, &key)? {
            tracing::info!(file = %self.certificate.display(), "serving with a new certificate");
        }
        match &self.authority {
            Some(path) => publish(&self.config_maps, &read(path).await?).await,
            None => Ok(()),
        }
    }

    /// Reads them again and again, for ever. Failures are logged once until it works again.
    pub(crate) async fn run(&self) -> Infallible {
        let mut logged = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let kept = self.keep().await;
            if let Err(error) = &kept
                && !logged
            {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "the certificate cannot be renewed; it goes on");
            }
            logged = kept.is_err();
        }
    }
}

async fn read(path: &Path) -> Result<String, TlsError> {
    let text = tokio::fs::read_to_string(path).await;
    text.map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}
