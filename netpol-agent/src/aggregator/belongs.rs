//! Whether an agent may say what it says: every pod that it speaks of was on its node then.
//!
//! A pod that the index does not know may be one that it has not heard of yet, so news of it is put off for [`LAG`]. What
//! happened before the index was whole can be told of pods that were gone by then; that is taken if nobody else bears the
//! pod's name, and remains unresolved. Everything else is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::refusal::Refusal;
use crate::identity::Index;
use crate::observe::{Batch, PodIdentity};

/// How long the index may lag behind the cluster before a pod that it does not know is none.
const LAG: SignedDuration = SignedDuration::from_secs(60);
/// By how much the clocks of a node and of the API server may differ, and how long a pod's containers may outlive it.
const SLACK: SignedDuration = SignedDuration::from_secs(300);

/// What an agent says of a pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Told {
    /// From when to when it saw edges.
    edges: Option<(Timestamp, Timestamp)>,
    /// When it said so.
    at: Timestamp,
}

/// What the pods are checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// Who was where.
    pub(super) index: &'a Index,
    /// Since when the index has been whole.
    pub(super) since: Timestamp,
    /// The time.
    pub(super) now: Timestamp,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Judgement {
    /// It was there.
    Own,
    /// It was gone before anybody looked, and nobody else bears its name.
    Unverifiable,
    /// It may turn out to have been there.
    Unknown,
    /// It was not there.
    Foreign,
}

/// Checks that every pod of the batches was on `node` then. Returns how many were gone before anybody looked.
///
/// # Errors
///
/// [`Refusal::Forged`] names every pod that was not; [`Refusal::UnknownPod`] one that the index may hear of yet.
pub(super) fn check<'a>(
    batches: impl Iterator<Item = &'a Batch>,
    node: &str,
    known: Known<'_>,
) -> Result<usize, Refusal> {
    let mut unverifiable = 0;
    let mut unknown = None;
    let mut refused = Vec::new();
    for (pod, told) in told(batches) {
        match known.judge(pod, told, node) {
            Judgement::Own => {}
            Judgement::Unverifiable => unverifiable += 1,
            Judgement::Unknown => unknown = unknown.or(Some(pod)),
            Judgement::Foreign => refused.push(pod.clone()),
        }
    }
    if !refused.is_empty() {
        return Err(Refusal::Forged {
            node: node.to_owned(),
            refused,
        });
    }
    match unknown {
        Some(pod) => Err(Refusal::UnknownPod(pod.clone())),
        None => Ok(unverifiable),
    }
}

/// Takes addresses of pods out of those that a node calls its own: whoever took them for the node's would not see the
/// pod's traffic. Returns how many there were.
pub(super) fn take_out_pods(batch: &mut Batch, index: &Index, now: Timestamp) -> usize {
    let before = batch.node_addresses.len();
    let own = |address: &IpAddr| index.pod_at(*address, now).is_none();
    batch.node_addresses.retain(own);
    before - batch.node_addresses.len()
}

/// What is said of each pod.
fn told<'a>(batches: impl Iterator<Item = &'a Batch>) -> BTreeMap<&'a PodIdentity, Told> {
    let mut all: BTreeMap<&PodIdentity, Told> = BTreeMap::new();
    for batch in batches {
        let of = Told {
            edges: None,
            at: batch.time,
        };
        // Edges of one pod mostly stand together.
        for run in batch.edges.chunk_by(|a, b| a.pod == b.pod) {
            let told = all.entry(&run[0].pod).or_insert(of);
            for edge in run {
                let (first, last) = told.edges.get_or_insert((edge.first_seen, edge.last_seen));
                *first = edge.first_seen.min(*first);
                *last = edge.last_seen.max(*last);
            }
        }
        for losses in &batch.losses {
            all.entry(&losses.pod).or_insert(of);
        }
    }
    all
}

impl Known<'_> {
    fn judge(&self, pod: &PodIdentity, told: Told, node: &str) -> Judgement {
        let name = (&pod.name).into();
        let place = self.index.place_of(&name, &pod.uid);
        let Some((place, own)) = place.and_then(|place| Some((place, place.node?))) else {
            return self.judge_unknown(pod, told);
        };
        // What was lost is told of no time but that of its batch, by which the pod may be gone.
        let there = told.edges.is_none_or(|(first, last)| {
            place.from.is_none_or(|from| from <= later(first))
                && place.to.is_none_or(|to| last <= later(to))
        });
        if own == node && there {
            return Judgement::Own;
        }
        Judgement::Foreign
    }

    /// A pod that was seen after the index was whole was in it then, or came later.
    fn judge_unknown(&self, pod: &PodIdentity, told: Told) -> Judgement {
        let last = told.edges.map_or(told.at, |(_, last)| last);
        if last < self.since && !self.index.knows_name(&(&pod.name).into()) {
            return Judgement::Unverifiable;
        }
        let heard = last.saturating_add(LAG);
        if last >= self.since && heard.is_ok_and(|heard| heard > self.now) {
            return Judgement::Unknown;
        }
        Judgement::Foreign
    }
}

fn later(time: Timestamp) -> Timestamp {
    time.saturating_add(SLACK).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netpol_common::abi::Direction;
    use netpol_common::words::Protocol;

    use super::*;
    use crate::identity::objects::{NamespacedName, Object, ObjectKey, Pod};
    use crate::observe::{
        Epoch, Losses, ObjectIdentity, ObservedEdge, ObservedKey, ObservedLosses, Source,
    };

    const START: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).unwrap()
    }

    fn identity(name: &str, uid: &str) -> PodIdentity {
        PodIdentity {
            name: ObjectIdentity {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            },
            uid: uid.to_owned(),
        }
    }

    fn edge(pod: &PodIdentity, first: i64, last: i64) -> ObservedEdge {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        ObservedEdge {
            key: ObservedKey {
                interface: 1,
                source: Source::Kernel,
                direction: Direction::Egress,
                protocol: Protocol::Tcp,
                port: 80,
                local: address,
                remote: address,
            },
            pod: pod.clone(),
            attempts: 1,
            answered: 1,
            refused: 0,
            first_seen: at(first),
            last_seen: at(last),
            one_sided: false,
        }
    }

    fn batch(edges: Vec<ObservedEdge>, losses: Vec<PodIdentity>) -> Batch {
        Batch {
            observer: "n1".to_owned(),
            epoch: Epoch {
                boot_id: "b".to_owned(),
                instance: 1,
                abi_version: 1,
            },
            sequence: 1,
            time: at(400),
            edges,
            losses: losses
                .into_iter()
                .map(|pod| ObservedLosses {
                    interface: 1,
                    pod,
                    losses: Losses::default(),
                })
                .collect(),
            node_addresses: Vec::new(),
        }
    }

    fn pod(name: &str, uid: &str, node: Option<&str>) -> Object {
        Object::Pod(Pod {
            name: NamespacedName {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            },
            uid: uid.to_owned(),
            node: node.map(str::to_owned),
            created: Some(at(0)),
            ..Pod::default()
        })
    }

    /// An index, whole since 500 s, with `here` on n1, `there` on n2, `waiting` nowhere, and `gone` on n1 until 600 s.
    fn index() -> Index {
        let mut index = Index::default();
        let objects = [
            pod("here", "u1", Some("n1")),
            pod("there", "u2", Some("n2")),
            pod("waiting", "u3", None),
            pod("gone", "u4", Some("n1")),
        ];
        for object in objects {
            index.apply(object, at(500));
        }
        let name = netpol_common::names::ObjectName::new("shop", "gone");
        index.delete(&ObjectKey::Pod(name, "u4".to_owned()), at(600));
        index
    }

    fn judge(edges: Vec<ObservedEdge>, losses: Vec<PodIdentity>) -> Result<usize, Refusal> {
        let index = index();
        let known = Known {
            index: &index,
            since: at(500),
            now: at(2_000),
        };
        check([batch(edges, losses)].iter(), "n1", known)
    }

    #[test]
    fn pods_of_the_node_may_be_spoken_of_while_they_are_there() {
        let (here, gone) = (identity("here", "u1"), identity("gone", "u4"));
        let edges = vec![edge(&here, 0, 2_000), edge(&gone, 0, 600)];
        assert_eq!(judge(edges, vec![here, gone]), Ok(0));
    }

    #[test]
    fn pods_of_other_nodes_or_other_times_are_forged() {
        let cases = [
            (identity("there", "u2"), 600, 700),
            (identity("here", "u2"), 600, 700),
            (identity("here", "u1"), -1_000, 700),
            (identity("gone", "u4"), 600, 1_000),
            (identity("nobody", "u9"), 600, 700),
            (identity("here", "u9"), 100, 200),
        ];
        for (pod, first, last) in cases {
            let own = edge(&identity("here", "u1"), 600, 700);
            let refused = judge(vec![own, edge(&pod, first, last)], Vec::new());
            let want = Refusal::Forged {
                node: "n1".to_owned(),
                refused: vec![pod.clone()],
            };
            assert_eq!(refused, Err(want), "{pod:?}");
        }
        let losses = judge(Vec::new(), vec![identity("there", "u2")]);
        assert!(matches!(losses, Err(Refusal::Forged { .. })));
    }

    #[test]
    fn a_pod_that_may_be_new_is_put_off() {
        for pod in [identity("new", "u9"), identity("waiting", "u3")] {
            let refused = judge(vec![edge(&pod, 1_900, 1_990)], Vec::new());
            assert_eq!(refused, Err(Refusal::UnknownPod(pod)));
        }
    }

    #[test]
    fn a_node_cannot_take_a_pods_address_for_its_own() {
        let (bridge, address) = (IpAddr::from([10, 1, 0, 1]), IpAddr::from([10, 1, 0, 4]));
        let mut index = Index::default();
        for (name, host_network, ip) in [("web", false, address), ("proxy", true, bridge)] {
            let Object::Pod(pod) = pod(name, name, Some("n2")) else {
                panic!("a pod is a pod");
            };
            let pod = Pod {
                host_network,
                ips: vec![ip],
                ..pod
            };
            index.apply(Object::Pod(pod), at(0));
        }
        let mut batch = batch(Vec::new(), Vec::new());
        batch.node_addresses = vec![bridge, address];
        assert_eq!(take_out_pods(&mut batch, &index, at(10)), 1);
        assert_eq!(batch.node_addresses, [bridge]);
    }

    #[test]
    fn a_pod_that_was_gone_before_anybody_looked_is_taken() {
        let pod = identity("early", "u8");
        let taken = judge(vec![edge(&pod, 100, 499)], vec![identity("lost", "u7")]);
        assert_eq!(taken, Ok(2));
    }
}
