//! Standing for election at an API server, over real HTTP.

use std::time::{Duration, Instant};

use netpol_agent::lead::{self, Config, Leader, Options};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "double/mod.rs"]
mod double;

use double::ApiServer;
use double::fault::{Fault, Misbehaviour};

/// A candidate at work.
struct Candidate {
    leader: Leader,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Candidate {
    fn start(server: &ApiServer, name: &str) -> Self {
        let options = Options {
            namespace: "netpol-system".to_owned(),
            name: "netpol-aggregator".to_owned(),
            identity: name.to_owned(),
            config: Config {
                duration: Duration::from_secs(2),
                deadline: Duration::from_millis(1_200),
                retry: Duration::from_millis(100),
            },
        };
        let stop = CancellationToken::new();
        let (leader, run) = lead::run(server.client(), &options, stop.clone());
        Self {
            leader,
            stop,
            task: tokio::spawn(run),
        }
    }

    fn leads(&self) -> bool {
        *self.leader.borrow()
    }
}

async fn server() -> ApiServer {
    ApiServer::start("{apiVersion: v1, kind: Namespace, metadata: {name: netpol-system}}").await
}

/// Waits until that is so, while never two lead.
async fn until(candidates: &[&Candidate], is: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !is() {
        let leaders = candidates.iter().filter(|it| it.leads()).count();
        assert!(leaders < 2, "two lead");
        assert!(begin.elapsed() < Duration::from_secs(30), "nothing happens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

fn holder(server: &ApiServer) -> String {
    let lease = server.get("leases", "netpol-system", "netpol-aggregator");
    lease["spec"]["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn one_leads_and_hands_over_when_it_stops() {
    let server = server().await;
    let one = Candidate::start(&server, "one");
    until(&[&one], || one.leads()).await;
    assert!(holder(&server).starts_with("one_"));
    let other = Candidate::start(&server, "other");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(one.leads() && !other.leads());
    one.stop.cancel();
    // Whoever leads by it is given time to end.
    until(&[&one, &other], || !one.leads()).await;
    assert!(holder(&server).starts_with("one_"));
    drop(one.leader);
    one.task.await.unwrap();
    until(&[&other], || other.leads()).await;
    assert!(holder(&server).starts_with("other_"));
    let lease = server.get("leases", "netpol-system", "netpol-aggregator");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 2);
}

#[tokio::test]
async fn one_that_dies_is_replaced() {
    let server = server().await;
    let one = Candidate::start(&server, "one");
    until(&[&one], || one.leads()).await;
    let other = Candidate::start(&server, "other");
    tokio::time::sleep(Duration::from_millis(300)).await;
    one.task.abort();
    let took = until(&[], || other.leads()).await;
    // Nobody takes over before the holder's time is over.
    assert!(took > Duration::from_millis(1_200), "{took:?}");
    assert!(holder(&server).starts_with("other_"));
}

#[tokio::test]
async fn nobody_leads_for_long_without_an_answer_and_somebody_does_later() {
    let server = server().await;
    let (one, other) = (
        Candidate::start(&server, "one"),
        Candidate::start(&server, "other"),
    );
    let both = [&one, &other];
    let somebody = || one.leads() || other.leads();
    until(&both, somebody).await;
    for what in [
        Misbehaviour::Status(500),
        Misbehaviour::Cut,
        Misbehaviour::CutAfter,
        Misbehaviour::Slow(Duration::from_secs(60)),
    ] {
        server.misbehave(Fault {
            sort: None,
            plural: Some("leases"),
            what,
            times: None,
        });
        until(&both, || !somebody()).await;
        server.world().faults.clear();
        until(&both, somebody).await;
    }
}
