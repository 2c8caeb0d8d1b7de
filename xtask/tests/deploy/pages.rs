//! The page on operations says what to do about every alert, and what every metric of the aggregator tells.

use std::collections::BTreeSet;
use std::fs;

use netpol_agent::aggregator::METRICS;
use netpol_agent::metrics::documentation;
use xtask::workspace;

use super::{document, documents, everything, rendered};

fn operations() -> String {
    page("deploy/OPERATIONS.md")
}

fn page(path: &str) -> String {
    let text = fs::read_to_string(workspace().join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands in a text in place of something that is still to be written: capitals between two `@`.
fn placeholder(text: &str) -> Option<&str> {
    let capitals = |part: &&str| {
        let all = part.bytes().all(|byte| byte.is_ascii_uppercase());
        all && !part.is_empty()
    };
    let parts: Vec<&str> = text.split('@').collect();
    let within = parts.get(1..parts.len() - 1).unwrap_or_default();
    within.iter().copied().find(capitals)
}

#[test]
fn no_page_holds_a_place_for_something_that_is_still_to_be_written() {
    assert_eq!(placeholder("a\n@SIZING@\nb"), Some("SIZING"));
    assert_eq!(placeholder("USER@HOST, a@b.example, @@, @A1@"), None);
    for path in [
        "deploy/OPERATIONS.md",
        "deploy/SECURITY.md",
        "deploy/chart/README.md",
        "README.md",
        "ARCHITECTURE.md",
    ] {
        assert_eq!(placeholder(&page(path)), None, "{path}");
    }
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
