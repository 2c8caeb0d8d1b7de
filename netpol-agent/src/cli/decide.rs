//! `kubectl-netpol approve` and `reject`: what becomes of violations.
//!
//! Both change the spec of LearnedPolicies and nothing else, and only of those that the person may change. An edge is
//! allowed once both ends allow it; where the other end is somebody else's, it is said who still has to approve.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use netpol_common::names::ObjectName;

use super::cluster::{ClusterFlags, NamespaceFlags, waiting};
use super::learned::{self, name_of, workload_of};
use super::output::{note, print};
use super::violations::{Found, found};
use crate::cluster::access::may;
use crate::cluster::{ClusterError, Session};
use crate::crd::{LearnedPolicy, LearnedPolicySpec};

/// What to decide on.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Violations, as `kubectl netpol violations` names them
    #[arg(
        value_name = "ID",
        env = "NETPOL_VIOLATION",
        value_delimiter = ',',
        required_unless_present_any = ["edges", "every"]
    )]
    ids: Vec<String>,
    /// An edge, as in "shop/Deployment/web -> shop/Deployment/api 8080/TCP", at those of its ends that are in the
    /// namespace; may be repeated
    #[arg(
        long = "edge",
        env = "NETPOL_EDGE",
        value_name = "EDGE",
        value_delimiter = ';'
    )]
    edges: Vec<String>,
    /// Every violation of the namespace that nobody has decided on
    #[arg(
        long = "every",
        env = "NETPOL_EVERY",
        conflicts_with_all = ["ids", "edges"]
    )]
    every: bool,
    /// Ask the API server whether it would do it, and change nothing
    #[arg(long, env = "NETPOL_DRY_RUN")]
    dry_run: bool,
    #[command(flatten)]
    namespaces: NamespaceFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// What is decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// It is allowed from now on.
    Approve,
    /// It is to be denied, and nobody is told of it again.
    Reject,
}

/// Edges by the LearnedPolicy in which they are decided on.
type Wanted = BTreeMap<ObjectName, BTreeSet<String>>;

impl Arguments {
    pub(super) fn run(self, decision: Decision) -> anyhow::Result<ExitCode> {
        let session = self.cluster.open()?;
        let namespace = self.namespaces.of(&session);
        let learned = waiting("reading the LearnedPolicies", || {
            session.wait(learned::list(session.cluster(), namespace.as_deref()))
        })?;
        let wanted = self.wanted(&learned, decision)?;
        let mut changed = 0;
        let mut refused = None;
        for (name, edges) in &wanted {
            match self.decide(&session, name, edges, decision)? {
                Ok(()) => changed += 1,
                Err(reason) => {
                    tell_pending(name, edges, decision, &reason);
                    refused.get_or_insert((name, reason));
                }
            }
        }
        match (changed, refused) {
            (0, Some((name, reason))) => bail!(ClusterError::Forbidden {
                action: learned::right(name).to_string(),
                message: reason,
            }),
            _ => Ok(ExitCode::SUCCESS),
        }
    }

    /// What to change where.
    fn wanted(&self, learned: &[LearnedPolicy], decision: Decision) -> anyhow::Result<Wanted> {
        let mut wanted = Wanted::new();
        let mut unknown: BTreeSet<&String> = self.ids.iter().collect();
        for found in found(learned) {
            let named = self.ids.contains(&found.violation.id);
            if named || (self.every && found.is_open()) {
                unknown.remove(&found.violation.id);
                for place in places(found, decision) {
                    wanted
                        .entry(place)
                        .or_default()
                        .insert(found.violation.edge.clone());
                }
            }
        }
        if !unknown.is_empty() {
            let ids: Vec<&str> = unknown.into_iter().map(String::as_str).collect();
            bail!(
                "no violation is called {}: `kubectl netpol violations --all` lists them; -n or -A says where to look",
                ids.join(", ")
            );
        }
        for edge in &self.edges {
            let own = ends(edge, learned)?;
            for name in own {
                wanted.entry(name).or_default().insert(edge.clone());
            }
        }
        Ok(wanted)
    }

    /// Decides in one LearnedPolicy; or says why the person may not.
    fn decide(
        &self,
        session: &Session,
        name: &ObjectName,
        edges: &BTreeSet<String>,
        decision: Decision,
    ) -> anyhow::Result<Result<(), String>> {
        let cluster = session.cluster();
        let right = session.wait(may(cluster, learned::right(name)))?;
        if let Err(reason) = right {
            return Ok(Err(reason));
        }
        let change = |spec: &mut LearnedPolicySpec, _: &LearnedPolicy| write(spec, edges, decision);
        let changed = session.wait(learned::change(cluster, name, self.dry_run, change))?;
        let dry = if self.dry_run {
            " (server dry run)"
        } else {
            ""
        };
        let verb = match (decision, changed) {
            (Decision::Approve, true) => "approved",
            (Decision::Reject, true) => "rejected",
            (Decision::Approve, false) => "approved already",
            (Decision::Reject, false) => "rejected already",
        };
        for edge in edges {
            print(
                format!(
                    "learnedpolicy/{} in {} {verb}: {edge}{dry}\n",
                    name.name, name.namespace
                )
                .as_bytes(),
            )?;
        }
        Ok(Ok(()))
    }
}

/// Where a violation is decided on. One end is enough to deny, and all of those that deny have to allow.
fn places(found: Found<'_>, decision: Decision) -> Vec<ObjectName> {
    match decision {
        Decision::Approve => found.approve_in(),
        Decision::Reject => vec![name_of(found.learned)],
    }
}

/// The LearnedPolicies of the workloads at the ends of an edge, as far as they are listed.
fn ends(edge: &str, learned: &[LearnedPolicy]) -> anyhow::Result<Vec<ObjectName>> {
    let (client, rest) = edge.split_once(" -> ").unwrap_or_default();
    let (server, port) = rest.rsplit_once(' ').unwrap_or_default();
    if client.is_empty() || server.is_empty() || port.is_empty() {
        bail!(
            "{edge:?} is no edge: write it as `kubectl netpol violations` does, as in \"shop/Deployment/web -> \
             shop/Deployment/api 8080/TCP\""
        );
    }
    let is_end = |learned: &&LearnedPolicy| {
        let own = format!("{}/{}", name_of(learned).namespace, workload_of(learned));
        own == client || own == server
    };
    let found: Vec<ObjectName> = learned.iter().filter(is_end).map(name_of).collect();
    if found.is_empty() {
        bail!("no end of {edge:?} has a LearnedPolicy here: -n says in which namespace to look");
    }
    Ok(found)
}

/// Writes a decision into what people want; it takes the place of the opposite one.
pub(super) fn write(spec: &mut LearnedPolicySpec, edges: &BTreeSet<String>, decision: Decision) {
    let (to, from) = match decision {
        Decision::Approve => (&mut spec.approved, &mut spec.rejected),
        Decision::Reject => (&mut spec.rejected, &mut spec.approved),
    };
    from.retain(|known| !edges.contains(known));
    for edge in edges {
        if !to.contains(edge) {
            to.push(edge.clone());
        }
    }
}

fn tell_pending(name: &ObjectName, edges: &BTreeSet<String>, decision: Decision, reason: &str) {
    let verb = match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
    };
    for edge in edges {
        let side = side(name, edge);
        note(
            "pending",
            format_args!(
                "{side} of {edge} at LearnedPolicy {name}: you may not change it ({reason}). Whoever may runs: kubectl \
                 netpol {verb} -n {} --edge {edge:?}",
                name.namespace
            ),
        );
    }
}

/// Which side of an edge a LearnedPolicy is, as far as its namespace tells.
fn side(name: &ObjectName, edge: &str) -> &'static str {
    let within = |end: &str| end.split('/').next() == Some(name.namespace.as_str());
    let (client, server) = edge.split_once(" -> ").unwrap_or_default();
    match (within(client), within(server)) {
        (true, false) => "egress",
        (false, true) => "ingress",
        _ => "one side",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGE: &str = "shop/Deployment/web -> pay/Deployment/api 8080/TCP";

    #[test]
    fn a_decision_takes_the_place_of_the_opposite_one() {
        let edges = BTreeSet::from([EDGE.to_owned()]);
        let mut spec = LearnedPolicySpec {
            rejected: vec!["other".to_owned(), EDGE.to_owned()],
            ..LearnedPolicySpec::default()
        };
        write(&mut spec, &edges, Decision::Approve);
        write(&mut spec, &edges, Decision::Approve);
        assert_eq!(spec.approved, [EDGE]);
        assert_eq!(spec.rejected, ["other"]);
        write(&mut spec, &edges, Decision::Reject);
        assert_eq!(spec.rejected, ["other", EDGE]);
        assert!(spec.approved.is_empty());
    }

    #[test]
    fn the_side_of_an_edge_is_told_by_the_namespace() {
        assert_eq!(
            side(&ObjectName::new("shop", "web-deployment"), EDGE),
            "egress"
        );
        assert_eq!(
            side(&ObjectName::new("pay", "api-deployment"), EDGE),
            "ingress"
        );
        let within = "shop/Deployment/web -> shop/Deployment/api 8080/TCP";
        assert_eq!(
            side(&ObjectName::new("shop", "web-deployment"), within),
            "one side"
        );
    }

    #[test]
    fn an_edge_is_decided_on_at_its_own_ends() {
        let mut learned = LearnedPolicy::named("pay", "api-deployment");
        let status = serde_json::json!({"workload": "Deployment/api"});
        learned.status = Some(serde_json::from_value(status).unwrap());
        let mut other = LearnedPolicy::named("pay", "web-deployment");
        let status = serde_json::json!({"workload": "Deployment/web"});
        other.status = Some(serde_json::from_value(status).unwrap());
        let learned = [learned, other];
        let expected = [ObjectName::new("pay", "api-deployment")];
        assert_eq!(ends(EDGE, &learned).unwrap(), expected);
        assert!(ends("a -> b 1/TCP", &learned).is_err());
        assert!(ends("nonsense", &learned).is_err());
    }
}
