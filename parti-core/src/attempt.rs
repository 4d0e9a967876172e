//! One conditional write and the resolution of its outcome.
//!
//! A commit can be done, refused, or *unknown*, and a refusal can be spurious. Whatever is not
//! clear is resolved by reading the first key of the commit: the own [`WriteId`] there means won;
//! the expected revision means that the very same write may be sent again (at most one can win);
//! anything newer means lost, for good. Old content is never tried on a new revision.

use alloc::vec::Vec;
use core::time::Duration;

use crate::backoff::Backoff;
use crate::cx::Cx;
use crate::effect::{Wake, WakeReason};
use crate::event::{OpId, OpOwner};
use crate::id::{Revision, WriteId};
use crate::record::Record;
use crate::store::{Entry, Expect, StoreError, StoreErrorKind, StoreOp, StoreReply, Write};
use crate::time::Instant;
use crate::wire;

/// Reads that show less than what is known before the key counts as vanished, and only after a full
/// lease: replicas lag for seconds, and an identity given up for that is given up for nothing.
const STALE_READS: u32 = 6;

/// Tries that leave the key as it was before a doubtful write is given up. Its late arrival is no
/// danger: whatever is written next expects the same revision, so that only one of both can win.
const DOUBTFUL_TRIES: u32 = 4;

/// A conditional write under way. Its first write carries the identifier it is recognised by.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    owner: OpOwner,
    writes: Vec<Write>,
    id: WriteId,
    first_sent: Instant,
    phase: Phase,
    backoff: Backoff,
    stale_reads: u32,
    /// An earlier sending may still be applied.
    doubtful: bool,
    last_error: Option<StoreError>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Writing(OpId),
    Reading { op: OpId, refused: bool },
    Pausing { until: Instant, next: Next },
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Write,
    Read { refused: bool },
}

/// How a conditional write stands.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Not clear yet.
    Pending,
    /// It happened; the first key has this revision.
    Won(Revision),
    /// Somebody else wrote the first key; it never will happen. `None`: the key has vanished.
    Lost(Option<Entry>),
    /// Nothing was written although the first key is as expected: another expectation failed.
    Refused(StoreError),
    /// The store will never take it. Nothing was written.
    Rejected(StoreError),
}

impl Attempt {
    /// Sends the write for the first time.
    pub(crate) fn begin(cx: &mut Cx<'_>, owner: OpOwner, id: WriteId, writes: Vec<Write>) -> Self {
        let op = cx.store(
            owner,
            StoreOp::Commit {
                writes: writes.clone(),
            },
        );
        let most = (cx.config().heartbeat_interval() / 2).min(Duration::from_secs(1));
        let backoff = Backoff::new(Duration::from_millis(10).min(most), most);
        Self {
            owner,
            writes,
            id,
            first_sent: cx.now,
            phase: Phase::Writing(op),
            backoff,
            stale_reads: 0,
            doubtful: false,
            last_error: None,
        }
    }

    /// When it was first sent: validity counts from here, whichever sending is applied.
    pub(crate) const fn first_sent(&self) -> Instant {
        self.first_sent
    }

    /// An answer came; `Pending` too when it was for somebody else.
    pub(crate) fn on_reply(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Outcome {
        match self.phase {
            Phase::Writing(expected) if expected == op => self.on_written(cx, result),
            Phase::Reading {
                op: expected,
                refused,
            } if expected == op => self.on_read(cx, refused, result),
            Phase::Writing(_) | Phase::Reading { .. } | Phase::Pausing { .. } => Outcome::Pending,
        }
    }

    /// A watch or another read showed the first key.
    pub(crate) fn on_seen(&self, entry: &Entry) -> Outcome {
        // The same name at an older revision is of an earlier history of the key.
        if self.is_own(entry) && self.is_later(entry) {
            Outcome::Won(entry.revision)
        } else if self.is_beyond(entry) {
            Outcome::Lost(Some(entry.clone()))
        } else {
            Outcome::Pending
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let Phase::Pausing { until, next } = self.phase else {
            return;
        };
        if cx.now < until {
            return;
        }
        match next {
            Next::Write => {
                let writes = self.writes.clone();
                self.phase = Phase::Writing(cx.store(self.owner, StoreOp::Commit { writes }));
            }
            Next::Read { refused } => self.read(cx, refused),
        }
    }

    pub(crate) const fn wake(&self) -> Option<Wake> {
        match self.phase {
            Phase::Pausing { until, .. } => Some(Wake::new(until, WakeReason::Retry)),
            Phase::Writing(_) | Phase::Reading { .. } => None,
        }
    }

    fn on_written(&mut self, cx: &mut Cx<'_>, result: &Result<StoreReply, StoreError>) -> Outcome {
        let error = match result {
            Ok(StoreReply::Committed { revisions }) => {
                if let Some(&revision) = revisions.first() {
                    return Outcome::Won(revision);
                }
                StoreError::new(StoreErrorKind::Unknown, "the store named no revision")
            }
            Ok(StoreReply::Entry(_) | StoreReply::Entries { .. } | StoreReply::Info(_)) => {
                StoreError::new(StoreErrorKind::Unknown, "the store answered something else")
            }
            Err(error) => error.clone(),
        };
        self.last_error = Some(error.clone());
        match error.kind {
            StoreErrorKind::Refused => self.read(cx, true),
            StoreErrorKind::Unknown => {
                self.doubtful = true;
                self.read(cx, false);
            }
            StoreErrorKind::Unavailable | StoreErrorKind::Missing => self.pause(cx, Next::Write),
            StoreErrorKind::Rejected if self.doubtful => self.read(cx, false),
            StoreErrorKind::Rejected => return Outcome::Rejected(error),
        }
        Outcome::Pending
    }

    fn on_read(
        &mut self,
        cx: &mut Cx<'_>,
        refused: bool,
        result: &Result<StoreReply, StoreError>,
    ) -> Outcome {
        let entry = match result {
            Ok(StoreReply::Entry(entry)) => entry.as_ref(),
            Ok(StoreReply::Committed { .. } | StoreReply::Entries { .. } | StoreReply::Info(_))
            | Err(_) => {
                self.pause(cx, Next::Read { refused });
                return Outcome::Pending;
            }
        };
        if let Some(entry) = entry {
            let seen = self.on_seen(entry);
            if !matches!(seen, Outcome::Pending) {
                return seen;
            }
        }
        if !self.is_expected(entry) {
            self.stale_reads += 1;
            cx.suspect();
            let patience = cx.config().lease();
            if self.stale_reads >= STALE_READS && cx.now.since(self.first_sent) >= patience {
                return Outcome::Lost(None);
            }
            self.pause(cx, Next::Read { refused });
            return Outcome::Pending;
        }
        // Refused although the first key is as expected: spurious, or another key's expectation.
        // While an earlier sending may still be applied, sending again is what settles it.
        let settled = !self.doubtful || self.backoff.tries() > DOUBTFUL_TRIES;
        match &self.last_error {
            Some(error) if settled && refused && self.writes.len() > 1 => {
                Outcome::Refused(error.clone())
            }
            Some(error) if settled && error.kind == StoreErrorKind::Rejected => {
                Outcome::Rejected(error.clone())
            }
            Some(_) | None => {
                self.pause(cx, Next::Write);
                Outcome::Pending
            }
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>, refused: bool) {
        let key = self.first().key.clone();
        self.phase = Phase::Reading {
            op: cx.store(self.owner, StoreOp::Get { key }),
            refused,
        };
    }

    fn pause(&mut self, cx: &mut Cx<'_>, next: Next) {
        let until = cx.now + self.backoff.next(cx.rng());
        self.phase = Phase::Pausing { until, next };
    }

    fn first(&self) -> &Write {
        &self.writes[0]
    }

    fn is_own(&self, entry: &Entry) -> bool {
        let value = entry.value.as_deref();
        value
            .and_then(|bytes| wire::decode(bytes).ok())
            .map(|r| r.write())
            == Some(self.id)
    }

    /// Whether the key was written by somebody else after what the write expects.
    fn is_beyond(&self, entry: &Entry) -> bool {
        match self.first().expect {
            Expect::Absent => entry.value.is_some(),
            Expect::Revision(base) => entry.revision > base,
            Expect::Any => false,
        }
    }

    fn is_later(&self, entry: &Entry) -> bool {
        match self.first().expect {
            Expect::Revision(base) => entry.revision > base,
            Expect::Absent | Expect::Any => true,
        }
    }

    fn is_expected(&self, entry: Option<&Entry>) -> bool {
        match self.first().expect {
            Expect::Absent => entry.is_none_or(|entry| entry.value.is_none()),
            Expect::Revision(base) => entry.is_some_and(|entry| entry.revision == base),
            Expect::Any => true,
        }
    }
}

impl Record {
    /// The write that made the record.
    #[must_use]
    pub const fn write(&self) -> WriteId {
        match self {
            Self::Head(head) => head.write,
            Self::Session(session) => session.write,
            Self::Assignment(assignment) => assignment.write,
            Self::Audit(entry) => entry.write,
            Self::Control(control) => control.write,
        }
    }
}

#[cfg(test)]
mod tests;
