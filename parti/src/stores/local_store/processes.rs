//! Who of the workers of one process is there: what probes find out over a store in memory.
//!
//! A worker that was dropped answers no more, as a process that was killed. One that is blocked still does:
//! nobody but itself could tell.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use parti_core::{Answering, Liveness, Nonce, ProbeAnswer, StoreError};

/// The sessions that are answered for. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes(Arc<Mutex<BTreeSet<Nonce>>>);

impl Processes {
    fn sessions(&self) -> MutexGuard<'_, BTreeSet<Nonce>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Liveness for Processes {
    async fn answer(&self, session: Nonce) -> Result<Box<dyn Answering>, StoreError> {
        self.sessions().insert(session);
        let processes = self.clone();
        Ok(Box::new(LocalAnswering { session, processes }))
    }

    async fn ask(&self, session: Nonce, _: Duration) -> ProbeAnswer {
        if self.sessions().contains(&session) {
            ProbeAnswer::Alive
        } else {
            ProbeAnswer::Nobody
        }
    }
}

struct LocalAnswering {
    session: Nonce,
    processes: Processes,
}

#[async_trait]
impl Answering for LocalAnswering {
    async fn run(&mut self) -> String {
        pending().await
    }
}

impl Drop for LocalAnswering {
    fn drop(&mut self) {
        self.processes.sessions().remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that was dropped has to look dead, or its partitions wait for its lease.
    #[tokio::test]
    async fn a_session_is_answered_for_until_its_worker_is_dropped() {
        let processes = Processes::default();
        let (session, others) = (Nonce::new(1), processes.clone());
        let within = Duration::from_secs(1);
        assert_eq!(others.ask(session, within).await, ProbeAnswer::Nobody);
        let answering = processes.answer(session).await.expect("it can");
        assert_eq!(others.ask(session, within).await, ProbeAnswer::Alive);
        drop(answering);
        assert_eq!(others.ask(session, within).await, ProbeAnswer::Nobody);
    }
}
