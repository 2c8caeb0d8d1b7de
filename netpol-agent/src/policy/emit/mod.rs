//! Emitters: one module for each format. Each renders the model as it is and decides nothing.

mod evidence;
pub mod kubernetes;
mod yaml;
