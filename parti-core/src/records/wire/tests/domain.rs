//! What is well formed and makes no sense is refused by name.

use super::*;

const fn nothing_carried<'a>() -> CarriedWire<'a> {
    CarriedWire {
        futile: 0,
        unassigned_ms: None,
        rebalanced_ms: None,
        quarantined: List(Vec::new()),
        suspected: List(Vec::new()),
        leases_decide_ms: 0,
    }
}

const fn head<'a>(cause: u8) -> RecordWire<'a> {
    RecordWire::Head(HeadWire {
        cause,
        planned: 0,
        strategy: "",
        workers: 0,
        partitions: 0,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        agreed: AgreedWire(ModeWire::Exclusive, ModeWire::Overlap, 0),
        carried: nothing_carried(),
        parked: (0, 0),
    })
}

/// What is well formed and makes no sense must be refused here, or it is acted on elsewhere.
#[test]
fn values_outside_their_domain_are_refused_by_name() {
    let (version, epoch) = (Version::new(1), Epoch::new(1));
    let from = |summary, wire| {
        let envelope = Envelope {
            format: FORMAT,
            write: WRITE,
            summary,
        };
        convert::from_wire(&envelope, wire)
    };
    let refused = |summary, wire| match from(summary, wire) {
        Err(WireError::Invalid(reason)) => reason,
        other => panic!("it was taken: {other:?}"),
    };
    let of_head = Summary::Head {
        term: Term::new(1),
        version,
        format: FORMAT,
        lease: Duration::ZERO,
        leader: None,
    };
    let last = u8::try_from(Cause::ALL.len()).expect("few") - 1;
    assert!(from(of_head.clone(), head(last)).is_ok());
    let none = alloc::format!("cause {}", last + 1);
    assert_eq!(refused(of_head, head(last + 1)), none);
    let of_assignment = || Summary::Assignment { version, epoch };
    let assignment = |partition, anchor| {
        RecordWire::Assignment(AssignmentWire {
            session: 0,
            departed: List(Vec::from(["worker-3"])),
            granted: List(Vec::from([(partition, 1, anchor)])),
            revoking: List(Vec::new()),
            preparing: List(Vec::new()),
        })
    };
    assert!(from(of_assignment(), assignment("1:p", 1)).is_ok());
    assert!(refused(of_assignment(), assignment("01:p", 0)).contains("\"01:p\""));
    assert_eq!(
        refused(of_assignment(), assignment("1:p", 2)),
        "anchor 2 of 1 departed"
    );
    let audit = RecordWire::Audit(AuditWire {
        version: 1,
        term: 1,
        leader: "",
        cause: 0,
        triggers: List(Vec::new()),
        at_ms: 0,
        moved: 0,
        lower_bound: 0,
        changes: List(Vec::new()),
        parked: List(Vec::new()),
        truncated: false,
    });
    assert!(refused(Summary::Audit, audit).contains("worker ID is empty"));
    assert!(refused(of_assignment(), head(0)).contains("another kind"));
}

/// A reason of a later release, or more names than partitions, must not be half understood.
#[test]
fn a_bad_record_of_parked_partitions_is_refused_by_its_value() {
    let refused = |summary, wire| {
        let envelope = Envelope {
            format: FORMAT,
            write: WRITE,
            summary,
        };
        match convert::from_wire(&envelope, wire) {
            Err(WireError::Invalid(reason)) => reason,
            other => panic!("it was taken: {other:?}"),
        }
    };
    let parked = |reason, count| {
        RecordWire::Parked(ParkedWire {
            version: 1,
            groups: List(Vec::from([ParkedGroupWire {
                reason,
                need: 7,
                needs: "",
                since_ms: 1,
                again_ms: None,
                count,
                partitions: List(Vec::from(["1:p"])),
            }])),
        })
    };
    let known = u8::try_from(ParkReason::ALL.len()).expect("few");
    let reason = refused(Summary::Parked, parked(known, 1));
    assert_eq!(reason, alloc::format!("reason {known}"));
    let names = refused(Summary::Parked, parked(known - 1, 0));
    assert_eq!(names, "1 names of 0 parked partitions");
}
