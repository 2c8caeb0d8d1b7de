//! Sets of ports, and how they are written: unbroken runs as ranges, gaps never bridged.

use std::collections::BTreeSet;

use netpol_common::words::Protocol;

use super::model::PortSpec;

/// Ports by protocol.
pub(super) type Ports = BTreeSet<(Protocol, u16)>;

/// The fewest entries that allow exactly these ports.
pub(super) fn specs(ports: &Ports) -> Vec<PortSpec> {
    let mut specs: Vec<PortSpec> = Vec::new();
    for &(protocol, port) in ports {
        match specs.last_mut() {
            Some(spec) if spec.protocol == protocol && port - spec.last() == 1 => {
                spec.end_port = Some(port)
            }
            _ => specs.push(PortSpec {
                protocol,
                port,
                end_port: None,
            }),
        }
    }
    specs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(ports: &[(Protocol, u16)]) -> Vec<String> {
        specs(&ports.iter().copied().collect())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn runs_become_ranges_and_gaps_stay() {
        use Protocol::{Tcp, Udp};
        assert_eq!(written(&[(Tcp, 80)]), ["TCP 80"]);
        assert_eq!(written(&[(Tcp, 80), (Tcp, 81)]), ["TCP 80-81"]);
        assert_eq!(written(&[(Tcp, 82), (Tcp, 80)]), ["TCP 80", "TCP 82"]);
        assert_eq!(written(&[(Tcp, 80), (Udp, 81)]), ["TCP 80", "UDP 81"]);
        assert_eq!(
            written(&[(Tcp, 65534), (Tcp, 65535), (Udp, 1)]),
            ["TCP 65534-65535", "UDP 1"]
        );
    }

    fn any_ports() -> impl Strategy<Value = Ports> {
        let port = prop_oneof![1u16..40, 65500u16..=65535];
        prop::collection::btree_set((prop::sample::select(&Protocol::ALL[..]), port), 0..40)
    }

    proptest! {
        #[test]
        fn entries_allow_exactly_the_ports_and_never_touch(ports in any_ports()) {
            let specs = specs(&ports);
            let allowed: Ports = specs
                .iter()
                .flat_map(|spec| (spec.port..=spec.last()).map(|port| (spec.protocol, port)))
                .collect();
            prop_assert_eq!(&allowed, &ports);
            for pair in specs.windows(2) {
                let touching = pair[0].protocol == pair[1].protocol
                    && u32::from(pair[0].last()) + 1 >= u32::from(pair[1].port);
                prop_assert!(!touching, "{} and {}", pair[0], pair[1]);
            }
        }
    }
}
