//! Every right that the manifests grant to agents and to the aggregator is used, and every one that is used is granted:
//! the double refuses the others in all tests of this program, and here records which of them were needed.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use netpol_agent::identity::Index;
use netpol_agent::keeper::SharedIndex;
use netpol_agent::lead;
use netpol_agent::watch::{self, Options, Scope};
use netpol_common::names::cluster::{
    AGENT_ACCOUNT, AGGREGATOR_ACCOUNT, CA_CONFIG_MAP, TLS_SECRET, VIEWER_ACCOUNT,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::double::ApiServer;
use crate::double::auth::Right;
use crate::double::rights::{of_account, unused};
use crate::double::world::Request;
use crate::lab::{CONTROLLER, Lab};
use crate::rig::{HOST, Rig, good};

const NAMESPACE: &str = "netpol-system";
/// Long enough for any machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until that is so.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begin = tokio::time::Instant::now();
    while !is() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_agent_uses_what_it_is_granted() {
    let objects = "{apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n\
                   {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b, uid: c}, spec: {nodeName: n1}}\n";
    let server = ApiServer::start(objects).await;
    server.guard(AGENT_ACCOUNT, "agent");
    let index = SharedIndex::new(Index::default());
    let (ready, _) = tokio::sync::watch::channel(false);
    let options = Options::new(Scope::Node("n1".to_owned()));
    let client = server.client_with("agent");
    let watching = watch::run(client, options, index.inner(), Timestamp::now, ready);
    let watching = tokio::spawn(watching);
    let granted = of_account(AGENT_ACCOUNT);
    until("an agent needs everything that it is granted", || {
        unused(&granted, &server.asked_by(AGENT_ACCOUNT)).is_empty()
    })
    .await;
    watching.abort();
}

/// Agents and people are served, and what the certificate rests on is made, and put right where somebody broke it.
async fn serving() -> Vec<Request> {
    let rig = Rig::start().await;
    assert_eq!(rig.deliver("one", &good(1)).await.0, 200);
    let read = rig.read("viewer", "/v1/status").send().await.unwrap();
    assert_eq!(read.status(), 200);

    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
    let mut secret = rig.api.get("secrets", NAMESPACE, TLS_SECRET);
    let encoded =
        |text: String| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    secret["data"]["tls.crt"] = encoded(other.cert.pem()).into();
    secret["data"]["tls.key"] = encoded(other.signing_key.serialize_pem()).into();
    rig.api.apply(secret);
    let mut authority = rig.api.get("configmaps", NAMESPACE, CA_CONFIG_MAP);
    authority["data"] = json!({"ca.crt": "somebody else's"});
    rig.api.apply(authority);
    let second = Rig::beside(&rig).await;
    let client = crate::rig::client(&rig.api, second.address());
    let url = format!("https://{HOST}:{}/v1/x", second.address().port());
    assert_eq!(client.get(url).send().await.unwrap().status(), 404);
    second.stop().await;
    rig.api.asked_by(AGGREGATOR_ACCOUNT)
}

/// A namespace is learned and enforced twice, a proposal is forgotten, and one of two replicas leads.
async fn controlling() -> Vec<Request> {
    let lab = Lab::start().await;
    lab.server.apply(json!({
        "apiVersion": "netpol.io/v1alpha1", "kind": "LearnedPolicy",
        "metadata": {"name": "old-deployment", "namespace": "shop"},
        "status": {
            "workload": "Deployment/old", "goneSince": "2026-01-02T03:04:05Z",
            "workloadRef": {"kind": "Deployment", "name": "old"},
        },
    }));
    for round in ["first", "second"] {
        lab.until("three are learned", |lab| {
            let complete = |name: &&str| {
                lab.status(name)
                    .holds(netpol_agent::crd::ConditionType::Complete)
            };
            ["web-deployment", "api-deployment", "db-deployment"]
                .iter()
                .all(complete)
        })
        .await;
        lab.label(Some("enforce")).await;
        lab.until(round, |lab| lab.policies().len() == 3).await;
        lab.rests().await;
        lab.label(None).await;
        lab.until("they are removed", |lab| lab.policies().is_empty())
            .await;
    }
    lab.until("what is long gone is forgotten", |lab| {
        lab.proposal("old-deployment").is_null()
    })
    .await;
    lab.server.apply(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
    }));
    let options = lead::Options {
        namespace: NAMESPACE.to_owned(),
        name: AGGREGATOR_ACCOUNT.to_owned(),
        identity: "pod".to_owned(),
        config: lead::Config::default(),
    };
    let stop = CancellationToken::new();
    let (mut leader, election) =
        lead::run(lab.server.client_with(CONTROLLER), &options, stop.clone());
    let election = tokio::spawn(election);
    let leads = tokio::time::timeout(PATIENCE, leader.wait_for(|leads| *leads)).await;
    drop(leads.expect("in time").expect("it stands for election"));
    stop.cancel();
    drop(leader);
    election.await.expect("it ends");
    lab.server.asked_by(AGGREGATOR_ACCOUNT)
}

#[tokio::test]
async fn what_readers_are_granted_is_what_the_aggregator_asks_for() {
    let rig = Rig::start().await;
    let granted = of_account(VIEWER_ACCOUNT);
    let read = rig.read("viewer", "/v1/status").send().await.unwrap();
    assert_eq!(read.status(), 200);
    let asked = rig.api.asked_by(AGGREGATOR_ACCOUNT).into_iter();
    let asked = asked.filter(|request| request.plural == "subjectaccessreviews");
    let asked: BTreeSet<Right> = asked.map(|request| right(&request.body["spec"])).collect();
    assert_eq!(asked, granted);
}

/// The right that a SubjectAccessReview asks for.
fn right(spec: &Value) -> Right {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let asked = &spec["resourceAttributes"];
    Right {
        user: text(&spec["user"]),
        verb: text(&asked["verb"]),
        group: text(&asked["group"]),
        resource: text(&asked["resource"]),
        namespace: text(&asked["namespace"]),
        name: text(&asked["name"]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aggregator_uses_what_it_is_granted() {
    let mut asked = serving().await;
    asked.extend(controlling().await);
    let unused = unused(&of_account(AGGREGATOR_ACCOUNT), &asked);
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}
