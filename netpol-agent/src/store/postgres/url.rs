//! What the URL of a database asks for. No refusal tells a part of the password.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::StoreError;

/// What a URL asks for.
pub(super) struct Asked {
    /// What the driver needs to know. TLS is demanded unless the URL says otherwise.
    pub(super) config: Config,
    /// Whose certificates are believed.
    pub(super) authorities: Authorities,
}

/// Who may have signed the server's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Authorities {
    /// Whom this machine trusts.
    System,
    /// Those of a file, in PEM.
    File(PathBuf),
}

/// What the driver does not know, or reads otherwise than it is meant here.
#[derive(Debug, Default, PartialEq)]
struct Taken {
    mode: Option<String>,
    roots: Option<String>,
}

/// Reads a URL. `authorities` is a file of certificates, for a URL that names none.
pub(super) fn parse(url: &str, authorities: Option<&Path>) -> Result<Asked, StoreError> {
    let wrong = |reason: String| StoreError::Url { reason };
    check(url).map_err(|reason| wrong(reason.to_owned()))?;
    let (rest, taken) = split(url);
    let mut config: Config = rest
        .parse()
        .map_err(|error| wrong(crate::trouble::chain(&error as &tokio_postgres::Error)))?;
    let hosts = config.get_hosts();
    if hosts.is_empty() {
        return Err(wrong("it names no host".to_owned()));
    }
    let sockets = !hosts.iter().any(|host| matches!(host, Host::Tcp(_)));
    let mode = mode(taken.mode.as_deref()).map_err(|reason| wrong(reason.to_owned()))?;
    // PostgreSQL does not speak TLS on the sockets of a machine.
    config.ssl_mode(if sockets { SslMode::Disable } else { mode });
    config.application_name("netpol");
    let authorities = match taken.roots.as_deref() {
        Some("system") => Authorities::System,
        Some(path) => Authorities::File(PathBuf::from(path)),
        None => authorities.map_or(Authorities::System, |path| Authorities::File(path.into())),
    };
    Ok(Asked {
        config,
        authorities,
    })
}

/// The modes of libpq, but that every certificate is checked as `verify-full` does it. Whoever says nothing gets that too:
/// the password and the graph are not given to whoever answers at an address.
fn mode(said: Option<&str>) -> Result<SslMode, &'static str> {
    match said {
        None | Some("require" | "verify-ca" | "verify-full") => Ok(SslMode::Require),
        Some("prefer") => Ok(SslMode::Prefer),
        Some("disable") => Ok(SslMode::Disable),
        Some(_) => Err(
            "sslmode is verify-full (also where nothing is said), verify-ca, require, prefer or disable",
        ),
    }
}

/// Refuses what would be read otherwise than it is meant. What is read as the name of a parameter is told.
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

/// Takes out `sslmode` and `sslrootcert`; of each the last one counts, and an empty one counts as none.
fn split(url: &str) -> (String, Taken) {
    let mut taken = Taken::default();
    let Some((base, query)) = url.split_once('?') else {
        return (url.to_owned(), taken);
    };
    let decode = |value: &str| {
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        Some(value).filter(|value| !value.is_empty())
    };
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslrootcert", path)) => taken.roots = decode(path),
            Some(("sslmode", mode)) => taken.mode = decode(mode),
            _ => rest.push(pair),
        }
    }
    match rest.is_empty() {
        true => (base.to_owned(), taken),
        false => (format!("{base}?{}", rest.join("&")), taken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_demanded_unless_the_url_says_otherwise() {
        for (url, mode) in [
            ("postgresql://me@db/n", SslMode::Require),
            ("postgres://me@db/n?sslmode=", SslMode::Require),
            ("postgresql://me@db/n?sslmode=require", SslMode::Require),
            ("postgresql://me@db/n?sslmode=verify-ca", SslMode::Require),
            ("postgresql://me@db/n?sslmode=verify-full", SslMode::Require),
            (
                "postgresql://me@db/n?sslmode=verify%2Dfull",
                SslMode::Require,
            ),
            (
                "postgresql://me@db/n?sslmode=disable&sslmode=require",
                SslMode::Require,
            ),
            ("postgresql://me@db/n?host=/run/db", SslMode::Require),
            ("postgresql://me@db/n?sslmode=prefer", SslMode::Prefer),
            (
                "postgresql://me@db/n?connect_timeout=3&sslmode=disable",
                SslMode::Disable,
            ),
            ("postgresql:///n?host=/run/db", SslMode::Disable),
            (
                "postgresql:///n?host=/run/db&sslmode=verify-full",
                SslMode::Disable,
            ),
        ] {
            let asked = parse(url, None).unwrap();
            assert_eq!(asked.config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn authorities_are_those_of_the_url_or_else_of_the_option() {
        let file = |path: &str| Authorities::File(PathBuf::from(path));
        for (url, with, without) in [
            ("postgresql://db/n", file("/ca.crt"), Authorities::System),
            (
                "postgresql://db/n?sslrootcert=",
                file("/ca.crt"),
                Authorities::System,
            ),
            (
                "postgresql://db/n?sslrootcert=/a.crt",
                file("/a.crt"),
                file("/a.crt"),
            ),
            (
                "postgresql://db/n?sslrootcert=%2fa%20b.crt",
                file("/a b.crt"),
                file("/a b.crt"),
            ),
            (
                "postgresql://db/n?sslrootcert=system",
                Authorities::System,
                Authorities::System,
            ),
        ] {
            let read = |option| parse(url, option).unwrap().authorities;
            assert_eq!(read(Some(Path::new("/ca.crt"))), with, "{url}");
            assert_eq!(read(None), without, "{url}");
        }
    }

    #[test]
    fn what_the_driver_does_not_know_is_taken_out() {
        let url =
            "postgresql://me@db/netpol?sslmode=verify-full&connect_timeout=3&sslrootcert=/ca.crt";
        let (rest, taken) = split(url);
        assert_eq!(rest, "postgresql://me@db/netpol?connect_timeout=3");
        assert_eq!(taken.roots.as_deref(), Some("/ca.crt"));
        assert_eq!(taken.mode.as_deref(), Some("verify-full"));
        let plain = "postgresql:///netpol?host=/run/db";
        assert_eq!(split(plain), (plain.to_owned(), Taken::default()));
    }

    #[test]
    fn a_password_with_signs_of_urls_is_refused_without_a_part_of_it() {
        for bad in [
            "postgresql://me:s3c@ret@db:5432/netpol",
            "postgresql://me:s3c?ret@db:5432/netpol",
        ] {
            let error = parse(bad, None).err().unwrap().to_string();
            assert!(error.contains("%40"), "{error}");
            assert!(!error.contains("s3c") && !error.contains("ret@"), "{error}");
        }
    }

    #[test]
    fn urls_that_name_no_database_are_told() {
        for (bad, said) in [
            ("postgresql://a:b:c", "port"),
            ("postgresql://h/n?sslmode=perhaps", "verify-full"),
            ("postgresql://h/n?sslmode=allow", "verify-full"),
            ("postgresql:///n", "host"),
            ("postgresql:///n?hostaddr=127.0.0.1", "host"),
        ] {
            let error = parse(bad, None).err().unwrap();
            assert!(matches!(error, StoreError::Url { .. }), "{bad}: {error}");
            assert!(error.to_string().contains(said), "{bad}: {error}");
        }
    }
}
