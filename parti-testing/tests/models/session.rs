//! A session, its renewals and its eviction: nobody else is granted anything before the holder stops.
//!
//! Modelled: one holder that renews a key with conditional writes, a network that loses, delays and
//! repeats, an observer that sees the key late, counts a full lease of silence and evicts conditionally;
//! true time in ticks. Clocks: the holder's is as slow and the observer's as fast as is allowed, so that
//! what the holder may use of a lease, margin and drift taken off, lasts LEASE ticks of the observer at most,
//! and without a margin one tick more.
//! Left out: several sessions, pauses (they only make the holder stop later than it should, which its
//! guard tells it), and whatever the leader does next.

use std::collections::BTreeSet;

use crate::search::{Model, fails, holds};

/// The last tick.
const END: u8 = 5;
/// A full lease as the observer counts it, in true ticks.
const LEASE: u8 = 2;
/// How many copies of renewals may be on their way.
const COPIES: usize = 2;

/// A rule that is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The deadline counts from the answer instead of the first sending.
    FirstSending,
    /// The holder uses the whole lease.
    Margin,
    /// The eviction does not expect the revision that was judged.
    Condition,
    /// A new revision does not begin a new count.
    Restart,
    /// No answer counts as a success.
    Doubt,
    /// After a second sending the deadline counts from that one.
    FirstOfSeveral,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Pending {
    Nothing,
    /// Waits for the answer to a renewal that was first and last sent at these times.
    Answer {
        first: u8,
        last: u8,
    },
    /// Has read that a renewal first sent then is not in the key.
    Unchanged {
        first: u8,
    },
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct State {
    now: u8,
    /// The revision of the key, and whether the session was ended.
    revision: u8,
    evicted: bool,
    // The holder.
    knows: u8,
    deadline: u8,
    /// When it may send the next renewal.
    next: u8,
    pending: Pending,
    /// Renewals on their way: the revision they expect, and a number that tells copies apart.
    copies: BTreeSet<(u8, u8)>,
    /// An answer on its way: done.
    answered: bool,
    // The observer: what it sees, since when, and which eviction is on its way.
    sees: (u8, u8),
    evicting: Option<u8>,
}

struct Session(Without);

impl Session {
    fn hold(&self) -> u8 {
        if self.0 == Without::Margin {
            LEASE + 1
        } else {
            LEASE
        }
    }

    fn renewed(&self, state: &State, first: u8, last: u8) -> u8 {
        let from = match self.0 {
            Without::FirstSending => state.now,
            Without::FirstOfSeveral => last,
            Without::Nothing
            | Without::Margin
            | Without::Condition
            | Without::Restart
            | Without::Doubt => first,
        };
        state.deadline.max(from + self.hold())
    }

    fn holder(&self, state: &State, next: &mut Vec<(&'static str, State)>) {
        match state.pending {
            Pending::Nothing if state.now < state.deadline && state.now >= state.next => {
                let mut after = state.clone();
                after.next = state.now + 1;
                after.pending = Pending::Answer {
                    first: state.now,
                    last: state.now,
                };
                if after.copies.insert((state.knows, 0)) && after.copies.len() <= COPIES {
                    next.push(("the holder sends a renewal", after));
                }
            }
            Pending::Answer { first, last } if state.answered => {
                let mut after = state.clone();
                after.deadline = self.renewed(state, first, last);
                (after.knows, after.pending) = (state.knows + 1, Pending::Nothing);
                after.answered = false;
                next.push(("the holder hears that it is renewed", after));
            }
            Pending::Answer { first, last } if state.now > last => {
                self.doubt(state, (first, last), next);
            }
            Pending::Unchanged { first } => self.repeat(state, first, next),
            Pending::Nothing | Pending::Answer { .. } => {}
        }
    }

    /// No answer came: the holder reads the key and goes by what it finds.
    fn doubt(&self, state: &State, (first, last): (u8, u8), next: &mut Vec<(&'static str, State)>) {
        let mut after = state.clone();
        if self.0 == Without::Doubt {
            after.deadline = state.deadline.max(first + self.hold());
            after.pending = Pending::Nothing;
            next.push(("the holder takes silence for success", after));
        } else if state.evicted {
            (after.deadline, after.pending) = (state.deadline.min(state.now), Pending::Nothing);
            next.push(("the holder reads that its session is over", after));
        } else if state.revision > state.knows {
            after.deadline = self.renewed(state, first, last);
            (after.knows, after.pending) = (state.revision, Pending::Nothing);
            next.push(("the holder reads its own renewal", after));
        } else {
            after.pending = Pending::Unchanged { first };
            next.push(("the holder reads that nothing has happened yet", after));
        }
    }

    /// What was read may be old by now, which the holder cannot know.
    fn repeat(&self, state: &State, first: u8, next: &mut Vec<(&'static str, State)>) {
        let mut after = state.clone();
        after.pending = Pending::Answer {
            first,
            last: state.now,
        };
        if after.copies.insert((state.knows, 1)) && after.copies.len() <= COPIES {
            next.push(("the holder sends the same renewal again", after));
        }
    }

    fn network(&self, state: &State, next: &mut Vec<(&'static str, State)>) {
        for copy in &state.copies {
            let mut lost = state.clone();
            lost.copies.remove(copy);
            let mut after = lost.clone();
            next.push(("a renewal is lost", lost));
            let step = if state.evicted {
                "a renewal arrives after the eviction"
            } else if state.revision == copy.0 {
                after.revision += 1;
                after.answered = state.pending != Pending::Nothing;
                "a renewal arrives"
            } else {
                "a renewal arrives a second time"
            };
            next.push((step, after));
        }
        if state.answered {
            let mut after = state.clone();
            after.answered = false;
            next.push(("an answer is lost", after));
        }
    }

    fn observer(&self, state: &State, next: &mut Vec<(&'static str, State)>) {
        let (sees, since) = state.sees;
        if !state.evicted && state.revision != sees {
            let mut after = state.clone();
            let restarts = self.0 != Without::Restart;
            after.sees = (state.revision, if restarts { state.now } else { since });
            next.push(("the observer sees a renewal", after));
        }
        if state.evicting.is_none() && !state.evicted && state.now >= since + LEASE {
            let mut after = state.clone();
            after.evicting = Some(sees);
            next.push(("the observer sends an eviction", after));
        }
        if let Some(expects) = state.evicting {
            let mut after = state.clone();
            after.evicting = None;
            let step = if self.0 == Without::Condition || state.revision == expects {
                after.evicted = true;
                "the session is evicted"
            } else {
                "a renewal cancels the eviction"
            };
            next.push((step, after));
        }
    }
}

impl Model for Session {
    type State = State;

    fn initial(&self) -> State {
        State {
            now: 0,
            revision: 0,
            evicted: false,
            knows: 0,
            deadline: self.hold(),
            next: 0,
            pending: Pending::Nothing,
            copies: BTreeSet::new(),
            answered: false,
            sees: (0, 0),
            evicting: None,
        }
    }

    fn steps(&self, state: &State) -> Vec<(&'static str, State)> {
        let mut next = Vec::new();
        if state.now < END {
            let mut after = state.clone();
            after.now += 1;
            next.push(("time passes", after));
        }
        self.holder(state, &mut next);
        self.network(state, &mut next);
        self.observer(state, &mut next);
        next
    }

    fn violated(&self, state: &State) -> Option<&'static str> {
        let holds = state.now < state.deadline;
        (state.evicted && holds).then_some("evicted while it holds")
    }

    fn situations(&self) -> Vec<&'static str> {
        vec![
            "the session is evicted",
            "a renewal cancels the eviction",
            "a renewal arrives after the eviction",
            "a renewal arrives a second time",
            "the holder sends the same renewal again",
            "the holder reads its own renewal",
            "the holder reads that its session is over",
        ]
    }
}

/// Two owners at once, with every clock within its limits, would be the end of the library.
#[test]
fn nobody_is_evicted_while_it_holds() {
    let states = holds(&Session(Without::Nothing));
    assert_eq!(states, STATES, "the bounds of the model have changed");
}

/// Changes of this number are changes of what is proved.
const STATES: usize = 60_371;

/// A model that allows everything proves nothing: each rule is needed.
#[test]
fn without_any_one_of_its_rules_a_session_is_evicted_while_it_holds() {
    for without in [
        Without::FirstSending,
        Without::Margin,
        Without::Condition,
        Without::Restart,
        Without::Doubt,
        Without::FirstOfSeveral,
    ] {
        fails(&Session(without), "evicted while it holds");
    }
}
