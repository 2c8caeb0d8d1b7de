//! `kubectl-netpol graph`: who talks to whom.

use std::io;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::inputs::Inputs;
use super::output::{Colour, print};
use crate::graph::render;

/// Show who talks to whom
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// How to draw it
    #[arg(
        long,
        short,
        env = "NETPOL_GRAPH_OUTPUT",
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    output: Format,
    /// When to use colours; only text has any
    #[arg(
        long,
        alias = "color",
        env = "NETPOL_COLOUR",
        value_enum,
        default_value = "auto",
        value_name = "WHEN"
    )]
    colour: Colour,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Clients by namespace, for a terminal
    #[value(alias = "tree")]
    Text,
    /// A Mermaid flowchart
    Mermaid,
    /// Graphviz
    Dot,
    /// One SVG document
    Svg,
    /// One HTML page that needs no network, with a search
    Html,
    /// One JSON document
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = self.inputs.load()?;
        loaded.tell_gaps();
        let graph = loaded.graph;
        let text = match self.output {
            Format::Text => render::text(&graph, self.colour.wanted(&io::stdout())),
            Format::Mermaid => render::mermaid(&graph),
            Format::Dot => render::dot(&graph),
            Format::Svg => render::svg(&graph),
            Format::Html => render::html(&graph),
            Format::Json => render::json(&graph)?,
        };
        print(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
