//! From learning to uninstalling.

use netpol_agent::controller::uninstall;
use netpol_agent::crd::{ConditionType as Type, Mode};
use serde_json::{Value, json};

use crate::lab::{Lab, NEW, NEW_EDGE, USUAL};

const WEB: &str = "web-deployment";
const API: &str = "api-deployment";
const DB: &str = "db-deployment";

/// A NetworkPolicy of somebody else.
fn theirs() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "theirs", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "ui"}}, "policyTypes": ["Ingress"]},
    })
}

async fn learned() -> Lab {
    let lab = Lab::start().await;
    lab.until("every proposal is answered", |lab| {
        [WEB, API, DB]
            .iter()
            .all(|name| lab.status(name).holds(Type::Complete))
    })
    .await;
    lab
}

async fn enforced() -> Lab {
    let lab = learned().await;
    lab.label(Some("enforce")).await;
    lab.until("every policy is applied", |lab| {
        let applied = |name: &&str| lab.status(name).holds(Type::Applied);
        [WEB, API, DB].iter().all(applied)
    })
    .await;
    lab
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn learns_audits_enforces_and_leaves_nothing() {
    let mut lab = learned().await;
    lab.server.apply(theirs());
    let proposal = lab.proposal(WEB);
    assert_eq!(
        proposal.get("spec"),
        None,
        "the controller owns nothing in spec"
    );
    assert_eq!(proposal["status"]["mode"], "learn");
    assert_eq!(lab.policies(), ["theirs"]);

    lab.label(Some("audit")).await;
    lab.until("the edges are frozen", |lab| {
        lab.status(WEB).frozen.is_some()
    })
    .await;
    lab.see(NEW, 3, 3).await;
    lab.until("the violation is told", |lab| {
        lab.status(WEB).violations.len() == 1
    })
    .await;
    let violation = lab.status(WEB).violations[0].clone();
    assert_eq!(
        (violation.edge.as_str(), violation.direction.as_str()),
        (NEW_EDGE, "egress")
    );
    assert_eq!(
        violation.approve_in,
        [format!("shop/{DB}"), format!("shop/{WEB}")]
    );
    lab.until("an Event tells it", |lab| {
        lab.server.all("events").iter().any(|event| {
            let note = event["note"].as_str().unwrap_or_default();
            event["reason"] == "Violation" && note.contains(&violation.id)
        })
    })
    .await;
    for name in [WEB, DB] {
        lab.want(name, json!({"approved": [NEW_EDGE]})).await;
    }
    lab.until("it is approved", |lab| {
        [WEB, DB]
            .iter()
            .all(|name| lab.status(name).violations.is_empty())
    })
    .await;

    lab.label(Some("enforce")).await;
    lab.until("all are applied", |lab| lab.policies().len() == 4)
        .await;
    lab.until("that is answered", |lab| lab.status(WEB).applied.is_some())
        .await;
    let policy = lab.server.get("networkpolicies", "shop", WEB);
    let owner = &policy["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (
            &json!("LearnedPolicy"),
            &lab.proposal(WEB)["metadata"]["uid"]
        )
    );
    assert_eq!(
        policy["spec"]["podSelector"]["matchLabels"],
        json!({"app": "web"})
    );
    assert_eq!(policy["spec"]["egress"].as_array().map(Vec::len), Some(2));

    lab.annotate("netpol.io/rollback-on", "5/5m").await;
    lab.rests().await;
    lab.fail(USUAL[0], 6).await;
    lab.until("both ends of the failing edge are rolled back", |lab| {
        lab.policies() == [DB, "theirs"]
    })
    .await;
    lab.until("that is answered", |lab| {
        lab.status(WEB).holds(Type::RolledBack)
    })
    .await;
    let id = lab.status(WEB).rollback.map(|rollback| rollback.id);
    lab.rests().await;
    assert_eq!(lab.policies(), [DB, "theirs"], "it is latched");
    lab.want(WEB, json!({"acknowledgedRollback": id})).await;
    lab.until("web is applied again", |lab| {
        lab.policies() == [DB, "theirs", WEB]
    })
    .await;

    lab.label(None).await;
    lab.until("ours are gone", |lab| lab.policies() == ["theirs"])
        .await;
    lab.until("that is answered", |lab| {
        lab.status(WEB).mode == Some(Mode::Learn)
    })
    .await;
    assert_eq!(
        lab.proposal(WEB)["spec"]["approved"],
        json!([NEW_EDGE]),
        "approvals stay"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_says_what_it_is_about() {
    let mut lab = learned().await;
    lab.label(Some("audit")).await;
    lab.until("the edges are frozen", |lab| {
        lab.status(WEB).frozen.is_some()
    })
    .await;
    for edge in [NEW, ("web", "ui", 9090)] {
        lab.see(edge, 3, 3).await;
        let told = |lab: &Lab| {
            let (client, server, port) = edge;
            let words = format!("Deployment/{client} -> shop/Deployment/{server} {port}/TCP");
            let events = lab.server.all("events");
            let mut own = events
                .iter()
                .filter(|event| event["regarding"]["name"] == WEB);
            own.any(|event| event["note"].to_string().contains(&words))
        };
        lab.until("an Event names the edge", told).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstalling_takes_away_ours_and_leaves_the_proposals() {
    let mut lab = enforced().await;
    lab.server.apply(theirs());
    lab.stop();
    lab.server.guard("netpol-uninstall", "hook");
    let removed = uninstall::remove_ours(&lab.server.client_with("hook"))
        .await
        .unwrap();
    let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
    assert_eq!(removed, [API, DB, WEB].map(|name| format!("shop/{name}")));
    assert_eq!(lab.policies(), ["theirs"]);
    assert_eq!(lab.server.all("learnedpolicies").len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_manages_specs_from_git_is_never_fought() {
    let lab = enforced().await;
    let path = format!("/apis/netpol.io/v1alpha1/namespaces/shop/learnedpolicies/{WEB}");
    let object = |rejected: Value| {
        json!({
            "apiVersion": "netpol.io/v1alpha1", "kind": "LearnedPolicy",
            "metadata": {"name": WEB, "namespace": "shop", "labels": {"app.kubernetes.io/instance": "shop"}},
            "spec": {"rejected": rejected, "options": {"dns": "pair"}},
        })
    };
    lab.apply(&path, "argocd-controller", object(json!([NEW_EDGE])))
        .await;
    lab.rests().await;
    let after = lab.proposal(WEB);
    assert_eq!(
        after["spec"],
        json!({"rejected": [NEW_EDGE], "options": {"dns": "pair"}})
    );
    lab.apply(&path, "argocd-controller", object(json!([])))
        .await;
    lab.rests().await;
    let after = lab.proposal(WEB);
    assert_eq!(after["spec"]["options"], json!({"dns": "pair"}));
    let entries = after["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ours = entries.iter().filter(|entry| entry["manager"] == "netpol");
    for entry in ours {
        assert_eq!(
            entry["subresource"], "status",
            "ours is the status alone: {entry}"
        );
    }
    let writes = lab.server.writes();
    let ours = writes.iter().filter(|write| write.manager == "netpol");
    for write in ours.filter(|write| write.plural == "learnedpolicies") {
        assert!(
            write.sort == "create" || write.subresource == "status",
            "{}",
            write.brief()
        );
        assert_eq!(write.body.get("spec"), None, "{}", write.brief());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_change_in_ours_is_put_right_and_told() {
    let lab = enforced().await;
    let path = format!("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/{WEB}");
    let good = lab.server.get("networkpolicies", "shop", WEB)["spec"].clone();
    let open = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": WEB},
        "spec": {"egress": [{}]},
    });
    lab.apply(&path, "somebody", open).await;
    lab.until("it is put right", |lab| {
        lab.server.get("networkpolicies", "shop", WEB)["spec"] == good
    })
    .await;
    lab.until("that is told", |lab| {
        let events = lab.server.all("events");
        events
            .iter()
            .any(|event| event["reason"] == "DriftRepaired")
    })
    .await;
    lab.server.delete("networkpolicies", "shop", API);
    lab.until("what was deleted is made anew", |lab| {
        lab.policies().len() == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_of_that_name_that_is_somebody_elses_stays_as_it_is() {
    let lab = learned().await;
    let mut other = theirs();
    other["metadata"]["name"] = WEB.into();
    lab.server.apply(other);
    let before = lab.server.get("networkpolicies", "shop", WEB);
    lab.label(Some("enforce")).await;
    lab.until("it is told", |lab| {
        lab.status(WEB).holds(Type::NameConflict)
    })
    .await;
    lab.until("the others are applied", |lab| lab.policies().len() == 3)
        .await;
    lab.label(Some("off")).await;
    lab.until("ours are gone", |lab| lab.policies().len() == 1)
        .await;
    assert_eq!(lab.server.get("networkpolicies", "shop", WEB), before);
}
