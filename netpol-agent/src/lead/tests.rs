//! Elections among candidates whose clocks, requests and answers go wrong.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Action, Config, Election, Record, Seen, decide};

const ME: &str = "me";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn seen(holder: Option<&str>, duration: Option<u64>) -> Seen {
    let record = Record {
        version: "7".to_owned(),
        holder: holder.map(str::to_owned),
        duration: duration.map(seconds),
        transitions: 3,
    };
    Seen {
        record: Some(record),
        since: seconds(100),
    }
}

#[test]
fn what_is_done_depends_on_who_holds_it_and_since_when_that_was_seen() {
    let config = Config::default();
    let take = Action::Take {
        version: "7".to_owned(),
        transitions: 4,
    };
    let renew = Action::Renew {
        version: "7".to_owned(),
        transitions: 3,
    };
    let table = [
        (100, seen(None, None), take.clone()),
        (100, seen(Some(""), Some(9)), take.clone()),
        (100, seen(Some(ME), Some(9)), renew.clone()),
        (900, seen(Some(ME), Some(9)), renew),
        (108, seen(Some("other"), Some(9)), Action::Wait),
        (109, seen(Some("other"), Some(9)), take.clone()),
        (109, seen(Some("other"), Some(60)), Action::Wait),
        (108, seen(Some("other"), None), Action::Wait),
        (109, seen(Some("other"), None), take),
    ];
    for (now, seen, action) in table {
        assert_eq!(decide(seconds(now), &seen, ME, &config), action, "{seen:?}");
    }
    let nothing = Seen {
        record: None,
        since: seconds(0),
    };
    assert_eq!(decide(seconds(1), &nothing, ME, &config), Action::Create);
}

#[test]
fn leading_counts_from_before_the_renewal_was_asked_for() {
    let mut election = Election::new(ME.to_owned(), Config::default());
    let record = seen(Some(ME), Some(9)).record.unwrap();
    election.written(seconds(10), seconds(13), record.clone());
    assert!(election.leads(seconds(15)));
    assert!(!election.leads(seconds(16)));
    assert_eq!(election.held(), Some(&record));
    election.written(seconds(16), seconds(16), record);
    election.resign();
    assert!(!election.leads(seconds(16)));
}

/// What happens to one round of a candidate, in milliseconds of true time.
#[derive(Clone, Debug)]
struct Round {
    pause: u64,
    read: Trip,
    write: Trip,
}

/// A request and its answer.
#[derive(Clone, Debug)]
struct Trip {
    there: u64,
    back: u64,
    lost: Lost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lost {
    Nothing,
    Request,
    Answer,
}

fn trips() -> impl Strategy<Value = Trip> {
    let delay = || prop_oneof![8 => 0..50_u64, 2 => 0..4_000_u64, 1 => 0..20_000_u64];
    let lost = prop_oneof![
        8 => Just(Lost::Nothing), 1 => Just(Lost::Request), 1 => Just(Lost::Answer)
    ];
    (delay(), delay(), lost).prop_map(|(there, back, lost)| Trip { there, back, lost })
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let pause = prop_oneof![9 => 1_000..2_000_u64, 1 => 0..15_000_u64];
    let round = (pause, trips(), trips());
    let round = round.prop_map(|(pause, read, write)| Round { pause, read, write });
    prop::collection::vec(round, 1..40)
}

/// A candidate: its clock's offset in seconds and its rate in percent of true time.
#[derive(Clone, Debug)]
struct Plan {
    offset: u64,
    rate: u64,
    rounds: Vec<Round>,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    // 6 s by the fastest clock are 6.6 s by the slowest, and 9 s by the fastest are 7.4 s.
    let plan = (0..1_000_u64, 82..=122_u64, rounds());
    let plan = plan.prop_map(|(offset, rate, rounds)| Plan {
        offset,
        rate,
        rounds,
    });
    prop::collection::vec(plan, 2..=3)
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Read,
    ReadAt,
    Write(Option<Option<String>>),
    WriteAt(Action, u64),
    Written(u64, Option<String>),
}

impl PartialOrd for Action {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Action {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        format!("{self:?}").cmp(&format!("{other:?}"))
    }
}

/// The API server's side, and every candidate's.
struct World {
    plans: Vec<Plan>,
    elections: Vec<Election>,
    round: Vec<usize>,
    lease: Option<Record>,
    version: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize, Step)>>,
    order: u64,
    /// Every version of the Lease that ever was, so that answers may come late.
    history: Vec<Record>,
    led: u64,
}

impl World {
    fn new(plans: Vec<Plan>) -> Self {
        let names = 0..plans.len();
        let mut world = Self {
            elections: names
                .clone()
                .map(|n| Election::new(n.to_string(), Config::default()))
                .collect(),
            round: vec![0; plans.len()],
            plans,
            lease: None,
            version: 0,
            events: BinaryHeap::new(),
            order: 0,
            history: Vec::new(),
            led: 0,
        };
        names.for_each(|who| world.at(0, who, Step::Read));
        world
    }

    fn at(&mut self, time: u64, who: usize, step: Step) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, who, step)));
    }

    /// True milliseconds on a candidate's own clock.
    fn clock(&self, who: usize, time: u64) -> Duration {
        let plan = &self.plans[who];
        Duration::from_millis(plan.offset * 1000 + time * plan.rate / 100)
    }

    /// Runs to the end, and looks after every millisecond at which something could have changed.
    fn run(&mut self) -> Result<(), TestCaseError> {
        while let Some(Reverse((time, _, who, step))) = self.events.pop() {
            self.check(time)?;
            self.step(time, who, step);
            self.check(time)?;
        }
        Ok(())
    }

    fn check(&mut self, time: u64) -> Result<(), TestCaseError> {
        let leads = |who: &usize| self.elections[*who].leads(self.clock(*who, time));
        let leaders: Vec<usize> = (0..self.elections.len()).filter(leads).collect();
        prop_assert!(leaders.len() < 2, "{leaders:?} lead at {time} ms");
        self.led += leaders.len() as u64;
        Ok(())
    }

    fn step(&mut self, time: u64, who: usize, step: Step) {
        let Some(round) = self.plans[who].rounds.get(self.round[who]).cloned() else {
            return;
        };
        match step {
            Step::Read => match round.read.lost {
                Lost::Request => self.next(time, who, 6_000),
                _ => self.at(time + round.read.there, who, Step::ReadAt),
            },
            Step::ReadAt => match round.read.lost {
                Lost::Answer => self.next(time, who, 6_000),
                _ => {
                    let version = self.lease.as_ref().map(|lease| lease.version.clone());
                    self.at(time + round.read.back, who, Step::Write(Some(version)));
                }
            },
            Step::Write(version) => self.decide(time, who, version.flatten(), &round),
            Step::WriteAt(action, asked) => self.write(time, who, action, asked, &round),
            Step::Written(asked, version) => {
                if let Some(record) = self.version(version) {
                    let (asked, now) = (self.clock(who, asked), self.clock(who, time));
                    self.elections[who].written(asked, now, record);
                }
                self.next(time, who, round.pause);
            }
        }
    }

    fn decide(&mut self, time: u64, who: usize, version: Option<String>, round: &Round) {
        let (now, record) = (self.clock(who, time), self.version(version));
        let action = self.elections[who].read(now, record);
        let sent = action != Action::Wait && round.write.lost != Lost::Request;
        match sent {
            true => self.at(time + round.write.there, who, Step::WriteAt(action, time)),
            false => self.next(time, who, round.pause),
        }
    }

    /// The server takes a write of the version that it has, and of no other.
    fn write(&mut self, time: u64, who: usize, action: Action, asked: u64, round: &Round) {
        let (on, transitions) = match action {
            Action::Create => (None, 0),
            Action::Take {
                version,
                transitions,
            }
            | Action::Renew {
                version,
                transitions,
            } => (Some(version), transitions),
            Action::Wait => unreachable!("nobody writes while waiting"),
        };
        let mut written = None;
        if on == self.lease.as_ref().map(|lease| lease.version.clone()) {
            self.version += 1;
            let record = Record {
                version: self.version.to_string(),
                holder: Some(who.to_string()),
                duration: Some(Config::default().duration),
                transitions,
            };
            written = Some(record.version.clone());
            self.history.push(record.clone());
            self.lease = Some(record);
        }
        match round.write.lost {
            Lost::Answer => self.next(time, who, 6_000),
            _ => self.at(time + round.write.back, who, Step::Written(asked, written)),
        }
    }

    fn version(&self, version: Option<String>) -> Option<Record> {
        let version = version?;
        self.history
            .iter()
            .find(|record| record.version == version)
            .cloned()
    }

    fn next(&mut self, time: u64, who: usize, pause: u64) {
        self.round[who] += 1;
        self.at(time + pause, who, Step::Read);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn there_are_never_two_leaders(plans in plans()) {
        World::new(plans).run()?;
    }
}

#[test]
fn somebody_leads_where_nothing_goes_wrong_and_is_replaced_within_fifteen_seconds() {
    let trip = Trip {
        there: 5,
        back: 5,
        lost: Lost::Nothing,
    };
    let round = Round {
        pause: 1_650,
        read: trip.clone(),
        write: trip,
    };
    let plan = |rounds| Plan {
        offset: 7,
        rate: 100,
        rounds: vec![round.clone(); rounds],
    };
    // The first dies after its tenth round.
    let mut world = World::new(vec![plan(10), plan(60)]);
    let mut died = None;
    while let Some(Reverse((time, _, who, step))) = world.events.pop() {
        world.step(time, who, step);
        if who == 0 && world.round[0] == 10 && died.is_none() {
            died = Some(time);
        }
        if let Some(died) = died
            && world.elections[1].leads(world.clock(1, time))
        {
            assert!(time - died <= 15_000, "after {} ms", time - died);
            return;
        }
    }
    panic!("nobody took over");
}
