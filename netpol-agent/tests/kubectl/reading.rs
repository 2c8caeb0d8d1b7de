//! What is read from a cluster is what would be read from files, and nothing is given away for it.

use std::fs;

use serde_json::{Value, json};

use crate::aggregator;
use crate::double::rights::{of_role, unused};
use crate::double::world::Request;
use crate::support::{Cluster, TOKEN, bare, golden, run};

/// The golden shop as an aggregator tells it.
pub(crate) fn shop() -> Cluster {
    let cluster = Cluster::new();
    let text = fs::read_to_string(golden("inventory.yaml")).expect("a file");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let items = documents
        .into_iter()
        .flat_map(|document| match &document["items"] {
            Value::Array(items) => items.clone(),
            _ => vec![document],
        });
    let items: Vec<Value> = items.filter(|item| !item.is_null()).collect();
    let mut said = cluster.aggregator.said();
    said.inventory = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    said.flows = fs::read_to_string(golden("flows.jsonl")).expect("a file");
    drop(said);
    cluster
}

#[test]
fn a_cluster_and_files_give_the_same_bytes() {
    let cluster = shop();
    let cases: [&[&str]; 7] = [
        &["flows", "-o", "json", "-A"],
        &["flows", "-n", "dns"],
        &["graph", "-A"],
        &["graph", "-o", "svg", "-n", "shop"],
        &["graph", "-o", "html", "-A"],
        &["generate", "-A"],
        &["generate", "-n", "shop", "-o", "json"],
    ];
    for arguments in cases {
        let (code, live, problems) = run(&mut cluster.netpol(arguments));
        assert_eq!(code, Some(0), "{arguments:?}: {problems}");
        let files = ["--inventory", "--flows"]
            .into_iter()
            .zip(["inventory.yaml", "flows.jsonl"]);
        let mut offline = bare(arguments);
        for (flag, file) in files {
            offline.arg(flag).arg(golden(file));
        }
        let (code, recorded, problems) = run(&mut offline);
        assert_eq!(code, Some(0), "{arguments:?}: {problems}");
        assert!(!live.is_empty(), "{arguments:?}");
        assert_eq!(live, recorded, "{arguments:?}");
    }
}

#[test]
fn whoever_holds_the_role_of_readers_may_read_and_needs_all_of_it() {
    let cluster = shop();
    let rights = of_role("netpol-reader", "alice");
    cluster.grant_only(rights.clone());
    let (code, _, problems) = run(&mut cluster.netpol(&["flows", "-A"]));
    assert_eq!(code, Some(0), "{problems}");
    let mut asked = cluster.api.world().requests.clone();
    assert!(!cluster.tunnels().pods.is_empty());
    // Port-forwards have a route of their own here. An API server from 1.35 on asks for the second right too.
    asked.extend(["get", "create"].map(|verb| Request {
        verb,
        plural: "pods".to_owned(),
        subresource: "portforward".to_owned(),
        namespace: "netpol-system".to_owned(),
        user: "alice".to_owned(),
        ..Request::default()
    }));
    let unused = unused(&rights, &asked);
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}

#[test]
fn a_namespace_is_all_that_is_shown() {
    let cluster = shop();
    let (code, out, problems) = run(&mut cluster.netpol(&["generate", "-n", "dns"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.contains("namespace: dns") && !out.contains("  namespace: shop\n"),
        "{out}"
    );
    let flows: Vec<String> = cluster.aggregator.paths();
    assert!(
        flows.contains(&"/v1/flows?namespace=dns".to_owned()),
        "{flows:?}"
    );
    let (_, out, _) = run(&mut cluster.netpol(&["flows"]));
    assert_eq!(
        out.lines().count(),
        1,
        "the context's namespace has no flows: {out}"
    );
    assert!(
        cluster
            .aggregator
            .paths()
            .contains(&"/v1/flows?namespace=default".to_owned())
    );
}

#[test]
fn what_the_kubeconfig_holds_goes_to_no_pod() {
    let cluster = shop();
    let (code, _, problems) = run(&mut cluster.netpol(&["flows", "-A"]));
    assert_eq!(code, Some(0), "{problems}");
    let said = cluster.aggregator.said();
    assert!(said.asked.len() >= 2);
    for (path, headers) in &said.asked {
        let tokens: Vec<&String> = headers
            .iter()
            .filter(|(name, _)| name == "authorization")
            .map(|(_, value)| value)
            .collect();
        assert_eq!(tokens.len(), 1, "{path}");
        assert!(tokens[0].starts_with("Bearer token-") && tokens[0].ends_with("-netpol-viewer"));
        assert!(!format!("{headers:?}").contains(TOKEN), "{headers:?}");
    }
    let tunnels = cluster.tunnels();
    assert_eq!(tunnels.pods, ["netpol-system/netpol-aggregator-0"]);
    let has = |secret: &str| {
        tunnels
            .bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes())
    };
    assert!(!tunnels.bytes.is_empty() && !has(TOKEN));
    assert!(!has("Bearer"), "all of it is encrypted");
}

#[test]
fn the_token_is_short_lived_and_for_the_aggregator_alone() {
    let cluster = shop();
    run(&mut cluster.netpol(&["flows", "-A"]));
    let world = cluster.api.world();
    let minted: Vec<_> = world
        .requests
        .iter()
        .filter(|request| request.subresource == "token")
        .collect();
    assert_eq!(minted.len(), 1);
    assert_eq!(
        minted[0].body["spec"],
        json!({"audiences": ["netpol-aggregator"], "expirationSeconds": 600})
    );
}

#[test]
fn an_impostor_is_told_nothing() {
    let other_authority = shop();
    other_authority.trust(&aggregator::certificates(aggregator::NAME).0);
    let other_name = Cluster::with_name("somebody-else.netpol-system.svc");
    for cluster in [other_authority, other_name] {
        let (code, out, problems) = run(&mut cluster.netpol(&["flows", "-A"]));
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(problems.contains("does not prove who it is"), "{problems}");
        assert!(problems.contains("Nothing was sent to it"), "{problems}");
        assert!(cluster.aggregator.paths().is_empty());
    }
}

#[test]
fn flows_are_followed_line_by_line() {
    let cluster = shop();
    let text = fs::read_to_string(golden("flows.jsonl")).expect("a file");
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    cluster.aggregator.said().streams = Some([text.clone()].into());
    let (code, out, problems) = run(&mut cluster.netpol(&["flows", "--follow", "-n", "shop"]));
    assert_eq!(code, Some(2));
    assert!(problems.contains("403"), "{problems}");
    assert_eq!(
        out.lines().count(),
        lines + 1,
        "a header and every flow: {out}"
    );
    let expected = "/v1/flows?namespace=shop&follow=true".to_owned();
    assert_eq!(
        cluster.aggregator.paths(),
        [expected.clone(), expected],
        "it goes on when a stream ends, and ends when it is refused"
    );
    cluster.aggregator.said().streams = Some([text].into());
    let (_, json, _) = run(&mut cluster.netpol(&["flows", "--follow", "-n", "shop", "-o", "json"]));
    let parsed = json
        .lines()
        .all(|line| serde_json::from_str::<Value>(line).is_ok());
    assert!(parsed && json.lines().count() == lines);
}

#[test]
fn what_a_stream_has_told_the_next_one_does_not_tell_again() {
    let flow = |port: u16, count: u64| {
        json!({"time": "2026-01-02T03:04:05Z", "last_seen": "2026-01-02T03:10:00Z", "client": {"ip": "10.1.0.4"},
            "server": {"ip": "10.1.0.9"}, "protocol": "TCP", "port": port, "outcome": "established", "count": count})
    };
    let stream =
        |flows: &[Value]| -> String { flows.iter().map(|flow| format!("{flow}\n")).collect() };
    let cluster = shop();
    let broken = stream(&[flow(80, 5), flow(81, 1)]) + "{\"time\":\"20";
    let streams = [
        stream(&[flow(80, 3)]),
        broken,
        stream(&[flow(80, 5), flow(81, 1), flow(82, 7)]),
    ];
    cluster.aggregator.said().streams = Some(streams.into());
    let (_, out, _) = run(&mut cluster.netpol(&["flows", "--follow", "-o", "json"]));
    let told: Vec<(u64, u64)> = out
        .lines()
        .map(|line| {
            let flow: Value = serde_json::from_str(line).expect("JSON");
            let number = |field: &str| flow[field].as_u64().expect("a number");
            (number("port"), number("count"))
        })
        .collect();
    assert_eq!(told, [(80, 3), (80, 2), (81, 1), (82, 7)]);
}

#[test]
fn an_aggregator_that_cannot_answer_yet_is_asked_again() {
    let flow = |port: u16| {
        json!({"time": "2026-01-02T03:04:05Z", "client": {"ip": "10.1.0.4"}, "server": {"ip": "10.1.0.9"},
            "protocol": "TCP", "port": port, "outcome": "established", "count": 1})
    };
    let cluster = shop();
    let streams = [
        "503".to_owned(),
        format!("{}\n", flow(80)),
        "503".to_owned(),
        "429".to_owned(),
        format!("{}\n{}\n", flow(80), flow(81)),
    ];
    cluster.aggregator.said().streams = Some(streams.into());
    let (code, out, problems) = run(&mut cluster.netpol(&["flows", "--follow", "-o", "json"]));
    assert_eq!(code, Some(2));
    assert!(problems.contains("403"), "{problems}");
    let ports = out.lines().map(|line| {
        let flow: Value = serde_json::from_str(line).expect("JSON");
        flow["port"].as_u64().expect("a number")
    });
    assert_eq!(ports.collect::<Vec<_>>(), [80, 81]);
    assert_eq!(cluster.aggregator.paths().len(), 6);
}

#[test]
fn questions_about_policies_are_about_those_in_force() {
    let cluster = shop();
    let question = ["explain", "shop/Pod/web", "shop/Pod/api", "8080/TCP"];
    let (code, open, problems) = run(&mut cluster.netpol(&question));
    assert_eq!(code, Some(0), "{problems}{open}");
    cluster.api.apply(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }));
    let (code, closed, problems) = run(&mut cluster.netpol(&question));
    assert_eq!(code, Some(1), "{problems}{closed}");
    assert!(closed.contains("closed"), "{closed}");
}

#[test]
fn what_is_proposed_is_compared_with_what_is_in_force() {
    let cluster = shop();
    let (code, out, problems) = run(&mut cluster.netpol(&["diff", "-n", "shop"]));
    assert_eq!(code, Some(0), "nothing is proposed: {problems}{out}");
    let closed = json!({"hash": "1", "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    cluster.learned("shop", "web-pod", Value::Null, json!({"proposal": closed}));
    let (code, out, problems) = run(&mut cluster.netpol(&["diff", "-n", "shop"]));
    assert_eq!(code, Some(1), "{problems}{out}");
    assert!(out.contains("Becomes denied:"), "{out}");
}
