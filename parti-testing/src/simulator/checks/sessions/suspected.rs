//! S38, S39: evictions of workers that do not answer, in a group whose sinks compare tokens: how many there
//! may be, and on what evidence.
//!
//! Both are written from the protocol. Where the checker cannot know what a leader knows, it counts in
//! favour of the core: it does not see what a leader has forgotten.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::simulator::checks::basis::hearing::Known;
use crate::simulator::checks::{
    AppliedCommit, Check, Eviction, Findings, Process, Proposal, Rules, Written,
};
use parti_core::{
    Instant, Key, Mode, Nonce, ProbeAnswer, ProbeId, Record, Revision, SessionStatus, WorkerId,
    WriteId,
};

/// The processes whose session somebody ended because they did not answer, until they have another one.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Suspected {
    /// Whose session each slot has.
    slots: BTreeMap<WorkerId, Process>,
    suspected: BTreeSet<Process>,
}

impl Suspected {
    /// Takes in a commit. Whose session it ends like that.
    pub(in crate::simulator) fn listen(&mut self, by: Process, writes: &[Written]) -> Vec<Process> {
        let mut ended = Vec::new();
        for write in writes {
            let (Key::Session(worker), Some(Record::Session(said))) = (&write.key, write.record())
            else {
                continue;
            };
            if said.status == SessionStatus::Suspected {
                ended.extend(self.slots.remove(worker));
            } else if said.status.is_living() {
                self.slots.insert(worker.clone(), by);
                self.suspected.remove(&by);
            }
        }
        self.suspected.extend(&ended);
        ended
    }

    pub(in crate::simulator) fn contains(&self, process: Process) -> bool {
        self.suspected.contains(&process)
    }
}

/// For so many leases an eviction counts.
const REMEMBERED: u32 = 10;

#[derive(Debug)]
pub(in crate::simulator) struct Few {
    counts_for: Duration,
    living: BTreeSet<WorkerId>,
    /// When the group had how many workers, each time there were more than before.
    largest: VecDeque<(Instant, usize)>,
    evictions: VecDeque<(Instant, WorkerId)>,
}

impl Few {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            // The clocks of leaders differ, and what is carried is as old as the last commit.
            counts_for: rules.shortest_lease() * REMEMBERED * 9 / 10,
            living: BTreeSet::new(),
            largest: VecDeque::new(),
            evictions: VecDeque::new(),
        }
    }

    fn forget(&mut self, at: Instant) {
        let from = at.saturating_sub(self.counts_for);
        while self.evictions.front().is_some_and(|(at, _)| *at < from) {
            self.evictions.pop_front();
        }
        // The last one before the window holds at its beginning.
        while self.largest.get(1).is_some_and(|(at, _)| *at < from) {
            self.largest.pop_front();
        }
    }
}

impl Check for Few {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        self.forget(at);
        for write in writes {
            let Key::Session(worker) = &write.key else {
                continue;
            };
            let status = match write.record() {
                Some(Record::Session(said)) => Some(said.status),
                Some(_) | None => None,
            };
            if status == Some(SessionStatus::Suspected) {
                self.evictions.push_back((at, worker.clone()));
            }
            if status.is_some_and(SessionStatus::is_living) {
                self.living.insert(worker.clone());
            } else {
                self.living.remove(worker);
            }
        }
        self.largest
            .push_back((at, self.living.len() + self.evictions.len()));
        let group = self.largest.iter().map(|(_, size)| *size).max();
        let most = (group.unwrap_or_default() / 4).max(1);
        let evicted = self.evictions.len();
        let news = self.evictions.back().is_some_and(|(then, _)| *then == at);
        if news && evicted > most {
            findings.report(format!(
                "{process} evicts one that does not answer, after {evicted} within ten leases: {:?}",
                self.evictions
            ));
        }
    }

    fn on_external(&mut self, _: Instant, writes: &[Written]) {
        // Anyone who writes head may have removed the budget from it.
        if writes.iter().any(|write| write.key == Key::Head) {
            self.evictions.clear();
        }
    }

    fn lose_history(&mut self, _: &[AppliedCommit]) {
        // The budget is gone with the bucket.
        self.living.clear();
        self.largest.clear();
        self.evictions.clear();
    }
}

/// What a process asked one session since that answered last.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// The number of the latest probe that was answered.
    answered: u64,
    /// The probes since, and when they were sent.
    since: Vec<(u64, Instant)>,
    /// When somebody said that there is nobody.
    nobody: Vec<Instant>,
}

#[derive(Debug)]
pub(in crate::simulator) struct Evidence {
    suspect_after: Duration,
    asked: BTreeMap<Process, BTreeMap<Nonce, Asked>>,
    /// The living sessions, and the revision of the last renewal.
    living: BTreeMap<WorkerId, (Nonce, Revision)>,
    /// The last session of each slot, also when it has ended: a leader may not have heard of that yet.
    last: BTreeMap<WorkerId, Nonce>,
    own: BTreeMap<Process, Nonce>,
    proposed: BTreeMap<Process, WriteId>,
}

impl Evidence {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            suspect_after: rules.suspect_after,
            asked: BTreeMap::new(),
            living: BTreeMap::new(),
            last: BTreeMap::new(),
            own: BTreeMap::new(),
            proposed: BTreeMap::new(),
        }
    }

    /// What is wrong with an eviction, if anything. `known` is what was shown to the process.
    fn judge(
        &self,
        process: Process,
        local: Instant,
        eviction: &Eviction,
        known: Option<&Known>,
    ) -> Option<String> {
        let heard = known.and_then(|known| known.sessions.get(&eviction.worker));
        let heard = heard.filter(|heard| Some(heard.revision) == eviction.judged);
        let heard = heard.map_or(Instant::ORIGIN, |heard| heard.at);
        let nothing = BTreeMap::new();
        let asked = self.asked.get(&process).unwrap_or(&nothing);
        let (session, renewed) = self.living.get(&eviction.worker)?;
        if eviction.judged != Some(*renewed) {
            // The store will refuse it.
            return None;
        }
        let unanswered = asked.get(session).cloned().unwrap_or_default();
        let gone = unanswered.nobody.iter().filter(|&&at| at >= heard).count() >= 2;
        let since = unanswered.since.iter().filter(|&&(_, at)| at >= heard);
        let since: Vec<_> = since.collect();
        let Some(&&(first, began)) = since.first() else {
            let asked = &unanswered.since;
            return Some(format!(
                "was asked nothing since it was heard of at {heard}: {asked:?}"
            ));
        };
        let silent = since.len() >= 3 && local.since(began) >= self.suspect_after;
        if !gone && !silent {
            return Some(format!("may still answer what it was asked at {began}"));
        }
        let own = self.own.get(&process);
        let answers = own
            .and_then(|own| asked.get(own))
            .map_or(0, |own| own.answered);
        if answers <= first {
            return Some(format!(
                "did not answer since {began}, but neither did its own process"
            ));
        }
        let shown = known.into_iter().flat_map(|known| &known.sessions);
        let shown = shown.filter(|(_, heard)| heard.status.is_living());
        let shown = shown.filter_map(|(worker, _)| self.last.get(worker));
        let there = self.living.values().map(|(other, _)| other);
        // How many of the others have answered since, as the store has them or as the process knows them.
        let answered = |others: &mut dyn Iterator<Item = &Nonce>| {
            let others = others.filter(|other| *other != session && Some(*other) != own);
            let others: Vec<_> = others.filter_map(|other| asked.get(other)).collect();
            let answered = others.iter().filter(|other| other.answered > first).count();
            (answered, others.len())
        };
        let (there, shown) = (answered(&mut { there }), answered(&mut { shown }));
        if there.1.max(shown.1) == 0 && !gone {
            return Some("is the only other one, and nobody said that it is gone".to_owned());
        }
        let few = |(answered, others)| answered * 2 < others;
        (few(there) && (few(shown) || shown.1 == 0)).then(|| {
            format!(
                "does not answer, but only {there:?} others have since {began}, as shown {shown:?}"
            )
        })
    }
}

impl Check for Evidence {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let mode = writes.iter().find_map(|write| match write.record() {
            Some(Record::Head(head)) => Some(head.agreed.mode),
            Some(_) | None => None,
        });
        for write in writes {
            let Key::Session(worker) = &write.key else {
                continue;
            };
            match write.record() {
                Some(Record::Session(said)) if said.status.is_living() => {
                    self.own.insert(process, said.nonce());
                    let renewed = (said.nonce(), write.revision);
                    self.living.insert(worker.clone(), renewed);
                    self.last.insert(worker.clone(), said.nonce());
                }
                Some(Record::Session(said))
                    if said.status == SessionStatus::Suspected && mode != Some(Mode::Fenced) =>
                {
                    findings.report(format!(
                        "{process} evicts {worker}, which does not answer, in mode {mode:?}"
                    ));
                }
                Some(_) | None => {
                    self.living.remove(worker);
                }
            }
        }
    }

    fn on_external(&mut self, _: Instant, writes: &[Written]) {
        for write in writes {
            if let Key::Session(worker) = &write.key {
                self.living.remove(worker);
            }
        }
    }

    fn on_probe(&mut self, process: Process, local: Instant, probe: ProbeId, _: &mut Findings) {
        let asked = self.asked.entry(process).or_default();
        let asked = asked.entry(probe.session()).or_default();
        asked.since.push((probe.number(), local));
    }

    fn on_probed(
        &mut self,
        process: Process,
        local: Instant,
        (probe, answer): (ProbeId, ProbeAnswer),
        _: &mut Findings,
    ) {
        let asked = self.asked.entry(process).or_default();
        let asked = asked.entry(probe.session()).or_default();
        match answer {
            ProbeAnswer::Alive => {
                *asked = Asked {
                    answered: asked.answered.max(probe.number()),
                    ..Asked::default()
                };
            }
            ProbeAnswer::Nobody => asked.nobody.push(local),
            ProbeAnswer::Silence => {}
        }
    }

    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        if self.proposed.insert(process, proposal.write) == Some(proposal.write) {
            return;
        }
        for eviction in &proposal.evictions {
            if eviction.status != SessionStatus::Suspected {
                continue;
            }
            let known = findings.hearing().of(process);
            if let Some(reason) = self.judge(process, proposal.local, eviction, known) {
                let worker = &eviction.worker;
                findings.report(format!("{process} evicts {worker}, which {reason}"));
            }
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.asked.remove(&process);
        self.proposed.remove(&process);
        self.own.remove(&process);
    }
}
