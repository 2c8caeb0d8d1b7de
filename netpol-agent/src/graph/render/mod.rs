//! The graph for eyes and for programs: terminal, Mermaid, DOT, JSON.

mod arrows;
mod dot;
mod json;
mod mermaid;
mod text;

pub use dot::dot;
pub use json::json;
pub use mermaid::mermaid;
pub use text::text;

#[cfg(test)]
mod tests;
