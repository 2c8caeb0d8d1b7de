//! The kernel program of netpol.
#![cfg_attr(not(test), no_std)]
