//! Whether this worker's own source lists what the group has: two applications that share a group by
//! mistake would otherwise get each other's partitions in silence.
//!
//! Only a leader's list is ever planned with; this one is compared and forgotten. What always holds: a
//! list that is merely newer or older is no difference. It counts when the same two lists were found
//! to differ twice, with the time between in which a leader takes over a changed list.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::Member;
use crate::config::Config;
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::OpId;
use crate::io::notice::Notice;
use crate::link::cx::Cx;
use crate::model::id::Version;
use crate::model::partition::Partition;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::ports::source::SourceError;
use crate::records::agreement::{Difference, Disagreement};
use crate::records::problem::{Problem, ProblemKind};

/// What is known of this worker's own list.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnList {
    asked: Option<OpId>,
    /// When to ask, if that is due some day.
    ask_at: Option<Instant>,
    /// Digest of this worker's own list.
    own: Option<u128>,
    /// Digest of the group's list that it was compared with last.
    group: Option<u128>,
    /// Since when the two are known to differ.
    differing: Option<Instant>,
    found: Option<Disagreement>,
}

impl OwnList {
    /// The difference, once it is certain.
    pub(super) const fn found(&self) -> Option<&Disagreement> {
        self.found.as_ref()
    }

    /// The difference as a problem.
    pub(super) fn problem(&self) -> Option<Problem> {
        let (found, since) = self.found.as_ref().zip(self.differing)?;
        let detail = found.difference.to_string();
        Some(Problem::new(ProblemKind::OtherList, since, 1, detail))
    }

    pub(super) fn wake(&self) -> Option<Wake> {
        let at = self.ask_at.filter(|_| self.asked.is_none())?;
        Some(Wake::new(at, WakeReason::Refresh))
    }
}

/// How long a leader may take until a changed list is in force: it waits for windows and the cooldown.
fn grace(config: &Config) -> Duration {
    let window = config.planned_scale_window() * 2 + config.min_rebalance_interval();
    window + config.heartbeat_interval() * 2
}

impl Member {
    /// Its own source announced a change.
    pub(crate) fn source_changed(&mut self, cx: &mut Cx<'_>) {
        if self.own_list.group.is_some() {
            self.ask_for_own_list(cx);
        }
    }

    fn ask_for_own_list(&mut self, cx: &mut Cx<'_>) {
        // A thousand workers must not all ask at once.
        let jitter = cx.config().heartbeat_interval();
        let at = cx.now + cx.rng().duration_below(jitter) + Duration::from_millis(1);
        self.own_list.ask_at = Some(self.own_list.ask_at.map_or(at, |before| before.min(at)));
    }

    /// Compares with what the group has now, and asks the source when it is time.
    pub(super) fn poll_own_list(&mut self, cx: &mut Cx<'_>) {
        let head = self.head().filter(|head| head.planned > Version::ZERO);
        let group = head.map(|head| head.digest);
        if self.is_leader() || self.is_leaving() || group.is_none() {
            self.forget_difference(cx);
            (self.own_list.group, self.own_list.ask_at) = (None, None);
            return;
        }
        if self.own_list.group != group {
            self.own_list.group = group;
            self.forget_difference(cx);
            if self.own_list.own != group {
                self.ask_for_own_list(cx);
            }
        }
        let due = self.own_list.ask_at.is_some_and(|at| cx.now >= at);
        if due && self.own_list.asked.is_none() {
            self.own_list.ask_at = None;
            self.own_list.asked = Some(cx.list_to_compare());
        }
    }

    fn forget_difference(&mut self, cx: &Cx<'_>) {
        (self.own_list.differing, self.own_list.found) = (None, None);
        self.session.set_list(cx, None);
    }

    /// The source answered.
    pub(crate) fn on_own_list(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: Result<Vec<Partition>, SourceError>,
    ) {
        if self.own_list.asked != Some(op) {
            return;
        }
        self.own_list.asked = None;
        let again = cx.config().refresh_interval();
        let again = again.unwrap_or(cx.config().reconcile_interval());
        let table = result.and_then(|list| PartitionTable::new(list).map_err(SourceError::Invalid));
        let Ok(table) = table else {
            // What a leader would do about it is a leader's business; here nothing is known.
            self.own_list.ask_at = Some(cx.now + again);
            return;
        };
        let before = self.own_list.own.replace(table.digest());
        let (Some(own), Some(group)) = (self.own_list.own, self.own_list.group) else {
            return;
        };
        if own == group {
            let periodic = cx.config().refresh_interval();
            self.own_list.ask_at = periodic.map(|interval| cx.now + interval);
            return self.forget_difference(cx);
        }
        let grace = grace(cx.config());
        let since = self.own_list.differing.filter(|_| before == Some(own));
        let since = *self.own_list.differing.insert(since.unwrap_or(cx.now));
        if cx.now < since + grace {
            self.own_list.ask_at = Some(since + grace);
            return;
        }
        self.own_list.ask_at = Some(cx.now + again);
        self.tell_other_list(cx, own, group);
    }

    fn tell_other_list(&mut self, cx: &mut Cx<'_>, own: u128, other: u128) {
        self.session.set_list(cx, Some(own));
        if self.own_list.found.is_some() {
            return;
        }
        let leader = self.follow.leader().unwrap_or(&self.session.worker);
        let found = Disagreement {
            worker: leader.clone(),
            difference: Difference::List { own, other },
        };
        self.own_list.found = Some(found.clone());
        cx.notify(Notice::SettingsDiffer(found));
    }
}
