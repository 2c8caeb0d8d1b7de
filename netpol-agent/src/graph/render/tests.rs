//! Names that could break out of their quotes.

use expect_test::expect;
use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::{dot, html, mermaid, svg, text};
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
        edges: [(id.into(), evidence)].into(),
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

#[test]
fn svg_names_stay_text() {
    let drawing = svg(&hostile());
    assert!(drawing.contains("Pod/a&quot;]; x --&gt; y\u{fffd}#35;&lt;b&gt;\\\u{fffd}[31m"));
    assert!(!drawing.contains("<b>") && !drawing.contains('\u{1b}'));
}

#[test]
fn a_page_runs_no_script_but_its_own() {
    let mut graph = hostile();
    let script = "</script><script>alert(1)</script><img src=x onerror='alert(1)'>";
    let (id, evidence) = graph.edges.pop_first().unwrap();
    let mut id = EdgeId::clone(&id);
    id.server = Peer::Node(script.to_owned());
    graph.edges.insert(id.into(), evidence);
    let page = html(&graph);
    assert_eq!(page.matches("<script>").count(), 1);
    assert_eq!(page.matches("</script>").count(), 1);
    assert!(!page.contains("<img"));
    let policy = "script-src 'sha256-";
    assert_eq!(page.matches(policy).count(), 1);
}

#[test]
fn drawings_name_no_other_place() {
    let namespace = "xmlns=\"http://www.w3.org/2000/svg\"";
    for text in [svg(&hostile()), html(&hostile())] {
        let text = text.replace(namespace, "");
        let places = ["http:", "https:", "//", "@import", "src=", "href="];
        let found: Vec<_> = places
            .iter()
            .filter(|place| text.contains(**place))
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }
}
