//! Tables of who may share a group, and what a group obeys.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::model::id::{Epoch, Nonce, Token, Version, WriteId};
use crate::records::record::{Readiness, RecordGrant, Revoking, SessionStatus};

/// A session of a worker configured like this.
fn session(change: impl FnOnce(&mut SessionRecord)) -> SessionRecord {
    let nonce = Nonce::new(1);
    let mut session = SessionRecord {
        write: WriteId { nonce, seq: 1 },
        epoch: Epoch::new(1),
        status: SessionStatus::Active,
        applied: Version::new(4),
        known: Version::new(4),
        draining: Vec::new(),
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        settings: GroupSettings {
            max_lease: Duration::from_secs(6),
            ..GroupSettings::default()
        },
        honours: Mode::Exclusive,
        reads: crate::records::wire::FORMATS,
        bulletin: None,
        predecessors: Vec::new(),
        rejections: Vec::new(),
        age: Duration::ZERO,
        readiness: Readiness::default(),
    };
    change(&mut session);
    session
}

fn of(mode: Mode, rolling_from: Option<Mode>) -> SessionRecord {
    session(|session| (session.settings.mode, session.settings.rolling_from) = (mode, rolling_from))
}

fn kinds(own: &SessionRecord, other: &SessionRecord) -> Vec<&'static str> {
    compare(own, other).iter().map(Difference::as_str).collect()
}

const EXCLUSIVE: Mode = Mode::Exclusive;
const OVERLAP: Mode = Mode::Overlap;

/// Half a rolling update with another mode gave two owners, and nobody was told.
#[test]
fn another_mode_is_refused_unless_one_of_the_two_declares_the_change() {
    let cases = [
        (of(EXCLUSIVE, None), of(EXCLUSIVE, None), true),
        (of(EXCLUSIVE, None), of(OVERLAP, None), false),
        (of(OVERLAP, None), of(EXCLUSIVE, None), false),
        (of(OVERLAP, Some(EXCLUSIVE)), of(EXCLUSIVE, None), true),
        (of(EXCLUSIVE, None), of(OVERLAP, Some(EXCLUSIVE)), true),
        (of(EXCLUSIVE, Some(OVERLAP)), of(OVERLAP, None), true),
        (of(EXCLUSIVE, Some(EXCLUSIVE)), of(OVERLAP, None), false),
    ];
    for (own, other, fits) in cases {
        let found = compare(&own, &other);
        assert_eq!(
            found.is_empty(),
            fits,
            "{own:?} beside {other:?}: {found:?}"
        );
        assert!(found.iter().all(Difference::refuses));
    }
    let [found] = &compare(&of(EXCLUSIVE, None), &of(OVERLAP, None))[..] else {
        panic!("one difference")
    };
    let text = found.to_string();
    assert!(
        text.contains("mode = exclusive here and overlap there"),
        "{text}"
    );
}

/// Two services with one group name got each other's partitions.
#[test]
fn another_application_is_refused_and_none_fits_any() {
    let of = |label: &str| session(|session| session.settings.application = label.to_string());
    assert_eq!(kinds(&of("orders"), &of("invoices")), ["application"]);
    assert_eq!(kinds(&of("orders"), &of("orders")), [""; 0]);
    assert_eq!(kinds(&of(""), &of("orders")), [""; 0]);
    assert_eq!(kinds(&of("orders"), &of("")), [""; 0]);
}

/// A worker that waits for the longest lease it knows of must know of the longest.
#[test]
fn a_lease_longer_than_the_other_expects_is_refused_either_way() {
    let of = |lease, max| {
        session(|session| {
            session.lease = Duration::from_secs(lease);
            session.settings.max_lease = Duration::from_secs(max);
        })
    };
    assert_eq!(kinds(&of(6, 6), &of(6, 6)), [""; 0]);
    assert_eq!(kinds(&of(60, 60), &of(6, 6)), ["max_lease", "lease"]);
    assert_eq!(kinds(&of(6, 6), &of(60, 60)), ["max_lease", "lease"]);
    assert_eq!(kinds(&of(60, 60), &of(6, 60)), ["lease"]);
    assert!(!compare(&of(60, 60), &of(6, 60))[0].refuses());
}

/// What costs moves or time is told, not refused.
#[test]
fn costly_differences_are_found_one_by_one() {
    let own = session(|_| {});
    let strategy = session(|other| other.settings.strategy = StrategyId::new("ring/1"));
    let lost = session(|other| other.settings.on_bucket_lost = OnBucketLost::Halt);
    let beat = session(|other| other.heartbeat_interval = Duration::from_secs(1));
    let leading = session(|other| other.settings.leading = 7);
    let drift = session(|other| other.settings.clock_drift_ppm = 50_000);
    for (other, kind) in [
        (strategy, Some("strategy")),
        (lost, Some("on_bucket_lost")),
        (beat, Some("heartbeat_interval")),
        (leading, Some("leading")),
        (drift, None),
    ] {
        assert_eq!(kinds(&own, &other), kind.into_iter().collect::<Vec<_>>());
        assert!(compare(&own, &other).iter().all(|found| !found.refuses()));
    }
}

fn head(mode: Mode, holds: Mode) -> Agreed {
    Agreed {
        mode,
        holds,
        longest_lease: Duration::ZERO,
    }
}

fn rule(before: Mode, sessions: &[Option<SessionRecord>], contested: bool) -> (Mode, Mode) {
    let seen = sessions.iter().map(Option::as_ref);
    let agreed = agree(&head(before, before), seen, || contested);
    (agreed.mode, agreed.holds)
}

/// While workers of both modes live, a leader must not grant by the looser one.
#[test]
fn the_strictest_mode_is_asked_for_and_holds_once_everybody_obeys() {
    let obeys = |mode, honours| Some(session(|s| (s.settings.mode, s.honours) = (mode, honours)));
    let strict = obeys(EXCLUSIVE, EXCLUSIVE);
    let tamed = obeys(OVERLAP, EXCLUSIVE);
    let loose = obeys(OVERLAP, OVERLAP);
    let cases = [
        (
            &[strict.clone(), strict.clone()][..],
            false,
            EXCLUSIVE,
            EXCLUSIVE,
        ),
        (
            &[strict.clone(), tamed.clone()][..],
            false,
            EXCLUSIVE,
            EXCLUSIVE,
        ),
        (
            &[strict.clone(), loose.clone()][..],
            false,
            EXCLUSIVE,
            OVERLAP,
        ),
        (
            &[strict.clone(), tamed.clone()][..],
            true,
            EXCLUSIVE,
            OVERLAP,
        ),
        (&[loose.clone(), tamed.clone()][..], false, OVERLAP, OVERLAP),
        (&[loose][..], false, OVERLAP, OVERLAP),
    ];
    for (sessions, contested, mode, holds) in cases {
        assert_eq!(
            rule(OVERLAP, sessions, contested),
            (mode, holds),
            "{sessions:?}"
        );
        if !contested {
            let agreed = rule(EXCLUSIVE, sessions, contested);
            assert_eq!(agreed, (mode, holds), "{sessions:?}");
        }
    }
    // While exclusive holds nothing is granted that another may hold: the search costs much in a large group.
    let looked = core::cell::Cell::new(false);
    let said = [Some(&strict)];
    let said = said.into_iter().map(|said| said.and_then(Option::as_ref));
    let agreed = agree(&head(EXCLUSIVE, EXCLUSIVE), said, || {
        looked.set(true);
        true
    });
    assert_eq!((agreed.holds, looked.get()), (EXCLUSIVE, false));
}

/// A session key that is damaged or gone must neither loosen the rule nor stop an overlap group.
#[test]
fn what_cannot_be_read_changes_no_rule() {
    let loose = Some(session(|s| {
        (s.settings.mode, s.honours) = (OVERLAP, OVERLAP)
    }));
    assert_eq!(
        rule(OVERLAP, &[None, loose.clone()], false),
        (OVERLAP, OVERLAP)
    );
    assert_eq!(rule(EXCLUSIVE, &[None, loose], false), (EXCLUSIVE, OVERLAP));
    assert_eq!(rule(EXCLUSIVE, &[], false), (EXCLUSIVE, EXCLUSIVE));
    assert_eq!(rule(OVERLAP, &[], false), (OVERLAP, OVERLAP));
}

/// The longest lease is that of everybody who may hold something.
#[test]
fn the_longest_lease_is_told() {
    let of = |lease| session(|session| session.lease = Duration::from_secs(lease));
    let (short, long) = (of(6), of(60));
    let seen = [&short, &long].map(Some);
    let agreed = agree(&Agreed::default(), seen.into_iter(), || false);
    assert_eq!(agreed.longest_lease, Duration::from_secs(60));
}

/// Exclusive must not be said to hold while a partition granted in overlap mode still has two holders.
#[test]
fn a_partition_that_another_still_drains_is_contested() {
    let key = |name: &str| PartitionKey::new([name]).expect("valid");
    let record = |granted: &[&str], revoking: &[(&str, u64)]| {
        let nonce = Nonce::new(1);
        let granted = granted.iter().map(|name| RecordGrant {
            partition: key(name),
            token: Token::new(1),
            anchor: None,
        });
        let revoking = revoking.iter().map(|&(name, since)| Revoking {
            partition: key(name),
            since: Version::new(since),
            parked: None,
        });
        AssignmentRecord {
            write: WriteId { nonce, seq: 1 },
            version: Version::new(5),
            epoch: Epoch::new(1),
            session: crate::model::id::Nonce::new(0),
            granted: granted.collect(),
            revoking: revoking.collect(),
            preparing: Vec::new(),
        }
    };
    let drains = |name: &str| session(|session| session.draining = vec![key(name)]);
    let contested = |records: &[(AssignmentRecord, Option<SessionRecord>)]| {
        is_contested(records.iter().map(|(record, said)| (record, said.as_ref())))
    };
    let new = (record(&["p"], &[]), Some(session(|_| {})));
    let old = |since| record(&["q"], &[("p", since)]);
    assert!(!contested(&[new.clone(), (old(4), Some(session(|_| {})))]));
    assert!(contested(&[new.clone(), (old(5), Some(session(|_| {})))]));
    assert!(contested(&[new.clone(), (old(4), Some(drains("p")))]));
    assert!(contested(&[new.clone(), (old(4), None)]));
    assert!(contested(&[new.clone(), new]));
}
