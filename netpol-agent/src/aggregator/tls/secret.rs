//! Key and certificate in a Secret that the aggregator makes and renews, and the authority in a ConfigMap for its clients.
//!
//! Several replicas may do so at the same time: whoever creates or replaces an object first wins, since the others name the
//! version that they have read.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use netpol_common::names::cluster;

use super::TlsError;
use super::certificates::{Authority, Material, make, names, valid};
use super::served::Served;

/// How often the Secret and the ConfigMap are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How often a replica tries again when others were faster.
const RACES: usize = 5;
/// The keys of a Secret of type `kubernetes.io/tls`, and that of the authority's key.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY_KEY: &str = "ca.key";

/// Keeps the Secret and the ConfigMap, and serves with what they hold.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    names: Vec<String>,
    served: Arc<Served>,
}

/// What the Secret holds.
#[derive(Clone, Eq, PartialEq)]
struct Held {
    authority: Authority,
    material: Material,
    /// Every authority that clients are to trust, in PEM.
    bundle: String,
}

impl Secrets {
    pub(crate) fn new(client: Client, namespace: &str, served: Arc<Served>) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client, namespace),
            names: names(namespace),
            served,
        }
    }

    /// Makes or renews what is missing or due, and serves with it.
    ///
    /// # Errors
    ///
    /// The API server refuses, or the Secret holds something else; whatever was served with before still is.
    pub(crate) async fn keep(&self, now: Timestamp) -> Result<(), TlsError> {
        let held = self.secret(now).await?;
        let place = format!("Secret {}", cluster::TLS_SECRET);
        let Material { certificate, key } = &held.material;
        if self.served.put(&place, certificate, key)? {
            tracing::info!(
                secret = cluster::TLS_SECRET,
                "serving with a new certificate"
            );
        }
        publish(&self.config_maps, &held.bundle).await
    }

    /// Keeps them for ever. Failures are logged, and tried again.
    pub(crate) async fn run(&self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.keep(Timestamp::now()).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "keeping the certificate failed; it goes on");
            }
        }
    }

    /// What the Secret holds, once it holds what is not due.
    async fn secret(&self, now: Timestamp) -> Result<Held, TlsError> {
        for _ in 0..RACES {
            let found = self.secrets.get_opt(cluster::TLS_SECRET).await;
            let found = found.map_err(api("read the Secret"))?;
            let known = found.as_ref().map(held).transpose()?;
            let wanted = renewed(known.as_ref(), &self.names, now)?;
            if known.as_ref() == Some(&wanted) {
                return Ok(wanted);
            }
            match self.write(found, &wanted).await {
                Ok(()) => return Ok(wanted),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(api("write the Secret")(error)),
            }
        }
        Err(TlsError::unusable(
            &format!("Secret {}", cluster::TLS_SECRET),
            "others change it all the time",
        ))
    }

    async fn write(&self, found: Option<Secret>, held: &Held) -> kube::Result<()> {
        let how = PostParams::default();
        match found {
            Some(mut secret) => {
                secret.data = Some(held.data());
                let name = cluster::TLS_SECRET;
                self.secrets.replace(name, &how, &secret).await.map(drop)
            }
            None => {
                let secret = Secret {
                    metadata: metadata(cluster::TLS_SECRET),
                    type_: Some("kubernetes.io/tls".to_owned()),
                    data: Some(held.data()),
                    ..Secret::default()
                };
                self.secrets.create(&how, &secret).await.map(drop)
            }
        }
    }
}

/// Makes the ConfigMap tell clients to trust `bundle`.
///
/// # Errors
///
/// The API server refuses.
pub(super) async fn publish(api_of: &Api<ConfigMap>, bundle: &str) -> Result<(), TlsError> {
    let (name, how) = (cluster::CA_CONFIG_MAP, PostParams::default());
    for _ in 0..RACES {
        let found = api_of.get_opt(name).await;
        let mut found = found.map_err(api("read the ConfigMap"))?;
        let known = found
            .as_ref()
            .and_then(|map| map.data.as_ref()?.get(cluster::CA_KEY));
        if known.is_some_and(|known| known == bundle) {
            return Ok(());
        }
        let data = BTreeMap::from([(cluster::CA_KEY.to_owned(), bundle.to_owned())]);
        let written = match &mut found {
            Some(map) => {
                map.data = Some(data);
                api_of.replace(name, &how, map).await
            }
            None => {
                let map = ConfigMap {
                    metadata: metadata(name),
                    data: Some(data),
                    ..ConfigMap::default()
                };
                api_of.create(&how, &map).await
            }
        };
        match written {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(api("write the ConfigMap")(error)),
        }
    }
    // Whoever changes it all the time will be met again at the next look.
    Ok(())
}

/// What is to be held after `known`: all that is not due, and new in place of the rest.
fn renewed(known: Option<&Held>, names: &[String], now: Timestamp) -> Result<Held, TlsError> {
    let kept = known.filter(|held| !held.authority.is_due(now));
    let authority = match kept {
        Some(held) => held.authority.clone(),
        None => Authority::new(now)?,
    };
    let kept = kept.filter(|held| !held.material.is_due(names, now));
    let material = match kept {
        Some(held) => held.material.clone(),
        None => make(&authority, names, now)?,
    };
    let earlier = known.map_or("", |held| &held.bundle);
    let earlier = valid(earlier, now).into_iter();
    let own = valid(&authority.certificate, now).concat();
    let others = earlier.filter(|one| *one != own);
    Ok(Held {
        bundle: std::iter::once(own.clone()).chain(others).collect(),
        authority,
        material,
    })
}

fn held(secret: &Secret) -> Result<Held, TlsError> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        let text = bytes.and_then(|ByteString(bytes)| String::from_utf8(bytes.clone()).ok());
        text.ok_or_else(|| {
            let reason =
                format!("{key} is missing or no text; delete the Secret to have it made anew");
            TlsError::unusable(&format!("Secret {}", cluster::TLS_SECRET), reason)
        })
    };
    let bundle = text(cluster::CA_KEY)?;
    let first = valid(&bundle, Timestamp::UNIX_EPOCH).into_iter().next();
    Ok(Held {
        authority: Authority {
            certificate: first.unwrap_or_default(),
            key: text(AUTHORITY_KEY)?,
        },
        material: Material {
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
        },
        bundle,
    })
}

impl Held {
    fn data(&self) -> BTreeMap<String, ByteString> {
        let entries = [
            (cluster::CA_KEY, &self.bundle),
            (AUTHORITY_KEY, &self.authority.key),
            (CERTIFICATE, &self.material.certificate),
            (KEY, &self.material.key),
        ];
        entries
            .map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
            .into()
    }
}

fn metadata(name: &str) -> ObjectMeta {
    let label = |key: &str, value: &str| (format!("app.kubernetes.io/{key}"), value.to_owned());
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(BTreeMap::from([
            label("managed-by", cluster::AGGREGATOR_DEPLOYMENT),
            label("part-of", "netpol"),
        ])),
        ..ObjectMeta::default()
    }
}

fn api(doing: &'static str) -> impl FnOnce(kube::Error) -> TlsError {
    move |source| TlsError::Api {
        doing: doing.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    #[test]
    fn what_is_due_is_renewed_and_the_rest_is_kept() {
        let own = names("netpol-system");
        let first = renewed(None, &own, at(0)).unwrap_or_else(|_| panic!());
        let same = renewed(Some(&first), &own, at(59)).unwrap();
        assert!(same == first);
        let later = renewed(Some(&first), &own, at(60)).unwrap();
        assert!(later.authority == first.authority && later.bundle == first.bundle);
        assert!(later.material != first.material);
    }

    #[test]
    fn an_authority_that_is_replaced_stays_trusted_while_it_is_valid() {
        let own = names("netpol-system");
        let first = renewed(None, &own, at(0)).unwrap();
        let replaced = renewed(Some(&first), &own, at(3_650 - 365)).unwrap();
        assert!(replaced.authority != first.authority);
        assert!(replaced.bundle.ends_with(&first.bundle));
        assert!(replaced.bundle.len() > first.bundle.len());
        let after = renewed(Some(&replaced), &own, at(3_651)).unwrap();
        assert!(!after.bundle.contains(&first.bundle));
        assert!(after.authority == replaced.authority);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let wanted = renewed(None, &names("netpol-system"), at(0)).unwrap();
        let secret = Secret {
            data: Some(wanted.data()),
            ..Secret::default()
        };
        assert!(held(&secret).unwrap() == wanted);
        let error = held(&Secret::default()).err().unwrap().to_string();
        assert!(error.contains("delete the Secret"), "{error}");
    }
}
