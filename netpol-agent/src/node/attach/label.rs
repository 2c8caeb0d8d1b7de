//! The names of our filters, by which they are told from everybody else's and from those of other epochs.

use std::fmt;

use super::hook::Hook;
use super::pins::{Instance, number};

/// Whose filters, and of which maps: what is the same for all filters of one life of one set of maps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Owner {
    pub(super) instance: Instance,
    pub(super) abi_version: u32,
    /// The number drawn when the maps were made. A filter of another epoch counts into maps that are out of reach.
    pub(super) epoch: u64,
}

/// The name of a filter: `netpol/<instance>/v<ABI_VERSION>/<epoch>/<in|out>/<interface handle>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Label {
    pub(super) owner: Owner,
    pub(super) hook: Hook,
    pub(super) interface: u32,
}

impl Label {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let [top, instance, version, epoch, hook, interface] =
            text.split('/').collect::<Vec<_>>().try_into().ok()?;
        if top != "netpol" || epoch.len() != 16 {
            return None;
        }
        Some(Self {
            owner: Owner {
                instance: instance.parse().ok()?,
                abi_version: number(version.strip_prefix('v')?)?,
                epoch: u64::from_str_radix(epoch, 16).ok()?,
            },
            hook: Hook::from_short(hook)?,
            interface: number(interface)?,
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner {
            instance,
            abi_version,
            epoch,
        } = &self.owner;
        let hook = self.hook.short();
        write!(
            f,
            "netpol/{instance}/v{abi_version}/{epoch:016x}/{hook}/{}",
            self.interface
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_others_are_not_ours() {
        for text in [
            "",
            "from_pod",
            "cil_from_container-eth0",
            "netpol/n/v1/00000000000000ff/in",
            "netpol/n/v1/00000000000000ff/in/1/2",
            "netpol/n/v1/ff/in/1",
            "netpol/n/1/00000000000000ff/in/1",
            "netpol/n_/v1/00000000000000ff/in/1",
            "netpol/n/v1/00000000000000ff/up/1",
            "other/n/v1/00000000000000ff/in/1",
        ] {
            assert_eq!(Label::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_longest_name_fits_the_kernel() {
        let label = Label {
            owner: Owner {
                instance: "a".repeat(180).parse().unwrap(),
                abi_version: u32::MAX,
                epoch: u64::MAX,
            },
            hook: Hook::Egress,
            interface: u32::MAX,
        };
        assert!(label.to_string().len() < 256, "{}", label.to_string().len());
    }

    proptest! {
        #[test]
        fn a_label_is_read_back(
            instance in "[a-zA-Z0-9][a-zA-Z0-9.-]{0,179}", abi_version: u32, epoch: u64, egress: bool, interface: u32,
        ) {
            let owner = Owner { instance: instance.parse().unwrap(), abi_version, epoch };
            let hook = if egress { Hook::Egress } else { Hook::Ingress };
            let label = Label { owner, hook, interface };
            prop_assert_eq!(Label::parse(&label.to_string()), Some(label));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}") {
            let _parsed = Label::parse(&text);
        }
    }
}
