//! What the manager's tests share: a handler that records, and a condition to wait for.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti::clock::Clock;
use parti::events::{ManagerNotice, Subscription};
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{
    Config, ConfigBuilder, Guard, HandlerError, Manager, ManagerBuilder, PartitionHandler,
    PartitionKey, Preset, RevokeCause, Token, async_trait,
};

/// What a recording handler does beside recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It returns at once.
    Prompt,
    /// `on_assigned` panics for partitions whose last key part is this.
    PanicOnAssigned(&'static str),
    /// `on_revoked` panics.
    PanicOnRevoked,
    /// `on_revoked` never returns.
    HangOnRevoked,
    /// `on_assigned` never returns.
    HangOnAssigned,
}

/// What all handlers of a test saw together.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The guards that were given out last, by partition and handler.
    pub(crate) open: BTreeMap<(PartitionKey, &'static str), Guard>,
    pub(crate) assigned: usize,
    pub(crate) revoked: Vec<(PartitionKey, RevokeCause)>,
    /// The tokens of the ownerships that ended, and whether their guards were valid when told so.
    pub(crate) ended: Vec<(Token, bool)>,
    /// Assignments that began while somebody else's guard was still valid.
    pub(crate) overlaps: usize,
    /// Assignments whose token was not larger than the last one of the partition.
    pub(crate) stale_tokens: usize,
    last_token: BTreeMap<PartitionKey, u64>,
}

/// A handler that writes down its callbacks in a record shared with others.
#[derive(Clone)]
pub(crate) struct Recorder {
    name: &'static str,
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
}

impl Recorder {
    pub(crate) fn new(name: &'static str) -> Self {
        let (behaviour, seen) = (Behaviour::Prompt, Arc::default());
        Self {
            name,
            behaviour,
            seen,
        }
    }

    /// Another handler with the same record.
    pub(crate) fn beside(&self, name: &'static str) -> Self {
        let seen = Arc::clone(&self.seen);
        Self {
            name,
            seen,
            ..*self
        }
    }

    pub(crate) fn behaving(self, behaviour: Behaviour) -> Self {
        Self { behaviour, ..self }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PartitionHandler for Recorder {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        let token = guard.token().get();
        {
            let mut seen = self.seen();
            let others = seen.open.iter().filter(|((key, name), guard)| {
                key == partition && *name != self.name && guard.is_valid()
            });
            let overlaps = others.count();
            seen.overlaps += overlaps;
            seen.assigned += 1;
            seen.open.insert((partition.clone(), self.name), guard);
            let last = seen.last_token.insert(partition.clone(), token);
            seen.stale_tokens += usize::from(last.is_some_and(|last| token <= last));
        }
        match self.behaviour {
            Behaviour::PanicOnAssigned(part) if partition.parts().last() == Some(part) => {
                panic!("boom")
            }
            Behaviour::HangOnAssigned => std::future::pending().await,
            Behaviour::PanicOnAssigned(_)
            | Behaviour::Prompt
            | Behaviour::PanicOnRevoked
            | Behaviour::HangOnRevoked => {}
        }
        Ok(())
    }

    async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause) {
        {
            let mut seen = self.seen();
            seen.revoked.push((partition.clone(), cause));
            seen.ended.push((guard.token(), guard.is_valid()));
        }
        match self.behaviour {
            Behaviour::PanicOnRevoked => panic!("boom"),
            Behaviour::HangOnRevoked => std::future::pending().await,
            Behaviour::Prompt | Behaviour::PanicOnAssigned(_) | Behaviour::HangOnAssigned => {}
        }
    }
}

/// The fast timings for a group of `expected` workers.
pub(crate) fn fast(expected: u32) -> ConfigBuilder {
    Config::builder("test")
        .preset(Preset::Fast)
        .expected_workers(expected)
}

/// A manager in virtual time on a store in memory.
pub(crate) fn manager(
    config: ConfigBuilder,
    store: &LocalStore,
    partitions: u32,
    handler: &Recorder,
) -> ManagerBuilder {
    let config = config.build().expect("coherent");
    let source = StaticSource::numbered("p", partitions).expect("valid");
    Manager::builder(config, source, handler.clone())
        .store(store.clone())
        .clock(Clock::tokio())
}

/// Waits until a condition holds; panics naming it when it takes longer than `limit`.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(limit, waiting).await;
    assert!(waited.is_ok(), "not within {limit:?}: {what}");
}

/// Waits for a notice.
pub(crate) async fn heard(
    subscription: &mut Subscription,
    wanted: impl Fn(&ManagerNotice) -> bool,
) -> Arc<ManagerNotice> {
    let waiting = async {
        loop {
            let notice = subscription.next().await.expect("the manager goes on");
            if wanted(&notice) {
                return notice;
            }
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, waiting)
        .await
        .expect("the notice comes")
}
