//! The whole journey, with a restart of the aggregator in the middle, or a change of the leader.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use xtask::lab::topology::Node;

use crate::cluster::{AGGREGATOR, SYSTEM};
use crate::kubelet::{End, Role};
use crate::postgres::Server;
use crate::steps::Journey;

/// The longest time that nobody leads after a leader was killed.
const TAKE_OVER: SignedDuration = SignedDuration::from_secs(15);

#[test]
fn with_one_aggregator_that_is_restarted_and_killed() {
    let mut journey = Journey::begin("one", None);
    journey.install(1);
    journey.learn();
    journey.kubelet.end(Role::Aggregator(0), End::Told);
    journey.generate();
    journey.kubelet.end(Role::Aggregator(0), End::Killed);
    journey.audit_and_approve();
    for node in Node::ALL {
        journey.kubelet.end(Role::Agent(node), End::Killed);
    }
    journey.kubelet.end(Role::Aggregator(0), End::Killed);
    journey.enforce();
    journey.off();
    journey.count();
    journey.uninstall_with_helm();
}

#[test]
fn with_two_aggregators_on_postgresql_whose_leader_is_killed() {
    let mut journey = Journey::begin("two", Some(Server::start()));
    journey.install(2);
    journey.learn();
    journey.generate();
    journey.audit_and_approve();
    another_leads(&journey);
    journey.enforce();
    another_leads(&journey);
    journey.off();
    journey.count();
    journey.uninstall();
}

/// Kills the leader, and waits until another process leads, which must not take long.
fn another_leads(journey: &Journey) {
    let lease = || journey.cluster.api.get("leases", SYSTEM, AGGREGATOR)["spec"].clone();
    let before = lease();
    let holder = before["holderIdentity"].as_str().unwrap_or_default();
    let replica = holder.split('_').next().unwrap_or_default();
    let number = replica.rsplit('-').next().and_then(|it| it.parse().ok());
    let leader = Role::Aggregator(number.unwrap());
    journey.kubelet.end(leader, End::Killed);
    // What it wrote last: from now on nobody renews in its name.
    let last = lease();
    assert_eq!(last["holderIdentity"], before["holderIdentity"]);
    journey.until("another leads", || {
        let now = lease()["holderIdentity"].clone();
        let another =
            now != last["holderIdentity"] && now.as_str().is_some_and(|it| !it.is_empty());
        another
            .then_some(())
            .ok_or_else(|| format!("{last} before, {now} now"))
    });
    let time = |value: &Value| -> Timestamp { value.as_str().unwrap().parse().unwrap() };
    let away = time(&lease()["acquireTime"]).duration_since(time(&last["renewTime"]));
    println!("another leads {:.1} s later", away.as_secs_f64());
    assert!(away <= TAKE_OVER, "{away:?} without a leader");
}
