//! The context every handler gets first: the time, the configuration, the randomness, the outbox.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::io::boot::Boot;
use crate::io::effect::Effect;
use crate::io::event::{OpId, OpOwner, WatchId};
use crate::io::notice::{FailedStep, Notice};
use crate::link::circuits::{Gate, StoreCircuit, WatchCircuit};
use crate::link::continuity::Continuity;
use crate::link::failing::Failing;
use crate::model::id::{Formats, Version};
use crate::model::rng::Rng;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{StoreError, StoreOp, StoreReply, WatchScope};
use crate::ports::strategy::PlanInput;
use crate::records::record::Record;
use crate::records::wire::{self, WireError};
use crate::resilience::breaker::{CallEnd, Circuit, CircuitState};

/// Everything about a core that is not its state machine.
#[derive(Clone, Debug)]
pub(crate) struct Env {
    pub(crate) config: Arc<Config>,
    pub(crate) boot: Boot,
    pub(crate) rng: Rng,
    pub(crate) out: VecDeque<Effect>,
    pub(crate) next_op: u64,
    pub(crate) next_watch: u64,
    pub(crate) ignored_records: u64,
    pub(crate) continuity: Continuity,
    pub(crate) store: StoreCircuit,
    pub(crate) watch: WatchCircuit,
    pub(crate) retries: u64,
    pub(crate) exhausted: u64,
    /// The format in which the group writes, as far as this process knows.
    pub(crate) format: u16,
    pub(crate) failing: Failing,
}

/// One step's view of the environment.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    env: &'a mut Env,
}

impl Env {
    pub(crate) fn new(config: Config, boot: Boot) -> Self {
        let rng = Rng::new(boot.seed);
        let (store, watch) = (StoreCircuit::new(&config), WatchCircuit::new(&config));
        let format = config.formats().newest;
        let mut continuity = Continuity::default();
        let right = config.max_lease();
        continuity.learn_lease(config.unless_planted(
            Planted::OwnQuarantine,
            right,
            config.lease(),
        ));
        let (config, out) = (Arc::new(config), VecDeque::new());
        Self {
            config,
            boot,
            rng,
            out,
            next_op: 0,
            next_watch: 0,
            ignored_records: 0,
            continuity,
            store,
            watch,
            retries: 0,
            exhausted: 0,
            format,
            failing: Failing::default(),
        }
    }

    pub(crate) fn cx(&mut self, now: Instant) -> Cx<'_> {
        Cx { now, env: self }
    }
}

#[cfg(test)]
impl Env {
    /// An environment for tests of one part, which need no process around it.
    pub(crate) fn for_tests(now: Instant, seed: u128, config: Config) -> Self {
        let boot = Boot {
            now,
            wall_ms: 0,
            seed,
            strategy: crate::ports::strategy::StrategyId::new("s"),
            software: String::new(),
        };
        Self::new(config, boot)
    }
}

impl Cx<'_> {
    pub(crate) fn config(&self) -> &Config {
        &self.env.config
    }

    /// The configuration by itself, for use beside the context.
    pub(crate) fn shared_config(&self) -> Arc<Config> {
        Arc::clone(&self.env.config)
    }

    /// Whether a test has planted this bug; never in production.
    pub(crate) fn planted(&self, bug: Planted) -> bool {
        self.env.config.planted(bug)
    }

    /// What is right, unless this bug is planted.
    pub(crate) fn unless_planted<T>(&self, bug: Planted, right: T, wrong: T) -> T {
        self.env.config.unless_planted(bug, right, wrong)
    }

    pub(crate) fn boot(&self) -> &Boot {
        &self.env.boot
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.env.rng
    }

    /// The wall clock, extrapolated from the one the driver gave at the start.
    pub(crate) fn wall_ms(&self) -> u64 {
        let boot = &self.env.boot;
        let elapsed = self.now.since(boot.now).as_millis();
        boot.wall_ms
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    pub(crate) fn store(&mut self, owner: OpOwner, request: StoreOp) -> OpId {
        let op = self.op(owner);
        self.env.continuity.on_request(op, &request);
        let (now, before) = (self.now, self.env.store.state());
        self.env.store.sent(op, now);
        self.env.out.push_back(Effect::Store { op, request });
        self.tell_change(Circuit::Store, before, self.env.store.state());
        op
    }

    /// Whether this owner may ask the store now.
    pub(crate) fn gate(&self, owner: OpOwner) -> Gate {
        self.env.store.gate(owner, self.now)
    }

    /// Whether requests pass without restriction.
    pub(crate) fn store_is_sound(&self) -> bool {
        self.env.store.state() == CircuitState::Closed
    }

    /// Whether the circuit of the store is open.
    pub(crate) fn store_is_out(&self) -> bool {
        self.env.store.state() == CircuitState::Open
    }

    /// A request was answered, whoever asked.
    pub(crate) fn answered(&mut self, op: OpId, result: &Result<StoreReply, StoreError>) {
        let (now, before) = (self.now, self.env.store.state());
        self.env.store.answered(op, now, result);
        self.tell_change(Circuit::Store, before, self.env.store.state());
    }

    /// A request was carried out although no answer has come: what it wrote was seen.
    pub(crate) fn proved(&mut self, op: OpId) {
        let (now, before) = (self.now, self.env.store.state());
        self.env.store.proved(op, now);
        self.tell_change(Circuit::Store, before, self.env.store.state());
    }

    /// Whether there have been more failures of late than retries can be paid for.
    pub(crate) fn is_short_of_retries(&self) -> bool {
        self.env.store.is_short()
    }

    /// Whether a retry may follow quickly; if not, it must wait as long as it can.
    pub(crate) fn may_hurry(&mut self) -> bool {
        self.env.store.spend()
    }

    /// A request will be tried again.
    pub(crate) fn note_retry(&mut self, owner: OpOwner, tries: u32, pause: Duration) {
        self.env.retries += 1;
        self.notify(Notice::Retry {
            owner,
            tries,
            pause,
        });
    }

    /// A step has failed as often as it may be tried.
    pub(crate) fn note_exhausted(&mut self, owner: OpOwner, tries: u32) {
        self.env.exhausted += 1;
        self.notify(Notice::RetriesExhausted { owner, tries });
    }

    /// When a watch may be begun; `None`: at once.
    pub(crate) fn watch_opens_at(&self) -> Option<Instant> {
        self.env.watch.opens_at(self.now)
    }

    /// Whether the circuit of the watch is closed.
    pub(crate) fn watch_is_sound(&self) -> bool {
        self.env.watch.state() == CircuitState::Closed
    }

    /// The watch gave a sign of life, or ended.
    pub(crate) fn saw_watch(&mut self, end: CallEnd) {
        let (now, before) = (self.now, self.env.watch.state());
        self.env.watch.saw(now, end);
        self.tell_change(Circuit::Watch, before, self.env.watch.state());
    }

    fn tell_change(&mut self, circuit: Circuit, from: CircuitState, to: CircuitState) {
        if from != to {
            self.notify(Notice::CircuitChanged { circuit, from, to });
        }
    }

    pub(crate) fn list_partitions(&mut self) -> OpId {
        let op = self.op(OpOwner::Leader);
        self.env.out.push_back(Effect::ListPartitions { op });
        op
    }

    /// Lists the partitions to compare them with the group's.
    pub(crate) fn list_to_compare(&mut self) -> OpId {
        let op = self.op(OpOwner::Reconcile);
        self.env.out.push_back(Effect::ListPartitions { op });
        op
    }

    pub(crate) fn plan(&mut self, input: PlanInput) -> OpId {
        let op = self.op(OpOwner::Leader);
        self.env.out.push_back(Effect::Plan { op, input });
        op
    }

    pub(crate) fn watch(&mut self, scope: WatchScope) -> WatchId {
        self.env.next_watch += 1;
        let id = WatchId(self.env.next_watch);
        self.env.out.push_back(Effect::Watch { id, scope });
        id
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.env.out.push_back(effect);
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.env.failing.on_notice(self.now, &notice);
        self.push(Effect::Notify(notice));
    }

    /// A step succeeded that may have been failing.
    pub(crate) fn step_done(&mut self, step: FailedStep) {
        self.env.failing.done(step);
    }

    /// The steps that fail.
    pub(crate) fn failing(&mut self) -> &mut Failing {
        &mut self.env.failing
    }

    /// A record that changes nothing is counted and named: it may be a foreign hand's.
    pub(crate) fn ignore(&mut self, key: String, reason: String) {
        self.env.ignored_records += 1;
        self.notify(Notice::RecordIgnored { key, reason });
    }

    /// What this process knows of the bucket's history.
    pub(crate) fn continuity(&mut self) -> &mut Continuity {
        &mut self.env.continuity
    }

    /// As [`Cx::continuity`], only to look at.
    pub(crate) fn history(&self) -> &Continuity {
        &self.env.continuity
    }

    /// Something was read that is old, or is of an earlier history: the store is to be asked.
    pub(crate) fn suspect(&mut self) {
        let (now, interval) = (self.now, self.env.config.heartbeat_interval());
        self.env.continuity.suspect(now, interval);
    }

    /// A version was seen.
    pub(crate) fn learn(&mut self, version: Version) {
        self.env.continuity.learn(version);
    }

    /// The formats of records that this process reads.
    pub(crate) fn formats(&self) -> Formats {
        self.env.config.formats()
    }

    /// The format to write: that of the group, if this process can write it.
    pub(crate) fn format(&self) -> u16 {
        self.formats().nearest(self.env.format)
    }

    /// The group was found to write in a format.
    pub(crate) fn adopt_format(&mut self, format: u16) {
        self.env.format = format;
    }

    /// The bytes of a record that everybody in the group can read.
    pub(crate) fn encode(&self, record: &Record) -> Vec<u8> {
        wire::encode_as(self.format(), record)
    }

    /// The record in these bytes.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Record, WireError> {
        wire::decode_as(self.formats(), bytes)
    }

    /// The highest version seen by this process, in any history, or told of by a session.
    pub(crate) fn known(&self) -> Version {
        self.env.continuity.known()
    }

    /// A lease that somebody relies on was seen.
    pub(crate) fn learn_lease(&mut self, lease: Duration, drift_ppm: u32) {
        let lasts = self.env.config.outlasts(lease, drift_ppm);
        if !self.planted(Planted::OwnQuarantine) {
            self.env.continuity.learn_lease(lasts);
        }
    }

    /// How long anybody may rely on a lease of a history that is gone: the longest ever seen, and no
    /// less than the longest that the group allows.
    pub(crate) fn longest_lease(&self) -> Duration {
        let longest = self.env.continuity.longest_lease();
        longest.max(self.env.config.lease())
    }

    /// The number the next request and the next watch exceed.
    pub(crate) fn forget_history(&mut self) {
        let (op, watch) = (self.env.next_op, self.env.next_watch);
        self.env.continuity.forget(op, watch);
    }

    fn op(&mut self, owner: OpOwner) -> OpId {
        self.env.next_op += 1;
        OpId {
            owner,
            seq: self.env.next_op,
        }
    }
}
