//! STATE: what a worker says of itself is a path through the table of allowed transitions.
//!
//! The public state is derived and not stored, so nothing but this check keeps it to the table.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process};
use parti_core::{Notice, State};

#[derive(Debug, Default)]
pub(in crate::simulator) struct States {
    shown: BTreeMap<Process, State>,
}

impl Check for States {
    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        let Notice::StateChanged { from, to } = notice else {
            return;
        };
        let before = self.shown.insert(process, *to).unwrap_or(State::Init);
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
