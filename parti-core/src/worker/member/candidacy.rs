//! Standing for election: when a member may, and what it writes.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use super::{Candidacy, Member};
use crate::config::Config;
use crate::io::event::{OpId, OpOwner};
use crate::io::notice::{FailedStep, Notice};
use crate::link::Link;
use crate::link::attempt::{Attempt, Outcome};
use crate::link::cx::Cx;
use crate::model::id::{Term, Version, WriteId};
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::ports::store::{StoreError, StoreReply, Write};
use crate::ports::strategy::StrategyId;
use crate::records::keys::head_key;
use crate::records::record::{Head, LeaderName, Record};
use crate::worker::departure::Departure;

impl Member {
    /// When this member may stand; `None`: not as things are.
    pub(super) fn stands_at(&self, config: &Config, link: &Link, now: Instant) -> Option<Instant> {
        if self.leader.is_some()
            || link.suspended_at().is_some()
            || !self.may_lead()
            || !link.watching().is_caught_up()
            || !link.heard(config, now).is_heard()
        {
            return None;
        }
        let me = (&self.session.worker, self.session.epoch);
        let vacant = self.follow.vacant_at(config, link.contact(), me)?;
        let suspected = self.suspicion_holds_at(config, link, now);
        let vacant = suspected.map_or(vacant, |at| vacant.min(at));
        // A worker that is leaving is a candidate only if no other is: to hand over what is left.
        let last = if self.departure.is_some() {
            config.election_jitter() * 2
        } else {
            Duration::ZERO
        };
        Some(vacant.max(self.stand_not_before) + self.jitter + last)
    }

    /// A leaving worker leads only as long as it has something to hand over.
    fn may_lead(&self) -> bool {
        self.departure.as_ref().is_none_or(Departure::is_draining)
    }

    pub(super) fn poll_candidacy(&mut self, cx: &mut Cx<'_>) {
        if let Candidacy::Standing { attempt, .. } = &mut self.candidacy {
            return attempt.handle_timeout(cx);
        }
        let at = self.stands_at(cx.config(), cx.link(), cx.now);
        if at.is_none_or(|at| cx.now < at) {
            return;
        }
        self.note_candidacy(cx);
        let head = self.next_head(cx);
        let expect = self.follow.head_expect();
        let value = Some(cx.encode(&Record::Head(head.clone())));
        let writes = vec![Write {
            key: head_key(),
            value,
            expect,
        }];
        let attempt = Attempt::begin(cx, OpOwner::Candidate, head.write, writes);
        self.candidacy = Candidacy::Standing {
            attempt: Box::new(attempt),
            head: Box::new(head),
        };
    }

    /// The `head` this member would lead with: the same generation, one term on.
    fn next_head(&self, cx: &Cx<'_>) -> Head {
        let before = self.follow.head();
        let term = before.map(|head| head.term).unwrap_or(Term::ZERO).next();
        let known = before.map(|head| head.version).unwrap_or(Version::ZERO);
        let leader = Some(LeaderName {
            worker: self.session.worker.clone(),
            epoch: self.session.epoch,
        });
        Head {
            write: WriteId {
                nonce: self.session.nonce,
                seq: term.get() << 32,
            },
            term,
            leader,
            // The wall clock keeps tokens rising even if the whole history is lost one day.
            version: known.max(cx.known()).next().max(Version::new(cx.wall_ms())),
            format: cx.format(),
            lease: cx.config().lease(),
            cause: Cause::Takeover,
            planned: before.map(|head| head.planned).unwrap_or_default(),
            strategy: before.map_or_else(|| StrategyId::new(""), |head| head.strategy.clone()),
            workers: before.map_or(0, |head| head.workers),
            partitions: before.map_or(0, |head| head.partitions),
            digest: before.map_or(0, |head| head.digest),
            weights_digest: before.map_or(0, |head| head.weights_digest),
            unfinished: before.map_or(0, |head| head.unfinished),
            granted: before.map_or(0, |head| head.granted),
            agreed: before.map(|head| head.agreed).unwrap_or_default(),
            carried: self.follow.carried(cx.config(), cx.now),
            parked: before.map(|head| head.parked).unwrap_or_default(),
        }
    }

    /// An answer about the candidacy.
    pub(crate) fn on_candidate_reply(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) {
        if let Candidacy::Standing { attempt, .. } = &mut self.candidacy {
            let outcome = attempt.on_reply(cx, op, result);
            self.on_candidacy(cx, outcome);
        }
    }

    pub(super) fn on_candidacy(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Pending => {}
            Outcome::Won(revision) => {
                let won = core::mem::replace(&mut self.candidacy, Candidacy::Waiting);
                let Candidacy::Standing { head, .. } = won else {
                    return;
                };
                if cx.link().suspended_at().is_some() || self.is_releasing() {
                    // Won too late to be of use: the next who stands takes over.
                    self.follow.wrote_head(cx, *head, revision);
                } else {
                    self.on_elected(cx, *head, revision);
                }
            }
            Outcome::Lost(entry) => {
                self.candidacy = Candidacy::Waiting;
                if let Some(entry) = entry {
                    self.on_head_entry(cx, &cx.seen(&entry), false);
                }
            }
            Outcome::Refused(error) | Outcome::Rejected(error) => {
                self.candidacy = Candidacy::Waiting;
                self.stand_not_before = cx.now + cx.config().heartbeat_interval();
                let (step, failures, reason) = (FailedStep::TakeOver, 1, alloc::format!("{error}"));
                cx.notify(Notice::StepFailed {
                    step,
                    failures,
                    reason,
                });
            }
        }
    }
}
