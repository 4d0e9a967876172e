//! Bad and good traces of planned moves to a worker that gets ready first.

use super::*;
use parti_core::{Preparation, Prepared, Version};

fn told(version: u64) -> Preparation {
    Preparation {
        partition: partition(),
        version: Version::new(version),
    }
}

/// The record of a worker that is to get ready since this version.
fn preparing(mut written: Written, since: u64) -> Written {
    if let Value::Record(record) = &mut written.value
        && let Record::Assignment(record) = record.as_mut()
    {
        record.preparing.push(told(since));
    }
    written
}

/// A session of the second worker, which prepares and has ended these.
fn says(revision: u64, ended: &[(u64, bool)]) -> Fact {
    let session = active(B, revision, revision - 1, 0).saying(|said| {
        said.readiness.prepares = true;
        let ended = ended.iter().map(|&(version, failed)| Prepared {
            preparation: told(version),
            failed,
        });
        said.readiness.prepared = ended.collect();
    });
    commit(B, vec![session])
}

/// The partition goes from A to B, and this is said meanwhile.
fn moved(meanwhile: &[Fact]) -> Vec<Fact> {
    let [a, b] = joined();
    let owned = vec![
        assignment(A, 5, Some(5), 4),
        preparing(assignment(B, 5, None, 5), 5),
    ];
    let before = [a, b, says(3, &[]), commit(A, owned)];
    let after = [
        commit(A, vec![assignment(A, 6, None, 8)]),
        commit(A, vec![assignment(B, 7, Some(7), 9)]),
    ];
    [&before, meanwhile, &after].concat()
}

/// Handoffs began before anybody was ready, so partitions had no owner for a whole warm-up.
#[test]
fn an_owner_ends_when_the_next_has_ended_that_very_preparation() {
    passes("S36", &moved(&[says(4, &[(5, false)])]));
    fails("S36", &moved(&[]));
    fails("S36", &moved(&[says(4, &[(3, false)])]));
    fails("S36", &moved(&[says(4, &[(5, true)])]));
}

/// What was loaded for a move that never came stayed in memory.
#[test]
fn what_a_record_does_not_ask_for_any_more_is_withdrawn() {
    let (process, preparations) = (B, vec![told(5)]);
    let prepare = Fact::Prepare {
        process,
        preparations: preparations.clone(),
    };
    let withdraw = Fact::Withdraw {
        process,
        preparations,
    };
    let taken_in = || {
        let session = active(B, 3, 2, 6);
        [
            commit(A, vec![assignment(B, 6, None, 8)]),
            commit(B, vec![session]),
        ]
    };
    let [a, b] = joined();
    let begin = [a, b, prepare.clone()];
    fails("S37", &[&begin[..], &taken_in()].concat());
    passes("S37", &[&begin[..], &[withdraw], &taken_in()].concat());
    fails("S37", &[&begin[..], &[prepare]].concat());
}
