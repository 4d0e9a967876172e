//! The status: a look at a core from outside, put together when somebody asks.
//!
//! It is separate from the dispatch because it changes nothing. What always holds: nothing of it is
//! stored, so it cannot disagree with the machine.

use alloc::vec::Vec;

use super::{Core, Phase};
use crate::io::status::{GroupStatus, ModeStatus, Status, StoreStatus};
use crate::model::id::{Term, Version};
use crate::worker::member::Member;

impl Core {
    /// Where the core stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let member = match &self.phase {
            Phase::Member(member) => Some(&**member),
            Phase::Idle
            | Phase::Claiming(_)
            | Phase::Quarantined(_)
            | Phase::Ending { .. }
            | Phase::Stopped => None,
        };
        let head = member.and_then(|member| member.head());
        Status {
            state: self.state(),
            worker: member.map(|member| member.session.worker.clone()),
            epoch: member.map(|member| member.session.epoch),
            nonce: member.map(|member| member.session.nonce),
            deadline: self.deadline(),
            leader: head.and_then(|head| Some(head.leader.as_ref()?.worker.clone())),
            is_leader: member.is_some_and(|member| member.is_leader()),
            term: head.map_or(Term::ZERO, |head| head.term),
            version: head.map_or(Version::ZERO, |head| head.version),
            applied: self.holdings.applied(),
            assigned: self.holdings.assigned(),
            group: self.group_status(member),
            mode: ModeStatus {
                honours: member.map(|member| member.honours(&self.env.config)),
                holds: head.map(|head| head.agreed.holds),
                differences: member
                    .map(|member| member.differences(&self.env.boot.strategy))
                    .unwrap_or_default(),
            },
            store: self.store_status(),
            problems: member.map_or_else(Vec::new, |member| {
                member.problems(&self.env, self.now, &self.holdings)
            }),
        }
    }

    fn group_status(&self, member: Option<&Member>) -> GroupStatus {
        let head = member.and_then(|member| member.head());
        GroupStatus {
            cause: head.map(|head| head.cause),
            workers: head.map_or(0, |head| head.workers),
            partitions: head.map_or(0, |head| head.partitions),
            unfinished: head.map_or(0, |head| head.unfinished),
            parked: head.map(|head| head.parked).unwrap_or_default(),
            parked_by: member.map_or_else(Vec::new, |member| member.parked_by()),
            futile_terms: head.map_or(0, |head| head.carried.futile),
            recent_terms: member.map_or(0, |member| member.recent_terms(self.now)),
        }
    }

    fn store_status(&self) -> StoreStatus {
        let (circuit, watch_circuit) = self.env.link.circuits();
        let (watch_successes, watch_failures) = self.env.link.watched();
        StoreStatus {
            circuit,
            watch_circuit,
            watch_successes,
            watch_failures,
            retries: self.env.retries,
            retries_exhausted: self.env.exhausted,
            ignored_records: self.env.ignored_records,
        }
    }
}
