//! What is to be said of policies that are there already.

use std::collections::BTreeSet;
use std::fmt;

use netpol_common::names::{ObjectName, WorkloadName};

use crate::policy::evaluate::{PortSet, RuleId};
use crate::policy::model::Direction;
use crate::policy::text::{edges as edges_in_words, list};

/// One remark.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remark {
    /// Policies that are there allow some or all of what was learned of a direction.
    AlreadyAllowed {
        /// The workload.
        workload: WorkloadName,
        /// The direction.
        direction: Direction,
        /// How many edges.
        edges: usize,
        /// The rules that allow them.
        by: BTreeSet<RuleId>,
    },
    /// The name that a policy would have is another object's.
    NameTaken {
        /// The name.
        name: ObjectName,
        /// The name that it has instead.
        instead: String,
    },
    /// Nothing that was learned uses a rule.
    Unused {
        /// The direction of the rule.
        direction: Direction,
        /// The rule.
        rule: RuleId,
        /// What it allows.
        allows: String,
    },
    /// The policies that are there allow what was not learned.
    Beyond {
        /// Who may open connections.
        from: String,
        /// To whom.
        to: String,
        /// On which ports.
        ports: PortSet,
    },
    /// There is more of that.
    MoreBeyond {
        /// How many more pairs.
        count: usize,
    },
}

impl Remark {
    /// What it says, without the word that it begins with.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::AlreadyAllowed {
                direction,
                edges,
                by,
                ..
            } => {
                let rules: BTreeSet<String> = by
                    .iter()
                    .map(|rule| format!("{}#{}", rule.policy, rule.rule))
                    .collect();
                let edges = edges_in_words(*edges);
                format!("{edges} of {direction} already allowed by {}", list(&rules))
            }
            Self::NameTaken { name, instead } => {
                format!(
                    "there is a policy {name}, so the one that completes it is called {instead}"
                )
            }
            Self::Unused {
                direction,
                rule,
                allows,
            } => {
                let RuleId { policy, rule } = rule;
                format!("{policy} {direction}#{rule} ({allows}): no flow uses it")
            }
            Self::Beyond { from, to, ports } => {
                format!("existing policies allow {from} -> {to}: {ports}, which was not learned")
            }
            Self::MoreBeyond { count } => {
                format!("existing policies allow {count} more pairs what was not learned")
            }
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::AlreadyAllowed { .. } => "AlreadyAllowed",
            Self::NameTaken { .. } => "NameTaken",
            Self::Unused { .. } => "UnusedRule",
            Self::Beyond { .. } | Self::MoreBeyond { .. } => "BeyondLearned",
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.word())?;
        if let Self::AlreadyAllowed { workload, .. } = self {
            write!(f, "{workload}: ")?;
        }
        f.write_str(&self.sentence())
    }
}
