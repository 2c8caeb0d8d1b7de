//! Open connections, from real conntrack and real sockets.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use netpol_agent::node::seed::{OpenConnection, Watched, still_open};

use crate::pods::{Attached, Node};

/// Services of both families, as kube-proxy translates them, and what makes the kernel track connections.
fn translate(server: &Attached) {
    let rules = format!(
        "table inet services {{
            chain pre {{
                type nat hook prerouting priority dstnat
                ip daddr 10.96.0.9 tcp dport 80 dnat ip to {}:8080
                ip6 daddr fd96::9 tcp dport 80 dnat ip6 to [{}]:8080
            }}
        }}
        ",
        server.address(false),
        server.address(true),
    );
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    nft.stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    assert!(nft.wait().unwrap().success());
}

fn listen(server: &Attached, v6: bool) -> TcpListener {
    let address = SocketAddr::new(server.address(v6), 8080);
    server
        .sandbox
        .enter(move || TcpListener::bind(address).unwrap())
}

/// Both ends of a connection, opened by the client.
fn connect(client: &Attached, to: (IpAddr, u16), listener: &TcpListener) -> (TcpStream, TcpStream) {
    let opened = client
        .sandbox
        .enter(move || TcpStream::connect(to).unwrap());
    (opened, listener.accept().unwrap().0)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn watched(attached: &Attached) -> Watched {
    let link = attached.link();
    Watched {
        ifindex: link.ifindex,
        addresses: attached.addresses.clone(),
        netnsid: link.netnsid,
    }
}

/// What is open, with the pods' addresses and interfaces by name.
fn show(pods: &[(&str, &Attached)]) -> String {
    let watched: Vec<Watched> = pods.iter().map(|(_, attached)| watched(attached)).collect();
    let name = |address: IpAddr| {
        let owner = pods
            .iter()
            .find(|(_, attached)| attached.addresses.contains(&address));
        let family = if address.is_ipv6() { "v6" } else { "v4" };
        owner.map_or_else(
            || address.to_string(),
            |(name, _)| format!("{name}.{family}"),
        )
    };
    let mut lines = Vec::new();
    for open in still_open(Path::new("/proc"), &watched) {
        let OpenConnection {
            ifindex,
            source,
            direction,
            protocol,
            ..
        } = open;
        let at = watched
            .iter()
            .position(|pod| pod.ifindex == ifindex)
            .unwrap();
        let (local, remote) = (name(open.local), name(open.remote));
        let mut line = format!("{}: {source:?} {direction:?} {protocol}", pods[at].0);
        writeln!(
            line,
            " {local} {remote} {} x{}",
            open.port, open.connections
        )
        .unwrap();
        lines.push(line);
    }
    lines.sort();
    lines.concat()
}

#[test]
fn conntrack_tells_clients_and_translations() {
    let mut node = Node::new();
    let (client, server) = (node.attach("ptp"), node.attach("ptp"));
    translate(&server);
    let (v4, v6) = (listen(&server, false), listen(&server, true));
    let service = connect(&client, (ip("10.96.0.9"), 80), &v4);
    let again = connect(&client, (ip("10.96.0.9"), 80), &v4);
    let service6 = connect(&client, (ip("fd96::9"), 80), &v6);
    let direct = connect(&client, (server.address(false), 8080), &v4);
    let closed = connect(&client, (server.address(true), 8080), &v6);
    closed.0.shutdown(Shutdown::Both).unwrap();
    drop(closed);
    let names = [("client", &client), ("server", &server)];
    expect_test::expect![[r#"
        client: Conntrack Egress TCP client.v4 10.96.0.9 80 x2
        client: Conntrack Egress TCP client.v4 server.v4 8080 x1
        client: Conntrack Egress TCP client.v6 fd96::9 80 x1
        server: Conntrack Ingress TCP server.v4 client.v4 8080 x3
        server: Conntrack Ingress TCP server.v6 client.v6 8080 x1
    "#]]
    .assert_eq(&show(&names));
    drop((service, again, service6, direct));
    expect_test::expect![[""]].assert_eq(&show(&names));
}

#[test]
fn datagrams_count_when_replied_to() {
    let mut node = Node::new();
    let (client, server) = (node.attach("ptp"), node.attach("ptp"));
    translate(&server);
    let place = SocketAddr::new(server.address(false), 53);
    let silent = SocketAddr::new(server.address(false), 54);
    let answering = server
        .sandbox
        .enter(move || UdpSocket::bind(place).unwrap());
    let mute = server
        .sandbox
        .enter(move || UdpSocket::bind(silent).unwrap());
    let asking = client
        .sandbox
        .enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    asking.send_to(b"?", place).unwrap();
    asking.send_to(b"?", silent).unwrap();
    let (_, from) = answering.recv_from(&mut [0; 8]).unwrap();
    answering.send_to(b"!", from).unwrap();
    asking.recv_from(&mut [0; 8]).unwrap();
    mute.recv_from(&mut [0; 8]).unwrap();
    expect_test::expect![[r#"
        client: Conntrack Egress UDP client.v4 server.v4 53 x1
        server: Conntrack Ingress UDP server.v4 client.v4 53 x1
    "#]]
    .assert_eq(&show(&[("client", &client), ("server", &server)]));
}

#[test]
fn attempts_are_not_open() {
    let mut node = Node::new();
    let client = node.attach("ptp");
    translate(&client);
    // Nobody there says where it is, so that the attempt waits behind conntrack.
    crate::pods::run("ip", &["link", "add", "void", "type", "bridge"]);
    crate::pods::run("ip", &["link", "set", "void", "up"]);
    crate::pods::run("ip", &["route", "add", "10.99.0.9/32", "dev", "void"]);
    let attempt = client.sandbox.enter(|| {
        std::thread::spawn(|| {
            let patience = std::time::Duration::from_secs(2);
            TcpStream::connect_timeout(&"10.99.0.9:80".parse().unwrap(), patience).is_err()
        })
    });
    crate::pods::wait_until("the attempt to be looked up", || {
        let shown = Command::new("ip")
            .args(["neigh", "show", "dev", "void"])
            .output();
        String::from_utf8_lossy(&shown.unwrap().stdout).contains("10.99.0.9")
    });
    expect_test::expect![[""]].assert_eq(&show(&[("client", &client)]));
    assert!(attempt.join().unwrap());
}

#[test]
fn sockets_tell_where_nothing_is_tracked() {
    for plugin in ["ptp", "bridge"] {
        let mut node = Node::new();
        let (client, server) = (node.attach(plugin), node.attach(plugin));
        let (v4, v6) = (listen(&server, false), listen(&server, true));
        let outside = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = outside.local_addr().unwrap().port();
        let open = [
            connect(&client, (server.address(false), 8080), &v4),
            connect(&client, (server.address(true), 8080), &v6),
            connect(&client, (ip("10.77.0.1"), port), &outside),
        ];
        let text = show(&[("client", &client), ("server", &server)]);
        expect_test::expect![[r#"
            client: Sockets Egress TCP client.v4 10.77.0.1 PORT x1
            client: Sockets Egress TCP client.v4 server.v4 8080 x1
            client: Sockets Egress TCP client.v6 server.v6 8080 x1
            server: Sockets Ingress TCP server.v4 client.v4 8080 x1
            server: Sockets Ingress TCP server.v6 client.v6 8080 x1
        "#]]
        .assert_eq(&text.replace(&format!(" {port} "), " PORT "));
        drop(open);
    }
}

#[test]
fn what_a_bridge_hides_from_conntrack_is_found_in_sockets() {
    let mut node = Node::new();
    let (client, server) = (node.attach("bridge"), node.attach("bridge"));
    fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0").unwrap();
    translate(&server);
    let v4 = listen(&server, false);
    let outside = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let open = [
        connect(&client, (server.address(false), 8080), &v4),
        connect(&client, (ip("10.77.0.1"), port), &outside),
    ];
    let text = show(&[("client", &client), ("server", &server)]);
    expect_test::expect![[r#"
        client: Conntrack Egress TCP client.v4 10.77.0.1 PORT x1
        client: Sockets Egress TCP client.v4 server.v4 8080 x1
        server: Sockets Ingress TCP server.v4 client.v4 8080 x1
    "#]]
    .assert_eq(&text.replace(&format!(" {port} "), " PORT "));
    drop(open);
}

#[test]
fn a_connection_that_conntrack_met_in_its_middle_keeps_its_client() {
    let mut node = Node::new();
    let (client, server) = (node.attach("ptp"), node.attach("ptp"));
    let v4 = listen(&server, false);
    let (mut opened, mut accepted) = connect(&client, (server.address(false), 8080), &v4);
    translate(&server);
    accepted.write_all(b"the server speaks first").unwrap();
    opened.read_exact(&mut [0; 23]).unwrap();
    opened.write_all(b"!").unwrap();
    accepted.read_exact(&mut [0; 1]).unwrap();
    expect_test::expect![[r#"
        client: Sockets Egress TCP client.v4 server.v4 8080 x1
        server: Sockets Ingress TCP server.v4 client.v4 8080 x1
    "#]]
    .assert_eq(&show(&[("client", &client), ("server", &server)]));
}

#[test]
fn what_conntrack_remembers_of_a_socket_that_is_gone_is_not_open() {
    let mut node = Node::new();
    let (client, server) = (node.attach("ptp"), node.attach("ptp"));
    translate(&server);
    let v4 = listen(&server, false);
    let (opened, accepted) = connect(&client, (ip("10.96.0.9"), 80), &v4);
    client.sandbox.run("ip", &["link", "set", "eth0", "down"]);
    drop(opened);
    expect_test::expect![[r#"
        server: Conntrack Ingress TCP server.v4 client.v4 8080 x1
    "#]]
    .assert_eq(&show(&[("client", &client), ("server", &server)]));
    drop(accepted);
}
