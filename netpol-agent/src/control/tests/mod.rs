//! Tests of decisions, against an API that keeps what it is told and nothing else.

mod gone;
mod journey;
mod promises;
mod refusals;
mod shown;
mod sim;
