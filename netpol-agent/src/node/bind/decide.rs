//! The judgement: facts in, bindings out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Binding, CniPod, CniResult, Evidence, Facts, Sandbox};
use crate::identity::objects::Pod;
use crate::node::links::Link;
use crate::observe::{ObjectIdentity, PodIdentity};

/// Binds as many of `links` as the facts allow to `pods`, the pods of this node; by ifindex.
///
/// Each interface is bound by the strongest kind of evidence that names exactly one pod; evidence that names several
/// decides nothing. While processes name a pod that is not among `pods`, weaker evidence is not asked: the pod is new,
/// and its address may be known as a former pod's still. A first source address binds only a pod that stronger evidence left without an interface, since
/// the address may be spoofed. Pods in the host's network are never bound.
#[must_use]
pub fn decide(links: &[Link], pods: &[Pod], facts: &Facts) -> BTreeMap<u32, Binding> {
    let pods: Vec<&Pod> = pods.iter().filter(|pod| !pod.host_network).collect();
    let case = Case { pods, facts };
    let candidates = || {
        links
            .iter()
            .filter(|link| link.may_be_pods() && !case.is_of_unknown_pod(link))
    };
    let mut bindings: BTreeMap<u32, Binding> = candidates()
        .filter_map(|link| Some((link.ifindex, case.firmly(link)?)))
        .collect();
    let bound: BTreeSet<PodIdentity> = bindings.values().map(|found| found.pod.clone()).collect();
    for link in candidates() {
        let found = case
            .by_source(link)
            .filter(|found| !bound.contains(&found.pod));
        if let Some(found) = found {
            bindings.entry(link.ifindex).or_insert(found);
        }
    }
    bindings
}

struct Case<'a> {
    pods: Vec<&'a Pod>,
    facts: &'a Facts,
}

impl Case<'_> {
    fn firmly(&self, link: &Link) -> Option<Binding> {
        let kinds = [
            (Evidence::Process, self.by_process(link)),
            (Evidence::CniCache, self.by_cni(link)),
            (Evidence::HostRoute, self.by_route(link)),
            (Evidence::BridgeFdb, self.by_bridge(link)),
        ];
        kinds
            .into_iter()
            .find_map(|(evidence, found)| self.binding(link, evidence, found))
    }

    fn by_source(&self, link: &Link) -> Option<Binding> {
        let source = self.facts.sources.get(&link.ifindex)?;
        self.binding(link, Evidence::FirstSource, self.having(*source))
    }

    fn by_process(&self, link: &Link) -> Vec<usize> {
        let here = |sandbox: &&Sandbox| Some(sandbox.netnsid) == link.netnsid;
        let sandboxes = self.facts.sandboxes.iter().filter(here);
        sandboxes
            .flat_map(|sandbox| self.matching(|pod| pod.uid == sandbox.pod_uid))
            .collect()
    }

    /// Whether processes name pods, and none that is known. The kubelet names static pods, which the API knows by
    /// another uid, without dashes.
    fn is_of_unknown_pod(&self, link: &Link) -> bool {
        let here = self
            .facts
            .sandboxes
            .iter()
            .filter(|it| Some(it.netnsid) == link.netnsid);
        let mut named = here
            .filter(|sandbox| sandbox.pod_uid.contains('-'))
            .peekable();
        named.peek().is_some() && self.by_process(link).is_empty()
    }

    fn by_cni(&self, link: &Link) -> Vec<usize> {
        self.cni_results(link)
            .flat_map(|result| self.of_result(result))
            .collect()
    }

    fn cni_results<'b>(&'b self, link: &'b Link) -> impl Iterator<Item = &'b CniResult> {
        self.facts.cni.iter().filter(|result| {
            let inside = result.netnsid.is_some() && result.netnsid == link.netnsid;
            inside || result.host_interfaces.contains(&link.name)
        })
    }

    fn of_result(&self, result: &CniResult) -> Vec<usize> {
        match &result.pod {
            Some(named) => self.matching(|pod| is_named(pod, named)),
            None => result
                .addresses
                .iter()
                .flat_map(|address| self.having(*address))
                .collect(),
        }
    }

    fn by_route(&self, link: &Link) -> Vec<usize> {
        self.routed(link)
            .flat_map(|address| self.having(address))
            .collect()
    }

    fn routed(&self, link: &Link) -> impl Iterator<Item = IpAddr> {
        let ifindex = link.ifindex;
        let routes = self
            .facts
            .routes
            .iter()
            .filter(move |route| route.ifindex == ifindex);
        routes.map(|route| route.address)
    }

    fn by_bridge(&self, link: &Link) -> Vec<usize> {
        let learned = self
            .facts
            .fdb
            .iter()
            .filter(|entry| entry.ifindex == link.ifindex);
        let macs: BTreeSet<[u8; 6]> = learned.map(|entry| entry.mac).collect();
        let behind = self.facts.neighbours.iter().filter(|neighbour| {
            Some(neighbour.ifindex) == link.master && macs.contains(&neighbour.mac)
        });
        behind
            .flat_map(|neighbour| self.having(neighbour.address))
            .collect()
    }

    fn matching(&self, wanted: impl Fn(&Pod) -> bool) -> Vec<usize> {
        let pods = self.pods.iter().enumerate();
        pods.filter(|(_, pod)| wanted(pod))
            .map(|(at, _)| at)
            .collect()
    }

    /// Pods that have an address now. A pod that has ended may have passed its address on.
    fn having(&self, address: IpAddr) -> Vec<usize> {
        self.matching(|pod| !pod.terminal && pod.ips.contains(&address))
    }

    /// The binding to the one pod that was found, if it is one.
    fn binding(&self, link: &Link, evidence: Evidence, mut found: Vec<usize>) -> Option<Binding> {
        found.sort_unstable();
        found.dedup();
        let [at] = found[..] else { return None };
        let pod = self.pods[at];
        Some(Binding {
            pod: PodIdentity {
                name: ObjectIdentity {
                    namespace: pod.name.namespace.clone(),
                    name: pod.name.name.clone(),
                },
                uid: pod.uid.clone(),
            },
            addresses: self.addresses(link, pod),
            evidence,
        })
    }

    /// What the API, the plugin's result and the host's routes tell; these the pod cannot forge. Only while they
    /// tell nothing, what is configured within the pod, less what the API gives to others. Link-local addresses
    /// are known from within only.
    fn addresses(&self, link: &Link, pod: &Pod) -> Vec<IpAddr> {
        let results = self
            .cni_results(link)
            .flat_map(|result| result.addresses.iter().copied());
        let told = pod
            .ips
            .iter()
            .copied()
            .chain(results)
            .chain(self.routed(link));
        let mut addresses: BTreeSet<IpAddr> = told.collect();
        let inner = || {
            let inner = link.netnsid.and_then(|id| self.facts.inner.get(&id));
            inner.into_iter().flatten().copied()
        };
        if addresses.is_empty() {
            addresses.extend(inner().filter(|address| self.having(*address).is_empty()));
        }
        addresses.extend(inner().filter(is_link_local));
        addresses.into_iter().collect()
    }
}

fn is_named(pod: &Pod, named: &CniPod) -> bool {
    let same_uid = |uid: &String| pod.uid.is_empty() || *uid == pod.uid;
    pod.name.namespace == named.namespace
        && pod.name.name == named.name
        && named.uid.as_ref().is_none_or(same_uid)
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
