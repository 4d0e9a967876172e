//! Any record there can be.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::config::{Mode, OnBucketLost};
use crate::model::endpoint::Endpoint;
use crate::model::id::{Epoch, Formats, Nonce, Revision, Term, Token, Version, WorkerId, WriteId};
use crate::model::partition::{Partition, PartitionKey};
use crate::model::preparation::Preparation;
use crate::model::state::Cause;
use crate::ports::strategy::{ParkReason, StrategyId};
use crate::records::agreement::{Agreed, GroupSettings};
use crate::records::carried::{Carried, Quarantined};
use crate::records::problem::{Bulletin, ProblemKind, ToldProblem};
use crate::records::record::{
    AssignmentPiece, AssignmentRecord, AuditEntry, Control, Head, LeaderName, Manifest, Parked,
    ParkedGroup, ParkedRecord, PieceStamp, Pin, Predecessor, Prepared, Readiness, Record,
    RecordGrant, RejectedAt, Rejection, Remains, Revoking, SessionRecord, SessionStatus,
    SourcePart, Suspicion, WorkerChange,
};

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

fn millis(value: u32) -> Duration {
    Duration::from_millis(u64::from(value))
}

fn quarantined() -> impl Strategy<Value = Quarantined> {
    (worker(), any::<(u32, u32, u32)>()).prop_map(|(worker, times)| Quarantined {
        worker,
        rest: millis(times.0),
        length: millis(times.1),
        forgiven: millis(times.2),
    })
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
        vec(quarantined(), 0..4),
    )
        .prop_map(
            |(
                write,
                leader,
                cause,
                (term, version, planned, digest, weights_digest),
                counts,
                name,
                kept,
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
                    format: counts.0 as u16,
                    lease: Duration::from_millis(u64::from(counts.1)),
                    cause,
                    planned: Version::new(planned),
                    strategy: StrategyId::new(&name),
                    workers: counts.0,
                    partitions: counts.1,
                    digest,
                    weights_digest,
                    unfinished: counts.2,
                    granted: counts.1 ^ counts.2,
                    agreed: agreed(digest),
                    carried: Carried {
                        futile: counts.0 ^ counts.2,
                        unassigned: counts.1.is_multiple_of(2).then(|| millis(counts.0)),
                        rebalanced: counts.0.is_multiple_of(2).then(|| millis(counts.1)),
                        suspected: kept.iter().rev().cloned().collect(),
                        quarantined: kept,
                        leases_decide: millis(counts.2),
                    },
                    parked: Parked {
                        count: counts.0 ^ counts.1,
                        since_ms: term ^ version,
                    },
                })
            },
        )
}

fn mode(bits: u128) -> Mode {
    Mode::ALL[(bits % 3) as usize]
}

fn agreed(bits: u128) -> Agreed {
    Agreed {
        mode: mode(bits),
        holds: mode(bits >> 1),
        longest_lease: Duration::from_millis((bits >> 2) as u64),
    }
}

fn settings(bits: u128, name: &str) -> GroupSettings {
    GroupSettings {
        mode: mode(bits),
        rolling_from: (bits & 2 > 0).then(|| mode(bits >> 2)),
        max_lease: Duration::from_millis((bits >> 3) as u64),
        clock_drift_ppm: (bits >> 7) as u32,
        on_bucket_lost: if bits & 8 > 0 {
            OnBucketLost::Halt
        } else {
            OnBucketLost::Recreate
        },
        strategy: StrategyId::new(name),
        application: name.chars().rev().collect(),
        list: (bits & 16 > 0).then_some(bits),
        leading: (bits >> 64) as u64,
    }
}

fn status() -> impl Strategy<Value = SessionStatus> {
    prop_oneof![
        Just(SessionStatus::Active),
        Just(SessionStatus::Draining),
        (0..u64::from(u32::MAX)).prop_map(|ms| SessionStatus::Released {
            hold: Duration::from_millis(ms)
        }),
        any::<bool>().prop_map(|silent| SessionStatus::Evicted { silent }),
        Just(SessionStatus::Suspected),
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

/// What a session rejects, and what it has prepared for.
fn tried() -> impl Strategy<Value = (Vec<Rejection>, Vec<Prepared>)> {
    let rejection =
        (key(), any::<bool>(), "\\PC{0,12}").prop_map(|(partition, preparing, reason)| Rejection {
            partition,
            at: match preparing {
                true => RejectedAt::Preparation,
                false => RejectedAt::Processing,
            },
            reason,
        });
    let prepared = (preparation(), any::<bool>()).prop_map(|(preparation, failed)| Prepared {
        preparation,
        failed,
    });
    (vec(rejection, 0..4), vec(prepared, 0..4))
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
        (vec(key(), 0..5), vec(predecessor(), 0..4), tried()),
        labels,
        numbers,
        "\\PC{0,20}",
    )
        .prop_map(
            |(
                write,
                status,
                (draining, predecessors, (rejections, prepared)),
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
                    reads: Formats {
                        oldest: beat as u16,
                        newest: lease as u16,
                    },
                    age: millis(beat ^ lease),
                    draining,
                    capacity,
                    labels,
                    heartbeat_interval: Duration::from_millis(u64::from(beat)),
                    lease: Duration::from_millis(u64::from(lease)),
                    settings: settings(u128::from(epoch) << 64 | u128::from(applied), &software),
                    honours: mode(u128::from(capacity)),
                    endpoint: (epoch % 3 == 1)
                        .then(|| Endpoint::new(&alloc::format!("http://w:{beat}")).expect("valid")),
                    software,
                    rejections,
                    predecessors,
                    bulletin: (epoch % 2 == 1).then(|| Bulletin {
                        term: Term::new(applied),
                        problems: alloc::vec![ToldProblem {
                            kind: ProblemKind::from_code(beat.to_le_bytes()[0]),
                            lasting: Duration::from_millis(u64::from(lease)),
                            count: beat,
                            detail: alloc::format!("p/{beat}"),
                        }],
                    }),
                    readiness: Readiness {
                        answers: epoch % 2 == 0,
                        prepares: epoch % 3 == 0,
                        prepared,
                    },
                })
            },
        )
}

fn preparation() -> impl Strategy<Value = Preparation> {
    (key(), any::<u64>()).prop_map(|(partition, version)| Preparation {
        partition,
        version: Version::new(version),
    })
}

fn lists() -> impl Strategy<Value = (Vec<RecordGrant>, Vec<Revoking>, Vec<Preparation>)> {
    let grant =
        (key(), any::<u64>(), option::of(worker())).prop_map(|(partition, token, anchor)| {
            RecordGrant {
                partition,
                token: Token::new(token),
                anchor,
            }
        });
    let revoking = (key(), any::<u64>(), option::of(reason()));
    let revoking = revoking.prop_map(|(partition, since, parked)| Revoking {
        partition,
        since: Version::new(since),
        parked,
    });
    (
        vec(grant, 0..20),
        vec(revoking, 0..5),
        vec(preparation(), 0..5),
    )
}

fn assignment() -> impl Strategy<Value = Record> {
    (write(), any::<(u64, u64)>(), lists()).prop_map(|(write, (version, epoch), lists)| {
        let (version, epoch) = (Version::new(version), Epoch::new(epoch));
        let (granted, revoking, preparing) = lists;
        Record::Assignment(AssignmentRecord {
            write,
            version,
            epoch,
            session: crate::model::id::Nonce::new(0),
            granted,
            revoking,
            preparing,
        })
    })
}

fn manifest() -> impl Strategy<Value = Record> {
    let stamps = vec((1..99_u32, any::<u128>(), any::<u32>()), 0..9);
    (write(), any::<(u64, u64)>(), stamps).prop_map(|(write, (version, epoch), stamps)| {
        let mut number = 0;
        let pieces = stamps.into_iter().map(|(more, digest, granted)| {
            number += more;
            PieceStamp {
                number,
                digest,
                granted,
            }
        });
        Record::Manifest(Manifest {
            write,
            version: Version::new(version),
            epoch: Epoch::new(epoch),
            session: crate::model::id::Nonce::new(0),
            pieces: pieces.collect(),
        })
    })
}

fn piece() -> impl Strategy<Value = Record> {
    (write(), lists()).prop_map(|(write, (granted, revoking, preparing))| {
        Record::Piece(AssignmentPiece {
            write,
            granted,
            revoking,
            preparing,
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
        vec(group(), 0..3),
    )
        .prop_map(
            |(
                write,
                leader,
                cause,
                triggers,
                ((version, term, at_ms), (moved, lower, cut)),
                changes,
                parked,
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
                    parked,
                    truncated: cut,
                })
            },
        )
}

fn reason() -> impl Strategy<Value = ParkReason> {
    (0..ParkReason::ALL.len()).prop_map(|index| ParkReason::ALL[index])
}

fn group() -> impl Strategy<Value = ParkedGroup> {
    let times = (any::<u64>(), option::of(any::<u64>()));
    let names = (vec(key(), 0..4), 0..9_u32);
    (reason(), "\\PC{0,20}", any::<u64>(), times, names).prop_map(
        |(reason, needs, need, (since_ms, again), (partitions, more))| ParkedGroup {
            reason,
            need,
            needs,
            since_ms,
            again_after: again.map(Duration::from_millis),
            count: partitions.len() as u32 + more,
            partitions,
        },
    )
}

fn parked() -> impl Strategy<Value = Record> {
    (write(), any::<u64>(), vec(group(), 0..4)).prop_map(|(write, version, groups)| {
        Record::Parked(ParkedRecord {
            write,
            version: Version::new(version),
            groups,
        })
    })
}

fn suspicion() -> impl Strategy<Value = Record> {
    (write(), any::<u64>()).prop_map(|(write, term)| {
        let term = Term::new(term);
        Record::Suspicion(Suspicion { write, term })
    })
}

fn control() -> impl Strategy<Value = Record> {
    let lasts = proptest::option::of((0..u64::MAX / 2).prop_map(Duration::from_millis));
    let said = (write(), "\\PC{0,20}", "\\PC{0,20}", lasts);
    (said, vec(pin(), 0..4)).prop_map(|((write, author, reason, lasts), pins)| {
        Record::Control(Control {
            write,
            author,
            reason,
            lasts,
            pins,
        })
    })
}

fn pin() -> impl Strategy<Value = Pin> {
    let lasts = proptest::option::of((0..u64::MAX / 2).prop_map(Duration::from_millis));
    let said = ("\\PC{0,20}", "\\PC{0,20}", any::<Option<u64>>(), lasts);
    (key(), worker(), any::<bool>(), said).prop_map(
        |(partition, worker, once, (author, reason, since_ms, lasts))| Pin {
            partition,
            worker,
            once,
            author,
            reason,
            since_ms,
            lasts,
        },
    )
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

pub(super) fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        head(),
        session(),
        assignment(),
        manifest(),
        piece(),
        audit(),
        control(),
        source(),
        parked(),
        suspicion()
    ]
}
