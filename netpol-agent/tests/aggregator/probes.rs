//! Metrics and probes.

use expect_test::expect_file;
use netpol_agent::aggregator::METRICS;
use netpol_agent::metrics::{Kind, documentation};

use crate::rig::{Rig, good};

#[tokio::test]
async fn what_is_scraped_is_what_is_listed() {
    let rig = Rig::start().await;
    rig.deliver("one", &good(1)).await;
    let (status, text) = rig.probe("metrics").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        let counter = format!("{name}_total");
        let listed = METRICS.iter().any(|metric| match metric.kind {
            Kind::Counter => metric.name == counter,
            Kind::Gauge => metric.name == name,
        });
        assert!(listed, "{name} is not listed");
    }
    for kind in ["Pod", "Node", "Namespace"] {
        let name = format!("netpol_aggregator_index_objects{{kind=\"{kind}\"}}");
        assert!(rig.metric(&name).await >= 2.0, "{kind}");
    }
}

#[test]
fn names_keep_to_the_conventions() {
    for metric in METRICS {
        let name = metric.name;
        assert!(name.starts_with("netpol_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{name}"
        );
        assert!(!metric.help.ends_with('.'), "{name}");
    }
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METRICS.len());
}

#[test]
fn every_metric_is_documented() {
    expect_file!["../golden/metrics.md"].assert_eq(&documentation(METRICS));
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let rig = Rig::start().await;
    assert_eq!(rig.probe("healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(rig.probe("readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(rig.probe("nothing").await.0, 404);
    assert_eq!(rig.metric("netpol_aggregator_ready").await, 1.0);
}
