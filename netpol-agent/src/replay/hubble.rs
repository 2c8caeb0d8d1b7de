//! Flows as Hubble exports them: one JSON object a line, `hubble observe -o json` or the agent's export file.
//!
//! Fields are those of Cilium's `flow.proto` in protobuf's JSON form. An end that Hubble names is taken as the pod, or,
//! where the inventory lacks that, as the workload that Hubble names with it; only an end without a name is its
//! address. What was dropped counts as refused: it did not get through, so it makes no rule. What policies are told to
//! audit, or hand on to a proxy, got through.
//!
//! Of SCTP Hubble tells no chunks: without a reply it is not known whether the server answered, and a reply counts as
//! an answer, though it may be an abort. The same goes for TCP where an export leaves the flags out; what a proxy
//! tells of (`L7`) has none, and runs over a connection that was answered.

use std::io::BufRead;
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::Protocol;
use serde::Deserialize;
use serde::de::IgnoredAny;

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
        if line.flow.is_none() && !line.is_notice() && !line.is_bare() {
            return Err("no flow of Hubble: no field of one is in this object".to_owned());
        }
        if let Some(lost) = &line.lost_events {
            summary.lost += lost.count();
        }
        let told = match line.flow() {
            Some(flow) => flow.tell(line.time, &knows, &mut conversations, &mut each),
            None if line.lost_events.is_some() => Ok(()),
            None => Err(Useless::Aside),
        };
        match told {
            Ok(()) => {}
            Err(Useless::Other) => summary.other += 1,
            Err(Useless::Aside) => summary.aside += 1,
        }
        Ok(())
    })?;
    summary.older = conversations.finish(&mut each);
    Ok(summary)
}

/// Why something that Hubble tells makes no edge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Useless {
    /// It is no TCP, UDP or SCTP between two hosts, or shows no ports.
    Other,
    /// It is about no attempt.
    Aside,
}

/// A line: a flow in an envelope, a bare flow, or something else that Hubble has to say.
#[derive(Debug, Deserialize)]
struct Line {
    flow: Option<Flow>,
    lost_events: Option<LostEvents>,
    node_status: Option<IgnoredAny>,
    agent_event: Option<IgnoredAny>,
    debug_event: Option<IgnoredAny>,
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
    flags: Option<Flags>,
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
    /// Whether it is something that Hubble says besides flows.
    fn is_notice(&self) -> bool {
        let notices = [&self.node_status, &self.agent_event, &self.debug_event];
        self.lost_events.is_some() || notices.iter().any(|notice| notice.is_some())
    }

    /// Whether it may be a flow without an envelope, which has at least one of these.
    fn is_bare(&self) -> bool {
        let flow = &self.bare;
        flow.ip.is_some() || flow.verdict.is_some() || flow.kind.is_some()
    }

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
    /// Tells the conversations of it, if it is of use to them.
    fn tell(
        &self,
        enveloped: Option<Timestamp>,
        knows: &dyn Fn(&ObjectName) -> bool,
        to: &mut Conversations,
        each: Each<'_>,
    ) -> Result<(), Useless> {
        if self.is_of_a_socket() {
            return Err(Useless::Aside);
        }
        let (protocol, ports, passing) = self.passing(enveloped, knows).ok_or(Useless::Other)?;
        let signal = self.signal(protocol, ports);
        match (self.verdict.as_deref(), protocol) {
            (Some("DROPPED" | "ERROR"), _) => {
                if answers(&passing, signal) || to.goes_back(protocol, &passing) {
                    return Err(Useless::Aside);
                }
                to.drop_attempt(protocol, &passing, each);
            }
            (_, Protocol::Udp) => to.datagram(&passing, each),
            _ => to.signal(protocol, &passing, signal, each),
        }
        Ok(())
    }

    /// Whether it was seen where a socket's address is translated: what is sent from there is told once more.
    fn is_of_a_socket(&self) -> bool {
        self.kind.as_deref() == Some("SOCK")
            || matches!(self.verdict.as_deref(), Some("TRACED" | "TRANSLATED"))
    }

    fn passing(
        &self,
        enveloped: Option<Timestamp>,
        knows: &dyn Fn(&ObjectName) -> bool,
    ) -> Option<(Protocol, &Ports, Passing)> {
        let (protocol, ports) = self.l4.as_ref()?.ports()?;
        let addresses = self.ip.as_ref()?;
        let source = end(self.source.as_ref(), addresses.source.as_deref(), knows)?;
        let destination = end(
            self.destination.as_ref(),
            addresses.destination.as_deref(),
            knows,
        )?;
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
        let shown = ports.source_port != 0 && ports.destination_port != 0;
        shown.then_some((protocol, ports, passing))
    }

    fn signal(&self, protocol: Protocol, ports: &Ports) -> Signal {
        match (protocol, &ports.flags) {
            (Protocol::Tcp, Some(flags)) => flags.signal(),
            (Protocol::Tcp, None) if self.kind.as_deref() == Some("L7") => Signal::Carry,
            _ => Signal::Untold,
        }
    }
}

/// Whether a packet that was dropped was sent by the server, or may have been. Hubble does not say it of packets that
/// are dropped, but the client's first segment is the one without ACK and RST.
fn answers(passing: &Passing, signal: Signal) -> bool {
    match passing.sender {
        Sender::Server => true,
        Sender::Client => false,
        Sender::Unknown => matches!(signal, Signal::Accept | Signal::Reset | Signal::Carry),
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
    /// Hubble tells no sequence numbers.
    fn signal(&self) -> Signal {
        match (self.syn, self.ack, self.rst) {
            (_, _, true) => Signal::Reset,
            (true, false, _) => Signal::Open(None),
            (true, true, _) => Signal::Accept,
            _ => Signal::Carry,
        }
    }
}

/// Who an end is; nothing where it is no host at all. An end that is named is never an address: of a pod that is gone
/// that may be anybody's by now.
fn end(
    told: Option<&Endpoints>,
    address: Option<&str>,
    knows: &dyn Fn(&ObjectName) -> bool,
) -> Option<Endpoint> {
    if let Some(told) = told.filter(|told| !told.namespace.is_empty() && !told.pod_name.is_empty())
    {
        let pod = ObjectName::new(&told.namespace, &told.pod_name);
        let owner = told
            .workloads
            .first()
            .filter(|owner| !owner.name.is_empty() && !owner.kind.is_empty());
        return Some(match owner {
            Some(owner) if !knows(&pod) => {
                let workload = WorkloadName::new(&told.namespace, &owner.kind, &owner.name);
                Endpoint::Workload(workload)
            }
            _ => Endpoint::Pod(pod),
        });
    }
    let address: IpAddr = address?.parse().ok()?;
    is_one_host(address).then(|| Endpoint::Ip(address.to_canonical()))
}
