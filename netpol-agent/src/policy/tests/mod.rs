//! The engine as a whole: what it proposes for random clusters and graphs, judged by the evaluator.

mod against;
mod beside;
mod clusters;
mod denying;
mod explained;
mod formats;
mod growth;
mod judge;
mod lasting;
mod least;
mod models;
mod nodes;
mod order;
mod promises;
mod services;
mod shown;
mod small;
mod wide;
mod widening;
mod world;
