//! What was learned against what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use netpol_agent::flows::{self, BadLines};
use netpol_agent::graph::{Builder, Evidence, FlowGraph, ReportedNodes, ViewEvidence};
use netpol_agent::identity::EdgeId;
use netpol_agent::inventory;
use netpol_common::words::{Outcome, View};

use crate::lab::scenario::truth::{EdgeTruth, Truth, ViewTruth};

/// The flow graph of an inventory and flow records.
///
/// # Errors
///
/// If either cannot be read.
pub fn learned(inventory: &Path, flows: &Path) -> Result<FlowGraph> {
    let mut index = inventory::read(&[PathBuf::from(inventory)])?.index();
    let mut builder = Builder::default();
    let mut nodes = ReportedNodes::default();
    let name = flows.display().to_string();
    let file = File::open(flows).with_context(|| format!("open {name}"))?;
    flows::read(&name, BufReader::new(file), BadLines::Fail, |record| {
        nodes.note(&record, &mut index);
        builder.add(&index, &record);
    })?;
    Ok(builder.finish(&index))
}

/// Every difference between the truth and a graph, a line each; none if the graph is exactly the truth.
#[must_use]
pub fn differences(truth: &Truth, graph: &FlowGraph) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, edge) in &truth.edges {
        match graph.edges.get(id) {
            None => lines.push(format!("missing: {} ({})", name(id), steps(&edge.steps))),
            Some(evidence) => compare(id, edge, evidence, &mut lines),
        }
    }
    for (id, evidence) in &graph.edges {
        if !truth.edges.contains_key(id) {
            lines.push(format!("extra: {} ({})", name(id), shown(evidence)));
        }
    }
    unresolved(truth, graph, &mut lines);
    lines
}

fn compare(id: &EdgeId, edge: &EdgeTruth, evidence: &Evidence, lines: &mut Vec<String>) {
    let mut wrong = Vec::new();
    for (view, expected) in [
        (View::Client, &edge.client_view),
        (View::Server, &edge.server_view),
    ] {
        wrong.extend(view_difference(view, expected, evidence.view(view)));
    }
    if evidence.own_node != edge.own_node {
        wrong.push(format!("own node: {}", evidence.own_node));
    }
    if evidence.real_client_unseen != edge.real_client_unseen {
        wrong.push(format!(
            "real client unseen: {}",
            evidence.real_client_unseen
        ));
    }
    if !evidence.by_service.is_empty() {
        wrong.push(format!(
            "known only by the service: {:?}",
            evidence.by_service
        ));
    }
    if !wrong.is_empty() {
        let (name, steps) = (name(id), steps(&edge.steps));
        lines.push(format!("wrong: {name}: {} ({steps})", wrong.join("; ")));
    }
}

fn view_difference(
    view: View,
    expected: &ViewTruth,
    evidence: Option<&ViewEvidence>,
) -> Option<String> {
    let seen = evidence.map(counts).unwrap_or_default();
    let alike = expected.keys().eq(seen.keys())
        && expected
            .iter()
            .all(|(outcome, times)| times.is_none_or(|times| seen[outcome] == times));
    (!alike).then(|| {
        let expected: Vec<String> = expected
            .iter()
            .map(|(outcome, times)| match times {
                Some(times) => format!("{times} {outcome}"),
                None => format!("some {outcome}"),
            })
            .collect();
        let seen: Vec<String> = seen
            .iter()
            .map(|(o, times)| format!("{times} {o}"))
            .collect();
        format!("{view} view: expected {expected:?}, learned {seen:?}")
    })
}

/// The counts of the outcomes that occurred.
fn counts(evidence: &ViewEvidence) -> BTreeMap<&'static str, u64> {
    Outcome::ALL
        .into_iter()
        .map(|outcome| (outcome.name(), evidence.counts.of(outcome)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn unresolved(truth: &Truth, graph: &FlowGraph, lines: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (flow, evidence) in &graph.unresolved.flows {
        seen.insert(&flow.reason);
        if !truth.unresolved.contains_key(&flow.reason) {
            lines.push(format!(
                "unresolved: {} -> {} port {}/{}, {:?}: {}",
                flow.client,
                flow.server,
                flow.port,
                flow.protocol,
                counts(evidence),
                flow.reason
            ));
        }
    }
    for (reason, by) in &truth.unresolved {
        if !seen.contains(reason) {
            lines.push(format!(
                "missing among the unresolved: {reason} ({})",
                steps(by)
            ));
        }
    }
}

fn name(id: &EdgeId) -> String {
    format!(
        "{} -> {} port {}/{}",
        id.client, id.server, id.port, id.protocol
    )
}

fn shown(evidence: &Evidence) -> String {
    let view = |view: View| format!("{view}: {:?}", evidence.view(view).map(counts));
    format!("{}, {}", view(View::Client), view(View::Server))
}

fn steps(steps: &BTreeSet<&'static str>) -> String {
    let quoted: Vec<String> = steps.iter().map(|step| format!("{step:?}")).collect();
    quoted.join(", ")
}
