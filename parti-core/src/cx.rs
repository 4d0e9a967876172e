//! The context every handler gets first: the time, the configuration, the randomness, the outbox.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;

use crate::config::Config;
use crate::continuity::Continuity;
use crate::core::Boot;
use crate::effect::Effect;
use crate::event::{OpId, OpOwner, WatchId};
use crate::id::Version;
use crate::notice::Notice;
use crate::rng::Rng;
use crate::store::{StoreOp, WatchScope};
use crate::strategy::PlanInput;
use crate::time::Instant;

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
}

/// One step's view of the environment.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    env: &'a mut Env,
}

impl Env {
    pub(crate) fn new(config: Config, boot: Boot) -> Self {
        let rng = Rng::new(boot.seed);
        let (config, out) = (Arc::new(config), VecDeque::new());
        Self {
            config,
            boot,
            rng,
            out,
            next_op: 0,
            next_watch: 0,
            ignored_records: 0,
            continuity: Continuity::default(),
        }
    }

    pub(crate) fn cx(&mut self, now: Instant) -> Cx<'_> {
        Cx { now, env: self }
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
        self.env.out.push_back(Effect::Store { op, request });
        op
    }

    pub(crate) fn list_partitions(&mut self) -> OpId {
        let op = self.op(OpOwner::Leader);
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
        self.push(Effect::Notify(notice));
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

    /// The highest version seen by this process, in any history, or told of by a session.
    pub(crate) fn known(&self) -> Version {
        self.env.continuity.known()
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
