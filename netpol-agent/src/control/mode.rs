//! Which mode a workload is in, and what comes with going from one to another.

use crate::crd::Mode;

/// What decides on a workload's mode.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// What the namespace asks for.
    pub namespace: Option<Mode>,
    /// What the workload's own label asks for; nothing, if it has none or one that means nothing.
    pub own: Option<Mode>,
    /// The mode that it is in; nothing of a workload that is new.
    pub last: Option<Mode>,
    /// Whether it learns although its namespace asks for more.
    pub alone: bool,
    /// Whether enough is known of it.
    pub complete: bool,
}

/// What a workload's mode is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chosen {
    /// The mode.
    pub mode: Mode,
    /// Whether it learns although its namespace asks for more.
    pub alone: bool,
}

/// What the label of a namespace says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Label {
    /// There is none: as `learn`.
    Absent,
    /// A mode.
    Known(Mode),
    /// Something else: the last mode stays.
    Unknown,
}

/// One way from a mode to a mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transition {
    /// The mode before; nothing of a workload that is new.
    pub from: Option<Mode>,
    /// The mode after.
    pub to: Mode,
    /// What becomes of the frozen edges.
    pub edges: Edges,
    /// Whether a policy is proposed.
    pub proposes: bool,
    /// Whether the proposed policy is to be in force. Where not, ours is taken away.
    pub applies: bool,
    /// Whether a rollback is forgotten, so that enforcing may begin anew.
    pub unlatches: bool,
}

/// What becomes of frozen edges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Edges {
    /// There are none: what is seen counts.
    Live,
    /// What is known now is frozen.
    Freeze,
    /// They stay; where they are lost, what is known now is frozen.
    Keep,
}

/// Every way from a mode to a mode.
pub const TRANSITIONS: [Transition; 20] = {
    use Edges::{Freeze, Keep, Live};
    use Mode::{Audit, Enforce, Learn, Off};
    [
        //       from           to       edges   proposes applies unlatches
        row(None, Off, Live, false, false, true),
        row(None, Learn, Live, true, false, true),
        row(None, Audit, Freeze, true, false, true),
        row(None, Enforce, Freeze, true, true, true),
        row(Some(Off), Off, Live, false, false, true),
        row(Some(Off), Learn, Live, true, false, true),
        row(Some(Off), Audit, Freeze, true, false, true),
        row(Some(Off), Enforce, Freeze, true, true, true),
        row(Some(Learn), Off, Live, false, false, true),
        row(Some(Learn), Learn, Live, true, false, true),
        row(Some(Learn), Audit, Freeze, true, false, true),
        row(Some(Learn), Enforce, Freeze, true, true, true),
        row(Some(Audit), Off, Live, false, false, true),
        row(Some(Audit), Learn, Live, true, false, true),
        row(Some(Audit), Audit, Keep, true, false, true),
        row(Some(Audit), Enforce, Keep, true, true, true),
        row(Some(Enforce), Off, Live, false, false, true),
        row(Some(Enforce), Learn, Live, true, false, true),
        row(Some(Enforce), Audit, Keep, true, false, true),
        row(Some(Enforce), Enforce, Keep, true, true, false),
    ]
};

const fn row(
    from: Option<Mode>,
    to: Mode,
    edges: Edges,
    proposes: bool,
    applies: bool,
    unlatches: bool,
) -> Transition {
    Transition {
        from,
        to,
        edges,
        proposes,
        applies,
        unlatches,
    }
}

/// The way from `from` to `to`.
#[must_use]
pub fn transition(from: Option<Mode>, to: Mode) -> Transition {
    let mut known = TRANSITIONS.iter();
    let found = known.find(|row| row.from == from && row.to == to);
    *found.expect("there is a row for every pair of modes")
}

impl Label {
    /// What a label's value says.
    #[must_use]
    pub fn of(value: Option<&str>) -> Self {
        match value {
            None => Self::Absent,
            Some(word) => Mode::of(word).map_or(Self::Unknown, Self::Known),
        }
    }

    /// What a namespace asks for, given what it asked for last.
    #[must_use]
    pub fn mode(self, last: Option<Mode>) -> Mode {
        match self {
            Self::Absent => Mode::Learn,
            Self::Known(mode) => mode,
            Self::Unknown => last.unwrap_or(Mode::Learn),
        }
    }
}

/// The mode of a workload. Of what its namespace and its own label ask for, the stricter counts.
///
/// A workload that comes into a namespace whose edges are frozen already has nothing to freeze: it learns alone until it
/// is complete, or until its own label says that it has learned enough.
#[must_use]
pub fn choose(asked: Asked) -> Chosen {
    let namespace = asked.namespace.unwrap_or(Mode::Learn);
    let wanted = asked.own.map_or(namespace, |own| own.max(namespace));
    let by_label = asked.own.is_some_and(Mode::freezes);
    let new = asked.last.is_none() || (asked.alone && asked.last == Some(Mode::Learn));
    if wanted.freezes() && new && !by_label && !asked.complete {
        return Chosen {
            mode: Mode::Learn,
            alone: true,
        };
    }
    Chosen {
        mode: wanted,
        alone: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [Option<Mode>; 5] = [
        None,
        Some(Mode::Off),
        Some(Mode::Learn),
        Some(Mode::Audit),
        Some(Mode::Enforce),
    ];

    #[test]
    fn every_pair_of_modes_has_one_row() {
        for from in BEFORE {
            for to in Mode::ALL {
                let rows = TRANSITIONS.iter();
                let rows = rows.filter(|row| row.from == from && row.to == to);
                assert_eq!(rows.count(), 1, "{from:?} to {to:?}");
            }
        }
    }

    /// What the design says of modes, one by one.
    #[test]
    fn each_row_is_what_its_modes_mean() {
        for row in TRANSITIONS {
            let Transition { from, to, .. } = row;
            assert_eq!(row.proposes, to > Mode::Off, "{row:?}");
            assert_eq!(row.applies, to == Mode::Enforce, "{row:?}");
            let stays = from == Some(Mode::Enforce) && to == Mode::Enforce;
            assert_eq!(
                row.unlatches, !stays,
                "a latch lasts as long as enforcing: {row:?}"
            );
            let edges = match (from.is_some_and(Mode::freezes), to.freezes()) {
                (_, false) => Edges::Live,
                (false, true) => Edges::Freeze,
                (true, true) => Edges::Keep,
            };
            assert_eq!(row.edges, edges, "{row:?}");
        }
    }

    fn all() -> impl Iterator<Item = Asked> {
        let own = BEFORE;
        Mode::ALL.into_iter().flat_map(move |namespace| {
            own.into_iter().flat_map(move |own| {
                BEFORE.into_iter().flat_map(move |last| {
                    [false, true].into_iter().flat_map(move |alone| {
                        [false, true].map(|complete| Asked {
                            namespace: Some(namespace),
                            own,
                            last,
                            alone,
                            complete,
                        })
                    })
                })
            })
        })
    }

    #[test]
    fn an_own_label_only_tightens() {
        for asked in all() {
            let (with, without) = (choose(asked), choose(Asked { own: None, ..asked }));
            assert!(with.mode >= without.mode, "{asked:?}");
            let stricter = asked.own.max(asked.namespace);
            assert!(Some(with.mode) == stricter || with.alone, "{asked:?}");
        }
    }

    #[test]
    fn what_is_new_where_edges_are_frozen_learns_alone_until_it_is_complete() {
        let new = Asked {
            namespace: Some(Mode::Enforce),
            ..Asked::default()
        };
        let alone = Chosen {
            mode: Mode::Learn,
            alone: true,
        };
        assert_eq!(choose(new), alone);
        let going_on = Asked {
            last: Some(Mode::Learn),
            alone: true,
            ..new
        };
        assert_eq!(choose(going_on), alone);
        let enforced = Chosen {
            mode: Mode::Enforce,
            alone: false,
        };
        assert_eq!(
            choose(Asked {
                complete: true,
                ..going_on
            }),
            enforced
        );
        let own = Some(Mode::Audit);
        assert_eq!(choose(Asked { own, ..going_on }), enforced);
        let was_there = Asked {
            last: Some(Mode::Learn),
            ..new
        };
        assert_eq!(
            choose(was_there),
            enforced,
            "it was there before the label was"
        );
    }

    #[test]
    fn learning_alone_ends_with_what_the_namespace_asks_for() {
        for asked in all().filter(|asked| asked.alone) {
            let chosen = choose(asked);
            let freezes = asked.namespace.is_some_and(Mode::freezes);
            assert!(!chosen.alone || freezes, "{asked:?}");
        }
    }

    #[test]
    fn an_unknown_label_keeps_the_last_mode() {
        assert_eq!(Label::of(Some("Enforce")), Label::Unknown);
        assert_eq!(Label::of(Some("enforce")), Label::Known(Mode::Enforce));
        assert_eq!(Label::of(None).mode(Some(Mode::Enforce)), Mode::Learn);
        for last in Mode::ALL {
            assert_eq!(Label::Unknown.mode(Some(last)), last);
        }
        assert_eq!(Label::Unknown.mode(None), Mode::Learn);
    }
}
