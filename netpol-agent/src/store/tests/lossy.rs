//! A way to a PostgreSQL server on which answers to commits get lost when a test asks for that.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

/// What the socket of a server is called.
const SOCKET: &str = ".s.PGSQL.5432";

/// The way. Its threads end with the test.
pub(crate) struct Lossy {
    directory: TempDir,
    lose: Arc<AtomicBool>,
}

impl Lossy {
    /// A way to the server of that URL.
    pub(crate) fn before(url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let lose = Arc::new(AtomicBool::new(false));
        let (_, server) = url.split_once("host=").unwrap();
        let (server, loses) = (format!("{server}/{SOCKET}"), Arc::clone(&lose));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let server = UnixStream::connect(&server).unwrap();
                connect(client.unwrap(), server, &loses);
            }
        });
        Self { directory, lose }
    }

    /// Where it begins.
    pub(crate) fn url(&self) -> String {
        let directory = self.directory.path().display();
        format!("postgresql://netpol@/postgres?host={directory}")
    }

    /// Whether answers to commits are lost from now on, and the connection with them.
    pub(crate) fn lose_commits(&self, lose: bool) {
        self.lose.store(lose, Ordering::SeqCst);
    }
}

fn connect(client: UnixStream, server: UnixStream, lose: &Arc<AtomicBool>) {
    let lost = Arc::new(AtomicBool::new(false));
    let both = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (lose, losing) = (Arc::clone(lose), Arc::clone(&lost));
    std::thread::spawn(move || {
        pass(&both.0, &both.1, |bytes| {
            let commits = bytes.windows(6).any(|part| part == b"COMMIT");
            if commits && lose.load(Ordering::SeqCst) {
                losing.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    std::thread::spawn(move || pass(&server, &client, |_| !lost.load(Ordering::SeqCst)));
}

/// Passes on what comes, as long as `passes` says so.
fn pass(mut from: &UnixStream, mut to: &UnixStream, passes: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 1 << 14];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !passes(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
