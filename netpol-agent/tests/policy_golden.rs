//! Golden policies, one situation each: an inventory and flow records in, policies and findings out.
//!
//! A folder under `golden/policy` holds `inventory.yaml`, `flows.jsonl`, possibly `arguments`, and what is expected:
//! `policies.yaml` (stdout) and `findings.txt` (stderr). `UPDATE_EXPECT=1 cargo test` writes what is found there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use expect_test::expect_file;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_agent::policy::validate::validate;

/// One test for each folder, and one that no folder is forgotten.
macro_rules! golden {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_folder_is_checked() {
            let checked: BTreeSet<String> = [$(stringify!($name)),*].map(folder_name).into();
            let found = fs::read_dir(root()).expect("golden files");
            let found: BTreeSet<String> =
                found.map(|entry| entry.expect("a folder").file_name().into_string().expect("UTF-8")).collect();
            assert_eq!(found, checked);
        }
    };
}

golden! {
    api_server cidr_groups cni_aws cni_aws_named_port cni_calico_old cni_cilium cni_cilium_old cron_job default_deny
    default_deny_left_out dns_always dns_pair dns_seen external_aggregate external_any external_dual_stack
    external_unknown external_unknown_pods hairpin helm_releases host_network much_evidence names needs_widening
    no_cross_product no_evidence node_cidr_auto node_cidr_given node_cidr_pods node_peer node_port not_established
    nothing_learned one_way
    other_end_only other_owners other_view overlap peers_namespace port_ranges ranges_infer ranges_known reject
    service_over_two service_target_port stateful_set strange_labels two_namespaces unresolved unselectable
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/policy")
}

fn folder_name(test: &str) -> String {
    test.replace('_', "-")
}

/// Runs the command on a folder's input, and compares all that it says. The order of the flow records must not
/// matter, and JSON must say the same as YAML.
fn check(test: &str) {
    let folder = root().join(folder_name(test));
    let flows = fs::read_to_string(folder.join("flows.jsonl")).expect("flows.jsonl");
    let (policies, findings) = generate(&folder, &flows, "yaml");
    expect_file![folder.join("policies.yaml")].assert_eq(&policies);
    expect_file![folder.join("findings.txt")].assert_eq(&findings);

    let backwards: Vec<&str> = flows.lines().rev().collect();
    let (again, _) = generate(&folder, &backwards.join("\n"), "yaml");
    assert_eq!(again, policies, "the order of the flow records matters");

    let (list, _) = generate(&folder, &flows, "json");
    let mut list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(
        (&list["apiVersion"], &list["kind"]),
        (&"v1".into(), &"List".into())
    );
    let items: Vec<NetworkPolicy> = serde_json::from_value(list["items"].take()).expect("policies");
    let documents: Vec<NetworkPolicy> = serde_saphyr::from_multiple(&policies).expect("policies");
    assert_eq!(items, documents);
    for policy in &items {
        assert_eq!(validate(policy), []);
    }
}

/// What the command prints to stdout and stderr.
fn generate(folder: &Path, flows: &str, output: &str) -> (String, String) {
    let arguments = fs::read_to_string(folder.join("arguments")).unwrap_or_default();
    let result = Command::cargo_bin("kubectl-netpol")
        .expect("the command is built")
        .args([
            "generate",
            "--flows",
            "-",
            "--output",
            output,
            "--inventory",
        ])
        .arg(folder.join("inventory.yaml"))
        .args(arguments.split_whitespace())
        .write_stdin(flows)
        .assert()
        .success();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (
        text(&result.get_output().stdout),
        text(&result.get_output().stderr),
    )
}
