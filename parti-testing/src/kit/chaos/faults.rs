//! The faults of each worker as values, and when a message of it arrives.
//!
//! It is separate from the stores because it decides and they wait. What always holds: the same
//! seed and the same sequence of messages of a worker give the same fates.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Blocked, ChaosError, ChaosInjector, Share};
use crate::kit::random::Random;

/// The way a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Request,
    Answer,
}

/// What becomes of a message that is sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Arrives(Instant),
    Lost,
}

/// Whether a way is cut now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Open,
    Blocked,
}

#[derive(Debug)]
pub(super) struct Control {
    seed: u64,
    workers: Mutex<BTreeMap<String, Worker>>,
    changing: Arc<Changing>,
}

#[derive(Debug)]
struct Worker {
    faults: Faults,
    random: Random,
    lanes: [Lane; 2],
}

#[derive(Clone, Debug, Default)]
struct Faults {
    delay: Duration,
    jitter: Duration,
    lost: Share,
    repeated: Share,
    reorder: Duration,
    each: Duration,
    cut: Option<Blocked>,
}

/// How often the faults have changed. Those who wait are woken in their order, which a watch channel does
/// not promise: the same run would go another way.
#[derive(Debug, Default)]
struct Changing {
    count: AtomicU64,
    told: Notify,
}

impl Changing {
    fn tell(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.told.notify_waiters();
    }
}

/// Hears of every change of the faults.
pub(super) struct Changes {
    changing: Arc<Changing>,
    seen: u64,
}

impl Changes {
    /// Waits for the next change that was not heard of.
    pub(super) async fn changed(&mut self) {
        let mut told = pin!(self.changing.told.notified());
        told.as_mut().enable();
        if self.changing.count.load(Ordering::Acquire) == self.seen {
            told.await;
        }
        self.seen = self.changing.count.load(Ordering::Acquire);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// When the last message arrives; later ones do not overtake it.
    last: Option<Instant>,
    /// Until when the way is taken by a slow message.
    taken: Option<Instant>,
}

impl Control {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            workers: Mutex::default(),
            changing: Arc::default(),
        }
    }

    /// Makes a worker known; harmless when it is.
    pub(super) fn add(&self, name: &str) {
        let worker = || Worker {
            faults: Faults::default(),
            random: Random::new(self.seed, name),
            lanes: [Lane::default(); 2],
        };
        self.lock().entry(name.to_owned()).or_insert_with(worker);
    }

    /// Tells of every change of the faults.
    pub(super) fn changes(&self) -> Changes {
        Changes {
            seen: self.changing.count.load(Ordering::Acquire),
            changing: Arc::clone(&self.changing),
        }
    }

    /// What becomes of a message of the worker.
    pub(super) fn send(&self, name: &str, way: Way) -> Sent {
        let mut workers = self.lock();
        match workers.get_mut(name) {
            Some(worker) => worker.send(way, Instant::now()),
            None => Sent::Arrives(Instant::now()),
        }
    }

    pub(super) fn passage(&self, name: &str, way: Way) -> Passage {
        let workers = self.lock();
        let cut = workers.get(name).and_then(|worker| worker.faults.cut);
        let holds = cut.is_some_and(|cut| match way {
            Way::Request => cut.holds_requests(),
            Way::Answer => cut.holds_answers(),
        });
        if holds {
            Passage::Blocked
        } else {
            Passage::Open
        }
    }

    /// Whether the worker knows that it is cut off, so that it does not send at all. Some clients
    /// notice soon, some late.
    pub(super) fn notices_cut(&self, name: &str) -> bool {
        let mut workers = self.lock();
        workers.get_mut(name).is_some_and(|worker| {
            let cut = worker.faults.cut.is_some_and(Blocked::holds_requests);
            cut && worker.draw(Share(25))
        })
    }

    /// Whether an event of a watch is repeated.
    pub(super) fn is_repeated(&self, name: &str) -> bool {
        let mut workers = self.lock();
        workers
            .get_mut(name)
            .is_some_and(|worker| worker.draw(worker.faults.repeated))
    }

    /// Whether what was held by a cut is lost: its connection broke in the meantime, or not.
    pub(super) fn is_lost_by_cut(&self, name: &str) -> bool {
        let mut workers = self.lock();
        workers
            .get_mut(name)
            .is_some_and(|worker| worker.draw(Share(50)))
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Faults)) -> Result<(), ChaosError> {
        let mut workers = self.lock();
        let Some(worker) = workers.get_mut(name) else {
            let known = workers.keys().cloned().collect();
            let worker = name.to_owned();
            return Err(ChaosError::UnknownWorker { worker, known });
        };
        change(&mut worker.faults);
        drop(workers);
        self.changing.tell();
        Ok(())
    }

    /// No panic leaves the faults half changed, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChaosInjector for Control {
    fn delay_messages(
        &self,
        worker: &str,
        delay: Duration,
        jitter: Duration,
    ) -> Result<(), ChaosError> {
        self.change(worker, |faults| {
            (faults.delay, faults.jitter) = (delay, jitter)
        })
    }

    fn drop_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError> {
        self.change(worker, |faults| faults.lost = share)
    }

    fn duplicate_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError> {
        self.change(worker, |faults| faults.repeated = share)
    }

    fn reorder_messages(&self, worker: &str, within: Duration) -> Result<(), ChaosError> {
        self.change(worker, |faults| faults.reorder = within)
    }

    fn slow_down_worker(&self, worker: &str, each: Duration) -> Result<(), ChaosError> {
        self.change(worker, |faults| faults.each = each)
    }

    fn partition_network(&self, workers: &[String], cut: Blocked) -> Result<(), ChaosError> {
        for worker in workers {
            self.change(worker, |_| {})?;
        }
        workers
            .iter()
            .try_for_each(|worker| self.change(worker, |faults| faults.cut = Some(cut)))
    }

    fn heal(&self) {
        for worker in self.lock().values_mut() {
            worker.faults = Faults::default();
            worker.lanes = [Lane::default(); 2];
        }
        self.changing.tell();
    }
}

impl Worker {
    fn send(&mut self, way: Way, now: Instant) -> Sent {
        if self.draw(self.faults.lost) {
            return Sent::Lost;
        }
        let mut due = now + self.faults.delay + self.random.part_of(self.faults.jitter);
        let overtaking = self.random.part_of(self.faults.reorder);
        let Faults { each, reorder, .. } = self.faults;
        let lane = &mut self.lanes[way as usize];
        if reorder.is_zero() {
            due = lane.last.map_or(due, |last| due.max(last));
        } else {
            due += overtaking;
        }
        if !each.is_zero() {
            due = lane.taken.map_or(due, |taken| due.max(taken)) + each;
            lane.taken = Some(due);
        }
        lane.last = Some(due);
        Sent::Arrives(due)
    }

    fn draw(&mut self, share: Share) -> bool {
        match share {
            Share::NONE => false,
            Share::ALL => true,
            Share(percent) => self.random.below(100) < u64::from(percent),
        }
    }
}
