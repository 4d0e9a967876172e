//! Round trips of every record and rejection of everything else.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{FORMAT, SESSION_FORMAT, WireError, decode, encode};
use crate::id::{Epoch, Nonce, Revision, Term, Token, Version, WorkerId, WriteId};
use crate::partition::{Partition, PartitionKey};
use crate::record::{
    AssignmentRecord, AuditEntry, Control, Head, LeaderName, Predecessor, Record, RecordGrant,
    Remains, Revoking, SessionRecord, SessionStatus, SourcePart, WorkerChange,
};
use crate::state::Cause;
use crate::strategy::StrategyId;

fn worker() -> impl Strategy<Value = WorkerId> {
    "[A-Za-z0-9_-]{1,20}".prop_map(|name| WorkerId::new(&name).expect("valid name"))
}

fn key() -> impl Strategy<Value = PartitionKey> {
    vec("\\PC{1,12}", 1..4).prop_map(|parts| PartitionKey::new(parts).expect("valid key"))
}

fn write() -> impl Strategy<Value = WriteId> {
    (any::<u128>(), any::<u64>()).prop_map(|(n, seq)| WriteId {
        nonce: Nonce::new(n),
        seq,
    })
}

fn cause() -> impl Strategy<Value = Cause> {
    (0..Cause::ALL.len()).prop_map(|index| Cause::ALL[index])
}

fn head() -> impl Strategy<Value = Record> {
    let leader = option::of((worker(), any::<u64>()));
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u128>(),
        any::<u128>(),
    );
    (
        write(),
        leader,
        cause(),
        numbers,
        any::<(u32, u32, u32)>(),
        "\\PC{0,20}",
    )
        .prop_map(
            |(
                write,
                leader,
                cause,
                (term, version, planned, digest, weights_digest),
                counts,
                name,
            )| {
                let leader = leader.map(|(worker, epoch)| LeaderName {
                    worker,
                    epoch: Epoch::new(epoch),
                });
                Record::Head(Head {
                    write,
                    term: Term::new(term),
                    leader,
                    version: Version::new(version),
                    cause,
                    planned: Version::new(planned),
                    strategy: StrategyId::new(&name),
                    workers: counts.0,
                    partitions: counts.1,
                    digest,
                    weights_digest,
                    unfinished: counts.2,
                })
            },
        )
}

fn status() -> impl Strategy<Value = SessionStatus> {
    prop_oneof![
        Just(SessionStatus::Active),
        Just(SessionStatus::Draining),
        (0..u64::from(u32::MAX)).prop_map(|ms| SessionStatus::Released {
            hold: Duration::from_millis(ms)
        }),
        any::<bool>().prop_map(|silent| SessionStatus::Evicted { silent }),
    ]
}

fn predecessor() -> impl Strategy<Value = Predecessor> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>());
    let remains = prop_oneof![Just(Remains::Everything), Just(Remains::Draining)];
    (numbers, remains).prop_map(|((epoch, revision, lease, applied), remains)| Predecessor {
        epoch: Epoch::new(epoch),
        revision: Revision::new(revision),
        lease: Duration::from_millis(u64::from(lease)),
        applied: Version::new(applied),
        remains,
    })
}

fn session() -> impl Strategy<Value = Record> {
    let labels: BoxedStrategy<BTreeMap<String, String>> =
        btree_map("[a-z]{1,8}", "\\PC{0,8}", 0..4).boxed();
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
    );
    (
        write(),
        status(),
        (vec(key(), 0..5), vec(predecessor(), 0..4)),
        labels,
        numbers,
        "\\PC{0,20}",
    )
        .prop_map(
            |(
                write,
                status,
                (draining, predecessors),
                labels,
                (epoch, applied, capacity, beat, lease),
                software,
            )| {
                Record::Session(SessionRecord {
                    write,
                    epoch: Epoch::new(epoch),
                    status,
                    applied: Version::new(applied),
                    known: Version::new(applied ^ epoch),
                    draining,
                    capacity,
                    labels,
                    heartbeat_interval: Duration::from_millis(u64::from(beat)),
                    lease: Duration::from_millis(u64::from(lease)),
                    software,
                    predecessors,
                })
            },
        )
}

fn assignment() -> impl Strategy<Value = Record> {
    let grant =
        (key(), any::<u64>(), option::of(worker())).prop_map(|(partition, token, anchor)| {
            RecordGrant {
                partition,
                token: Token::new(token),
                anchor,
            }
        });
    let revoking = (key(), any::<u64>()).prop_map(|(partition, since)| Revoking {
        partition,
        since: Version::new(since),
    });
    let lists = (vec(grant, 0..20), vec(revoking, 0..5));
    (write(), any::<(u64, u64)>(), lists).prop_map(|(write, (version, epoch), lists)| {
        let (version, epoch) = (Version::new(version), Epoch::new(epoch));
        let (granted, revoking) = lists;
        Record::Assignment(AssignmentRecord {
            write,
            version,
            epoch,
            granted,
            revoking,
        })
    })
}

fn audit() -> impl Strategy<Value = Record> {
    let change = (
        worker(),
        vec((key(), option::of(worker())), 0..3),
        vec(key(), 0..3),
    )
        .prop_map(|(worker, gained, lost)| WorkerChange {
            worker,
            gained,
            lost,
        });
    let numbers = (any::<(u64, u64, u64)>(), any::<(u32, u32, bool)>());
    (
        write(),
        worker(),
        cause(),
        vec("\\PC{0,9}", 0..3),
        numbers,
        vec(change, 0..3),
    )
        .prop_map(
            |(
                write,
                leader,
                cause,
                triggers,
                ((version, term, at_ms), (moved, lower, cut)),
                changes,
            )| {
                Record::Audit(AuditEntry {
                    write,
                    version: Version::new(version),
                    term: Term::new(term),
                    leader,
                    cause,
                    triggers,
                    at_ms,
                    moved,
                    lower_bound: lower,
                    changes,
                    truncated: cut,
                })
            },
        )
}

fn control() -> impl Strategy<Value = Record> {
    (write(), "\\PC{0,20}", "\\PC{0,20}").prop_map(|(write, author, reason)| {
        Record::Control(Control {
            write,
            author,
            reason,
        })
    })
}

fn source() -> impl Strategy<Value = Record> {
    let partition = (key(), any::<u64>()).prop_map(|(key, weight)| Partition { key, weight });
    let changes = (any::<u128>(), vec(any::<u128>().prop_map(Nonce::new), 0..4));
    (changes, 0..9_u32, 1..9_u32, vec(partition, 0..9)).prop_map(
        |((change, earlier), index, more, partitions)| {
            Record::Source(SourcePart {
                change: Nonce::new(change),
                earlier,
                index,
                parts: index + more,
                partitions,
            })
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        head(),
        session(),
        assignment(),
        audit(),
        control(),
        source()
    ]
}

proptest! {
    /// A field that is lost on the way is lost for the whole group.
    #[test]
    fn every_record_comes_back_as_it_was_written(record in record()) {
        prop_assert_eq!(decode(&encode(&record)), Ok(record));
    }

    /// A torn or lengthened value must be noticed, not half understood.
    #[test]
    fn cut_or_lengthened_bytes_are_refused(record in record(), cut in any::<prop::sample::Index>()) {
        let mut bytes = encode(&record);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(matches!(decode(&bytes), Err(WireError::Malformed(_))));
    }

    /// Whatever somebody writes into the bucket, reading it neither panics nor eats memory.
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = FORMAT;
        }
        if let Ok(record) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }
    }
}

/// A record of a later release is named as such, so that an operator knows what to do.
#[test]
fn unknown_formats_are_named() {
    assert_eq!(decode(&[]), Err(WireError::Empty));
    let error = decode(&[9, 1, 2]).expect_err("unknown format");
    assert_eq!(error, WireError::UnknownFormat { found: 9 });
    assert!(error.to_string().contains("format 9"));
}

/// In a rolling update sessions of the release before must go on counting.
#[test]
fn a_session_of_the_first_format_is_read_as_knowing_what_it_applied() {
    // Format, session, nonce 7, write 3, epoch 5, active, applied 42, nothing draining, capacity 1, no
    // labels, 2000 ms, 6000 ms, software "s", no predecessors.
    let old = [
        1, 1, 7, 3, 5, 0, 42, 0, 1, 0, 251, 208, 7, 251, 112, 23, 1, b's', 0,
    ];
    let Ok(Record::Session(session)) = decode(&old) else {
        panic!("{:?}", decode(&old))
    };
    assert_eq!((session.applied.get(), session.known.get()), (42, 42));
    let newer = Record::Session(SessionRecord {
        known: Version::new(99),
        ..session
    });
    let bytes = encode(&newer);
    assert_eq!(bytes[0], SESSION_FORMAT);
    assert_eq!(decode(&bytes), Ok(newer));
    // Nothing but sessions has the second format.
    let head = [&[SESSION_FORMAT][..], &[4, 0, 0, 0, 0], &[9]].concat();
    assert!(matches!(decode(&head), Err(WireError::Invalid(_))));
}

/// A length that lies must not allocate what it claims.
#[test]
fn a_lying_length_is_refused_before_memory_is_taken() {
    let mut bytes: Vec<u8> = alloc::vec![FORMAT, 4, 0, 0];
    bytes.extend([253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(decode(&bytes), Err(WireError::Malformed(_))));
}

/// What is well formed and makes no sense must be refused here, or it is acted on elsewhere.
#[test]
fn values_outside_their_domain_are_refused_by_name() {
    use crate::wire::{AssignmentWire, AuditWire, HeadWire, RecordWire, WriteWire, convert};
    let refused = |wire| match convert::from_wire(wire) {
        Err(WireError::Invalid(reason)) => reason,
        other => panic!("it was taken: {other:?}"),
    };
    let head = |leader: Option<&str>, cause| {
        RecordWire::Head(HeadWire {
            write: WriteWire(1, 1),
            term: 1,
            leader: leader.map(|name| (name.to_string(), 1)),
            version: 1,
            cause,
            planned: 0,
            strategy: String::new(),
            workers: 0,
            partitions: 0,
            digest: 0,
            weights_digest: 0,
            unfinished: 0,
        })
    };
    assert!(refused(head(Some("a b"), 0)).contains("\"a b\""));
    let last = u8::try_from(Cause::ALL.len()).expect("few") - 1;
    assert!(convert::from_wire(head(None, last)).is_ok());
    assert_eq!(
        refused(head(None, last + 1)),
        alloc::format!("cause {}", last + 1)
    );
    let assignment = |partition: &str, anchor| {
        RecordWire::Assignment(AssignmentWire {
            write: WriteWire(1, 1),
            version: 1,
            epoch: 1,
            departed: Vec::from(["worker-3".to_string()]),
            granted: Vec::from([(partition.to_string(), 1, anchor)]),
            revoking: Vec::new(),
        })
    };
    assert!(convert::from_wire(assignment("1:p", 1)).is_ok());
    assert!(refused(assignment("01:p", 0)).contains("\"01:p\""));
    assert_eq!(refused(assignment("1:p", 2)), "anchor 2 of 1 departed");
    let audit = RecordWire::Audit(AuditWire {
        write: WriteWire(1, 1),
        version: 1,
        term: 1,
        leader: String::new(),
        cause: 0,
        triggers: Vec::new(),
        at_ms: 0,
        moved: 0,
        lower_bound: 0,
        changes: Vec::new(),
        truncated: false,
    });
    assert!(refused(audit).contains("worker ID is empty"));
}

/// The limit is on the whole record: one byte more is refused with its size, before it is read.
#[test]
fn a_record_over_the_limit_is_refused_with_its_size() {
    use crate::wire::MAX_RECORD_BYTES;
    let mut bytes = alloc::vec![0_u8; MAX_RECORD_BYTES + 1];
    bytes[0] = FORMAT;
    let bytes_found = MAX_RECORD_BYTES + 1;
    assert_eq!(
        decode(&bytes),
        Err(WireError::TooLarge { bytes: bytes_found })
    );
    bytes.pop();
    assert!(
        matches!(decode(&bytes), Err(WireError::Malformed(_))),
        "it is looked at"
    );
}
