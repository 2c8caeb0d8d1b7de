//! `LearnedPolicy`, the custom resource that holds a proposal: what people ask for and what the leader answers.
//!
//! `spec` belongs to people and git; the controller never writes a field of it, so that nobody who manages objects from
//! git has to fight it. `status` belongs to the leader. Both survive the loss of the database: the frozen edges and
//! everybody's approvals are here.

mod definition;
mod options;
mod schema;
mod spec;
mod status;

pub use definition::{definition, yaml};
pub use options::{InvalidOption, OptionsSpec, WrittenNodes};
pub use schema::limits;
pub use spec::{LearnedPolicy, LearnedPolicyRoot, LearnedPolicySpec};
pub use status::{
    Applied, Condition, ConditionStatus, ConditionType, Counts, CoverageStatus, Frozen,
    LearnedPolicyStatus, Mode, Observation, ProposedPolicy, RolledBack, Violation, ViolationState,
    WorkloadRef,
};
