//! The policy engine: from the flow graph and the identity index to NetworkPolicies. No clock, no I/O, no kube client.
