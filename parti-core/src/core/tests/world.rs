//! A small world for scripted scenarios: cores, one store that answers at once, virtual time.
//!
//! It has no faults of its own; a script plants them. Random faults are the simulator's business.

mod effects;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Config, ConfigBuilder};
use crate::core::Core;
use crate::core::tests::deal::{Rule, deal, deal_by};
use crate::io::boot::Boot;
use crate::io::effect::{Effect, RevokeCause};
use crate::io::event::{Event, OpOwner, WatchId};
use crate::io::grant::Grant;
use crate::io::notice::Notice;
use crate::model::id::{Nonce, Revision, Token, WorkerId};
use crate::model::partition::{Partition, PartitionKey};
use crate::model::preparation::Preparation;
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::ports::liveness::ProbeAnswer;
use crate::ports::source::SourceError;
use crate::ports::store::{
    Entry, Expect, StoreError, StoreErrorKind, StoreFault, WatchEvent, WatchScope, Write,
};
use crate::ports::strategy::{Plan, PlanError, StrategyId};

mod preparing;
mod store;

/// One process.
pub(super) struct Node {
    pub(super) core: Core,
    watches: BTreeMap<WatchId, WatchScope>,
    /// What it processes, and with which token.
    pub(super) held: BTreeMap<PartitionKey, Token>,
    pub(super) notices: Vec<Notice>,
    pub(super) revoked: Vec<(PartitionKey, RevokeCause)>,
    /// It does not run: nothing reaches it and nothing leaves it.
    pub(super) cut_off: bool,
    /// Its watches have fallen silent.
    pub(super) watch_silent: bool,
    /// What it reads to compare with its watch does not arrive.
    pub(super) blind: bool,
    /// What came while it did not run.
    backlog: Vec<Event>,
    /// Revoked partitions are kept back until told otherwise.
    pub(super) slow: bool,
    pub(super) kept_back: Vec<Grant>,
    /// What it gets ready for, until that is taken up or withdrawn.
    pub(super) preparing: BTreeMap<PartitionKey, Preparation>,
    /// What it was told to get ready for, and what not any more.
    pub(super) warmth: Vec<String>,
    /// The session it answers probes for.
    pub(super) answers_for: Option<Nonce>,
    /// What it asks is answered like this, whatever is true.
    pub(super) told: Option<ProbeAnswer>,
    /// The same, for what it asks others than itself.
    pub(super) told_of_others: Option<ProbeAnswer>,
}

/// Everything.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) last: Revision,
    /// Every write, in order.
    pub(super) log: Vec<Entry>,
    pub(super) partitions: Vec<Partition>,
    inbox: VecDeque<(usize, Event)>,
    /// Commits per key since the last look.
    pub(super) commits: BTreeMap<String, usize>,
    /// Every plan: when, and why.
    pub(super) plans: Vec<(Instant, Cause)>,
    /// Every committed generation that evicted somebody: when, and whom.
    pub(super) evictions: Vec<(Instant, WorkerId)>,
    /// The partition source fails like this.
    pub(super) source_fails: Option<SourceError>,
    pub(super) source_hangs: bool,
    /// How often the partition source was asked.
    pub(super) listings: usize,
    /// Answers to listings and plans never arrive.
    pub(super) answers_lost: bool,
    /// The strategy fails.
    pub(super) plans_fail: bool,
    /// Plans take until they are let go.
    pub(super) plans_wait: bool,
    waiting: Vec<(usize, Event)>,
    /// Who may own what; everybody everything if there is no rule.
    pub(super) rule: Option<Rule>,
    /// What a faulty strategy does to a plan.
    pub(super) spoil: fn(&mut Plan),
    /// The most writes of a commit.
    pub(super) max_batch: usize,
    /// The most bytes of a value.
    pub(super) max_value: usize,
    pub(super) faults: Vec<StoreFault>,
    /// The store fails every request like this.
    pub(super) fails: Option<StoreErrorKind>,
    /// Only requests of these fail; empty: all.
    pub(super) fails_for: Vec<OpOwner>,
    /// Commits that evict this worker are refused, as if it had just renewed.
    pub(super) refuses_evictions_of: Option<WorkerId>,
    /// Who asked the store since the last look.
    pub(super) asked: Vec<OpOwner>,
    /// When the bucket was created, and how long ago it says that was.
    pub(super) created: u64,
    pub(super) age: Duration,
    /// Reads do not show the last so many writes.
    pub(super) lag: Option<u64>,
    /// There is no bucket.
    pub(super) missing: bool,
    /// Whether processes that are started prepare for partitions.
    pub(super) prepares: bool,
    /// The store can carry questions between processes.
    pub(super) answering: bool,
}

impl World {
    pub(super) fn new(partitions: u32) -> Self {
        let partition = |i: u32| Partition::new([alloc::format!("p-{i}")]).expect("valid key");
        Self {
            now: Instant::from_millis(1_000),
            nodes: Vec::new(),
            entries: BTreeMap::new(),
            last: Revision::ZERO,
            log: Vec::new(),
            partitions: (0..partitions).map(partition).collect(),
            inbox: VecDeque::new(),
            commits: BTreeMap::new(),
            plans: Vec::new(),
            evictions: Vec::new(),
            source_fails: None,
            source_hangs: false,
            listings: 0,
            answers_lost: false,
            plans_fail: false,
            plans_wait: false,
            waiting: Vec::new(),
            rule: None,
            spoil: |_| {},
            max_batch: 1_000,
            max_value: 1 << 20,
            faults: Vec::new(),
            fails: None,
            fails_for: Vec::new(),
            refuses_evictions_of: None,
            asked: Vec::new(),
            created: 1,
            age: Duration::MAX,
            lag: None,
            missing: false,
            prepares: false,
            answering: false,
        }
    }

    /// Starts a process with a configuration made from the defaults.
    pub(super) fn start(&mut self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> usize {
        let config = change(Config::builder("g")).build().expect("coherent");
        let boot = Boot {
            now: self.now,
            wall_ms: 1_700_000_000_000,
            seed: self.nodes.len() as u128 + 1,
            strategy: StrategyId::new("deal/1"),
            software: "test".to_string(),
            endpoint: None,
            prepares: self.prepares,
        };
        self.nodes.push(Node {
            core: Core::new(config, boot),
            watches: BTreeMap::new(),
            held: BTreeMap::new(),
            notices: Vec::new(),
            revoked: Vec::new(),
            cut_off: false,
            watch_silent: false,
            blind: false,
            backlog: Vec::new(),
            slow: false,
            kept_back: Vec::new(),
            preparing: BTreeMap::new(),
            warmth: Vec::new(),
            answers_for: None,
            told: None,
            told_of_others: None,
        });
        let node = self.nodes.len() - 1;
        self.tell(node, Event::Start);
        node
    }

    /// Passes an event to a node and lets the world settle at this moment.
    pub(super) fn tell(&mut self, node: usize, event: Event) {
        self.inbox.push_back((node, event));
        self.settle();
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until a key has just been written.
    pub(super) fn run_until_written(&mut self, key: &str) {
        self.commits.remove(key);
        while !self.commits.contains_key(key) {
            assert!(
                self.step(self.now + Duration::from_secs(60)),
                "nobody does anything"
            );
        }
    }

    /// Goes on to the next deadline, unless that is later than `end`.
    fn step(&mut self, end: Instant) -> bool {
        let due = self.nodes.iter().filter(|node| !node.cut_off);
        let next = due
            .filter_map(|node| node.core.poll_timeout())
            .map(|wake| wake.at)
            .min();
        let Some(at) = next.filter(|&at| at <= end) else {
            return false;
        };
        self.now = self.now.max(at);
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            if !node.cut_off && node.core.poll_timeout().is_some_and(|w| w.at <= self.now) {
                node.core.handle_timeout(self.now);
                self.drain(index);
            }
        }
        self.settle();
        true
    }

    /// Goes on with a process that did not run; what came meanwhile arrives now, in order.
    pub(super) fn resume(&mut self, node: usize) {
        self.nodes[node].cut_off = false;
        for event in core::mem::take(&mut self.nodes[node].backlog) {
            self.inbox.push_back((node, event));
        }
        self.settle();
    }

    /// Ends the watches of a node, as a store does that restarts.
    pub(super) fn lose_watches(&mut self, node: usize) {
        for id in core::mem::take(&mut self.nodes[node].watches).into_keys() {
            let reason = "the store restarts".to_string();
            let event = WatchEvent::Lost { reason };
            self.inbox.push_back((node, Event::Watch { id, event }));
        }
        self.settle();
    }

    /// A write by somebody outside of the group.
    pub(super) fn plant(&mut self, key: &str, value: &[u8]) {
        self.write_from_outside(key, Some(value.to_vec()));
    }

    /// A removal by somebody outside of the group, or by the store itself.
    pub(super) fn erase(&mut self, key: &str) {
        self.write_from_outside(key, None);
    }

    fn write_from_outside(&mut self, key: &str, value: Option<Vec<u8>>) {
        let (key, expect) = (key.to_string(), Expect::Any);
        self.commit(&[Write { key, value, expect }])
            .expect("applies");
        self.settle();
    }

    /// The present watches of a node deliver nothing any more, and nobody is told.
    pub(super) fn silence_watches(&mut self, node: usize) {
        self.nodes[node].watches.clear();
    }

    /// Everything a node keeps back is released.
    pub(super) fn let_go(&mut self, node: usize) {
        self.nodes[node].slow = false;
        let grants = core::mem::take(&mut self.nodes[node].kept_back);
        for grant in &grants {
            self.nodes[node].held.remove(&grant.partition);
        }
        self.tell(node, Event::Released { grants });
    }

    /// Plans that were waited for are ready. How many there were.
    pub(super) fn let_plans_go(&mut self) -> usize {
        self.plans_wait = false;
        let waiting = core::mem::take(&mut self.waiting);
        let ready = waiting.len();
        self.inbox.extend(waiting);
        self.settle();
        ready
    }

    fn settle(&mut self) {
        while let Some((index, event)) = self.inbox.pop_front() {
            let node = &mut self.nodes[index];
            if node.cut_off {
                node.backlog.push(event);
                continue;
            }
            let compares =
                matches!(&event, Event::Store { op, .. } if op.owner() == OpOwner::Reconcile);
            let watches = matches!(event, Event::Watch { .. });
            if node.watch_silent && watches || node.blind && compares {
                continue;
            }
            self.nodes[index].core.handle(self.now, event);
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(effect) = self.nodes[index].core.poll_effect() {
            self.perform(index, effect);
        }
        if let Some(wake) = self.nodes[index].core.poll_timeout() {
            assert!(
                wake.at > self.now,
                "{wake:?} is not later than {}",
                self.now
            );
        }
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Store { op, request } => {
                self.asked.push(op.owner());
                let concerned = self.fails_for.is_empty() || self.fails_for.contains(&op.owner());
                let result = match self.fails.filter(|_| concerned) {
                    Some(kind) => Err(StoreError::new(kind, "scripted")),
                    None => self.execute(&request),
                };
                self.inbox.push_back((index, Event::Store { op, result }));
            }
            Effect::Watch { id, scope } => self.watch(index, id, scope),
            Effect::Unwatch { id } => {
                self.nodes[index].watches.remove(&id);
            }
            Effect::ListPartitions { op } => {
                self.listings += 1;
                let failed = self.source_fails.clone();
                let result = failed.map_or_else(|| Ok(self.partitions.clone()), Err);
                if !self.answers_lost && !self.source_hangs {
                    self.inbox
                        .push_back((index, Event::Partitions { op, result }));
                }
            }
            Effect::Plan { .. } if self.answers_lost => {}
            Effect::Plan { op, input } => {
                let failed = Err(PlanError::failed("scripted"));
                let result = if self.plans_fail {
                    failed
                } else {
                    let mut plan = self
                        .rule
                        .map_or_else(|| deal(&input), |r| deal_by(&input, r));
                    (self.spoil)(&mut plan);
                    Ok(plan)
                };
                let planned = (index, Event::Planned { op, result });
                if self.plans_wait {
                    self.waiting.push(planned);
                } else {
                    self.inbox.push_back(planned);
                }
            }
            Effect::Prepare { preparations } => self.prepare(index, preparations),
            Effect::Withdraw { preparations } => self.withdraw(index, preparations),
            Effect::Assign { grants } => {
                for grant in grants {
                    self.nodes[index].preparing.remove(&grant.partition);
                    let before = self.nodes[index].held.insert(grant.partition, grant.token);
                    assert_eq!(before, None, "assigned before it was released");
                }
            }
            Effect::Revoke { grants, cause } => self.revoke(index, grants, cause),
            Effect::Answer { session } => {
                self.nodes[index].answers_for = session;
                if let (Some(session), true) = (session, self.answering) {
                    let event = Event::Answering { session };
                    self.inbox.push_back((index, event));
                }
            }
            Effect::Probe { probe, .. } => self.probe(index, probe),
            Effect::Notify(notice) => self.note(index, notice),
        }
    }
}
