//! The API server's port-forward over WebSocket, as far as one port takes: a data and an error channel, each of which
//! begins with the number of the port. And the API groups that the server tells.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The protocol of its frames.
const PROTOCOL: &str = "v4.channel.k8s.io";

/// What went through to pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tunnels {
    /// Where the port of every pod leads.
    pub(crate) to: Option<SocketAddr>,
    /// The pods that were asked for, as `namespace/name`.
    pub(crate) pods: Vec<String>,
    /// Every byte to a pod.
    pub(crate) bytes: Vec<u8>,
}

/// The route of port-forwards.
pub(crate) fn routes(tunnels: Arc<Mutex<Tunnels>>) -> Router {
    let path = "/api/v1/namespaces/{namespace}/pods/{pod}/portforward";
    Router::new().route(path, get(open)).with_state(tunnels)
}

/// The API groups that the server tells.
pub(crate) fn groups() -> Router {
    let groups = ["apps", "cilium.io", "netpol.io"].map(|name| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    });
    let list = json!({"apiVersion": "v1", "kind": "APIGroupList", "groups": groups});
    Router::new().route("/apis", get(async move || Json(list)))
}

async fn open(
    State(tunnels): State<Arc<Mutex<Tunnels>>>,
    Path((namespace, pod)): Path<(String, String)>,
    mut request: Request,
) -> Response {
    let key = request
        .headers()
        .get("sec-websocket-key")
        .expect("an upgrade to a WebSocket");
    let accepted = derive_accept_key(key.as_bytes());
    let to = {
        let mut tunnels = tunnels.lock().expect("no test panics with the lock held");
        tunnels.pods.push(format!("{namespace}/{pod}"));
        tunnels.to
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = TokioIo::new(upgrade.await.expect("the upgrade goes through"));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        bridge(socket, to, tunnels).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header("sec-websocket-accept", accepted)
        .header("sec-websocket-protocol", PROTOCOL)
        .body(Body::empty())
        .expect("a whole answer")
}

fn note(tunnels: &Mutex<Tunnels>, data: &[u8]) {
    let mut tunnels = tunnels.lock().expect("no test panics with the lock held");
    tunnels.bytes.extend_from_slice(data);
}

async fn bridge(
    mut socket: WebSocketStream<TokioIo<Upgraded>>,
    to: Option<SocketAddr>,
    tunnels: Arc<Mutex<Tunnels>>,
) {
    let port = 8443_u16.to_le_bytes();
    for channel in [0, 1] {
        let first = Message::binary(vec![channel, port[0], port[1]]);
        socket.send(first).await.expect("an open socket");
    }
    let connected = match to {
        Some(to) => TcpStream::connect(to).await.ok(),
        None => None,
    };
    let Some(pod) = connected else {
        let refused = [&[1], b"connection refused by the pod".as_slice()].concat();
        let _ = socket.send(Message::binary(refused)).await;
        let _ = socket.close(None).await;
        // To close a connection with unread bytes in it is to reset it, and what was sent may be lost with that.
        while let Some(Ok(_)) = socket.next().await {}
        return;
    };
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = pod.into_split();
    let up = async {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(frame) = message
                && let [0, data @ ..] = &frame[..]
            {
                note(&tunnels, data);
                if write.write_all(data).await.is_err() {
                    break;
                }
            }
        }
        // Whoever asked has gone, and the pod is to know: it bounds how many connections are open.
        let _ = write.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 1 << 14];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            let frame = [&[0], &buffer[..count]].concat();
            if sink.send(Message::binary(frame)).await.is_err() {
                break;
            }
        }
        let _ = sink.close().await;
    };
    tokio::join!(up, down);
}
