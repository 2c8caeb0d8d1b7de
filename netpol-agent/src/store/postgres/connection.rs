//! The connection to the server: made when it is needed, and made again when it was lost.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, Transaction};

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
    config: Config,
    connector: tls::Connector,
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
    pub(super) fn open(url: &str) -> Result<Self, StoreError> {
        let (config, connector) = tls::parse(url)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| StoreError::System {
                doing: "start a runtime",
                source,
            })?;
        let mut connection = Self {
            runtime,
            place: describe(&config),
            config,
            connector,
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
        let connect = async {
            let connecting = self.config.connect(self.connector.clone());
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
            Ok(connected) => connected.map_err(|source| StoreError::Unreachable {
                place: self.place.clone(),
                source,
            }),
            Err(_) => Err(self.slow(CONNECTING)),
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

/// Server and database as a person knows them.
fn describe(config: &Config) -> String {
    use tokio_postgres::config::Host;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let name = config.get_dbname().unwrap_or_default();
    format!("{host}:{port}/{name}")
}
