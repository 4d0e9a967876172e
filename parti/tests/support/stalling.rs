//! A store in memory some of whose answers never come.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti::async_trait;
use parti::store::{LocalStore, Store, StoreError};
use parti_core::{StoreOp, StoreReply, Watch, WatchScope};
use tokio::time::Instant;

/// What can be asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Get,
    List,
    Commit,
    Info,
    Watch,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Get, Self::List, Self::Commit, Self::Info, Self::Watch];

    const fn of(op: &StoreOp) -> Self {
        match op {
            StoreOp::Get { .. } => Self::Get,
            StoreOp::List { .. } => Self::List,
            StoreOp::Commit { .. } => Self::Commit,
            StoreOp::Info | StoreOp::Create => Self::Info,
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    /// The kinds whose requests get no answer, and how many more of them.
    silent: Vec<(Kind, usize)>,
    /// How long each of those was waited for, once it was given up.
    given_up: Vec<(Kind, Duration)>,
}

/// The store; clones share it. What is asked in silence is not carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalling {
    pub(crate) store: LocalStore,
    told: Arc<Mutex<Told>>,
}

impl Stalling {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// So many of the next requests of a kind get no answer.
    pub(crate) fn stall(&self, kind: Kind, count: usize) {
        self.told().silent.push((kind, count));
    }

    pub(crate) fn given_up(&self) -> Vec<(Kind, Duration)> {
        self.told().given_up.clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stall_if_told(&self, kind: Kind) {
        let stalls = {
            let mut told = self.told();
            let mut due = told.silent.iter_mut();
            let due = due.find(|(silent, count)| *silent == kind && *count > 0);
            due.is_some_and(|(_, count)| {
                *count -= 1;
                true
            })
        };
        if stalls {
            let _wait = Wait(self, kind, Instant::now());
            std::future::pending::<()>().await;
        }
    }
}

/// Notes how long it was waited for.
struct Wait<'a>(&'a Stalling, Kind, Instant);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waited = (self.1, self.2.elapsed());
        self.0.told().given_up.push(waited);
    }
}

#[async_trait]
impl Store for Stalling {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        self.stall_if_told(Kind::of(&op)).await;
        self.store.execute(op).await
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        self.stall_if_told(Kind::Watch).await;
        self.store.watch(scope).await
    }
}
