//! What each process has been shown of the sessions, and when on its own clock: the ground that the
//! checkers of a leader's judgement recompute it from.
//!
//! It is written from the protocol and shares nothing with the core. Where the two may count
//! differently it counts in favour of the core: it takes in what an abandoned watch still brings.

use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::{Epoch, Instant, Key, Notice, Record, Revision, SessionStatus, WorkerId};

use crate::simulator::checks::{AppliedCommit, Fact, Process, Rules, Written};

/// A write of a session, as the store applied it.
#[derive(Clone, Debug)]
struct Note {
    worker: WorkerId,
    epoch: Epoch,
    status: SessionStatus,
    lease: Duration,
    by: Process,
}

/// A session as one process knows it.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Heard {
    pub(in crate::simulator) revision: Revision,
    /// When this revision was first shown.
    pub(in crate::simulator) at: Instant,
    pub(in crate::simulator) epoch: Epoch,
    pub(in crate::simulator) status: SessionStatus,
    /// What it promises; nobody may end it sooner.
    pub(in crate::simulator) lease: Duration,
    /// When this incarnation was first shown.
    pub(in crate::simulator) joined: Instant,
    /// When the incarnation before it was, if there was one.
    pub(in crate::simulator) earlier: Instant,
}

/// The contact of a process with the store.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulator) struct Contact {
    /// Since when there was no gap.
    pub(in crate::simulator) since: Instant,
    /// The last own renewal that came back through a watch, and when.
    pub(in crate::simulator) echo: (Revision, Instant),
    /// Nobody may be judged before.
    pub(in crate::simulator) judges_from: Instant,
}

/// What one process knows.
#[derive(Clone, Debug, Default)]
pub(in crate::simulator) struct Known {
    pub(in crate::simulator) sessions: BTreeMap<WorkerId, Heard>,
    pub(in crate::simulator) contact: Option<Contact>,
}

/// What all processes know. There is one for all checkers; it takes in each fact before they see it.
#[derive(Debug)]
pub(in crate::simulator) struct Hearing {
    recovery: Duration,
    /// The longest time between two echoes without a gap.
    patience: Duration,
    /// By revision.
    notes: Vec<Option<Note>>,
    known: BTreeMap<Process, Known>,
}

impl Hearing {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        let slack = rules.lease.saturating_sub(rules.heartbeat * 2);
        Self {
            recovery: rules.recovery,
            patience: rules.heartbeat + slack.min(rules.heartbeat) / 2,
            notes: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    pub(in crate::simulator) const fn patience(&self) -> Duration {
        self.patience
    }

    pub(in crate::simulator) fn of(&self, process: Process) -> Option<&Known> {
        self.known.get(&process)
    }

    /// Takes in a fact, if it tells what somebody was shown.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all others tell nothing of it"
    )]
    pub(in crate::simulator) fn take_in(&mut self, fact: &Fact) {
        match fact {
            Fact::Commit(AppliedCommit {
                process, writes, ..
            }) => {
                for write in writes {
                    self.note(*process, write);
                }
            }
            Fact::External { writes } => {
                for write in writes {
                    self.note_external(write);
                }
            }
            Fact::Heard {
                process,
                local,
                revision,
                watched,
            } => self.hear(*process, *local, *revision, *watched),
            Fact::Notice {
                process,
                notice: Notice::Claimed { .. },
            } => {
                // A new session begins with a contact of its own.
                self.known.entry(*process).or_default().contact = None;
            }
            Fact::Ended { process } => {
                self.known.remove(process);
            }
            _ => {}
        }
    }

    fn note(&mut self, by: Process, write: &Written) {
        let (Key::Session(worker), Some(Record::Session(record))) = (&write.key, write.record())
        else {
            return;
        };
        let epoch = match record.epoch {
            Epoch::ZERO => Epoch::from(write.revision),
            epoch => epoch,
        };
        let note = Note {
            worker: worker.clone(),
            epoch,
            status: record.status,
            lease: record.lease,
            by,
        };
        self.keep(write.revision, note);
    }

    /// What somebody else wrote over a session is silent like any other, and takes no part.
    fn note_external(&mut self, write: &Written) {
        let Key::Session(worker) = &write.key else {
            return;
        };
        let status = match write.record() {
            Some(Record::Session(session)) if !session.status.is_living() => session.status,
            Some(_) | None => SessionStatus::Draining,
        };
        let note = Note {
            worker: worker.clone(),
            epoch: Epoch::from(write.revision),
            status,
            lease: match write.record() {
                Some(Record::Session(session)) => session.lease,
                Some(_) | None => Duration::ZERO,
            },
            by: Process {
                node: u16::MAX,
                run: 0,
            },
        };
        self.keep(write.revision, note);
    }

    fn keep(&mut self, revision: Revision, note: Note) {
        let index = revision.get() as usize;
        if self.notes.len() <= index {
            self.notes.resize(index + 1, None);
        }
        self.notes[index] = Some(note);
    }

    fn hear(&mut self, process: Process, local: Instant, revision: Revision, watched: bool) {
        let note = self.notes.get(revision.get() as usize);
        let Some(note) = note.and_then(Option::as_ref) else {
            return;
        };
        let known = self.known.entry(process).or_default();
        if watched && note.by == process && note.status.is_living() {
            known.echo(self.patience, self.recovery, local, revision);
        }
        match known.sessions.get_mut(&note.worker) {
            Some(heard) if heard.revision >= revision => {}
            Some(heard) => {
                if heard.epoch != note.epoch {
                    (heard.earlier, heard.joined) = (heard.joined, local);
                }
                (heard.revision, heard.at) = (revision, local);
                (heard.epoch, heard.status, heard.lease) = (note.epoch, note.status, note.lease);
            }
            None => {
                let heard = Heard {
                    revision,
                    at: local,
                    epoch: note.epoch,
                    status: note.status,
                    lease: note.lease,
                    joined: local,
                    earlier: local,
                };
                known.sessions.insert(note.worker.clone(), heard);
            }
        }
    }
}

impl Known {
    fn echo(&mut self, patience: Duration, recovery: Duration, local: Instant, revision: Revision) {
        match &mut self.contact {
            // The claim itself begins the contact: nothing was missed before it.
            None => {
                self.contact = Some(Contact {
                    since: Instant::ORIGIN,
                    echo: (revision, local),
                    judges_from: Instant::ORIGIN,
                });
            }
            // Only an abandoned watch may have brought the newer one, which the process ignores.
            Some(contact) if revision < contact.echo.0 => contact.echo.1 = local,
            Some(contact) => {
                if local.since(contact.echo.1) > patience {
                    contact.since = local;
                    contact.judges_from = local + recovery;
                }
                contact.echo = (revision, local);
            }
        }
    }
}
