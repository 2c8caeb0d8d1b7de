//! Properties of the estimates, and what becomes of a graph.

mod estimates;
mod life;
mod workloads;
