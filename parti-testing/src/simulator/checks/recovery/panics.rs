//! S25: a core never panics. It is a fact of its own, so that a panic is reported like any other
//! violation, with its seed and its trace.

use crate::simulator::checks::{Check, Findings, Process};

#[derive(Debug)]
pub(in crate::simulator) struct NoPanic;

impl Check for NoPanic {
    fn on_panicked(&mut self, process: Process, message: &str, findings: &mut Findings) {
        findings.report(format!("{process} panicked: {message}"));
    }
}
