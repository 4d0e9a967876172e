//! One conditional write and the resolution of its outcome.
//!
//! A commit can be done, refused, or *unknown*, and a refusal can be spurious. Whatever is not
//! clear is resolved by reading the first key of the commit: its own [`WriteId`] there means won;
//! the expected revision means that the very same write may be sent again (at most one can win);
//! anything newer means lost, for good. Old content is never tried on a new revision.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::io::effect::{Wake, WakeReason};
use crate::io::event::{OpId, OpOwner};
use crate::link::circuits::Gate;
use crate::link::cx::Cx;
use crate::model::id::{Revision, WriteId};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Entry, Expect, StoreError, StoreErrorKind, StoreOp, StoreReply, Write};
use crate::records::record::Record;
use crate::records::seen::Seen;
use crate::resilience::backoff::Backoff;

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
    last_sent: Instant,
    phase: Phase,
    backoff: Backoff,
    stale_reads: u32,
    /// An earlier sending may still be applied.
    doubtful: bool,
    last_error: Option<StoreError>,
    /// Why the last question about the outcome was not answered, if the last one was not.
    unread: Option<StoreError>,
    /// When it is of no use any more: retries are spread over the time until then.
    urgent_by: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Writing(OpId),
    Reading {
        op: OpId,
        refused: bool,
    },
    Pausing {
        until: Instant,
        next: Next,
    },
    /// The circuit does not let it pass.
    Held {
        next: Next,
    },
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
        let most = (cx.config().heartbeat_interval() / 2).min(Duration::from_secs(1));
        let mut attempt = Self {
            owner,
            writes,
            id,
            first_sent: cx.now,
            last_sent: cx.now,
            phase: Phase::Held { next: Next::Write },
            backoff: cx.config().retry().endless(most),
            stale_reads: 0,
            doubtful: false,
            last_error: None,
            unread: None,
            urgent_by: None,
        };
        attempt.send(cx, Next::Write);
        attempt
    }

    /// The same, to be spread over the time until then if it fails more often than once.
    pub(crate) fn by(self, deadline: Instant) -> Self {
        let urgent_by = Some(deadline);
        Self { urgent_by, ..self }
    }

    /// When it was first sent: validity counts from here, whichever sending is applied.
    pub(crate) const fn first_sent(&self) -> Instant {
        self.first_sent
    }

    /// Why it is not clear yet, in the store's own words where it has said some.
    pub(crate) fn still_open(&self) -> String {
        let unread = self.unread.as_ref();
        match (&self.last_error, self.doubtful) {
            (None, _) => "the store left its outcome open and did not answer".into(),
            (Some(error), true) => {
                let error = unread.unwrap_or(error);
                format!("the store left its outcome open: {error}")
            }
            (Some(error), false) => match unread {
                Some(unread) => format!("{error}, and what is stored cannot be read: {unread}"),
                None => format!("{error}"),
            },
        }
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
            Phase::Writing(_)
            | Phase::Reading { .. }
            | Phase::Pausing { .. }
            | Phase::Held { .. } => Outcome::Pending,
        }
    }

    /// A watch or another read showed the first key.
    pub(crate) fn on_seen(&self, cx: &mut Cx<'_>, seen: &Seen<'_>) -> Outcome {
        let outcome = self.compare(seen);
        if let (Outcome::Won(_), Phase::Writing(op) | Phase::Reading { op, .. }) =
            (&outcome, self.phase)
        {
            // The store carried it out, whatever becomes of the answer.
            cx.proved(op);
        }
        outcome
    }

    fn compare(&self, seen: &Seen<'_>) -> Outcome {
        let entry = seen.entry();
        // The same name at an older revision is of an earlier history of the key.
        if seen.write() == Some(self.id) && self.is_later(entry) {
            Outcome::Won(entry.revision)
        } else if self.is_beyond(entry) {
            Outcome::Lost(Some(entry.clone()))
        } else {
            Outcome::Pending
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Pausing { until, next } if cx.now >= until => self.send(cx, next),
            Phase::Held { next } => self.send(cx, next),
            Phase::Pausing { .. } | Phase::Writing(_) | Phase::Reading { .. } => {}
        }
    }

    pub(crate) const fn wake(&self) -> Option<Wake> {
        match self.phase {
            Phase::Pausing { until, .. } => Some(Wake::new(until, WakeReason::Retry)),
            // Whatever lets it pass is an event.
            Phase::Writing(_) | Phase::Reading { .. } | Phase::Held { .. } => None,
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
            StoreErrorKind::Refused => self.send(cx, Next::Read { refused: true }),
            StoreErrorKind::Unknown => {
                self.doubtful = true;
                self.settle(cx);
            }
            StoreErrorKind::Unavailable | StoreErrorKind::Missing => self.retry(cx, Next::Write),
            StoreErrorKind::Rejected if self.doubtful => {
                self.send(cx, Next::Read { refused: false });
            }
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
        self.unread = result.as_ref().err().cloned();
        let entry = match result {
            Ok(StoreReply::Entry(entry)) => entry.as_ref(),
            Ok(StoreReply::Committed { .. } | StoreReply::Entries { .. } | StoreReply::Info(_))
            | Err(_) => {
                self.retry(cx, Next::Read { refused });
                return Outcome::Pending;
            }
        };
        if let Some(entry) = entry {
            let seen = self.compare(&cx.seen(entry));
            if matches!(seen, Outcome::Lost(_)) && cx.planted(Planted::BlindRebase) {
                self.writes[0].expect = Expect::Revision(entry.revision);
            } else if !matches!(seen, Outcome::Pending) {
                return seen;
            }
        }
        if !self.is_expected(entry) {
            self.stale_reads += 1;
            cx.suspect();
            let patience = cx.config().lease();
            let vanished =
                self.stale_reads >= STALE_READS && cx.now.since(self.first_sent) >= patience;
            if vanished || cx.planted(Planted::StaleReadBelieved) {
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

    /// Sends it, if the circuit lets it pass.
    fn send(&mut self, cx: &mut Cx<'_>, next: Next) {
        self.last_sent = cx.now;
        self.phase = match (cx.gate(self.owner), next) {
            (Gate::Free, Next::Write) => {
                let writes = self.writes.clone();
                let (first, now) = (self.first_sent, cx.now);
                self.first_sent = cx.unless_planted(Planted::RetryRestartsLease, first, now);
                Phase::Writing(cx.store(self.owner, StoreOp::Commit { writes }))
            }
            (Gate::Free, Next::Read { refused }) => {
                let key = self.first().key.clone();
                let op = cx.store(self.owner, StoreOp::Get { key });
                Phase::Reading { op, refused }
            }
            (Gate::Until(until), next) => Phase::Pausing { until, next },
            (Gate::Shut, next) => Phase::Held { next },
        };
    }

    /// Nobody knows whether it was written: reads at once, unless that has become too much. Then
    /// the watch may show it meanwhile; if it does not, the very same write is the better question,
    /// since only one of both can succeed.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        let next = Next::Read { refused: false };
        if cx.may_hurry() {
            cx.note_retry(self.owner, self.backoff.tries(), Duration::ZERO);
            self.send(cx, next);
        } else {
            let same = matches!(self.first().expect, Expect::Absent | Expect::Revision(_));
            self.wait(cx, if same { Next::Write } else { next });
        }
    }

    /// The store did not do its part: tries again soon as long as that is rare.
    fn retry(&mut self, cx: &mut Cx<'_>, next: Next) {
        if cx.may_hurry() {
            self.pause(cx, next);
            let Phase::Pausing { until, .. } = self.phase else {
                return;
            };
            cx.note_retry(self.owner, self.backoff.tries(), until.since(cx.now));
        } else {
            self.wait(cx, next);
        }
    }

    /// Tries again as late as its purpose allows: after a third of what is left, again and again, so
    /// that the first pauses are long and there are still several tries shortly before the end.
    fn wait(&mut self, cx: &mut Cx<'_>, next: Next) {
        // Counted from the last sending: an answer that never came has taken its time already.
        let interval = cx.config().heartbeat_interval();
        let left = self.urgent_by.map(|by| by.since(self.last_sent));
        let pause = match left {
            Some(left) if !left.is_zero() => (left / 3).clamp(interval / 20, interval),
            Some(_) | None => interval,
        };
        let pause = pause - cx.rng().duration_below(pause / 4);
        let soon = cx.now + self.backoff.next(cx.rng()).min(interval / 20);
        let until = (self.last_sent + pause).max(soon);
        cx.note_retry(self.owner, self.backoff.tries(), until.since(cx.now));
        self.phase = Phase::Pausing { until, next };
    }

    fn pause(&mut self, cx: &mut Cx<'_>, next: Next) {
        let until = cx.now + self.backoff.next(cx.rng());
        self.phase = Phase::Pausing { until, next };
    }

    fn first(&self) -> &Write {
        &self.writes[0]
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
            Self::Manifest(manifest) => manifest.write,
            Self::Piece(piece) => piece.write,
            Self::Audit(entry) => entry.write,
            Self::Control(control) => control.write,
            Self::Parked(parked) => parked.write,
            Self::Suspicion(suspicion) => suspicion.write,
            // The nonce is of the change, not of a session.
            Self::Source(part) => WriteId {
                nonce: part.change,
                seq: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests;
