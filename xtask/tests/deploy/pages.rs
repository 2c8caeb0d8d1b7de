//! The page on operations says what to do about every alert, and what every metric of the aggregator tells.

use std::collections::BTreeSet;
use std::fs;

use netpol_agent::aggregator::METRICS;
use netpol_agent::metrics::documentation;
use xtask::workspace;

use super::{document, documents, everything, rendered};

fn operations() -> String {
    let path = workspace().join("deploy/OPERATIONS.md");
    fs::read_to_string(path).expect("the page on operations")
}

#[test]
fn every_alert_has_its_section() {
    let objects = documents(&rendered(everything));
    let rules = document(&objects, "PrometheusRule", "netpol");
    let groups = rules["spec"]["groups"].as_array().expect("groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
    let names = rules.filter_map(|rule| rule["alert"].as_str().map(str::to_owned));
    let alerts: BTreeSet<String> = names.collect();
    let page = operations();
    let titles = page.lines().filter_map(|line| line.strip_prefix("### "));
    let sections: BTreeSet<String> = titles.map(str::to_owned).collect();
    assert_eq!(sections, alerts);
    let chart = fs::read_to_string(workspace().join("deploy/chart/README.md"));
    let chart = chart.expect("the chart's README");
    for alert in alerts {
        assert!(chart.contains(&format!("| `{alert}` |")), "{alert}");
    }
}

#[test]
fn every_metric_of_the_aggregator_is_documented() {
    let table = documentation(METRICS);
    assert!(
        operations().contains(&table),
        "this is not in deploy/OPERATIONS.md:\n{table}"
    );
}
