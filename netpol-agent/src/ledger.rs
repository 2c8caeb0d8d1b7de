//! Cumulative counts per (observer, epoch, edge, window), merged by maximum: idempotent, commutative, associative.
