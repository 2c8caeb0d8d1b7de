//! What the tests of the index share: a cluster as text, sightings as text, and resolutions as text.

pub(crate) mod cluster;
pub(crate) mod sightings;
