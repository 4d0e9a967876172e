//! What a plan does to the world at its time: crashes, pauses, cuts, requests of users.
//!
//! What always holds: an action on a node that is not there does nothing, since plans are shrunk and
//! edited.

use core::time::Duration;

use parti_core::{Event, Instant, RequestId, StopMode};

use super::{SUPERVISOR_DELAY, World};
use crate::simulator::checks::Fact;
use crate::simulator::group::drive::MOST_BUSY;
use crate::simulator::group::node::{Leaving, Slowness};
use crate::simulator::group::queue::Item;
use crate::simulator::plans::plan::{Action, Weights};
use crate::simulator::storage::network::Outage;

impl World<'_> {
    pub(super) fn act(&mut self, index: usize) {
        let action = &self.plan.actions[index].action;
        // Plans are shrunk and edited: an action on a node that is gone does nothing.
        if action.node().is_some_and(|node| node >= self.nodes.len()) {
            return;
        }
        self.judge
            .line(self.now, || Some(format!("plan: {action:?}")));
        let ms = Duration::from_millis;
        match *action {
            Action::Crash {
                node,
                down_ms,
                after_effects,
                in_callback,
            } => self.crash_at(node, ms(down_ms), after_effects, in_callback),
            Action::Pause { node, for_ms } => self.pause(node, ms(for_ms)),
            Action::Stop {
                node,
                leave,
                rejoin_ms,
            } => self.stop(node, leave.into(), rejoin_ms.map(ms)),
            Action::ClockJump { node } => {
                self.judge.situations.count("clock_jump");
                self.tell(node, Event::ClockJumped { by: None });
            }
            Action::LoseHistory { loss, for_ms } => {
                self.lose_history(loss, Duration::from_millis(for_ms));
            }
            Action::Outage { for_ms, answers } => self.cut_store_off(ms(for_ms), answers),
            Action::NetworkPartition {
                node,
                for_ms,
                requests,
                replies,
                watch,
            } => self.cut(node, ms(for_ms), [requests, replies, watch]),
            Action::Throttle { .. } | Action::LoseAnswers { .. } => self.hinder(action),
            Action::Suspend { node, for_ms } => self.suspend(node, ms(for_ms)),
            Action::ClockBack { node, by_ms, steps } => {
                if let Some(running) = &mut self.nodes[node].running {
                    running.step_back = Some((steps, ms(by_ms)));
                }
            }
            Action::Slow {
                node,
                for_ms,
                each_ms,
            } => self.slow_down(node, ms(for_ms), ms(each_ms)),
            Action::Stall { node, for_ms } => self.stall(node, ms(for_ms)),
            Action::Reconnect { node, for_ms } => self.disconnect(node, ms(for_ms)),
            Action::Deny { .. }
            | Action::StuckLeader { .. }
            | Action::SlowStore { .. }
            | Action::PayloadLimit { .. } => self.trouble_store(action),
            Action::BreakHandler { .. }
            | Action::SourceDown { .. }
            | Action::ReplaceLeader { .. } => self.fail_users(action),
            Action::ExternalWrite { write } => self.external_write(write),
            Action::Weigh { weights } => self.list_again(self.listed.0, self.listed.1, weights),
            Action::Partitions { first, count } => self.list_again(first, count, self.listed.2),
            Action::Refresh { node } => {
                let request = self.next_request();
                self.tell(node, Event::Refresh { request });
            }
            Action::Trigger { node } => {
                let request = self.next_request();
                self.tell(node, Event::Trigger { request });
            }
        }
    }

    fn cut_store_off(&mut self, length: Duration, answers: bool) {
        let until = self.now + length;
        self.outage = Some(Outage { until, answers });
        (0..self.nodes.len()).for_each(|node| self.break_watches(node));
    }

    fn crash_at(
        &mut self,
        node: usize,
        down: Duration,
        after_effects: Option<u32>,
        in_callback: bool,
    ) {
        match (&mut self.nodes[node].running, after_effects) {
            (Some(running), _) if in_callback => running.dies_in_callback = true,
            (Some(running), Some(_)) => running.dies_after = after_effects,
            (Some(_) | None, _) => self.crash(node, down),
        }
    }

    /// What goes wrong with commits, for a while.
    fn trouble_store(&mut self, action: &Action) {
        let until = |ms| self.now + Duration::from_millis(ms);
        if let Action::Deny { keys, for_ms, how } = *action {
            self.trouble.denied = Some((keys, how, until(for_ms)));
        }
        if let Action::StuckLeader { for_ms } = *action {
            self.trouble.stuck = Some((self.store.last_revision(), until(for_ms)));
        }
        if let Action::SlowStore { for_ms, longest_ms } = *action {
            self.trouble.slow = Some((Duration::from_millis(longest_ms), until(for_ms)));
        }
        if let Action::PayloadLimit { bytes, for_ms } = *action {
            self.store.limit_values(Some(bytes));
            self.queue.push(until(for_ms), Item::Unlimited);
        }
    }

    /// The source has another list and says so.
    fn list_again(&mut self, first: u32, count: u32, weights: Weights) {
        if weights != self.listed.2 {
            self.judge.situations.count("weights_changed");
        }
        self.listed = (first, count, weights);
        self.list = self.partitions();
        for node in 0..self.nodes.len() {
            self.tell(node, Event::SourceChanged);
        }
    }

    fn suspend(&mut self, node: usize, length: Duration) {
        if self.nodes[node].running.is_some() {
            let until = self.now + length;
            let at = &mut self.nodes[node];
            let from = at.suspended_until.max(self.now);
            at.suspended += until.since(from);
            at.suspended_until = until.max(from);
            self.pause(node, length);
        }
    }

    fn slow_down(&mut self, node: usize, length: Duration, each: Duration) {
        let until = self.now + length;
        let busy_until = self.nodes[node].slow.map(|slow| slow.busy_until);
        self.nodes[node].slow = Some(Slowness {
            until,
            each,
            busy_until: busy_until.unwrap_or(self.now),
        });
        self.put_off_leaving(node, length + MOST_BUSY);
    }

    fn put_off_leaving(&mut self, node: usize, length: Duration) {
        let running = &mut self.nodes[node].running;
        if let Some(leaving) = running.as_mut().and_then(|r| r.leaving.as_mut()) {
            leaving.by += length;
        }
    }

    fn stall(&mut self, node: usize, length: Duration) {
        let until = self.now + length;
        let at = &mut self.nodes[node];
        at.stalled_until = at.stalled_until.max(until);
    }

    fn disconnect(&mut self, node: usize, length: Duration) {
        let until = self.now + length;
        let at = &mut self.nodes[node];
        at.disconnected_until = at.disconnected_until.max(until);
        self.lose_watches(node, until);
    }

    /// Cuts the links for requests, replies and watch events, as chosen.
    fn cut(&mut self, node: usize, length: Duration, links: [bool; 3]) {
        let until = self.now + length;
        let mut cut = self.nodes.iter().map(|node| node.requests_cut_until);
        if links[0] && cut.any(|end| end > until) {
            self.judge.situations.count("network_partition_rolling");
        }
        let at = &mut self.nodes[node];
        let ends = [
            &mut at.requests_cut_until,
            &mut at.replies_cut_until,
            &mut at.watch_cut_until,
        ];
        for (end, _) in ends.into_iter().zip(links).filter(|(_, cut)| *cut) {
            *end = until.max(*end);
        }
        if links[2] {
            self.break_watches(node);
        }
    }

    /// The process of a node stands still and runs in turn, for so long or for ever.
    pub(in crate::simulator) fn throttle(
        &mut self,
        node: usize,
        length: Option<Duration>,
        pause: Duration,
    ) {
        self.judge.situations.count("throttled");
        let until = length.map_or(Instant::FAR_FUTURE, |length| self.now + length);
        self.nodes[node].throttled = Some((pause, until));
        self.queue.push(self.now, Item::Throttle { node });
    }

    pub(in crate::simulator) fn throttle_again(&mut self, node: usize) {
        let at = &self.nodes[node];
        let Some((pause, _)) = at.throttled.filter(|(_, until)| self.now < *until) else {
            return;
        };
        let run = at.config.heartbeat_interval() / 20;
        self.pause(node, pause);
        self.queue
            .push(self.now + pause + run, Item::Throttle { node });
    }

    /// What lets a process renew and do little else.
    fn hinder(&mut self, action: &Action) {
        let ms = Duration::from_millis;
        if let Action::LoseAnswers { node, for_ms } = *action {
            self.lose_answers(node, ms(for_ms));
        }
        if let Action::Throttle {
            node,
            for_ms,
            pause_ms,
        } = *action
        {
            self.throttle(node, Some(ms(for_ms)), ms(pause_ms));
        }
    }

    /// The watches of a node fall silent, and its reads are not answered.
    fn lose_answers(&mut self, node: usize, length: Duration) {
        self.judge.situations.count("answers_lost");
        let until = self.now + length;
        let at = &mut self.nodes[node];
        at.no_answers_until = until.max(at.no_answers_until);
        self.cut(node, length, [false, false, true]);
    }

    const fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Tells the process of a node something, if there is one.
    fn tell(&mut self, node: usize, event: Event) {
        if let Some(running) = &self.nodes[node].running {
            let process = running.process;
            self.deliver(process, event);
        }
    }

    pub(super) fn stop(&mut self, node: usize, mode: StopMode, rejoin: Option<Duration>) {
        let paused = self.nodes[node].paused_until.since(self.now);
        let config = &self.nodes[node].config;
        let slow = Duration::from_millis(self.faults.callback_ms);
        let callbacks = (config.drain_timeout() + slow) * 2;
        let late = config.request_timeout() * 4 + self.timer_lateness();
        let slow = self.nodes[node].slow.map_or(Duration::ZERO, |slow| {
            slow.until.max(slow.busy_until).since(self.now) + MOST_BUSY
        });
        let bound = config.shutdown_bound(self.prepares() && mode == StopMode::Handoff);
        let by = self.now + bound + callbacks + late + paused + slow;
        let Some(running) = &mut self.nodes[node].running else {
            return;
        };
        if running.leaving.is_none() {
            running.leaving = Some(Leaving { by, rejoin });
        }
        self.tell(node, Event::Stop { mode });
    }

    fn pause(&mut self, node: usize, length: Duration) {
        let until = self.now + length;
        let at = &mut self.nodes[node];
        if !at.is_paused(self.now) {
            at.paused_from = self.now;
        }
        at.paused_until = at.paused_until.max(until);
        let running = at.running.as_ref();
        if running.is_some_and(|r| until > r.until && !r.held.is_empty()) {
            self.judge.situations.count("paused_past_lease");
        }
        self.put_off_leaving(node, length);
        self.queue.push(until, Item::Resume { node });
    }

    pub(in crate::simulator) fn crash(&mut self, node: usize, down: Duration) {
        if let Some(running) = &self.nodes[node].running {
            if !running.held.is_empty() {
                self.judge.situations.count("assignment_lost_at_crash");
            }
            self.end(node, Some(down));
        }
    }

    /// The process of a node is gone; another one starts after a while.
    pub(in crate::simulator) fn end(&mut self, node: usize, down: Option<Duration>) {
        let at = &mut self.nodes[node];
        let Some(running) = at.running.take() else {
            return;
        };
        at.paused_until = Instant::ORIGIN;
        at.suspended = Duration::ZERO;
        at.suspended_until = Instant::ORIGIN;
        let process = running.process;
        if running.leaving.is_some_and(|leaving| leaving.by < self.now) {
            at.unstopped.push(process);
        }
        let retired = at.retired;
        self.forget_handlers(process);
        self.judge.observe(self.now, &Fact::Ended { process });
        if let Some(down) = down.filter(|_| !retired) {
            self.queue.push(self.now + down, Item::Start { node });
        }
    }

    /// A process ended by itself.
    pub(in crate::simulator) fn exit(&mut self, node: usize) {
        let leaving = self.nodes[node]
            .running
            .as_ref()
            .and_then(|running| running.leaving);
        let down = match leaving {
            Some(leaving) => leaving.rejoin,
            None => Some(SUPERVISOR_DELAY),
        };
        self.end(node, down);
    }
}
