//! The verdict on flows as they were seen.
//!
//! A flow names its ends by an address, a pod or a workload. An address of a service stands for all its endpoints,
//! a workload for all its pods, and a pod that is told by name for all its addresses. A flow is allowed only if it is
//! allowed between all that it may have been between: nobody knows which of them it was.

mod standing;

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::record::FlowRecord;

use super::evaluate::{Compiled, Connection, Evaluator, Reading, Side, Verdict, World};
use crate::identity::{Index, Unresolved};
use standing::Standing;

/// Judges flows by policies over a world.
#[derive(Debug)]
pub struct Checker<'a> {
    world: &'a World,
    policies: &'a [NetworkPolicy],
    reading: Reading,
    compiled: Compiled,
}

/// The answer to one flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// What the policies say of all that it may have been between, taken together: allowed if all are, isolated if
    /// any is. The rules are those that allow it; none, where it is not allowed.
    pub verdict: Verdict,
    /// How many pairs it may have been between.
    pub pairs: usize,
    /// Those pairs that are denied.
    pub denied: BTreeSet<Pair>,
}

/// Who a flow may have been between.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Pair {
    /// The client: `namespace/name`, `node name`, or an address.
    pub client: String,
    /// The server likewise.
    pub server: String,
    /// The server's port, behind DNAT.
    pub port: u16,
}

impl<'a> Checker<'a> {
    /// Prepares to judge flows.
    #[must_use]
    pub fn new(world: &'a World, policies: &'a [NetworkPolicy], reading: Reading) -> Self {
        Self {
            world,
            policies,
            reading,
            compiled: Compiled::new(world, policies, reading),
        }
    }

    /// The verdict on a flow, whose ends are looked up at the time it was seen.
    ///
    /// # Errors
    ///
    /// An end that cannot be told.
    pub fn check(&self, index: &Index, record: &FlowRecord) -> Result<Answer, Unresolved> {
        let hosts = index.hosts(&record.into())?;
        let standing = |host| Standing::of(host, self.world, &self.compiled);
        let clients: Vec<Standing<'_>> = hosts.clients.into_iter().flat_map(standing).collect();
        let servers = hosts.servers.into_iter();
        let servers = servers
            .flat_map(|(host, port)| standing(host).into_iter().map(move |server| (server, port)));
        let servers: Vec<(Standing<'_>, u16)> = servers.collect();
        let mut answer = Answer::none();
        let meet = clients
            .iter()
            .any(|client| servers.iter().any(|(server, _)| client.meets(server)));
        for client in &clients {
            for (server, port) in servers
                .iter()
                .filter(|(server, _)| !meet || client.meets(server))
            {
                let verdict = self.verdict(client, server, record, *port);
                answer.add(client, server, *port, verdict);
            }
        }
        if answer.pairs == 0 {
            return Err(Unresolved::NotInInventory(format!(
                "any pod that {} -> {} may have been between",
                record.client, record.server
            )));
        }
        Ok(answer.finished())
    }

    fn verdict(
        &self,
        client: &Standing<'_>,
        server: &Standing<'_>,
        record: &FlowRecord,
        port: u16,
    ) -> Verdict {
        if let (Some(from), Some(to)) = (client.place, server.place) {
            let from = if client.may_be_two(server) {
                from.kind()
            } else {
                from
            };
            return self.compiled.verdict(from, to, record.protocol, port);
        }
        let evaluator = Evaluator {
            namespaces: self.world.namespaces(),
            policies: self.policies,
            reading: self.reading,
        };
        evaluator.verdict(&Connection {
            client: client.end(),
            client_address: client.address,
            server: server.end(),
            server_address: server.address,
            protocol: record.protocol,
            port,
        })
    }
}

impl Answer {
    /// Whether the flow is allowed.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.verdict.allowed()
    }

    fn none() -> Self {
        let open = Side {
            allowed: true,
            ..Side::default()
        };
        Self {
            verdict: Verdict {
                egress: open.clone(),
                ingress: open,
            },
            pairs: 0,
            denied: BTreeSet::new(),
        }
    }

    fn add(&mut self, client: &Standing<'_>, server: &Standing<'_>, port: u16, verdict: Verdict) {
        self.pairs += 1;
        if !verdict.allowed() {
            self.denied.insert(Pair {
                client: client.name(),
                server: server.name(),
                port,
            });
        }
        join(&mut self.verdict.egress, verdict.egress);
        join(&mut self.verdict.ingress, verdict.ingress);
    }

    fn finished(mut self) -> Self {
        for side in [&mut self.verdict.egress, &mut self.verdict.ingress] {
            if !side.allowed {
                side.by.clear();
            }
        }
        self
    }
}

fn join(all: &mut Side, side: Side) {
    all.allowed &= side.allowed;
    all.isolated |= side.isolated;
    for rule in side.by {
        if !all.by.contains(&rule) {
            all.by.push(rule);
        }
    }
}

#[cfg(test)]
mod tests;
