//! Keeps both classifiers on every interface that is observed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::chain::{Attachment, Chains, Findings, Spot};
use super::clsact::Clsact;
use super::decide::Mechanism;
use super::device::Device;
use super::error::AttachError;
use super::hook::{Hook, Programs};
use super::label::Owner;
use super::pins::{self, Instance, PinRoot};
use super::tcx;
use crate::node::netlink::Requests;

/// How an [`Attacher`] names and keeps what it attaches.
#[derive(Clone, Debug)]
pub struct Options {
    /// As [`super::decide`] chose.
    pub mechanism: Mechanism,
    /// One for each network namespace: the same ifindex in two namespaces would be the same pin.
    pub instance: Instance,
    /// [`netpol_common::abi::ABI_VERSION`] of the programs.
    pub abi_version: u32,
    /// The number drawn when the maps were made.
    pub epoch: u64,
    /// Where links are pinned; `None` without bpffs.
    pub pins: Option<PinRoot>,
}

/// Attaches to interfaces of the network namespace that the calling thread is in: every call has to come from a
/// thread in the namespace in which it was made.
#[derive(Debug)]
pub struct Attacher {
    chains: Chains,
    pins: Option<PinRoot>,
    requests: Requests,
    interfaces: BTreeMap<u32, Interface>,
}

/// What came of attaching to an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Both programs are attached.
    Attached,
    /// The interface went away meanwhile; nothing is left of it.
    Gone,
}

/// Something that an earlier process had attached to an interface.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Adopted {
    /// The ifindex that it had.
    pub ifindex: u32,
    /// The handle that it has in the maps.
    pub interface: u32,
    /// Whether it is the same interface still, and now sees our programs; else it is gone, and what has its ifindex
    /// is another.
    pub alive: bool,
}

/// How our programs were found by [`Attacher::verify`], and what was done; the worse of both hooks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// In front of all others.
    First,
    /// So many programs are in front of ours, and stay there: they hold a lower preference, or came back in front
    /// each time. If they let packets pass, nothing is lost.
    Behind(usize),
    /// Others had come in front; ours were attached anew before them. With TCX and without a spare program, packets of
    /// some microseconds were not seen: seed the interface's connections again.
    BroughtForward,
    /// Somebody had detached ours; they are attached again. Seed the interface's connections again.
    Reattached,
    /// The interface is gone, or another bears its ifindex. It is no longer kept.
    Gone,
}

#[derive(Debug)]
struct Interface {
    handle: u32,
    device: Device,
    attachments: BTreeMap<Hook, Attachment>,
    /// How often it was brought forward.
    moves: u32,
}

/// How often an interface's programs are brought forward: two programs that both want to be first must not chase
/// each other for ever.
const MOST_MOVES: u32 = 3;

impl Attacher {
    /// Prepares attaching in the calling thread's network namespace. Nothing is attached or adopted yet.
    ///
    /// # Errors
    ///
    /// [`AttachError::List`] without netlink.
    pub fn new(options: Options, programs: Programs) -> Result<Self, AttachError> {
        let links = options.pins.as_ref();
        let chains = Chains {
            mechanism: options.mechanism,
            links: links.map(|root| root.links(options.abi_version)),
            owner: Owner {
                instance: options.instance,
                abi_version: options.abi_version,
                epoch: options.epoch,
            },
            programs,
            spare: None,
            clsact: Clsact::new(open()?),
        };
        Ok(Self {
            chains,
            pins: options.pins,
            requests: open()?,
            interfaces: BTreeMap::new(),
        })
    }

    /// Whether something stands before ours on a TCX hook, and only a spare copy of the programs could go before that
    /// without a gap; see [`Attacher::set_spare`].
    #[must_use]
    pub fn wants_spare(&self) -> bool {
        let kept = self.interfaces.iter();
        self.chains.spare.is_none()
            && kept.filter(|(_, kept)| kept.moves < MOST_MOVES).any(
                |(
                    ifindex,
                    Interface {
                        handle,
                        attachments,
                        ..
                    },
                )| {
                    attachments.iter().any(|(hook, attachment)| {
                        let spot = Spot {
                            ifindex: *ifindex,
                            interface: *handle,
                            hook: *hook,
                        };
                        let is_link = matches!(attachment, Attachment::Tcx(_));
                        is_link && matches!(self.chains.position(spot, attachment), Ok(Some(1..)))
                    })
                },
            )
    }

    /// Gives it other copies of the same programs, loaded by themselves.
    pub fn set_spare(&mut self, spare: Programs) {
        self.chains.spare = Some(spare);
    }

    /// Takes over what an earlier process of this instance, `ABI_VERSION` and epoch left attached: its programs are
    /// swapped for ours without a gap. What belongs to an interface that is gone is unpinned; filters of other epochs,
    /// whose maps are out of reach, are removed.
    ///
    /// # Errors
    ///
    /// Any [`AttachError`]; what was adopted until then stays adopted.
    pub fn adopt(&mut self) -> Result<Vec<Adopted>, AttachError> {
        self.chains.remove_left_over()?;
        let Findings { found, dead } = self.chains.find()?;
        let mut adopted = BTreeMap::new();
        for name in dead {
            self.chains.forget(name)?;
            adopted.insert((name.ifindex, name.interface), false);
        }
        for (spot, attachment) in found {
            let alive = self.take_over(spot, attachment)?;
            *adopted.entry((spot.ifindex, spot.interface)).or_default() |= alive;
        }
        self.remove_filters_of_other_epochs()?;
        self.complete()?;
        let adopted = adopted
            .into_iter()
            .map(|((ifindex, interface), alive)| Adopted {
                ifindex,
                interface,
                alive,
            });
        Ok(adopted.collect())
    }

    /// Attaches both programs to the interface `ifindex`, whose handle in the maps is `interface`. Where they are
    /// attached under that handle already, nothing changes; under another handle, that is an interface which is gone.
    ///
    /// # Errors
    ///
    /// Any [`AttachError`] but those of an interface that went away; nothing is left attached then.
    pub fn attach(&mut self, ifindex: u32, interface: u32) -> Result<Outcome, AttachError> {
        if self
            .interfaces
            .get(&ifindex)
            .is_some_and(|known| known.handle != interface)
        {
            self.detach(ifindex)?;
        }
        match self.try_attach(ifindex, interface) {
            Ok(true) => Ok(Outcome::Attached),
            Ok(false) => self.detach(ifindex).map(|()| Outcome::Gone),
            Err(error) => {
                // The first error tells more than one of clearing up after it.
                let _cleared = self.detach(ifindex);
                if error.is_gone() {
                    Ok(Outcome::Gone)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Detaches ours from the interface, and nothing else. One that was not attached counts as detached.
    ///
    /// # Errors
    ///
    /// Any [`AttachError`]; the interface is no longer kept all the same.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), AttachError> {
        let attachments = self
            .interfaces
            .remove(&ifindex)
            .map(|interface| interface.attachments);
        let mut result = Ok(());
        for attachment in attachments.into_iter().flat_map(BTreeMap::into_values) {
            let removed = self.chains.remove(attachment);
            result = result.and(removed);
        }
        result
    }

    /// Looks whether our programs are still attached, and in front; attaches them again where they are not. In order
    /// of ifindex.
    pub fn verify(&mut self) -> Vec<(u32, Result<State, AttachError>)> {
        let kept: Vec<u32> = self.interfaces.keys().copied().collect();
        let states = kept
            .into_iter()
            .map(|ifindex| (ifindex, self.verify_one(ifindex)));
        states.collect()
    }

    /// The interfaces that are attached, with their handles, in order of ifindex.
    #[must_use]
    pub fn attached(&self) -> Vec<(u32, u32)> {
        let kept = self.interfaces.iter();
        kept.map(|(ifindex, interface)| (*ifindex, interface.handle))
            .collect()
    }

    /// The `ABI_VERSION`s other than ours of which this instance has pins or filters, in order. Attach ours first,
    /// then [`Attacher::retire`] them, walk their maps a last time, and [`PinRoot::remove_version`].
    ///
    /// # Errors
    ///
    /// Any [`AttachError`].
    pub fn other_versions(&self) -> Result<Vec<u32>, AttachError> {
        let mut versions = self
            .pins
            .as_ref()
            .map_or(Ok(Vec::new()), PinRoot::versions)?;
        let instance = &self.chains.owner.instance;
        let filters = self.chains.filters(|owner| owner.instance == *instance)?;
        versions.extend(filters.iter().map(|(_, label)| label.owner.abi_version));
        versions.sort_unstable();
        versions.dedup();
        versions.retain(|version| *version != self.chains.owner.abi_version);
        Ok(versions)
    }

    /// Detaches what this instance has attached with another `ABI_VERSION`. Its maps stay. Returns the interfaces that
    /// were observed up to now: ifindex, and whether it is the same interface still.
    ///
    /// # Errors
    ///
    /// Any [`AttachError`].
    pub fn retire(&mut self, abi_version: u32) -> Result<BTreeMap<u32, bool>, AttachError> {
        let mut observed = BTreeMap::new();
        if let Some(root) = &self.pins {
            let directory = root.links(abi_version);
            for name in pins::link_names(&directory)? {
                let attached = tcx::remove_pinned(&directory.join(name.to_string()))?;
                *observed.entry(name.ifindex).or_default() |= attached;
            }
        }
        let instance = self.chains.owner.instance.clone();
        let ours = |owner: &Owner| owner.instance == instance && owner.abi_version == abi_version;
        for (place, _) in self.chains.filters(ours)? {
            self.chains.clsact.remove(place)?;
            observed.insert(place.ifindex, true);
        }
        Ok(observed)
    }

    /// Ends attaching: pinned, all stays as it is for the next process; unpinned, everything of ours is detached.
    ///
    /// # Errors
    ///
    /// The first [`AttachError`] of detaching.
    pub fn close(mut self) -> Result<(), AttachError> {
        if self.pins.is_some() {
            return Ok(());
        }
        let kept: Vec<u32> = self.interfaces.keys().copied().collect();
        let results: Vec<_> = kept
            .into_iter()
            .map(|ifindex| self.detach(ifindex))
            .collect();
        results.into_iter().collect()
    }

    /// Whether the interface of `spot` is still there and now runs our program.
    fn take_over(&mut self, spot: Spot, found: Attachment) -> Result<bool, AttachError> {
        let Some(device) = Device::of(&self.requests, spot.ifindex)? else {
            self.chains.remove(found)?;
            return Ok(false);
        };
        if self.has(spot) {
            // A process died between attaching anew in front and detaching what is behind.
            self.chains.remove(found)?;
            return Ok(true);
        }
        let attachment = match self.chains.take_over(spot, found) {
            Err(error) if error.is_gone() => return Ok(false),
            taken => taken?,
        };
        let interface = self.interface(spot.ifindex, spot.interface, device);
        interface.attachments.insert(spot.hook, attachment);
        Ok(true)
    }

    fn has(&self, spot: Spot) -> bool {
        let kept = self.interfaces.get(&spot.ifindex);
        kept.is_some_and(|kept| {
            kept.handle == spot.interface && kept.attachments.contains_key(&spot.hook)
        })
    }

    /// Attaches what an earlier process had not come to attach.
    fn complete(&mut self) -> Result<(), AttachError> {
        for (ifindex, interface) in self.attached() {
            self.attach(ifindex, interface)?;
        }
        Ok(())
    }

    fn remove_filters_of_other_epochs(&self) -> Result<(), AttachError> {
        let ours = &self.chains.owner;
        let of_other_epochs = |owner: &Owner| {
            owner.instance == ours.instance
                && owner.abi_version == ours.abi_version
                && owner.epoch != ours.epoch
        };
        let stale = self.chains.filters(of_other_epochs)?;
        stale
            .into_iter()
            .try_for_each(|(place, _)| self.chains.clsact.remove(place))
    }

    /// Whether the interface is there, with both programs attached.
    fn try_attach(&mut self, ifindex: u32, handle: u32) -> Result<bool, AttachError> {
        let Some(device) = Device::of(&self.requests, ifindex)? else {
            return Ok(false);
        };
        self.interface(ifindex, handle, device);
        for hook in Hook::ALL {
            let spot = Spot {
                ifindex,
                interface: handle,
                hook,
            };
            self.put(spot)?;
        }
        Ok(true)
    }

    /// Puts our program on `spot`, unless it is there.
    fn put(&mut self, spot: Spot) -> Result<(), AttachError> {
        let Some(interface) = self.interfaces.get_mut(&spot.ifindex) else {
            return Ok(());
        };
        if let Entry::Vacant(free) = interface.attachments.entry(spot.hook) {
            free.insert(self.chains.put(spot)?);
        }
        Ok(())
    }

    fn interface(&mut self, ifindex: u32, handle: u32, device: Device) -> &mut Interface {
        self.interfaces.entry(ifindex).or_insert_with(|| Interface {
            handle,
            device,
            attachments: BTreeMap::new(),
            moves: 0,
        })
    }

    fn verify_one(&mut self, ifindex: u32) -> Result<State, AttachError> {
        let mut state = State::First;
        for hook in Hook::ALL {
            match self.verify_hook(ifindex, hook) {
                Err(error) if error.is_gone() => state = State::Gone,
                result => state = state.max(result?),
            }
        }
        if state == State::Gone {
            self.detach(ifindex)?;
        }
        Ok(state)
    }

    fn verify_hook(&mut self, ifindex: u32, hook: Hook) -> Result<State, AttachError> {
        let Some(interface) = self.interfaces.get_mut(&ifindex) else {
            return Ok(State::Gone);
        };
        let spot = Spot {
            ifindex,
            interface: interface.handle,
            hook,
        };
        let attachment = interface.attachments.get(&hook);
        let position = attachment.map_or(Ok(None), |ours| self.chains.position(spot, ours))?;
        match position {
            Some(0) => Ok(State::First),
            Some(ahead) if interface.moves >= MOST_MOVES => Ok(State::Behind(ahead)),
            Some(_) => self.bring_forward(spot),
            None if Device::of(&self.requests, ifindex)?.as_ref() != Some(&interface.device) => {
                Ok(State::Gone)
            }
            None => {
                interface.attachments.remove(&hook);
                self.put(spot).map(|()| State::Reattached)
            }
        }
    }

    fn bring_forward(&mut self, spot: Spot) -> Result<State, AttachError> {
        let Some(interface) = self.interfaces.get_mut(&spot.ifindex) else {
            return Ok(State::Gone);
        };
        let Some(attachment) = interface.attachments.remove(&spot.hook) else {
            return Ok(State::Gone);
        };
        interface.moves += 1;
        let attachment = self.chains.bring_forward(spot, attachment)?;
        let ahead = self.chains.position(spot, &attachment)?;
        interface.attachments.insert(spot.hook, attachment);
        Ok(match ahead {
            Some(0) => State::BroughtForward,
            Some(ahead) => State::Behind(ahead),
            None => State::Reattached,
        })
    }
}

fn open() -> Result<Requests, AttachError> {
    Requests::open(NETLINK_ROUTE).map_err(|source| AttachError::List {
        what: "interfaces",
        source,
    })
}
