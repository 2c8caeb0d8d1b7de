//! Who may reach whom on which ports, in JSON and in tables.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::wording;
use crate::policy::connectivity::Party;
use crate::policy::evaluate::{PortRange, PortSet};

/// `{"from":…,"to":…,"all":false,"ports":[…]}`. Where all ports of TCP, UDP and SCTP are meant, `all` says so and the
/// list is empty.
pub(super) fn json(from: &Party, to: &Party, ports: &PortSet) -> Value {
    let all = ports.is_all();
    let listed: Vec<Value> = if all {
        Vec::new()
    } else {
        ports.iter().map(range).collect()
    };
    json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "all": all,
        "ports": listed,
    })
}

/// A list of values, one on each line.
pub(super) fn list(values: impl Iterator<Item = Value>) -> String {
    let mut text = String::from("[");
    let mut between = "\n";
    for value in values {
        text.push_str(between);
        text.push_str(&value.to_string());
        between = ",\n";
    }
    text.push_str(if text.len() > 1 { "\n]\n" } else { "]\n" });
    text
}

/// From, to and on which ports.
type Listed<'a> = (&'a Party, &'a Party, &'a PortSet);

/// From, to and ports in words: one row for each pair of workloads, and for each workload one with all addresses of
/// which the same is said.
pub(super) fn joined<'a>(entries: impl Iterator<Item = Listed<'a>>) -> Vec<[String; 3]> {
    let mut rows: Vec<(Listed<'_>, Vec<IpNet>)> = Vec::new();
    let mut known: BTreeMap<(Option<&Party>, Option<&Party>, &PortSet), usize> = BTreeMap::new();
    for entry @ (from, to, ports) in entries {
        let [own, other] = [from, to].map(|party| block(party).is_none().then_some(party));
        let at = *known.entry((own, other, ports)).or_insert(rows.len());
        if at == rows.len() {
            rows.push((entry, Vec::new()));
        }
        rows[at].1.extend([from, to].into_iter().filter_map(block));
    }
    let rows = rows.iter().map(|((from, to, ports), nets)| {
        let name = |party: &Party| match party {
            Party::Workload(name) => name.to_string(),
            Party::Block(_) => wording::addresses(nets),
        };
        [name(from), name(to), wording::ports(ports)]
    });
    rows.collect()
}

fn block(party: &Party) -> Option<IpNet> {
    match party {
        Party::Workload(_) => None,
        Party::Block(net) => Some(*net),
    }
}

/// A table as every command prints it: no lines, no trailing blanks.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| cell.replace(char::is_control, "\u{fffd}")));
    }
    let lines = table.lines().map(|line| line.trim().to_owned() + "\n");
    lines.collect()
}

/// `port` is the first port; `endPort` the last, if there is more than one.
fn range(range: PortRange) -> Value {
    let PortRange {
        protocol,
        first,
        last,
    } = range;
    if first == last {
        return json!({"protocol": protocol, "port": first});
    }
    json!({"protocol": protocol, "port": first, "endPort": last})
}
