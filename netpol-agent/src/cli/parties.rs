//! Who may reach whom on which ports, in JSON and in tables.

use comfy_table::{Table, presets};
use serde_json::{Value, json};

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
