//! The graph as rows: one for each edge, view and outcome.

use netpol_common::words::{Outcome, View};

use super::{Evidence, FlowGraph, ViewEvidence};
use crate::identity::EdgeId;

/// What one view, or both alike, say of one outcome of an edge.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The edge.
    pub id: &'a EdgeId,
    /// Everything known about it.
    pub evidence: &'a Evidence,
    /// Whose interface saw it; both if absent.
    pub view: Option<View>,
    /// What that view says.
    pub seen: &'a ViewEvidence,
    /// The outcome.
    pub outcome: Outcome,
}

impl Row<'_> {
    /// How often.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.seen.counts.of(self.outcome)
    }
}

impl FlowGraph {
    /// Every row, in canonical order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.edges.iter().flat_map(|(id, evidence)| {
            views(evidence)
                .into_iter()
                .flatten()
                .flat_map(move |(view, seen)| {
                    Outcome::ALL
                        .into_iter()
                        .filter(|outcome| seen.counts.of(*outcome) > 0)
                        .map(move |outcome| Row {
                            id,
                            evidence,
                            view,
                            seen,
                            outcome,
                        })
                })
        })
    }
}

impl Evidence {
    /// The outcomes that any view saw, in canonical order.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        Outcome::ALL.into_iter().filter(|outcome| {
            let saw = |view| {
                self.view(view)
                    .is_some_and(|seen| seen.counts.of(*outcome) > 0)
            };
            saw(View::Client) || saw(View::Server)
        })
    }
}

/// The views that there are; one for both where they are the same.
fn views(evidence: &Evidence) -> [Option<(Option<View>, &ViewEvidence)>; 2] {
    match (&evidence.client, &evidence.server) {
        (Some(client), Some(server)) if client == server => [Some((None, client)), None],
        (client, server) => [
            client.as_ref().map(|seen| (Some(View::Client), seen)),
            server.as_ref().map(|seen| (Some(View::Server), seen)),
        ],
    }
}
