//! A connection to the aggregator: the API server's port-forward, TLS within it, HTTP within that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, PostParams};
use netpol_common::names::cluster::{
    AGGREGATOR_DEPLOYMENT, AGGREGATOR_PORT, AGGREGATOR_SERVICE, AUDIENCE, CA_CONFIG_MAP, CA_KEY,
    VIEWER_ACCOUNT,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::DuplexStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::Cluster;
use super::error::{ClusterError, innermost};

/// How long a token holds: the least that the API server grants.
const TOKEN_LIFE: i64 = 600;

/// For the reason why a pod's port does not answer to arrive after the connection broke.
const REASON: Duration = Duration::from_secs(1);

/// An open connection to the aggregator, good for one request after another.
pub struct Tunnel {
    sender: SendRequest<Empty<Bytes>>,
    token: String,
    host: String,
}

impl Tunnel {
    /// Connects. The aggregator has proven who it is before the token, or anything else, is sent to it.
    ///
    /// # Errors
    ///
    /// What is missing on the way.
    pub async fn open(cluster: &Cluster) -> Result<Self, ClusterError> {
        let pod = ready_pod(cluster).await?;
        let trust = trust(cluster).await?;
        let token = mint(cluster).await?;
        let host = format!("{AGGREGATOR_SERVICE}.{}.svc", cluster.netpol_namespace);
        let stream = connect(cluster, &pod, trust, &host);
        let stream = timeout(cluster.patience, stream)
            .await
            .map_err(|_| broken(&pod, "no answer in time"))??;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&pod, innermost(&error)))?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            token,
            host,
        })
    }

    /// Asks for a path with its query. The status of the answer is whatever it is.
    ///
    /// # Errors
    ///
    /// A connection that broke.
    pub async fn get(&mut self, path: &str, accept: &str) -> Result<Response<Incoming>, String> {
        let request = Request::get(path)
            .header(HOST, &self.host)
            .header(ACCEPT, accept)
            .header(USER_AGENT, netpol_common::COMMAND)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let ready = self.sender.ready().await;
        ready.map_err(|error| innermost(&error))?;
        let answer = self.sender.send_request(request).await;
        answer.map_err(|error| innermost(&error))
    }
}

/// A pod of the aggregator that says it is ready.
async fn ready_pod(cluster: &Cluster) -> Result<String, ClusterError> {
    let namespace = &cluster.netpol_namespace;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let labels = format!("app.kubernetes.io/name={AGGREGATOR_DEPLOYMENT}");
    let parameters = ListParams::default().labels(&labels);
    let action = format!("list pods in namespace {namespace:?}");
    let pods = cluster.ask(action, api.list(&parameters)).await?.items;
    let ready = pods.iter().find(|pod| is_ready(pod));
    if let Some(name) = ready.and_then(|pod| pod.metadata.name.clone()) {
        return Ok(name);
    }
    let namespace = namespace.clone();
    Err(match pods.first() {
        None => ClusterError::NotInstalled { namespace },
        Some(pod) => ClusterError::NotReady {
            namespace,
            state: state(pod),
        },
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten();
    let mut ready = ready.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

/// What a pod is waiting for, as far as it says.
fn state(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let waiting = containers
        .into_iter()
        .find_map(|container| container.state?.waiting)
        .and_then(|waiting| Some(format!("{}: {}", waiting.reason?, waiting.message?)));
    let name = pod.metadata.name.as_deref().unwrap_or("its pod");
    match (waiting, status.phase) {
        (Some(waiting), _) => format!("{name} is waiting ({waiting})"),
        (None, Some(phase)) if phase == "Running" => {
            format!("{name} runs, and is still reading the cluster")
        }
        (None, Some(phase)) => format!("{name} is {phase}"),
        (None, None) => format!("{name} has not started"),
    }
}

/// The certificate authority that vouches for the aggregator.
async fn trust(cluster: &Cluster) -> Result<RootCertStore, ClusterError> {
    let namespace = &cluster.netpol_namespace;
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let action = format!("get configmaps {CA_CONFIG_MAP:?} in namespace {namespace:?}");
    let not_ready = |state: String| ClusterError::NotReady {
        namespace: namespace.clone(),
        state,
    };
    let found = cluster.ask(&action, api.get_opt(CA_CONFIG_MAP)).await?;
    let data = found.and_then(|map| map.data?.remove(CA_KEY));
    let pem = data.ok_or_else(|| {
        not_ready(format!(
            "ConfigMap {CA_CONFIG_MAP} with its certificate authority is not there yet"
        ))
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|each| roots.add(each).map_err(|error| error.to_string()));
        added.map_err(|error| {
            not_ready(format!(
                "ConfigMap {CA_CONFIG_MAP}, {CA_KEY}, is no certificate: {error}"
            ))
        })?;
    }
    Ok(roots)
}

/// A token that the aggregator accepts and nobody else does.
async fn mint(cluster: &Cluster) -> Result<String, ClusterError> {
    let namespace = &cluster.netpol_namespace;
    let api: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![AUDIENCE.to_owned()],
            expiration_seconds: Some(TOKEN_LIFE),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    let action =
        format!("create serviceaccounts/token {VIEWER_ACCOUNT:?} in namespace {namespace:?}");
    let parameters = PostParams::default();
    let minted = api.create_token_request(VIEWER_ACCOUNT, &parameters, &request);
    let minted = cluster.ask(&action, minted).await;
    let status = minted.map_err(|error| match error.is_not_found() {
        true => ClusterError::NotInstalled {
            namespace: namespace.clone(),
        },
        false => error,
    })?;
    let token = status.status.map(|status| status.token).unwrap_or_default();
    match token.is_empty() {
        true => Err(ClusterError::Refused {
            action,
            message: "the API server answers without a token".to_owned(),
            code: 0,
        }),
        false => Ok(token),
    }
}

async fn connect(
    cluster: &Cluster,
    pod: &str,
    trust: RootCertStore,
    host: &str,
) -> Result<TlsStream<DuplexStream>, ClusterError> {
    let namespace = &cluster.netpol_namespace;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let action = format!("create pods/portforward {pod:?} in namespace {namespace:?}");
    let ports = [AGGREGATOR_PORT];
    let mut forwarder = cluster.ask(action, api.portforward(pod, &ports)).await?;
    let stream = forwarder.take_stream(AGGREGATOR_PORT);
    let stream = stream.ok_or_else(|| broken(pod, "it gives no stream"))?;
    let why = forwarder.take_error(AGGREGATOR_PORT);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(pod, error))?
        .with_root_certificates(trust)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| broken(pod, error))?;
    let error = match TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
    {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    if error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
    {
        return Err(ClusterError::Untrusted {
            pod: pod.to_owned(),
            config_map: CA_CONFIG_MAP.to_owned(),
            reason: error.to_string(),
        });
    }
    // What the API server says of the port tells more than that the stream ended.
    let said = match why {
        Some(why) => timeout(REASON, why).await.ok().flatten(),
        None => None,
    };
    Err(broken(pod, said.unwrap_or_else(|| error.to_string())))
}

fn broken(pod: &str, reason: impl ToString) -> ClusterError {
    ClusterError::Tunnel {
        pod: pod.to_owned(),
        reason: reason.to_string().trim().to_owned(),
    }
}
