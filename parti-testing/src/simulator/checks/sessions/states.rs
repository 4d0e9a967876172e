//! STATE: what a worker says of itself is a path through the table of allowed transitions.
//!
//! The public state is derived and not stored, so nothing but this check keeps it to the table.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process};
use parti_core::{Instant, Notice, State};

#[derive(Debug, Default)]
pub(in crate::simulator) struct States {
    shown: BTreeMap<Process, State>,
}

impl Check for States {
    fn sees(&self) -> &[Kind] {
        &[Kind::Notice]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        let Fact::Notice { process, notice } = fact else {
            return;
        };
        let Notice::StateChanged { from, to } = notice else {
            return;
        };
        let before = self.shown.insert(*process, *to).unwrap_or(State::Init);
        if before != *from {
            findings.report(format!(
                "{process} was {before} and says that it left {from}"
            ));
        }
        if let Err(error) = State::transition(*from, *to) {
            findings.report(format!("{process}: {error}"));
        }
    }
}
