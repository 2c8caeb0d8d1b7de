//! What the leader answers.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{conditions, frozen_list, limits, policy_spec, text_list, time, violations};

/// What is known of a workload's policy. All of it is the leader's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LearnedPolicyStatus {
    /// The generation of the object that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The workload, as Kind/name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::EDGE))]
    pub workload: Option<String>,
    /// The workload, as a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,
    /// What is done with the proposal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What the namespace last asked for in words that are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_mode: Option<Mode>,
    /// Whether it goes on learning although its namespace asks for more, since it came after that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub learning_alone: bool,
    /// The edges that the proposal rests on while it is audited or enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// The policy that is proposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<ProposedPolicy>,
    /// How much of the traffic was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageStatus>,
    /// Figures.
    pub counts: Counts,
    /// What the policy denies or would deny, the most recent decisions of people taken into account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "violations")]
    pub violations: Vec<Violation>,
    /// The policy that is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The rollback that keeps the policy off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RolledBack>,
    /// What went wrong with watching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// Since when the workload is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub gone_since: Option<Timestamp>,
    /// What holds, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// What is done with a proposal, from the loosest to the strictest.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Observed, nothing proposed.
    Off,
    /// New edges extend the proposal.
    Learn,
    /// The edges are frozen, and what they do not allow is told.
    Audit,
    /// As audit, and applied.
    Enforce,
}

/// A workload of the object's own namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadRef {
    /// The kind, with its group where a built-in kind has the same name.
    #[schemars(length(max = limits::NAME))]
    pub kind: String,
    /// The name.
    #[schemars(length(max = limits::NAME))]
    pub name: String,
}

/// The edges that a proposal rests on: those and no others, until somebody approves or rejects one.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    /// When they were frozen.
    #[schemars(schema_with = "time")]
    pub at: Timestamp,
    /// Edges whose server is this workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "frozen_list")]
    pub ingress: Vec<String>,
    /// Edges whose client is this workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "frozen_list")]
    pub egress: Vec<String>,
}

/// The policy that is proposed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProposedPolicy {
    /// A hash of `spec`, by which two proposals are told apart.
    #[schemars(length(max = limits::ID))]
    pub hash: String,
    /// What the NetworkPolicy says, or would say.
    #[schemars(schema_with = "policy_spec")]
    pub spec: NetworkPolicySpec,
}

/// How much of the traffic was seen.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CoverageStatus {
    /// The estimated share of what occurs that belongs to edges which were seen, as in 0.97; absent where too little
    /// was seen for an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::ID))]
    pub estimate: Option<String>,
    /// At least so many edges are estimated to be unseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::ID))]
    pub unseen: Option<String>,
    /// For how many hours it was watched.
    pub hours: u32,
    /// What is missing before it is complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "text_list")]
    pub missing: Vec<String>,
}

/// Figures about a proposal.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Counts {
    /// Rules of the proposed policy.
    pub rules: u32,
    /// Edges that it rests on.
    pub edges: u32,
    /// Of those, edges whose other end is not there at present, so that they make no rule.
    pub absent_edges: u32,
    /// Violations that nobody has decided on.
    pub open_violations: u32,
    /// All violations, those that are too many to be listed included.
    pub violations: u32,
}

/// Something that the policy denies or would deny.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// Names it in commands; the same for the same edge and direction, always.
    #[schemars(length(max = limits::ID))]
    pub id: String,
    /// The edge: write this into spec.approved to allow it, or into spec.rejected to be told no more.
    #[schemars(length(max = limits::EDGE))]
    pub edge: String,
    /// ingress or egress: whether this workload is the server or the client.
    #[schemars(length(max = limits::ID))]
    pub direction: String,
    /// Whether somebody decided on it.
    pub state: ViolationState,
    /// The LearnedPolicies, as namespace/name, in each of which it has to be approved before it is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "text_list")]
    pub approve_in: Vec<String>,
    /// How often it was seen, as of `lastSeen`.
    pub count: u64,
    /// When it was first seen.
    #[schemars(schema_with = "time")]
    pub first_seen: Timestamp,
    /// When the hour began in which it was last seen; not before `firstSeen`.
    #[schemars(schema_with = "time")]
    pub last_seen: Timestamp,
    /// When it was last told by an Event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub reported: Option<Timestamp>,
}

/// Whether somebody decided on a violation. One that was approved is none any more.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum ViolationState {
    /// Nobody has.
    Open,
    /// It was rejected: it is to be denied.
    Rejected,
}

/// The policy that is in force.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The hash of what was applied.
    #[schemars(length(max = limits::ID))]
    pub hash: String,
    /// When enforcing began.
    #[schemars(schema_with = "time")]
    pub at: Timestamp,
    /// When it was last changed.
    #[schemars(schema_with = "time")]
    pub changed: Timestamp,
}

/// What keeps a policy off.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// Write this into spec.acknowledgedRollback to have the policy applied again.
    #[schemars(length(max = limits::ID))]
    pub id: String,
    /// When it was taken off.
    #[schemars(schema_with = "time")]
    pub at: Timestamp,
    /// Why.
    #[schemars(length(max = limits::MESSAGE))]
    pub reason: String,
}

/// What went wrong with watching, and when it last did.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Observation {
    /// Edges that were lost since the agents' counts began.
    pub lost_edges: u64,
    /// When that number last grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub last_loss: Option<Timestamp>,
    /// Pods that ran unwatched for some time.
    pub gaps: u64,
    /// When one more was last found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub last_gap: Option<Timestamp>,
    /// When a pod last ran on a node without a working agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub last_unobserved: Option<Timestamp>,
}

/// Something that holds or does not.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    #[schemars(length(max = limits::NAME))]
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default)]
    #[schemars(length(max = limits::MESSAGE))]
    pub message: String,
    /// Since when.
    #[schemars(schema_with = "time")]
    pub last_transition_time: Timestamp,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nothing tells.
    Unknown,
}

/// What may hold of a proposal.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum ConditionType {
    /// Enough was seen to enforce it.
    Complete,
    /// Edges were lost.
    LostEvents,
    /// A pod ran for some time unwatched.
    ObservationGap,
    /// A pod runs where no agent works.
    Unobserved,
    /// More external addresses than a person wants to read; more are to be expected.
    NeedsWidening,
    /// No selector matches the workload, or one of its peers, and no other.
    Unselectable,
    /// The policy or its edges are more than an object can hold.
    TooLarge,
    /// A NetworkPolicy of that name is somebody else's.
    NameConflict,
    /// The edges are frozen.
    Frozen,
    /// The policy is in force.
    Applied,
    /// The policy was taken off and stays off.
    RolledBack,
    /// There are violations that nobody decided on.
    Violations,
}

impl Mode {
    /// All of them, from the loosest to the strictest.
    pub const ALL: [Self; 4] = [Self::Off, Self::Learn, Self::Audit, Self::Enforce];

    /// The word for it, as labels have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Learn => "learn",
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }

    /// The mode that a label's value names.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }

    /// Whether the edges are frozen.
    #[must_use]
    pub fn freezes(self) -> bool {
        self >= Self::Audit
    }
}

impl ConditionType {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 12] = [
        Self::Complete,
        Self::LostEvents,
        Self::ObservationGap,
        Self::Unobserved,
        Self::NeedsWidening,
        Self::Unselectable,
        Self::TooLarge,
        Self::NameConflict,
        Self::Frozen,
        Self::Applied,
        Self::RolledBack,
        Self::Violations,
    ];
}

impl LearnedPolicyStatus {
    /// The condition of that type.
    #[must_use]
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|known| known.kind == kind)
    }

    /// The same with its lists in the order in which they are written. The API server keeps what is told apart by a key in
    /// an order of its own.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        let by_edge = |one: &Violation, other: &Violation| {
            (&one.edge, &one.direction).cmp(&(&other.edge, &other.direction))
        };
        self.conditions.sort_by_key(|condition| condition.kind);
        self.violations.sort_by(by_edge);
        self
    }

    /// Whether a condition is known to hold.
    #[must_use]
    pub fn holds(&self, kind: ConditionType) -> bool {
        self.condition(kind)
            .is_some_and(|known| known.status == ConditionStatus::True)
    }
}
