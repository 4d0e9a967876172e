//! Handlers that prepare for partitions: at once, slowly, never, or in vain.
//!
//! It is separate because the driver's side of it is played here: what does not return counts as ready
//! after its time. What always holds: each preparation is answered once, also one that was withdrawn,
//! since a word about it may be on its way.

use core::time::Duration;

use parti_core::{Event, Preparation};

use super::World;
use crate::simulator::checks::{Fact, Process};
use crate::simulator::group::queue::Item;
use crate::simulator::plans::dice::Purpose;

impl World<'_> {
    /// Whether handlers prepare for partitions.
    pub(in crate::simulator) const fn prepares(&self) -> bool {
        self.plan.settings.warmup.is_some()
    }

    /// How long it may take until everybody has got ready for everything.
    pub(in crate::simulator) fn warmup_time(&self) -> Duration {
        let Some(warmup) = &self.plan.settings.warmup else {
            return Duration::ZERO;
        };
        let config = self.nodes.iter().map(|node| &node.config);
        let handoff =
            config.map(|config| config.handoff_timeout() + config.heartbeat_interval() * 4);
        let each = Duration::from_millis(warmup.timeout_ms) + handoff.max().unwrap_or_default();
        let partitions = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let waves = warmup.max_moves.map_or(1, |most| partitions.div_ceil(most));
        each * waves.saturating_mul(2)
    }

    /// A core asks to get ready.
    pub(in crate::simulator) fn get_ready(
        &mut self,
        process: Process,
        preparations: Vec<Preparation>,
    ) {
        let told = Fact::Prepare {
            process,
            preparations: preparations.clone(),
        };
        self.judge.observe(self.now, &told);
        self.judge.situations.count("preparation");
        let Some(warmup) = self.plan.settings.warmup.clone() else {
            return;
        };
        for preparation in preparations {
            self.warmups += 1;
            let who = u64::from(process.node);
            let roll = self.dice.roll(Purpose::Warmup, who, self.warmups);
            let most = Duration::from_millis(warmup.timeout_ms);
            let (hangs, fails) = (roll.again(), roll.again().again());
            let takes = if hangs.ppm(warmup.hang_ppm) {
                self.judge.situations.count("preparation_hung");
                most
            } else {
                most.min(roll.duration(Duration::from_millis(warmup.ms)))
            };
            let fails = takes < most && self.healed_at.is_none() && fails.ppm(warmup.fail_ppm);
            let failing = fails.then(|| {
                self.judge.situations.count("preparation_failed");
                "simulated".to_owned()
            });
            let event = Event::Prepared {
                preparation,
                failing,
            };
            self.queue
                .push(self.now + takes, Item::Deliver { process, event });
        }
    }

    /// A core says that preparations are of no more use.
    pub(in crate::simulator) fn withdraw(
        &mut self,
        process: Process,
        preparations: Vec<Preparation>,
    ) {
        self.judge.situations.count("preparation_withdrawn");
        let told = Fact::Withdraw {
            process,
            preparations,
        };
        self.judge.observe(self.now, &told);
    }
}
