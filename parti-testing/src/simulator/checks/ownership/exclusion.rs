//! S4: in true time, no two processes hold a partition validly.
//!
//! A process holds validly from its assignment to its release, to the deadline of its session on its
//! own clock translated to true time, or to a revocation that says the session is lost, whichever is
//! first. A guard that was invalid once stays so: a later session does not revive it.
//!
//! S29: the same in a group of both modes, as far as anybody may rely on it. A worker configured for
//! exclusive relies on being alone from its assignment to its deadline; the others when the newer of both
//! grants was made while exclusive held: one made under overlap may meet an older one that goes on after
//! a change of mode. A worker that said last that it obeys overlap may go on: it was never promised that
//! it would hear of a change, or of the end of its session.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::sessions::suspected::Suspected;
use crate::simulator::checks::{Assigned, Check, Findings, Process, Revoked, StepEnd, Written};
use parti_core::{Grant, Instant, Key, Mode, PartitionKey, Record, RevokeCause, Token, WorkerId};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Exclusion {
    /// Until when the session of a process is valid.
    until: BTreeMap<Process, Instant>,
    holders: BTreeMap<PartitionKey, Vec<Process>>,
    holding: BTreeMap<Process, BTreeMap<PartitionKey, Token>>,
    /// Partitions with more than one holder, valid or not.
    contested: BTreeMap<PartitionKey, ()>,
    /// What these do is refused by what they write to.
    suspected: Suspected,
    /// What was said of modes, if workers may have different ones.
    said: Option<Said>,
}

/// What the store was told of modes.
#[derive(Debug, Default)]
struct Said {
    /// With what each process is configured, and what it said last that it obeys.
    of: BTreeMap<Process, (Mode, Mode)>,
    /// Generations made while exclusive held.
    exclusive: BTreeSet<u64>,
    /// Whose session each slot has.
    slots: BTreeMap<WorkerId, Process>,
    /// Whose session somebody else ended while it obeyed overlap: it goes on until it hears of that,
    /// and nobody promises otherwise.
    unaware: BTreeSet<Process>,
}

impl Said {
    fn listen(&mut self, process: Process, writes: &[Written]) {
        for write in writes {
            if let Key::Session(worker) = &write.key {
                self.succeed(process, worker, write.record());
            }
            let Some(record) = write.record() else {
                continue;
            };
            match record {
                // A leader that ends a session repeats what that one said.
                Record::Session(said) if said.status.is_living() => {
                    let modes = (said.settings.mode, said.honours);
                    self.of.insert(process, modes);
                }
                Record::Head(head) if head.agreed.holds == Mode::Exclusive => {
                    self.exclusive.insert(head.version.get());
                }
                Record::Head(_)
                | Record::Session(_)
                | Record::Assignment(_)
                | Record::Manifest(_)
                | Record::Piece(_)
                | Record::Audit(_)
                | Record::Control(_)
                | Record::Source(_)
                | Record::Parked(_)
                | Record::Suspicion(_) => {}
            }
        }
    }

    /// The session of a slot ends, or another one begins.
    fn succeed(&mut self, process: Process, worker: &WorkerId, record: Option<&Record>) {
        let living = matches!(record, Some(Record::Session(said)) if said.status.is_living());
        let before = if living {
            self.slots.insert(worker.clone(), process)
        } else {
            self.slots.remove(worker)
        };
        let before = before.filter(|before| *before != process);
        self.unaware.extend(before.filter(|before| {
            let said = self.of.get(before);
            said.is_some_and(|(_, obeys)| *obeys == Mode::Overlap)
        }));
    }

    /// Whether one that begins must not do so while the other holds.
    /// `newer` is the larger token of both grants.
    fn forbids(&self, begins: Process, holds: Process, newer: Token) -> bool {
        if self.unaware.contains(&begins) || self.unaware.contains(&holds) {
            return false;
        }
        let strict = |process| self.of.get(&process).map(|said| said.0) == Some(Mode::Exclusive);
        let obeys = self.of.get(&holds).map(|said| said.1) == Some(Mode::Exclusive);
        let promised = strict(begins) || self.exclusive.contains(&newer.get());
        strict(holds) || (obeys && promised)
    }
}

impl Check for Exclusion {
    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        let at = findings.now();
        let counts = self.said.is_some() || !self.suspected.contains(process);
        for grant in assigned.grants.iter().filter(|_| counts) {
            self.begin(at, process, grant, findings);
        }
    }

    fn on_released(&mut self, process: Process, grants: &[Grant]) {
        for grant in grants {
            self.release(process, &grant.partition);
        }
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, _: &mut Findings) {
        let cause = revoked.cause;
        let grants = &revoked.grants;
        if let RevokeCause::LeaseLost | RevokeCause::IdentityLost = cause {
            self.on_released(process, grants);
        }
    }

    fn on_step(&mut self, process: Process, _: Instant, _: Option<u64>, findings: &mut Findings) {
        if !self.is_valid(findings.now(), process) {
            self.lapse(process);
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        let at = findings.now();
        self.until
            .insert(process, end.until.unwrap_or(Instant::ORIGIN));
        self.check_contested(at, process, findings);
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], _: &mut Findings) {
        let ended = self.suspected.listen(process, writes);
        // In a mixed group an exclusive worker relies on being alone all the same.
        if self.said.is_none() {
            ended.into_iter().for_each(|ended| self.lapse(ended));
        }
        if let Some(said) = &mut self.said {
            said.listen(process, writes);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.lapse(process);
        self.until.remove(&process);
        self.holding.remove(&process);
    }
}

impl Exclusion {
    /// For a group of both modes.
    pub(in crate::simulator) fn stricter() -> Self {
        Self {
            said: Some(Said::default()),
            ..Self::default()
        }
    }

    fn is_valid(&self, at: Instant, process: Process) -> bool {
        self.until.get(&process).is_some_and(|until| at < *until)
    }

    fn begin(&mut self, at: Instant, process: Process, grant: &Grant, findings: &mut Findings) {
        let holders = self.holders.entry(grant.partition.clone()).or_default();
        let others: Vec<_> = holders
            .iter()
            .copied()
            .filter(|other| *other != process)
            .collect();
        holders.push(process);
        self.holding
            .entry(process)
            .or_default()
            .insert(grant.partition.clone(), grant.token);
        if !others.is_empty() {
            self.contested.insert(grant.partition.clone(), ());
        }
        if !others.is_empty() && self.said.is_some() {
            findings.met("mixed_contended");
        }
        let forbids = |other: &Process| {
            let said = self.said.as_ref();
            let held = self.holding.get(other);
            let token = held.and_then(|held| held.get(&grant.partition));
            let newer = grant.token.max(token.copied().unwrap_or_default());
            said.is_none_or(|said| said.forbids(process, *other, newer))
        };
        let others = others.into_iter().filter(forbids);
        for other in others.filter(|other| self.is_valid(at, *other)) {
            let until = self.until.get(&other);
            findings.report(format!(
                "{process} begins {grant:?} while {other} holds it validly until {until:?}"
            ));
        }
    }

    fn release(&mut self, process: Process, partition: &PartitionKey) {
        if let Some(held) = self.holding.get_mut(&process) {
            held.remove(partition);
        }
        if let Some(holders) = self.holders.get_mut(partition) {
            holders.retain(|holder| *holder != process);
            if holders.len() < 2 {
                self.contested.remove(partition);
            }
        }
    }

    /// Whatever the process holds is invalid from now on.
    fn lapse(&mut self, process: Process) {
        let held = self.holding.get_mut(&process).map(core::mem::take);
        for partition in held.unwrap_or_default().into_keys() {
            self.release(process, &partition);
        }
    }

    /// A deadline that moved on may make an old holder valid again.
    fn check_contested(&self, at: Instant, process: Process, findings: &mut Findings) {
        if self.said.is_some() {
            return;
        }
        for partition in self.contested.keys() {
            let holders = &self.holders[partition];
            if !holders.contains(&process) {
                continue;
            }
            let valid: Vec<_> = holders.iter().filter(|p| self.is_valid(at, **p)).collect();
            if valid.len() > 1 && valid.contains(&&process) {
                findings.report(format!("{partition} is held validly by all of {valid:?}"));
            }
        }
    }
}
