//! The custom resource `LearnedPolicy`: its definition, and what people may write into it.

use expect_test::expect_file;
use jiff::Timestamp;
use netpol_agent::crd::{
    self, Condition, ConditionStatus, ConditionType, Frozen, LearnedPolicy, LearnedPolicyStatus,
    Mode, OptionsSpec, limits,
};
use netpol_agent::policy::Options;
use netpol_agent::policy::options::{Dns, Nodes};
use serde_json::{Value, json};

#[test]
fn no_name_of_ours_hides_one_of_kubernetes() {
    // `kubectl get netpol` lists NetworkPolicies.
    let names = netpol_agent::crd::definition().spec.names;
    let own = names.short_names.into_iter().chain(names.categories);
    let own: Vec<String> = own.flatten().chain(names.singular).collect();
    assert_eq!(own, ["lp", "learnedpolicy"]);
}

#[test]
fn the_definition_is_as_it_was_reviewed() {
    expect_file!["learnedpolicies.yaml"].assert_eq(&crd::yaml());
}

/// A default would make the API server write into a `spec` that belongs to people.
#[test]
fn nothing_is_bounded_less_than_the_limits_say_and_nothing_has_a_default() {
    let definition = json!(crd::definition());
    let mut lists = 0;
    each(&definition, "", &mut |path, schema| {
        assert!(schema.get("default").is_none(), "{path}");
        match schema["type"].as_str() {
            Some("array") => {
                lists += 1;
                assert!(schema["maxItems"].is_u64(), "{path} has no bound");
            }
            Some("string") => {
                let bounded = ["maxLength", "enum", "format"];
                let bounded = bounded.iter().any(|word| schema.get(*word).is_some());
                assert!(bounded, "{path} has no bound");
            }
            _ => {}
        }
    });
    assert!(lists > 20, "{lists} lists");
}

fn each(value: &Value, path: &str, seen: &mut impl FnMut(&str, &Value)) {
    if path.contains("openAPIV3Schema") && value["type"].is_string() {
        seen(path, value);
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                each(field, &format!("{path}/{name}"), seen);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                each(item, &format!("{path}/{number}"), seen);
            }
        }
        _ => {}
    }
}

#[test]
fn an_object_without_a_spec_stays_without_one() {
    let bare = json!({
        "apiVersion": "netpol.io/v1alpha1", "kind": "LearnedPolicy",
        "metadata": {"name": "web-deployment", "namespace": "shop"},
    });
    let read: LearnedPolicy = serde_json::from_value(bare.clone()).unwrap();
    assert_eq!(read.spec.spec, None);
    assert_eq!(json!(read), bare);
    assert_eq!(json!(LearnedPolicy::named("shop", "web-deployment")), bare);
}

#[test]
fn a_status_is_read_as_it_was_written() {
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let status = LearnedPolicyStatus {
        mode: Some(Mode::Audit),
        frozen: Some(Frozen {
            at,
            ingress: vec!["shop/Deployment/web -> shop/Deployment/api 8080/TCP".to_owned()],
            egress: Vec::new(),
        }),
        conditions: vec![Condition {
            kind: ConditionType::Frozen,
            status: ConditionStatus::True,
            reason: "Audit".to_owned(),
            message: String::new(),
            last_transition_time: at,
        }],
        ..LearnedPolicyStatus::default()
    };
    let written = json!(status);
    assert_eq!(written["mode"], "audit");
    assert_eq!(written["conditions"][0]["type"], "Frozen");
    assert_eq!(written["frozen"]["at"], "2026-01-02T03:04:05Z");
    let read: LearnedPolicyStatus = serde_json::from_value(written).unwrap();
    assert_eq!(read, status);
    assert!(read.holds(ConditionType::Frozen) && !read.holds(ConditionType::Applied));
}

#[test]
fn options_take_the_place_of_those_one_level_up() {
    let spec: OptionsSpec = serde_json::from_value(json!({
        "dns": "always", "externalAddresses": 5, "blocks": 3, "nodes": "given", "nodeBlocks": ["10.0.0.0/24"],
        "cidrGroups": {"partner": ["203.0.113.0/24"]}, "cni": "cilium=1.15",
    }))
    .unwrap();
    let base = Options {
        one_way: netpol_agent::policy::OneWay::Never,
        ..Options::default()
    };
    let all = spec.over(&base).unwrap();
    assert_eq!((all.dns, all.one_way), (Dns::Always, base.one_way));
    assert_eq!((all.external_addresses, all.budget.blocks), (5, 3));
    assert_eq!(all.budget.beyond, base.budget.beyond);
    assert_eq!(
        all.nodes,
        Nodes::Given(["10.0.0.0/24".parse().unwrap()].into())
    );
    assert_eq!(all.cidr_groups["partner"].len(), 1);
    assert_eq!(all.cni.to_string(), "cilium=1.15");
    assert_eq!(OptionsSpec::default().over(&base).unwrap(), base);
}

#[test]
fn an_option_that_means_nothing_is_named() {
    let cases = [
        (
            json!({"clusterRanges": ["10.0.0.1/24"]}),
            "clusterRanges: \"10.0.0.1/24\" is no block",
        ),
        (
            json!({"cidrGroups": {"a": ["x"]}}),
            "cidrGroups: \"x\" is no block",
        ),
        (json!({"nodes": "given"}), "nodeBlocks is empty"),
        (
            json!({"cni": "flannel"}),
            "cni: \"flannel\" is no network plugin",
        ),
    ];
    for (text, expected) in cases {
        let spec: OptionsSpec = serde_json::from_value(text).unwrap();
        let error = spec.over(&Options::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(serde_json::from_value::<OptionsSpec>(json!({"dsn": "always"})).is_err());
}

/// As many frozen edges, violations and approvals as the schema lets in, each of usual length, fit into an object.
#[test]
fn the_limits_keep_an_object_storable() {
    let usual =
        "namespace-one/Deployment/some-client -> namespace-two/Deployment/some-server 8080/TCP"
            .len()
            + 3;
    let frozen = 2 * limits::FROZEN as usize * usual;
    assert!(frozen < limits::BYTES, "{frozen}");
    assert!(
        limits::BYTES + (limits::DECISIONS + limits::VIOLATIONS) as usize * 3 * usual < 3 << 19
    );
}
