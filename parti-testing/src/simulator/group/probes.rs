//! Processes that ask each other whether they run. The questions do not pass through the store, but
//! through what connects everybody to it.

use core::time::Duration;

use parti_core::{Event, Nonce, ProbeAnswer, ProbeId};

use crate::simulator::checks::{Fact, Process};
use crate::simulator::group::queue::Item;
use crate::simulator::group::world::World;
use crate::simulator::plans::dice::Purpose;

impl World<'_> {
    /// A process answers for a session from now on. Where nobody asks, the store offers it not.
    pub(super) fn answer_probes(&mut self, process: Process, session: Option<Nonce>) {
        let (now, probing) = (self.now, self.plan.settings.probe_interval_ms.is_some());
        let Some(running) = self.nodes[usize::from(process.node)].process(process) else {
            return;
        };
        running.answers_for = session.filter(|_| probing);
        if let Some(session) = running.answers_for {
            let event = Event::Answering { session };
            let at = now + Duration::from_millis(1);
            self.queue.push(at, Item::Deliver { process, event });
        }
    }

    /// A process asks whether another runs.
    pub(super) fn probe(&mut self, process: Process, probe: ProbeId, within: Duration) {
        let (now, who) = (self.now, u64::from(process.node));
        if let Some(running) = self.nodes[usize::from(process.node)].process(process) {
            let local = running.latest;
            let fact = Fact::Probe {
                process,
                local,
                probe,
            };
            self.judge.observe(now, &fact);
        }
        let (truth, asked) = self.truth(process, probe.session());
        let number = (u64::from(process.run) << 40) | probe.number();
        let roll = self.dice.roll(Purpose::Probe, who, number);
        let faults = &self.faults;
        let pair = asked.map(|asked| (who << 16) | asked as u64);
        let pair = pair.map(|pair| self.dice.roll(Purpose::ProbePair, pair, 0));
        let one_sided = pair.filter(|pair| pair.ppm(faults.probe_one_sided_ppm));
        let (lost, wrong) = (
            roll.ppm(faults.probe_lost_ppm),
            roll.again().ppm(faults.probe_wrong_ppm),
        );
        let late = roll.again().again();
        let answer = match one_sided {
            Some(pair) if pair.again().below(2) == 0 => ProbeAnswer::Nobody,
            Some(_) => ProbeAnswer::Silence,
            None if lost => ProbeAnswer::Silence,
            None if wrong => ProbeAnswer::Nobody,
            None => truth,
        };
        if answer != truth {
            self.judge.situations.count("probe_misled");
        }
        let mean = Duration::from_micros(self.faults.delay_mean_us);
        let after = match answer {
            ProbeAnswer::Silence => within,
            ProbeAnswer::Alive | ProbeAnswer::Nobody if late.ppm(faults.probe_late_ppm) => {
                late.again().duration(within)
            }
            ProbeAnswer::Alive | ProbeAnswer::Nobody => late.exponential(mean * 2).min(within),
        };
        let event = Event::Probed { probe, answer };
        self.queue
            .push(now + after, Item::Deliver { process, event });
    }

    /// What a question finds, and on which node its session is.
    fn truth(&self, process: Process, session: Nonce) -> (ProbeAnswer, Option<usize>) {
        let now = self.now;
        let answers = |node: &crate::simulator::group::node::Node| {
            let running = node.running.as_ref();
            running.is_some_and(|running| running.answers_for == Some(session))
        };
        let asked = self.nodes.iter().position(answers);
        let asks = &self.nodes[usize::from(process.node)];
        if now < asks.disconnected_until || now < asks.requests_cut_until {
            return (ProbeAnswer::Silence, asked);
        }
        let Some(index) = asked else {
            return (ProbeAnswer::Nobody, None);
        };
        let node = &self.nodes[index];
        let answer = if now < node.disconnected_until {
            // Its connection has gone: it looks as if its process had.
            ProbeAnswer::Nobody
        } else if node.is_paused(now) || now < node.requests_cut_until || now < node.stalled_until {
            ProbeAnswer::Silence
        } else {
            ProbeAnswer::Alive
        };
        (answer, asked)
    }
}
