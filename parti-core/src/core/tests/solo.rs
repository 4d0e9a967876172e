//! One core driven by hand: every answer of the store is given by the script, at its moment.
//!
//! It is for races between an answer and an event, which a world that answers at once cannot show.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Config, ConfigBuilder};
use crate::core::Core;
use crate::io::boot::Boot;
use crate::io::effect::Effect;
use crate::io::event::{Event, OpId, WatchId};
use crate::io::grant::Grant;
use crate::io::notice::Notice;
use crate::model::id::{Epoch, Nonce, Revision, Term, Token, Version, WorkerId, WriteId};
use crate::model::partition::{Partition, PartitionKey};
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::ports::store::{
    Entry, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply, WatchEvent, WatchScope,
    Write,
};
use crate::ports::strategy::StrategyId;
use crate::records::record::{
    AssignmentRecord, Head, LeaderName, Parked, Record, RecordGrant, SessionRecord, SessionStatus,
};
use crate::records::wire;

/// A core and what it has asked for.
pub(super) struct Solo {
    pub(super) core: Core,
    pub(super) now: Instant,
    pub(super) asked: Vec<(OpId, StoreOp)>,
    pub(super) watch: Option<(WatchId, WatchScope)>,
    pub(super) notices: Vec<Notice>,
    pub(super) assigned: Vec<Grant>,
    /// Everything but requests, watches and notices, in order.
    pub(super) other: Vec<Effect>,
    /// The session that was claimed last.
    claimed: Nonce,
}

pub(super) fn entry(key: &str, revision: u64, record: &Record) -> Entry {
    Entry {
        at_ms: 0,
        key: key.to_string(),
        revision: Revision::new(revision),
        value: Some(wire::encode(record)),
    }
}

/// The record of a write, as the store would show it.
pub(super) fn written(write: &Write, revision: u64) -> Entry {
    Entry {
        at_ms: 0,
        key: write.key.clone(),
        revision: Revision::new(revision),
        value: write.value.clone(),
    }
}

pub(super) fn error(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "scripted")
}

pub(super) fn partition(number: u32) -> PartitionKey {
    let partition = Partition::new([alloc::format!("p-{number}")]).expect("valid key");
    partition.key
}

/// A write by somebody else.
pub(super) const FOREIGN: WriteId = WriteId {
    nonce: Nonce::new(99),
    seq: 1,
};

/// No session by name.
pub(super) const NO_SESSION: Nonce = Nonce::new(0);

/// A head that names a leader.
pub(super) fn head(leader: &str, epoch: u64, version: u64) -> Record {
    Record::Head(Head {
        write: FOREIGN,
        term: Term::new(1),
        leader: Some(LeaderName {
            worker: WorkerId::new(leader).expect("valid"),
            epoch: Epoch::new(epoch),
        }),
        version: Version::new(version),
        format: crate::records::wire::FORMAT,
        lease: Duration::from_secs(6),
        cause: Cause::ColdStart,
        planned: Version::new(version),
        strategy: StrategyId::new("deal/1"),
        workers: 1,
        partitions: 1,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        agreed: crate::records::agreement::Agreed::default(),
        carried: Default::default(),
        parked: Parked::default(),
    })
}

pub(super) fn assignment(epoch: u64, version: u64, granted: &[u32]) -> Record {
    let granted = granted.iter().map(|&number| RecordGrant {
        partition: partition(number),
        token: Token::new(version),
        anchor: None,
    });
    Record::Assignment(AssignmentRecord {
        write: FOREIGN,
        version: Version::new(version),
        epoch: Epoch::new(epoch),
        session: NO_SESSION,
        granted: granted.collect(),
        revoking: Vec::new(),
        preparing: Vec::new(),
    })
}

impl Solo {
    pub(super) fn start(change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        let config = change(Config::builder("g")).build().expect("coherent");
        let now = Instant::from_millis(1_000);
        let boot = Boot {
            now,
            wall_ms: 1_700_000_000_000,
            seed: 1,
            strategy: StrategyId::new("deal/1"),
            software: "test".to_string(),
            endpoint: None,
            prepares: false,
        };
        let mut solo = Self {
            core: Core::new(config, boot),
            now,
            asked: Vec::new(),
            watch: None,
            notices: Vec::new(),
            assigned: Vec::new(),
            other: Vec::new(),
            claimed: NO_SESSION,
        };
        solo.tell(Event::Start);
        solo
    }

    /// A member whose session was claimed at revision 1, with an empty store around it.
    pub(super) fn member() -> Self {
        let mut solo = Self::start(|builder| builder);
        solo.look_around();
        let (op, _) = solo.commit("w.worker-0");
        solo.won(op, 1);
        solo
    }

    /// Answers a look at the store: nothing is wrong with its history, which goes up to `last`.
    pub(super) fn look_is_fine(&mut self, last: u64) {
        let info = self.take(|op| matches!(op, StoreOp::Info)).0;
        self.answer(info, Ok(StoreReply::Info(facts(Revision::new(last)))));
        while let Some((op, _)) = self.find(|op| matches!(op, StoreOp::List { .. })) {
            self.listed(op, Vec::new(), 0);
        }
    }

    /// Answers the questions that precede a claim.
    pub(super) fn look_around(&mut self) {
        let info = self.take(|op| matches!(op, StoreOp::Info)).0;
        // Nothing was ever written, so that there is nothing to list.
        self.answer(info, Ok(StoreReply::Info(facts(Revision::ZERO))));
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.core.handle(self.now, event);
        self.drain();
    }

    /// Lets time pass, deadline by deadline; nothing is answered.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(wake) = self.core.poll_timeout().filter(|wake| wake.at <= end) {
            self.now = wake.at;
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub(super) fn answer(&mut self, op: OpId, result: Result<StoreReply, StoreError>) {
        self.tell(Event::Store { op, result });
    }

    /// Answers a commit: its first write has this revision.
    pub(super) fn won(&mut self, op: OpId, revision: u64) {
        let revisions = Vec::from([Revision::new(revision)]);
        self.answer(op, Ok(StoreReply::Committed { revisions }));
    }

    pub(super) fn listed(&mut self, op: OpId, entries: Vec<Entry>, last: u64) {
        let last_revision = Revision::new(last);
        let reply = StoreReply::Entries {
            entries,
            last_revision,
        };
        self.answer(op, Ok(reply));
    }

    pub(super) fn read(&mut self, op: OpId, entry: Option<Entry>) {
        self.answer(op, Ok(StoreReply::Entry(entry)));
    }

    /// The watch shows an entry. An assignment that names no session is for the one that was claimed last.
    pub(super) fn show(&mut self, mut entry: Entry) {
        entry.value = match entry.value.as_deref().map(wire::decode) {
            Some(Ok(Record::Assignment(mut record))) if record.session == NO_SESSION => {
                record.session = self.claimed;
                Some(wire::encode(&Record::Assignment(record)))
            }
            Some(Ok(Record::Manifest(mut record))) if record.session == NO_SESSION => {
                record.session = self.claimed;
                Some(wire::encode(&Record::Manifest(record)))
            }
            _ => entry.value,
        };
        let (id, _) = self.watch.clone().expect("there is a watch");
        let event = WatchEvent::Entry(entry);
        self.tell(Event::Watch { id, event });
    }

    pub(super) fn caught_up(&mut self, revision: u64) {
        let (id, _) = self.watch.clone().expect("there is a watch");
        let revision = Revision::new(revision);
        let event = WatchEvent::CaughtUp { revision };
        self.tell(Event::Watch { id, event });
    }

    /// The oldest request of a kind that has not been taken yet.
    pub(super) fn take(&mut self, kind: impl Fn(&StoreOp) -> bool) -> (OpId, StoreOp) {
        self.find(kind)
            .unwrap_or_else(|| panic!("no such request among {:?}", self.asked))
    }

    pub(super) fn find(&mut self, kind: impl Fn(&StoreOp) -> bool) -> Option<(OpId, StoreOp)> {
        let position = self.asked.iter().position(|(_, op)| kind(op))?;
        Some(self.asked.remove(position))
    }

    /// The oldest commit whose first key is this one.
    pub(super) fn commit(&mut self, key: &str) -> (OpId, Vec<Write>) {
        let first = |op: &StoreOp| matches!(op, StoreOp::Commit { writes } if writes[0].key == key);
        let (op, request) = self.take(first);
        let StoreOp::Commit { writes } = request else {
            panic!("not a commit")
        };
        (op, writes)
    }

    pub(super) fn has_commit(&self, key: &str) -> bool {
        let first = |op: &StoreOp| matches!(op, StoreOp::Commit { writes } if writes[0].key == key);
        self.asked.iter().any(|(_, op)| first(op))
    }

    /// The oldest read of a key.
    pub(super) fn get(&mut self, wanted: &str) -> OpId {
        self.take(|op| matches!(op, StoreOp::Get { key } if key == wanted))
            .0
    }

    fn note_claim(&mut self, request: &StoreOp) {
        let StoreOp::Commit { writes } = request else {
            return;
        };
        if let Some(Ok(Record::Session(record))) = writes[0].value.as_deref().map(wire::decode)
            && record.epoch == Epoch::ZERO
        {
            self.claimed = record.nonce();
        }
    }

    fn drain(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Store { op, request } => {
                    self.note_claim(&request);
                    self.asked.push((op, request));
                }
                Effect::Watch { id, scope } => self.watch = Some((id, scope)),
                Effect::Unwatch { .. } | Effect::Answer { .. } => {}
                Effect::Notify(notice) => self.notices.push(notice),
                Effect::Assign { grants } => self.assigned.extend(grants),
                other @ (Effect::Probe { .. }
                | Effect::ListPartitions { .. }
                | Effect::Plan { .. }
                | Effect::Prepare { .. }
                | Effect::Withdraw { .. }
                | Effect::Revoke { .. }) => self.other.push(other),
            }
        }
        let wake = self.core.poll_timeout();
        assert!(wake.is_none_or(|wake| wake.at > self.now), "{wake:?}");
    }
}

/// What a session write says.
pub(super) fn session(write: &Write) -> SessionRecord {
    match write.value.as_deref().map(wire::decode) {
        Some(Ok(Record::Session(record))) => record,
        other => panic!("not a session: {other:?}"),
    }
}

/// The status a session write carries.
pub(super) fn status(write: &Write) -> SessionStatus {
    session(write).status
}

/// What the notices say that match, in words.
pub(super) fn said(notices: &[Notice], wanted: impl Fn(&Notice) -> bool) -> Vec<String> {
    let matching = notices.iter().filter(|notice| wanted(notice));
    matching
        .map(|notice| alloc::format!("{notice:?}"))
        .collect()
}

pub(super) fn facts(last_revision: Revision) -> StoreInfo {
    StoreInfo {
        created: 1,
        age: Duration::MAX,
        last_revision,
        version: "test".to_string(),
        max_batch: 1_000,
        max_value: 1 << 20,
        faults: alloc::vec::Vec::new(),
    }
}
