//! Whether a process may join those who are there: a comparison of settings before anything is
//! written.
//!
//! It is separate because it decides *whether*, and `choice` *where*. What always holds: only a worker
//! that is certainly alive, since it renewed while this process looked, refuses a start; one that may
//! be a dead one's session is waited for, at most for its lease.

use super::{Claim, Claiming, first};
use crate::io::notice::{Notice, StartError};
use crate::link::cx::Cx;
use crate::model::id::{Nonce, WorkerId, WriteId};
use crate::model::time::Instant;
use crate::records::agreement::{Disagreement, compare};
use crate::records::record::SessionRecord;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::Step;
use super::choice::{SIGNS_OF_LIFE, Slot};
use crate::config::Config;

/// Whether this process fits to those it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It does.
    Yes,
    /// It does not, unless that worker turns out to be dead by then.
    Unless(Instant, Disagreement),
    /// It does not, and that worker lives.
    No(Disagreement),
}

/// Compares what would be written with what the slots say.
pub(super) fn fit(
    config: &Config,
    own: &SessionRecord,
    slots: &BTreeMap<WorkerId, Slot>,
    now: Instant,
) -> Fit {
    let mut doubtful: Option<(Instant, Disagreement)> = None;
    for (worker, slot) in slots.iter().filter(|(_, slot)| !slot.own) {
        let Some(said) = slot.said.as_ref().filter(|said| said.status.is_living()) else {
            continue;
        };
        let ends = slot.since + config.outlasts(said.lease, said.settings.clock_drift_ppm);
        let difference = compare(own, said).into_iter().find(|d| d.refuses());
        let Some(difference) = difference.filter(|_| now < ends) else {
            continue;
        };
        let worker = worker.clone();
        let disagreement = Disagreement { worker, difference };
        if slot.signs >= SIGNS_OF_LIFE {
            return Fit::No(disagreement);
        }
        let earlier = doubtful.as_ref().is_none_or(|(at, _)| ends < *at);
        if earlier {
            doubtful = Some((ends, disagreement));
        }
    }
    doubtful.map_or(Fit::Yes, |(until, disagreement)| {
        Fit::Unless(until, disagreement)
    })
}

impl Claim {
    /// Goes on with the claim if this process may join.
    pub(super) fn join(&mut self, cx: &mut Cx<'_>) -> Claiming {
        for said in self.slots.values().filter_map(|slot| slot.said.as_ref()) {
            cx.learn_lease(said.lease, said.settings.clock_drift_ppm);
        }
        let fit = fit(cx.config(), &own(cx), &self.slots, cx.now);
        let interval = cx.config().heartbeat_interval();
        match fit {
            Fit::Yes => {
                self.disagreement = None;
                self.choose(cx);
            }
            // A running worker that lost its session waits until the other is gone.
            Fit::No(found) if self.give_up_at.is_none() => self.wait(cx, found, interval),
            Fit::No(found) => return Claiming::Failed(StartError::Disagrees(found)),
            Fit::Unless(until, found) => {
                let pause = until.since(cx.now).min(interval / 2);
                self.wait(cx, found, pause);
            }
        }
        Claiming::Pending
    }

    fn wait(&mut self, cx: &mut Cx<'_>, found: Disagreement, pause: Duration) {
        if self.give_up_at.is_none() && self.disagreement.as_ref() != Some(&found) {
            cx.notify(Notice::SettingsDiffer(found.clone()));
        }
        self.disagreement = Some(found);
        self.step = Step::Pausing {
            until: cx.now + pause.max(Duration::from_millis(1)),
        };
    }

    /// Tells what costs moves or time, each setting once.
    pub(super) fn tell_differences(&self, cx: &mut Cx<'_>, claimed: &WorkerId) {
        let own = own(cx);
        let mut told: Vec<&'static str> = Vec::new();
        let mut notices = Vec::new();
        for (worker, slot) in self.slots.iter().filter(|(worker, _)| *worker != claimed) {
            let living = slot.said.as_ref().filter(|said| said.status.is_living());
            for difference in living.into_iter().flat_map(|said| compare(&own, said)) {
                if !told.contains(&difference.as_str()) {
                    told.push(difference.as_str());
                    let worker = worker.clone();
                    notices.push(Disagreement { worker, difference });
                }
            }
        }
        for found in notices {
            cx.notify(Notice::SettingsDiffer(found));
        }
    }
}

fn own(cx: &Cx<'_>) -> SessionRecord {
    let (nonce, seq) = (Nonce::new(0), 0);
    first::record(cx, WriteId { nonce, seq })
}
