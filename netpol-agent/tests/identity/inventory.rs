//! The index fed from an inventory.

use crate::{cluster, sightings};
use netpol_agent::inventory;

#[test]
fn resolves_the_cluster() {
    let inventory = inventory::parse("cluster.yaml", cluster::OBJECTS).unwrap();
    assert_eq!(
        inventory.warnings,
        ["inventory: kinds that are not read: 1 ConfigMap"]
    );
    sightings::assert_table(&inventory.index(), cluster::TABLE);
}
