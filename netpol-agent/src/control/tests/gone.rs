//! What becomes of the proposals and the policies of workloads that are gone.

use jiff::SignedDuration;
use netpol_common::names::WorkloadName;

use super::sim::{NEW, Sim, deployment, name};
use crate::control::Proposal;
use crate::crd::{ConditionType as Type, Mode};
use crate::identity::objects::ObjectKey;

const WEB: &str = "shop/web-deployment";

impl Sim {
    /// A deployment of `shop` is deleted, and its pods with it.
    pub(super) fn vanish(&mut self, app: &str) {
        let owner = |kind, own: String| ObjectKey::Owner(WorkloadName::new("shop", kind, own));
        self.delete(&owner("Deployment", app.to_owned()));
        self.delete(&owner("ReplicaSet", format!("{app}-1")));
        self.delete_pod(&format!("shop/{app}-1-a"));
        // What replaced it goes too.
        self.delete(&owner("StatefulSet", app.to_owned()));
        self.delete_pod(&format!("shop/{app}-0"));
    }

    fn delete(&mut self, key: &ObjectKey) {
        self.index.delete(key, self.now);
    }

    fn delete_pod(&mut self, pod: &str) {
        let pod = name(pod);
        if let Some(known) = self.index.pod(&pod) {
            let uid = known.uid.clone();
            self.delete(&ObjectKey::Pod(pod, uid.to_string()));
        }
    }

    /// It is made anew, with another pod at another address.
    pub(super) fn come_back(&mut self, app: &str) {
        if self.index.pod(&name(&format!("shop/{app}-1-a"))).is_some() {
            return;
        }
        self.vanish(app);
        let uid = format!("uid: p-{app}-{}", self.now.as_second());
        let text = deployment("shop", app, "10.1.9.1");
        self.apply(&text.replace(&format!("uid: p-{app}"), &uid));
    }

    /// It is made anew as a StatefulSet, whose pods have the same labels.
    pub(super) fn replace(&mut self, app: &str) {
        self.vanish(app);
        self.apply(&stateful(app, "shop", ""));
    }

    fn apply(&mut self, text: &str) {
        for object in crate::inventory::parse("what is made anew", text)
            .unwrap()
            .objects
        {
            self.index.apply(object, self.now);
        }
    }
}

/// A StatefulSet, with something more to say of its pods.
fn stateful(app: &str, namespace: &str, more: &str) -> String {
    let labels = format!("{{app: {app}}}");
    format!(
        "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: {app}, namespace: {namespace}}}, spec: {{selector: \
         {{matchLabels: {labels}}}, template: {{metadata: {{labels: {labels}}}, spec: {{{more}containers: []}}}}}}}}\n"
    )
}

/// A namespace that is enforced, and one workload of it gone.
fn without_web() -> Sim {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    sim.vanish("web");
    sim.settle();
    assert!(sim.status(WEB).gone_since.is_some());
    assert_eq!(sim.live().len(), 3);
    sim
}

#[test]
fn while_its_namespace_enforces_a_policy_waits_for_its_workload() {
    let mut sim = without_web();
    sim.wait(SignedDuration::from_hours(3));
    assert_eq!(sim.settle(), Vec::<String>::new());
    sim.come_back("web");
    let written = sim.settle();
    let about = written.iter().filter(|write| write.ends_with(WEB));
    assert_eq!(about.collect::<Vec<_>>(), ["answer shop/web-deployment"]);
    let web = sim.status(WEB);
    assert!(web.gone_since.is_none() && web.applied.is_some());
}

#[test]
fn leaving_enforce_takes_away_the_policy_of_a_workload_that_is_gone() {
    for mode in ["audit", "learn", "off", ""] {
        let mut sim = without_web();
        sim.put_foreign("theirs", "web");
        let gone_since = sim.status(WEB).gone_since;
        sim.label(mode);
        sim.settle();
        assert_eq!(sim.live(), ["shop/theirs"], "{mode:?}");
        let web = sim.status(WEB);
        assert!(web.applied.is_none(), "{mode:?}");
        assert_eq!(web.gone_since, gone_since);
        assert!(web.frozen.is_some(), "what was decided of it stays");
        let (applied, reason) = sim.condition(WEB, Type::Applied);
        assert_eq!((applied, reason.as_str()), (false, "NotEnforced"));
        assert_eq!(sim.told(WEB), ["Applied", "Removed"]);
        sim.label("enforce");
        sim.settle();
        assert!(!sim.live().contains(&WEB.to_owned()), "there is nobody");
        sim.come_back("web");
        sim.roll_out();
        assert!(sim.live().contains(&WEB.to_owned()), "{mode:?}");
        assert_eq!(sim.told(WEB), ["Applied", "Removed", "Applied"]);
    }
}

#[test]
fn a_label_of_its_own_goes_with_the_workload_and_so_does_its_policy() {
    let mut sim = Sim::new();
    let web = WorkloadName::new("shop", "Deployment", "web");
    sim.labels.insert(web.clone(), "enforce".to_owned());
    sim.roll_out();
    assert_eq!(sim.live(), [WEB]);
    sim.labels.remove(&web);
    sim.vanish("web");
    sim.settle();
    assert_eq!(sim.live(), Vec::<String>::new());
}

#[test]
fn a_pause_keeps_no_policy_of_a_workload_that_is_gone_and_an_unknown_label_does() {
    let mut sim = without_web();
    sim.label("Enforce!");
    assert_eq!(sim.settle(), Vec::<String>::new());
    ["api", "db"].iter().for_each(|app| sim.vanish(app));
    sim.settle();
    assert_eq!(sim.live().len(), 3, "nobody is left who remembers the mode");
    sim.shop().pause = true;
    assert_eq!(sim.settle(), Vec::<String>::new());
    sim.label("learn");
    sim.settle();
    assert_eq!(sim.live(), Vec::<String>::new());
}

#[test]
fn nothing_is_written_into_a_namespace_that_goes() {
    let mut sim = without_web();
    sim.shop().terminating = true;
    sim.label("learn");
    assert_eq!(sim.settle(), Vec::<String>::new());
    sim.namespaces.remove("shop");
    let written = sim.decide().changes;
    let of_web = written.iter().filter(|change| change.proposal == name(WEB));
    assert_eq!(of_web.count(), 0);
}

#[test]
fn a_person_takes_off_the_policy_of_a_workload_that_is_gone() {
    let mut sim = without_web();
    sim.want(WEB, |spec| spec.roll_back = Some(true));
    sim.settle();
    assert_eq!(
        sim.live(),
        ["shop/api-deployment", "shop/db-deployment"],
        "that one and no other"
    );
    assert_eq!(sim.condition(WEB, Type::Applied).1, "TakenOff");
}

#[test]
fn a_policy_does_not_apply_to_whoever_comes_after_its_workload() {
    for paused in [false, true] {
        let mut sim = without_web();
        sim.shop().pause = paused;
        sim.replace("web");
        sim.settle();
        assert_eq!(sim.live(), ["shop/api-deployment", "shop/db-deployment"]);
        let (applied, reason) = sim.condition(WEB, Type::Applied);
        assert_eq!((applied, reason.as_str()), (false, "WorkloadGone"));
        let message = &sim.events.last().unwrap().1.note;
        assert!(
            message.contains("selects pods of StatefulSet/web"),
            "{message}"
        );
        let new = sim.status("shop/web-statefulset");
        assert_eq!((new.mode, new.learning_alone), (Some(Mode::Learn), true));
        assert_eq!(sim.round(), Vec::<String>::new());
    }
}

#[test]
fn whoever_comes_with_other_labels_or_elsewhere_or_on_its_nodes_network_changes_nothing() {
    for text in [
        stateful("web2", "shop", ""),
        stateful("web", "other", ""),
        stateful("web", "shop", "hostNetwork: true, "),
    ] {
        let mut sim = without_web();
        sim.apply(&text);
        sim.settle();
        assert_eq!(sim.live().len(), 3, "{text}");
    }
}

#[test]
fn a_proposal_outlives_its_workload_for_a_while_or_as_long_as_somebody_wants_something_of_it() {
    let mut sim = Sim::new();
    sim.settle();
    sim.want("shop/api-deployment", |spec| {
        spec.approved.push(NEW.to_owned())
    });
    ["web", "api"].iter().for_each(|app| sim.vanish(app));
    sim.settle();
    assert!(sim.status(WEB).gone_since.is_some());
    sim.wait(SignedDuration::from_hours(8 * 24));
    sim.settle();
    assert!(!sim.proposals.contains_key(&name(WEB)));
    assert!(sim.proposals.contains_key(&name("shop/api-deployment")));
}

#[test]
fn a_proposal_that_nobody_answered_before_its_workload_went_is_forgotten_and_a_persons_is_not() {
    let mut sim = Sim::new();
    sim.settle();
    for (own, spec) in [("run-job", None), ("ahead-job", Some(Default::default()))] {
        let left = Proposal {
            uid: own.to_owned(),
            spec,
            ..Proposal::default()
        };
        sim.proposals.insert(name(&format!("shop/{own}")), left);
    }
    assert_eq!(sim.settle(), ["answer shop/run-job"]);
    assert_eq!(sim.status("shop/run-job").gone_since, Some(sim.now));
    sim.wait(SignedDuration::from_mins(61));
    sim.settle();
    assert!(!sim.proposals.contains_key(&name("shop/run-job")));
    let persons = &sim.proposals[&name("shop/ahead-job")];
    assert_eq!(persons.status, Default::default());
}
