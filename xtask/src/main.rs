//! Set-up, build, lab, demo, test and bench of netpol.

fn main() {}
