//! What must always hold, one property a file, all of them in one table.
//!
//! Checkers see facts in true time: what the store applied, what a core was told and asked for. They
//! know nothing of the simulator, so the same checkers judge hand-made traces (a checker that cannot
//! fail is worthless) and, on one host with one clock, real runs.

pub(in crate::simulator) mod basis;
pub(in crate::simulator) mod leading;
mod ownership;
mod recovery;
mod sessions;
use core::fmt;

use parti_core::{Grant, Instant, Notice, Preparation, ProbeAnswer, ProbeId, RequestId, Revision};

use basis::hearing::Hearing;

mod table;
#[cfg(test)]
mod tests;

pub use basis::coverage::{Coverage, Stage, Standing, Stored, Unfit, Worker};
pub use basis::fact::{
    AppliedCommit, Assigned, Eviction, Fact, Planning, Process, Proposal, Revoked, StepEnd, Value,
    Written,
};
pub use basis::rules::Rules;
pub use table::PROPERTIES;

/// What a checker found, in words, and the situations it met; and what each process knows, which several
/// checkers go by.
#[derive(Debug)]
pub struct Findings {
    now: Instant,
    ignored: bool,
    reasons: Vec<String>,
    situations: Vec<&'static str>,
    hearing: Hearing,
}

impl Findings {
    /// None so far.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        Self {
            now: Instant::ORIGIN,
            ignored: false,
            reasons: Vec::new(),
            situations: Vec::new(),
            hearing: Hearing::new(rules),
        }
    }

    /// Takes in what a fact says about who knows what; before any checker sees it.
    pub fn prepare(&mut self, fact: &Fact) {
        self.hearing.take_in(fact);
    }

    /// What each process was shown, the present fact included.
    pub(in crate::simulator) const fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// The next fact is looked at; it happened at this true time.
    pub const fn begin(&mut self, now: Instant) {
        (self.now, self.ignored) = (now, false);
    }

    /// The checker does not look at facts like this one: it need not be told of them.
    pub const fn ignore(&mut self) {
        self.ignored = true;
    }

    /// Whether the checker looks at facts like the last one.
    #[must_use]
    pub const fn is_heeded(&self) -> bool {
        !self.ignored
    }

    /// When the fact that is looked at happened, in true time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Reports a violation.
    pub fn report(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// Takes everything reported since the last call.
    pub fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.reasons)
    }

    /// Says that the property had something to check: only the checker knows that this was the case.
    pub fn met(&mut self, situation: &'static str) {
        self.situations.push(situation);
    }

    /// Takes every situation met since the last call.
    pub fn take_situations(&mut self) -> Vec<&'static str> {
        core::mem::take(&mut self.situations)
    }

    /// Whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Watches facts for one property: a method for each fact. Those of facts that a checker does not care
/// for do nothing; of frequent ones it is then told no more.
#[expect(unused_variables, reason = "the defaults are empty")]
pub trait Check: Send {
    /// A process began.
    fn on_began(&mut self, process: Process) {}

    /// A process is gone, by a crash or by its own end.
    fn on_ended(&mut self, process: Process) {}

    /// The store applied a commit; who sent it may be gone by now.
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        findings.ignore();
    }

    /// Somebody who is not part of the group wrote into its bucket.
    fn on_external(&mut self, at: Instant, writes: &[Written]) {}

    /// A core is about to handle something. `local` is the time on its clock, here and below; `created`
    /// is when the bucket was created, if that is what it is told.
    fn on_step(
        &mut self,
        process: Process,
        local: Instant,
        created: Option<u64>,
        findings: &mut Findings,
    ) {
        findings.ignore();
    }

    /// A core was shown a revision of the store, by a watch or by the answer to a read.
    fn on_heard(
        &mut self,
        process: Process,
        local: Instant,
        revision: Revision,
        watched: bool,
        findings: &mut Findings,
    ) {
        findings.ignore();
    }

    /// A core asked whether another process runs.
    fn on_probe(
        &mut self,
        process: Process,
        local: Instant,
        probe: ProbeId,
        findings: &mut Findings,
    ) {
        findings.ignore();
    }

    /// A core is told what became of a probe.
    fn on_probed(
        &mut self,
        process: Process,
        local: Instant,
        probed: (ProbeId, ProbeAnswer),
        findings: &mut Findings,
    ) {
        findings.ignore();
    }

    /// A user asked a core for a refresh or a rebalance.
    fn on_asked(&mut self, process: Process, request: RequestId) {}

    /// A core asked for a store request or a watch.
    fn on_request(&mut self, process: Process, findings: &mut Findings) {
        findings.ignore();
    }

    /// A core asked for a plan.
    fn on_planned(&mut self, process: Process, planning: &Planning, findings: &mut Findings) {}

    /// A core sent a commit that contains `head`.
    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {}

    /// A core asked to begin processing.
    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {}

    /// A core asked to end processing.
    fn on_revoke(&mut self, process: Process, revoked: &Revoked, findings: &mut Findings) {}

    /// A core asked to get ready.
    fn on_prepare(
        &mut self,
        process: Process,
        preparations: &[Preparation],
        findings: &mut Findings,
    ) {
    }

    /// A core said that these preparations are of no more use.
    fn on_withdraw(&mut self, process: Process, preparations: &[Preparation]) {}

    /// The processing of partitions ended.
    fn on_released(&mut self, process: Process, grants: &[Grant]) {}

    /// A core told something.
    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        findings.ignore();
    }

    /// A core has handled something and all its effects are begun.
    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        findings.ignore();
    }

    /// A core panicked.
    fn on_panicked(&mut self, process: Process, message: &str, findings: &mut Findings) {}

    /// Every fault that ends has ended.
    fn on_healed(&mut self) {}

    /// The time for a step of the recovery is over: how far the group is.
    fn on_milestone(&mut self, stage: Stage, coverage: &Coverage, findings: &mut Findings) {}

    /// The time in which the group may settle is over: who holds what.
    fn on_due(&mut self, coverage: &Coverage, findings: &mut Findings) {}

    /// The time of calm that must follow is over: who holds what.
    fn on_over(&mut self, coverage: &Coverage, findings: &mut Findings) {}

    /// The store lost its history but for these commits. A checker that judges each history by itself is made
    /// again instead.
    fn lose_history(&mut self, kept: &[AppliedCommit]) {}
}

/// One property: what it is called, why it matters and who checks it.
#[derive(Clone, Copy)]
pub struct Property {
    /// The short name in reports.
    pub id: &'static str,
    /// What must hold.
    pub name: &'static str,
    /// The production problem it prevents.
    pub why: &'static str,
    /// Whether it holds in this mode.
    pub applies: fn(&Rules) -> bool,
    /// Makes its checker.
    pub make: fn(&Rules) -> Box<dyn Check>,
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}
