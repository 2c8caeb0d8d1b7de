//! The whole journey, with a restart of the aggregator in the middle, or a change of the leader.

use std::time::Instant;

use xtask::lab::topology::Node;

use crate::cluster::{AGGREGATOR, SYSTEM};
use crate::kubelet::{End, Role};
use crate::postgres::Server;
use crate::steps::Journey;

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
    journey.uninstall();
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

/// Kills the leader, and waits until another process leads.
fn another_leads(journey: &Journey) {
    let holder = || {
        let lease = journey.cluster.api.get("leases", SYSTEM, AGGREGATOR);
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        holder.to_owned()
    };
    let before = holder();
    let replica = before.split('_').next().unwrap_or_default();
    let number = replica.rsplit('-').next().and_then(|it| it.parse().ok());
    let begin = Instant::now();
    journey
        .kubelet
        .end(Role::Aggregator(number.unwrap()), End::Killed);
    journey.until("another leads", || match holder() {
        now if now != before && !now.is_empty() => Ok(()),
        now => Err(format!("{before:?} before, {now:?} now")),
    });
    println!("another leads after {:.1} s", begin.elapsed().as_secs_f64());
}
