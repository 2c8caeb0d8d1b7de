//! `netpol-agent`, for nodes and clusters.

fn main() {}
