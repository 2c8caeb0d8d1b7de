//! The graph as one HTML page: the drawing, a list of all that is in it, and a search over both.
//!
//! The page needs no network and allows itself none: its Content-Security-Policy lets only its own script run, by the
//! hash of it, and fetches nothing.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::scene::Scene;
use super::svg::{self, class, escape, write_drawing};
use crate::graph::FlowGraph;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The graph as one HTML document that stands by itself.
#[must_use]
pub fn html(graph: &FlowGraph) -> String {
    let scene = Scene::of(graph);
    let mut out = String::new();
    // The drawing's images are buttons once the script runs, so that it is no single image to a screen reader.
    let mut drawing = String::new();
    write_drawing(&mut drawing, &scene, false);
    let drawing = drawing.replacen("role=\"img\"", "role=\"group\"", 1);
    write_head(&mut out);
    out.push_str(BODY);
    out.push_str(&drawing);
    out.push_str(TABLE);
    write_rows(&mut out, &scene);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "</tbody></table></main>\n<script>{SCRIPT}</script>\n</body></html>\n"
    );
    out
}

fn write_head(out: &mut String) {
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    let drawing = svg::STYLE;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Who talks to whom</title>\n<style>\n{STYLE}{drawing}</style></head>\n"
    );
}

const BODY: &str = r#"<body>
<header><h1>Who talks to whom</h1>
<form id="form" role="search" style="display: inline"><label for="search">Search</label>
<input id="search" type="search" placeholder="namespace, workload, address, port" autocomplete="off">
<button id="whole" type="button" aria-pressed="false">Fit to width</button>
<output id="count" for="search" aria-live="polite"></output></form></header>
<main>
<ul class="legend" aria-label="Legend"><li><i class="answered"></i>answered</li><li><i class="unsure"></i>one-way or unknown</li><li><i class="failed"></i>refused or unanswered</li></ul>
<div class="drawing" tabindex="0" role="region" aria-label="Drawing">
"#;

const TABLE: &str = r#"</div>
<h2 id="list">All connections</h2>
<table aria-labelledby="list"><thead><tr><th scope="col">Client</th><th scope="col">Server</th><th scope="col">Ports</th><th scope="col">Outcome</th></tr></thead><tbody>
"#;

fn write_rows(out: &mut String, scene: &Scene<'_>) {
    for (number, line) in scene.lines.iter().enumerate() {
        let (client, server) = (&scene.nodes[line.client], &scene.nodes[line.server]);
        let style = match class(line.style) {
            "unsure" => "one-way or unknown",
            "failed" => "refused or unanswered",
            answered => answered,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<tr data-row=\"{number}\" data-client=\"{}\" data-server=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td>{style}</td></tr>",
            line.client,
            line.server,
            escape(&client.peer.to_string()),
            escape(&server.peer.to_string()),
            escape(&line.words)
        );
    }
}
