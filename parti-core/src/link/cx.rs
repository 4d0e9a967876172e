//! The context every handler gets first: the time, the configuration, the randomness, the outbox.

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::io::boot::Boot;
use crate::io::effect::Effect;
use crate::io::event::{OpId, OpOwner, WatchId};
use crate::io::notice::{FailedStep, Notice};
use crate::link::Link;
use crate::link::circuits::Gate;
use crate::link::continuity::Continuity;
use crate::link::failing::Failing;
use crate::link::heard::Heard;
use crate::model::id::{Formats, Version};
use crate::model::rng::Rng;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Entry, StoreOp};
use crate::ports::strategy::PlanInput;
use crate::records::record::Record;
use crate::records::seen::Seen;
use crate::records::wire;
use crate::resilience::breaker::CircuitState;

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
    pub(crate) link: Link,
    pub(crate) retries: u64,
    pub(crate) exhausted: u64,
    /// The format in which the group writes, as far as this process knows.
    pub(crate) format: u16,
    pub(crate) failing: Failing,
}

/// One step's view of the environment.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(super) env: &'a mut Env,
}

impl Env {
    pub(crate) fn new(config: Config, boot: Boot) -> Self {
        let rng = Rng::new(boot.seed);
        let mut link = Link::new(&config, boot.now);
        let format = config.formats().newest;
        let right = config.max_lease();
        link.continuity.learn_lease(config.unless_planted(
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
            link,
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
            software: alloc::string::String::new(),
            endpoint: None,
            prepares: false,
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

    /// How the store is used, and how far it is trusted.
    pub(crate) fn link(&self) -> &Link {
        &self.env.link
    }

    pub(super) fn link_mut(&mut self) -> &mut Link {
        &mut self.env.link
    }

    /// How far the store is heard.
    pub(crate) fn heard(&self) -> Heard {
        self.env.link.heard(&self.env.config, self.now)
    }

    pub(crate) fn store(&mut self, owner: OpOwner, request: StoreOp) -> OpId {
        let (op, now) = (self.op(owner), self.now);
        self.env.link.continuity.on_request(op, &request);
        let before = self.env.link.requests.state();
        self.env.link.requests.sent(op, now);
        self.env.out.push_back(Effect::Store { op, request });
        self.on_requests(before);
        op
    }

    /// Whether this owner may ask the store now.
    pub(crate) fn gate(&self, owner: OpOwner) -> Gate {
        self.env.link.requests.gate(owner, self.now)
    }

    /// Whether requests pass without restriction.
    pub(crate) fn store_is_sound(&self) -> bool {
        self.env.link.requests.state() == CircuitState::Closed
    }

    /// Whether there have been more failures of late than retries can be paid for.
    pub(crate) fn is_short_of_retries(&self) -> bool {
        self.env.link.requests.is_short()
    }

    /// Whether a retry may follow quickly; if not, it must wait as long as it can.
    pub(crate) fn may_hurry(&mut self) -> bool {
        self.env.link.requests.spend()
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

    pub(super) fn next_watch(&mut self) -> WatchId {
        self.env.next_watch += 1;
        WatchId(self.env.next_watch)
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

    /// A record that changes nothing is counted and named: it may be an external writer's.
    pub(crate) fn ignore(&mut self, seen: &Seen<'_>, reason: &str) {
        self.env.ignored_records += 1;
        let (key, reason) = (seen.name().to_string(), reason.to_string());
        self.notify(Notice::RecordIgnored { key, reason });
    }

    /// What this process knows of the bucket's history.
    pub(crate) fn continuity(&mut self) -> &mut Continuity {
        &mut self.env.link.continuity
    }

    /// As [`Cx::continuity`], only to look at.
    pub(crate) fn history(&self) -> &Continuity {
        &self.env.link.continuity
    }

    /// Something was read that is old, or is of an earlier history: the store is to be asked.
    pub(crate) fn suspect(&mut self) {
        let (now, interval) = (self.now, self.env.config.heartbeat_interval());
        self.env.link.continuity.suspect(now, interval);
    }

    /// A version was seen.
    pub(crate) fn learn(&mut self, version: Version) {
        self.env.link.continuity.learn(version);
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

    /// An entry of the store, whose value is decoded when that is needed. The only door for them.
    pub(crate) fn seen<'e>(&self, entry: &'e Entry) -> Seen<'e> {
        Seen::new(self.formats(), entry)
    }

    /// The highest version seen by this process, in any history, or told of by a session.
    pub(crate) fn known(&self) -> Version {
        self.env.link.continuity.known()
    }

    /// A lease that somebody relies on was seen.
    pub(crate) fn learn_lease(&mut self, lease: Duration, drift_ppm: u32) {
        let lasts = self.env.config.outlasts(lease, drift_ppm);
        if !self.planted(Planted::OwnQuarantine) {
            self.env.link.continuity.learn_lease(lasts);
        }
    }

    /// How long anybody may rely on a lease of a history that is gone: the longest ever seen, and no
    /// less than the longest that the group allows.
    pub(crate) fn longest_lease(&self) -> Duration {
        let longest = self.env.link.continuity.longest_lease();
        longest.max(self.env.config.lease())
    }

    /// The number the next request and the next watch exceed.
    pub(crate) fn forget_history(&mut self) {
        let (op, watch) = (self.env.next_op, self.env.next_watch);
        self.env.link.continuity.forget(op, watch);
    }

    fn op(&mut self, owner: OpOwner) -> OpId {
        self.env.next_op += 1;
        OpId {
            owner,
            seq: self.env.next_op,
        }
    }
}
