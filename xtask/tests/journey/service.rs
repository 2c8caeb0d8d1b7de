//! The Service of the aggregator: a port that leads to whichever replica is ready.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long a replica may take to accept, and to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// A replica: where its API is, and where its probes are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replica {
    pub(crate) api: SocketAddr,
    pub(crate) probes: SocketAddr,
}

/// Serves on a port of its own for as long as the runtime lives. Returns where.
pub(crate) fn start(runtime: &Runtime, replicas: Vec<Replica>) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(client, replicas.clone()));
        }
    });
    address
}

async fn serve(mut client: TcpStream, mut replicas: Vec<Replica>) {
    fastrand::shuffle(&mut replicas);
    for replica in replicas {
        if !is_ok(replica.probes, "readyz").await {
            continue;
        }
        if let Ok(Ok(mut to)) = timeout(PATIENCE, TcpStream::connect(replica.api)).await {
            // Either may be killed at any time.
            let _ended = copy_bidirectional(&mut client, &mut to).await;
            return;
        }
    }
}

/// Whether a probe answers well.
pub(crate) async fn is_ok(address: SocketAddr, path: &str) -> bool {
    get(address, path).await.is_some()
}

/// What is answered to a question over plain HTTP, head and all; nothing unless it is answered well.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer).filter(|answer| answer.starts_with("HTTP/1.1 200"))
    };
    timeout(PATIENCE, ask).await.ok()?
}
