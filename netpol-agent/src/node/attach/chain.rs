//! One program on one hook, whichever the mechanism: put there, found, brought forward, taken away.

use std::path::PathBuf;

use tracing::warn;

use super::clsact::{self, Clsact, Filter, Place};
use super::decide::Mechanism;
use super::error::AttachError;
use super::fault;
use super::hook::{Hook, Programs};
use super::label::{Label, Owner};
use super::pins::{self, LinkName};
use super::tcx::{self, Copy, TcxLink};

/// What holds one of our programs to a hook.
#[derive(Debug)]
pub(super) enum Attachment {
    Tcx(TcxLink),
    Clsact { place: Place, label: Label },
}

/// One hook of one interface, with the handle of the interface in our maps.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Spot {
    pub(super) ifindex: u32,
    pub(super) interface: u32,
    pub(super) hook: Hook,
}

/// What an earlier process left behind.
#[derive(Debug)]
pub(super) struct Findings {
    /// What is attached still.
    pub(super) found: Vec<(Spot, Attachment)>,
    /// Pinned links whose interface is gone.
    pub(super) dead: Vec<LinkName>,
}

/// The means to attach: programs, names, and the mechanism to use.
#[derive(Debug)]
pub(super) struct Chains {
    pub(super) mechanism: Mechanism,
    pub(super) owner: Owner,
    /// Where links are pinned; `None` without bpffs.
    pub(super) links: Option<PathBuf>,
    pub(super) programs: Programs,
    /// Other copies of the same programs; see [`Copy`].
    pub(super) spare: Option<Programs>,
    pub(super) clsact: Clsact,
}

impl Chains {
    /// Puts our program on `spot`, in front. A filter of this instance that is there already, of whichever epoch, has
    /// its program swapped instead.
    pub(super) fn put(&self, spot: Spot) -> Result<Attachment, AttachError> {
        let program = self.programs.on(spot.hook);
        match self.mechanism {
            Mechanism::Tcx => {
                let pin = self.pin(spot);
                let link = TcxLink::create(program, spot.ifindex, spot.hook, pin.as_deref())?;
                Ok(Attachment::Tcx(link))
            }
            Mechanism::Clsact => self.put_filter(spot),
        }
    }

    /// What an earlier process of this epoch left.
    pub(super) fn find(&self) -> Result<Findings, AttachError> {
        let mut found = Vec::new();
        let mut dead = Vec::new();
        for name in self
            .links
            .as_deref()
            .map_or(Ok(Vec::new()), pins::link_names)?
        {
            match self.open(name)? {
                Some(link) => found.push((Spot::of(name), Attachment::Tcx(link))),
                None => dead.push(name),
            }
        }
        for filter in self.filters(|owner| *owner == self.owner)? {
            let (place, label) = filter;
            found.push((
                Spot::of_filter(place, &label),
                Attachment::Clsact { place, label },
            ));
        }
        Ok(Findings { found, dead })
    }

    /// Every filter in this network namespace whose owner is `wanted`.
    pub(super) fn filters(
        &self,
        wanted: impl Fn(&Owner) -> bool,
    ) -> Result<Vec<(Place, Label)>, AttachError> {
        clsact_filters(&self.clsact, wanted)
    }

    /// Puts our program into what an earlier process left; what is of the other mechanism is replaced by ours first
    /// and then removed, so that packets in between are seen twice rather than never.
    pub(super) fn take_over(
        &self,
        spot: Spot,
        found: Attachment,
    ) -> Result<Attachment, AttachError> {
        let program = self.programs.on(spot.hook);
        match (&found, self.mechanism) {
            (Attachment::Tcx(link), Mechanism::Tcx) => link.replace(program)?,
            (Attachment::Clsact { place, label }, Mechanism::Clsact) => {
                self.clsact.replace(*place, label, program)?;
            }
            _ => {
                let ours = self.put(spot)?;
                self.remove(found)?;
                return Ok(ours);
            }
        }
        Ok(found)
    }

    /// How many programs are in front of ours, as far as going in front of them is possible; `None` if ours is gone.
    pub(super) fn position(
        &self,
        spot: Spot,
        attachment: &Attachment,
    ) -> Result<Option<usize>, AttachError> {
        match attachment {
            Attachment::Tcx(link) => link.position(),
            Attachment::Clsact { place, label } => {
                let filters = match self.clsact.filters(spot.ifindex, spot.hook) {
                    Err(error) if error.is_gone() => return Ok(None),
                    filters => filters?,
                };
                let ours = filters.iter().any(|filter| is(filter, *place, label));
                Ok(ours.then(|| clsact::position(*place, &filters)).flatten())
            }
        }
    }

    /// Attaches anew in front of the chain, or as far forward as others leave room.
    pub(super) fn bring_forward(
        &self,
        spot: Spot,
        attachment: Attachment,
    ) -> Result<Attachment, AttachError> {
        match attachment {
            Attachment::Tcx(link) => self.bring_link_forward(spot, link).map(Attachment::Tcx),
            Attachment::Clsact {
                place: behind,
                label,
            } => {
                let filters = self.clsact.filters(spot.ifindex, spot.hook)?;
                let place = clsact::front(spot.ifindex, spot.hook, &filters);
                if !clsact::is_better(place, behind, &filters) {
                    return Ok(Attachment::Clsact {
                        place: behind,
                        label,
                    });
                }
                self.clsact
                    .add(place, &label, self.programs.on(spot.hook))?;
                fault::reached("created");
                self.clsact.remove(behind)?;
                Ok(Attachment::Clsact { place, label })
            }
        }
    }

    /// With a spare program there is no gap; if that fails, the link stays where it is.
    fn bring_link_forward(&self, spot: Spot, link: TcxLink) -> Result<TcxLink, AttachError> {
        let Some(spare) = &self.spare else {
            return link.bring_forward(self.programs.on(spot.hook));
        };
        let other = match link.runs() {
            Copy::First => spare,
            Copy::Spare => &self.programs,
        };
        match link.move_forward(other.on(spot.hook)) {
            Ok(new) => Ok(new),
            Err(error) if error.is_gone() => Err(error),
            Err(error) => {
                warn!("{error}: the program stays behind others");
                Ok(link)
            }
        }
    }

    /// Detaches links that were to take another's place when their process died; that other is still attached.
    pub(super) fn remove_left_over(&self) -> Result<(), AttachError> {
        let links = self.links.as_deref();
        let left = links.map_or(Ok(Vec::new()), pins::left_over)?;
        let removed = left.iter().map(|path| tcx::remove_pinned(path).map(drop));
        removed.collect()
    }

    /// Takes our program away; one that has gone with its interface counts as taken away.
    pub(super) fn remove(&self, attachment: Attachment) -> Result<(), AttachError> {
        match attachment {
            Attachment::Tcx(link) => link.remove(),
            Attachment::Clsact { place, .. } => self.clsact.remove(place),
        }
    }

    /// Unpins a link that is dead.
    pub(super) fn forget(&self, name: LinkName) -> Result<(), AttachError> {
        let path = self
            .links
            .as_ref()
            .map(|links| links.join(name.to_string()));
        path.map_or(Ok(false), |path| tcx::remove_pinned(&path))
            .map(drop)
    }

    fn put_filter(&self, spot: Spot) -> Result<Attachment, AttachError> {
        let program = self.programs.on(spot.hook);
        let label = Label {
            owner: self.owner.clone(),
            hook: spot.hook,
            interface: spot.interface,
        };
        self.clsact.make_qdisc(spot.ifindex)?;
        let filters = self.clsact.filters(spot.ifindex, spot.hook)?;
        if let Some(place) = filters
            .iter()
            .find_map(|filter| self.of_this_version(filter))
        {
            self.clsact.replace(place, &label, program)?;
            return Ok(Attachment::Clsact { place, label });
        }
        let place = clsact::front(spot.ifindex, spot.hook, &filters);
        self.clsact.add(place, &label, program)?;
        Ok(Attachment::Clsact { place, label })
    }

    fn of_this_version(&self, filter: &Filter) -> Option<Place> {
        let owner = &filter.label.as_ref()?.owner;
        (owner.instance == self.owner.instance && owner.abi_version == self.owner.abi_version)
            .then_some(filter.place)
    }

    fn open(&self, name: LinkName) -> Result<Option<TcxLink>, AttachError> {
        match self.pin(Spot::of(name)) {
            Some(path) => TcxLink::open(&path, name.ifindex, name.hook),
            None => Ok(None),
        }
    }

    fn pin(&self, spot: Spot) -> Option<PathBuf> {
        let name = LinkName {
            ifindex: spot.ifindex,
            interface: spot.interface,
            hook: spot.hook,
        };
        self.links
            .as_ref()
            .map(|links| links.join(name.to_string()))
    }
}

impl Spot {
    fn of(name: LinkName) -> Self {
        Self {
            ifindex: name.ifindex,
            interface: name.interface,
            hook: name.hook,
        }
    }

    fn of_filter(place: Place, label: &Label) -> Self {
        Self {
            ifindex: place.ifindex,
            interface: label.interface,
            hook: place.hook,
        }
    }
}

/// Every filter of ours in the network namespace of `clsact` whose owner is `wanted`.
pub(super) fn clsact_filters(
    clsact: &Clsact,
    wanted: impl Fn(&Owner) -> bool,
) -> Result<Vec<(Place, Label)>, AttachError> {
    let mut found = Vec::new();
    for ifindex in clsact.interfaces()? {
        for hook in Hook::ALL {
            let filters = match clsact.filters(ifindex, hook) {
                Err(error) if error.is_gone() => continue,
                filters => filters?,
            };
            let ours = filters
                .into_iter()
                .filter_map(|filter| Some((filter.place, filter.label?)));
            found.extend(ours.filter(|(_, label)| wanted(&label.owner)));
        }
    }
    Ok(found)
}

fn is(filter: &Filter, place: Place, label: &Label) -> bool {
    filter.place == place && filter.label.as_ref() == Some(label)
}
