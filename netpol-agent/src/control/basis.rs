//! What the proposals of a cluster rest on, for who wants to see policies without deciding anything.
//!
//! What people wrote and what the leader answered last are taken as they are; what the leader alone knows, as the health
//! of agents, is not asked for. The engine makes of a [`Basis`] what the proposals say: edges that are frozen, approved
//! or rejected stand in its graph as such, and everything else as it was seen.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::{ObjectName, WorkloadName};

use super::decide;
use super::edges;
use super::facts::{Facts, Settings};
use super::ours;
use super::propose;
use super::subject::{self, Subject};
use crate::crd::OptionsSpec;
use crate::graph::{Evidence, FlowGraph, ViewEvidence};
use crate::identity::{EdgeId, Peer};
use crate::policy::emit::kubernetes;
use crate::policy::model::NAMESPACE;
use crate::policy::{
    Cluster, Direction, EdgesOf, Finding, Options, OptionsFor, Policy, Proposal, Synthesis,
};

/// What somebody asks for above all that people wrote into the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Options in the place of the cluster's.
    pub options: OptionsSpec,
    /// Edges that are rejected besides.
    pub rejected: BTreeSet<EdgeId>,
    /// Whether every namespace gets a policy that denies all else.
    pub default_deny: bool,
}

/// What policies are made of.
#[derive(Clone, Debug)]
pub struct Basis<'a> {
    /// Who is there.
    pub cluster: Cluster,
    /// Who talks to whom, as far as it is to make rules.
    pub graph: Cow<'a, FlowGraph>,
    /// How each policy is written.
    pub options: OptionsFor,
    /// What was taken in besides what was seen.
    pub folded: Folded,
    /// What people wrote that cannot be read, by proposal.
    pub wrong: Vec<(ObjectName, String)>,
    /// How many edges are left out of each workload's policy since who is at their other end is not there now.
    pub absent: BTreeMap<WorkloadName, usize>,
    /// The names of proposals and of their policies.
    names: BTreeMap<WorkloadName, ObjectName>,
    /// Workloads of which nothing is proposed.
    off: BTreeSet<WorkloadName>,
    /// Edges that were seen, but are none at that end.
    unlearned: Unlearned,
    /// The hashes of proposals that rest on something else than what was seen, as the controller told them.
    told: BTreeMap<WorkloadName, String>,
}

/// What was taken in besides what was seen, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Folded {
    /// Edges that people approved.
    pub approved: usize,
    /// Edges that people rejected.
    pub rejected: usize,
    /// Workloads with options of their own.
    pub workloads: usize,
    /// Namespaces with options of their own.
    pub namespaces: usize,
    /// Workloads whose edges are frozen.
    pub frozen: usize,
    /// Workloads of which nothing is proposed, since their mode is `off`.
    pub off: usize,
}

type Unlearned = BTreeSet<(Direction, EdgeId)>;

impl<'a> Basis<'a> {
    /// A graph as it is, with the same options everywhere.
    #[must_use]
    pub fn plain(graph: &'a FlowGraph, cluster: Cluster, options: Options) -> Self {
        Self {
            cluster,
            graph: Cow::Borrowed(graph),
            options: options.into(),
            folded: Folded::default(),
            wrong: Vec::new(),
            absent: BTreeMap::new(),
            names: BTreeMap::new(),
            off: BTreeSet::new(),
            unlearned: Unlearned::new(),
            told: BTreeMap::new(),
        }
    }

    /// What the proposals among the facts rest on. Of what they do not tell, and nobody overrides, settings decide.
    #[must_use]
    pub fn of(facts: &Facts<'a>, settings: &Settings, over: &Overrides) -> Self {
        let cluster = Cluster::of(facts.index);
        let names = subject::names(facts, &cluster);
        let mut subjects = decide::subjects(facts, settings, &cluster, &names);
        let mut folded = Folded::of(&subjects, facts);
        for subject in &mut subjects {
            subject.as_told();
            subject.overrule(over);
        }
        let (graph, unlearned) = graph(&mut subjects, facts, settings, &cluster);
        folded.settle(&subjects);
        let wrong = subjects.iter().flat_map(|subject| {
            let wrong = subject.wrong.iter();
            wrong.map(|wrong| (subject.name.clone(), wrong.clone()))
        });
        let settled = subjects.iter().filter(|subject| !subject.is_plain());
        let absent = settled.clone().filter(|subject| subject.absent > 0);
        let absent = absent.map(|subject| (subject.workload.clone(), subject.absent));
        let absent = absent.collect();
        let told = settled.filter_map(|subject| {
            let told = subject.before().proposal?;
            Some((subject.workload.clone(), told.hash))
        });
        let told = match *over == Overrides::default() {
            true => told.collect(),
            false => BTreeMap::new(),
        };
        Self {
            graph,
            options: options(&subjects, settings, over),
            wrong: wrong.collect(),
            absent,
            off: off(&subjects, &names),
            told,
            cluster,
            folded,
            names,
            unlearned,
        }
    }

    /// Takes out of what the engine made of it what is not to be proposed, and what is to be said of such edges only.
    pub fn fit(&self, proposal: &mut Proposal) {
        let namespace = |policy: &Policy| policy.workload.namespace.clone();
        let is_off = |policy: &mut Policy| self.off.contains(&policy.workload);
        let off = proposal.policies.extract_if(.., is_off);
        // What denies by default stays where no policy of a workload is wanted, as beside those that are there.
        let mut emptied: BTreeSet<String> = off.map(|policy| namespace(&policy)).collect();
        for policy in proposal
            .policies
            .iter()
            .filter(|policy| !policy.is_of_namespace())
        {
            emptied.remove(&policy.workload.namespace);
        }
        let is_left = |policy: &Policy| !emptied.contains(&policy.workload.namespace);
        proposal
            .policies
            .retain(|policy| !policy.is_of_namespace() || is_left(policy));
        proposal.findings.retain(|finding| match finding {
            Finding::OtherEndOnly { direction, edge } => {
                !self.unlearned.contains(&(*direction, edge.clone()))
            }
            _ => true,
        });
    }

    /// Gives policies the names of their proposals.
    pub fn name(&self, policies: &mut [Policy]) {
        for policy in policies {
            if let Some(name) = self.names.get(&policy.workload) {
                policy.name.clone_from(&name.name);
            }
        }
    }

    /// The proposals that rest on something else than what was seen, and say something else than these policies.
    #[must_use]
    pub fn unlike(&self, policies: &[Policy]) -> Vec<&ObjectName> {
        let made = policies.iter().filter_map(|policy| {
            let hash = ours::hash(&kubernetes::object(policy).spec?);
            Some((&policy.workload, hash))
        });
        let made: BTreeMap<&WorkloadName, String> = made.collect();
        let unlike = self
            .told
            .iter()
            .filter(|(workload, told)| made.get(workload) != Some(told));
        unlike
            .filter_map(|(workload, _)| self.names.get(workload))
            .collect()
    }
}

impl Folded {
    fn of(subjects: &[Subject<'_>], facts: &Facts<'_>) -> Self {
        let mut all = Self::default();
        for subject in subjects {
            let spec = &subject.spec;
            all.approved += spec.approved.len();
            all.rejected += spec.rejected.len();
            all.workloads += usize::from(spec.options.is_some());
        }
        let with_options = |name: &&String| facts.namespace(name).options.is_some();
        let namespaces: BTreeSet<&String> = subjects
            .iter()
            .map(|subject| &subject.name.namespace)
            .collect();
        all.namespaces = namespaces.into_iter().filter(with_options).count();
        all
    }

    fn settle(&mut self, subjects: &[Subject<'_>]) {
        let own = subjects.iter().filter(|subject| !subject.is_namespace());
        for subject in own {
            self.frozen += usize::from(subject.frozen.is_some());
            self.off += usize::from(!subject.way.proposes);
        }
    }
}

/// Workloads of which nothing is proposed: those that are off, and those of which the controller says nothing.
fn off(
    subjects: &[Subject<'_>],
    names: &BTreeMap<WorkloadName, ObjectName>,
) -> BTreeSet<WorkloadName> {
    let proposing = subjects.iter().filter(|subject| subject.way.proposes);
    let proposing: BTreeSet<&WorkloadName> = proposing.map(|subject| &subject.workload).collect();
    let rest = names.keys().filter(|name| !proposing.contains(name));
    rest.filter(|name| name.kind != NAMESPACE)
        .cloned()
        .collect()
}

/// How each policy is written. Mostly nobody asks for anything of one workload's.
fn options(subjects: &[Subject<'_>], settings: &Settings, over: &Overrides) -> OptionsFor {
    let mut all = propose::options(subjects, settings);
    let namespaces = all.namespaces.values_mut();
    for options in namespaces.chain([&mut all.cluster]) {
        options.default_deny |= over.default_deny;
    }
    if all.namespaces.is_empty() {
        let cluster = &all.cluster;
        all.workloads.retain(|_, options| options != cluster);
    }
    all
}

/// The graph from which the engine learns what the subjects' proposals rest on.
fn graph<'a>(
    subjects: &mut [Subject<'a>],
    facts: &Facts<'a>,
    settings: &Settings,
    cluster: &Cluster,
) -> (Cow<'a, FlowGraph>, Unlearned) {
    let options = decide::written(subjects, settings);
    let synthesis = Synthesis::of(facts.graph, cluster, &options).without_evidence();
    // A workload whose policy is withheld, as a peer is gone, rests on its other edges.
    propose::from_learned(subjects, synthesis.proposal());
    if subjects.iter().all(Subject::is_plain) {
        return (Cow::Borrowed(facts.graph), Unlearned::new());
    }
    for subject in subjects.iter_mut().filter(|subject| !subject.is_plain()) {
        let EdgesOf { learned, rejected } = synthesis.edges_of(&subject.workload);
        subject.settle((learned, rejected), facts, cluster);
    }
    let settled = subjects.iter().filter(|subject| !subject.is_plain());
    let mut merged = Merged {
        graph: facts.graph.clone(),
        settled: settled
            .map(|subject| (&subject.workload, subject))
            .collect(),
        synthesis: &synthesis,
        learned: BTreeMap::new(),
        unlearned: Unlearned::new(),
    };
    merged.forget();
    merged.teach();
    (Cow::Owned(merged.graph), merged.unlearned)
}

/// A graph in which the ends of some workloads are settled: what their views say is what their proposals rest on. What
/// all others learn from it stays as it is.
struct Merged<'a> {
    graph: FlowGraph,
    settled: BTreeMap<&'a WorkloadName, &'a Subject<'a>>,
    synthesis: &'a Synthesis<'a>,
    /// What others learned, once somebody asked.
    learned: BTreeMap<WorkloadName, EdgesOf>,
    unlearned: Unlearned,
}

impl<'a> Merged<'a> {
    /// The settled workload at an end.
    fn settled(&self, edge: &EdgeId, direction: Direction) -> Option<&'a Subject<'a>> {
        match edges::end(edge, direction) {
            Peer::Workload(name) => self.settled.get(name).copied(),
            _ => None,
        }
    }

    /// Whether a workload at an end that is not settled learned an edge, or would have if nobody had rejected it.
    fn is_learned(&mut self, edge: &EdgeId, direction: Direction) -> bool {
        let Peer::Workload(name) = edges::end(edge, direction) else {
            return false;
        };
        if self.settled.contains_key(name) {
            return false;
        }
        let of = || self.synthesis.edges_of(name);
        let known = self.learned.entry(name.clone()).or_insert_with(of);
        let place = place(direction);
        known.learned[place].contains(edge) || known.rejected[place].contains(edge)
    }

    /// Takes away what settled ends learned and do not rest on. What makes no rule anyway stays, and is told.
    fn forget(&mut self) {
        let mut graph = std::mem::take(&mut self.graph);
        for (edge, evidence) in &mut graph.edges {
            for direction in Direction::ALL {
                let own = self.settled(edge, direction);
                let forgets = |own: &Subject<'_>| {
                    own.learned[place(direction)].contains(&**edge) && !rests(own, edge, direction)
                };
                if own.is_some_and(forgets) {
                    self.forget_at(edge, evidence, direction);
                }
            }
        }
        graph
            .edges
            .retain(|_, evidence| evidence.client.is_some() || evidence.server.is_some());
        self.graph = graph;
    }

    fn forget_at(&mut self, edge: &EdgeId, evidence: &mut Evidence, direction: Direction) {
        let lent = self.is_learned(edge, direction.other());
        let (own, watched) = end(evidence, direction);
        let taken = own.take();
        *watched = true;
        self.unlearned.insert((direction, edge.clone()));
        // The other end may have learned it by this one's word.
        let (other, watched) = end(evidence, direction.other());
        let counts = |view: &Option<ViewEvidence>| {
            let view = view.as_ref();
            view.map_or((0, 0), |view| {
                (view.counts.established, view.counts.one_way)
            })
        };
        let (established, one_way) = counts(other);
        if lent && established == 0 && (counts(&taken).0 > 0 || one_way == 0) {
            (*other, *watched) = (taken, true);
        }
    }

    /// Lets settled ends have seen what they rest on.
    fn teach(&mut self) {
        let settled: Vec<&Subject<'_>> = self.settled.values().copied().collect();
        for subject in settled {
            for direction in Direction::ALL {
                let place = place(direction);
                for edge in subject.rests_on[place].union(&subject.denied[place]) {
                    self.teach_at(edge, direction);
                }
            }
        }
    }

    fn teach_at(&mut self, edge: &EdgeId, direction: Direction) {
        let learns = match self.settled(edge, direction.other()) {
            Some(other) => rests(other, edge, direction.other()),
            None => self.is_learned(edge, direction.other()),
        };
        let evidence = self.graph.edges.entry(edge.clone().into()).or_default();
        let (own, watched) = end(evidence, direction);
        (*own, *watched) = (Some(edges::seen()), true);
        if direction == Direction::Ingress {
            evidence.own_node = false;
        }
        // The other end is not to learn it by this one's word.
        if !learns {
            let (other, watched) = end(evidence, direction.other());
            (*other, *watched) = (None, true);
            self.unlearned.insert((direction.other(), edge.clone()));
        }
    }
}

fn place(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}

/// Whether a settled workload's policy is about an edge.
fn rests(subject: &Subject<'_>, edge: &EdgeId, direction: Direction) -> bool {
    let place = place(direction);
    subject.rests_on[place].contains(edge) || subject.denied[place].contains(edge)
}

/// What an end saw, and whether it was watched.
fn end(evidence: &mut Evidence, direction: Direction) -> (&mut Option<ViewEvidence>, &mut bool) {
    match direction {
        Direction::Ingress => (&mut evidence.server, &mut evidence.server_watched),
        Direction::Egress => (&mut evidence.client, &mut evidence.client_watched),
    }
}
