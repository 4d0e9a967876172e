//! An exhaustive breadth-first search: every state that can be reached, and the shortest way to a bad one.
//!
//! It is our own since it is shorter than the description of a dependency would be, and says what a model
//! is. What always holds: a search that ends without a violation has seen every reachable state.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

/// A design, small enough to be explored.
pub(crate) trait Model {
    type State: Clone + Ord + Debug;

    fn initial(&self) -> Self::State;

    /// Everything that can happen in a state: what it is, and the state afterwards.
    fn steps(&self, state: &Self::State) -> Vec<(&'static str, Self::State)>;

    /// What must never be, if it is.
    fn violated(&self, state: &Self::State) -> Option<&'static str>;

    /// Which steps must be possible, so that the rest is not true for want of trying.
    fn situations(&self) -> Vec<&'static str>;
}

/// The result of a search.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    /// The shortest way to a state that must not be.
    pub(crate) counterexample: Option<(&'static str, Vec<&'static str>)>,
    /// Which steps were never met.
    pub(crate) never: Vec<&'static str>,
}

/// More states than this are a model that has got out of hand.
const MAX_STATES: usize = 500_000;

pub(crate) fn explore<M: Model>(model: &M) -> Found {
    let mut never = model.situations();
    let mut seen: BTreeMap<M::State, usize> = BTreeMap::new();
    let mut ways: Vec<(usize, &'static str)> = vec![(0, "begin")];
    let mut open = VecDeque::from([(model.initial(), 0)]);
    seen.insert(model.initial(), 0);
    while let Some((state, index)) = open.pop_front() {
        if let Some(what) = model.violated(&state) {
            return Found {
                states: seen.len(),
                counterexample: Some((what, way(&ways, index))),
                never,
            };
        }
        for (step, next) in model.steps(&state) {
            never.retain(|name| *name != step);
            if !seen.contains_key(&next) {
                let place = ways.len();
                assert!(place < MAX_STATES, "the bounds of the model are too wide");
                ways.push((index, step));
                seen.insert(next.clone(), place);
                open.push_back((next, place));
            }
        }
    }
    Found {
        states: seen.len(),
        counterexample: None,
        never,
    }
}

fn way(ways: &[(usize, &'static str)], mut index: usize) -> Vec<&'static str> {
    let mut steps = Vec::new();
    while index != 0 {
        let (before, step) = ways[index];
        steps.push(step);
        index = before;
    }
    steps.reverse();
    steps
}

/// Explores a design that is right: nothing bad, and nothing missing.
pub(crate) fn holds<M: Model>(model: &M) -> usize {
    let found = explore(model);
    assert_eq!(found.counterexample, None, "in {} states", found.states);
    assert!(found.never.is_empty(), "never possible: {:?}", found.never);
    found.states
}

/// Explores a design without one of its rules: that must go wrong.
pub(crate) fn fails<M: Model>(model: &M, what: &str) {
    let found = explore(model);
    let Some((violated, way)) = found.counterexample else {
        panic!(
            "without its rule the design still holds in {} states",
            found.states
        );
    };
    assert_eq!(violated, what, "{way:#?}");
}

/// Two numbers that are equal and not, as a design of their own.
#[derive(Clone, Copy)]
struct Race {
    atomic: bool,
}

impl Model for Race {
    /// The shared number, and of both threads what they have read and whether they are through.
    type State = (u8, [Option<u8>; 2], [bool; 2]);

    fn initial(&self) -> Self::State {
        (0, [None; 2], [false; 2])
    }

    fn steps(&self, state: &Self::State) -> Vec<(&'static str, Self::State)> {
        let mut next = Vec::new();
        for thread in [0, 1].into_iter().filter(|thread| !state.2[*thread]) {
            let mut after = *state;
            match state.1[thread] {
                None if !self.atomic => {
                    after.1[thread] = Some(state.0);
                    next.push(("read", after));
                }
                read => {
                    after.0 = read.unwrap_or(state.0) + 1;
                    after.2[thread] = true;
                    next.push(("write", after));
                }
            }
        }
        next
    }

    fn violated(&self, state: &Self::State) -> Option<&'static str> {
        (state.2 == [true; 2] && state.0 != 2).then_some("an increment is lost")
    }

    fn situations(&self) -> Vec<&'static str> {
        vec!["write"]
    }
}

/// A search that misses interleavings proves nothing: it must find the oldest race there is.
#[test]
fn the_search_finds_a_lost_increment_by_the_shortest_way() {
    let found = explore(&Race { atomic: false });
    let way = vec!["read", "read", "write", "write"];
    assert_eq!(found.counterexample, Some(("an increment is lost", way)));
    assert_eq!(holds(&Race { atomic: true }), 4);
}
