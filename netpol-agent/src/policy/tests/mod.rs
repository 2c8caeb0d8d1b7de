//! The engine as a whole: what it proposes for random clusters and graphs, judged by the evaluator.

mod formats;
mod judge;
mod least;
mod models;
mod promises;
mod world;
