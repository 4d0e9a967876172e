//! The handoff of one partition between two workers by versions and acknowledgements: never do both
//! process it.
//!
//! Modelled: the records of two workers, which they take in late and skipping versions; callbacks that
//! end at any time; acknowledgements (`applied`, and whether the partition still drains) that the leader
//! sees late; a leader that moves the partition to and fro as long as versions last. Left out: leases and
//! evictions (the model of the session), several partitions (each is on its own), changes of the leader
//! (it decides from records alone, so that a new one is in the same place).

use crate::search::{Model, fails, holds};

/// The last version.
const VERSIONS: u8 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The partition is granted before it is acknowledged.
    Waiting,
    /// The acknowledgement does not say that the partition still drains.
    Draining,
    /// An acknowledgement counts whatever version it is about.
    Since,
    /// A partition that came back and is revoked again keeps its first `since`.
    FreshSince,
    /// A worker begins again before its callback for the revocation has ended.
    Order,
}

/// What the leader has written for a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Record {
    version: u8,
    granted: bool,
    /// In which version the partition was taken away, while that is not acknowledged.
    since: Option<u8>,
    /// The last `since` there was, for the rule that is left out.
    first_since: Option<u8>,
}

/// What a worker has said of itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Word {
    applied: u8,
    draining: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Worker {
    record: Record,
    /// The version it has taken in, and whether that grants it the partition.
    applied: u8,
    wants: bool,
    processing: bool,
    draining: bool,
    /// What it has written, and what of that the leader has seen.
    said: Word,
    seen: Word,
}

type State = (u8, [Worker; 2]);

struct Handoff(Without);

impl Handoff {
    fn free(&self, worker: &Worker) -> bool {
        if worker.record.granted {
            return false;
        }
        let Some(since) = worker.record.since else {
            return true;
        };
        let heard = worker.seen.applied >= since || self.0 == Without::Since;
        heard && !worker.seen.draining
    }

    fn leader(&self, state: &State, next: &mut Vec<(&'static str, State)>) {
        let (version, workers) = state;
        if *version == VERSIONS {
            return;
        }
        let version = version + 1;
        for target in [0, 1] {
            let other = 1 - target;
            let mut after = (version, *workers);
            if workers[target].record.granted {
                // Taken away first, whatever comes then.
                let record = &mut after.1[target].record;
                (record.version, record.granted) = (version, false);
                let kept = record.first_since.filter(|_| self.0 == Without::FreshSince);
                record.since = Some(kept.unwrap_or(version));
                record.first_since = record.since;
                if self.0 == Without::Waiting {
                    let record = &mut after.1[other].record;
                    (record.version, record.granted, record.since) = (version, true, None);
                }
                next.push(("the leader takes it away", after));
            } else if self.free(&workers[other]) {
                let comes_back = workers[target].record.since.is_some();
                let record = &mut after.1[target].record;
                (record.version, record.granted, record.since) = (version, true, None);
                let record = &mut after.1[other].record;
                if record.since.take().is_some() {
                    record.version = version;
                }
                let step = if comes_back {
                    "the leader gives it back"
                } else {
                    "the leader grants it"
                };
                next.push((step, after));
            }
        }
    }

    fn worker(&self, state: &State, index: usize, next: &mut Vec<(&'static str, State)>) {
        let worker = &state.1[index];
        let mut push = |step, change: &dyn Fn(&mut Worker)| {
            let mut after = *state;
            change(&mut after.1[index]);
            next.push((step, after));
        };
        if worker.record.version > worker.applied {
            let skips = worker.record.version > worker.applied + 1;
            push(
                if skips {
                    "a worker skips versions"
                } else {
                    "a worker takes in its record"
                },
                &|worker| {
                    worker.applied = worker.record.version;
                    worker.wants = worker.record.granted;
                    worker.draining |= worker.processing && !worker.wants;
                    let may = !worker.draining || self.0 == Without::Order;
                    worker.processing = worker.wants && (worker.processing || may);
                },
            );
        }
        if worker.draining {
            push("a callback ends", &|worker| {
                worker.draining = false;
                worker.processing = worker.wants;
            });
        }
        let word = Word {
            applied: worker.applied,
            draining: worker.draining && self.0 != Without::Draining,
        };
        if worker.said != word {
            push("a worker acknowledges", &|worker| worker.said = word);
        }
        if worker.seen != worker.said {
            push("the leader sees an acknowledgement", &|worker| {
                worker.seen = worker.said
            });
        }
    }
}

impl Model for Handoff {
    type State = State;

    fn initial(&self) -> State {
        (0, [Worker::default(); 2])
    }

    fn steps(&self, state: &State) -> Vec<(&'static str, State)> {
        let mut next = Vec::new();
        self.leader(state, &mut next);
        self.worker(state, 0, &mut next);
        self.worker(state, 1, &mut next);
        next
    }

    fn violated(&self, (_, workers): &State) -> Option<&'static str> {
        let busy = |worker: &Worker| worker.processing || worker.draining;
        if workers.iter().all(busy) {
            return Some("both process it");
        }
        let both = |worker: &Worker| worker.processing && worker.draining;
        workers.iter().any(both).then_some("two callbacks at once")
    }

    fn situations(&self) -> Vec<&'static str> {
        vec![
            "the leader gives it back",
            "the leader grants it",
            "the leader takes it away",
            "a worker skips versions",
            "a callback ends",
        ]
    }
}

/// Both workers processing one partition is what the library exists to prevent.
#[test]
fn a_partition_is_never_processed_by_both() {
    let states = holds(&Handoff(Without::Nothing));
    assert_eq!(states, STATES, "the bounds of the model have changed");
}

/// Changes of this number are changes of what is proved.
const STATES: usize = 23_601;

/// A model that allows everything proves nothing: each rule is needed.
#[test]
fn without_any_one_of_its_rules_the_handoff_goes_wrong() {
    for without in [
        Without::Waiting,
        Without::Draining,
        Without::Since,
        Without::FreshSince,
    ] {
        fails(&Handoff(without), "both process it");
    }
    fails(&Handoff(Without::Order), "two callbacks at once");
}
