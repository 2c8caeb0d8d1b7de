//! How netpol itself is, as the aggregator tells it at `/v1/status`.
//!
//! Fields are only ever added: an older reader ignores those that it does not know, and a newer one takes the default of
//! those that are not there.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long an agent may be silent before it counts as not working.
pub const SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// The aggregator and its agents.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Overview {
    /// The aggregator's version.
    pub version: String,
    /// The time at which this held.
    pub time: Option<Timestamp>,
    /// Whether the replica that answers leads, and so writes to the Kubernetes API.
    pub leader: bool,
    /// Since when the index of the cluster has been whole.
    pub whole_since: Option<Timestamp>,
    /// Edges of the flow graph.
    pub edges: u64,
    /// Flows of which an end cannot be told.
    pub unresolved: u64,
    /// One for each node that was ever heard of and is there still.
    pub agents: Vec<Agent>,
    /// Nodes from which no agent was heard.
    pub unobserved_nodes: Vec<String>,
}

/// What is known of a node's agent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Agent {
    /// Its node.
    pub node: String,
    /// Its version, if it told.
    pub version: Option<String>,
    /// When it last told something.
    pub last_heard: Option<Timestamp>,
    /// Edges that it lost since its counts began.
    pub lost_edges: u64,
}

impl Overview {
    /// The agents that were silent for too long.
    pub fn silent(&self) -> impl Iterator<Item = &Agent> {
        let since = self.time.and_then(|time| time.checked_sub(SILENCE).ok());
        self.agents.iter().filter(move |agent| {
            let heard = agent.last_heard;
            since.is_some_and(|since| heard.is_none_or(|heard| heard < since))
        })
    }

    /// Edges that all agents lost.
    #[must_use]
    pub fn lost_edges(&self) -> u64 {
        self.agents.iter().map(|agent| agent.lost_edges).sum()
    }

    /// How it is, in a few sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let silent: Vec<&str> = self.silent().map(|agent| agent.node.as_str()).collect();
        let mut said = vec![format!(
            "netpol {}: {} agents, {} edges",
            self.version,
            self.agents.len(),
            self.edges
        )];
        if !silent.is_empty() {
            let minutes = SILENCE.as_mins();
            said.push(format!(
                "silent for more than {minutes} min: {}",
                named(&silent)
            ));
        }
        let unobserved: Vec<&str> = self.unobserved_nodes.iter().map(String::as_str).collect();
        if !unobserved.is_empty() {
            said.push(format!("nodes without an agent: {}", named(&unobserved)));
        }
        said.push(match self.lost_edges() {
            0 => "no edge was lost".to_owned(),
            lost => format!("{lost} edges were lost"),
        });
        if self.unresolved > 0 {
            said.push(format!(
                "{} flows have an end that cannot be told",
                self.unresolved
            ));
        }
        said
    }
}

/// The first names of many.
fn named(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let shown = names
        .iter()
        .take(SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_is_named() {
        let text = r#"{"version":"0.1.0","time":"2026-01-02T03:10:00Z","edges":7,"unknownField":1,"unresolved":2,
            "agents":[{"node":"a","lastHeard":"2026-01-02T03:09:00Z"},{"node":"b","lastHeard":"2026-01-02T03:01:00Z",
            "lostEdges":3},{"node":"c"}],"unobservedNodes":["d"]}"#;
        let overview: Overview = serde_json::from_str(text).unwrap();
        let expected = [
            "netpol 0.1.0: 3 agents, 7 edges",
            "silent for more than 5 min: b, c",
            "nodes without an agent: d",
            "3 edges were lost",
            "2 flows have an end that cannot be told",
        ];
        assert_eq!(overview.sentences(), expected);
    }
}
