//! Whatever policies an inventory holds, they are judged without a panic: validated, compiled, and listed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_agent::inventory;
use netpol_agent::policy::connectivity::connectivity;
use netpol_agent::policy::evaluate::{Reading, World};
use netpol_agent::policy::validate::validate;

/// Two workloads that policies may be about.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: default, labels: {app: a}}
spec: {nodeName: one, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: default, labels: {app: b}}
spec: {nodeName: two, containers: [{name: c}]}
status: {podIP: 10.0.0.2}
---
"#;

fuzz_target!(|text: &str| {
    let Ok(inventory) = inventory::parse("input", &format!("{PODS}{text}")) else {
        return;
    };
    let world = World::of(&inventory.index());
    let policies: Vec<_> = inventory.policies.into_iter().map(|one| one.policy).collect();
    let valid: Vec<_> = policies.into_iter().filter(|policy| validate(policy).is_empty()).collect();
    let _ = connectivity(&world, &valid, Reading::default());
});
