//! Tests of decisions, against an API that keeps what it is told and nothing else.

mod journey;
mod promises;
mod refusals;
mod sim;
