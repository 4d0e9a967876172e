//! What the checkers are told of a process beyond its effects: what it hears, and what it proposes.

use core::cmp::Ordering;

use parti_core::{
    Entry, Event, Expect, Instant, Key, OpOwner, Record, SessionStatus, StoreReply, WatchEvent,
    WatchId, Write, head_key,
};

use crate::simulator::checks::{Eviction, Fact, Process, Proposal};
use crate::simulator::group::node::{Input, Running, WatchStage};
use crate::simulator::group::world::World;
use crate::simulator::storage::store::any_release;

impl World<'_> {
    /// Tells the checkers what a core is about to learn.
    pub(super) fn tell_heard(&mut self, process: Process, local: Instant, input: &Input) {
        let Input::Event(event) = input else {
            return;
        };
        let heard = |revision, watched| Fact::Heard {
            process,
            local,
            revision,
            watched,
        };
        let now = self.now;
        match event {
            // What still comes from a watch that was given up is not heard.
            Event::Watch { id, .. } if self.has_newer_watch(process, *id) => {}
            Event::Watch {
                event: WatchEvent::Entry(entry),
                ..
            } => self.judge.observe(now, &heard(entry.revision, true)),
            Event::Store {
                result: Ok(StoreReply::Entry(Some(entry))),
                ..
            } => self.judge.observe(now, &heard(entry.revision, false)),
            Event::Store {
                result: Ok(StoreReply::Entries { entries, .. }),
                ..
            } => {
                for entry in entries {
                    self.judge.observe(now, &heard(entry.revision, false));
                }
            }
            Event::Refresh { request } | Event::Trigger { request } => {
                let request = *request;
                self.judge.observe(now, &Fact::Asked { process, request });
            }
            Event::Probed { probe, answer } => {
                let (probe, answer) = (*probe, *answer);
                let fact = Fact::Probed {
                    process,
                    local,
                    probe,
                    answer,
                };
                self.judge.observe(now, &fact);
            }
            Event::Watch { .. }
            | Event::Store { .. }
            | Event::Partitions { .. }
            | Event::Planned { .. }
            | Event::Start
            | Event::Released { .. }
            | Event::Processing { .. }
            | Event::Prepared { .. }
            | Event::Answering { .. }
            | Event::SourceChanged
            | Event::ClockJumped { .. }
            | Event::Stop { .. } => {}
        }
    }

    fn has_newer_watch(&mut self, process: Process, id: WatchId) -> bool {
        let running = self.nodes[usize::from(process.node)].process(process);
        running.is_some_and(|running| running.watches.keys().any(|&newer| newer > id))
    }

    /// Tells the checkers what a core is about to ask the store to write.
    pub(super) fn tell_commit(
        &mut self,
        process: Process,
        local: Instant,
        owner: OpOwner,
        writes: &[Write],
    ) {
        if let (OpOwner::Claim, [slot]) = (owner, writes) {
            let situations = &mut self.judge.situations;
            situations.claim(process, &slot.key, slot.expect);
        }
        if let Some(proposal) = proposal(local, writes) {
            let proposal = Box::new(proposal);
            let fact = Fact::Proposes { process, proposal };
            self.judge.observe(self.now, &fact);
        }
    }

    /// Remembers what a process is shown. Counts what it reads because a watch has failed to show it.
    pub(super) fn show(&mut self, process: Process, input: &Input) -> Shown {
        let running = self.nodes[usize::from(process.node)].process(process);
        let (Input::Event(event), Some(running)) = (input, running) else {
            return Shown::Nothing;
        };
        if let Event::Watch {
            event: WatchEvent::Entry(entry),
            ..
        } = event
        {
            return running.show(entry);
        }
        let Event::Store {
            op,
            result: Ok(reply),
        } = event
        else {
            return Shown::Nothing;
        };
        let entries = match reply {
            StoreReply::Entry(entry) => entry.as_slice(),
            StoreReply::Entries { entries, .. } => entries.as_slice(),
            StoreReply::Committed { .. } | StoreReply::Info(_) => &[],
        };
        let mut repaired = 0;
        for entry in entries {
            let shown = running.show(entry);
            repaired += usize::from(
                shown == Shown::News
                    && op.owner() == OpOwner::Reconcile
                    && running.misses(&entry.key),
            );
        }
        if repaired > 0 {
            self.judge.situations.count("watch_gap_repaired");
        }
        Shown::Nothing
    }
}

/// What a process is shown, compared with what it was shown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing new of the store, or nothing of it.
    Nothing,
    /// A newer write of a key.
    News,
    /// An older write of a key than one it was shown already.
    Old,
}

impl Running {
    fn show(&mut self, entry: &Entry) -> Shown {
        let Some(known) = self.shown.get_mut(&entry.key) else {
            self.shown.insert(entry.key.clone(), entry.revision);
            return Shown::News;
        };
        match entry.revision.cmp(known) {
            Ordering::Less => Shown::Old,
            Ordering::Equal => Shown::Nothing,
            Ordering::Greater => {
                *known = entry.revision;
                Shown::News
            }
        }
    }

    /// Whether one of its watches should have shown a key and has fallen silent.
    fn misses(&self, key: &str) -> bool {
        let mut broken = self.watches.values();
        broken.any(|watch| watch.stage == WatchStage::Broken && watch.scope.contains(key))
    }
}

/// When the bucket was created, if that is what a core is told.
pub(super) const fn created(input: &Input) -> Option<u64> {
    match input {
        Input::Event(Event::Store {
            result: Ok(StoreReply::Info(info)),
            ..
        }) => Some(info.created),
        Input::Event(_) | Input::Timeout | Input::Released(_) => None,
    }
}

/// What a commit proposes, if it contains `head`.
fn proposal(local: Instant, writes: &[Write]) -> Option<Proposal> {
    let (mut head, mut evictions) = (None, Vec::new());
    if writes.first()?.key != head_key() {
        return None;
    }
    for write in writes {
        let key = Key::parse(&write.key);
        // Assignments are the bulk of a generation, and nobody asks for them here.
        if !matches!(key, Key::Head | Key::Session(_)) {
            continue;
        }
        match (key, write.value.as_deref().map(any_release)) {
            (Key::Head, Some(Ok(Record::Head(record)))) => head = Some(record),
            (Key::Session(worker), Some(Ok(Record::Session(record)))) => {
                let status = record.status;
                if let SessionStatus::Evicted { .. } | SessionStatus::Suspected = status {
                    let judged = match write.expect {
                        Expect::Revision(revision) => Some(revision),
                        Expect::Absent | Expect::Any => None,
                    };
                    evictions.push(Eviction {
                        worker,
                        judged,
                        status,
                    });
                }
            }
            _ => {}
        }
    }
    let expects = writes.iter().map(|write| (write.key.clone(), write.expect));
    let head = head?;
    Some(Proposal {
        local,
        write: head.write,
        head,
        expects: expects.collect(),
        evictions,
    })
}
