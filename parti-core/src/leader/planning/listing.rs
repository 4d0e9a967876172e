//! Asking the partition source: when, and what to do with the answer.
//!
//! What always holds: an error never shrinks the list in use.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::io::effect::{Wake, WakeReason};
use crate::io::event::OpId;
use crate::io::notice::{FailedStep, Notice};
use crate::leader::planning::inherited::Origin;
use crate::leader::planning::target::Requested;
use crate::leader::{Leader, Leading};
use crate::link::cx::Cx;
use crate::model::partition::Partition;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::ports::source::SourceError;
use crate::records::record::Verb;

/// The partition list of a leader.
#[derive(Clone, Debug)]
pub(crate) struct PartitionList {
    pub(crate) table: Option<Arc<PartitionTable>>,
    /// Where it comes from.
    pub(crate) origin: Origin,
    listing: Listing,
    /// Refresh requests that were listed for.
    pub(crate) listed: BTreeSet<Requested>,
    generation: u64,
}

impl PartitionList {
    /// No list yet.
    pub(crate) const fn wanted() -> Self {
        Self {
            table: None,
            origin: Origin::Source,
            listing: Listing::Wanted,
            listed: BTreeSet::new(),
            generation: 0,
        }
    }

    /// Another number whenever something has changed that a judgement may depend on.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// What the records name, for want of an answer.
    pub(crate) fn inherit(&mut self, table: PartitionTable, origin: Origin) {
        (self.table, self.origin) = (Some(Arc::new(table)), origin);
        self.generation += 1;
    }

    /// Takes over what the source answered; the origin of the list before. Whether it is another one.
    fn replace(&mut self, table: PartitionTable) -> (Origin, bool) {
        let origin = core::mem::take(&mut self.origin);
        let known = self.table.as_ref();
        let changed = known.is_none_or(|known| **known != table) || origin.is_partial();
        if changed {
            self.table = Some(Arc::new(table));
        }
        (origin, changed)
    }

    /// When to look at the source again.
    pub(crate) const fn wake(&self) -> Option<Wake> {
        self.listing.wake()
    }

    /// The source announced a change.
    pub(crate) fn source_changed(&mut self) {
        match &mut self.listing {
            Listing::Running { again, .. } => *again = true,
            Listing::Wanted | Listing::Failed { .. } => {}
            Listing::Rested { .. } => self.listing = Listing::Wanted,
        }
    }
}

/// Where asking the source stands.
#[derive(Clone, Debug)]
enum Listing {
    /// To be asked as soon as possible.
    Wanted,
    /// Asked; `again` when a change was announced meanwhile. The answer is bounded by
    /// `operation_timeout`; an answer that is missing at `give_up` is lost.
    Running {
        op: OpId,
        requests: Vec<Requested>,
        again: bool,
        give_up: Instant,
        /// When a leader without a list begins with what the records name.
        inherit_at: Instant,
    },
    /// To be asked at a time, or when told to.
    Rested { again_at: Option<Instant> },
    /// Failed; to be asked again.
    Failed { until: Instant },
}

impl Listing {
    const fn wake(&self) -> Option<Wake> {
        match self {
            Self::Wanted | Self::Rested { again_at: None } => None,
            Self::Running {
                give_up,
                inherit_at,
                ..
            } => {
                let sooner = inherit_at.as_nanos() < give_up.as_nanos();
                let at = if sooner { *inherit_at } else { *give_up };
                Some(Wake::new(at, WakeReason::Retry))
            }
            Self::Rested { again_at: Some(at) } => Some(Wake::new(*at, WakeReason::Refresh)),
            Self::Failed { until } => Some(Wake::new(*until, WakeReason::Retry)),
        }
    }
}

impl Leader {
    /// The source announced a change.
    pub(crate) fn source_changed(&mut self) {
        self.list.source_changed();
    }

    /// Asks the source when it is time to.
    pub(crate) fn poll_listing(&mut self, cx: &mut Cx<'_>) {
        if let Listing::Running { give_up, .. } = &self.list.listing
            && cx.now >= *give_up
        {
            self.listing_failed(cx, "no answer, not even that it failed".to_string());
        }
        if let Listing::Running { inherit_at, .. } = &mut self.list.listing
            && cx.now >= *inherit_at
        {
            *inherit_at = Instant::FAR_FUTURE;
            self.inherit_list(cx);
        }
        let requests: Vec<Requested> = self
            .knowledge
            .view
            .controls
            .iter()
            .filter(|((verb, _), _)| *verb == Verb::Refresh)
            .map(|((verb, worker), &revision)| (*verb, worker.clone(), revision))
            .collect();
        let due = match &self.list.listing {
            Listing::Wanted => true,
            Listing::Running { .. } => false,
            Listing::Failed { until } => cx.now >= *until,
            Listing::Rested { again_at } => {
                again_at.is_some_and(|at| cx.now >= at)
                    || requests
                        .iter()
                        .any(|request| !self.list.listed.contains(request))
            }
        };
        if due {
            let op = cx.list_partitions();
            self.list.listing = Listing::Running {
                op,
                requests,
                again: false,
                give_up: cx.now + cx.config().answer_bound(),
                inherit_at: cx.now + cx.config().heartbeat_interval(),
            };
        }
    }

    /// The source answered.
    pub(crate) fn on_partitions(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: Result<Vec<Partition>, SourceError>,
    ) -> Leading {
        let Listing::Running {
            op: expected,
            requests,
            again,
            ..
        } = &self.list.listing
        else {
            return Leading::On;
        };
        if *expected != op {
            return Leading::On;
        }
        let (requests, again) = (requests.clone(), *again);
        self.list.generation += 1;
        let table = result
            .and_then(|list| PartitionTable::new(list).map_err(SourceError::Invalid))
            .map_err(|error| error.to_string());
        match table {
            Ok(table) => {
                cx.step_done(FailedStep::ListPartitions);
                self.list.listed = requests.into_iter().collect();
                let rested = Listing::Rested {
                    again_at: cx
                        .config()
                        .refresh_interval()
                        .map(|interval| cx.now + interval),
                };
                self.list.listing = if again { Listing::Wanted } else { rested };
                self.take_table(table);
            }
            Err(reason) => self.listing_failed(cx, reason),
        }
        Leading::On
    }

    fn take_table(&mut self, table: PartitionTable) {
        let (before, changed) = self.list.replace(table);
        if before.missing() > 0 {
            // Its target does not know what was missing: that is to be found as by a new leader.
            self.in_force.disown();
        }
        if changed {
            self.in_force.forget_comparison();
        }
    }

    fn listing_failed(&mut self, cx: &mut Cx<'_>, reason: String) {
        let idle = self.leadership.is_idle();
        // A leader with a list can go on without a fresh one; one without cannot do its job.
        if !self.inherit_list(cx) && idle {
            self.fail(cx, FailedStep::ListPartitions, reason);
        } else {
            let (step, failures) = (FailedStep::ListPartitions, self.retry.failures);
            cx.notify(Notice::StepFailed {
                step,
                failures,
                reason,
            });
        }
        let until = cx.now + self.retry.backoff.next(cx.rng());
        self.list.listing = Listing::Failed { until };
    }
}
