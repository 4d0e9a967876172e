//! What a member concludes from `head` and the leader's session, seen in any order.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::io::effect::Effect;
use crate::link::cx::Env;
use crate::model::id::{Nonce, Term, WriteId};
use crate::model::state::Cause;
use crate::ports::store::Entry;
use crate::ports::strategy::StrategyId;
use crate::records::record::{LeaderName, Parked, Readiness, SessionStatus};
use crate::records::wire;

/// When `worker-0` of epoch 5 may stand, in ms: `worker-1` of epoch 20 leads, or nobody; `head`
/// was seen at 1 s, the store was seen whole at 500 ms, the leader's session as given.
fn vacant(leader: Option<&str>, seen: Option<(u64, u64, u64, bool)>) -> Option<u64> {
    let config = Config::builder("g").build().expect("coherent");
    let id = |name: &str| WorkerId::new(name).expect("valid");
    let at = Instant::from_millis;
    let named = leader.map(|name| LeaderName {
        worker: id(name),
        epoch: Epoch::new(20),
    });
    let head = Head {
        write: WriteId {
            nonce: Nonce::new(1),
            seq: 1,
        },
        term: Term::new(1),
        leader: named,
        version: Version::new(1),
        format: crate::records::wire::FORMAT,
        lease: Duration::from_secs(6),
        cause: Cause::Takeover,
        planned: Version::ZERO,
        strategy: StrategyId::new(""),
        workers: 0,
        partitions: 0,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        agreed: crate::records::agreement::Agreed::default(),
        carried: Default::default(),
        parked: Parked::default(),
    };
    let observed = seen.map(|(revision, epoch, since, ended)| Observed {
        worker: id("worker-1"),
        revision: Revision::new(revision),
        since: at(since),
        epoch: Epoch::new(epoch),
        ended,
        interval: Duration::from_secs(2),
        answers: None,
    });
    let follow = Follow {
        head: Some(head),
        head_revision: Revision::new(21),
        head_since: at(1_000),
        planned: None,
        term: None,
        sightings: Sightings::new(),
        leader: observed,
        unread: None,
        looked_at: Some(at(500)),
        ..Follow::default()
    };
    let contact = Contact::new(Instant::ORIGIN);
    let me = (&id("worker-0"), Epoch::new(5));
    let vacant = follow.vacant_at(&config, &contact, me)?;
    Some(vacant.as_nanos() / 1_000_000)
}

/// Standing too early makes elections out of nothing, too late leaves a group without a leader.
#[test]
fn the_leadership_is_vacant_when_its_holder_has_ended_or_is_silent() {
    let timeout = 4_000;
    assert_eq!(vacant(None, None), Some(1_000), "nobody leads");
    assert_eq!(vacant(Some("worker-0"), None), Some(1_000), "it is mine");
    let silent = vacant(Some("worker-1"), Some((25, 20, 3_000, false)));
    assert_eq!(silent, Some(3_000 + timeout));
    let ended = vacant(Some("worker-1"), Some((25, 20, 3_000, true)));
    assert_eq!(ended, Some(3_000));
    let replaced = vacant(Some("worker-1"), Some((25, 25, 3_000, false)));
    assert_eq!(replaced, Some(3_000));
    let unseen = vacant(Some("worker-1"), None);
    assert_eq!(unseen, Some(1_000 + timeout));
    // Older than the leader's incarnation: no evidence, even of its end.
    let stale = vacant(Some("worker-1"), Some((19, 10, 3_000, true)));
    assert_eq!(stale, Some(1_000 + timeout));
    let unknown = Follow::default();
    let config = Config::builder("g").build().expect("coherent");
    let contact = Contact::new(Instant::ORIGIN);
    let worker = WorkerId::new("w").expect("valid");
    let me = (&worker, Epoch::new(1));
    assert_eq!(unknown.vacant_at(&config, &contact, me), None);
}

fn head_of(leader: Option<&str>, term: u64, planned: u64) -> Head {
    let nonce = Nonce::new(1);
    Head {
        write: WriteId { nonce, seq: term },
        term: Term::new(term),
        leader: leader.map(|name| LeaderName {
            worker: WorkerId::new(name).expect("valid"),
            epoch: Epoch::new(2),
        }),
        version: Version::new(term + 10),
        format: crate::records::wire::FORMAT,
        lease: Duration::from_secs(6),
        cause: Cause::Takeover,
        planned: Version::new(planned),
        strategy: StrategyId::new(""),
        workers: 0,
        partitions: 0,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        agreed: crate::records::agreement::Agreed::default(),
        carried: Default::default(),
        parked: Parked::default(),
    }
}

fn session_of(epoch: u64, status: SessionStatus) -> Record {
    let nonce = Nonce::new(3);
    Record::Session(crate::records::record::SessionRecord {
        write: WriteId { nonce, seq: 1 },
        epoch: Epoch::new(epoch),
        status,
        applied: Version::ZERO,
        draining: Vec::new(),
        capacity: 1,
        labels: Default::default(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        rejections: Vec::new(),
        bulletin: None,
        known: Version::ZERO,
        settings: crate::records::agreement::GroupSettings::default(),
        honours: crate::config::Mode::Exclusive,
        age: Duration::ZERO,
        predecessors: Vec::new(),
        reads: crate::records::wire::FORMATS,
        readiness: Readiness::default(),
    })
}

/// A member that sees things at given moments.
struct Sees {
    env: Env,
    follow: Follow,
}

impl Sees {
    fn nothing() -> Self {
        let config = Config::builder("g").build().expect("coherent");
        let (env, follow) = (
            Env::for_tests(Instant::ORIGIN, 1, config),
            Follow::default(),
        );
        Self { env, follow }
    }

    fn head(&mut self, ms: u64, revision: u64, head: Head) -> bool {
        let entry = entry("head", revision, Some(&Record::Head(head)));
        let mut cx = self.env.cx(Instant::from_millis(ms));
        let seen = cx.seen(&entry);
        self.follow.on_head(&mut cx, &seen)
    }

    fn wrote(&mut self, ms: u64, revision: u64, head: Head) {
        let mut cx = self.env.cx(Instant::from_millis(ms));
        self.follow
            .wrote_head(&mut cx, head, Revision::new(revision));
    }

    /// The leaders that were told since the last look.
    fn told(&mut self) -> Vec<Option<String>> {
        let told = self.env.out.drain(..).filter_map(|effect| {
            let Effect::Notify(Notice::LeaderChanged { leader, .. }) = effect else {
                return None;
            };
            Some(leader.map(|leader| leader.to_string()))
        });
        told.collect()
    }

    fn session(&mut self, ms: u64, worker: &str, revision: u64, record: Option<&Record>) {
        let entry = entry(&alloc::format!("w.{worker}"), revision, record);
        let worker = WorkerId::new(worker).expect("valid");
        let mut cx = self.env.cx(Instant::from_millis(ms));
        let seen = cx.seen(&entry);
        self.follow.on_leader_session(&mut cx, &worker, &seen);
    }

    /// The leader's session as it was last seen: the worker, its revision, and when.
    fn observed(&self) -> Option<(String, u64, u64)> {
        let (worker, revision, since) = self.follow.predecessor()?;
        Some((
            worker.to_string(),
            revision.get(),
            since.as_nanos() / 1_000_000,
        ))
    }

    fn vacant_at(&self) -> Option<u64> {
        let me = WorkerId::new("me").expect("valid");
        let contact = Contact::new(Instant::ORIGIN);
        let config = Config::builder("g").build().expect("coherent");
        let at = self
            .follow
            .vacant_at(&config, &contact, (&me, Epoch::new(1)))?;
        Some(at.as_nanos() / 1_000_000)
    }
}

fn entry(key: &str, revision: u64, record: Option<&Record>) -> Entry {
    Entry {
        at_ms: 0,
        key: key.to_string(),
        revision: Revision::new(revision),
        value: record.map(wire::encode),
    }
}

/// Reads and watches overtake each other: an older `head` must not bring an old leader back.
#[test]
fn an_older_head_changes_nothing_wherever_it_is_seen() {
    let mut sees = Sees::nothing();
    sees.follow.on_caught_up(Instant::from_millis(10));
    assert!(sees.head(100, 5, head_of(Some("b"), 2, 0)));
    for revision in [4, 5] {
        assert!(!sees.head(200, revision, head_of(None, 1, 0)));
        sees.wrote(300, revision, head_of(None, 1, 0));
    }
    assert_eq!(sees.follow.leader().map(WorkerId::as_str), Some("b"));
    assert_eq!(sees.follow.head_revision(), Revision::new(5));
    // A resignation is news; what this process wrote itself is known without its watch.
    sees.wrote(400, 6, head_of(None, 2, 0));
    assert_eq!((sees.follow.leader(), sees.vacant_at()), (None, Some(400)));
    sees.wrote(500, 6, head_of(None, 2, 0));
    assert_eq!(
        sees.vacant_at(),
        Some(400),
        "the same write again is no news"
    );
}

/// The cooldown counts from the last plan: a mere take-over, or a head seen again, must not renew it.
#[test]
fn the_last_rebalance_is_when_its_version_was_first_seen() {
    let mut sees = Sees::nothing();
    let last = |sees: &Sees| {
        sees.follow
            .last_rebalance()
            .map(|at| at.as_nanos() / 1_000_000)
    };
    sees.head(100, 5, head_of(Some("b"), 1, 0));
    assert_eq!(last(&sees), None, "nothing has been planned yet");
    sees.head(200, 6, head_of(Some("b"), 1, 11));
    sees.head(300, 7, head_of(Some("c"), 2, 11));
    assert_eq!(last(&sees), Some(200));
    sees.head(400, 8, head_of(Some("c"), 2, 12));
    assert_eq!(last(&sees), Some(400));
}

/// Silence of one leader counted against the next would depose it at once.
#[test]
fn what_was_seen_of_a_leader_is_kept_for_it_and_dropped_for_the_next() {
    let mut sees = Sees::nothing();
    let active = session_of(2, SessionStatus::Active);
    sees.head(100, 5, head_of(Some("b"), 1, 0));
    sees.session(200, "b", 6, Some(&active));
    assert_eq!(sees.observed(), Some(("b".into(), 6, 200)));
    sees.session(300, "b", 6, Some(&active));
    sees.session(310, "b", 4, Some(&active));
    assert_eq!(sees.observed(), Some(("b".into(), 6, 200)), "not a renewal");
    sees.head(400, 7, head_of(Some("b"), 1, 1));
    assert_eq!(
        sees.observed(),
        Some(("b".into(), 6, 200)),
        "the same leader"
    );
    sees.session(450, "b", 8, Some(&active));
    assert_eq!(sees.observed(), Some(("b".into(), 8, 450)));
    sees.head(500, 9, head_of(Some("c"), 2, 1));
    assert_eq!(sees.observed(), None);
    // Another worker's revisions are another key's: they do not compare.
    sees.session(600, "c", 3, Some(&active));
    assert_eq!(sees.observed(), Some(("c".into(), 3, 600)));
    sees.session(700, "b", 2, Some(&active));
    assert_eq!(sees.observed(), Some(("b".into(), 2, 700)));
}

/// The leadership is free when its holder has ended; a deleted or damaged key is no end.
#[test]
fn only_the_end_of_the_leaders_session_frees_the_leadership_at_once() {
    let hold = Duration::ZERO;
    let ends = [
        (session_of(2, SessionStatus::Active), false),
        (session_of(2, SessionStatus::Draining), false),
        (session_of(2, SessionStatus::Released { hold }), true),
        (
            session_of(2, SessionStatus::Evicted { silent: false }),
            true,
        ),
        (session_of(9, SessionStatus::Active), true),
        (Record::Head(head_of(None, 1, 0)), false),
    ];
    for (record, is_over) in ends {
        let mut sees = Sees::nothing();
        sees.follow.on_caught_up(Instant::from_millis(10));
        sees.head(100, 5, head_of(Some("b"), 1, 0));
        // It says nothing of its epoch itself when its revision is that of the leader's session.
        sees.session(200, "b", 2, Some(&record));
        let expected = if is_over { 200 } else { 4_200 };
        assert_eq!(sees.vacant_at(), Some(expected), "{record:?}");
    }
    let mut sees = Sees::nothing();
    sees.follow.on_caught_up(Instant::from_millis(10));
    sees.head(100, 5, head_of(Some("b"), 1, 0));
    sees.session(200, "b", 2, None);
    assert_eq!(sees.vacant_at(), Some(4_200), "a deleted key");
    // A session that does not say its epoch was created by the write that is shown.
    sees.session(300, "b", 3, Some(&session_of(0, SessionStatus::Active)));
    assert_eq!(
        sees.vacant_at(),
        Some(300),
        "a later session holds the slot"
    );
}

/// A follower that does not watch its leader's session finds out minutes later that it is gone.
#[test]
fn a_follower_watches_the_leaders_session_but_its_own_only_once() {
    let mut sees = Sees::nothing();
    let me = WorkerId::new("me").expect("valid");
    let watches = |sees: &Sees, key: &str| match sees.follow.scope(&me) {
        WatchScope::Keys(keys) => keys.iter().filter(|k| *k == key).count(),
        WatchScope::All => panic!("a follower watches a few keys"),
    };
    let own = ["head", "w.me", "a.me", "ctl.refresh.me", "ctl.trigger.me"];
    assert!(own.iter().all(|key| watches(&sees, key) == 1));
    sees.head(100, 5, head_of(Some("b"), 1, 0));
    assert_eq!((watches(&sees, "w.b"), watches(&sees, "w.me")), (1, 1));
    sees.head(200, 6, head_of(Some("me"), 2, 0));
    assert_eq!((watches(&sees, "w.b"), watches(&sees, "w.me")), (0, 1));
}

/// A dashboard of the leader is made of these: each change once, and nothing in between.
#[test]
fn a_change_of_the_leader_is_told_once() {
    let mut sees = Sees::nothing();
    sees.head(100, 5, head_of(Some("b"), 1, 0));
    assert_eq!(sees.told(), [Some("b".into())]);
    sees.head(200, 6, head_of(Some("b"), 1, 11));
    assert_eq!(sees.told(), [], "another generation of the same leader");
    sees.head(300, 7, head_of(None, 1, 11));
    sees.head(400, 8, head_of(Some("c"), 2, 11));
    assert_eq!(sees.told(), [None, Some("c".into())]);
}
