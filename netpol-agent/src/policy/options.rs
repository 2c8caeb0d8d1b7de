//! What a person may choose about the synthesis.

/// Options of the synthesis. They are looked at per workload, so that a cluster can set them so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// What DNS traffic is allowed beyond what was seen.
    pub dns: Dns,
    /// When UDP that was never replied to makes a rule.
    pub one_way: OneWay,
    /// How many external addresses one (workload, direction, protocol, port) may have before a person is asked to
    /// widen them to ranges.
    pub external_addresses: usize,
}

/// What DNS traffic is allowed beyond what was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Dns {
    /// Nothing.
    Seen,
    /// TCP to every resolver that was seen in use over UDP, on the same port.
    #[default]
    Pair,
    /// Besides, UDP and TCP to every resolver of the cluster, for every workload that has a policy.
    Always,
}

/// When UDP that was never replied to makes a rule. What was refused never does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum OneWay {
    /// Whenever it was seen.
    Always,
    /// When it was seen in two separate minutes.
    #[default]
    Repeated,
    /// Not at all.
    Never,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dns: Dns::default(),
            one_way: OneWay::default(),
            external_addresses: 64,
        }
    }
}
