//! The rights that the API server enforces: those that the roles and bindings in it grant.

use crate::double::ApiServer;
use crate::double::rights::of_objects;

/// Lets everybody do what roles say, and nothing else.
pub(crate) fn enforce(api: &ApiServer) {
    let plurals = [
        "roles",
        "clusterroles",
        "rolebindings",
        "clusterrolebindings",
    ];
    let objects: Vec<_> = plurals.iter().flat_map(|plural| api.all(plural)).collect();
    let granted = of_objects(&objects);
    let mut world = api.world();
    world.rights.extend(granted);
    world.guarded = true;
}
