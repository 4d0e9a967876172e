//! The store in memory stands its outages, and a wrong one does not.

use std::collections::VecDeque;

use parti_core::Entry;

use super::*;
use crate::kit::chaos::{Blocked, ChaosInjector, FaultyStore, FaultyStores};
use crate::kit::memory_store::MemoryStore;

/// What a store does wrong over an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    /// A crash loses everything.
    Forgets,
    /// An outage is told as a refusal.
    FalseRefusal,
}

struct MemoryRig {
    memory: MemoryStore,
    chaos: FaultyStores,
    store: FaultyStore,
    defect: Defect,
}

impl MemoryRig {
    fn new(defect: Defect) -> Self {
        let memory = MemoryStore::new();
        let chaos = FaultyStores::new(memory.clone(), 7);
        let chaos = chaos.request_timeout(Duration::from_millis(100));
        let store = chaos.worker("a");
        Self {
            memory,
            chaos,
            store,
            defect,
        }
    }
}

#[async_trait]
impl Rig for MemoryRig {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn stop(&mut self) -> Result<(), Unable> {
        match self.defect {
            Defect::FalseRefusal => {
                let refused = StoreErrorKind::Refused;
                self.memory.fail_next(20, refused, false);
            }
            Defect::Forgets => self.memory.recreate(),
            Defect::None => self.memory.lose_watches(),
        }
        self.memory.set_unavailable(true);
        Ok(())
    }

    async fn start(&mut self) -> Result<(), Unable> {
        self.memory.set_unavailable(false);
        Ok(())
    }

    async fn freeze(&mut self) -> Result<(), Unable> {
        let cut = self
            .chaos
            .partition_network(&["a".to_owned()], Blocked::Both);
        cut.map_err(|error| Unable::Failed(error.to_string()))
    }

    async fn thaw(&mut self) -> Result<(), Unable> {
        self.chaos.heal();
        Ok(())
    }

    async fn recreate(&mut self) -> Result<(), Unable> {
        self.memory.recreate();
        Ok(())
    }
}

/// The fake must stand what real stores are put through, or nobody can test outages with it.
#[tokio::test]
async fn the_memory_store_keeps_the_contract_over_outages() {
    let report = run_outages(async || MemoryRig::new(Defect::None)).await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.skipped.len(), 1, "it has no replicas: {report:?}");
}

/// A suite that passes everything proves nothing.
#[tokio::test]
async fn a_store_that_forgets_or_lies_about_an_outage_is_found() {
    for (defect, part) in [
        (Defect::Forgets, "acknowledged before a crash"),
        (Defect::FalseRefusal, "is not refused"),
    ] {
        let report = run_outages(async || MemoryRig::new(defect)).await;
        let found = report
            .failed
            .iter()
            .any(|failed| failed.name.contains(part));
        assert!(found, "{defect:?}: {report}");
    }
}

struct Told(VecDeque<WatchEvent>);

#[async_trait]
impl Watch for Told {
    async fn next(&mut self) -> WatchEvent {
        let reason = "the tale is over".to_owned();
        self.0.pop_front().unwrap_or(WatchEvent::Lost { reason })
    }
}

/// A gap that is not noticed here is noticed by a worker that keeps what was taken from it.
#[tokio::test]
async fn a_watch_that_hides_a_key_over_an_outage_is_found() {
    let shown = |key: &str, revision| {
        WatchEvent::Entry(Entry {
            at_ms: 0,
            key: key.to_owned(),
            revision: Revision::new(revision),
            value: None,
        })
    };
    let lost = || WatchEvent::Lost {
        reason: "cut".to_owned(),
    };
    let tales = [
        (vec![shown("a", 4), shown("b", 5)], true),
        (vec![shown("b", 4), shown("a", 5)], true),
        (vec![shown("b", 4), lost()], true),
        (vec![shown("b", 5)], false),
    ];
    for (tale, fine) in tales {
        let mut watch = Told(tale.clone().into());
        let verdict = no_gap(&mut watch, &["a", "b"], Revision::new(5)).await;
        assert_eq!(verdict.is_ok(), fine, "{tale:?}");
    }
}
