//! What the controller does when the API server, its leadership or its database fails.

use std::time::Duration;

use netpol_agent::control::Figures;
use netpol_agent::crd::ConditionType as Type;
use serde_json::json;

use crate::double::fault::{Fault, Misbehaviour};
use crate::lab::{Lab, NEW, PERSON};

const WEB: &str = "web-deployment";

async fn enforced(lab: &Lab) {
    lab.until("web is learned", |lab| {
        lab.status(WEB).holds(Type::Complete)
    })
    .await;
    lab.label(Some("enforce")).await;
    lab.until("three are applied", |lab| lab.policies().len() == 3)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_to_the_same_end_whatever_the_api_server_does() {
    let lab = Lab::start().await;
    for (sort, plural) in [
        ("create", "learnedpolicies"),
        ("apply", "learnedpolicies"),
        ("create", "networkpolicies"),
        ("create", "events"),
    ] {
        for what in [
            Misbehaviour::Status(500),
            Misbehaviour::Status(409),
            Misbehaviour::Cut,
            Misbehaviour::CutAfter,
            Misbehaviour::Slow(Duration::from_millis(50)),
        ] {
            lab.server.misbehave(Fault::of(sort, plural, what).times(2));
        }
    }
    enforced(&lab).await;
    lab.server.break_watches();
    lab.server.forget();
    lab.server.world().failing = Some(503);
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.server.world().failing = None;
    lab.rests().await;
    lab.until("all is answered", |lab| {
        lab.status(WEB).holds(Type::Applied)
    })
    .await;
    lab.label(None).await;
    lab.until("ours are gone", |lab| lab.policies().is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_where_nothing_has_changed() {
    let mut lab = Lab::start().await;
    enforced(&lab).await;
    lab.rests().await;
    let before = lab.written();
    lab.decisions(5).await;
    lab.see(crate::lab::USUAL[0], 1, 1).await;
    lab.decisions(5).await;
    assert_eq!(lab.written(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_lead_writes_nothing() {
    let mut lab = Lab::start().await;
    enforced(&lab).await;
    lab.rests().await;
    lab.lead(false);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = lab.written();
    lab.label(None).await;
    lab.see(NEW, 1, 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(lab.written(), before);
    assert_eq!(lab.policies().len(), 3);
    lab.lead(true);
    lab.until("ours are gone", |lab| lab.policies().is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_lead_tells_no_figures_that_another_one_tells() {
    let lab = Lab::start().await;
    enforced(&lab).await;
    let tells = |lab: &Lab| lab.figures().applied == 3 && !lab.figures().modes.is_empty();
    lab.until("its figures are told", tells).await;
    lab.lead(false);
    let silent = |lab: &Lab| lab.figures() == Figures::default();
    lab.until("no figure is told", silent).await;
    lab.lead(true);
    lab.until("they are told again", tells).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_hangs_is_given_up_when_leading_ends() {
    let lab = Lab::start().await;
    lab.until("web is learned", |lab| {
        lab.status(WEB).holds(Type::Complete)
    })
    .await;
    let hangs = Misbehaviour::Slow(Duration::from_secs(600));
    let fault = Fault::of("create", "networkpolicies", hangs);
    lab.server.misbehave(fault.times(1));
    lab.label(Some("enforce")).await;
    lab.until("a write hangs", |lab| {
        lab.server.count("networkpolicies", "create") == 1
    })
    .await;
    lab.lead(false);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lab.policies(), [""; 0]);
    lab.lead(true);
    lab.until("all are applied", |lab| lab.policies().len() == 3)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_edges_and_approvals_outlive_the_database() {
    let mut lab = Lab::start().await;
    enforced(&lab).await;
    let approved = json!({"approved": [crate::lab::NEW_EDGE]});
    lab.want(WEB, approved).await;
    lab.until("the approval is in force", |lab| {
        let policy = lab.server.get("networkpolicies", "shop", WEB);
        policy["spec"]["egress"]
            .as_array()
            .is_some_and(|rules| rules.len() == 2)
    })
    .await;
    lab.rests().await;
    let policies = lab.server.all("networkpolicies");
    lab.start_anew().await;
    lab.decisions(3).await;
    lab.rests().await;
    assert_eq!(lab.server.all("networkpolicies"), policies);
    let status = lab.status(WEB);
    assert_eq!(status.frozen.map(|frozen| frozen.egress.len()), Some(1));
    assert_eq!(status.counts.edges, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graph_from_before_anybody_was_known_is_not_frozen() {
    let mut lab = Lab::start().await;
    lab.until("edges are learned", |lab| lab.status(WEB).counts.edges == 1)
        .await;
    lab.stop();
    lab.label(Some("audit")).await;
    lab.start_with_an_early_graph().await;
    lab.until("edges are frozen", |lab| lab.status(WEB).frozen.is_some())
        .await;
    let status = lab.status(WEB);
    assert_eq!(status.frozen.map(|frozen| frozen.egress.len()), Some(1));
    assert_eq!(status.counts.edges, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_being_deleted_is_left_alone() {
    let mut lab = Lab::start().await;
    enforced(&lab).await;
    lab.rests().await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(lab.server.client_with(PERSON));
    namespaces
        .delete("shop", &Default::default())
        .await
        .unwrap();
    lab.decisions(3).await;
    let before = lab.written();
    lab.see(NEW, 1, 1).await;
    lab.decisions(5).await;
    assert_eq!(lab.written(), before);
}

/// A Job and its pod.
fn job(namespace: &str, name: &str) -> String {
    let labels = format!("{{app: {name}}}");
    format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}, namespace: {namespace}, uid: j-{namespace}}}}}\n---\n\
         {{apiVersion: v1, kind: Pod, metadata: {{name: {name}-x, namespace: {namespace}, uid: p-{namespace}, labels: {labels}, \
         ownerReferences: [{{apiVersion: batch/v1, kind: Job, name: {name}, uid: j-{namespace}, controller: true}}]}}, \
         spec: {{nodeName: n1, containers: []}}, status: {{phase: Running}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_controller_proposed_and_did_not_live_to_answer_is_found_by_the_next_one() {
    let mut lab = Lab::start().await;
    lab.until("web is learned", |lab| {
        lab.status(WEB).holds(Type::Complete)
    })
    .await;
    let fails = Misbehaviour::Status(500);
    let fault = Fault::of("apply", "learnedpolicies", fails);
    lab.server.misbehave(fault);
    lab.server
        .apply_text(&job("netpol-system", "netpol-uninstall"));
    lab.server.apply_text(&job("shop", "run"));
    lab.until("the Job's proposal is made", |lab| {
        lab.proposal("run-job")["metadata"]["uid"].is_string()
    })
    .await;
    lab.decisions(3).await;
    lab.stop();
    assert!(lab.proposal("run-job")["status"].is_null());
    // What Helm runs ends the controller: its proposal would stay as it was made.
    let all = lab.server.all("learnedpolicies");
    let elsewhere = all
        .iter()
        .filter(|one| one["metadata"]["namespace"] != "shop");
    assert_eq!(elsewhere.count(), 0);

    lab.server.delete("pods", "shop", "run-x");
    lab.server.delete("jobs", "shop", "run");
    lab.server.world().faults.clear();
    lab.start_anew().await;
    lab.until("it is known to be gone", |lab| {
        lab.status("run-job").gone_since.is_some()
    })
    .await;
}
