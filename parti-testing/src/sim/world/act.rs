//! What a plan does to the world at its time: crashes, pauses, cuts, requests of users.
//!
//! What always holds: an action on a node that is not there does nothing, since plans are shrunk and
//! edited.

use core::time::Duration;

use parti_core::{Event, Instant, RequestId, StopMode};

use super::super::network::Outage;
use super::super::node::Leaving;
use super::super::plan::Action;
use super::super::queue::Item;
use super::{SUPERVISOR_DELAY, World, partitions};
use crate::checks::Fact;

impl World<'_> {
    pub(super) fn act(&mut self, index: usize) {
        let action = &self.plan.actions[index].action;
        // Plans are shrunk and edited: an action on a node that is gone does nothing.
        if action.node().is_some_and(|node| node >= self.nodes.len()) {
            return;
        }
        self.judge
            .line(self.now, || Some(format!("plan: {action:?}")));
        let millis = |ms: &u64| Duration::from_millis(*ms);
        match action {
            Action::Crash {
                node,
                down_ms,
                after_effects: None,
            } => self.crash(*node, millis(down_ms)),
            Action::Crash {
                node,
                down_ms: _,
                after_effects,
            } => {
                if let Some(running) = &mut self.nodes[*node].running {
                    running.dies_after = *after_effects;
                }
            }
            Action::Pause { node, for_ms } => self.pause(*node, millis(for_ms)),
            Action::Stop {
                node,
                leave,
                rejoin_ms,
            } => {
                self.stop(*node, (*leave).into(), rejoin_ms.as_ref().map(millis));
            }
            Action::ClockJump { node } => {
                self.judge.sometimes.count("clock_jump");
                self.tell(*node, Event::ClockJumped);
            }
            Action::Outage { for_ms, answers } => {
                let until = self.now + millis(for_ms);
                self.outage = Some(Outage {
                    until,
                    answers: *answers,
                });
                for node in 0..self.nodes.len() {
                    self.break_watches(node);
                }
            }
            Action::Cut {
                node,
                for_ms,
                requests,
                replies,
                watch,
            } => self.cut(*node, millis(for_ms), [*requests, *replies, *watch]),
            Action::Partitions { first, count } => {
                self.list = partitions(*first, *count);
                for node in 0..self.nodes.len() {
                    self.tell(node, Event::SourceChanged);
                }
            }
            Action::Refresh { node } => {
                let request = self.next_request();
                self.tell(*node, Event::Refresh { request });
            }
            Action::Trigger { node } => {
                let request = self.next_request();
                self.tell(*node, Event::Trigger { request });
            }
        }
    }

    /// Cuts the links for requests, replies and watch events, as chosen.
    fn cut(&mut self, node: usize, length: Duration, links: [bool; 3]) {
        let until = self.now + length;
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

    fn stop(&mut self, node: usize, mode: StopMode, rejoin: Option<Duration>) {
        let paused = self.nodes[node].paused_until.since(self.now);
        let config = &self.nodes[node].config;
        let slow = Duration::from_millis(self.faults.callback_ms);
        let callbacks = (config.drain_timeout() + slow) * 2;
        let late = config.request_timeout() * 4 + self.timer_lateness();
        let by = self.now + config.shutdown_timeout() + callbacks + late + paused;
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
        at.paused_until = at.paused_until.max(until);
        if let Some(running) = &mut at.running {
            if until > running.until && !running.held.is_empty() {
                self.judge.sometimes.count("paused_past_lease");
            }
            if let Some(leaving) = &mut running.leaving {
                leaving.by += length;
            }
        }
        self.queue.push(until, Item::Resume { node });
    }

    pub(in crate::sim) fn crash(&mut self, node: usize, down: Duration) {
        if let Some(running) = &self.nodes[node].running {
            if !running.held.is_empty() {
                self.judge.sometimes.count("assignment_lost_at_crash");
            }
            self.end(node, Some(down));
        }
    }

    /// The process of a node is gone; another one starts after a while.
    pub(in crate::sim) fn end(&mut self, node: usize, down: Option<Duration>) {
        let at = &mut self.nodes[node];
        let Some(running) = at.running.take() else {
            return;
        };
        at.paused_until = Instant::ORIGIN;
        let process = running.process;
        if running.leaving.is_some_and(|leaving| leaving.by < self.now) {
            at.unstopped.push(process);
        }
        let retired = at.retired;
        self.judge.observe(self.now, &Fact::Ended { process });
        if let Some(down) = down.filter(|_| !retired) {
            self.queue.push(self.now + down, Item::Start { node });
        }
    }

    /// A process ended by itself.
    pub(in crate::sim) fn exit(&mut self, node: usize) {
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
