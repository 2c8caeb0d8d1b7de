//! `kubectl-netpol explain`: all that it says of many connections, under many policies.
//!
//! `golden/explain.txt` holds each question with its answer. `UPDATE_EXPECT=1 cargo test` writes what is found.

use std::fmt::Write as _;
use std::path::Path;

use expect_test::expect_file;

use super::{Case, common};

/// Seven web servers of which the last is another release, an API whose named port differs from pod to pod, a
/// database at zero, an agent on its nodes' network, one pod of IPv6 only, and one that no label tells apart.
const CLUSTER: &str = concat!(
    common!(),
    r#"apiVersion: v1
kind: Pod
metadata: {name: api-1, namespace: shop, labels: {app: api}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: api, uid: a}]}
spec: {nodeName: one, containers: [{name: m, ports: [{name: http, containerPort: 8080}]}]}
status: {podIP: 10.1.1.1, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: api-2, namespace: shop, labels: {app: api}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: api, uid: a}]}
spec: {nodeName: two, containers: [{name: m, ports: [{name: http, containerPort: 9090}, {name: dns, containerPort: 53, protocol: UDP}]}]}
status: {podIP: 10.1.1.2, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: ops, labels: {app: late}}
spec: {hostNetwork: true}
---
apiVersion: v1
kind: Pod
metadata: {name: six, namespace: ops, labels: {app: six}}
spec: {nodeName: two}
status: {podIP: "fd00::6", phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: Bare.pod, namespace: ops}
spec: {nodeName: two}
status: {podIP: 10.1.2.1, phase: Running}
---
{apiVersion: v1, kind: Pod, metadata: {name: Odd.one, namespace: shop, labels: {app: odd}}, spec: {nodeName: two}, status: {podIP: 10.1.3.1, phase: Running}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twin-a-1, namespace: shop, labels: {app: twin, x: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: twin-a, uid: twin-a}]}, spec: {nodeName: two}, status: {podIP: 10.1.3.2, phase: Running}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twin-a-2, namespace: shop, labels: {app: twin, x: "2"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: twin-a, uid: twin-a}]}, spec: {nodeName: two}, status: {podIP: 10.1.3.3, phase: Running}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twin-b-1, namespace: shop, labels: {app: twin, x: "3"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: twin-b, uid: twin-b}]}, spec: {nodeName: two}, status: {podIP: 10.1.3.4, phase: Running}}
---
{apiVersion: v1, kind: Pod, metadata: {name: same-a-1, namespace: shop, labels: {app: same, y: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: same-a, uid: same-a}]}, spec: {nodeName: two}, status: {podIP: 10.1.3.5, phase: Running}}
---
{apiVersion: v1, kind: Pod, metadata: {name: same-a-2, namespace: shop, labels: {app: same, y: "2"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: same-a, uid: same-a}]}, spec: {nodeName: two}, status: {podIP: 10.1.3.6, phase: Running}}
---
{apiVersion: v1, kind: Pod, metadata: {name: same-b-1, namespace: shop, labels: {app: same, y: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: same-b, uid: same-b}]}, spec: {nodeName: two}, status: {podIP: 10.1.3.7, phase: Running}}
---
{apiVersion: v1, kind: Pod, metadata: {name: same-b-2, namespace: shop, labels: {app: same, y: "2"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: same-b, uid: same-b}]}, spec: {nodeName: two}, status: {podIP: 10.1.3.8, phase: Running}}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.96.0.7, selector: {app: api}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
{apiVersion: v1, kind: Service, metadata: {name: none, namespace: shop}, spec: {clusterIP: 10.96.0.8, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: nobody, namespace: shop}, spec: {clusterIP: 10.96.0.9, selector: {app: nobody}, ports: [{port: 80}]}}
"#
);

fn web(number: usize) -> String {
    let canary = if number == 7 { ", release: canary" } else { "" };
    let six = if number == 1 {
        ", {ip: \"fd00::1\"}"
    } else {
        ""
    };
    let node = if number % 2 == 1 { "one" } else { "two" };
    format!(
        r#"
---
apiVersion: v1
kind: Pod
metadata: {{name: web-{number}, namespace: shop, labels: {{app: web, tier: front{canary}}}, ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: w}}]}}
spec: {{nodeName: {node}}}
status: {{podIP: 10.1.0.{number}, podIPs: [{{ip: 10.1.0.{number}}}{six}], phase: Running}}
"#
    )
}

/// A policy over the pods of an application of the shop.
fn policy(name: &str, app: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: {app}}}}}\n{rest}"
    )
}

/// Policies of the API by what its rules hold: each question is asked under one of them.
fn policies() -> Vec<(&'static str, String)> {
    let ingress = |rules: &str| policy("api", "api", &format!("  ingress:\n{rules}"));
    vec![
        ("nothing", String::new()),
        (
            "deny",
            policy("api", "api", "  policyTypes: [Ingress, Egress]\n"),
        ),
        (
            "port",
            ingress(
                "  - from: [{podSelector: {matchLabels: {app: web}}}]\n    ports: [{port: 81}, {port: 90, endPort: 95}]\n",
            ),
        ),
        (
            "udp",
            ingress(
                "  - from: [{podSelector: {matchLabels: {app: web}}}]\n    ports: [{protocol: UDP, port: 8080}]\n",
            ),
        ),
        (
            "named",
            ingress(
                "  - from: [{podSelector: {}}]\n    ports: [{port: http}, {port: dns, protocol: UDP}]\n",
            ),
        ),
        (
            "labels",
            ingress(
                "  - from: [{podSelector: {matchLabels: {app: other, owner: me}}}]\n    ports: [{port: 8080}]\n",
            ),
        ),
        (
            "expressions",
            ingress(
                "  - from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [x, y]}, {key: tier, operator: NotIn, values: [front, back]}, {key: owner, operator: Exists}, {key: tier, operator: DoesNotExist}]}}]\n\
             \x20 - from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}, {key: tier, operator: NotIn, values: [back]}, {key: tier, operator: Exists}, {key: owner, operator: DoesNotExist}, {key: release, operator: In, values: [canary]}]}}]\n",
            ),
        ),
        (
            "namespaces",
            ingress(
                "  - from: [{namespaceSelector: {matchLabels: {team: b}}}]\n    ports: [{port: 8080}]\n\
             \x20 - from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}]\n\
             \x20 - from: [{namespaceSelector: {matchLabels: {team: c}}, podSelector: {matchLabels: {app: web}}}]\n",
            ),
        ),
        (
            "blocks",
            ingress(
                "  - from: [{ipBlock: {cidr: 10.1.0.0/24, except: [10.1.0.4/30, 10.1.0.1/32]}}]\n    ports: [{port: 8080}]\n\
             \x20 - from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: \"::/0\", except: [\"fd00::/8\"]}}]\n    ports: [{port: 8081}]\n\
             \x20 - from: [{ipBlock: {cidr: 192.168.0.0/24}}]\n    ports: [{port: 8082}]\n",
            ),
        ),
        (
            "many",
            ingress(
                "  - from: [{podSelector: {matchLabels: {app: a}}}]\n    ports: [{port: 1}]\n\
             \x20 - from: [{podSelector: {matchLabels: {app: b}}}]\n\
             \x20 - from: [{ipBlock: {cidr: 203.0.113.0/24}}]\n\
             \x20 - from: [{podSelector: {matchLabels: {app: web}}}]\n    ports: [{port: 2}, {port: 3, protocol: SCTP}]\n\
             \x20 - ports: [{port: 4}]\n",
            ),
        ),
        (
            "three",
            ingress("  - ports: [{port: 1}]\n  - ports: [{port: 2}]\n  - ports: [{port: 3}]\n"),
        ),
        (
            "twice",
            ingress(
                "  - from: [{podSelector: {matchLabels: {app: web}}}]\n  - ports: [{port: 8080}]\n",
            ),
        ),
        (
            "canary",
            ingress("  - from: [{podSelector: {matchLabels: {app: web, release: canary}}}]\n"),
        ),
        (
            "clients",
            format!(
                "{}{}{}",
                policy(
                    "web",
                    "web",
                    "  policyTypes: [Egress]\n  egress:\n  - to: [{podSelector: {matchLabels: {app: db}}}]\n    ports: [{port: 8080}]\n"
                ),
                policy("web-too", "web", "  policyTypes: [Egress]\n"),
                policy(
                    "allow-api-ingress-8080",
                    "api",
                    "  policyTypes: [Ingress]\n"
                )
            ),
        ),
        ("split", "---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: b, namespace: shop}, spec: {podSelector: {matchLabels: {app: web}, matchExpressions: [{key: release, operator: DoesNotExist}]}, policyTypes: [Egress]}}\n\
             ---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a, namespace: shop}, spec: {podSelector: {matchLabels: {release: canary}}, policyTypes: [Egress]}}\n".to_owned()),
        ("second", format!(
            "{}{}",
            policy("a", "api", "  policyTypes: [Ingress]\n"),
            policy("b", "api", "  ingress:\n  - from: [{podSelector: {matchLabels: {app: db}}}]\n    ports: [{port: 8080}]\n"))),
        ("all", "---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: all, namespace: shop}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}\n\
             ---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: allow-web-egress-8080, namespace: shop}, spec: {podSelector: {matchLabels: {app: db}}}}\n".to_owned()),
        (
            "wide",
            ingress(
                "  - from: [{podSelector: {}}, {namespaceSelector: {}}]\n    ports: [{port: 80}]\n",
            ),
        ),
    ]
}

/// Under which policies, from where to where on which port, and how plugins read.
const ASKED: &[(&str, &str)] = &[
    ("nothing", "shop/web shop/api 8080"),
    ("nothing", "shop/db shop/api 8080"),
    ("nothing", "ops/six shop/api 8080"),
    ("nothing", "node/one shop/api 8080"),
    ("nothing", "shop/api node/one 8080"),
    ("nothing", "ops/agent shop/api 8080"),
    ("deny", "ops/agent shop/api 8080"),
    ("deny", "ops/agent shop/api 8080 --host-network pod"),
    ("deny", "ops/late shop/api 8080"),
    ("deny", "shop/api ops/late 8080"),
    ("deny", "shop/web shop/api 8080"),
    ("deny", "shop/Pod/web-3 shop/Pod/api-1 8080/UDP"),
    ("deny", "10.1.0.3 10.1.1.1 8080"),
    ("deny", "shop/api shop/api 8080"),
    ("deny", "shop/Pod/api-1 shop/Pod/api-1 8080"),
    ("deny", "shop/Pod/api-1 shop/Pod/api-1 8080 --own-node both"),
    ("deny", "node/one shop/api 8080"),
    ("deny", "shop/api node/two 8080"),
    ("deny", "shop/api node/two 8080 --own-node both"),
    ("deny", "192.168.0.2 shop/api 8080"),
    ("deny", "203.0.113.9 shop/Service/api 80"),
    ("deny", "shop/api 203.0.113.9 443"),
    ("deny", "ops/six shop/api 8080"),
    ("deny", "ops/Bare.pod shop/api 8080"),
    ("deny", "shop/api ops/Bare.pod 8080"),
    ("deny", "shop/db shop/api 8080"),
    ("deny", "shop/api shop/db 5432"),
    ("port", "shop/web shop/api 8080"),
    ("port", "shop/web shop/api 96"),
    ("port", "shop/web shop/api 95"),
    ("udp", "shop/web shop/api 8080"),
    ("named", "shop/web shop/api 8080"),
    ("named", "shop/web shop/Pod/api-1 9090"),
    ("named", "shop/web shop/api 53/UDP"),
    ("named", "shop/web shop/Pod/api-1 53/UDP"),
    ("labels", "shop/web shop/api 8080"),
    ("labels", "shop/web shop/api 8081"),
    ("expressions", "shop/Pod/web-1 shop/api 8080"),
    ("expressions", "shop/web shop/api 8080"),
    ("expressions", "shop/api shop/api 8080"),
    ("namespaces", "shop/web shop/api 8080"),
    ("namespaces", "ops/six shop/api 8080"),
    ("namespaces", "ops/Bare.pod shop/api 8080"),
    ("namespaces", "ops/Bare.pod shop/api 8081"),
    ("namespaces", "203.0.113.9 shop/api 8080"),
    ("namespaces", "node/one shop/api 8081"),
    ("labels", "ops/Bare.pod shop/api 8080"),
    ("blocks", "shop/web shop/api 8080"),
    ("blocks", "shop/web shop/api 8080 --ip-block no-pods"),
    ("blocks", "shop/web shop/api 8081"),
    ("blocks", "shop/db shop/api 8080"),
    ("blocks", "shop/db shop/api 8081"),
    ("blocks", "ops/late shop/api 8080"),
    ("blocks", "ops/late shop/api 8082"),
    ("blocks", "ops/agent shop/api 8082"),
    ("blocks", "ops/agent shop/api 8083"),
    ("many", "shop/web shop/api 8080"),
    ("many", "203.0.113.9 shop/api 4"),
    ("three", "shop/web shop/api 8080"),
    ("twice", "shop/web shop/api 8080"),
    ("canary", "shop/web shop/api 8080"),
    ("clients", "shop/web shop/api 8080"),
    ("clients", "shop/web shop/db 8080"),
    ("clients", "shop/web 203.0.113.9 443"),
    ("clients", "shop/web ops/six 443"),
    ("wide", "shop/web shop/api 8080"),
    ("split", "shop/web shop/api 8080"),
    ("split", "shop/Pod/web-7 shop/api 8080"),
    ("second", "shop/web shop/api 8080"),
    ("all", "shop/web shop/api 8080"),
    ("all", "shop/Odd.one shop/api 8080"),
    ("all", "shop/Odd.one shop/Odd.one 8080"),
    ("all", "shop/twin-a shop/Odd.one 8080"),
    ("all", "shop/same-a shop/twin-a 8080"),
    ("all", "node/one shop/web 8080"),
    ("deny", "shop/twin-a shop/api 8080"),
    ("deny", "shop/same-a shop/api 8080"),
    ("nothing", "shop/absent shop/api 80"),
    ("nothing", "shop/Deployment/web shop/api 80"),
    ("nothing", "ops/web shop/api 80"),
    ("nothing", "nowhere/x shop/api 80"),
    ("nothing", "node/nine shop/api 80"),
    ("nothing", "nonsense shop/api 80"),
    ("nothing", "shop/web shop/none 80"),
    ("nothing", "shop/web shop/nobody 80"),
    ("nothing", "shop/web shop/Service/api 81"),
    ("nothing", "ops/Pod/six ops/Pod/nobody 81"),
    ("nothing", "kube-apiserver shop/api 80"),
];

#[test]
fn answers_are_as_they_were() {
    let case = Case::shop();
    let webs: String = (1..=7).map(web).collect();
    case.file("cluster.yaml", &format!("{CLUSTER}{webs}"));
    for (name, text) in policies() {
        case.file(&format!("{name}.yaml"), &text);
    }
    let mut all = String::new();
    for (under, asked) in ASKED {
        let file = format!("{under}.yaml");
        let mut arguments = vec!["explain", "-i", "cluster.yaml", "-p", &file];
        arguments.extend(asked.split(' '));
        let (code, stdout, stderr) = case.run(&arguments);
        let _ = write!(
            all,
            "# {asked} under {under}: exit code {code}\n{stderr}{stdout}\n"
        );
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/explain.txt");
    expect_file![golden].assert_eq(&all);
}
