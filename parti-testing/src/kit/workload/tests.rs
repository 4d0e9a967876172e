//! The stores of the test kit stand up to random workloads under faults, and wrong ones do not.

use async_trait::async_trait;
use parti_core::{StoreError, Watch};

use super::*;
use crate::kit::chaos::{Blocked, ChaosInjector, FaultyStores, Share};
use crate::kit::history::{Batches, Promise, Reads, Tally, check};
use crate::kit::memory_store::MemoryStore;
use crate::simulator::{Manner, SimulatedStore};

const STRICT: Promise = Promise {
    reads: Reads::Fresh,
    batches: Batches::Consecutive,
};

fn handles(store: &(impl Store + Clone), count: usize) -> Vec<Arc<dyn Store>> {
    let handle = || Arc::new(store.clone()) as Arc<dyn Store>;
    std::iter::repeat_with(handle).take(count).collect()
}

fn seeded(seed: u64) -> WorkloadOptions {
    WorkloadOptions {
        seed,
        ..WorkloadOptions::default()
    }
}

/// The fake is what most tests of workers run on; it must never show what a real store cannot.
#[tokio::test(start_paused = true)]
async fn the_memory_store_is_accepted_without_faults() {
    for seed in 0..5 {
        let clients = handles(&MemoryStore::new(), 4);
        let history = run(clients, seeded(seed), async {}).await.expect("settles");
        assert!(history.len() > 500, "{}", history.len());
        assert_eq!(check(&history, STRICT), [], "seed {seed}");
    }
}

/// Millions of simulated runs rest on its store, and it must make use of what the port allows.
#[tokio::test(start_paused = true)]
async fn the_simulated_store_is_accepted_also_when_it_is_reluctant() {
    let mut stale = 0;
    for seed in 0..5 {
        let clients = handles(&SimulatedStore::new(Manner::Prompt), 4);
        let history = run(clients, seeded(seed), async {}).await.expect("settles");
        assert_eq!(check(&history, STRICT), [], "seed {seed}");
        let clients = handles(&SimulatedStore::new(Manner::Reluctant { seed }), 4);
        let history = run(clients, seeded(seed), async {}).await.expect("settles");
        let batches = Batches::Consecutive;
        let reads = Reads::MayBeStale;
        assert_eq!(
            check(&history, Promise { reads, batches }),
            [],
            "seed {seed}"
        );
        stale += check(&history, STRICT).len();
    }
    assert!(stale > 100, "it is not reluctant: {stale}");
}

/// Faults make outcomes unknown and late; none of it may look like a broken store.
#[tokio::test(start_paused = true)]
async fn the_faulty_store_is_accepted_under_every_fault() {
    let (mut unknown, mut not_sent) = (0, 0);
    for seed in 0..5 {
        let chaos = FaultyStores::new(MemoryStore::new(), seed);
        let chaos = chaos.request_timeout(Duration::from_millis(200));
        let names: Vec<_> = (0..4).map(|number| format!("c{number}")).collect();
        let clients = names
            .iter()
            .map(|name| Arc::new(chaos.worker(name)) as Arc<dyn Store>);
        let clients = clients.collect();
        let faults = inject(&chaos, &names);
        let history = run(clients, seeded(seed), faults).await.expect("settles");
        let tally = Tally::from(&history);
        unknown += tally.unknown;
        not_sent += tally.not_sent;
        let batches = Batches::Consecutive;
        let reads = Reads::MayBeStale;
        assert_eq!(
            check(&history, Promise { reads, batches }),
            [],
            "seed {seed}"
        );
    }
    let enough = unknown >= 20 && not_sent >= 5;
    assert!(enough, "the faults did little: {unknown} {not_sent}");
}

async fn inject(chaos: &FaultyStores, names: &[String]) {
    let (some, ms) = (Share::percent(20).expect("a share"), Duration::from_millis);
    for (number, name) in names.iter().enumerate() {
        let cut = [Blocked::Both, Blocked::Requests, Blocked::Replies][number % 3];
        chaos.delay_messages(name, ms(20), ms(150)).expect("known");
        chaos.duplicate_messages(name, some).expect("known");
        sleep(ms(300)).await;
        chaos.reorder_messages(name, ms(100)).expect("known");
        chaos.drop_messages(name, some).expect("known");
        sleep(ms(300)).await;
        chaos
            .partition_network(&names[..=number], cut)
            .expect("known");
        sleep(ms(500)).await;
        chaos.heal();
        sleep(ms(200)).await;
    }
}

/// The same seed on the same store in paused time is the same history: a seed is a bug report.
#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_history() {
    let mut histories = Vec::new();
    for seed in [3, 3, 4] {
        let clients = handles(&MemoryStore::new(), 3);
        histories.push(run(clients, seeded(seed), async {}).await.expect("settles"));
    }
    assert_eq!(histories[0], histories[1]);
    assert_ne!(histories[0], histories[2]);
}

/// A way in which a store is wrong.
#[derive(Clone, Copy, Debug)]
enum Defect {
    /// Conditions are ignored.
    Blind,
    /// A failure is told although it happened.
    FalseRefusal,
    /// Batches are applied write by write, and the rest is given up after a broken expectation.
    Torn,
    /// Deletions are not shown by watches.
    NoTombstones,
    /// Lists leave out a key.
    ShortLists,
}

#[derive(Clone)]
struct Broken(MemoryStore, Defect);

#[async_trait]
impl Store for Broken {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        match (self.1, op) {
            (Defect::Blind, StoreOp::Commit { mut writes }) => {
                let all = writes.iter_mut();
                all.for_each(|write| write.expect = Expect::Any);
                self.0.execute(StoreOp::Commit { writes }).await
            }
            (Defect::FalseRefusal, op @ StoreOp::Commit { .. }) => {
                let reply = self.0.execute(op).await?;
                let StoreReply::Committed { revisions } = &reply else {
                    return Ok(reply);
                };
                if revisions[0].get() % 10 == 0 {
                    let refused = StoreError::new(StoreErrorKind::Refused, "it is not true");
                    return Err(refused);
                }
                Ok(reply)
            }
            (Defect::Torn, StoreOp::Commit { writes }) => {
                let mut all = Vec::new();
                for write in writes {
                    let writes = vec![write];
                    if let StoreReply::Committed { revisions } =
                        self.0.execute(StoreOp::Commit { writes }).await?
                    {
                        all.extend(revisions);
                    }
                }
                Ok(StoreReply::Committed { revisions: all })
            }
            (Defect::ShortLists, op) => {
                let mut reply = self.0.execute(op).await?;
                if let StoreReply::Entries { entries, .. } = &mut reply {
                    entries.pop();
                }
                Ok(reply)
            }
            (_, op) => self.0.execute(op).await,
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        let watch = self.0.watch(scope).await?;
        match self.1 {
            Defect::NoTombstones => Ok(Box::new(Filtered(watch))),
            Defect::Blind | Defect::FalseRefusal | Defect::Torn | Defect::ShortLists => Ok(watch),
        }
    }
}

struct Filtered(Box<dyn Watch>);

#[async_trait]
impl Watch for Filtered {
    async fn next(&mut self) -> WatchEvent {
        loop {
            let event = self.0.next().await;
            if !matches!(&event, WatchEvent::Entry(entry) if entry.value.is_none()) {
                return event;
            }
        }
    }
}

/// A workload that meets no conflict finds nothing: each defect must show within two seconds.
#[tokio::test(start_paused = true)]
async fn each_defect_of_a_store_is_found_by_the_workload() {
    for defect in [
        Defect::Blind,
        Defect::FalseRefusal,
        Defect::Torn,
        Defect::NoTombstones,
        Defect::ShortLists,
    ] {
        let clients = handles(&Broken(MemoryStore::new(), defect), 4);
        let history = run(clients, seeded(1), async {}).await.expect("settles");
        assert_ne!(check(&history, STRICT), [], "{defect:?}");
    }
}
