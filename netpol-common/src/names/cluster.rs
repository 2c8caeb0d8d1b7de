//! What netpol's own parts are called in a cluster, and the labels, annotations and kinds that people use to steer it.

/// The namespace that netpol is installed into, unless somebody chose another.
pub const NAMESPACE: &str = "netpol-system";
/// The ServiceAccount of the node agents.
pub const AGENT_ACCOUNT: &str = "netpol-agent";
/// The ServiceAccount of the aggregator.
pub const AGGREGATOR_ACCOUNT: &str = "netpol-aggregator";
/// The ServiceAccount that people read the aggregator with.
pub const VIEWER_ACCOUNT: &str = "netpol-viewer";
/// The DaemonSet of the node agents.
pub const AGENT_DAEMON_SET: &str = "netpol-agent";
/// The Deployment of the aggregator.
pub const AGGREGATOR_DEPLOYMENT: &str = "netpol-aggregator";
/// The Job that Helm runs before it uninstalls.
pub const UNINSTALL_JOB: &str = "netpol-uninstall";
/// The Service in front of the aggregator.
pub const AGGREGATOR_SERVICE: &str = "netpol-aggregator";
/// The port on which the aggregator serves its API, over TLS.
pub const AGGREGATOR_PORT: u16 = 8443;
/// The port on which the aggregator serves metrics and probes, over plain HTTP.
pub const AGGREGATOR_METRICS_PORT: u16 = 8080;
/// The port on which a node agent serves metrics and probes, over plain HTTP.
pub const AGENT_METRICS_PORT: u16 = 9465;
/// The audience of the tokens that the aggregator accepts.
pub const AUDIENCE: &str = "netpol-aggregator";
/// The Secret with the aggregator's key and certificate.
pub const TLS_SECRET: &str = "netpol-aggregator-tls";
/// The ConfigMap with the certificate authority of the aggregator's certificate.
pub const CA_CONFIG_MAP: &str = "netpol-ca";
/// The Lease that says which of several aggregators leads.
pub const LEASE: &str = "netpol-aggregator";
/// The key of the certificate authority in that ConfigMap, and in the Secret.
pub const CA_KEY: &str = "ca.crt";

/// The version of the API group.
pub const API_VERSION: &str = "v1alpha1";
/// The kind of a proposal.
pub const KIND: &str = "LearnedPolicy";
/// Its plural.
pub const PLURAL: &str = "learnedpolicies";
/// Its short name.
pub const SHORT_NAME: &str = "lp";

/// The label of a namespace, or of a workload's owner, that says what is done there.
pub const MODE_LABEL: &str = "netpol.io/mode";
/// The annotation of a namespace by which incomplete proposals are enforced.
pub const FORCE_ANNOTATION: &str = "netpol.io/force";
/// The annotation by which repairing what somebody changed waits.
pub const PAUSE_ANNOTATION: &str = "netpol.io/pause";
/// The annotation of a namespace that says after how many violations enforcing is undone.
pub const ROLLBACK_ANNOTATION: &str = "netpol.io/rollback-on";
/// The annotation of a namespace that says how its policies are written, as JSON.
pub const OPTIONS_ANNOTATION: &str = "netpol.io/options";
/// The annotation of a namespace that asks for a default-deny policy.
pub const DEFAULT_DENY_ANNOTATION: &str = "netpol.io/default-deny";
