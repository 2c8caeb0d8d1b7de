//! The node agent: interfaces to pods, attaching, reading the kernel maps, and delivering batches.
