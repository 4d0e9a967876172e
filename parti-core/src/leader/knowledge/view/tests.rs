//! What a leader believes of what it sees: who may write what, and what absence proves.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::io::effect::Effect;
use crate::link::cx::Env;
use crate::model::id::{Term, Token, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::ports::store::Entry;
use crate::ports::strategy::StrategyId;
use crate::records::record::{Control, Head, Readiness, Record, RecordGrant};
use crate::records::wire;

fn id(name: &str) -> WorkerId {
    WorkerId::new(name).expect("valid")
}

fn write(nonce: u128) -> WriteId {
    let nonce = Nonce::new(nonce);
    WriteId { nonce, seq: 1 }
}

fn session(nonce: u128, applied: u64, status: SessionStatus) -> Record {
    Record::Session(SessionRecord {
        write: write(nonce),
        epoch: Epoch::new(2),
        status,
        applied: Version::new(applied),
        draining: Vec::new(),
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        rejections: Vec::new(),
        bulletin: None,
        known: Version::ZERO,
        settings: crate::records::agreement::GroupSettings {
            clock_drift_ppm: 1000,
            ..Default::default()
        },
        honours: crate::config::Mode::Exclusive,
        age: Duration::ZERO,
        predecessors: Vec::new(),
        reads: crate::records::wire::FORMATS,
        readiness: Readiness::default(),
    })
}

fn assignment(nonce: u128, version: u64) -> Record {
    Record::Assignment(AssignmentRecord {
        write: write(nonce),
        version: Version::new(version),
        epoch: Epoch::new(2),
        session: crate::model::id::Nonce::new(0),
        granted: Vec::new(),
        revoking: Vec::new(),
        preparing: Vec::new(),
    })
}

fn head(granted: u32) -> Head {
    Head {
        write: write(1),
        term: Term::new(1),
        leader: None,
        version: Version::new(5),
        format: 1,
        lease: Duration::from_secs(6),
        cause: Cause::PlannedScale,
        planned: Version::new(5),
        strategy: StrategyId::new("deal/1"),
        workers: 2,
        partitions: 3,
        digest: 0,
        weights_digest: 0,
        unfinished: 3,
        granted,
        agreed: crate::records::agreement::Agreed::default(),
        parked: crate::records::record::Parked::default(),
        carried: crate::records::carried::Carried::default(),
    }
}

/// A leader that sees entries at given moments, and what it says of them.
struct Sees {
    env: Env,
    view: View,
}

impl Sees {
    fn nothing() -> Self {
        let config = Config::builder("g").build().expect("coherent");
        let (env, view) = (Env::for_tests(Instant::ORIGIN, 1, config), View::default());
        Self { env, view }
    }

    fn at(&mut self, ms: u64, key: &str, revision: u64, record: Option<&Record>) -> News {
        self.value(ms, key, revision, record.map(wire::encode))
    }

    fn value(&mut self, ms: u64, key: &str, revision: u64, value: Option<Vec<u8>>) -> News {
        let entry = Entry {
            at_ms: 0,
            key: key.to_string(),
            revision: Revision::new(revision),
            value,
        };
        let mut cx = self.env.cx(Instant::from_millis(ms));
        let seen = cx.seen(&entry);
        self.view.on_entry(&mut cx, &seen)
    }

    fn end_snapshot(&mut self, revision: u64) {
        let mut cx = self.env.cx(Instant::from_millis(10));
        self.view.end_snapshot(&mut cx, Revision::new(revision));
    }

    /// What was ignored, by key, since the last look.
    fn ignored(&mut self) -> Vec<String> {
        let said = self.env.out.drain(..).filter_map(|effect| {
            let Effect::Notify(Notice::RecordIgnored { key, .. }) = effect else {
                return None;
            };
            Some(key)
        });
        said.collect()
    }

    fn version(&self, worker: &str) -> Option<u64> {
        let record = self.view.records.get(&id(worker))?;
        Some(record.version.get())
    }
}

/// A record that an external writer changed or deleted must not free what the leader has granted.
#[test]
fn once_the_view_is_whole_only_the_leader_writes_and_deletes_assignments() {
    let mut sees = Sees::nothing();
    sees.at(1, "a.w", 1, Some(&assignment(7, 1)));
    sees.at(1, "a.w", 2, None);
    assert_eq!(sees.version("w"), None, "an earlier leader's deletion");
    sees.at(1, "a.w", 3, Some(&assignment(7, 3)));
    assert_eq!((sees.version("w"), sees.ignored()), (Some(3), Vec::new()));
    sees.view.trust_only(Nonce::new(9));
    sees.at(2, "a.w", 4, Some(&assignment(7, 4)));
    assert_eq!(
        (sees.version("w"), sees.ignored()),
        (Some(3), Vec::from(["a.w".into()]))
    );
    assert!(
        sees.view.damaged.contains(&id("w")),
        "it has to be written again"
    );
    sees.at(3, "a.w", 5, Some(&assignment(9, 5)));
    assert_eq!((sees.version("w"), sees.ignored()), (Some(5), Vec::new()));
    sees.view.damaged.clear();
    sees.at(4, "a.w", 6, None);
    assert_eq!(
        (sees.version("w"), sees.ignored()),
        (Some(5), Vec::from(["a.w".into()]))
    );
    assert!(sees.view.damaged.contains(&id("w")));
    // What nobody knew anything of may be deleted by anybody, in silence.
    sees.at(5, "a.x", 7, None);
    assert_eq!((sees.ignored(), sees.view.damaged.len()), (Vec::new(), 1));
    // Damage to what the leader does not know is told; there is nothing to write again.
    sees.at(5, "a.x", 8, Some(&session(1, 0, SessionStatus::Active)));
    assert_eq!(
        (sees.ignored(), sees.view.damaged.len()),
        (Vec::from(["a.x".into()]), 1)
    );
}

/// A key that was deleted while nobody watched is noticed by its absence from the next snapshot; one
/// that was written after it is not.
#[test]
fn what_a_whole_snapshot_does_not_mention_is_gone_unless_it_is_newer_or_an_assignment() {
    let mut sees = Sees::nothing();
    let active = session(1, 0, SessionStatus::Active);
    let (author, reason) = (String::new(), String::new());
    let control = Record::Control(Control {
        lasts: None,
        write: write(1),
        author,
        reason,
        pins: Vec::new(),
    });
    for (key, revision, record) in [
        ("w.kept", 1, &active),
        ("w.gone", 2, &active),
        ("w.newer", 9, &active),
        ("ctl.trigger.gone", 3, &control),
        ("a.gone", 4, &assignment(1, 4)),
    ] {
        sees.at(1, key, revision, Some(record));
    }
    sees.view.begin_snapshot();
    assert!(sees.view.is_in_snapshot());
    sees.at(2, "w.kept", 1, Some(&active));
    sees.end_snapshot(8);
    assert!(!sees.view.is_in_snapshot());
    let readable = |name: &str| {
        sees.view
            .sessions
            .get(&id(name))
            .is_some_and(|s| s.record.is_some())
    };
    let left: Vec<bool> = ["kept", "gone", "newer"].map(readable).into();
    assert_eq!(left, [true, false, true]);
    assert!(sees.view.controls.is_empty());
    assert_eq!(
        sees.version("gone"),
        Some(4),
        "only the leader removes assignments"
    );
    // Outside of a snapshot nothing is concluded from absence.
    sees.end_snapshot(100);
    assert!(sees.view.sessions[&id("newer")].record.is_some());
}

/// Old entries arrive late from lists; taken in, they would bring the dead back.
#[test]
fn an_older_or_equal_revision_of_a_key_is_no_news() {
    let mut sees = Sees::nothing();
    let active = session(1, 0, SessionStatus::Active);
    assert_eq!(sees.at(1, "w.a", 5, Some(&active)), News::Change);
    for revision in [4, 5] {
        let evicted = session(1, 0, SessionStatus::Evicted { silent: true });
        assert_eq!(sees.at(9, "w.a", revision, Some(&evicted)), News::Nothing);
    }
    assert_eq!(sees.view.sessions[&id("a")].since, Instant::from_millis(1));
    assert_eq!(sees.at(2_000, "w.a", 6, Some(&active)), News::Renewal);
    let applied = session(1, 8, SessionStatus::Active);
    assert_eq!(
        sees.at(4_000, "w.a", 7, Some(&applied)),
        News::Acknowledgement
    );
    let draining = session(1, 8, SessionStatus::Draining);
    assert_eq!(sees.at(5_000, "w.a", 8, Some(&draining)), News::Change);
    let other = session(2, 8, SessionStatus::Draining);
    assert_eq!(sees.at(6_000, "w.a", 9, Some(&other)), News::Change);
    let seen = &sees.view.sessions[&id("a")];
    assert_eq!(
        (seen.since, seen.said),
        (Instant::from_millis(6_000), Instant::from_millis(6_000))
    );
    assert_eq!(sees.at(8_000, "w.a", 10, Some(&other)), News::Renewal);
    let seen = &sees.view.sessions[&id("a")];
    assert_eq!(
        (seen.since, seen.said),
        (Instant::from_millis(8_000), Instant::from_millis(6_000))
    );
}

/// "Suspicion cancelled" for a worker that was never suspected, or was lost already, is noise.
#[test]
fn a_return_is_told_only_between_overdue_and_lost() {
    let returns = |after: u64, hears_since: Option<u64>| {
        let mut sees = Sees::nothing();
        let active = session(1, 0, SessionStatus::Active);
        sees.at(1_000, "w.a", 5, Some(&active));
        sees.view.hears_since = hears_since.map(Instant::from_millis);
        sees.at(1_000 + after, "w.a", 6, Some(&active));
        let told = sees.env.out.iter();
        let cancelled =
            |e: &&Effect| matches!(e, Effect::Notify(Notice::SuspicionCancelled { .. }));
        told.filter(cancelled).count() == 1
    };
    // Overdue after 3 s, lost after 6 s.
    let told = [3_000, 3_001, 5_999, 6_000].map(|after| returns(after, Some(0)));
    assert_eq!(told, [false, true, true, false]);
    assert!(!returns(4_000, None), "the leader itself has no contact");
    assert!(
        !returns(4_000, Some(3_000)),
        "it has heard anybody only for 2 s"
    );
}

/// An observation made as a follower counts for a new leader, but only of the same revision.
#[test]
fn an_earlier_observation_of_the_same_revision_is_remembered() {
    let mut sees = Sees::nothing();
    sees.at(5_000, "w.a", 5, Some(&session(1, 0, SessionStatus::Active)));
    let since = |sees: &Sees| sees.view.sessions[&id("a")].since.as_nanos() / 1_000_000;
    sees.view
        .remember(&id("a"), Revision::new(4), Instant::from_millis(1_000));
    assert_eq!(since(&sees), 5_000);
    sees.view
        .remember(&id("a"), Revision::new(5), Instant::from_millis(9_000));
    assert_eq!(since(&sees), 5_000, "never later");
    sees.view
        .remember(&id("a"), Revision::new(5), Instant::from_millis(1_000));
    assert_eq!(since(&sees), 1_000);
}

/// A record whose worker has no session at all must be waited for, not given away.
#[test]
fn an_orphan_is_silent_from_now_on_and_its_eviction_expects_no_key() {
    let mut sees = Sees::nothing();
    sees.at(1, "a.w", 1, Some(&assignment(7, 1)));
    sees.at(1, "w.x", 2, Some(&session(1, 0, SessionStatus::Active)));
    sees.at(1, "a.x", 3, Some(&assignment(7, 1)));
    sees.view.note_orphans(Instant::from_millis(4_000));
    let seen = &sees.view.sessions[&id("w")];
    assert_eq!(
        (seen.since, seen.expect),
        (Instant::from_millis(4_000), Expect::Absent)
    );
    assert!(seen.is_living() && seen.record.is_none());
    assert_eq!(sees.view.sessions[&id("x")].since, Instant::from_millis(1));
    let config = Config::builder("g").build().expect("coherent");
    assert_eq!(
        sees.view.fate(&config, &id("w"), Epoch::new(2)),
        Fate::Living
    );
}

/// A worker that has taken in an assignment nobody has a record of holds who knows what.
#[test]
fn a_session_that_applied_what_no_record_shows_is_unaccounted_until_its_end_is_certain() {
    let config = Config::builder("g").build().expect("coherent");
    let unaccounted = |applied, status, recorded: bool, now| {
        let mut sees = Sees::nothing();
        sees.at(1_000, "w.a", 5, Some(&session(1, applied, status)));
        if recorded {
            sees.at(1_000, "a.a", 6, Some(&assignment(7, 3)));
        }
        let found = sees
            .view
            .unaccounted(&config, Instant::from_millis(now), Mode::Exclusive);
        found
            .get(&id("a"))
            .map(|end| end.map(|at| at.as_nanos() / 1_000_000))
    };
    let alive = SessionStatus::Evicted { silent: false };
    assert_eq!(
        unaccounted(3, SessionStatus::Active, false, 2_000),
        Some(None)
    );
    assert_eq!(
        unaccounted(0, SessionStatus::Active, false, 2_000),
        None,
        "it never had any"
    );
    assert_eq!(
        unaccounted(3, SessionStatus::Active, true, 2_000),
        None,
        "there is its record"
    );
    assert_eq!(unaccounted(3, alive, false, 6_999), Some(Some(7_000)));
    assert_eq!(unaccounted(3, alive, false, 7_000), None);
    assert_eq!(
        unaccounted(3, SessionStatus::Evicted { silent: true }, false, 1_000),
        None
    );
}

/// Its grant may have been taken in after the last renewal, which still says that nothing was applied: what
/// it holds went to others before its lease was over.
#[test]
fn a_session_whose_record_cannot_be_read_is_unaccounted_also_if_it_applied_nothing() {
    let config = Config::builder("g").build().expect("coherent");
    // The slot's session began at revision 2; the damage is of a later or an earlier revision.
    for (written, suspected) in [(3, true), (1, false)] {
        let mut sees = Sees::nothing();
        sees.value(1_000, "a.a", written, Some(b"damaged".into()));
        sees.at(1_000, "w.a", 5, Some(&session(1, 0, SessionStatus::Active)));
        sees.view.suspect(&head(0));
        let now = Instant::from_millis(2_000);
        let found = sees.view.unaccounted(&config, now, Mode::Exclusive);
        assert_eq!(found.contains_key(&id("a")), suspected, "{written}");
    }
}

/// Each end of a session frees at its own time; a moment too early is a partition owned twice.
#[test]
fn the_fate_of_an_incarnation_is_what_its_session_proves() {
    let config = Config::builder("g").build().expect("coherent");
    let fate = |status, epoch| {
        let mut sees = Sees::nothing();
        sees.at(1_000, "w.a", 5, Some(&session(1, 0, status)));
        sees.view.fate(&config, &id("a"), Epoch::new(epoch))
    };
    let released = |secs| SessionStatus::Released {
        hold: Duration::from_secs(secs),
    };
    let evicted = |silent| SessionStatus::Evicted { silent };
    assert_eq!(fate(SessionStatus::Active, 2), Fate::Living);
    assert_eq!(fate(SessionStatus::Draining, 2), Fate::Living);
    assert_eq!(fate(released(0), 2), Fate::Ended);
    let until = Instant::from_millis(10_000);
    assert_eq!(fate(released(9), 2), Fate::Reserved { until });
    assert_eq!(fate(evicted(true), 2), Fate::Ended);
    assert_eq!(
        fate(evicted(false), 2),
        Fate::EndsAt(Instant::from_millis(7_000))
    );
    // The slot was taken again: the incarnation before has ended, whatever this one does.
    assert_eq!(fate(SessionStatus::Active, 1), Fate::Ended);
    // Older than what is asked about: no evidence.
    assert_eq!(fate(evicted(true), 3), Fate::Living);
}

/// Workers of another release may beat more slowly: they are judged by what they say of themselves.
#[test]
fn patience_is_the_longer_of_the_grace_and_the_lease_of_the_worker() {
    let patience = |heartbeat: u64, lease: u64, grace: u64| {
        let grace = Duration::from_secs(grace);
        let config = Config::builder("g").emergency_grace_period(grace).build();
        let mut sees = Sees::nothing();
        sees.at(0, "w.a", 5, Some(&session(1, 0, SessionStatus::Active)));
        let seen = sees.view.sessions.get_mut(&id("a")).expect("just seen");
        if let Some(record) = &mut seen.record {
            record.heartbeat_interval = Duration::from_secs(heartbeat);
            record.lease = Duration::from_secs(lease);
        }
        let (lost, overdue) = seen.patience(&config.expect("coherent"));
        (lost.as_secs(), overdue.as_secs())
    };
    assert_eq!(patience(2, 6, 3), (6, 3));
    assert_eq!(patience(2, 6, 10), (13, 3), "overdue and then the grace");
    assert_eq!(patience(4, 6, 3), (9, 6), "it beats every 4 s");
    assert_eq!(patience(2, 20, 3), (20, 3), "it relies on 20 s itself");
    assert_eq!(
        patience(1, 3, 1),
        (3, 1),
        "its own lease is longer: that is no reason to wait"
    );
}

/// A list that lags shows old revisions all the time; only one that claims to be complete and is not
/// proves that acknowledged writes are gone.
#[test]
fn only_a_complete_list_with_an_older_revision_contradicts_what_is_known() {
    let mut sees = Sees::nothing();
    let active = session(1, 0, SessionStatus::Active);
    sees.at(1, "w.a", 5, Some(&active));
    let shows = |revision: u64, upto: u64| {
        let entry = Entry {
            at_ms: 0,
            key: "w.a".to_string(),
            revision: Revision::new(revision),
            value: None,
        };
        sees.view.contradiction(&[entry], Revision::new(upto))
    };
    assert_eq!(shows(3, 4), None, "it ends before what is known");
    assert_eq!((shows(5, 9), shows(7, 9)), (None, None));
    let (key, revision) = ("w.a".to_string(), Revision::new(5));
    let vanished = Some(HistoryLoss::Vanished { key, revision });
    assert_eq!(shows(3, 5), vanished);
}

/// What a rollback left over was superseded once: a view that took it for new would free partitions.
#[test]
fn a_view_remembers_up_to_which_version_it_distrusts_records() {
    let version = Some(Version::new(7));
    assert_eq!(View::distrusting(version).distrusted, version);
    assert_eq!(View::distrusting(None).distrusted, None);
}

/// A handoff that was decided and not told yet, since its record did not fit into the commit, and a
/// partition that is parked and still granted were counted twice: a destroyed record was not missed, and what
/// it granted was granted again.
#[test]
fn a_record_is_missed_where_fewer_grants_are_to_be_read_than_were_made() {
    let suspects = |head: &Head| {
        let mut sees = Sees::nothing();
        sees.at(1_000, "w.a", 5, Some(&session(1, 0, SessionStatus::Active)));
        sees.at(1_000, "w.b", 6, Some(&session(2, 0, SessionStatus::Active)));
        let granted = ["p", "q"].map(|name| RecordGrant {
            partition: PartitionKey::new([name]).expect("valid"),
            token: Token::new(3),
            anchor: None,
        });
        let record = AssignmentRecord {
            write: write(5),
            version: Version::new(5),
            epoch: Epoch::new(2),
            session: crate::model::id::Nonce::new(0),
            granted: granted.into(),
            revoking: Vec::new(),
            preparing: Vec::new(),
        };
        sees.view.records.insert(id("a"), record);
        sees.view.suspect(head);
        sees.view.suspects.len()
    };
    assert_eq!(suspects(&head(2)), 0, "all is there");
    assert_eq!(suspects(&head(3)), 2, "one is missing");
}
