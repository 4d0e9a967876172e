//! Bad traces about workers that do not answer.

use super::facts::*;
use super::*;
use parti_core::{ProbeAnswer, ProbeId, Revision};

/// A third process, and what it writes of its session.
const C: Process = Process { node: 2, run: 1 };

fn fenced(id: &str, facts: &[Fact]) -> bool {
    violated(Mode::Fenced, facts).contains(id)
}

/// A commit of A in mode fenced that ends the session of B.
fn evicts(version: u64, revision: u64, previous: u64) -> Fact {
    let head = changed(&head(A, 1, version, revision + 1, 0), |head| {
        head.agreed.mode = Mode::Fenced;
    });
    let gone = ended(B, SessionStatus::Suspected, revision, previous);
    commit(A, vec![head, gone])
}

/// Trouble with probes moved the same worker's partitions again and again.
#[test]
fn few_are_evicted_because_they_do_not_answer() {
    let [a, b] = joined();
    let once = [a, b, evicts(5, 3, 2)];
    assert!(!fenced("S38", &once));
    let back = commit(B, vec![active(B, 6, 3, 0)]);
    let again = [&once[..], &[back, evicts(6, 7, 6)]].concat();
    assert!(fenced("S38", &again));
    let ended = [&once[..], &[evicts(6, 7, 3)]].concat();
    assert!(fenced("S10", &ended) && !fenced("S10", &once));
}

/// A asks a session at this second; the number of a probe is its second.
fn asks(second: u64, of: Process) -> Fact {
    Fact::Probe {
        process: A,
        local: seconds(second),
        probe: ProbeId::new(nonce(of), second),
    }
}

fn told(second: u64, of: Process, probe: u64, answer: ProbeAnswer) -> Fact {
    Fact::Probed {
        process: A,
        local: seconds(second),
        probe: ProbeId::new(nonce(of), probe),
        answer,
    }
}

/// A decides at this second to evict B at revision 2.
fn decides(second: u64) -> Fact {
    let head = head(A, 1, 5, 100, 0);
    let Some(Record::Head(head)) = head.record() else {
        panic!("it is a head");
    };
    Fact::Proposes {
        process: A,
        proposal: Box::new(Proposal {
            local: seconds(second),
            write: head.write,
            head: head.clone(),
            expects: Vec::new(),
            evictions: vec![Eviction {
                worker: worker(B),
                judged: Some(Revision::new(2)),
                status: SessionStatus::Suspected,
            }],
        }),
    }
}

/// The leader's own process answers at this second.
fn own_way(second: u64) -> [Fact; 2] {
    [asks(second, A), told(second, A, second, ProbeAnswer::Alive)]
}

/// Of two, silence may be the leader's own.
#[test]
fn of_two_somebody_has_to_say_that_there_is_nobody() {
    let silent = [asks(1, B), asks(2, B), asks(3, B)];
    let unsure = [&joined()[..], &silent].concat();
    let before = [&unsure[..], &own_way(4)].concat();
    assert!(fenced("S39", &[&before[..], &[decides(9)]].concat()));
    let nobody = |probe| told(4, B, probe, ProbeAnswer::Nobody);
    let twice = [nobody(1), nobody(2), decides(4)];
    assert!(!fenced("S39", &[&before[..], &twice].concat()));
    assert!(
        fenced("S39", &[&unsure[..], &twice].concat()),
        "its own way"
    );
    let answered = [
        nobody(1),
        nobody(2),
        told(4, B, 3, ProbeAnswer::Alive),
        decides(4),
    ];
    assert!(fenced("S39", &[&before[..], &answered].concat()));
}

/// A leader that was cut off evicted the first that did not answer before it had asked the rest.
#[test]
fn half_of_the_others_must_have_answered_since() {
    let joined = [&joined()[..], &[commit(C, vec![active(C, 3, 0, 0)])]].concat();
    let silent = [asks(1, B), asks(2, B), asks(3, B), asks(4, C)];
    let before = [&joined[..], &silent, &own_way(4)].concat();
    assert!(fenced("S39", &[&before[..], &[decides(9)]].concat()));
    assert!(
        fenced("S39", &[&joined[..], &[decides(9)]].concat()),
        "asked nobody"
    );
    let alive = told(5, C, 4, ProbeAnswer::Alive);
    assert!(!fenced(
        "S39",
        &[&before[..], &[alive.clone(), decides(9)]].concat()
    ));
    assert!(
        fenced("S39", &[&before[..], &[alive, decides(1)]].concat()),
        "too soon"
    );
}

/// A worker that had just left made a decision look wrong that was right for all that the leader could know.
#[test]
fn the_others_are_those_that_the_leader_has_heard_of() {
    const D: Process = Process { node: 3, run: 1 };
    let others =
        [(C, 3), (D, 4)].map(|(who, revision)| commit(who, vec![active(who, revision, 0, 0)]));
    let shown = [2, 3, 4].map(|revision| Fact::Heard {
        process: A,
        local: seconds(0),
        revision: Revision::new(revision),
        watched: true,
    });
    let asked = [asks(1, B), asks(2, B), asks(3, B), asks(4, C), asks(5, D)];
    let answered = [told(5, D, 5, ProbeAnswer::Alive)];
    let left = [commit(
        D,
        vec![ended(D, SessionStatus::Evicted { silent: true }, 5, 4)],
    )];
    let heard_of = |shown: &[Fact]| {
        let joined = [
            &joined()[..],
            &others,
            shown,
            &asked,
            &own_way(6),
            &answered,
        ]
        .concat();
        fenced("S39", &[&joined[..], &left, &[decides(9)]].concat())
    };
    assert!(!heard_of(&shown));
    assert!(heard_of(&shown[..2]), "it has not heard of D");
}

/// In an exclusive group a suspicion ends nothing.
#[test]
fn nobody_is_suspected_into_the_loss_of_partitions_in_exclusive_mode() {
    let [a, b] = joined();
    let gone = ended(B, SessionStatus::Suspected, 3, 2);
    fails("S39", &[a, b, commit(A, vec![head(A, 1, 5, 4, 0), gone])]);
}

/// In mode fenced a worker that was suspected may hold what its successor has: sinks refuse it. Any other
/// may not.
#[test]
fn who_was_suspected_holds_nothing_that_counts() {
    let [a, b] = joined();
    let held = [a, b, assign(B, 1), settled(B, 1000)];
    let taken = |between: &[Fact]| [&held[..], between, &[assign(A, 2)]].concat();
    assert!(fenced("S4", &taken(&[])));
    assert!(!fenced("S4", &taken(&[evicts(5, 3, 2)])));
}
