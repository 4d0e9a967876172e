//! What happens in a run, as data: a seed makes one, shrinking takes parts out, JSON keeps it.
//!
//! What always holds: what is taken out of a plan leaves the other decisions as they were, since each is
//! a hash of the seed and of what it is about.

use serde::{Deserialize, Serialize};

use crate::simulator::{Dice, Purpose, Roll};

/// A run of a group of managers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where every decision comes from that is not written here.
    pub seed: u64,
    /// On how many nodes a process runs, one at a time on each.
    pub nodes: usize,
    /// How many partitions there are.
    pub partitions: u32,
    /// For how long there are faults, in milliseconds. Then everything has to be owned again.
    pub faults_ms: u64,
    /// How handlers misbehave meanwhile.
    pub handlers: HandlerFaults,
    /// What goes wrong, and what operators do, in the order of time.
    pub actions: Vec<TimedAction>,
}

/// How often a callback misbehaves, in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerFaults {
    /// It takes up to 0.8 s.
    pub slow_ppm: u32,
    /// `on_assigned` answers with an error.
    pub fail_ppm: u32,
    /// It panics.
    pub panic_ppm: u32,
    /// It never returns.
    pub hang_ppm: u32,
    /// What a handler writes is up to 4 s late.
    pub late_write_ppm: u32,
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedAction {
    /// Milliseconds from the beginning.
    pub at_ms: u64,
    /// What happens.
    pub action: Action,
}

/// Which way a node is cut off from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Nothing passes.
    Both,
    /// What it sends is lost.
    Requests,
    /// It hears nothing.
    Replies,
}

/// One thing that goes wrong, or that an operator does. Nodes are counted from zero; what is not possible at
/// that moment, such as the crash of a node without a process, does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Action {
    /// A node is cut off from the store.
    Cut {
        /// Which.
        node: usize,
        /// Which way.
        way: Way,
    },
    /// All faults of messages end.
    Heal,
    /// A node's messages are late.
    Delay {
        /// Which.
        node: usize,
        /// By this, in milliseconds.
        by_ms: u64,
        /// And up to this.
        jitter_ms: u64,
    },
    /// Some of a node's messages are lost.
    Lose {
        /// Which.
        node: usize,
        /// Of a hundred.
        percent: u8,
    },
    /// A node's requests and answers overtake each other.
    Reorder {
        /// Which.
        node: usize,
        /// Within this, in milliseconds.
        within_ms: u64,
    },
    /// A process ends without a word.
    Crash {
        /// On this node.
        node: usize,
    },
    /// A process begins where none runs.
    Start {
        /// On this node.
        node: usize,
    },
    /// A process leaves, and perhaps wants its partitions kept.
    Stop {
        /// On this node.
        node: usize,
        /// For how long they are kept, in milliseconds.
        hold_ms: Option<u64>,
    },
    /// Somebody asks for a rebalance.
    Rebalance {
        /// Through the process on this node.
        node: usize,
    },
    /// The store takes no request for a while.
    Outage {
        /// For so long, in milliseconds.
        ms: u64,
    },
    /// Every watch ends.
    LoseWatches,
    /// The next requests have no known outcome.
    LoseAnswers {
        /// So many.
        requests: usize,
        /// Whether they are carried out.
        applied: bool,
    },
    /// The bucket is deleted and made again, empty.
    RecreateBucket,
    /// A process stands still alone, as after SIGSTOP, or as on a machine that is suspended.
    Pause {
        /// On this node.
        node: usize,
        /// For so long, in milliseconds.
        ms: u64,
        /// Whether its monotonic clock goes on.
        counted: bool,
    },
    /// A callback of a process stops its own manager and waits for it.
    StopInside {
        /// On this node.
        node: usize,
    },
    /// All processes stand still, as on a machine that is suspended, while time goes on.
    Suspend {
        /// For so long, in milliseconds.
        ms: u64,
    },
}

impl Action {
    /// The node it is about, if it is about one.
    #[must_use]
    pub const fn node(&self) -> Option<usize> {
        match *self {
            Self::Cut { node, .. }
            | Self::Delay { node, .. }
            | Self::Lose { node, .. }
            | Self::Reorder { node, .. }
            | Self::Crash { node }
            | Self::Start { node }
            | Self::Stop { node, .. }
            | Self::Rebalance { node }
            | Self::Pause { node, .. }
            | Self::StopInside { node } => Some(node),
            Self::Heal
            | Self::Outage { .. }
            | Self::LoseWatches
            | Self::LoseAnswers { .. }
            | Self::RecreateBucket
            | Self::Suspend { .. } => None,
        }
    }
}

/// For how long there are faults.
const FAULTS_MS: u64 = 60_000;

impl Plan {
    /// The plan of a seed. It may change between releases; store the plan to keep it.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let roll = |number| dice.roll(Purpose::Plan, 0, number);
        let nodes = 3 + roll(0).below(3) as usize;
        let calm_handlers = roll(1).ppm(250_000);
        let handlers = HandlerFaults {
            slow_ppm: 250_000,
            fail_ppm: 30_000,
            panic_ppm: 10_000,
            hang_ppm: 10_000,
            late_write_ppm: 50_000,
        };
        let mut actions = Vec::new();
        let (mut at_ms, mut number) = (0, 0);
        loop {
            number += 1;
            let moment = dice.roll(Purpose::Timer, 0, number);
            at_ms += moment.within(100, 1_600);
            if at_ms >= FAULTS_MS {
                break;
            }
            let action = action(dice.roll(Purpose::Plan, 1, number), nodes);
            actions.push(TimedAction { at_ms, action });
        }
        Self {
            seed,
            nodes,
            partitions: roll(2).pick(&[4, 8, 16, 32]),
            faults_ms: FAULTS_MS,
            handlers: if calm_handlers {
                HandlerFaults::default()
            } else {
                handlers
            },
            actions,
        }
    }
}

fn action(roll: Roll, nodes: usize) -> Action {
    let node = roll.again().below(nodes as u64) as usize;
    let (first, second) = (roll.again().again(), roll.again().again().again());
    match roll.below(46) {
        0..6 => Action::Cut {
            node,
            way: first.pick(&[Way::Both, Way::Requests, Way::Replies]),
        },
        6..12 => Action::Heal,
        12..15 => Action::Delay {
            node,
            by_ms: first.below(300),
            jitter_ms: second.below(300),
        },
        15..17 => Action::Lose { node, percent: 5 },
        17..19 => Action::Reorder {
            node,
            within_ms: first.below(200),
        },
        19..23 => Action::Crash { node },
        23..29 => Action::Start { node },
        29..32 => Action::Stop {
            node,
            hold_ms: first.ppm(500_000).then_some(2_000),
        },
        32..34 => Action::Rebalance { node },
        34 => Action::Outage {
            ms: first.within(100, 5_000),
        },
        35 | 36 => Action::LoseWatches,
        37 => Action::LoseAnswers {
            requests: first.within(1, 5) as usize,
            applied: second.ppm(500_000),
        },
        38 if first.ppm(300_000) => Action::RecreateBucket,
        39..43 => Action::Pause {
            node,
            ms: first.within(100, 4_000),
            counted: second.ppm(700_000),
        },
        43 => Action::StopInside { node },
        _ => Action::Suspend {
            ms: first.within(100, 3_000),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan that cannot be read back cannot be replayed from a report.
    #[test]
    fn a_plan_is_read_back_as_it_was_written() {
        let plan = Plan::from_seed(7);
        let text = serde_json::to_string(&plan).expect("written");
        assert_eq!(serde_json::from_str::<Plan>(&text).expect("read"), plan);
    }

    /// An action that no seed ever makes tests nothing.
    #[test]
    fn a_few_hundred_seeds_make_every_action() {
        let mut met = std::collections::BTreeSet::new();
        for seed in 0..300 {
            for timed in Plan::from_seed(seed).actions {
                let word = format!("{:?}", timed.action);
                met.insert(word.split([' ', '{']).next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(met.len(), 16, "{met:?}");
    }
}
