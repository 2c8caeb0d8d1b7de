//! Edges that a person rejects: what came of each rejection is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::finding::Finding;
use super::learn::{Learned, peer};
use super::model::Direction;
use super::options::OptionsFor;
use super::widen::{Told, holds};
use super::writer::Writer;
use crate::identity::EdgeId;

/// The rejected edges of a workload that other things it learned allow all the same.
pub(super) fn still_allowed(
    writer: &Writer<'_>,
    rejected: &[Arc<EdgeId>],
    learned: &[Learned],
    direction: Direction,
) -> Vec<Told> {
    let still = rejected.iter().filter(|edge| {
        let other = peer(edge, direction);
        let mut allowing = learned.iter().filter(|one| allows(one, edge));
        allowing.any(|one| holds(writer, one, other))
    });
    still
        .map(|edge| Told::Allowed(EdgeId::clone(edge)))
        .collect()
}

/// Whether what was learned allows the port of an edge.
fn allows(learned: &Learned, edge: &EdgeId) -> bool {
    let (first, last) = learned.ports();
    learned.support.edge.protocol == edge.protocol && (first..=last).contains(&edge.port)
}

/// What is rejected somewhere and was neither learned nor would have been allowed besides.
pub(super) fn unheard(options: &OptionsFor, findings: &BTreeSet<Finding>) -> Vec<Finding> {
    let asked: BTreeSet<_> = options.all().flat_map(|options| &options.reject).collect();
    let unheard = asked.into_iter().filter(|asked| {
        let edge = asked.0.clone();
        !findings.contains(&Finding::Rejected { edge })
    });
    unheard
        .map(|asked| Finding::RejectMatchesNothing {
            edge: asked.0.clone(),
        })
        .collect()
}
