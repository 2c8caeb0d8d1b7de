//! Other programs on the same hooks, attached before the agent starts, while it runs and after it was killed: theirs and
//! ours see every packet, whatever becomes of the agent.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::process::Command;

use netpol_common::words::View;

use crate::bpf;
use crate::lab::{Lab, veth, within};

/// Another program on the hook that sees what the client sends.
struct Other {
    map: OwnedFd,
    _link: Option<OwnedFd>,
}

impl Other {
    fn tcx(lab: &Lab, first: bool) -> Self {
        let map = bpf::counters();
        let program = bpf::load_counter(&map, bpf::NEXT);
        let ifindex = lab.ifindex("client");
        let link = within(&lab.node(), || bpf::link(&program, ifindex, true, first));
        let _link = Some(link);
        Self { map, _link }
    }

    fn filter(lab: &Lab, preference: &str) -> Self {
        let map = bpf::counters();
        let path = lab.bpffs().join(format!("other_{preference}"));
        bpf::pin(&bpf::load_counter(&map, bpf::NEXT), &path);
        let (device, path) = (veth("client"), path.display().to_string());
        tc(
            lab,
            &[
                "filter",
                "add",
                "dev",
                &device,
                "ingress",
                "pref",
                preference,
                "bpf",
                "da",
                "object-pinned",
                &path,
            ],
        );
        Self { map, _link: None }
    }
}

fn tc(lab: &Lab, words: &[&str]) {
    let output = Command::new("tc")
        .args(["-n", &lab.node()])
        .args(words)
        .output();
    let output = output.expect("iproute2 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tc {}: {errors}", words.join(" "));
}

/// Sends a datagram that bears `number` to the server.
fn send(lab: &Lab, number: u32) {
    let to = lab.address("server");
    lab.inside("client", || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(&number.to_ne_bytes(), (to, 9999)).unwrap();
    });
}

/// How many datagrams the agent has counted at the client.
fn counted(lab: &Lab) -> u64 {
    let flows = lab.flows();
    let sent = flows
        .iter()
        .filter(|((_, _, port, view, _), _)| (*port, *view) == (9999, View::Client));
    sent.map(|(_, count)| count).sum()
}

#[test]
fn others_and_the_agent_see_every_packet_through_start_crash_and_stop() {
    for mechanism in ["tcx", "clsact"] {
        let flags = ["--attach", mechanism];
        let mut lab = Lab::new();
        lab.add_pod("client", "10.77.0.10", None);
        lab.add_pod("server", "10.77.0.20", None);
        tc(&lab, &["qdisc", "add", "dev", &veth("client"), "clsact"]);
        let mut others = vec![Other::filter(&lab, "10"), Other::tcx(&lab, true)];
        let agent = lab.start(&flags);
        others.extend([
            Other::tcx(&lab, false),
            Other::tcx(&lab, true),
            Other::filter(&lab, "5"),
        ]);
        send(&lab, 1);
        agent.kill();
        send(&lab, 2);
        others.push(Other::tcx(&lab, true));
        let agent = lab.start(&flags);
        send(&lab, 3);
        agent.stop();
        send(&lab, 4);
        lab.start(&flags).stop();
        for (at, other) in others.iter().enumerate() {
            let first = if at < 5 { 1 } else { 3 };
            let seen: Vec<u64> = (first..=4)
                .map(|number| bpf::count(&other.map, number))
                .collect();
            assert_eq!(seen, vec![1; seen.len()], "{mechanism}, other program {at}");
        }
        assert_eq!(counted(&lab), 4, "{mechanism}");
    }
}
