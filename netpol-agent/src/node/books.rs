//! Everything an observer knows about its node, without any I/O.

use super::account::{Account, Carries};
use super::clock::Clock;
use super::interfaces::{Held, Interface, Interfaces, Verdict, kernel_key};
use super::seeds::Seeds;
use crate::observe::{ObservedKey, ObservedLosses};

/// The state of an observer.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What the kernel counted.
    pub account: Account,
    /// What was open before it counted.
    pub seeds: Seeds,
    /// On which interfaces, and whose they are.
    pub interfaces: Interfaces,
    /// From kernel time to wall time.
    pub clock: Clock,
}

impl Books {
    /// Takes note that a connection was open at kernel time `time`: one that the kernel counted, or else one that was
    /// seeded. Returns whether its edge is known.
    ///
    /// # Errors
    ///
    /// `carries` could not be read.
    pub fn open<C: Carries>(
        &mut self,
        key: &ObservedKey,
        time: u64,
        carries: &C,
    ) -> Result<bool, C::Error> {
        let counted = kernel_key(key);
        let learned = self.interfaces.verdict(&counted) == Verdict::Learn;
        let known = learned && self.account.open(&counted, time, carries)?;
        Ok(known || self.seeds.open(key, time))
    }

    /// What was lost on each interface whose pod is known.
    #[must_use]
    pub fn losses(&self) -> Vec<ObservedLosses> {
        let handles = self.interfaces.iter().map(|interface| interface.handle);
        handles
            .filter_map(|handle| self.losses_of(handle))
            .collect()
    }

    /// What was lost on one interface, if its pod is known.
    #[must_use]
    pub fn losses_of(&self, handle: u32) -> Option<ObservedLosses> {
        let interface = self.interfaces.get(handle)?;
        let bound = interface.bound.as_ref()?;
        let edges = self.account.of_interface(handle);
        let held = edges.fold(Held::default(), |held, (key, entry)| {
            held.with(interface.verdict(key), entry)
        });
        Some(ObservedLosses {
            interface: handle,
            pod: bound.pod.clone(),
            losses: interface.losses(held),
        })
    }

    /// Whether nothing is left to be known about a dead interface.
    #[must_use]
    pub fn is_finished(&self, handle: u32) -> bool {
        let dead = self.interfaces.get(handle).is_none_or(Interface::is_dead);
        dead && self.account.of_interface(handle).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use netpol_common::abi::{Direction, EdgeKey, EdgeValue};
    use netpol_common::words::Protocol;

    use super::*;
    use crate::kernel::MapKind;
    use crate::node::account::NoCarries;
    use crate::node::bind::Evidence;
    use crate::node::interfaces::Bound;
    use crate::observe::{Losses, ObjectIdentity, PodIdentity, Source};

    /// An interface of a pod with one address.
    fn books() -> Books {
        let mut interface = Interface::new(7, 3, "veth1");
        interface.bind(Bound {
            pod: PodIdentity {
                name: ObjectIdentity {
                    namespace: "shop".to_owned(),
                    name: "web-0".to_owned(),
                },
                uid: "u1".to_owned(),
            },
            addresses: vec!["10.1.0.5".parse().unwrap()],
            evidence: Evidence::Process,
        });
        let mut books = Books::default();
        books.interfaces.insert(interface);
        books
    }

    fn from(local: &str) -> EdgeKey {
        kernel_key(&ObservedKey {
            interface: 7,
            source: Source::Kernel,
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            port: 80,
            local: local.parse().unwrap(),
            remote: "10.1.0.9".parse().unwrap(),
        })
    }

    fn observe(books: &mut Books, map: MapKind, key: EdgeKey, attempts: u64, answered: u64) {
        let value = EdgeValue {
            attempts,
            answered,
            refused: 0,
            first_seen: 1,
            last_seen: 2,
        };
        let Ok(()) = books.account.observe(map, key, &value, &NoCarries);
    }

    fn losses(books: &Books) -> Losses {
        books.losses_of(7).unwrap().losses
    }

    #[test]
    fn foreign_attempts_count_once_when_one_of_their_entries_is_deleted() {
        let (mut books, key) = (books(), from("10.1.0.66"));
        observe(&mut books, MapKind::Attempts, key, 2, 0);
        observe(&mut books, MapKind::Edges, key, 3, 1);
        assert_eq!(losses(&books).foreign, 5);
        books.account.discard(MapKind::Attempts, &key);
        books.interfaces.get_mut(7).unwrap().dropped.foreign += 2;
        assert_eq!(losses(&books).foreign, 5);
        observe(&mut books, MapKind::Attempts, key, 1, 0);
        assert_eq!(losses(&books).foreign, 6);
    }

    #[test]
    fn an_edge_without_room_that_the_attempts_remember_is_not_missing() {
        let (mut books, key) = (books(), from("10.1.0.5"));
        books.interfaces.get_mut(7).unwrap().lost.edges = 2;
        observe(&mut books, MapKind::Attempts, key, 3, 0);
        assert_eq!(losses(&books).missing_edges(), 2);
        observe(&mut books, MapKind::Attempts, key, 3, 1);
        assert_eq!(losses(&books).missing_edges(), 1);
    }
}
