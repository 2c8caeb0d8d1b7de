//! Policies that the API server of Kubernetes 1.36.2 judged (`dryRun=All`), each as it answered: taken, or rejected and
//! for which field first.

use netpol_agent::inventory::{self, Inventory};
use serde_json::Value;

/// Rejected from 1.36 on only; clusters hold such policies, so they are taken here, with a remark.
const BEFORE_1_36: [&str; 3] = ["cidr host bits", "cidr v6 host bits", "except host bits"];

struct Case {
    name: String,
    taken: bool,
    /// The field that is named first; of what does not decode, none.
    field: Option<String>,
    object: String,
}

fn cases() -> Vec<Case> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).expect("a line of JSON");
        Case {
            name: text(&case["case"]).expect("a name"),
            taken: case["taken"].as_bool().expect("true or false"),
            field: text(&case["field"]),
            object: case["object"].to_string(),
        }
    };
    let lines = include_str!("api_server.jsonl").lines();
    lines.map(case).collect()
}

/// No verdict depends on the name of a policy, and manifests are judged that were never applied: a name that the API
/// server would not take is remarked on only.
fn is_remarked_on(read: &Inventory, field: Option<&str>) -> bool {
    let mut warnings = read.warnings.iter();
    field == Some("metadata.name") && warnings.any(|warning| warning.contains("metadata.name: "))
}

#[test]
fn what_the_api_server_takes_is_taken_and_what_it_rejects_is_rejected_for_the_same_field() {
    let mut differing = Vec::new();
    for Case {
        name,
        taken,
        field,
        object,
    } in cases()
    {
        let read = inventory::parse("p.json", &object);
        let taken = taken || BEFORE_1_36.contains(&name.as_str());
        let fitting = match &read {
            Ok(read) => taken || is_remarked_on(read, field.as_deref()),
            Err(error) => {
                let named =
                    field.is_none_or(|field| error.to_string().contains(&format!("{field}: ")));
                !taken && named
            }
        };
        if !fitting {
            differing.push(format!("{name}: {:?}", read.map(|_| "taken")));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn blocks_with_bits_beyond_their_prefix_are_taken_with_a_remark() {
    let mut cases = cases();
    cases.retain(|case| BEFORE_1_36.contains(&case.name.as_str()));
    assert_eq!(cases.len(), BEFORE_1_36.len());
    for Case { name, object, .. } in cases {
        let read = inventory::parse("p.json", &object).unwrap();
        assert!(read.warnings[0].contains("beyond its prefix"), "{name}");
        let kept = serde_json::to_string(&read.policies[0].policy).unwrap();
        assert!(
            !kept.contains(".1/") && !kept.contains(":1/"),
            "{name}: {kept}"
        );
    }
}
