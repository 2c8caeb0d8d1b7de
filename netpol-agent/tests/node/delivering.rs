//! From real sockets to an aggregator: what arrives there is what happened, whoever was away in between.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use netpol_common::abi::Direction;

use crate::aggregator::{Authority, Fault, Server};
use crate::lab::{Agent, Lab, Server as PodServer, one_shots};

const PORTS: Range<u16> = 8000..8050;
const PATIENCE: Duration = Duration::from_secs(90);

/// How often each port was answered, as the client and as the server saw it.
type Answered = BTreeMap<(Direction, IpAddr, IpAddr, u16), u64>;

fn expected(lab: &Lab, rounds: u64) -> Answered {
    let (client, server) = (
        IpAddr::from(lab.address("client")),
        IpAddr::from(lab.address("server")),
    );
    let both = |port| {
        [
            ((Direction::Egress, client, server, port), rounds),
            ((Direction::Ingress, server, client, port), rounds),
        ]
    };
    PORTS.flat_map(both).collect()
}

/// The greatest count of each edge in all that arrived: counts are cumulative.
fn arrived(aggregator: &Server) -> Answered {
    let batches = aggregator.with(|seen| seen.batches.clone());
    let mut answered = Answered::new();
    for edge in batches.iter().flat_map(|batch| &batch.edges) {
        let key = &edge.key;
        let key = (key.direction, key.local, key.remote, key.port);
        let most = answered.entry(key).or_default();
        *most = edge.answered.max(*most);
    }
    answered
}

/// Asks the agent's own port, whose address is in its log.
fn get(agent: &Agent, path: &str) -> String {
    agent.wait_for("serving metrics");
    let log = agent.log();
    let port = log.split("127.0.0.1:").nth(1).unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn what_happened_arrives_whoever_was_away() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let authority = Authority::new();
    let mut aggregator = Server::start(&authority);
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    lab.deliver_to(aggregator.address.port(), &authority.pem());
    let _listening = PodServer::start(&lab, "server", PORTS);
    let flags = ["--hurry", "100", "--metrics-address", "127.0.0.1:0"];
    let round = |lab: &Lab| one_shots(lab, "client", "server", PORTS);

    let agent = lab.start(&flags);
    round(&lab);
    std::thread::sleep(Duration::from_secs(2));
    aggregator.with(|seen| seen.faults.push_back(Fault::Cut));
    round(&lab);
    agent.kill();
    round(&lab);
    aggregator.stop();
    let agent = lab.start(&flags);
    round(&lab);
    std::thread::sleep(Duration::from_secs(2));
    agent.kill();
    let agent = lab.start(&flags);
    round(&lab);
    aggregator.again(&authority);

    let (expected, start) = (expected(&lab, 5), Instant::now());
    while arrived(&aggregator) != expected {
        let waits = start.elapsed() < PATIENCE;
        assert!(waits, "{:#?}\n{}", arrived(&aggregator), agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(get(&agent, "/healthz").ends_with("ok\n"));
    let metrics = get(&agent, "/metrics");
    for line in [
        "netpol_agent_observing{node=\"node-a\"} 1.0",
        "netpol_agent_interfaces{node=\"node-a\",state=\"bound\"} 2.0",
        "netpol_agent_losses{node=\"node-a\",place=\"edges\"} 0.0",
        "netpol_agent_spool_limit_bytes{node=\"node-a\"} 67108864.0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let walked = metrics.lines().find_map(|line| {
        line.strip_prefix("netpol_agent_last_walk_timestamp_seconds{node=\"node-a\"} ")
    });
    let walked: f64 = walked.expect(&metrics).parse().expect("a number");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    assert!((now.as_secs_f64() - walked).abs() < 60.0, "{metrics}");
    agent.stop();
    assert!(!lab.state().join("graph.db").exists());
    assert_eq!(arrived(&aggregator), expected);
}
