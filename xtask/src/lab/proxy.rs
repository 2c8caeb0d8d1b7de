//! Services on a node: address translation by nftables, as kube-proxy does it.

use std::fmt::Write as _;

use anyhow::Result;

use super::cluster::Cluster;
use super::cluster::service::{Backend, Service, ServicePort};
use super::netns;
use super::topology::{Family, Node};

/// Programs the services of the cluster on a node, all at once.
pub(super) fn program(namespace: &str, node: Node, cluster: &Cluster) -> Result<()> {
    netns::nft(namespace, &ruleset(node, cluster))
}

/// The rules of a node: translation where packets come in or are made, masquerading where the answer would
/// otherwise not come back this way, rejection where a service has no endpoints.
fn ruleset(node: Node, cluster: &Cluster) -> String {
    let mut parts = Parts::default();
    for service in cluster.services() {
        for port in service.ports {
            parts.add(node, service, port, cluster);
        }
    }
    let [v4, v6] = node.pod_cidrs();
    let Parts {
        translate,
        reject,
        hairpin,
    } = parts;
    format!(
        "table inet services
delete table inet services
table inet services {{
  chain translate {{
{translate}  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    jump translate
  }}
  chain output {{
    type nat hook output priority -100;
    jump translate
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    meta mark & 0x4000 == 0x4000 masquerade
{hairpin}    ip saddr {v4} oifname \"eth0\" ip daddr != {{ 10.0.0.0/8, 172.30.0.0/24 }} masquerade
    ip6 saddr {v6} oifname \"eth0\" ip6 daddr != {{ fd00::/8 }} masquerade
  }}
  chain refuse {{
{reject}  }}
  chain forward {{
    type filter hook forward priority filter;
    ct state new jump refuse
  }}
  chain local {{
    type filter hook output priority filter;
    ct state new jump refuse
  }}
}}
"
    )
}

#[derive(Debug, Default)]
struct Parts {
    translate: String,
    reject: String,
    hairpin: String,
}

impl Parts {
    fn add(&mut self, node: Node, service: &Service, port: &ServicePort, cluster: &Cluster) {
        for family in [Family::V4, Family::V6] {
            let backends = service.backends(port, family, cluster.pods());
            if let Some(ips) = service.cluster_ips {
                let to = format!("{} daddr {}", word(family), family.of(ips));
                self.route(&to, family, port.port, port, &backends, "");
            }
            if let Some(node_port) = port.node_port {
                let to = format!("{} daddr {}", word(family), family.of(node.addresses()));
                let mark = "meta mark set meta mark or 0x4000 ";
                self.route(&to, family, node_port, port, &backends, mark);
            }
            for backend in &backends {
                let (word, address) = (word(family), backend.address);
                let _ = writeln!(
                    self.hairpin,
                    "    ct status dnat {word} saddr {address} {word} daddr {address} masquerade"
                );
            }
        }
        if let Some(address) = service.load_balancer {
            let backends = service.backends(port, Family::V4, cluster.pods());
            self.route(
                &format!("ip daddr {address}"),
                Family::V4,
                port.port,
                port,
                &backends,
                "",
            );
        }
    }

    /// Sends what matches `to` and `number` to the backends in turn, or refuses it where there are none.
    fn route(
        &mut self,
        to: &str,
        family: Family,
        number: u16,
        port: &ServicePort,
        backends: &[Backend],
        before: &str,
    ) {
        let protocol = port.protocol.name().to_lowercase();
        let matched = format!("    {to} {protocol} dport {number}");
        let _ = match backends {
            [] => writeln!(self.reject, "{matched} reject"),
            [one] => writeln!(
                self.translate,
                "{matched} {before}dnat {} to {}",
                word(family),
                socket(one, family)
            ),
            several => writeln!(
                self.translate,
                "{matched} {before}dnat {} to numgen inc mod {} map {{ {} }}",
                word(family),
                several.len(),
                choices(several)
            ),
        };
    }
}

fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

fn socket(backend: &Backend, family: Family) -> String {
    match family {
        Family::V4 => format!("{}:{}", backend.address, backend.port),
        Family::V6 => format!("[{}]:{}", backend.address, backend.port),
    }
}

fn choices(backends: &[Backend]) -> String {
    backends
        .iter()
        .enumerate()
        .map(|(number, backend)| format!("{number} : {} . {}", backend.address, backend.port))
        .collect::<Vec<_>>()
        .join(", ")
}
