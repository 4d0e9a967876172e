//! What users provide to a driver: callbacks, a partition source, a strategy, each with its faults.
//!
//! What always holds: every revocation is released exactly once, every listing and every plan is
//! answered exactly once, however badly it goes.

use core::time::Duration;

use parti_core::{
    Event, Grant, Instant, NO_OWNER, OpId, PlanError, PlanInput, RevokeCause, SourceError,
};

use crate::simulator::checks::leading::terms_change::SOURCE_DOWN;
use crate::simulator::checks::{Fact, Planning, Process, Revoked};
use crate::simulator::group::node::Holding;
use crate::simulator::group::queue::Item;
use crate::simulator::group::world::World;
use crate::simulator::plans::dice::{Purpose, Roll};

impl World<'_> {
    pub(super) fn list_partitions(&mut self, process: Process, op: OpId) {
        let node = usize::from(process.node);
        let number = self.nodes[node].next_message();
        let roll = self.dice.roll(Purpose::Source, node as u64, number);
        let down = self.now < self.source_down_until;
        let result = if down {
            Err(SourceError::Unavailable(SOURCE_DOWN.to_owned()))
        } else if roll.ppm(self.faults.source_fail_ppm) {
            Err(SourceError::Unavailable("simulated".to_owned()))
        } else if roll.again().again().ppm(self.faults.source_duplicate_ppm) {
            self.judge.situations.count("source_duplicate");
            let list = &self.list;
            Ok(list.iter().chain(list.first()).cloned().collect())
        } else {
            Ok(self.list.clone())
        };
        let at = self.now + roll.again().exponential(Duration::from_millis(1));
        self.queue.push(
            at,
            Item::Deliver {
                process,
                event: Event::Partitions { op, result },
            },
        );
    }

    /// How long a plan takes in this group.
    pub(in crate::simulator) const fn plan_time(&self) -> Duration {
        Duration::from_millis(self.plan.settings.plan_ms)
    }

    pub(super) fn compute_plan(
        &mut self,
        process: Process,
        local: Instant,
        op: OpId,
        input: PlanInput,
    ) {
        let node = usize::from(process.node);
        let running = self.nodes[node].process(process);
        let number = running.map_or(0, |running| running.steps);
        let roll = self.dice.roll(Purpose::Strategy, node as u64, number);
        let mut result = self.strategy.plan(&input);
        if roll.ppm(self.faults.plan_fail_ppm) {
            result = Err(PlanError::Failed("simulated".to_owned()));
        }
        let mut owners = result.as_ref().ok().map(|plan| plan.owners.clone());
        if let Ok(plan) = &mut result
            && roll.again().ppm(self.faults.plan_wrong_ppm)
        {
            // What a faulty strategy says is not to be followed.
            owners = None;
            self.judge.situations.count("plan_wrong");
            match plan.owners.first_mut() {
                // Without an owner and not named, or named and with one.
                Some(owner) if roll.again().again().below(2) == 0 => {
                    *owner = if *owner == NO_OWNER { 0 } else { NO_OWNER };
                }
                Some(_) | None => plan.owners.push(0),
            }
        }
        let planning = Box::new(Planning {
            local,
            strategy: self.strategy.id(),
            input,
            owners,
        });
        let fact = Fact::Planned { process, planning };
        self.judge.observe(self.now, &fact);
        let time = self.plan_time();
        if time > Duration::ZERO {
            self.judge.situations.count("plan_slow");
        }
        let at = self.now + time.max(Duration::from_micros(50));
        self.queue.push(
            at,
            Item::Deliver {
                process,
                event: Event::Planned { op, result },
            },
        );
    }

    /// Begins the callbacks: those that end together are told together, others each at its own time.
    pub(super) fn revoke(&mut self, process: Process, grants: Vec<Grant>, cause: RevokeCause) {
        let (now, node) = (self.now, usize::from(process.node));
        let number = self.nodes[node].next_message();
        let roll = self.dice.roll(Purpose::Callback, node as u64, number);
        let longest = Duration::from_millis(self.faults.callback_ms);
        let drain = self.nodes[node].config.drain_timeout();
        let mut given_up = now + drain;
        let mut dies = false;
        self.end_processing(process, &grants);
        if let Some(running) = self.nodes[node].process(process) {
            let clock = running.clock;
            given_up = clock.true_time(clock.local(now) + drain);
            dies = core::mem::take(&mut running.dies_in_callback);
            let held = grants
                .iter()
                .map(|g| (g.partition.clone(), Holding::Revoking));
            running.held.extend(held);
        }
        if dies {
            let at = now
                + roll
                    .again()
                    .duration(longest.max(Duration::from_millis(20)));
            self.queue.push(at, Item::Die { process });
        }
        let (mut quick, mut failed, mut hanging) = (Vec::new(), Vec::new(), Vec::new());
        let mut each = roll;
        for grant in &grants {
            each = each.again();
            match self.fate(each) {
                CallbackFate::Quick => quick.push(grant.clone()),
                CallbackFate::Fails => failed.push(grant.clone()),
                CallbackFate::Hangs => hanging.push(grant.clone()),
                CallbackFate::Slow => {
                    let at = now + each.again().duration(longest);
                    if at > given_up {
                        self.judge.situations.count("callback_slow");
                    }
                    self.release(at, process, vec![grant.clone()]);
                }
            }
        }
        let revoked = Revoked { grants, cause };
        self.judge.observe(now, &Fact::Revoke { process, revoked });
        for (name, grants) in [("callback_failed", &failed), ("callback_hung", &hanging)] {
            if !grants.is_empty() {
                self.judge.situations.count(name);
            }
        }
        let soon = now + roll.exponential(Duration::from_millis(1));
        self.release(soon, process, quick);
        // A callback that panics has ended at once, one that hangs when the driver gives up on it.
        self.release(now, process, failed);
        self.release(given_up, process, hanging);
    }

    fn fate(&self, roll: Roll) -> CallbackFate {
        let faults = &self.faults;
        let unusual = roll.again().again();
        if roll.ppm(faults.callback_slow_ppm) {
            CallbackFate::Slow
        } else if unusual.ppm(faults.callback_hang_ppm) {
            CallbackFate::Hangs
        } else if unusual.again().ppm(faults.callback_fail_ppm) {
            CallbackFate::Fails
        } else {
            CallbackFate::Quick
        }
    }

    fn release(&mut self, at: Instant, process: Process, grants: Vec<Grant>) {
        if !grants.is_empty() {
            self.queue.push(at, Item::Release { process, grants });
        }
    }
}

/// How a callback ends.
enum CallbackFate {
    Quick,
    Slow,
    Fails,
    Hangs,
}
