//! Alerts and the dashboard name only metrics, and labels of metrics, that the programs tell.

use std::collections::BTreeSet;
use std::fs;

use netpol_agent::aggregator::METRICS;
use serde_json::Value;
use xtask::workspace;

use super::{document, documents, everything, rendered};

/// A metric, and the labels that it has.
#[derive(Debug)]
struct Told {
    name: String,
    labels: Vec<String>,
}

/// The metrics of both programs.
fn told() -> Vec<Told> {
    let mut told: Vec<Told> = METRICS
        .iter()
        .map(|metric| Told {
            name: metric.name.to_owned(),
            labels: metric
                .labels
                .iter()
                .map(|&label| label.to_owned())
                .collect(),
        })
        .collect();
    told.extend(of_agent());
    told
}

/// The agent's table, read from its source: the module is built only with the kernel program, which this test is not.
fn of_agent() -> Vec<Told> {
    let path = workspace().join("netpol-agent/src/node/metrics.rs");
    let source = fs::read_to_string(path).expect("the agent's table of metrics");
    let table = source.split("pub const METRICS").nth(1).expect("the table");
    let table = table.split("];\n").next().expect("its end");
    let rows: Vec<Told> = table
        .split("\"netpol_")
        .skip(1)
        .map(|row| {
            let mut words = row.split('"');
            let name = format!("netpol_{}", words.next().expect("a name"));
            let labels = row
                .split("&[")
                .nth(1)
                .and_then(|rest| rest.split(']').next());
            let labels = labels.expect("labels").split('"').skip(1).step_by(2);
            Told {
                name,
                labels: labels.map(str::to_owned).collect(),
            }
        })
        .collect();
    assert!(rows.len() > 10, "the table is written otherwise: {rows:?}");
    rows
}

/// The words of a query that look like metrics of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("netpol_"))
        .map(str::to_owned)
        .collect()
}

/// Every query of the alerts and of the dashboard.
fn queries() -> Vec<String> {
    let objects = documents(&rendered(everything));
    let rules = document(&objects, "PrometheusRule", "netpol");
    let dashboard = document(&objects, "ConfigMap", "netpol-dashboard");
    let dashboard = dashboard["data"]["netpol.json"]
        .as_str()
        .expect("a dashboard");
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let mut queries = Vec::new();
    for value in [&rules, &dashboard] {
        collect(value, &mut queries);
    }
    queries
}

/// The texts of every field named `expr`.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "expr" => found.push(text.to_owned()),
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// The labels that a query groups by or selects on.
fn labels(query: &str) -> BTreeSet<String> {
    let grouped = query
        .split("by (")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let selected = query
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    let grouped = grouped.flat_map(|names| names.split(','));
    let selected = selected
        .flat_map(|pairs| pairs.split(','))
        .filter_map(|pair| pair.split(['=', '!']).next());
    grouped
        .chain(selected)
        .map(|name| name.trim().to_owned())
        .collect()
}

#[test]
fn queries_name_only_what_the_programs_tell() {
    let queries = queries();
    assert!(
        queries.len() > 15,
        "the queries are somewhere else: {queries:?}"
    );
    let told = told();
    for query in &queries {
        let metrics = named(query);
        assert!(!metrics.is_empty(), "{query} asks for nothing of ours");
        let mut known = BTreeSet::from(["instance", "pod"]);
        for metric in metrics {
            let found = told.iter().find(|told| told.name == metric);
            let found = found.unwrap_or_else(|| panic!("{query}: nothing tells {metric}"));
            known.extend(found.labels.iter().map(String::as_str));
        }
        for label in labels(query) {
            assert!(known.contains(label.as_str()), "{query}: no label {label}");
        }
    }
}

#[test]
fn counters_are_asked_for_their_growth_only() {
    for query in queries() {
        for metric in named(&query) {
            if metric.ends_with("_total") {
                let grows = query.contains(&format!("rate({metric}"))
                    || query.contains(&format!("increase({metric}"));
                assert!(grows, "{query}");
            }
        }
    }
}

#[test]
fn alerts_about_the_aggregator_not_being_there_do_not_need_it_to_be_there() {
    let all = queries().into_iter();
    let queries: Vec<String> = all.filter(|query| query.ends_with("== 0")).collect();
    let own = queries
        .iter()
        .filter(|query| query.contains("netpol_aggregator_"));
    assert_eq!(own.clone().count(), 2, "{queries:?}");
    for query in own {
        // Without series, `sum(...) == 0` is empty, and an alert that is empty does not fire.
        for metric in named(query) {
            let absent = format!("absent({metric}) or ");
            assert!(query.starts_with(&absent), "{query}");
        }
    }
}
