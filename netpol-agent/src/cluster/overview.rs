//! How netpol itself is, as a reader takes the aggregator's answer at `/v1/status`.
//!
//! Lenient, so that an older command reads a newer aggregator's answer and the reverse: fields that are not known are
//! ignored, and those that are not there have their defaults.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::observe::Losses;

/// How long an agent may be silent before it counts as not working.
pub const SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// The kind by which the aggregator counts nodes.
const NODE: &str = "Node";

/// The aggregator and its agents.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Overview {
    /// The aggregator's version.
    pub version: String,
    /// Whether the replica that answers leads, and so writes to the Kubernetes API.
    pub leader: bool,
    /// Since when it has known every object.
    pub watching_since: Option<Timestamp>,
    /// The aggregator's time.
    pub now: Option<Timestamp>,
    /// The latest time of any batch.
    pub time: Option<Timestamp>,
    /// Edges of the flow graph.
    pub edges: u64,
    /// Flows of which an end cannot be told.
    pub unresolved: u64,
    /// Kubernetes objects in the index, by kind.
    pub objects: BTreeMap<String, u64>,
    /// The node agents of which anything is known.
    pub observers: Vec<Observer>,
}

/// What is known of a node's agent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Observer {
    /// Its node.
    pub name: String,
    /// Whether that node is not in the cluster any more.
    pub gone: bool,
    /// When its latest batch was made.
    pub last_batch: Option<Timestamp>,
    /// Distinct edges that it told.
    pub edges: u64,
    /// What it could not see or keep, over all pods.
    pub losses: Losses,
}

impl Overview {
    /// The agents whose nodes are there.
    pub fn agents(&self) -> impl Iterator<Item = &Observer> {
        self.observers.iter().filter(|observer| !observer.gone)
    }

    /// Those of them that were silent for long; as long as the aggregator does not tell its time, while others spoke.
    pub fn silent(&self) -> impl Iterator<Item = &Observer> {
        let now = self.now.or(self.time);
        let since = now.and_then(|now| now.checked_sub(SILENCE).ok());
        self.agents().filter(move |observer| {
            let last = observer.last_batch;
            since.is_some_and(|since| last.is_none_or(|last| last < since))
        })
    }

    /// Edges that all agents lost.
    #[must_use]
    pub fn lost_edges(&self) -> u64 {
        let observers = self.observers.iter();
        observers.map(|each| each.losses.missing_edges()).sum()
    }

    /// How it is, in a few sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let nodes = self.objects.get(NODE);
        let on = nodes.map(|nodes| format!(" on {nodes} nodes"));
        let (on, version, edges) = (on.unwrap_or_default(), &self.version, self.edges);
        let silent: Vec<&str> = self.silent().map(|each| each.name.as_str()).collect();
        let agents = self.agents().count();
        let deliver = match agents - silent.len() {
            all if all == agents => format!("{agents} agents{on}"),
            some => format!("{some} of {agents} agents{on} deliver"),
        };
        let mut said = vec![format!("netpol {version}: {deliver}, {edges} edges")];
        if !silent.is_empty() {
            let (minutes, silent) = (SILENCE.as_mins(), named(&silent));
            said.push(format!("silent for more than {minutes} min: {silent}"));
        }
        said.push(match self.lost_edges() {
            0 if silent.is_empty() => "no edge was lost".to_owned(),
            0 => "no lost edge is known of".to_owned(),
            lost => format!("{lost} edges were lost"),
        });
        if self.unresolved > 0 {
            let unresolved = self.unresolved;
            said.push(format!(
                "{unresolved} flows have an end that cannot be told"
            ));
        }
        said
    }
}

/// The first names of many.
fn named(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<&str> = names.iter().take(SHOWN).copied().collect();
    let shown = shown.join(", ");
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
        let text = r#"{"version":"0.1.0","now":"2026-01-02T03:10:00Z","time":"2026-01-02T03:09:00Z","edges":7,
            "unknown_field":1,"unresolved":2,"objects":{"Node":4,"Pod":9},"observers":[
            {"name":"a","last_batch":"2026-01-02T03:09:00Z"},
            {"name":"b","last_batch":"2026-01-02T03:01:00Z","losses":{"edges_lost":5,"edges_recovered":2,
            "attempts_lost":0,"foreign":0,"not_for_pod":0,"observation_gap":false}},{"name":"c"},
            {"name":"d","gone":true,"last_batch":"2026-01-01T03:01:00Z"}]}"#;
        let overview: Overview = serde_json::from_str(text).unwrap();
        let expected = [
            "netpol 0.1.0: 1 of 3 agents on 4 nodes deliver, 7 edges",
            "silent for more than 5 min: b, c",
            "3 edges were lost",
            "2 flows have an end that cannot be told",
        ];
        assert_eq!(overview.sentences(), expected);
    }

    /// Two agents whose latest batches are of these minutes past three, at ten past.
    fn two(minutes: [u8; 2]) -> Overview {
        let time = |minute: u8| format!("2026-01-02T03:{minute:02}:00Z").parse::<Timestamp>();
        let observers = ["a", "b"].into_iter().zip(minutes);
        let observers = observers.map(|(name, minute)| Observer {
            name: name.to_owned(),
            last_batch: Some(time(minute).unwrap()),
            ..Observer::default()
        });
        Overview {
            version: "0.1.0".to_owned(),
            now: Some(time(10).unwrap()),
            time: Some(time(minutes[0].max(minutes[1])).unwrap()),
            observers: observers.collect(),
            ..Overview::default()
        }
    }

    #[test]
    fn agents_that_are_all_silent_are_not_well() {
        let well = ["netpol 0.1.0: 2 agents, 0 edges", "no edge was lost"];
        assert_eq!(two([9, 8]).sentences(), well);
        let silent = [
            "netpol 0.1.0: 0 of 2 agents deliver, 0 edges",
            "silent for more than 5 min: a, b",
            "no lost edge is known of",
        ];
        assert_eq!(two([1, 1]).sentences(), silent);
        let older = Overview {
            now: None,
            ..two([1, 8])
        };
        let silent: Vec<&Observer> = older.silent().collect();
        assert_eq!(silent, [&older.observers[0]], "an older aggregator's");
    }
}
