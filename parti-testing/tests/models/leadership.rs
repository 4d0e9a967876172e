//! Taking over the lead on one chain of conditional writes: one partition is never granted twice, and a
//! deposed leader writes nothing any more.
//!
//! Modelled: three processes that may stand for election whenever they like; the chain of everything that
//! was committed; for each process how far its watch has come, which is in order but late; reads of `head`
//! that are never behind; writes that arrive late. Left out: why somebody stands (silence only makes it
//! seldom), and handoff (a grant is for ever here).

use crate::search::{Model, fails, holds};

const PROCESSES: usize = 3;
/// The most commits there may be.
const COMMITS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// `head` is written whatever its revision is.
    Condition,
    /// A new leader decides before its watch has shown it its own write.
    OwnWrite,
    /// A refused commit is sent again with the revision found, its content unchanged.
    Again,
}

/// One commit: the term, and to whom the partition was granted by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Commit {
    term: u8,
    by: u8,
    grants: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Process {
    /// How much of the chain its watch has shown it.
    seen: usize,
    /// The term it leads in, and the length of the chain with its last commit.
    leads: Option<(u8, usize)>,
    /// A commit on its way, and the length of the chain that it expects.
    sent: Option<(Commit, usize)>,
}

type State = (Vec<Commit>, [Process; PROCESSES]);

struct Leadership(Without);

impl Leadership {
    fn process(&self, state: &State, index: usize, next: &mut Vec<(&'static str, State)>) {
        let (chain, processes) = state;
        let process = processes[index];
        let mut push = |step, process: Process| {
            let mut after = state.clone();
            after.1[index] = process;
            next.push((step, after));
        };
        if process.seen < chain.len() {
            push(
                "a watch shows a commit",
                Process {
                    seen: process.seen + 1,
                    ..process
                },
            );
        }
        if process.sent.is_some() || chain.len() == COMMITS {
            return;
        }
        let by = index as u8;
        match process.leads {
            None => {
                let term = chain.last().map_or(1, |last| last.term + 1);
                let commit = Commit {
                    term,
                    by,
                    grants: None,
                };
                let sent = Some((commit, chain.len()));
                push("a process stands for election", Process { sent, ..process });
            }
            Some((term, length)) => {
                let sure = process.seen >= length || self.0 == Without::OwnWrite;
                let taken = chain[..process.seen]
                    .iter()
                    .any(|commit| commit.grants.is_some());
                if sure && !taken {
                    let commit = Commit {
                        term,
                        by,
                        grants: Some(by),
                    };
                    let sent = Some((commit, length));
                    push("a leader grants the partition", Process { sent, ..process });
                }
            }
        }
    }

    fn arrive(&self, state: &State, index: usize, next: &mut Vec<(&'static str, State)>) {
        let (chain, processes) = state;
        let process = processes[index];
        let Some((commit, expects)) = process.sent else {
            return;
        };
        let mut lost = state.clone();
        lost.1[index].sent = None;
        if chain.len() == COMMITS {
            return;
        }
        if self.0 == Without::Condition || chain.len() == expects {
            let mut after = lost;
            after.0.push(commit);
            after.1[index].leads = Some((commit.term, after.0.len()));
            let step = if commit.grants.is_some() {
                "a grant is committed"
            } else {
                "a process becomes the leader"
            };
            let others = processes
                .iter()
                .filter(|other| other.leads.is_some())
                .count();
            let two = others > 0 && process.leads.is_none();
            next.push((
                if two {
                    "a second process believes that it leads"
                } else {
                    step
                },
                after,
            ));
        } else if self.0 == Without::Again && process.leads.is_some() {
            let mut after = lost;
            after.1[index].sent = Some((commit, chain.len()));
            next.push(("a refused commit is sent again", after));
        } else {
            lost.1[index].leads = None;
            let step = if process.leads.is_some() {
                "a deposed leader is refused"
            } else {
                "a candidate is refused"
            };
            next.push((step, lost));
        }
    }
}

impl Model for Leadership {
    type State = State;

    fn initial(&self) -> State {
        (Vec::new(), [Process::default(); PROCESSES])
    }

    fn steps(&self, state: &State) -> Vec<(&'static str, State)> {
        let mut next = Vec::new();
        for index in 0..PROCESSES {
            self.process(state, index, &mut next);
            self.arrive(state, index, &mut next);
        }
        next
    }

    fn violated(&self, (chain, _): &State) -> Option<&'static str> {
        if chain.windows(2).any(|pair| pair[1].term < pair[0].term) {
            return Some("a deposed leader commits");
        }
        let grants = chain.iter().filter(|commit| commit.grants.is_some());
        (grants.count() > 1).then_some("the partition is granted twice")
    }

    fn situations(&self) -> Vec<&'static str> {
        vec![
            "a candidate is refused",
            "a deposed leader is refused",
            "a second process believes that it leads",
            "a grant is committed",
        ]
    }
}

/// Two leaders are no harm as long as only one of them can write, and no new one decides blindly.
#[test]
fn leaders_come_and_go_and_the_partition_is_granted_once() {
    let states = holds(&Leadership(Without::Nothing));
    assert_eq!(states, STATES, "the bounds of the model have changed");
}

/// Changes of this number are changes of what is proved.
const STATES: usize = 40_904;

/// A model that allows everything proves nothing: each rule is needed.
#[test]
fn without_any_one_of_its_rules_leadership_goes_wrong() {
    fails(
        &Leadership(Without::OwnWrite),
        "the partition is granted twice",
    );
    fails(&Leadership(Without::Again), "a deposed leader commits");
    fails(&Leadership(Without::Condition), "a deposed leader commits");
}
