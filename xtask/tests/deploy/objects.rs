//! Every object is one that Kubernetes knows, with fields that it knows, and is as safe as it is said to be.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{document, documents, everything, rendered};

/// Kinds of operators, whose types are not at hand.
const OF_OPERATORS: &[&str] = &[
    "Certificate",
    "Issuer",
    "PodMonitor",
    "PrometheusRule",
    "ServiceMonitor",
];

/// What is left of an object when only known fields are read, compared with all of it.
fn same<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let mut known = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    let mut object = object.clone();
    without_empty(&mut known);
    without_empty(&mut object);
    if known == object {
        Ok(())
    } else {
        Err(format!("unknown fields:\n{object:#}\nagainst\n{known:#}"))
    }
}

/// Takes away nulls, which the types leave out.
fn without_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty),
        _ => {}
    }
}

fn check(object: &Value) -> Result<(), String> {
    match object["kind"].as_str().unwrap_or_default() {
        "ClusterRole" => same::<ClusterRole>(object),
        "ClusterRoleBinding" => same::<ClusterRoleBinding>(object),
        "ConfigMap" => same::<ConfigMap>(object),
        "CustomResourceDefinition" => same::<CustomResourceDefinition>(object),
        "DaemonSet" => same::<DaemonSet>(object),
        "Deployment" => same::<Deployment>(object),
        "Job" => same::<Job>(object),
        "Namespace" => same::<Namespace>(object),
        "NetworkPolicy" => same::<NetworkPolicy>(object),
        "PersistentVolumeClaim" => same::<PersistentVolumeClaim>(object),
        "PodDisruptionBudget" => same::<PodDisruptionBudget>(object),
        "Role" => same::<Role>(object),
        "RoleBinding" => same::<RoleBinding>(object),
        "Service" => same::<Service>(object),
        "ServiceAccount" => same::<ServiceAccount>(object),
        kind if OF_OPERATORS.contains(&kind) => Ok(()),
        kind => Err(format!("no test knows the kind {kind:?}")),
    }
}

#[test]
fn every_field_is_one_that_kubernetes_knows() {
    for objects in [rendered(|_| ()), rendered(everything)] {
        for object in documents(&objects) {
            check(&object).unwrap_or_else(|error| {
                panic!("{} {}: {error}", object["kind"], object["metadata"]["name"])
            });
        }
    }
    let mut wrong = document(
        &documents(&rendered(|_| ())),
        "Service",
        "netpol-aggregator",
    );
    wrong["spec"]["selectors"] = json!({"a": "b"});
    assert!(check(&wrong).is_err(), "the test itself must notice");
}

#[test]
fn the_agent_is_not_privileged_and_holds_three_capabilities() {
    let container = |perfmon: bool| {
        let objects = rendered(|values| values["agent"]["perfmon"] = perfmon.into());
        let agent = document(&documents(&objects), "DaemonSet", "netpol-agent");
        agent["spec"]["template"]["spec"]["containers"][0]["securityContext"].clone()
    };
    let expected = json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsUser": 0,
        "runAsGroup": 0,
        "capabilities": {"drop": ["ALL"], "add": ["BPF", "NET_ADMIN", "PERFMON"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(container(true), expected);
    assert_eq!(
        container(false)["capabilities"]["add"],
        json!(["BPF", "NET_ADMIN"])
    );
}

#[test]
fn the_aggregator_has_no_rights_on_its_node() {
    let aggregator = document(
        &documents(&rendered(|_| ())),
        "Deployment",
        "netpol-aggregator",
    );
    let pod = &aggregator["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(host).is_none(), "{host}");
    }
    let volumes = pod["volumes"].as_array().expect("volumes");
    assert!(
        volumes
            .iter()
            .all(|volume| volume.get("hostPath").is_none())
    );
}

#[test]
fn with_a_database_of_its_own_there_is_one_aggregator_at_a_time() {
    let strategy = |objects: Vec<_>| {
        let objects = documents(&objects);
        let aggregator = document(&objects, "Deployment", "netpol-aggregator");
        let claims = objects
            .iter()
            .filter(|object| object["kind"] == "PersistentVolumeClaim")
            .count();
        (aggregator["spec"]["strategy"]["type"].clone(), claims)
    };
    assert_eq!(strategy(rendered(|_| ())), (json!("Recreate"), 1));
    assert_eq!(strategy(rendered(everything)), (json!("RollingUpdate"), 0));
}

#[test]
fn the_authority_of_the_database_is_mounted_without_what_is_beside_it() {
    let objects = documents(&rendered(everything));
    let aggregator = document(&objects, "Deployment", "netpol-aggregator");
    let pod = &aggregator["spec"]["template"]["spec"];
    let named = |list: &Value, name: &str| -> Value {
        let list = list.as_array().expect("a list");
        let found = list.iter().find(|item| item["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let container = &pod["containers"][0];
    let path = named(&container["env"], "NETPOL_POSTGRES_CA")["value"].clone();
    let mount = named(&container["volumeMounts"], "postgresql");
    let volume = named(&pod["volumes"], "postgresql");
    let file = format!("{}/ca.crt", mount["mountPath"].as_str().expect("a path"));
    assert_eq!(path, json!(file));
    // Through a subPath a renewed one would never come.
    assert_eq!(
        (&mount["readOnly"], &mount["subPath"]),
        (&json!(true), &Value::Null)
    );
    let secret = json!({"secretName": "authority", "items": [{"key": "ca.crt", "path": "ca.crt"}]});
    assert_eq!(volume["secret"], secret);

    let without = documents(&rendered(|values| {
        values["aggregator"]["postgresql"]["caSecretName"] = "authority".into();
    }));
    let aggregator = document(&without, "Deployment", "netpol-aggregator");
    assert!(
        !aggregator.to_string().contains("authority"),
        "there is no database"
    );
}
