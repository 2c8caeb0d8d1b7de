//! Names that could break out of their quotes.

use expect_test::expect;
use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::{dot, mermaid, text};
use crate::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use crate::identity::{EdgeId, Peer};

fn hostile() -> FlowGraph {
    let name = "a\"]; x --> y\n#35;<b>\\\u{1b}[31m";
    let seen = ViewEvidence {
        counts: Counts {
            established: 1,
            ..Counts::default()
        },
        first_seen: Some(Timestamp::UNIX_EPOCH),
        ..ViewEvidence::default()
    };
    let id = EdgeId {
        client: Peer::Workload(WorkloadName::new("n\"s", "Pod", name)),
        server: Peer::Node(name.to_owned()),
        protocol: Protocol::Tcp,
        port: 80,
    };
    let evidence = Evidence {
        client: Some(seen),
        ..Evidence::default()
    };
    FlowGraph {
        edges: [(id, evidence)].into(),
        ..FlowGraph::default()
    }
}

#[test]
fn mermaid_names_stay_within_their_quotes() {
    expect![[r#"
        flowchart LR
          p0["node a#34;#93;#59; x --#62; y�#35;35#59;#60;b#62;#92;�#91;31m"]
          subgraph g1["n#34;s"]
            p1["Pod/a#34;#93;#59; x --#62; y�#35;35#59;#60;b#62;#92;�#91;31m"]
          end
          p1 -->|"80/TCP"| p0
    "#]]
    .assert_eq(&mermaid(&hostile()));
}

#[test]
fn dot_names_stay_within_their_quotes() {
    expect![[r#"
        digraph flows {
          rankdir=LR;
          node [shape=box];
          p0 [label="node a\"]; x --> y�#35;<b>\\�[31m"];
          subgraph cluster_1 {
            label="n\"s";
            p1 [label="Pod/a\"]; x --> y�#35;<b>\\�[31m"];
          }
          p1 -> p0 [label="80/TCP", style=solid];
        }
    "#]]
    .assert_eq(&dot(&hostile()));
}

#[test]
fn a_terminal_obeys_no_name() {
    assert!(!text(&hostile(), false).contains('\u{1b}'));
    assert_eq!(text(&hostile(), false).lines().count(), 3);
    assert!(text(&hostile(), true).contains("\u{1b}[32m-> "));
}
