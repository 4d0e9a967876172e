//! What goes wrong in a run: owners that crash, are suspended or late, a server that is killed, an operator.
//!
//! It is separate from the world, whose other steps are what happens every day. What always holds: each fault
//! is one that production has; what was asked before it may still be done.

use parti_nats::consume::Retention;

use super::World;
use crate::streams::lane::Purpose;
use crate::streams::lane_reading::Reading;
use crate::streams::request::{Answer, Request};

impl World {
    pub(super) fn fail(&mut self, faults: u64) {
        if faults == 0 {
            return;
        }
        match self.random.below(8) {
            0 | 1 => self.crash(),
            2 => self.expire(),
            3 => self.tell_late_ones(),
            4 => {
                if let Some(number) = self.owned() {
                    self.frozen.push(number);
                    self.note(|| format!("lane {number} is suspended"));
                }
            }
            5 => {
                if let Some(pick) = self.pick(self.frozen.len()) {
                    let number = self.frozen.swap_remove(pick);
                    self.note(|| format!("lane {number} goes on"));
                }
            }
            6 => self.restart(),
            _ => self.operate(),
        }
    }

    /// The process ends; what it asked for may still be done.
    fn crash(&mut self) {
        let Some(number) = self.owned() else { return };
        self.note(|| format!("lane {number} crashes"));
        self.end(number, false);
    }

    /// The group takes the ownership away; the lane does not know it yet.
    fn expire(&mut self) {
        let Some(number) = self.owned() else { return };
        self.note(|| format!("lane {number} loses its lease"));
        for owner in self
            .owners
            .values_mut()
            .filter(|owner| **owner == Some(number))
        {
            *owner = None;
        }
    }

    /// Late owners learn that they are.
    pub(super) fn tell_late_ones(&mut self) {
        let current: Vec<u64> = self.owners.values().copied().flatten().collect();
        let late = self.lanes.keys().filter(|number| !current.contains(number));
        for number in late.copied().collect::<Vec<_>>() {
            self.note(|| format!("lane {number} learns that it is over"));
            self.end(number, true);
        }
    }

    fn end(&mut self, number: u64, writes: bool) {
        let Some(lane) = self.lanes.get_mut(&number) else {
            return;
        };
        let owner = lane.owner;
        let (begun, last) = lane.lose();
        if let Some(item) = begun.filter(|_| self.random.below(2) == 0) {
            // It was cut short after it had its effect.
            self.handled(number, owner, item, true);
        }
        if writes {
            self.apply(number, owner, last);
        }
        self.free(number);
    }

    /// The server is killed and comes back. Half of the lanes notice that they are on another connection.
    fn restart(&mut self) {
        self.note(|| "the server is killed".to_owned());
        self.was_killed = true;
        let random = &mut self.random;
        self.server.restart(|| random.below(2) == 0);
        for flight in &mut self.flights {
            if flight.request.is_some() && self.random.below(2) == 0 {
                // It never arrived.
                flight.request = None;
                flight.answer = Answer::Unknown;
            }
        }
        for lane in self.lanes.values_mut() {
            let notices = self.random.below(2) == 0;
            if notices && matches!(lane.reading, Reading::Open { .. }) {
                lane.reading = Reading::None;
                lane.awaited.remove(&Purpose::Reading);
            }
        }
    }

    /// An operator deletes a consumer, which by interest loses messages; or acknowledgements are late.
    fn operate(&mut self) {
        let names = self.server.names();
        match self.pick(names.len()) {
            Some(pick) if self.retention != Retention::Interest => {
                let name = names[pick].clone();
                self.note(|| format!("an operator deletes {name}"));
                self.server.serve(Request::Delete(vec![name]));
            }
            _ => self.server.acknowledgements_are_late(),
        }
    }
}
