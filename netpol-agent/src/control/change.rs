//! What a decision asks for.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::ObjectName;

use crate::crd::{LearnedPolicyStatus, Mode};

/// What a decision comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What is to be written, by proposal, those that take policies away first.
    pub changes: Vec<Change>,
    /// Figures for whoever watches the controller.
    pub figures: Figures,
}

/// What is to be done about one proposal: step by step, and no further than the first that fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The proposal; the NetworkPolicy has the same name.
    pub proposal: ObjectName,
    /// The uid of the proposal; empty where it is not there yet.
    pub uid: String,
    /// What to do, in this order.
    pub steps: Vec<Step>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the proposal, without a `spec`.
    Propose,
    /// Make the NetworkPolicy, if there is none of its name.
    Create(Box<NetworkPolicy>),
    /// Change the NetworkPolicy, which is ours, and is of the uid and version that the object states.
    Apply(Box<NetworkPolicy>),
    /// Delete the NetworkPolicy, which is ours, if it still is of this uid and version.
    Remove {
        /// Its uid.
        uid: String,
        /// Its version.
        version: String,
    },
    /// Write the status.
    Answer(Box<LearnedPolicyStatus>),
    /// Tell people.
    Tell(Event),
    /// Delete the proposal, whose workload has long been gone and of which nobody wants anything, if it still is of this
    /// version.
    Forget {
        /// Its version.
        version: String,
    },
}

/// Something to tell people about a proposal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// In one word.
    pub reason: &'static str,
    /// In a sentence.
    pub note: String,
}

/// Figures for whoever watches the controller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// How many proposals are in which mode.
    pub modes: BTreeMap<Mode, usize>,
    /// How many policies are in force.
    pub applied: usize,
    /// How many violations nobody has decided on, by namespace.
    pub open_violations: BTreeMap<String, u64>,
    /// How many were told now.
    pub told: usize,
}

impl Change {
    /// Whether it takes a policy away.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Remove { .. }))
    }
}

impl Event {
    /// Something that went as it should.
    #[must_use]
    pub fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self {
            warning: false,
            reason,
            note: note.into(),
        }
    }

    /// Something that somebody should look at.
    #[must_use]
    pub fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self {
            warning: true,
            reason,
            note: note.into(),
        }
    }
}
