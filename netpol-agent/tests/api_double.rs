//! What the double of the API server keeps to, so that tests may rely on it.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use netpol_agent::crd::LearnedPolicy;
use serde_json::{Value, json};

#[expect(dead_code, reason = "tests/identity uses the rest of it")]
#[path = "double/mod.rs"]
mod double;

use double::ApiServer;
use double::auth::{Account, Right};
use double::fault::{Fault, Misbehaviour};
use double::rights::{of_account, unused};

const WORLD: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: viewer, namespace: shop}}
";

async fn server() -> ApiServer {
    ApiServer::start(WORLD).await
}

fn maps(server: &ApiServer) -> Api<ConfigMap> {
    Api::namespaced(server.client(), "shop")
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

async fn apply(api: &Api<ConfigMap>, manager: &str, data: Value) -> kube::Result<ConfigMap> {
    let map = map("settings", data);
    api.patch("settings", &PatchParams::apply(manager), &Patch::Apply(map))
        .await
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("no answer of the API: {other}"),
    }
}

fn data(map: &ConfigMap) -> Vec<(&str, &str)> {
    let data = map.data.iter().flatten();
    data.map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn apply_takes_away_what_its_manager_applies_no_more_and_nothing_else() {
    let server = server().await;
    let api = maps(&server);
    apply(&api, "one", json!({"a": "1", "b": "1"}))
        .await
        .unwrap();
    apply(&api, "two", json!({"c": "2"})).await.unwrap();
    let left = apply(&api, "one", json!({"a": "1"})).await.unwrap();
    assert_eq!(data(&left), [("a", "1"), ("c", "2")]);
    let owners: Vec<String> = left
        .managed_fields()
        .iter()
        .filter_map(|entry| entry.manager.clone())
        .collect();
    assert_eq!(owners, ["two", "one"]);
}

#[tokio::test]
async fn apply_conflicts_over_a_field_of_another_manager_unless_it_is_forced() {
    let server = server().await;
    let api = maps(&server);
    apply(&api, "one", json!({"a": "1", "b": "1"}))
        .await
        .unwrap();
    apply(&api, "two", json!({"b": "1"}))
        .await
        .expect("the same value is shared");
    let error = apply(&api, "two", json!({"b": "2"})).await.unwrap_err();
    assert_eq!(code(error), 409);
    let forced = PatchParams::apply("two").force();
    let map = Patch::Apply(map("settings", json!({"b": "2"})));
    let taken = api.patch("settings", &forced, &map).await.unwrap();
    assert_eq!(data(&taken), [("a", "1"), ("b", "2")]);
    let kept = apply(&api, "one", json!({"a": "1"})).await.unwrap();
    assert_eq!(data(&kept), [("a", "1"), ("b", "2")], "b is of two alone");
}

#[tokio::test]
async fn a_patch_makes_what_it_changes_its_managers() {
    let server = server().await;
    let api = maps(&server);
    apply(&api, "one", json!({"a": "1", "b": "1"}))
        .await
        .unwrap();
    let by_hand = PatchParams {
        field_manager: Some("hand".to_owned()),
        ..PatchParams::default()
    };
    let change = Patch::Merge(json!({"data": {"a": "3", "b": null}}));
    let changed = api.patch("settings", &by_hand, &change).await.unwrap();
    assert_eq!(data(&changed), [("a", "3")]);
    let error = apply(&api, "one", json!({"a": "1"})).await.unwrap_err();
    assert_eq!(code(error), 409);
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_version() {
    let server = server().await;
    let api = maps(&server);
    let first = apply(&api, "one", json!({"a": "1"})).await.unwrap();
    let second = apply(&api, "one", json!({"a": "1"})).await.unwrap();
    assert_eq!(first.resource_version(), second.resource_version());
}

#[tokio::test]
async fn versions_and_names_are_checked() {
    let server = server().await;
    let api = maps(&server);
    let settings: ConfigMap = serde_json::from_value(map("settings", json!({"a": "1"}))).unwrap();
    let made = api.create(&PostParams::default(), &settings).await.unwrap();
    let again = api.create(&PostParams::default(), &settings).await;
    assert_eq!(code(again.unwrap_err()), 409);
    let mut newer = made.clone();
    newer.data = Some([("a".to_owned(), "2".to_owned())].into());
    api.replace("settings", &PostParams::default(), &newer)
        .await
        .unwrap();
    newer.data = None;
    let stale = api
        .replace("settings", &PostParams::default(), &newer)
        .await;
    assert_eq!(code(stale.unwrap_err()), 409);
    let generated =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}});
    let generated: ConfigMap = serde_json::from_value(generated).unwrap();
    let one = api
        .create(&PostParams::default(), &generated)
        .await
        .unwrap();
    let two = api
        .create(&PostParams::default(), &generated)
        .await
        .unwrap();
    assert!(one.name_any().starts_with("x-") && one.name_any() != two.name_any());
}

#[tokio::test]
async fn deletion_looks_at_preconditions_finalizers_and_owners() {
    let server = server().await;
    let api = maps(&server);
    let owner = apply(&api, "one", json!({})).await.unwrap();
    let owned = |name: &str| {
        let mut map = map(name, json!({}));
        map["metadata"]["namespace"] = "shop".into();
        map["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "uid": owner.uid(),
        }]);
        map
    };
    server.apply(owned("dependent"));
    let mut held = owned("held");
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    server.apply(held);
    let other = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("another".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    assert_eq!(code(api.delete("settings", &other).await.unwrap_err()), 409);
    let going = api.delete("held", &DeleteParams::default()).await.unwrap();
    assert!(
        going
            .left()
            .is_some_and(|held| held.metadata.deletion_timestamp.is_some())
    );
    api.patch(
        "held",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(server.get("configmaps", "shop", "held").is_null());
    api.delete("settings", &DeleteParams::background())
        .await
        .unwrap();
    assert_eq!(server.all("configmaps"), Vec::<Value>::new());
    server.apply(owned("orphan"));
    assert_eq!(
        code(
            api.delete("settings", &DeleteParams::default())
                .await
                .unwrap_err()
        ),
        404
    );
}

#[tokio::test]
async fn the_status_is_written_on_its_own() {
    let server = server().await;
    let api: Api<LearnedPolicy> = Api::namespaced(server.client(), "shop");
    let made = api
        .create(&PostParams::default(), &LearnedPolicy::named("shop", "web"))
        .await
        .unwrap();
    let status = |status: Value| json!({"apiVersion": "netpol.io/v1alpha1", "kind": "LearnedPolicy", "status": status});
    let ours = PatchParams::apply("netpol");
    let written = status(json!({"workload": "Deployment/web", "mode": "learn"}));
    let answered = api
        .patch_status("web", &ours, &Patch::Apply(written))
        .await
        .unwrap();
    assert_eq!(answered.metadata.generation, made.metadata.generation);
    let change =
        Patch::Merge(json!({"spec": {"approved": ["a -> b 80/TCP"]}, "status": {"mode": "off"}}));
    let changed = api
        .patch("web", &PatchParams::default(), &change)
        .await
        .unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
    assert_eq!(changed.wanted().approved, ["a -> b 80/TCP"]);
    assert_eq!(
        json!(changed)["status"]["mode"],
        "learn",
        "only the subresource writes it"
    );
    let less = status(json!({"mode": "audit"}));
    let answered = api
        .patch_status("web", &ours, &Patch::Apply(less))
        .await
        .unwrap();
    assert_eq!(json!(answered)["status"]["workload"], Value::Null);
    let absent = api
        .patch_status("api", &ours, &Patch::Apply(status(json!({}))))
        .await;
    assert_eq!(code(absent.unwrap_err()), 404);
}

#[tokio::test]
async fn nothing_new_comes_into_a_namespace_that_is_going_or_absent() {
    let server = server().await;
    let namespaces: Api<Namespace> = Api::all(server.client());
    let policies: Api<NetworkPolicy> = Api::namespaced(server.client(), "shop");
    let apply = PatchParams::apply("netpol");
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "web"}});
    policies
        .patch("web", &apply, &Patch::Apply(&policy))
        .await
        .unwrap();
    namespaces
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    policies
        .patch("web", &apply, &Patch::Apply(&policy))
        .await
        .expect("what is there may change");
    let new = policies
        .patch(
            "api",
            &apply,
            &Patch::Apply(json!({"metadata": {"name": "api"}})),
        )
        .await;
    assert_eq!(code(new.unwrap_err()), 403);
    let elsewhere: Api<NetworkPolicy> = Api::namespaced(server.client(), "nowhere");
    let new = elsewhere.patch("web", &apply, &Patch::Apply(&policy)).await;
    assert_eq!(code(new.unwrap_err()), 404);
}

async fn review(server: &ApiServer, token: &str, audiences: &[&str]) -> Value {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(
                audiences
                    .iter()
                    .map(|&audience| audience.to_owned())
                    .collect(),
            ),
        },
        ..TokenReview::default()
    };
    let api: Api<TokenReview> = Api::all(server.client());
    let answer = api.create(&PostParams::default(), &review).await;
    json!(answer.expect("an answer"))["status"].clone()
}

#[tokio::test]
async fn tokens_are_made_for_an_audience_and_expire() {
    let server = server().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(server.client(), "shop");
    let wanted = json!({"spec": {"audiences": ["netpol-aggregator"], "expirationSeconds": 600}});
    let wanted: TokenRequest = serde_json::from_value(wanted).unwrap();
    let made = accounts
        .create_token_request("viewer", &PostParams::default(), &wanted)
        .await
        .unwrap();
    let token = made.status.expect("a token").token;
    let known = review(&server, &token, &["netpol-aggregator"]).await;
    assert_eq!(known["authenticated"], true);
    assert_eq!(
        known["user"]["username"],
        "system:serviceaccount:shop:viewer"
    );
    assert_eq!(review(&server, &token, &[]).await["authenticated"], false);
    assert_eq!(
        review(&server, "made up", &[]).await["authenticated"],
        false
    );
    server.world().now += 600;
    assert_eq!(
        review(&server, &token, &["netpol-aggregator"]).await["authenticated"],
        false
    );
    let absent = accounts
        .create_token_request("nobody", &PostParams::default(), &wanted)
        .await;
    assert_eq!(code(absent.unwrap_err()), 404);
}

#[tokio::test]
async fn whatever_the_manifests_do_not_grant_is_refused_and_what_is_not_used_is_told() {
    let server = server().await;
    server.guard("netpol-aggregator", "t");
    let own = |namespace| Api::<ConfigMap>::namespaced(server.client_with("t"), namespace);
    let refused = own("netpol-system").get("settings").await;
    assert_eq!(code(refused.unwrap_err()), 403, "another name");
    let refused = own("shop").get("netpol-ca").await;
    assert_eq!(code(refused.unwrap_err()), 403, "another namespace");
    let absent = own("netpol-system").get("netpol-ca").await;
    assert_eq!(code(absent.unwrap_err()), 404);
    let rights = of_account("netpol-aggregator");
    let unused = unused(&rights, &server.asked_by("netpol-aggregator"));
    assert_eq!(unused.len() + 1, rights.len());
    let is_told = |right: &str| unused.iter().any(|unused| unused == right);
    assert!(
        is_told("update configmaps. netpol-system/netpol-ca"),
        "{unused:#?}"
    );
    assert!(!is_told("get configmaps. netpol-system/netpol-ca"));
}

#[tokio::test]
async fn a_guarded_server_wants_tokens_and_rights() {
    let server = server().await;
    {
        let mut world = server.world();
        world.guarded = true;
        world
            .tokens
            .insert("t".to_owned(), Account::of_service("shop", "viewer"));
        world.rights.insert(Right {
            user: "system:serviceaccount:shop:viewer".to_owned(),
            verb: "get".to_owned(),
            resource: "configmaps".to_owned(),
            namespace: "shop".to_owned(),
            ..Right::default()
        });
    }
    let with = |token| Api::<ConfigMap>::namespaced(server.client_with(token), "shop");
    assert_eq!(code(maps(&server).get("x").await.unwrap_err()), 401);
    assert_eq!(code(with("t").get("x").await.unwrap_err()), 404);
    assert_eq!(
        code(with("t").list(&Default::default()).await.unwrap_err()),
        403
    );
    assert!(
        server
            .kubeconfig("t")
            .contains(&server.address().to_string())
    );
    let asked = |namespace: &str| {
        let attributes = json!({"verb": "get", "resource": "configmaps", "namespace": namespace});
        json!({"spec": {"user": "system:serviceaccount:shop:viewer", "resourceAttributes": attributes}})
    };
    server.world().guarded = false;
    for (namespace, allowed) in [("shop", true), ("other", false)] {
        let request =
            axum::http::Request::post("/apis/authorization.k8s.io/v1/subjectaccessreviews")
                .header("content-type", "application/json")
                .body(serde_json::to_vec(&asked(namespace)).unwrap())
                .unwrap();
        let answer: Value = server.client().request(request).await.unwrap();
        assert_eq!(answer["status"]["allowed"], allowed);
    }
}

#[tokio::test]
async fn faults_come_as_often_as_asked_for_and_all_is_written_down() {
    let server = server().await;
    let api = maps(&server);
    server.misbehave(Fault::of("apply", "configmaps", Misbehaviour::Status(500)).times(1));
    server.misbehave(Fault::of("apply", "configmaps", Misbehaviour::Cut).times(1));
    server.misbehave(Fault::of("apply", "configmaps", Misbehaviour::CutAfter).times(1));
    server.misbehave(Fault::of(
        "apply",
        "configmaps",
        Misbehaviour::Slow(Duration::from_millis(5)),
    ));
    assert_eq!(
        code(apply(&api, "one", json!({"a": "1"})).await.unwrap_err()),
        500
    );
    apply(&api, "one", json!({"a": "1"})).await.unwrap_err();
    assert!(server.all("configmaps").is_empty(), "nothing happened yet");
    apply(&api, "one", json!({"a": "1"})).await.unwrap_err();
    assert_eq!(
        server.get("configmaps", "shop", "settings")["data"]["a"],
        "1"
    );
    apply(&api, "one", json!({"a": "1"})).await.unwrap();
    let writes = server.writes();
    assert!(
        writes
            .iter()
            .all(|write| write.brief() == "apply shop/configmaps/settings")
    );
    assert_eq!((writes.len(), writes[0].manager.as_str()), (4, "one"));
}
