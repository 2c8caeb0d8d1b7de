//! `kubectl-netpol check`, `connectivity` and `diff` as commands: what they print, their exit codes, and what they
//! say of bad input.

mod check;
mod connectivity;
mod diff;
mod explain;

use std::path::PathBuf;

use assert_cmd::Command;
use tempfile::TempDir;

/// Two namespaces on two nodes, a database at zero, and an agent on its node's network.
macro_rules! common {
    () => {
        r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: ops, labels: {team: b}}}
---
{apiVersion: v1, kind: Node, metadata: {name: one}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: two}, status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {replicas: 0, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: m, ports: [{name: sql, containerPort: 5432}]}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: agent-x, namespace: ops, labels: {app: agent}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: agent, uid: d}]}
spec: {nodeName: one, hostNetwork: true}
status: {podIP: 192.168.0.1, phase: Running}
---
"#
    };
}
use common;

/// A shop: a web server of two pods, an API whose named port differs from pod to pod, a database at zero, a
/// CronJob between runs, an agent on its node's network, and a service in front of the API.
const SHOP: &str = concat!(
    common!(),
    r#"apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u}]}
spec: {nodeName: one}
status: {podIP: 10.1.0.1, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u}]}
spec: {nodeName: two}
status: {podIP: 10.1.0.2, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: api-1, namespace: shop, labels: {app: api}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: api, uid: a}]}
spec: {nodeName: one, containers: [{name: m, ports: [{name: http, containerPort: 8080}]}]}
status: {podIP: 10.1.0.3, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: api-2, namespace: shop, labels: {app: api}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: api, uid: a}]}
spec: {nodeName: two, containers: [{name: m, ports: [{name: http, containerPort: 9090}]}]}
status: {podIP: 10.1.0.4, phase: Running}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup, namespace: ops}
spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {metadata: {labels: {app: backup}}}}}}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.96.0.7, selector: {app: api}, ports: [{name: http, port: 80, targetPort: http}]}
"#
);

/// Policies over the shop: the API takes its port `http` from web; the database its port `sql` from the API and from
/// ops, and UDP from one range.
const POLICIES: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: http}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}, {namespaceSelector: {matchLabels: {team: b}}}]
    ports: [{port: sql}]
  - from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]
    ports: [{protocol: UDP, port: 1000, endPort: 1999}]
"#;

/// A directory with files in it, and a command that is run over them.
struct Case {
    dir: TempDir,
}

impl Case {
    /// The shop in `shop.yaml`, its policies in `policies.yaml`.
    fn shop() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let case = Self { dir };
        case.file("shop.yaml", SHOP);
        case.file("policies.yaml", POLICIES);
        case
    }

    /// Writes a file and tells its path.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// `kubectl-netpol` in the directory, without any of its variables set.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("kubectl-netpol").expect("the command is built");
        command.current_dir(self.dir.path()).args(arguments);
        command
    }

    /// Runs it: the exit code, stdout and stderr.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code().expect("an exit code"),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

/// What every command says of bad input: exit code 2, nothing on stdout, one line that names the place.
#[test]
fn bad_input_is_named() {
    let case = Case::shop();
    case.file("no-yaml.yaml", "a: [");
    let bad = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: shop}, spec: {podSelector: {}, egress: [{ports: [{port: 80, endPort: 79}]}]}}";
    case.file("bad.yaml", bad);
    case.file("flows.jsonl", "");
    let commands: [&[&str]; 3] = [
        &["connectivity"],
        &["check", "-f", "flows.jsonl"],
        &["diff", "policies.yaml", "policies.yaml"],
    ];
    for command in commands {
        let run = |more: &[&str]| case.run(&[command, more].concat());
        let named = |more: &[&str], place: &str| {
            let (code, stdout, stderr) = run(more);
            assert_eq!(
                (code, stdout.as_str()),
                (2, ""),
                "{command:?} {more:?}: {stderr}"
            );
            let error = stderr.lines().find(|line| line.starts_with("error: "));
            let error = error.unwrap_or_else(|| panic!("{command:?} {more:?}: {stderr}"));
            assert!(error.contains(place), "{error}");
        };
        named(&["-i", "absent.yaml"], "absent.yaml");
        named(&["-i", "no-yaml.yaml"], "no-yaml.yaml");
        if command[0] != "diff" {
            named(&["-i", "shop.yaml", "-p", "bad.yaml"], "endPort");
            named(&["-i", "-", "-p", "-"], "stdin");
        }
        assert_eq!(run(&["-i", "shop.yaml", "--host-network", "both"]).0, 2);
        assert_eq!(run(&[]).0, 2, "an inventory is needed");
    }
    let (code, _, stderr) = case.run(&["diff", "policies.yaml", "bad.yaml", "-i", "shop.yaml"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("bad.yaml") && stderr.contains("endPort"),
        "{stderr}"
    );
}

/// The name of a policy changes no verdict, so a wrong one is only remarked on.
#[test]
fn a_wrong_name_is_remarked_on() {
    let case = Case::shop();
    case.file(
        "renamed.yaml",
        &POLICIES.replace("name: db", "name: the_db"),
    );
    let named = case.run(&["connectivity", "-i", "shop.yaml", "-p", "policies.yaml"]);
    let renamed = case.run(&["connectivity", "-i", "shop.yaml", "-p", "renamed.yaml"]);
    assert_eq!((renamed.0, renamed.1), (0, named.1));
    let warning = renamed.2;
    assert!(
        warning.contains("renamed.yaml, document 2") && warning.contains("metadata.name"),
        "{warning}"
    );
}

/// Every flag has a variable.
#[test]
fn variables_stand_for_flags() {
    let case = Case::shop();
    let flags = case.run(&[
        "connectivity",
        "-i",
        "shop.yaml",
        "-p",
        "policies.yaml",
        "-o",
        "json",
        "--host-network",
        "pod",
        "--ip-block",
        "no-pods",
    ]);
    let mut command = case.command(&["connectivity"]);
    for (name, value) in [
        ("NETPOL_INVENTORY", "shop.yaml"),
        ("NETPOL_POLICIES", "policies.yaml"),
        ("NETPOL_CONNECTIVITY_OUTPUT", "json"),
        ("NETPOL_HOST_NETWORK", "pod"),
        ("NETPOL_IP_BLOCK", "no-pods"),
    ] {
        command.env(name, value);
    }
    let output = command.output().expect("it runs");
    assert_eq!(String::from_utf8(output.stdout).expect("text"), flags.1);
    assert_eq!(flags.0, 0);
}
