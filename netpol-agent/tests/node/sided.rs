//! An interface past which packets to the pod go unseen, as under CNIs that redirect them.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use netpol_common::words::{Outcome, View};

use crate::lab::{Lab, Server, connect, ip, veth, within};

/// Nobody, and nothing says so.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 77, 9, 9);

/// A client whose packets leave by one interface and whose answers come in by another.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    let node = lab.node();
    let client = "10.77.0.10/32";
    let (back, pod) = ("v-back", lab.netns("client"));
    ip(&[
        "link", "add", back, "netns", &node, "type", "veth", "peer", "name", "eth1", "netns", &pod,
    ]);
    ip(&["-n", &pod, "link", "set", "eth1", "up"]);
    ip(&["-n", &node, "link", "set", back, "up"]);
    let (forth, here) = (veth("client"), [&*node, &*pod]);
    for (netns, names) in here
        .into_iter()
        .zip([["all", &forth, back], ["all", "eth0", "eth1"]])
    {
        within(netns, || {
            for name in names {
                fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0").unwrap();
            }
        });
    }
    // By a rule, so that the host's route to the pod goes on telling whose interface it is.
    ip(&[
        "-n",
        &node,
        "route",
        "add",
        "default",
        "dev",
        back,
        "src",
        "10.77.0.1",
        "table",
        "77",
    ]);
    ip(&["-n", &node, "rule", "add", "to", client, "lookup", "77"]);
    ip(&[
        "-n",
        &node,
        "route",
        "add",
        "blackhole",
        &NOWHERE.to_string(),
    ]);
    lab
}

#[test]
fn what_cannot_be_seen_is_unknown_and_what_is_answered_is_established() {
    let lab = lab();
    let agent = lab.start(&["--hurry", "30"]);
    let to = lab.address("server");
    {
        let _server = Server::start(&lab, "server", 8000..8001);
        lab.inside("client", || (0..5).for_each(|_| assert!(connect(to, 8000))));
    }
    agent.wait_for("packets towards the pod pass unseen");
    let listener = lab.inside("server", || TcpListener::bind((to, 8001)).unwrap());
    let open = lab.inside("client", || TcpStream::connect((to, 8001)).unwrap());
    lab.inside("client", || {
        let timeout = Duration::from_millis(500);
        let refused = TcpStream::connect_timeout(&(NOWHERE, 9).into(), timeout);
        assert!(refused.is_err());
    });
    // An attempt without an answer is settled after 30 s.
    std::thread::sleep(Duration::from_secs(33));
    agent.stop();
    let flows = lab.flows().into_iter();
    let mut seen: Vec<_> = flows
        .filter(|((client, _, _, view, _), _)| client == "client" && *view == View::Client)
        .map(|((_, server, port, _, outcome), count)| (server, port, outcome, count))
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            (NOWHERE.to_string(), 9, Outcome::Unknown, 1),
            ("server".to_owned(), 8000, Outcome::Established, 5),
            ("server".to_owned(), 8001, Outcome::Established, 1),
        ]
    );
    drop((listener, open));
}
