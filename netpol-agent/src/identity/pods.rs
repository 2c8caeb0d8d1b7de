//! Pods over time, and the addresses that they owned.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::IpAddr;
use std::ops::Bound;

use ipnet::IpNet;
use jiff::Timestamp;
use netpol_common::names::ObjectName;

use super::claims::{End, Record, end_of_second};
use super::history::{Span, Validity};
use super::objects::{Labels, NamedPort, ObjectKey, OwnerReference, Pod};
use super::shared::Pool;

/// Gone pods remembered at most; those gone longest are forgotten first.
const GONE: usize = 100_000;

type Id = u64;

/// Every pod known, present or gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods {
    /// In boxes, since half of a map's room is empty where its keys come in order.
    records: BTreeMap<Id, Box<Record>>,
    by_name: BTreeMap<ObjectName, Vec<Id>>,
    by_address: BTreeMap<IpAddr, Vec<Id>>,
    gone: BTreeSet<(Timestamp, Id)>,
    next: Id,
    /// Those that were forgotten since this was last asked.
    forgotten: Vec<ObjectKey>,
    labels: Pool<Labels>,
    owners: Pool<OwnerReference>,
    ports: Pool<Vec<NamedPort>>,
}

impl Pods {
    /// Takes in a pod. One of the same name and another uid is thereby known to be gone.
    pub(super) fn apply(&mut self, mut pod: Pod, at: Timestamp) {
        self.share(&mut pod);
        let name = ObjectName::from(&pod.name);
        let mut same = None;
        for id in self.by_name.get(&name).cloned().unwrap_or_default() {
            match self.records.get(&id) {
                Some(record) if record.is(&pod.uid) => same = Some(id),
                Some(_) => self.end(id, End::known(pod.created.map_or(at, |made| made.min(at)))),
                None => {}
            }
        }
        match same {
            Some(id) => self.update(id, pod, at),
            None => self.insert(name, Record::new(pod)),
        }
    }

    /// Takes less room: after a list, whose objects come in the order of their names, half of it is empty.
    pub(super) fn settle(&mut self) {
        let (names, addresses) = (
            mem::take(&mut self.by_name),
            mem::take(&mut self.by_address),
        );
        self.by_name = names.into_iter().collect();
        self.by_address = addresses.into_iter().collect();
    }

    /// Ends the pod of that name and uid.
    pub(super) fn delete(&mut self, name: &ObjectName, uid: &str, end: End) {
        for id in self.by_name.get(name).cloned().unwrap_or_default() {
            if self.records.get(&id).is_some_and(|record| record.is(uid)) {
                self.end(id, end);
            }
        }
    }

    /// The pods that are there.
    pub(super) fn present(&self) -> impl Iterator<Item = &Pod> {
        let present = |record: &&Record| record.gone().is_none();
        let all = self.records.values().map(|record| &**record);
        all.filter(present).map(Record::pod)
    }

    /// The present pod of that name.
    pub(super) fn present_named(&self, name: &ObjectName) -> Option<&Pod> {
        let present = |record: &&Record| record.gone().is_none();
        self.records_named(name).find(present).map(Record::pod)
    }

    /// The present pods that have, or had, an address.
    pub(super) fn present_at(&self, address: IpAddr) -> impl Iterator<Item = &Pod> {
        let ids = self.by_address.get(&address).into_iter().flatten();
        let present = |record: &&Record| record.gone().is_none();
        self.of(ids).filter(present).map(Record::pod)
    }

    /// The pods of a namespace, or of all of them: present ones, and gone ones that are remembered.
    pub(super) fn in_namespace<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Record> {
        let first = ObjectName::new(namespace.unwrap_or_default(), "");
        let inside = move |(name, _): &(&ObjectName, &Vec<Id>)| {
            namespace.is_none_or(|namespace| name.namespace == namespace)
        };
        let ids = self.by_name.range(first..).take_while(inside);
        self.of(ids.flat_map(|(_, ids)| ids))
    }

    /// The pods of that name: those of the span if there are any, else whichever there were.
    pub(super) fn named(&self, name: &ObjectName, span: Option<Span>) -> Vec<&Pod> {
        let all: Vec<&Record> = self.records_named(name).collect();
        let then = all.iter().filter(|record| record.life().meets(span));
        let then: Vec<&Pod> = then.map(|record| record.pod()).collect();
        if then.is_empty() {
            return all.into_iter().map(Record::pod).collect();
        }
        then
    }

    /// The pods that owned an address within the span: those that surely did, or else those that possibly did.
    pub(super) fn owners(&self, address: IpAddr, span: Option<Span>) -> Vec<&Pod> {
        let claims = self.claims(address);
        let pick = |choose: fn(&Claimed<'_>) -> Validity| -> Vec<&Pod> {
            let met = claims.iter().filter(|claim| choose(claim).meets(span));
            met.map(|claim| claim.pod).collect()
        };
        let sure = pick(|claim| claim.sure);
        if sure.is_empty() {
            return pick(|claim| claim.possible);
        }
        sure
    }

    /// The node that a host-network pod ever showed this address to be of.
    pub(super) fn hosts_of(&self, address: IpAddr) -> BTreeSet<&str> {
        let ids = self.by_address.get(&address).into_iter().flatten();
        let pods = self.of(ids).map(Record::pod);
        let hosts = pods.filter(|pod| pod.host_network);
        hosts.filter_map(|pod| pod.node.as_deref()).collect()
    }

    /// Addresses within `range` that were ever those of pods with a network of their own.
    pub(super) fn addresses_in(&self, range: IpNet) -> impl Iterator<Item = IpAddr> {
        let own = |id: &Id| {
            let record = self.records.get(id);
            record.is_some_and(|record| !record.pod().host_network)
        };
        let within = self.by_address.range(range.network()..=range.broadcast());
        within
            .filter(move |(_, ids)| ids.iter().any(own))
            .map(|(address, _)| *address)
    }

    /// The key of every pod.
    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.records.values().map(|record| record.pod().key())
    }

    /// The keys of the pods of that name.
    pub(super) fn keys_named(&self, name: &ObjectName) -> impl Iterator<Item = ObjectKey> {
        self.records_named(name).map(|record| record.pod().key())
    }

    /// All that is known of a pod; of those without uids, of the last of that name.
    pub(super) fn record(&self, name: &ObjectName, uid: &str) -> Option<&Record> {
        let same = |record: &&Record| record.pod().uid == uid;
        self.records_named(name).filter(same).last()
    }

    /// Takes back what an earlier process knew of a pod.
    pub(super) fn restore(&mut self, mut record: Record, gone: Option<Timestamp>) {
        let name = ObjectName::from(&record.pod().name);
        let ids = self.by_name.get(&name).cloned().unwrap_or_default();
        let uid = record.pod().uid.clone();
        let known = |id: &Id| self.records.get(id).is_some_and(|it| it.pod().uid == uid);
        if let Some(id) = ids.into_iter().find(known) {
            for address in record.addresses() {
                let ids = self.by_address.entry(address).or_default();
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            if let Some(own) = self.records.get_mut(&id) {
                own.recall(record, gone);
            }
            return;
        }
        let end = gone.map(|at| End { at, vague: true });
        if let Some(end) = end.filter(|_| record.gone().is_none()) {
            record.end(end);
        }
        record.change(|pod| self.share(pod));
        if let Some(end) = record.gone() {
            self.gone.insert((end.at, self.next));
        }
        self.insert(name, record);
        if self.gone.len() > GONE {
            self.forget_gone(Timestamp::MIN);
        }
    }

    /// Forgets the pods that were gone by `before`, and tells which were forgotten since this was last asked.
    pub(super) fn prune(&mut self, before: Timestamp) -> Vec<ObjectKey> {
        self.forget_gone(before);
        mem::take(&mut self.forgotten)
    }

    fn forget_gone(&mut self, before: Timestamp) {
        while let Some(&(at, id)) = self.gone.first() {
            if at > before && self.gone.len() <= GONE {
                return;
            }
            self.forget(at, id);
        }
    }

    /// The present pods in a range of names, in their order.
    pub(super) fn present_from(
        &self,
        range: (Bound<ObjectName>, Bound<ObjectName>),
    ) -> impl Iterator<Item = &Pod> {
        let ids = self.by_name.range(range).flat_map(|(_, ids)| ids);
        let present = self.of(ids).filter(|record| record.gone().is_none());
        present.map(Record::pod)
    }

    /// What is known of the pods that bore a name.
    pub(super) fn records_named(&self, name: &ObjectName) -> impl Iterator<Item = &Record> {
        self.of(self.by_name.get(name).into_iter().flatten())
    }

    /// What is known of the pods with some ids.
    fn of<'a>(&'a self, ids: impl Iterator<Item = &'a Id>) -> impl Iterator<Item = &'a Record> {
        ids.filter_map(|id| self.records.get(id))
            .map(|record| &**record)
    }

    /// Every claim on an address; vague ends are moved forward to the start of the next owner. In the second of that
    /// start either may be meant.
    fn claims(&self, address: IpAddr) -> Vec<Claimed<'_>> {
        let ids = self.by_address.get(&address).into_iter().flatten();
        let records: Vec<&Record> = self.of(ids).collect();
        let starts: BTreeSet<Timestamp> = records
            .iter()
            .flat_map(|record| record.claims_on(address))
            .filter_map(|(sure, _)| sure.from)
            .collect();
        let mut claims = Vec::new();
        for record in records {
            for (mut sure, mut possible) in record.claims_on(address) {
                if record.ends_vaguely() {
                    let after = |start: &&Timestamp| sure.from.is_none_or(|from| **start > from);
                    let next = starts.iter().find(after).copied().map(end_of_second);
                    sure.to = earlier(sure.to, next);
                    possible.to = earlier(possible.to, next);
                }
                let pod = record.pod();
                claims.push(Claimed {
                    pod,
                    sure,
                    possible,
                });
            }
        }
        claims
    }

    fn insert(&mut self, name: ObjectName, record: Record) {
        let id = self.next;
        self.next += 1;
        push(self.by_name.entry(name).or_default(), id);
        for address in record.addresses() {
            push(self.by_address.entry(address).or_default(), id);
        }
        self.records.insert(id, Box::new(record));
    }

    /// Lets the pods of a workload share what they have in common.
    fn share(&mut self, pod: &mut Pod) {
        pod.labels = self.labels.share(pod.labels.clone());
        pod.owner = pod.owner.take().map(|owner| self.owners.share(owner));
        pod.named_ports = self.ports.share(pod.named_ports.clone());
    }

    fn update(&mut self, id: Id, pod: Pod, at: Timestamp) {
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        if let Some(end) = record.gone() {
            self.gone.remove(&(end.at, id));
        }
        for address in &pod.ips {
            let ids = self.by_address.entry(*address).or_default();
            if !ids.contains(&id) {
                push(ids, id);
            }
        }
        record.update(pod, at);
    }

    fn end(&mut self, id: Id, end: End) {
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        if record.gone().is_some() {
            return;
        }
        record.end(end);
        self.gone.insert((end.at, id));
        if self.gone.len() > GONE {
            self.forget_gone(Timestamp::MIN);
        }
    }

    fn forget(&mut self, at: Timestamp, id: Id) {
        self.gone.remove(&(at, id));
        let Some(record) = self.records.remove(&id) else {
            return;
        };
        for address in record.addresses() {
            drop_id(&mut self.by_address, &address, id);
        }
        drop_id(&mut self.by_name, &(&record.pod().name).into(), id);
        self.forgotten.push(record.pod().key());
    }
}

/// A claim on an address, as it stands among the others.
struct Claimed<'a> {
    pod: &'a Pod,
    sure: Validity,
    possible: Validity,
}

/// The earlier of two ends, of which `None` is never.
pub(super) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Mostly there is one, for which a vector would make room for four.
fn push(ids: &mut Vec<Id>, id: Id) {
    ids.reserve_exact(1);
    ids.push(id);
}

fn drop_id<K: Ord>(map: &mut BTreeMap<K, Vec<Id>>, key: &K, id: Id) {
    let Some(ids) = map.get_mut(key) else { return };
    ids.retain(|other| *other != id);
    if ids.is_empty() {
        map.remove(key);
    }
}
