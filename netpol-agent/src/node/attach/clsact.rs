//! Direct-action filters on the clsact qdisc of an interface.
//!
//! A clsact qdisc is made where there is none, and never removed, not even by `netpol-agent detach`: between finding it
//! empty and removing it another program could come to rely on it, and an empty one costs nothing. The kernel drops
//! packets towards the pod for the moment in which it adds a qdisc (`dev_deactivate` in `qdisc_graft`). Filters outlive
//! their process; each bears a [`Label`], by which the next process finds it and swaps its program in place.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};
use nix::errno::Errno;

use super::error::{AttachError, refused};
use super::hook::Hook;
use super::label::Label;
use crate::node::netlink::{NetlinkError, Requests};

/// Where a filter sits. Within (interface, hook), preference and handle name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) ifindex: u32,
    pub(super) hook: Hook,
    pub(super) preference: u16,
    pub(super) handle: u32,
}

/// A filter on a hook, ours or another's. Chains other than the first are left out: packets only come there by an
/// action of somebody's filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Filter {
    pub(super) place: Place,
    /// Whether a `bpf` filter for all protocols: only among those can ours be at the same preference.
    pub(super) shareable: bool,
    /// Ours, by its name.
    pub(super) label: Option<Label>,
}

/// Traffic control of the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Clsact {
    requests: Requests,
}

impl Clsact {
    pub(super) fn new(requests: Requests) -> Self {
        Self { requests }
    }

    /// Every interface with a clsact qdisc.
    pub(super) fn interfaces(&self) -> Result<Vec<u32>, AttachError> {
        let qdiscs = self.qdiscs().map_err(|source| AttachError::List {
            what: "the qdiscs of this network namespace",
            source,
        })?;
        let clsact = qdiscs.iter().filter(|qdisc| kind(qdisc) == Some("clsact"));
        let mut found: Vec<u32> = clsact
            .map(|qdisc| qdisc.header.index.cast_unsigned())
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Makes the qdisc where there is none.
    pub(super) fn make_qdisc(&self, ifindex: u32) -> Result<(), AttachError> {
        let mut message = TcMessage::with_index(ifindex.cast_signed());
        message.header.parent = TcHandle::CLSACT;
        message.header.handle = QDISC;
        message.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
        let request = RouteNetlinkMessage::NewQueueDiscipline(message);
        match self
            .requests
            .ask(&request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
        {
            Ok(_) => Ok(()),
            Err(error) if refused(&error) == Some(Errno::EEXIST) => self.is_clsact(ifindex),
            Err(error) => Err(failed("add a clsact qdisc", ifindex)(error)),
        }
    }

    /// The filters on a hook, in the order in which packets pass them; none where there is no clsact qdisc.
    pub(super) fn filters(&self, ifindex: u32, hook: Hook) -> Result<Vec<Filter>, AttachError> {
        let mut message = TcMessage::with_index(ifindex.cast_signed());
        message.header.parent = parent(hook);
        let request = RouteNetlinkMessage::GetTrafficFilter(message);
        match self.requests.ask(&request, NLM_F_DUMP) {
            Ok(answers) => Ok(answers
                .iter()
                .filter_map(|answer| filter(answer, hook))
                .collect()),
            // No such qdisc.
            Err(error) if refused(&error) == Some(Errno::EINVAL) => Ok(Vec::new()),
            Err(error) => Err(failed("list the filters", ifindex)(error)),
        }
    }

    /// Adds a filter where there is none.
    pub(super) fn add(
        &self,
        place: Place,
        label: &Label,
        program: BorrowedFd<'_>,
    ) -> Result<(), AttachError> {
        self.set(place, label, program, NLM_F_CREATE | NLM_F_EXCL)
            .map_err(failed("add a filter", place.ifindex))
    }

    /// Swaps program and name of a filter of ours; no packet passes unseen.
    pub(super) fn replace(
        &self,
        place: Place,
        label: &Label,
        program: BorrowedFd<'_>,
    ) -> Result<(), AttachError> {
        self.set(place, label, program, 0)
            .map_err(failed("swap the program of a filter", place.ifindex))
    }

    /// Removes a filter; one that is not there counts as removed.
    pub(super) fn remove(&self, place: Place) -> Result<(), AttachError> {
        let request = RouteNetlinkMessage::DelTrafficFilter(message(place));
        match self.requests.ask(&request, NLM_F_ACK) {
            Ok(_) => Ok(()),
            Err(error) => match refused(&error) {
                Some(Errno::ENOENT | Errno::ENODEV | Errno::EINVAL) => Ok(()),
                _ => Err(failed("remove a filter", place.ifindex)(error)),
            },
        }
    }

    fn set(
        &self,
        place: Place,
        label: &Label,
        program: BorrowedFd<'_>,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        let mut message = message(place);
        message.attributes = vec![
            TcAttribute::Kind("bpf".to_owned()),
            TcAttribute::Options(vec![
                TcOption::Bpf(TcFilterBpfOption::ProgFd(
                    program.as_raw_fd().cast_unsigned(),
                )),
                TcOption::Bpf(TcFilterBpfOption::ProgName(label.to_string())),
                TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
            ]),
        ];
        let request = RouteNetlinkMessage::NewTrafficFilter(message);
        self.requests.ask(&request, NLM_F_ACK | flags).map(drop)
    }

    /// Whether what stands where clsact would be is one: the older `ingress` qdisc has the same handle.
    fn is_clsact(&self, ifindex: u32) -> Result<(), AttachError> {
        let qdiscs = self.qdiscs().map_err(failed("list the qdiscs", ifindex))?;
        let ingress = qdiscs.iter().any(|qdisc| {
            qdisc.header.index == ifindex.cast_signed() && kind(qdisc) == Some("ingress")
        });
        if ingress {
            Err(AttachError::IngressQdisc { ifindex })
        } else {
            Ok(())
        }
    }

    fn qdiscs(&self) -> Result<Vec<TcMessage>, NetlinkError> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = self.requests.ask(&request, NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(qdisc).collect())
    }
}

/// The place at the front that is free, given the filters of a hook in order.
///
/// A `bpf` filter added at a preference goes before those that are there (`list_add_rcu` in `cls_bpf_change`); a
/// preference held by another kind or protocol takes no other.
pub(super) fn front(ifindex: u32, hook: Hook, filters: &[Filter]) -> Place {
    let at = |preference: u16| {
        filters
            .iter()
            .filter(move |filter| filter.place.preference == preference)
    };
    let preference = (1..u16::MAX)
        .find(|preference| at(*preference).all(|filter| filter.shareable))
        .unwrap_or(u16::MAX);
    let handle = (FIRST_HANDLE..=u32::MAX)
        .find(|handle| at(preference).all(|filter| filter.place.handle != *handle))
        .unwrap_or(u32::MAX);
    Place {
        ifindex,
        hook,
        preference,
        handle,
    }
}

/// How many filters are before `place`; `None` if there is none at `place`.
pub(super) fn position(place: Place, filters: &[Filter]) -> Option<usize> {
    let real = filters.iter().filter(|filter| filter.place.handle != 0);
    real.clone().position(|filter| filter.place == place)
}

/// Whether a filter at the free place `new` is passed before fewer others than that at `old`: at the same preference
/// only if others came in front there.
pub(super) fn is_better(new: Place, old: Place, filters: &[Filter]) -> bool {
    let first = filters
        .iter()
        .find(|filter| filter.place.preference == old.preference && filter.place.handle != 0);
    let led = first.is_some_and(|filter| filter.place != old);
    new.preference < old.preference || new.preference == old.preference && led
}

/// `ffff:`, where the kernel puts ingress and clsact qdiscs.
const QDISC: TcHandle = TcHandle {
    major: u16::MAX,
    minor: 0,
};
/// The first handle of ours at a preference: above those that the kernel deals out, which begin at 1.
const FIRST_HANDLE: u32 = 0x6e70_0001;
/// `ETH_P_ALL` in network order, as `tcm_info` has it.
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();

fn parent(hook: Hook) -> TcHandle {
    TcHandle {
        major: u16::MAX,
        minor: match hook {
            Hook::Ingress => TcHandle::MIN_INGRESS,
            Hook::Egress => TcHandle::MIN_EGRESS,
        },
    }
}

/// A request about the filter at `place`.
fn message(place: Place) -> TcMessage {
    let mut message = TcMessage::with_index(place.ifindex.cast_signed());
    message.header.parent = parent(place.hook);
    message.header.handle = place.handle.into();
    message.header.info = u32::from(place.preference) << 16 | u32::from(ALL_PROTOCOLS);
    message
}

fn filter(answer: &RouteNetlinkMessage, hook: Hook) -> Option<Filter> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = answer else {
        return None;
    };
    let elsewhere =
        |attribute: &TcAttribute| matches!(attribute, TcAttribute::Chain(chain) if *chain != 0);
    if message.attributes.iter().any(elsewhere) {
        return None;
    }
    let [preference, protocol] = [message.header.info >> 16, message.header.info & 0xffff];
    Some(Filter {
        place: Place {
            ifindex: message.header.index.cast_unsigned(),
            hook,
            preference: u16::try_from(preference).ok()?,
            handle: message.header.handle.into(),
        },
        shareable: kind(message) == Some("bpf") && protocol == u32::from(ALL_PROTOCOLS),
        label: name(message)
            .and_then(Label::parse)
            .filter(|label| label.hook == hook),
    })
}

fn qdisc(answer: RouteNetlinkMessage) -> Option<TcMessage> {
    match answer {
        RouteNetlinkMessage::NewQueueDiscipline(message) => Some(message),
        _ => None,
    }
}

fn kind(message: &TcMessage) -> Option<&str> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Kind(kind) => Some(kind.as_str()),
            _ => None,
        })
}

fn name(message: &TcMessage) -> Option<&str> {
    let options = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        })?;
    options.iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.as_str()),
        _ => None,
    })
}

fn failed(action: &'static str, ifindex: u32) -> impl FnOnce(NetlinkError) -> AttachError {
    move |source| AttachError::Clsact {
        action,
        ifindex,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(preference: u16, handle: u32, shareable: bool) -> Filter {
        Filter {
            place: place(preference, handle),
            shareable,
            label: None,
        }
    }

    fn place(preference: u16, handle: u32) -> Place {
        Place {
            ifindex: 7,
            hook: Hook::Ingress,
            preference,
            handle,
        }
    }

    #[test]
    fn the_front_is_the_first_preference_that_takes_a_filter_of_ours() {
        let ours = FIRST_HANDLE;
        for (filters, expected) in [
            (vec![], place(1, ours)),
            (vec![filter(49152, 1, false)], place(1, ours)),
            (vec![filter(1, 0, true), filter(1, 1, true)], place(1, ours)),
            (vec![filter(1, ours, true)], place(1, ours + 1)),
            (
                vec![filter(1, 0, false), filter(2, 0, false)],
                place(3, ours),
            ),
            (
                vec![filter(1, 1, false), filter(2, ours, true)],
                place(2, ours + 1),
            ),
        ] {
            assert_eq!(front(7, Hook::Ingress, &filters), expected, "{filters:?}");
        }
    }

    #[test]
    fn moving_is_better_only_if_it_passes_somebody() {
        let ours = place(2, 7);
        let alone = [filter(1, 1, false), filter(2, 0, true), filter(2, 7, true)];
        assert!(!is_better(place(2, 8), ours, &alone));
        assert!(!is_better(place(3, 8), ours, &alone));
        assert!(is_better(place(1, 8), ours, &alone));
        let led = [filter(2, 0, true), filter(2, 9, true), filter(2, 7, true)];
        assert!(is_better(place(2, 8), ours, &led));
    }

    #[test]
    fn heads_of_preferences_do_not_count_as_filters() {
        let filters = [
            filter(1, 0, false),
            filter(1, 9, false),
            filter(2, 0, true),
            filter(2, 5, true),
        ];
        assert_eq!(position(place(2, 5), &filters), Some(1));
        assert_eq!(position(place(1, 9), &filters), Some(0));
        assert_eq!(position(place(2, 6), &filters), None);
    }
}
