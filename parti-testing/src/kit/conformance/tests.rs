//! The suite holds the in-memory store to the contract, and finds stores that break it.

use super::*;
use crate::kit::memory_store::MemoryStore;
use async_trait::async_trait;
use parti_core::{Expect, StoreError, StoreOp, StoreReply, Watch, WatchEvent, WatchScope};

/// A fake that nobody checks is a second specification.
#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    let report = run(async || MemoryStore::new()).await;
    assert!(report.is_ok(), "{report}");
}

/// A way to break the contract.
#[derive(Clone, Copy, Debug)]
enum Defect {
    /// Conditions are ignored.
    Blind,
    /// Batches are applied write by write.
    Torn,
    /// Prefixes match without their last character.
    LoosePrefix,
    /// A watch of keys shows everything.
    LooseScope,
    /// Deletions are not shown by watches.
    NoTombstones,
}

struct Broken(MemoryStore, Defect);

#[async_trait]
impl Store for Broken {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        match (self.1, op) {
            (Defect::Blind, StoreOp::Commit { mut writes }) => {
                writes
                    .iter_mut()
                    .for_each(|write| write.expect = Expect::Any);
                self.0.execute(StoreOp::Commit { writes }).await
            }
            (Defect::Torn, StoreOp::Commit { writes }) if writes.len() > 1 => {
                let mut all = Vec::new();
                for write in writes {
                    let one = StoreOp::Commit {
                        writes: vec![write],
                    };
                    if let StoreReply::Committed { revisions } = self.0.execute(one).await? {
                        all.extend(revisions);
                    }
                }
                Ok(StoreReply::Committed { revisions: all })
            }
            (Defect::LoosePrefix, StoreOp::List { mut prefix }) => {
                prefix.pop();
                self.0.execute(StoreOp::List { prefix }).await
            }
            (_, op) => self.0.execute(op).await,
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        match self.1 {
            Defect::LooseScope => self.0.watch(WatchScope::All).await,
            Defect::NoTombstones => Ok(Box::new(Filtered(self.0.watch(scope).await?))),
            Defect::Blind | Defect::Torn | Defect::LoosePrefix => self.0.watch(scope).await,
        }
    }
}

struct Filtered(Box<dyn Watch>);

#[async_trait]
impl Watch for Filtered {
    async fn next(&mut self) -> WatchEvent {
        let event = self.0.next().await;
        if matches!(&event, WatchEvent::Entry(entry) if entry.value.is_none()) {
            return WatchEvent::Lost {
                reason: "a deletion was lost".to_owned(),
            };
        }
        event
    }
}

/// A suite that passes everything proves nothing: each defect must be found by the case about it.
#[tokio::test]
async fn each_defect_is_found_by_a_case_about_it() {
    let table = [
        (
            Defect::Blind,
            "of many concurrent updates from one revision exactly one succeeds",
        ),
        (
            Defect::Torn,
            "a batch with one broken expectation changes nothing",
        ),
        (Defect::LoosePrefix, "a prefix ends where it says"),
        (Defect::LooseScope, "a watch of keys shows these keys only"),
        (
            Defect::NoTombstones,
            "a deletion comes as an entry without a value",
        ),
    ];
    for (defect, name) in table {
        let report = run(async || Broken(MemoryStore::new(), defect)).await;
        let found: Vec<_> = report.failed.iter().map(|failed| failed.name).collect();
        assert!(found.contains(&name), "{defect:?}: {report}");
        assert!(!report.is_ok());
    }
}

/// A backend that hangs must fail a case and not the whole suite.
#[tokio::test]
async fn a_future_that_never_ends_is_given_up() {
    let never = core::future::pending::<()>();
    assert_eq!(timer::within(Duration::from_millis(20), never).await, None);
    let soon = timer::within(Duration::from_secs(60), async { 7 }).await;
    assert_eq!(soon, Some(7));
}
