//! Bad traces about orders of operators.

use super::facts::*;
use super::*;
use parti_core::{Control, Pin, Verb, WorkerId, control_key};

fn order(verb: Verb, about: &str, revision: u64, pins: Vec<Pin>) -> Fact {
    let record = Record::Control(Control {
        write: parti_core::WriteId {
            nonce: nonce(C),
            seq: 1,
        },
        author: "operator".to_owned(),
        reason: String::new(),
        lasts: None,
        pins,
    });
    let about = WorkerId::new(about).expect("valid");
    let written = written(&control_key(verb, &about), revision, 0, record);
    assert!(matches!(&written.key, Key::Control(found, _) if *found == verb));
    Fact::External {
        writes: vec![written],
    }
}

const C: Process = Process { node: 2, run: 1 };

/// Two workers of which A has the only partition, long after the order.
fn later() -> Coverage {
    let mut whole = super::recovery::whole();
    whole.now = seconds(100_000);
    whole
}

fn pin(to: Process) -> Vec<Pin> {
    vec![Pin {
        partition: partition(),
        worker: worker(to),
        once: false,
        author: "operator".to_owned(),
        reason: String::new(),
        since_ms: None,
        lasts: None,
    }]
}

/// An operator drained a machine, and pulled the plug of one that still worked.
#[test]
fn orders_that_hold_for_long_are_obeyed() {
    let due = |coverage: Coverage| Fact::Due(coverage);
    let drained = |who| order(Verb::Drain, worker(who).as_str(), 90, Vec::new());
    fails("L13", &[drained(A), due(later())]);
    passes("L13", &[drained(B), due(later())]);
    // Just given, it may be on its way; and those that leave nobody are not obeyed.
    let mut soon = later();
    soon.now = seconds(1);
    passes("L13", &[drained(A), due(soon)]);
    passes("L13", &[drained(A), drained(B), due(later())]);
    // The sessions began at their epochs, 1 and 2.
    let evicted = |who, revision| order(Verb::Evict, worker(who).as_str(), revision, Vec::new());
    fails("L13", &[evicted(B, 90), due(later())]);
    passes("L13", &[evicted(B, 1), due(later())]);
    let wanted = |to| order(Verb::Pin, Verb::GROUP, 90, pin(to));
    fails("L13", &[wanted(B), due(later())]);
    passes("L13", &[wanted(A), due(later())]);
    let frozen = order(Verb::Freeze, Verb::GROUP, 91, Vec::new());
    passes("L13", &[wanted(B), frozen, due(later())]);
}
