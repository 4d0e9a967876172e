//! What the checkers are told of a process beyond its effects: what it hears, and what it proposes.

use parti_core::{
    Event, Expect, Instant, Key, Record, SessionStatus, StoreReply, WatchEvent, Write, head_key,
    wire,
};

use crate::checks::{Eviction, Fact, Process, Proposal};
use crate::sim::node::Input;
use crate::sim::world::World;

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
            Event::Watch { .. }
            | Event::Store { .. }
            | Event::Partitions { .. }
            | Event::Planned { .. }
            | Event::Start
            | Event::Released { .. }
            | Event::SourceChanged
            | Event::ClockJumped
            | Event::Stop { .. } => {}
        }
    }
}

/// What a commit proposes, if it contains `head`.
pub(super) fn proposal(writes: &[Write]) -> Option<Proposal> {
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
        match (key, write.value.as_deref().map(wire::decode)) {
            (Key::Head, Some(Ok(Record::Head(record)))) => head = Some(record),
            (Key::Session(worker), Some(Ok(Record::Session(record)))) => {
                if let SessionStatus::Evicted { silent } = record.status {
                    let judged = match write.expect {
                        Expect::Revision(revision) => Some(revision),
                        Expect::Absent | Expect::Any => None,
                    };
                    evictions.push(Eviction {
                        worker,
                        judged,
                        silent,
                    });
                }
            }
            _ => {}
        }
    }
    let expects = writes.iter().map(|write| (write.key.clone(), write.expect));
    let head = head?;
    Some(Proposal {
        write: head.write,
        head,
        expects: expects.collect(),
        evictions,
    })
}
