//! Inventories: files and texts, good and bad, and the index fed from them.

use std::fs;
use std::path::{Path, PathBuf};

use netpol_agent::inventory::{self, Inventory};

use crate::{cluster, sightings};

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}\nspec: {containers: []}\n";

fn error(text: &str) -> String {
    inventory::parse("i.yaml", text)
        .expect_err("it must not be taken")
        .to_string()
}

fn keys(inventory: &Inventory) -> Vec<String> {
    inventory
        .objects
        .iter()
        .map(|object| object.key().to_string())
        .collect()
}

fn namespace(name: &str) -> String {
    format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}\n")
}

fn put(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a file in a directory")).expect("a directory");
    fs::write(&path, text).expect("a file");
    path
}

#[test]
fn resolves_the_cluster() {
    let inventory = inventory::parse("cluster.yaml", cluster::OBJECTS).unwrap();
    assert_eq!(
        inventory.warnings,
        ["inventory: kinds that are not read: 1 ConfigMap"]
    );
    sightings::assert_table(&inventory.index(), cluster::TABLE);
}

#[test]
fn resolves_the_cluster_from_json_too() {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(cluster::OBJECTS).unwrap();
    let json: Vec<String> = documents.iter().map(ToString::to_string).collect();
    let inventory = inventory::parse("cluster.json", &json.join("\n")).unwrap();
    sightings::assert_table(&inventory.index(), cluster::TABLE);
}

#[test]
fn reads_directories_in_order_and_only_what_is_named_so() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "b.yaml", &namespace("b"));
    put(directory.path(), "a/z.yml", &namespace("z"));
    put(
        directory.path(),
        "a/deeper/c.json",
        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"c\"}}",
    );
    put(directory.path(), "notes.txt", "not: [yaml");
    put(directory.path(), ".hidden.yaml", "not: [yaml");
    put(directory.path(), ".git/x.yaml", "not: [yaml");
    let read = inventory::read(&[directory.path().to_owned()]).unwrap();
    assert_eq!(keys(&read), ["Namespace c", "Namespace z", "Namespace b"]);
    assert!(read.warnings.is_empty());
}

#[test]
fn reads_a_named_file_whatever_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = put(directory.path(), "inventory", &namespace("b"));
    assert_eq!(keys(&inventory::read(&[path]).unwrap()), ["Namespace b"]);
}

#[test]
fn tells_what_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.yaml");
    let told = inventory::read(std::slice::from_ref(&missing)).unwrap_err();
    assert_eq!(
        told.to_string(),
        format!("inventory {}: cannot be read", missing.display())
    );
    let binary = directory.path().join("binary.yaml");
    fs::write(&binary, [0xff, 0xfe, 0]).unwrap();
    let told = inventory::read(&[binary]).unwrap_err();
    assert_eq!(
        std::error::Error::source(&told).unwrap().to_string(),
        "is not UTF-8 text"
    );
    std::os::unix::fs::symlink(directory.path(), directory.path().join("circle")).unwrap();
    assert!(inventory::read(&[directory.path().to_owned()]).is_err());
}

#[test]
fn names_document_object_and_field_of_what_does_not_decode() {
    let table = [
        (
            format!("{}---\n---\n{}", namespace("n"), POD.replace("containers: []", "containers: [{ports: [{containerPort: x}]}]")),
            "inventory i.yaml, document 2: Pod n/p: spec.containers[0].ports[0].containerPort: ",
        ),
        (
            format!("{POD}status: {{podIP: 10.0.0.300}}"),
            "inventory i.yaml, document 1: Pod n/p: status.podIP: \"10.0.0.300\" is not an IP address",
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap}\n- {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 70000}]}}\n".to_owned(),
            "inventory i.yaml, document 1: Service s: items[1].spec.ports[0].port: 70000 is not a port (1 to 65535)",
        ),
        (
            "{apiVersion: v1, kind: Namespace, metadata: {}}".to_owned(),
            "inventory i.yaml, document 1: Namespace without a name: metadata.name: is missing",
        ),
        (
            "{apiVersion: v1, kind: Namespace, metadata: {name: ../etc}}".to_owned(),
            "inventory i.yaml, document 1: Namespace ../etc: metadata.name: \"../etc\" holds a slash",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {release: 1}}}".to_owned(),
            "inventory i.yaml, document 1: Pod p: metadata.labels.release: invalid type: integer `1`",
        ),
        (
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {ingress: 7}}".to_owned(),
            "inventory i.yaml, document 1: NetworkPolicy p: spec.ingress: invalid type",
        ),
        ("just a text".to_owned(), "inventory i.yaml, document 1: the object: .: is not a Kubernetes object"),
        ("{kind: Pod}".to_owned(), "inventory i.yaml, document 1: the object: apiVersion: is missing or not a text"),
        ("kind: [Pod".to_owned(), "inventory i.yaml: cannot be read as YAML or JSON: "),
        ("{\"kind\": \"Pod\",".to_owned(), "inventory i.yaml: cannot be read as YAML or JSON: "),
        ("a: 1\na: 2\n".to_owned(), "inventory i.yaml: cannot be read as YAML or JSON: "),
    ];
    for (text, expected) in table {
        let told = error(&text);
        assert!(told.starts_with(expected), "{told}\nis not\n{expected}");
        assert!(!told.contains('\n'), "one line: {told}");
    }
}

#[test]
fn does_not_blow_up_on_a_bomb_of_aliases() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![below; 10].join(", ")
        ));
    }
    assert!(error(&bomb).starts_with("inventory i.yaml: cannot be read as YAML or JSON: "));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(error(&deep).starts_with("inventory i.yaml: "));
    let deep = format!("{{\"a\":{deep}}}");
    assert!(error(&deep).starts_with("inventory i.yaml: "));
}

#[test]
fn follows_anchors() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- &n {apiVersion: v1, kind: Namespace, metadata: {name: one}}\n- <<: *n\n  metadata: {name: two}\n";
    let read = inventory::parse("i.yaml", text).unwrap();
    assert_eq!(keys(&read), ["Namespace one", "Namespace two"]);
}

#[test]
fn counts_kinds_that_are_not_read_in_one_warning() {
    let text = "{apiVersion: v1, kind: Secret}\n---\n{apiVersion: apps/v1beta1, kind: Deployment}\n---\n\
                {apiVersion: v1, kind: SecretList, items: [{}, {}]}\n";
    let read = inventory::parse("i.yaml", text).unwrap();
    assert_eq!(
        read.warnings,
        [
            "inventory: kinds that are not read: 1 Deployment, 3 Secret",
            "inventory: holds no object of a kind that is read",
        ]
    );
}

#[test]
fn the_last_of_differing_duplicates_counts() {
    let labelled = namespace("n").replace("name: n", "name: n, labels: {a: b}");
    let text = format!("{POD}---\n{}---\n{POD}---\n{labelled}", namespace("n"));
    let read = inventory::parse("i.yaml", &text).unwrap();
    assert_eq!(keys(&read), ["Pod n/p", "Namespace n"]);
    assert_eq!(
        read.warnings,
        ["inventory: given more than once, the last counts: Namespace n"]
    );
    assert_eq!(read.index().namespace_labels("n")["a"], "b");
}

#[test]
fn keeps_policies_as_they_are() {
    let text = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: n}, spec: {podSelector: {}}}";
    let read = inventory::parse("i.yaml", text).unwrap();
    assert_eq!(read.policies.len(), 1);
    assert_eq!(
        (read.policies[0].file.as_str(), read.policies[0].document),
        ("i.yaml", 1)
    );
    assert!(
        read.policies[0]
            .policy
            .spec
            .as_ref()
            .unwrap()
            .pod_selector
            .is_some()
    );
}

fn policy(metadata: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{{metadata}}}{rest}}}\n"
    )
}

#[test]
fn a_policy_has_a_namespace_and_a_spec_as_the_api_server_keeps_it() {
    let read = inventory::parse("i.yaml", &policy("name: p", "")).unwrap();
    let policy = &read.policies[0].policy;
    assert_eq!(policy.metadata.namespace.as_deref(), Some("default"));
    assert!(policy.spec.is_some());
}

#[test]
fn a_policy_that_the_api_server_rejects_is_an_error_with_file_document_and_field() {
    let good = policy("name: p", "");
    let bad = policy(
        "name: q, namespace: shop",
        ", spec: {ingress: [{ports: [{port: 80}, {port: 80, endPort: 79}]}]}",
    );
    let told = inventory::parse("i.yaml", &format!("{good}---\n{bad}")).unwrap_err();
    assert_eq!(
        told.to_string(),
        "inventory i.yaml, document 2: NetworkPolicy shop/q: spec.ingress[0].ports[1].endPort: 79 is below port, which is 80"
    );
}

#[test]
fn fields_of_policies_that_are_unknown_are_told() {
    let misspelt = policy(
        "name: p",
        ", spec: {podSelector: {}, ingress: [{form: []}], policytypes: [Egress]}",
    );
    let read = inventory::parse("i.yaml", &misspelt).unwrap();
    assert_eq!(
        read.warnings[..2],
        [
            "inventory i.yaml, document 1: NetworkPolicy default/p: spec.ingress[0].form is unknown and left out",
            "inventory i.yaml, document 1: NetworkPolicy default/p: spec.policytypes is unknown and left out",
        ]
    );
}

#[test]
fn policies_of_other_apis_are_known_by_name() {
    let object = |version: &str, kind: &str, metadata: &str| {
        format!("---\n{{apiVersion: {version}, kind: {kind}, metadata: {{{metadata}}}}}\n")
    };
    let text = [
        object(
            "cilium.io/v2",
            "CiliumNetworkPolicy",
            "name: a, namespace: n",
        ),
        object("cilium.io/v2", "CiliumNode", "name: a"),
        object(
            "policy.networking.k8s.io/v1alpha2",
            "ClusterNetworkPolicy",
            "name: b",
        ),
        object(
            "projectcalico.org/v3",
            "NetworkPolicy",
            "name: c, namespace: n",
        ),
        object("v1", "NetworkPolicy", "name: d"),
    ];
    let read = inventory::parse("i.yaml", &text.concat()).unwrap();
    let named: Vec<String> = read
        .other_policies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        named,
        [
            "CiliumNetworkPolicy.cilium.io n/a",
            "ClusterNetworkPolicy.policy.networking.k8s.io b",
            "NetworkPolicy.projectcalico.org n/c"
        ]
    );
    assert_eq!(
        read.warnings[0],
        "inventory: kinds that are not read: 1 CiliumNode, 1 NetworkPolicy"
    );
}

#[test]
fn comments_may_be_as_many_as_they_like() {
    let comments = "    # why\n".repeat(5000);
    let text = format!(
        "{comments}apiVersion: v1\nkind: Namespace\nmetadata:\n{comments}  name: shop\n  labels:\n{comments}    team: a\n"
    );
    let inventory = inventory::parse("i.yaml", &text).unwrap();
    assert_eq!(keys(&inventory), ["Namespace shop"]);
}

#[test]
fn an_anchor_may_be_used_in_every_object() {
    let mut text = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    text.push_str(
        "- {apiVersion: v1, kind: Namespace, metadata: {name: n0, labels: &labels {team: a}}}\n",
    );
    for number in 1..300 {
        text.push_str(&format!(
            "- {{apiVersion: v1, kind: Namespace, metadata: {{name: n{number}, labels: *labels}}}}\n"
        ));
    }
    assert_eq!(
        inventory::parse("i.yaml", &text).unwrap().objects.len(),
        300
    );
}
