//! Findings in words.

use std::collections::BTreeSet;
use std::fmt;

use netpol_common::names::WorkloadName;

use super::{Finding, Inexpressible, Unenforced};
use crate::policy::model::Direction;
use crate::policy::text::{self, list};

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.word())?;
        match self {
            Self::Unselectable {
                workload,
                clashes,
                add,
            } => unselectable(f, workload, clashes, add),
            Self::Withheld {
                workload,
                direction,
                edge,
                reason,
            } => write!(
                f,
                "{workload} gets no policy, since one would deny its {direction} {}: {reason}",
                text::edge(edge)
            ),
            Self::NeedsWidening {
                workload,
                direction,
                port,
                addresses,
            } => write!(
                f,
                "{workload}: {direction} on {port} has {addresses} external addresses; those are allowed, but \
                 more are to be expected"
            ),
            Self::Widening {
                workload,
                direction,
                what,
            } => {
                write!(f, "{workload}: {direction} {what}")
            }
            Self::NotLeast {
                workload,
                direction,
                excess,
            } => write!(
                f,
                "{workload}: {direction} may have more than it needs, since the search was cut off: at most {excess}"
            ),
            Self::OutsideUnknown {
                workload,
                direction,
                gap,
            } => write!(
                f,
                "{workload}: {direction} with addresses outside the cluster is not widened, since {gap}: name the ranges of \
                 pods, services and nodes with --cluster-cidr"
            ),
            Self::Unenforceable {
                workload,
                direction,
                plugin,
                what,
            } => write!(f, "{workload}: {direction} {what} (--cni {plugin})"),
            Self::IgnoredLabel { workload, label } => write!(
                f,
                "{workload}: its policy selects by the label {label}, which Cilium ignores unless its option `labels` \
                 includes it, and with it all others that are to count"
            ),
            Self::DefaultDenyLeftOut {
                namespace,
                workload,
            } => write!(
                f,
                "the namespace {namespace} gets no policy that denies all else: {workload} has none of its own, and would \
                 lose what was learned or answer no DNS"
            ),
            Self::RejectedStillAllowed {
                workload,
                direction,
                edge,
            } => write!(
                f,
                "{}: rejected, but another rule of {workload}'s {direction} holds it too",
                text::edge(edge)
            ),
            Self::OtherView {
                workload,
                direction,
                edges,
            } => {
                write!(
                    f,
                    "{workload}: {} of its {direction} known from the other end's view alone",
                    text::edges(*edges)
                )
            }
            Self::NoTraffic {
                workload,
                direction,
            } => {
                write!(
                    f,
                    "{workload}: no {direction} that makes a rule was seen, so its policy denies it"
                )
            }
            Self::OwnNode { workload, edges } => {
                write!(
                    f,
                    "{workload}: {} from its pods' own nodes left out: always allowed",
                    text::edges(*edges)
                )
            }
            Self::OtherEndOnly { direction, edge } => {
                let (seen, watched) = match direction {
                    Direction::Ingress => ("client", "server"),
                    Direction::Egress => ("server", "client"),
                };
                write!(
                    f,
                    "{}: the {seen}'s interface saw it, the {watched}'s, which was watched, did not see it answered \
                     (a false source address, or half a handshake); no {direction} rule",
                    text::edge(edge)
                )
            }
            Self::Unresolved { what } => write!(f, "{what}; both ends are incomplete"),
            Self::UnresolvedBeyondBound { records } => {
                write!(
                    f,
                    "{records} more records of such flows, too many to be told apart"
                )
            }
            Self::UnresolvedAttempts { flows } => write!(
                f,
                "{flows} refused or unanswered flows of which an end cannot be told; no rule (`flows` lists them)"
            ),
            Self::NoPolicy { workload }
            | Self::HostNetwork { workload }
            | Self::CutOff { workload } => {
                write!(f, "{workload} {}", self.reason())
            }
            Self::UnknownOutcome { edge }
            | Self::NodeGone { edge }
            | Self::Rejected { edge }
            | Self::RejectMatchesNothing { edge }
            | Self::OneWayLeftOut { edge }
            | Self::RealClientUnseen { edge }
            | Self::NodePort { edge }
            | Self::ViewsDisagree { edge, .. } => {
                write!(f, "{}: {}", text::edge(edge), self.reason())
            }
            Self::NotEstablished { edges } => {
                write!(f, "{}: {}", text::edges(*edges), self.reason())
            }
            Self::NoResolver => f.write_str(self.reason()),
        }
    }
}

impl Finding {
    /// Its name, as it is printed and as scripts may look for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unselectable { .. } => "Unselectable",
            Self::Withheld { .. } => "Withheld",
            Self::NeedsWidening { .. } => "NeedsWidening",
            Self::OutsideUnknown { .. } => "OutsideUnknown",
            Self::Unenforceable { .. } => "Unenforceable",
            Self::IgnoredLabel { .. } => "IgnoredLabel",
            Self::DefaultDenyLeftOut { .. } => "DefaultDenyLeftOut",
            Self::CutOff { .. } => "CutOff",
            Self::Rejected { .. } => "Rejected",
            Self::RejectedStillAllowed { .. } => "RejectedStillAllowed",
            Self::RejectMatchesNothing { .. } => "RejectMatchesNothing",
            Self::Unresolved { .. } => "Unresolved",
            Self::UnresolvedBeyondBound { .. } => "UnresolvedBeyondBound",
            Self::UnresolvedAttempts { .. } => "UnresolvedAttempts",
            Self::UnknownOutcome { .. } => "UnknownOutcome",
            Self::ViewsDisagree { .. } => "ViewsDisagree",
            Self::OtherEndOnly { .. } => "OtherEndOnly",
            Self::NodeGone { .. } => "NodeGone",
            Self::OneWayLeftOut { .. } => "OneWayLeftOut",
            Self::Widening { .. } => "Widening",
            Self::NotLeast { .. } => "NotLeast",
            Self::RealClientUnseen { .. } => "RealClientUnseen",
            Self::NodePort { .. } => "NodePort",
            Self::OtherView { .. } => "OtherView",
            Self::NoTraffic { .. } => "NoTraffic",
            Self::NoPolicy { .. } => "NoPolicy",
            Self::HostNetwork { .. } => "HostNetwork",
            Self::OwnNode { .. } => "OwnNode",
            Self::NotEstablished { .. } => "NotEstablished",
            Self::NoResolver => "NoResolver",
        }
    }

    /// What is to be said of a finding that names one thing only.
    fn reason(&self) -> &'static str {
        match self {
            Self::UnknownOutcome { .. } => "no answer could be seen, so it makes no rule",
            Self::CutOff { .. } => {
                "has no policy of its own, and its namespace's denies it everything but DNS"
            }
            Self::Rejected { .. } => "rejected, so it makes no rule",
            Self::RejectMatchesNothing { .. } => "rejected, but nothing like it was learned",
            Self::NodeGone { .. } => "the node has no address any more, so it makes no rule",
            Self::OneWayLeftOut { .. } => {
                "not replied to, and not seen as often as --one-way asks for, so it makes no rule"
            }
            Self::RealClientUnseen { .. } => {
                "the node stands for a client that was not seen (NodePort or masquerade)"
            }
            Self::NodePort { .. } => {
                "addressed at a node's port; the rule names the pods behind it, and a network plugin that judges \
                 egress before the address is translated sees a node and denies it"
            }
            Self::ViewsDisagree { .. } => {
                "only one end saw it established, the other did not; it is allowed at both"
            }
            Self::NotEstablished { .. } => "refused or not answered, so no rule",
            Self::NoPolicy { .. } => "has no traffic that makes a rule and gets no policy",
            Self::HostNetwork { .. } => {
                "uses its nodes' network, where policies do not apply, and gets none"
            }
            Self::NoResolver => {
                "DNS is to be allowed always, but no service of the inventory has a port named dns or dns-tcp"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Unenforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortRange(range) => write!(
                f,
                "on {range}: of a range only the first port counts there, and this one is too long to be written port by \
                 port"
            ),
            Self::PortEntries(entries) => write!(
                f,
                "has {entries} entries of ports for one peer, of which only 24 count there"
            ),
            Self::Entities(entities, ports) => write!(
                f,
                "of {} on {} stands as addresses, which there match neither nodes nor the API server: -o cilium names \
                 them by what they are",
                list(entities),
                list(ports)
            ),
        }
    }
}

impl fmt::Display for Inexpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unselectable => "no selector matches its peer alone",
            Self::NotInInventory => "its peer is not in the inventory",
            Self::NoAddress => "the inventory holds no address of its peer",
            Self::PortZero => "port 0 cannot be written",
        })
    }
}

/// Why there is no selector, and the label that would make one.
fn unselectable(
    f: &mut fmt::Formatter<'_>,
    workload: &WorkloadName,
    clashes: &BTreeSet<WorkloadName>,
    (key, value): &(String, String),
) -> fmt::Result {
    write!(f, "{workload} gets no policy: ")?;
    match clashes.is_empty() {
        true => f.write_str("its pods have no lasting label")?,
        false => write!(f, "its lasting labels also match {}", list(clashes))?,
    }
    write!(f, "; add the label {key}={value} to its pod template")
}
