//! The graph for eyes and for programs: terminal, Mermaid, DOT, SVG, HTML, JSON.

mod arrows;
mod dot;
mod html;
mod json;
mod layered;
mod mermaid;
mod scene;
mod svg;
mod text;

pub use dot::dot;
pub use html::html;
pub use json::json;
pub use mermaid::mermaid;
pub use svg::svg;
pub use text::text;

#[cfg(test)]
mod tests;
