//! Why a connection is allowed or denied, in words, and which smallest change would allow it.
//!
//! The verdict is the evaluator's. What is said besides, why a rule does not match, is found out here, part by part.

mod candidates;
mod change;
mod ends;
mod misses;
mod pairs;
mod services;
mod text;
mod widened;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::words::Protocol;
use serde::Serialize;

use super::Cluster;
use super::evaluate::{Compiled, Connection, Evaluator, Reading, Side, Way, World};
use ends::Spot;
use pairs::Pair;

pub use change::{Change, Step};
pub use ends::{Ends, UnknownEnd};
pub use misses::{Miss, Part};
pub use services::target_port;
pub use text::text;

/// What is asked: may these reach those on this port?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who would open the connection.
    pub from: &'a Ends,
    /// To whom.
    pub to: &'a Ends,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The server's port.
    pub port: u16,
}

/// The cluster and the policies that the question is asked of.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Who is there.
    pub world: &'a World,
    /// What selects each workload, for the changes that are proposed.
    pub cluster: &'a Cluster,
    /// All policies that are in force.
    pub policies: &'a [NetworkPolicy],
    /// How to read what Kubernetes leaves open.
    pub reading: Reading,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Who would open the connection.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The transport protocol.
    pub protocol: String,
    /// The server's port.
    pub port: u16,
    /// Whether it is allowed between all of them; it is not, if no two of them have addresses of one family.
    pub allowed: bool,
    /// One for each group of pods that are judged alike.
    pub answers: Vec<Answer>,
    /// What would allow it, where it is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// The verdict on clients and servers that are judged alike.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The clients.
    pub clients: Vec<String>,
    /// The servers.
    pub servers: Vec<String>,
    /// The families of addresses that they speak with each other: `IPv4`, `IPv6`.
    pub families: BTreeSet<&'static str>,
    /// Whether both sides allow it.
    pub allowed: bool,
    /// What the client's side says.
    pub egress: SideAnswer,
    /// What the server's side says.
    pub ingress: SideAnswer,
}

/// What the policies of one side say.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SideAnswer {
    /// Whether this side allows it.
    pub allowed: bool,
    /// Why, in a sentence.
    pub because: String,
    /// The policies that isolate the pod in this direction.
    pub isolated_by: Vec<String>,
    /// The rules that allow it.
    pub by: Vec<RuleAnswer>,
    /// The rules that do not, the nearest first; only where it is denied.
    pub not_by: Vec<RuleAnswer>,
}

/// A rule, in words.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleAnswer {
    /// `namespace/policy#number`, numbered from 0 within its direction.
    pub rule: String,
    /// What it allows.
    pub allows: String,
    /// The parts of it that do not match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Miss>,
}

/// Answers a question.
#[must_use]
pub fn explain(scene: &Scene<'_>, question: &Question<'_>) -> Explanation {
    let compiled = Compiled::new(scene.world, scene.policies, scene.reading);
    let from = question.from.spots(scene, &compiled);
    let to = question.to.spots(scene, &compiled);
    let mut answers: Vec<Answer> = Vec::new();
    for pair in pairs::alike(&from, &to) {
        let answer = answer(scene, question, &pair);
        let same = |other: &&mut Answer| {
            (other.allowed, &other.egress, &other.ingress)
                == (answer.allowed, &answer.egress, &answer.ingress)
        };
        match answers.iter_mut().find(same) {
            Some(other) => join(other, answer),
            None => answers.push(answer),
        }
    }
    let met = !answers.is_empty();
    let allowed = met && answers.iter().all(|answer| answer.allowed);
    Explanation {
        from: question.from.title(),
        to: question.to.title(),
        protocol: question.protocol.to_string(),
        port: question.port,
        allowed,
        answers,
        change: (met && !allowed)
            .then(|| change::smallest(scene, question, (&from, &to), &compiled))
            .flatten(),
    }
}

fn join(answer: &mut Answer, other: Answer) {
    answer.families.extend(other.families);
    for (all, more) in [
        (&mut answer.clients, other.clients),
        (&mut answer.servers, other.servers),
    ] {
        all.extend(more);
        all.sort();
        all.dedup();
    }
}

fn answer(scene: &Scene<'_>, question: &Question<'_>, pair: &Pair<'_>) -> Answer {
    let connection = Connection {
        client: pair.client.end(scene.world),
        client_address: pair.client.address,
        server: pair.server.end(scene.world),
        server_address: pair.server.address,
        protocol: question.protocol,
        port: question.port,
    };
    let evaluator = Evaluator {
        namespaces: scene.world.namespaces(),
        policies: scene.policies,
        reading: scene.reading,
    };
    let verdict = evaluator.verdict(&connection);
    let names = |spots: &[&Spot]| {
        let mut names: Vec<String> = spots.iter().map(|spot| spot.name(scene.world)).collect();
        names.sort();
        names.dedup();
        names
    };
    Answer {
        clients: names(&pair.clients),
        servers: names(&pair.servers),
        families: pair.families.clone(),
        allowed: verdict.allowed(),
        egress: side_answer(scene, &connection, Way::Egress, pair, &verdict.egress),
        ingress: side_answer(scene, &connection, Way::Ingress, pair, &verdict.ingress),
    }
}

fn side_answer(
    scene: &Scene<'_>,
    connection: &Connection<'_>,
    way: Way,
    pair: &Pair<'_>,
    side: &Side,
) -> SideAnswer {
    let own = match way {
        Way::Ingress => pair.server,
        Way::Egress => pair.client,
    };
    let isolating: Vec<&NetworkPolicy> = scene
        .policies
        .iter()
        .filter(|policy| isolates(scene, policy, connection, way))
        .collect();
    let mut by = Vec::new();
    let mut not_by = Vec::new();
    for policy in &isolating {
        for (number, rule) in misses::rules(policy, way).into_iter().enumerate() {
            let name = words::name(policy);
            let rule = RuleAnswer {
                rule: format!("{name}#{number}"),
                allows: words::rule(policy, way, &rule),
                misses: misses::of_rule(scene, policy, &rule, connection, way),
            };
            match rule.misses.is_empty() {
                true => by.push(rule),
                false => not_by.push(rule),
            }
        }
    }
    not_by.sort_by_key(|rule| misses::distance(&rule.misses));
    if side.allowed {
        not_by.clear();
    }
    SideAnswer {
        allowed: side.allowed,
        because: words::because(scene, way, own, side, isolating.len()),
        isolated_by: isolating.iter().map(|policy| words::name(policy)).collect(),
        by,
        not_by,
    }
}

/// Whether a policy isolates the pod of its side, whatever else there is.
fn isolates(
    scene: &Scene<'_>,
    policy: &NetworkPolicy,
    connection: &Connection<'_>,
    way: Way,
) -> bool {
    let evaluator = Evaluator {
        namespaces: scene.world.namespaces(),
        policies: std::slice::from_ref(policy),
        reading: scene.reading,
    };
    let verdict = evaluator.verdict(connection);
    match way {
        Way::Ingress => verdict.ingress.isolated,
        Way::Egress => verdict.egress.isolated,
    }
}

/// What each rule of a policy allows in one direction, in words; none, where the policy is not about that direction.
pub(super) fn rules_in_words(policy: &NetworkPolicy, way: Way) -> Vec<String> {
    let stated = policy
        .spec
        .as_ref()
        .and_then(|spec| spec.policy_types.as_ref());
    let word = match way {
        Way::Ingress => "Ingress",
        Way::Egress => "Egress",
    };
    if stated.is_some_and(|types| !types.is_empty() && !types.iter().any(|of| of == word)) {
        return Vec::new();
    }
    let rules = misses::rules(policy, way);
    rules
        .iter()
        .map(|rule| words::rule(policy, way, rule))
        .collect()
}
