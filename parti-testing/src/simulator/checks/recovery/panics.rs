//! S25: a core never panics. It is a fact of its own, so that a panic is reported like any other
//! violation, with its seed and its trace.

use crate::simulator::checks::{Check, Fact, Findings, Kind};
use parti_core::Instant;

#[derive(Debug)]
pub(in crate::simulator) struct NoPanic;

impl Check for NoPanic {
    fn sees(&self) -> &[Kind] {
        &[Kind::Panicked]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        if let Fact::Panicked { process, message } = fact {
            findings.report(format!("{process} panicked: {message}"));
        }
    }
}
