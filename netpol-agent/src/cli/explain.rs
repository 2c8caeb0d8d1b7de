//! `kubectl-netpol explain`: why a connection is allowed or denied, and what would allow it.

use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use netpol_common::words::Protocol;

use super::inputs::check_stdin;
use super::origin::Objects;
use super::output::{note, print};
use super::policies::PolicyFlag;
use super::reading::ReadingFlags;
use crate::policy::Cluster;
use crate::policy::evaluate::World;
use crate::policy::explain::{Ends, Question, Scene, explain, target_port, text};

/// Say which policies and rules decide on a connection, and what would allow it
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Who opens the connection: namespace/Kind/name, namespace/name, node/NAME, kube-apiserver or an IP address
    #[arg(value_name = "FROM", env = "NETPOL_FROM")]
    from: String,
    /// To whom: as FROM, or namespace/Service/name for the pods behind a service
    #[arg(value_name = "TO", env = "NETPOL_TO")]
    to: String,
    /// The port that is addressed and the protocol, such as 80/TCP: of a service its own port, else the server's
    #[arg(value_name = "PORT/PROTO", env = "NETPOL_PORT")]
    port: Port,
    #[command(flatten)]
    objects: Objects,
    #[command(flatten)]
    policies: PolicyFlag,
    #[command(flatten)]
    reading: ReadingFlags,
    /// How to write the answer
    #[arg(
        long,
        short,
        env = "NETPOL_EXPLAIN_OUTPUT",
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    output: Format,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

/// A port and its protocol, in either order; TCP where none is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Port {
    number: u16,
    protocol: Protocol,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
        let (number, protocol) = match number.parse::<u32>() {
            Ok(_) => (number, protocol),
            Err(_) => (protocol, number),
        };
        let wrong = || format!("{text:?} is no port and protocol such as 80/TCP or 53/UDP");
        let number = number.parse().ok().filter(|number| *number > 0);
        let protocol = protocol.to_uppercase().parse();
        Ok(Self {
            number: number.ok_or_else(wrong)?,
            protocol: protocol.map_err(|_| wrong())?,
        })
    }
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        check_stdin(self.objects.inventory.iter().chain(&self.policies.policies))?;
        let mut inventory = self.objects.read(self.policies.wanted())?;
        let policies = self.policies.load(&inventory)?;
        let index = inventory.take_index();
        let world = World::of(&index);
        let cluster = Cluster::of(&index);
        let (from, to) = (
            Ends::find(&self.from, &world, &cluster)?,
            Ends::find(&self.to, &world, &cluster)?,
        );
        let Port { number, protocol } = self.port;
        let port = target_port(&to, (protocol, number), &world, &cluster)?;
        if port != number {
            let title = to.title();
            note(
                "note",
                format_args!("port {number}/{protocol} of the {title} is port {port} of its pods"),
            );
        }
        let scene = Scene {
            world: &world,
            cluster: &cluster,
            policies: &policies,
            reading: self.reading.reading(),
        };
        let question = Question {
            from: &from,
            to: &to,
            protocol,
            port,
        };
        let explanation = explain(&scene, &question);
        match self.output {
            Format::Text => print(text(&explanation).as_bytes())?,
            Format::Json => {
                let json = serde_json::to_string_pretty(&explanation)? + "\n";
                print(json.as_bytes())?;
            }
        }
        Ok(match explanation.allowed {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        })
    }
}
