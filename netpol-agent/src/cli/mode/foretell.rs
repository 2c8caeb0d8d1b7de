//! What stands against enforcing, told before anybody waits for it.

use netpol_common::names::cluster::{FORCE_ANNOTATION, PAUSE_ANNOTATION};

use super::force;
use crate::cli::learned::workload_of;
use crate::cli::output::note;
use crate::control::{Against, Namespace, Protected};
use crate::crd::{ConditionStatus, ConditionType, LearnedPolicy, LearnedPolicyStatus, Mode};

/// How many workloads are named one by one.
const SHOWN: usize = 20;

/// Conditions that stand against enforcing while they hold, and whether force overrides them.
const AGAINST: [(ConditionType, bool); 7] = [
    (ConditionType::LostEvents, true),
    (ConditionType::ObservationGap, true),
    (ConditionType::Unobserved, true),
    (ConditionType::NeedsWidening, true),
    (ConditionType::Unselectable, false),
    (ConditionType::TooLarge, false),
    (ConditionType::NameConflict, false),
];

/// Something that stands against enforcing.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Obstacle {
    /// In one word.
    word: String,
    /// In a sentence.
    why: String,
    /// Whether force overrides it.
    yields: bool,
}

/// Says what stands against enforcing as things are.
pub(super) fn foretell(learned: &[LearnedPolicy], name: &str, said: &Namespace) {
    if said.pause {
        let held = Against::Paused;
        note(
            "finding",
            format_args!("nothing is enforced in {name} as it is: {held} ({PAUSE_ANNOTATION})"),
        );
    }
    let all: Vec<(String, Vec<Obstacle>)> = learned
        .iter()
        .filter_map(|learned| Some((workload_of(learned), obstacles(learned)?)))
        .filter(|(_, obstacles)| !obstacles.is_empty())
        .collect();
    let sentences = all.iter();
    let sentences: Vec<String> = sentences
        .map(|(workload, obstacles)| sentence(workload, obstacles, said.force))
        .collect();
    for sentence in sentences.iter().take(SHOWN) {
        note("finding", sentence);
    }
    if let Some(more @ 1..) = sentences.len().checked_sub(SHOWN) {
        note(
            "finding",
            format_args!("{more} more workloads are like these"),
        );
    }
    let never: Vec<(&str, &str)> = all
        .iter()
        .filter_map(|(workload, obstacles)| {
            let first = obstacles.iter().find(|one| !one.yields)?;
            Some((workload.as_str(), first.word.as_str()))
        })
        .collect();
    // Force does not end a pause.
    let would = match said.force || said.pause {
        true => 0,
        false => all.len() - never.len(),
    };
    force::tell(name, would, &never);
}

/// What becomes of a workload, in a sentence.
fn sentence(workload: &str, obstacles: &[Obstacle], force: bool) -> String {
    let words = |wanted: &dyn Fn(&&Obstacle) -> bool| {
        let wanted = obstacles.iter().filter(wanted);
        wanted
            .map(|one| one.why.as_str())
            .collect::<Vec<_>>()
            .join("; ")
    };
    match (force, obstacles.iter().all(|one| one.yields)) {
        (true, true) => format!(
            "{workload} is enforced though it would not be without {FORCE_ANNOTATION}: {}",
            words(&|_| true)
        ),
        (true, false) => format!(
            "{workload} is not enforced as it is: {}",
            words(&|one| !one.yields)
        ),
        (false, _) => format!("{workload} is not enforced as it is: {}", words(&|_| true)),
    }
}

/// What stands against enforcing a workload, so far as its proposal tells; nothing of one that is gone, or whose policy
/// is in force: what would have kept it from being applied does not take it off.
fn obstacles(learned: &LearnedPolicy) -> Option<Vec<Obstacle>> {
    let status = learned.status.as_ref()?;
    if status.gone_since.is_some() || status.holds(ConditionType::Applied) {
        return None;
    }
    let mut all: Vec<Obstacle> = incomplete(status).into_iter().collect();
    all.extend(AGAINST.into_iter().filter_map(|(kind, yields)| {
        let held = status.condition(kind).filter(|_| status.holds(kind))?;
        let word = format!("{kind:?}");
        let why = with(&word, &held.message);
        Some(Obstacle { word, why, yields })
    }));
    let applied = status.condition(ConditionType::Applied);
    let message = applied.map_or("", |known| known.message.as_str());
    all.extend(
        Protected::ALL
            .map(Against::Protected)
            .into_iter()
            .filter(|protected| message.contains(&protected.to_string()))
            .map(|protected| obstacle(&protected)),
    );
    let unreadable = applied.filter(|known| known.reason == Against::Unreadable.word());
    all.extend(unreadable.map(|known| Obstacle {
        why: with(&known.reason, &known.message),
        ..obstacle(&Against::Unreadable)
    }));
    let taken_off = learned.wanted().roll_back == Some(true);
    all.extend(taken_off.then(|| obstacle(&Against::TakenOff)));
    // Coming from another mode ends a rollback; staying in this one does not.
    let stays = status.mode == Some(Mode::Enforce) && !taken_off;
    let rolled_back = stays && status.holds(ConditionType::RolledBack);
    all.extend(rolled_back.then(|| obstacle(&Against::RolledBack)));
    Some(all)
}

fn incomplete(status: &LearnedPolicyStatus) -> Option<Obstacle> {
    let complete = status.condition(ConditionType::Complete)?;
    (complete.status != ConditionStatus::True).then(|| Obstacle {
        why: with("not complete", &complete.message),
        ..obstacle(&Against::Incomplete(Vec::new()))
    })
}

fn obstacle(against: &Against) -> Obstacle {
    Obstacle {
        word: against.word().to_owned(),
        why: against.to_string(),
        yields: against.yields_to_force(),
    }
}

fn with(word: &str, message: &str) -> String {
    match message {
        "" => word.to_owned(),
        message => format!("{word} ({message})"),
    }
}
