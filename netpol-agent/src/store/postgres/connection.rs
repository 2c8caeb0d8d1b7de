//! The connection to the server: made when it is needed, and made again when it was lost.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, Transaction};

use super::url::{self, Asked};
use super::{READING, StoreError, schema, tls};

/// How long making a connection may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// How long a transaction may take; the server gives up a little earlier.
const PATIENCE: Duration = Duration::from_secs(30);
/// Said to the server at the start of every connection.
const SETTINGS: &str = "
    SET synchronous_commit = on; SET statement_timeout = '25s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s'; SET client_min_messages = warning";

/// A server, and the connection to it while there is one.
pub(super) struct Connection {
    runtime: Runtime,
    asked: Asked,
    place: String,
    client: Option<Client>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, and brings the tables up to date.
    pub(super) fn open(url: &str, authorities: Option<&Path>) -> Result<Self, StoreError> {
        let asked = url::parse(url, authorities)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| StoreError::System {
                doing: "start a runtime",
                source,
            })?;
        let mut connection = Self {
            runtime,
            place: describe(&asked.config),
            asked,
            client: None,
        };
        connection.migrate()?;
        Ok(connection)
    }

    /// Server and database, without the password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Runs `work` in a transaction that is committed if it succeeds.
    pub(super) fn write(
        &mut self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), StoreError> {
        self.run(async |client| {
            let transaction = client.transaction().await?;
            work(&transaction).await?;
            transaction.commit().await
        })
    }

    /// Runs `work` in a transaction that only reads, and sees the database as it is at one moment.
    pub(super) fn read<T>(
        &mut self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.run(async |client| {
            let begin = client.build_transaction().isolation_level(READING);
            let transaction = begin.read_only(true).start().await?;
            let result = work(&transaction).await?;
            transaction.commit().await?;
            Ok(result)
        })
    }

    /// Runs `work` on a connection, which is thrown away if it fails by more than what the server says.
    fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let mut client = self.client()?;
        let limited = async { tokio::time::timeout(PATIENCE, work(&mut client)).await };
        match self.runtime.block_on(limited) {
            Ok(Ok(result)) => {
                self.client = Some(client);
                Ok(result)
            }
            Ok(Err(error)) => {
                let place = self.place.clone();
                if error.as_db_error().is_some() && !client.is_closed() {
                    self.client = Some(client);
                }
                Err(match error.code() {
                    Some(code) if *code == SqlState::DISK_FULL => StoreError::Full { place },
                    Some(code) if *code == SqlState::ADMIN_SHUTDOWN => StoreError::Unreachable {
                        place,
                        source: error,
                    },
                    Some(_) => StoreError::Postgres {
                        place,
                        source: error,
                    },
                    None => StoreError::Unreachable {
                        place,
                        source: error,
                    },
                })
            }
            Err(_) => Err(self.slow(PATIENCE)),
        }
    }

    /// The connection there is, or a new one.
    fn client(&mut self) -> Result<Client, StoreError> {
        if let Some(client) = self.client.take().filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let connector = tls::connector(&self.asked)?;
        let connect = async {
            let connecting = self.asked.config.connect(connector);
            let (client, connection) = connecting.await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("the connection to PostgreSQL has ended: {error}");
                }
            });
            client.batch_execute(SETTINGS).await?;
            Ok(client)
        };
        let limited = async { tokio::time::timeout(CONNECTING, connect).await };
        match self.runtime.block_on(limited) {
            Ok(connected) => connected.map_err(|error| self.unconnected(error)),
            Err(_) => Err(self.slow(CONNECTING)),
        }
    }

    /// What it is that no connection was made.
    fn unconnected(&self, source: Error) -> StoreError {
        let place = self.place.clone();
        if let Some(advice) = tls::advice(&source) {
            return StoreError::Untrusted {
                place,
                advice,
                source,
            };
        }
        match refuses(&source) {
            true => StoreError::Refused { place, source },
            false => StoreError::Unreachable { place, source },
        }
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let place = self.place.clone();
        let failed = |source: refinery::Error| match source.kind() {
            refinery::error::Kind::MissingVersion(_) => StoreError::Newer {
                place: place.clone(),
            },
            _ => StoreError::Migration {
                place: place.clone(),
                source: Box::new(source),
            },
        };
        let runner = schema::runner().map_err(&failed)?;
        let migrated = self.run(async |client| {
            client
                .query("SELECT pg_advisory_lock($1)", &[&schema::LOCK])
                .await?;
            let migrated = runner.run_async(client).await;
            client
                .query("SELECT pg_advisory_unlock($1)", &[&schema::LOCK])
                .await?;
            Ok(migrated)
        })?;
        migrated.map(drop).map_err(failed)
    }

    fn slow(&self, waited: Duration) -> StoreError {
        StoreError::Slow {
            place: self.place.clone(),
            seconds: waited.as_secs(),
        }
    }
}

/// Whether a server is there that will not have us; it may also be about to start or to stop, or have no room now.
fn refuses(error: &Error) -> bool {
    match error.code() {
        // The class of what is wrong with a user or a password.
        Some(code) => code.code().starts_with("28") || *code == SqlState::INVALID_CATALOG_NAME,
        None => error
            .source()
            .is_some_and(|source| !source.is::<std::io::Error>()),
    }
}

/// Servers and database as a person knows them.
fn describe(config: &Config) -> String {
    use tokio_postgres::config::Host;
    let ports = config.get_ports();
    let server = |(at, host): (usize, &Host)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    };
    let servers: Vec<_> = config.get_hosts().iter().enumerate().map(server).collect();
    let name = config.get_dbname().or(config.get_user());
    format!("{}/{}", servers.join(","), name.unwrap_or_default())
}
