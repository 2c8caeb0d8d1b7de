//! Flows as Hubble exports them: one JSON object a line, `hubble observe -o json` or the agent's export file.
//!
//! Fields are those of Cilium's `flow.proto` in protobuf's JSON form. An end is taken as the pod that Hubble names if
//! the inventory has it, else as the workload that Hubble names, else by its address. What was dropped counts as
//! refused: it did not get through, so it makes no rule.

use std::io::BufRead;
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::Protocol;
use serde::Deserialize;

use super::conversations::{Conversations, Passing, Sender, Signal};
use super::edge::{Socket, is_one_host};
use super::lines;
use super::tally::Each;
use super::{ReplayError, Summary};
use crate::flows::BadLines;

/// How long a line may be, in bytes: flows that carry what an application said are long.
const MAX_LINE: usize = 1 << 20;

/// Reads Hubble's flows and hands on flow records. `knows` tells whether the inventory has a pod. `input` is the name
/// that errors give the input.
///
/// # Errors
///
/// [`ReplayError`] for the first line that is no flow, unless those are skipped.
pub fn read(
    input: &str,
    reader: impl BufRead,
    bad: BadLines,
    knows: impl Fn(&ObjectName) -> bool,
    mut each: impl FnMut(FlowRecord),
) -> Result<Summary, ReplayError> {
    let mut conversations = Conversations::default();
    let mut summary = lines::read(input, reader, bad, MAX_LINE, |line, summary| {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            let column = error.column();
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            format!("no flow of Hubble: {text} (column {column})")
        })?;
        if let Some(lost) = &line.lost_events {
            summary.lost += lost.count();
        }
        let told = line
            .flow()
            .and_then(|flow| flow.tell(line.time, &knows, &mut conversations, &mut each));
        summary.other += u64::from(told.is_none());
        Ok(())
    })?;
    summary.older = conversations.finish(&mut each);
    Ok(summary)
}

/// A line: a flow in an envelope, a bare flow, or something else that Hubble has to say.
#[derive(Debug, Deserialize)]
struct Line {
    flow: Option<Flow>,
    lost_events: Option<LostEvents>,
    time: Option<Timestamp>,
    #[serde(flatten)]
    bare: Flow,
}

#[derive(Debug, Deserialize)]
struct LostEvents {
    /// A 64-bit number, which protobuf's JSON writes as text.
    num_events_lost: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Flow {
    time: Option<Timestamp>,
    verdict: Option<String>,
    #[serde(rename = "IP")]
    ip: Option<Addresses>,
    l4: Option<Layer4>,
    source: Option<Endpoints>,
    destination: Option<Endpoints>,
    #[serde(rename = "Type")]
    kind: Option<String>,
    is_reply: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    source: Option<String>,
    destination: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Layer4 {
    #[serde(rename = "TCP")]
    tcp: Option<Ports>,
    #[serde(rename = "UDP")]
    udp: Option<Ports>,
    #[serde(rename = "SCTP")]
    sctp: Option<Ports>,
}

#[derive(Debug, Deserialize)]
struct Ports {
    #[serde(default)]
    source_port: u16,
    #[serde(default)]
    destination_port: u16,
    #[serde(default)]
    flags: Flags,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE", default)]
struct Flags {
    syn: bool,
    ack: bool,
    rst: bool,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    pod_name: String,
    #[serde(default)]
    workloads: Vec<Workload>,
}

#[derive(Debug, Deserialize)]
struct Workload {
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: String,
}

impl Line {
    fn flow(&self) -> Option<&Flow> {
        self.flow
            .as_ref()
            .or_else(|| self.bare.ip.is_some().then_some(&self.bare))
    }
}

impl LostEvents {
    fn count(&self) -> u64 {
        match &self.num_events_lost {
            Some(serde_json::Value::String(text)) => text.parse().unwrap_or(1),
            Some(number) => number.as_u64().unwrap_or(1),
            None => 1,
        }
    }
}

impl Flow {
    /// Tells the conversations of it; nothing if it is of no use to them.
    fn tell(
        &self,
        enveloped: Option<Timestamp>,
        knows: &dyn Fn(&ObjectName) -> bool,
        to: &mut Conversations,
        each: Each<'_>,
    ) -> Option<()> {
        if self.kind.as_deref().is_some_and(|kind| kind == "SOCK") {
            return None;
        }
        let (protocol, ports) = self.l4.as_ref()?.ports()?;
        let addresses = self.ip.as_ref()?;
        let source = end(self.source.as_ref(), addresses.source.as_deref(), knows)?;
        let destination = end(
            self.destination.as_ref(),
            addresses.destination.as_deref(),
            knows,
        )?;
        if ports.source_port == 0 || ports.destination_port == 0 {
            return None;
        }
        let passing = Passing {
            at: self.time.or(enveloped),
            from: Socket::new(source, ports.source_port),
            to: Socket::new(destination, ports.destination_port),
            sender: match self.is_reply {
                Some(true) => Sender::Server,
                Some(false) => Sender::Client,
                None => Sender::Unknown,
            },
        };
        match (self.verdict.as_deref(), protocol) {
            (Some("DROPPED" | "ERROR"), _) if passing.sender == Sender::Server => None,
            (Some("DROPPED" | "ERROR"), _) => {
                to.drop_attempt(protocol, &passing, each);
                Some(())
            }
            (_, Protocol::Udp) => {
                to.datagram(&passing, each);
                Some(())
            }
            _ => {
                to.signal(protocol, &passing, ports.flags.signal(), each);
                Some(())
            }
        }
    }
}

impl Layer4 {
    fn ports(&self) -> Option<(Protocol, &Ports)> {
        let of = |protocol, ports: &'_ Option<Ports>| ports.is_some().then_some(protocol);
        let protocol = of(Protocol::Tcp, &self.tcp)
            .or_else(|| of(Protocol::Udp, &self.udp))
            .or_else(|| of(Protocol::Sctp, &self.sctp))?;
        let ports = match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
            Protocol::Sctp => &self.sctp,
        };
        Some((protocol, ports.as_ref()?))
    }
}

impl Flags {
    /// Hubble tells no sequence numbers. Of SCTP it tells no chunks, so that such flows are all alike.
    fn signal(&self) -> Signal {
        match (self.syn, self.ack, self.rst) {
            (_, _, true) => Signal::Reset,
            (true, false, _) => Signal::Open(None),
            (true, true, _) => Signal::Accept,
            _ => Signal::Carry,
        }
    }
}

/// Who an end is; nothing where it is no host at all.
fn end(
    told: Option<&Endpoints>,
    address: Option<&str>,
    knows: &dyn Fn(&ObjectName) -> bool,
) -> Option<Endpoint> {
    if let Some(told) = told.filter(|told| !told.namespace.is_empty() && !told.pod_name.is_empty())
    {
        let pod = ObjectName::new(&told.namespace, &told.pod_name);
        if knows(&pod) {
            return Some(Endpoint::Pod(pod));
        }
        if let Some(owner) = told
            .workloads
            .first()
            .filter(|owner| !owner.name.is_empty() && !owner.kind.is_empty())
        {
            let workload = WorkloadName::new(&told.namespace, &owner.kind, &owner.name);
            return Some(Endpoint::Workload(workload));
        }
    }
    let address: IpAddr = address?.parse().ok()?;
    is_one_host(address).then(|| Endpoint::Ip(address.to_canonical()))
}
