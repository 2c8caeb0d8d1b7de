//! Talking to the aggregator: HTTP over TLS, with a certificate authority and a token from files that change under us.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, InvalidHeaderValue, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::answer::{Answer, Verdict};
use super::gate::{Closed, Gate};
use super::status::Failure;
use crate::trouble::chain;
use crate::wire::{self, Acknowledgement};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a delivery may take, from its first byte to the last of the answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an idle connection is kept: longer than the longest time between two deliveries.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of a file with certificates, or a token, at most.
const FILE: u64 = 1 << 20;

/// Where the aggregator is, and how it and this agent are known to each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// `https://HOST[:PORT]`; the host is the name that the server's certificate must bear.
    pub url: String,
    /// The certificates of the authorities that may have signed the server's, as PEM. Read again when it changes.
    pub authority: PathBuf,
    /// The token. Read for every request: whoever projects it replaces it before it expires.
    pub token: PathBuf,
}

impl Target {
    /// Whether the aggregator's address can be used.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn check(&self) -> Result<(), TargetError> {
        batches(&self.url).map(drop)
    }
}

/// A place that cannot be used as the aggregator's.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("{url:?} is no URL: give one like https://netpol-aggregator.netpol-system.svc:8443")]
    Url {
        /// What was given.
        url: String,
    },
    /// A URL of something else.
    #[error(
        "{url:?} is not of the form https://HOST[:PORT]: the agent's token must not be sent in the clear, and paths are its \
         own"
    )]
    Form {
        /// What was given.
        url: String,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The connection was gone, and a new one must not be made yet.
    #[error("the connection to the aggregator is gone")]
    Gone,
    /// Something failed.
    #[error("{told}")]
    Failed {
        /// What kind of thing.
        failure: Failure,
        /// For a log, in one line.
        told: String,
    },
}

/// A connection to the aggregator, made when it is needed.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    batches: Url,
    gate: Gate,
    client: Option<(Vec<u8>, Client)>,
}

impl Connection {
    /// One that is not made yet.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn new(target: Target) -> Result<Self, TargetError> {
        let batches = batches(&target.url)?;
        Ok(Self {
            target,
            batches,
            gate: Gate::default(),
            client: None,
        })
    }

    /// Whether a new connection may be made if there is none.
    pub fn allow_connecting(&self, allowed: bool) {
        self.gate.set(allowed);
    }

    /// Posts the body of a delivery.
    ///
    /// # Errors
    ///
    /// [`Unanswered`]; the delivery may have arrived all the same.
    pub async fn deliver(&mut self, body: Vec<u8>) -> Result<Answer, Unanswered> {
        let client = self.client()?;
        let request = client
            .post(self.batches.clone())
            .header(CONTENT_TYPE, wire::MEDIA_TYPE)
            .header(CONTENT_ENCODING, "zstd")
            .body(body);
        self.ask(request).await
    }

    /// What is durable of an observer.
    ///
    /// # Errors
    ///
    /// [`Unanswered`], also if the answer is anything but that.
    pub async fn durable(&mut self, observer: &str) -> Result<Acknowledgement, Unanswered> {
        let mut url = self.batches.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(observer);
        }
        let request = self.client()?.get(url);
        let answer = self.ask(request).await?;
        match answer.verdict(Timestamp::now()) {
            Verdict::Durable(acknowledgement) => Ok(acknowledgement),
            _ => Err(failed(Failure::Answer, answer.describe())),
        }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Unanswered> {
        let request = request
            .header(wire::VERSION_HEADER, wire::VERSION)
            .header(AUTHORIZATION, self.token()?);
        let response = request.send().await.map_err(|error| unanswered(&error))?;
        read(response).await
    }

    fn token(&self) -> Result<HeaderValue, Unanswered> {
        let path = &self.target.token;
        let unusable = |why: String| {
            let told = format!("the token {} cannot be used: {why}", path.display());
            failed(Failure::Credentials, told)
        };
        let bytes = bounded(path).map_err(|error| unusable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| unusable("it is no text".to_owned()))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(unusable("the file is empty".to_owned()));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|error: InvalidHeaderValue| unusable(error.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The client, made anew if the authority has changed.
    fn client(&mut self) -> Result<Client, Unanswered> {
        let path = &self.target.authority;
        let unusable = |why: String| {
            let told = format!(
                "the certificates in {} cannot be used: {why}",
                path.display()
            );
            failed(Failure::Credentials, told)
        };
        let pem = bounded(path).map_err(|error| unusable(error.to_string()))?;
        if let Some((known, client)) = &self.client
            && *known == pem
        {
            return Ok(client.clone());
        }
        let config = tls(&pem).map_err(unusable)?;
        let client = build(config, self.gate.clone()).map_err(|error| unusable(chain(&error)))?;
        self.client = Some((pem, client.clone()));
        Ok(client)
    }
}

fn build(config: ClientConfig, gate: Gate) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(config)
        .https_only(true)
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("netpol-agent/", env!("CARGO_PKG_VERSION")))
        .connector_layer(gate)
        .build()
}

/// Trust in these authorities and no others.
fn tls(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is none".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Where batches are posted.
fn batches(text: &str) -> Result<Url, TargetError> {
    let url = || text.to_owned();
    let mut batches = Url::parse(text).map_err(|_| TargetError::Url { url: url() })?;
    let plain = batches.path() == "/" && batches.query().is_none() && batches.fragment().is_none();
    let anonymous = batches.username().is_empty() && batches.password().is_none();
    if batches.scheme() != "https" || !plain || !anonymous {
        return Err(TargetError::Form { url: url() });
    }
    batches.set_path(wire::BATCHES);
    Ok(batches)
}

async fn read(mut response: Response) -> Result<Answer, Unanswered> {
    let header = response.headers().get(RETRY_AFTER);
    let mut answer = Answer {
        status: response.status().as_u16(),
        retry_after: header
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(&error))? {
        if answer.body.len() + chunk.len() > wire::MOST_ANSWER {
            let told = format!("the answer has more than {} bytes", wire::MOST_ANSWER);
            return Err(failed(Failure::Answer, told));
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn failed(failure: Failure, told: String) -> Unanswered {
    Unanswered::Failed { failure, told }
}

fn unanswered(error: &reqwest::Error) -> Unanswered {
    if find::<Closed>(error) {
        return Unanswered::Gone;
    }
    let failure = match error {
        _ if find::<rustls::Error>(error) => Failure::Tls,
        _ if error.is_timeout() => Failure::Timeout,
        _ if error.is_connect() => Failure::Connect,
        _ => Failure::Interrupted,
    };
    failed(
        failure,
        format!("the aggregator cannot be reached: {}", chain(error)),
    )
}

/// Whether an error was brought about by one of that type. I/O errors hide theirs.
fn find<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let hidden = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if error.is::<E>() || hidden.is_some_and(|hidden| find::<E>(hidden)) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_https_url_is_taken() {
        let good = batches("https://netpol-aggregator.netpol-system.svc:8443").unwrap();
        assert_eq!(
            good.as_str(),
            "https://netpol-aggregator.netpol-system.svc:8443/v1/batches"
        );
        for bad in [
            "",
            "netpol-aggregator:8443",
            "http://netpol-aggregator",
            "https://host/path",
            "https://host/?q",
            "https://user:secret@host",
            "https://",
        ] {
            assert!(batches(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        for pem in [
            "",
            "text",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(tls(pem.as_bytes()).is_err(), "{pem:?}");
        }
    }
}
