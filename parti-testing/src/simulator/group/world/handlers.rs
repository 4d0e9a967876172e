//! Handlers that cannot begin with a partition, on one node or on all, at once or after hanging.
//!
//! It is separate because the driver's side of it is played here: what fails is tried again after 1 s,
//! 2 s and so on up to a minute, and told to the core after as many failures as `parti` allows. What
//! always holds: what is told is about an ownership that goes on.

use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::{Event, Grant, Instant, ParkReason, PartitionKey, StopMode, Token};

use super::World;
use crate::simulator::checks::{Coverage, Process, Standing, Unfit};
use crate::simulator::group::node::{Input, Node};
use crate::simulator::group::queue::Item;
use crate::simulator::plans::plan::Action;

/// After how many failures the driver tells its core, as `ManagerBuilder::assign_attempts`.
const ATTEMPTS: u32 = 3;
/// How long such a number of failures takes, but for what hangs: pauses of 1 s and of 2 s.
const TOLD_AFTER: Duration = Duration::from_secs(3);
/// The longest pause between two attempts.
const LONGEST_PAUSE: u64 = 60;

/// A partition that cannot be begun.
#[derive(Clone, Debug)]
struct Broken {
    key: PartitionKey,
    /// Where; `None`: everywhere.
    node: Option<usize>,
    until: Instant,
    /// How long each attempt takes to fail.
    hangs: Duration,
}

/// What handlers cannot do, and what they are trying.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Handlers {
    broken: Vec<Broken>,
    /// Ownerships that could not be begun so far, and how often that failed.
    trying: BTreeMap<(Process, PartitionKey), (Token, u32)>,
    /// What each process was given last, and under which token.
    given: BTreeMap<(Process, PartitionKey), Token>,
}

impl Handlers {
    /// How long an attempt takes to fail; `None` if it does not.
    pub(in crate::simulator) fn failing(
        &self,
        now: Instant,
        node: usize,
        key: &PartitionKey,
    ) -> Option<Duration> {
        let here = |broken: &&Broken| {
            broken.key == *key && now < broken.until && broken.node.is_none_or(|at| at == node)
        };
        self.broken.iter().find(here).map(|broken| broken.hangs)
    }
}

impl World<'_> {
    /// What users provide fails, or users replace a leader.
    pub(super) fn fail_users(&mut self, action: &Action) {
        self.break_handler(action);
        if let Action::SourceDown { for_ms } = *action {
            self.judge.situations.count("source_down");
            self.source_down_until = for_ms.map_or(Instant::FAR_FUTURE, |for_ms| {
                self.now + Duration::from_millis(for_ms)
            });
        }
        if let Action::ReplaceLeader { rejoin_ms } = *action {
            let leads = |node: &Node| {
                let running = node.running.as_ref();
                running.is_some_and(|running| running.core.status().is_leader)
            };
            if let Some(node) = self.nodes.iter().position(leads) {
                self.judge.situations.count("leader_replaced");
                let rejoin = Some(Duration::from_millis(rejoin_ms));
                self.stop(node, StopMode::Handoff, rejoin);
            }
        }
    }

    /// An action on a handler takes effect.
    fn break_handler(&mut self, action: &Action) {
        let Action::BreakHandler {
            node,
            partition,
            for_ms,
            hangs_ms,
        } = *action
        else {
            return;
        };
        // What a node has is more worth breaking than what it may get some day.
        let given = self.handlers.given.keys();
        let has = |process: &Process| node.is_none_or(|node| usize::from(process.node) == node);
        let held: Vec<_> = given.filter(|(process, _)| has(process)).collect();
        let chosen = (partition as usize).checked_rem(held.len());
        let Some((_, key)) = chosen.and_then(|index| held.get(index)) else {
            return;
        };
        let key = key.clone();
        let until = for_ms.map_or(Instant::FAR_FUTURE, |ms| {
            self.now + Duration::from_millis(ms)
        });
        let hangs = Duration::from_millis(hangs_ms);
        self.handlers.broken.push(Broken {
            key: key.clone(),
            node,
            until,
            hangs,
        });
        // As if its `on_assigned` had not come to an end yet.
        let given = self.handlers.given.iter();
        let given = given.filter(|((process, held), _)| has(process) && *held == key);
        let given: Vec<(Process, Token)> = given.map(|((p, _), token)| (*p, *token)).collect();
        for (process, token) in given {
            let partition = key.clone();
            self.try_to_begin(process, Grant { partition, token });
        }
    }

    /// What is repaired with the other faults: everything that does not last for ever.
    pub(in crate::simulator) fn repair_handlers(&mut self) {
        let lasts = |broken: &Broken| broken.until == Instant::FAR_FUTURE;
        for broken in &mut self.handlers.broken {
            if !lasts(broken) {
                broken.until = broken.until.min(self.now);
            }
        }
    }

    /// How long it may take until everybody who cannot process a partition has said so.
    pub(in crate::simulator) fn handlers_time(&self) -> Duration {
        let longest = self.handlers.broken.iter().map(|broken| broken.hangs).max();
        let Some(hangs) = longest else {
            return Duration::ZERO;
        };
        let config = self.nodes.iter().map(|node| &node.config);
        let handoff = config.map(|config| {
            config.drain_timeout() + config.heartbeat_interval() * 4 + config.operation_timeout()
        });
        let each = TOLD_AFTER + hangs * ATTEMPTS + self.plan_time() * 2;
        let each = each + handoff.max().unwrap_or_default();
        each * (self.nodes.len() as u32 + 1)
    }

    /// Handlers are asked to begin.
    pub(in crate::simulator) fn begin_processing(&mut self, process: Process, grants: &[Grant]) {
        for grant in grants {
            let place = (process, grant.partition.clone());
            self.handlers.given.insert(place, grant.token);
            self.try_to_begin(process, grant.clone());
        }
    }

    fn try_to_begin(&mut self, process: Process, grant: Grant) {
        let (now, node) = (self.now, usize::from(process.node));
        let failing = self.handlers.failing(now, node, &grant.partition);
        if let Some(hangs) = failing {
            self.judge.situations.count("handler_failed");
            let place = (process, grant.partition.clone());
            self.handlers.trying.insert(place, (grant.token, 0));
            self.queue
                .push(now + hangs, Item::Attempt { process, grant });
        }
    }

    /// Partitions are taken away: nothing is tried any more.
    pub(in crate::simulator) fn end_processing(&mut self, process: Process, grants: &[Grant]) {
        for grant in grants {
            let place = (process, grant.partition.clone());
            self.handlers.trying.remove(&place);
            self.handlers.given.remove(&place);
        }
    }

    /// A process is gone, and with it what it had.
    pub(in crate::simulator) fn forget_handlers(&mut self, process: Process) {
        self.handlers.trying.retain(|(by, _), _| *by != process);
        self.handlers.given.retain(|(by, _), _| *by != process);
    }

    /// An attempt to begin is over.
    pub(in crate::simulator) fn attempt(&mut self, process: Process, grant: Grant) {
        let (now, node) = (self.now, usize::from(process.node));
        let place = (process, grant.partition.clone());
        let lives = self.nodes[node].process(process).is_some();
        let failing = self.handlers.failing(now, node, &grant.partition);
        let Some((token, failures)) = self.handlers.trying.get_mut(&place) else {
            return;
        };
        if *token != grant.token || !lives {
            return;
        }
        let told = *failures >= ATTEMPTS;
        *failures += 1;
        let failures = *failures;
        let Some(hangs) = failing else {
            self.handlers.trying.remove(&place);
            if told {
                self.judge.situations.count("handler_repaired");
                self.tell_processing(process, grant, None);
            }
            return;
        };
        let pause = 1_u64.checked_shl(failures - 1).unwrap_or(LONGEST_PAUSE);
        let at = now + Duration::from_secs(pause.min(LONGEST_PAUSE)) + hangs;
        let again = grant.clone();
        self.queue.push(
            at,
            Item::Attempt {
                process,
                grant: again,
            },
        );
        if failures >= ATTEMPTS {
            self.tell_processing(process, grant, Some("simulated".to_owned()));
        }
    }

    fn tell_processing(&mut self, process: Process, grant: Grant, failing: Option<String>) {
        let event = Event::Processing { grant, failing };
        self.input(process, Input::Event(event));
    }

    /// What cannot be processed now, by whom, and who could.
    pub(in crate::simulator) fn note_unfit(&self, coverage: &mut Coverage) {
        let pools = self.plan.settings.pools;
        let keys = self.list.iter().map(|partition| &partition.key);
        for key in keys.filter(|key| self.handlers.broken.iter().any(|b| b.key == **key)) {
            let mut unfit = Unfit::default();
            let name = key.parts().next().unwrap_or_default();
            for worker in &coverage.workers {
                let node = usize::from(worker.process.node);
                if self.handlers.failing(self.now, node, key).is_some() {
                    unfit.failing.insert(worker.process);
                    continue;
                }
                let burdened = |(process, other): &(Process, PartitionKey)| {
                    *process == worker.process && worker.held.contains(other)
                };
                let may = pools.allow(name, self.plan.nodes[node].pool) && worker.capacity > 0;
                let core = worker.standing == Standing::Core;
                if core && may && !self.handlers.trying.keys().any(burdened) {
                    unfit.able.insert(worker.process);
                }
            }
            let parked = coverage.stored.parked.iter().any(|group| {
                group.reason == ParkReason::FailedEverywhere && group.partitions.contains(key)
            });
            if parked || unfit.able.is_empty() {
                // Whatever waits for its next try may wait, and be tried at any time.
                coverage.homeless.insert(key.clone());
                coverage.restless = true;
            }
            coverage.unfit.insert(key.clone(), unfit);
        }
    }
}
