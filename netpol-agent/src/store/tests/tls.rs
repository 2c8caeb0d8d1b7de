//! TLS to a PostgreSQL server: which ones are believed, and what is said of the others.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::batches;
use super::plaintext::without_tls;
use super::server::Server;
use crate::ledger::Ledger;
use crate::observe::Batch;
use crate::store::{Store, StoreError};
use crate::trouble::chain;

/// The name that the server's certificate is for. No resolver knows it: URLs have the address besides.
const NAME: &str = "db.example";
/// What must never be told.
const PASSWORD: &str = "s3cret";

/// An authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server that is asked over the network, and by a password.
struct Lab {
    server: Server,
    address: Ipv4Addr,
    files: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority {}", fastrand::u64(..));
        let kind = rcgen::DnType::CommonName;
        parameters.distinguished_name.push(kind, name);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    /// A certificate for these names, and its key, which `change` may spoil.
    fn sign(&self, names: &[String], change: impl FnOnce(&mut CertificateParams)) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(names).unwrap();
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        [certificate.pem(), key.serialize_pem()]
    }
}

impl Lab {
    /// A server with that certificate and key; without TLS if there are none.
    fn start(address: Ipv4Addr, identity: Option<[String; 2]>) -> Self {
        let kind = identity.as_ref().map_or("host", |_| "hostssl");
        let entries = format!("local all all trust\n{kind} all all 127.0.0.0/8 scram-sha-256\n");
        let settings = settings(address, identity.is_some());
        let mut files = vec![
            ("postgresql.auto.conf", settings.as_str()),
            ("pg_hba.conf", &entries),
        ];
        if let Some([certificate, key]) = &identity {
            files.extend([("server.crt", certificate.as_str()), ("server.key", key)]);
        }
        let lab = Self {
            server: Server::start_with(&files),
            address,
            files: tempfile::tempdir().unwrap(),
        };
        lab.set_password();
        lab
    }

    fn set_password(&self) {
        let url = self.server.url();
        let set = async {
            let connecting = tokio_postgres::connect(&url, tokio_postgres::NoTls);
            let (client, connection) = connecting.await.unwrap();
            tokio::spawn(connection);
            let set = format!("ALTER USER netpol PASSWORD '{PASSWORD}'");
            client.batch_execute(&set).await.unwrap();
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(set);
    }

    /// Where it is, by a name that its certificate holds.
    fn url(&self, parameters: &str) -> String {
        self.url_by(NAME, parameters)
    }

    fn url_by(&self, name: &str, parameters: &str) -> String {
        let address = self.address;
        format!("postgresql://netpol:{PASSWORD}@{name}/postgres?hostaddr={address}{parameters}")
    }

    /// A file of that text.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn restart(&mut self, identity: &[String; 2]) {
        self.server.kill();
        let [certificate, key] = identity;
        self.server
            .restart_with(&[("server.crt", certificate), ("server.key", key)]);
    }
}

/// Where a server listens, and whether it speaks TLS, with `server.crt` and `server.key`.
fn settings(address: Ipv4Addr, tls: bool) -> String {
    let tls = if tls { "on" } else { "off" };
    format!("listen_addresses = '{address}'\nssl = {tls}\n")
}

/// An address of this machine at which nobody else listens.
fn address() -> Ipv4Addr {
    Ipv4Addr::new(
        127,
        fastrand::u8(1..255),
        fastrand::u8(..),
        fastrand::u8(1..255),
    )
}

fn both(address: Ipv4Addr) -> [String; 2] {
    [NAME.to_owned(), address.to_string()]
}

fn batch() -> Batch {
    let mut runner = TestRunner::deterministic();
    batches().new_tree(&mut runner).unwrap().current()
}

/// Nobody may read the password in it.
fn refusal(url: &str, authorities: Option<&PathBuf>) -> (StoreError, String) {
    let authorities = authorities.map(PathBuf::as_path);
    let error = Store::connect(url, authorities).expect_err(url);
    let told = chain(&error);
    for text in [&told, &format!("{error:?}")] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    (error, told)
}

#[test]
fn a_server_that_proves_its_name_is_used_and_no_other() {
    let (address, authority, other) = (address(), Authority::new(), Authority::new());
    let lab = Lab::start(address, Some(authority.sign(&both(address), |_| {})));
    let (right, wrong) = (
        lab.file("right.crt", &authority.0.pem()),
        lab.file("wrong.crt", &other.0.pem()),
    );
    let trusts = format!("&sslrootcert={}", right.display());

    let (batch, mut ledger) = (batch(), Ledger::default());
    ledger.merge(&batch);
    let mut store = Store::connect(&lab.url(""), Some(&right)).unwrap();
    store.commit(&batch).unwrap();
    for mode in [
        "verify-full",
        "verify-ca",
        "require",
        "prefer",
        "require&channel_binding=require",
    ] {
        let url = lab.url(&format!("&sslmode={mode}{trusts}"));
        assert_eq!(
            Store::connect(&url, Some(&wrong)).unwrap().load().unwrap(),
            ledger,
            "{mode}"
        );
    }
    let by_address = format!("postgresql://netpol:{PASSWORD}@{address}/postgres");
    let mut store = Store::connect(&by_address, Some(&right)).unwrap();
    assert_eq!(store.load().unwrap(), ledger);

    // Who signed it is not among those who are trusted, whatever mode but `disable` the URL has.
    for mode in [
        "",
        "&sslmode=prefer",
        "&sslmode=require",
        "&sslmode=verify-ca",
    ] {
        let (error, told) = refusal(&lab.url(mode), Some(&wrong));
        assert!(matches!(error, StoreError::Untrusted { .. }), "{told}");
        assert!(
            !error.is_absence() && told.contains("--postgres-ca"),
            "{told}"
        );
        assert!(
            told.contains("UnknownIssuer") && told.contains("sslrootcert"),
            "{told}"
        );
    }
    let (error, told) = refusal(&lab.url_by("other.example", &trusts), None);
    assert!(matches!(error, StoreError::Untrusted { .. }), "{told}");
    assert!(
        told.contains("other.example") && told.contains("subjectAltName"),
        "{told}"
    );
    assert!(told.contains("db.example"), "{told}");

    // It lets nobody in without TLS, nor with another password.
    let (error, told) = refusal(&lab.url("&sslmode=disable"), None);
    assert!(matches!(error, StoreError::Refused { .. }), "{told}");
    assert!(
        told.contains("no encryption") && told.contains("sslmode"),
        "{told}"
    );
    for url in [
        lab.url(&trusts).replacen(PASSWORD, "another", 1),
        lab.url(&trusts).replacen(&format!(":{PASSWORD}"), "", 1),
        lab.url(&trusts).replacen("/postgres?", "/none?", 1),
    ] {
        let (error, told) = refusal(&url, None);
        assert!(matches!(error, StoreError::Refused { .. }), "{told}");
        assert!(!told.contains("another"), "{told}");
    }
}

#[test]
fn authorities_that_cannot_be_read_are_named() {
    let files = tempfile::tempdir().unwrap();
    let url = format!("postgresql://netpol:{PASSWORD}@127.0.0.1:1/postgres");
    let path = |name: &str| files.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(
        path("other"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let [_, key] = Authority::new().sign(&[], |_| {});
    fs::write(path("key"), key).unwrap();
    for name in ["none", "empty", "other", "key"] {
        let (error, told) = refusal(&url, Some(&path(name)));
        assert!(matches!(error, StoreError::Authorities { .. }), "{told}");
        assert!(told.contains(name) && told.contains("PEM"), "{told}");
    }
    // Where TLS is not asked for, nobody needs them.
    let (error, told) = refusal(&format!("{url}?sslmode=disable"), Some(&path("none")));
    assert!(matches!(error, StoreError::Unreachable { .. }), "{told}");
}

#[test]
fn a_server_without_tls_is_used_only_where_the_url_says_so() {
    let lab = Lab::start(address(), None);
    let authority = lab.file("ca.crt", &Authority::new().0.pem());
    let (batch, mut ledger) = (batch(), Ledger::default());
    ledger.merge(&batch);
    let plain = lab.url("&sslmode=disable");
    Store::connect(&plain, None)
        .unwrap()
        .commit(&batch)
        .unwrap();
    let mut store = Store::connect(&lab.url("&sslmode=prefer"), Some(&authority)).unwrap();
    assert_eq!(store.load().unwrap(), ledger);
    for mode in ["", "&sslmode=require", "&sslmode=verify-full"] {
        let (error, told) = refusal(&lab.url(mode), Some(&authority));
        assert!(matches!(error, StoreError::Untrusted { .. }), "{told}");
        assert!(
            told.contains("does not speak TLS") && told.contains("sslmode=disable"),
            "{told}"
        );
    }
}

#[test]
fn nothing_is_told_to_who_does_not_speak_tls() {
    let (port, served) = without_tls();
    let files = tempfile::tempdir().unwrap();
    let authority = files.path().join("ca.crt");
    fs::write(&authority, Authority::new().0.pem()).unwrap();
    let url = format!("postgresql://netpol:{PASSWORD}@127.0.0.1:{port}/postgres");
    refusal(&url, Some(&authority));
    // Nothing but that it wants TLS.
    assert_eq!(served.join().unwrap(), b"");
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_and_one_that_is_renewed_is_used() {
    let (address, first, second) = (address(), Authority::new(), Authority::new());
    let names = both(address);
    let mut lab = Lab::start(address, Some(first.sign(&names, |_| {})));
    let trusted = lab.file("ca.crt", &first.0.pem());
    let mut store = Store::connect(&lab.url(""), Some(&trusted)).unwrap();
    let (batch, mut ledger) = (batch(), Ledger::default());
    ledger.merge(&batch);

    lab.restart(&second.sign(&names, |_| {}));
    let error = loop {
        // The first try may meet the connection that was lost.
        let error = store.commit(&batch).unwrap_err();
        if !error.is_absence() {
            break error;
        }
    };
    assert!(matches!(error, StoreError::Untrusted { .. }), "{error:?}");
    lab.file("ca.crt", &format!("{}{}", first.0.pem(), second.0.pem()));
    store.commit(&batch).unwrap();
    assert_eq!(store.load().unwrap(), ledger);
}

#[test]
fn a_certificate_that_no_server_may_use_is_told() {
    let (address, authority) = (address(), Authority::new());
    let day = Duration::from_secs(86_400);
    let old = authority.sign(&both(address), |parameters| {
        parameters.not_after = (SystemTime::now() - day).into();
    });
    let lab = Lab::start(address, Some(old));
    let trusted = lab.file("ca.crt", &authority.0.pem());
    let (error, told) = refusal(&lab.url(""), Some(&trusted));
    assert!(matches!(error, StoreError::Untrusted { .. }), "{told}");
    assert!(told.contains("renew it"), "{told}");

    // What a short recipe makes: a certificate of its own authority.
    let mut lab = lab;
    let itself = authority.0.key().serialize_pem();
    lab.restart(&[authority.0.pem(), itself]);
    let (error, told) = refusal(&lab.url(""), Some(&trusted));
    assert!(matches!(error, StoreError::Untrusted { .. }), "{told}");
    assert!(told.contains("not an authority's own"), "{told}");
}
