//! The world's side of handlers: tells them what happens to their process and carries out what they
//! want.
//!
//! It is separate so that a world without handlers is read without them. What always holds: a run
//! without handlers is the same as if this file did not exist.

use std::collections::BTreeMap;

use parti_core::{Grant, PartitionKey, Preparation, RevokeCause};

use crate::simulator::app::{AppEvent, Apps, Call, Moment};
use crate::simulator::checks::{Coverage, Process};
use crate::simulator::group::node::Input;
use crate::simulator::group::queue::Item;
use crate::simulator::group::world::World;

impl World<'_> {
    /// Lets the handler of a process do something, if there are handlers.
    fn hosted(&mut self, process: Process, act: impl FnOnce(&mut Apps<'_>, &Moment<'_>)) {
        let node = &self.nodes[usize::from(process.node)];
        let running = node.running.as_ref();
        let running = running.filter(|running| running.process == process);
        let (Some(apps), Some(running)) = (&mut self.apps, running) else {
            return;
        };
        let moment = Moment {
            now: self.now,
            clock: running.clock,
            until: running.until,
            request_timeout: node.config.request_timeout(),
            faults: &self.faults,
            handlers: &self.handlers,
        };
        act(apps, &moment);
        self.carry_out_hosted();
    }

    fn carry_out_hosted(&mut self) {
        let Some(apps) = &mut self.apps else {
            return;
        };
        let out = core::mem::take(&mut apps.out);
        let now = self.now;
        for line in out.lines {
            self.judge.line(now, || Some(line));
        }
        self.judge.fold(out.digest);
        for (id, reason) in out.found {
            self.judge.report(now, id, reason);
        }
        for (at, process, event) in out.events {
            self.queue.push(at, Item::App { process, event });
        }
        for (at, call) in out.calls {
            self.queue.push(at, Item::Call { call });
        }
        for (process, grant) in out.released {
            let grants = vec![grant];
            self.queue.push(now, Item::Release { process, grants });
        }
        for (process, event) in out.told {
            self.queue.push(now, Item::Deliver { process, event });
        }
    }

    pub(in crate::simulator) fn begin_hosted(&mut self, process: Process) {
        if let Some(apps) = &mut self.apps {
            let node = &self.nodes[usize::from(process.node)];
            apps.begin(process, node.config.drain_timeout());
        }
    }

    pub(in crate::simulator) fn end_hosted(&mut self, process: Process) {
        if let Some(apps) = &mut self.apps {
            apps.end(process);
        }
    }

    pub(in crate::simulator) fn assign_hosted(&mut self, process: Process, grants: &[Grant]) {
        for grant in grants {
            self.hosted(process, |apps, at| apps.assign(at, process, grant.clone()));
        }
    }

    pub(in crate::simulator) fn prepare_hosted(
        &mut self,
        process: Process,
        preparations: Vec<Preparation>,
    ) {
        self.hosted(process, |apps, at| apps.prepare(at, process, preparations));
    }

    pub(in crate::simulator) fn withdraw_hosted(
        &mut self,
        process: Process,
        preparations: &[Preparation],
    ) {
        self.hosted(process, |apps, at| apps.withdraw(at, process, preparations));
    }

    /// Begins the callbacks of handlers; false when there are none, so that they are drawn instead.
    pub(in crate::simulator) fn revoke_hosted(
        &mut self,
        process: Process,
        grants: &[Grant],
        cause: RevokeCause,
    ) -> bool {
        for grant in grants {
            self.hosted(process, |apps, at| {
                apps.revoke(at, process, grant.clone(), cause)
            });
        }
        self.apps.is_some()
    }

    /// The core of a process has taken a step.
    pub(in crate::simulator) fn stepped_hosted(&mut self, process: Process) {
        if self.apps.is_some() {
            self.hosted(process, |apps, at| apps.stepped(at, process));
        }
    }

    pub(in crate::simulator) fn app_event(&mut self, process: Process, event: AppEvent) {
        self.input(process, Input::App(event));
    }

    pub(in crate::simulator) fn run_hosted(&mut self, process: Process, event: AppEvent) {
        self.hosted(process, |apps, at| apps.event(at, process, event));
    }

    pub(in crate::simulator) fn call_hosted(&mut self, call: Call) {
        if let Some(apps) = &mut self.apps {
            apps.arrive(self.now, call, &self.faults);
        }
        self.carry_out_hosted();
    }

    pub(in crate::simulator) fn due_hosted(&mut self) {
        if let Some(apps) = &mut self.apps {
            apps.due();
        }
        self.carry_out_hosted();
    }

    pub(in crate::simulator) fn over_hosted(&mut self, coverage: &Coverage) {
        let holders: BTreeMap<PartitionKey, Process> = coverage
            .workers
            .iter()
            .flat_map(|worker| worker.held.iter().map(|key| (key.clone(), worker.process)))
            .collect();
        if let Some(apps) = &mut self.apps {
            apps.over(&holders);
        }
        self.carry_out_hosted();
    }
}
