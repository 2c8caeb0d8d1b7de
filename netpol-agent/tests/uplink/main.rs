//! Delivering to an aggregator that is away, slow, broken or of another mind: over real TLS, from a real spool.

#[cfg(test)]
mod batches;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod server;
#[cfg(test)]
mod world;
