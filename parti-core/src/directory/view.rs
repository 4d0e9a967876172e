//! The view: everything a directory knows, at one moment, for people and programs.
//!
//! It is separate because it is made when somebody asks, from what the directory keeps. What always
//! holds: every partition is in one state, and what is only known by number is told by number.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{AsOf, Directory, Left};
use crate::io::notice::HistoryLoss;
use crate::model::id::{Epoch, Term, Token, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::records::history::{Parking, Unreadable, incomplete};
use crate::records::keys::session_key;
use crate::records::record::{AuditEntry, Revoking, SessionRecord, SessionStatus, Verb};
use crate::records::wire::SessionClass;

/// Everything a directory knows, at one moment. Durations are by the reader's own clock: what began
/// before it looked began at least so long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// Whether all that is in the bucket has been seen. If not, what is missing here may be there.
    pub complete: bool,
    /// How fresh it is.
    pub as_of: AsOf,
    /// That the history known before is gone, if that happened: what follows is of another one.
    pub loss: Option<Loss>,
    /// The leadership, if there ever was one.
    pub leading: Option<Leading>,
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// The partitions that are known by name, ordered by key.
    pub partitions: Vec<PartitionView>,
    /// How many more there are without an owner, whose names are not in the bucket.
    pub nameless: usize,
    /// The handoffs that are running, and what each waits for.
    pub handoffs: Vec<Handoff>,
    /// What is asked of the leader.
    pub requests: Vec<Request>,
    /// What the group did of late, oldest first: its audit ring.
    pub generations: Vec<AuditEntry>,
    /// Keys that hold nothing readable. What they say is not in the view, or is as it was before.
    pub unreadable: Vec<Unreadable>,
}

/// That a history is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// How that showed.
    pub what: HistoryLoss,
    /// When the reader noticed it.
    pub since: Instant,
}

/// A leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leading {
    /// Its number.
    pub term: Term,
    /// Who leads; nobody after a resignation.
    pub leader: Option<WorkerId>,
    /// For how long, as far as the reader has seen.
    pub lasting: Duration,
    /// The generation in force.
    pub version: Version,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// As it says itself, or as the leader that ended it says.
    Known(SessionStatus),
    /// Another release wrote it; it may hold partitions.
    OtherRelease,
    /// Another release wrote it; it has ended.
    OtherReleaseEnded,
    /// It cannot be read.
    Unreadable,
    /// There is no session.
    Missing,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerView {
    /// Its ID.
    pub worker: WorkerId,
    /// Where its session stands.
    pub state: SessionState,
    /// Its session, as it was last readable: capacity, labels, endpoint, software, lease.
    pub session: Option<SessionRecord>,
    /// How many partitions it is granted.
    pub granted: usize,
    /// The version of its assignment that it has not taken in yet, if there is one.
    pub behind: Option<Version>,
    /// For how long nothing has been heard of it.
    pub silent: Option<Duration>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionView {
    /// Its key.
    pub partition: PartitionKey,
    /// Where it is.
    pub state: PartitionState,
}

/// Where a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionState {
    /// A worker whose session lives owns it.
    Owned {
        /// The worker.
        worker: WorkerId,
        /// Its fencing token.
        token: Token,
        /// The version of the worker's assignment that says so.
        version: Version,
    },
    /// It is on its way from these workers, which have not let go of it: see [`View::handoffs`].
    Moving {
        /// Who has to let go of it.
        waits_for: Vec<WorkerId>,
    },
    /// Nobody has it.
    Unowned {
        /// For how long, as far as the reader has seen.
        lasting: Duration,
        /// Who had it last, as far as that is known.
        was: Option<WorkerId>,
    },
    /// Nobody is to have it.
    Parked(Parking),
}

/// A partition that a worker has to let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handoff {
    /// The partition.
    pub partition: PartitionKey,
    /// The worker that holds it up.
    pub from: WorkerId,
    /// The version that took it away.
    pub since: Version,
    /// What is missing.
    pub hold_up: HoldUp,
    /// For how long, as far as the reader has seen.
    pub lasting: Duration,
}

/// What a handoff waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HoldUp {
    /// The worker has not taken in yet that the partition was taken away.
    NotApplied {
        /// How far it is.
        applied: Version,
    },
    /// The worker's processing of the partition has not ended.
    Draining,
    /// Nothing readable is known of the worker's session; its lease has to end.
    NoSession,
}

/// What somebody asks of the leader: once, or as an order that holds for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// What.
    pub verb: Verb,
    /// Under whose ID, or about whom.
    pub worker: WorkerId,
    /// The partition that is wanted at the worker ([`Verb::Pin`]), and whether only once.
    pub wanted: Option<(PartitionKey, bool)>,
    /// Who.
    pub author: String,
    /// Why.
    pub reason: String,
    /// For how long, as far as the reader has seen.
    pub lasting: Duration,
    /// For how much longer an order holds, by the store's own time; `None`: until it is withdrawn.
    pub rest: Option<Duration>,
}

impl View {
    /// How many partitions are in a state.
    pub fn count(&self, is: impl Fn(&PartitionState) -> bool) -> usize {
        let states = self.partitions.iter().map(|partition| &partition.state);
        states.filter(|state| is(state)).count()
    }
}

impl Directory {
    /// Everything that is known, at this moment. It takes time and memory for each partition.
    #[must_use]
    pub fn view(&self, now: Instant) -> View {
        let handoffs = self.handoffs(now);
        let partitions = self.partitions(now, &handoffs);
        let head = self.history.head.as_ref();
        let of = head.map_or(0, |head| head.partitions as usize);
        let assemblies = self.split.iter();
        let incomplete = assemblies.filter_map(|(worker, assembly)| incomplete(worker, assembly));
        let unreadable = self.history.unreadable.iter().cloned().chain(incomplete);
        let mut generations = self.history.entries.clone();
        generations.sort_unstable_by_key(|entry| entry.version);
        View {
            complete: self.contact.is_complete(),
            as_of: self.as_of(),
            loss: self.loss.clone(),
            leading: head.map(|head| Leading {
                term: head.term,
                leader: head.leader.as_ref().map(|leader| leader.worker.clone()),
                lasting: self.term.map_or(Duration::ZERO, |(_, at)| now.since(at)),
                version: head.version,
            }),
            workers: self.workers(now),
            nameless: of.saturating_sub(partitions.len()),
            partitions,
            handoffs,
            requests: self.requests(now),
            generations,
            unreadable: unreadable.collect(),
        }
    }

    /// What is asked; of pins each by itself.
    fn requests(&self, now: Instant) -> Vec<Request> {
        let rest = |end: Option<Instant>| end.map(|end| end.since(now));
        let requests = self
            .requests
            .ends()
            .filter(|((verb, _), ..)| *verb != Verb::Pin);
        let requests = requests.map(|((verb, worker), order, end)| Request {
            verb: *verb,
            worker: worker.clone(),
            wanted: None,
            author: order.control.author.clone(),
            reason: order.control.reason.clone(),
            lasting: now.since(order.seen),
            rest: rest(end),
        });
        let pins = self.requests.pins().map(|(pin, seen, end)| Request {
            verb: Verb::Pin,
            worker: pin.worker.clone(),
            wanted: Some((pin.partition.clone(), pin.once)),
            author: pin.author.clone(),
            reason: pin.reason.clone(),
            lasting: now.since(seen),
            rest: rest(end),
        });
        requests.chain(pins).collect()
    }

    fn workers(&self, now: Instant) -> Vec<WorkerView> {
        let mut ids: BTreeSet<&WorkerId> = self.history.sessions.keys().collect();
        ids.extend(self.sessions.keys());
        ids.extend(self.history.assignments.keys());
        let workers = ids.into_iter().map(|worker| {
            let record = self.history.assignments.get(worker);
            let session = self.history.sessions.get(worker);
            let version = record.map(|record| record.version);
            let applied = session.map(|session| session.applied).unwrap_or_default();
            let heard = self.sessions.get(worker);
            WorkerView {
                worker: worker.clone(),
                state: self.state(worker),
                session: session.cloned(),
                granted: record.map_or(0, |record| record.granted.len()),
                behind: version.filter(|version| *version > applied),
                silent: heard.map(|heard| now.since(heard.at)),
            }
        });
        workers.collect()
    }

    fn state(&self, worker: &WorkerId) -> SessionState {
        let key = session_key(worker);
        let is_readable = !self.history.unreadable.iter().any(|u| u.key == key);
        let session = self.history.sessions.get(worker);
        match (session, self.sessions.get(worker)) {
            (Some(session), Some(_)) if is_readable => SessionState::Known(session.status),
            (_, Some(heard)) if heard.class == SessionClass::Living => SessionState::OtherRelease,
            (_, Some(_)) => SessionState::OtherReleaseEnded,
            (_, None) if !is_readable => SessionState::Unreadable,
            (_, None) => SessionState::Missing,
        }
    }

    fn handoffs(&self, now: Instant) -> Vec<Handoff> {
        let mut handoffs = Vec::new();
        for (worker, record) in &self.history.assignments {
            for revoking in &record.revoking {
                if self.history.has_let_go(worker, record.epoch, revoking) {
                    continue;
                }
                let left = self.left.get(&revoking.partition);
                handoffs.push(Handoff {
                    partition: revoking.partition.clone(),
                    from: worker.clone(),
                    since: revoking.since,
                    hold_up: self.hold_up(worker, record.epoch, revoking),
                    lasting: left.map_or(Duration::ZERO, |left| now.since(left.at)),
                });
            }
        }
        handoffs
    }

    fn hold_up(&self, worker: &WorkerId, epoch: Epoch, revoking: &Revoking) -> HoldUp {
        let session = self.history.sessions.get(worker);
        match session.filter(|session| session.epoch == epoch) {
            None => HoldUp::NoSession,
            Some(session) if session.applied < revoking.since => HoldUp::NotApplied {
                applied: session.applied,
            },
            Some(_) => HoldUp::Draining,
        }
    }

    fn partitions(&self, now: Instant, handoffs: &[Handoff]) -> Vec<PartitionView> {
        let mut states = BTreeMap::new();
        for (key, parking) in self.parked() {
            states.insert(key, PartitionState::Parked(parking));
        }
        for (key, left) in &self.left {
            let is_new = !states.contains_key(key);
            if is_new {
                states.insert(key.clone(), self.without_owner(now, key, left));
            }
        }
        let mut waits: BTreeMap<&PartitionKey, Vec<WorkerId>> = BTreeMap::new();
        for handoff in handoffs {
            let waits_for = waits.entry(&handoff.partition).or_default();
            waits_for.push(handoff.from.clone());
        }
        for (key, waits_for) in waits {
            states.insert(key.clone(), PartitionState::Moving { waits_for });
        }
        for (key, token, holder) in self.owners().iter() {
            let worker = holder.worker.clone();
            let state = if holder.living {
                let version = holder.version;
                PartitionState::Owned {
                    worker,
                    token,
                    version,
                }
            } else {
                let heard = self.sessions.get(&worker);
                let ended = heard.and_then(|heard| heard.ended);
                PartitionState::Unowned {
                    lasting: ended.map_or(Duration::ZERO, |at| now.since(at)),
                    was: Some(worker),
                }
            };
            states.insert(key.clone(), state);
        }
        let views = states.into_iter();
        views
            .map(|(partition, state)| PartitionView { partition, state })
            .collect()
    }

    /// What is parked, as far as it is known by name.
    fn parked(&self) -> impl Iterator<Item = (PartitionKey, Parking)> {
        self.history.parked.iter().flat_map(|group| {
            let named = group.partitions.iter();
            named.map(|key| (key.clone(), Parking::of(group)))
        })
    }

    fn without_owner(&self, now: Instant, key: &PartitionKey, left: &Left) -> PartitionState {
        match self.history.parking(key) {
            Some(parking) => PartitionState::Parked(parking),
            None => PartitionState::Unowned {
                lasting: now.since(left.at),
                was: left.from.clone(),
            },
        }
    }
}
