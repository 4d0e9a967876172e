//! What workers of one group must agree on, and what follows when they do not.
//!
//! Each session tells its [`GroupSettings`]; `head` tells what the group obeys ([`Agreed`]). It is
//! separate because a comparison is a pure function of two records, whichever side makes it: a process that
//! wants to join, or the leader. What always holds: the stricter mode is in force as long as somebody
//! who may hold something asks for it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::config::{Config, Mode, OnBucketLost};
use crate::model::id::WorkerId;
use crate::model::partition::PartitionKey;
use crate::ports::strategy::StrategyId;
use crate::records::record::{AssignmentRecord, SessionRecord, SessionStatus};

/// The settings of a worker that others compare with theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// What happens between two owners, as it is configured.
    pub mode: Mode,
    /// The mode from which the group is being rolled to `mode`, if that was declared.
    pub rolling_from: Option<Mode>,
    /// The longest lease it expects of anybody.
    pub max_lease: Duration,
    /// The largest rate error of its clock, in parts per million.
    pub clock_drift_ppm: u32,
    /// What it does when the bucket is lost.
    pub on_bucket_lost: OnBucketLost,
    /// The strategy it would plan with.
    pub strategy: StrategyId,
    /// What it belongs to; empty when nothing was said.
    pub application: String,
    /// Digest of the partition list that its own source gives, when that was found to be another one
    /// than the group has.
    pub list: Option<u128>,
    /// Digest of the settings that only a leader uses.
    pub leading: u64,
}

impl GroupSettings {
    /// What a worker with this configuration and strategy tells.
    #[must_use]
    pub fn new(config: &Config, strategy: &StrategyId) -> Self {
        Self {
            mode: config.mode(),
            rolling_from: config.rolling_from(),
            max_lease: config.max_lease(),
            clock_drift_ppm: config.clock_drift_ppm(),
            on_bucket_lost: config.on_bucket_lost(),
            strategy: strategy.clone(),
            application: config.application().into(),
            list: None,
            leading: config.leading(),
        }
    }
}

impl Default for GroupSettings {
    /// What is assumed of somebody whose settings are not known: nothing that forbids anything.
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            rolling_from: None,
            max_lease: Duration::from_secs(24 * 60 * 60),
            clock_drift_ppm: 1000,
            on_bucket_lost: OnBucketLost::default(),
            strategy: StrategyId::new(""),
            application: String::new(),
            list: None,
            leading: 0,
        }
    }
}

/// What the group obeys, as `head` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreed {
    /// The mode that every worker is asked to obey: the strictest that anybody is configured with.
    pub mode: Mode,
    /// The mode that holds: the stricter one only once every living session obeys it and nothing that
    /// was granted before is held twice.
    pub holds: Mode,
    /// The longest lease that anybody has.
    pub longest_lease: Duration,
}

impl Default for Agreed {
    /// What is asked for when nothing is known: the strictest; nothing is promised yet.
    fn default() -> Self {
        Self {
            mode: Mode::Exclusive,
            holds: Mode::Overlap,
            longest_lease: Duration::ZERO,
        }
    }
}

/// What the group obeys, given what the sessions say of those who may hold something; `None` for one
/// that cannot be read. `contested` is asked only while the stricter mode does not hold yet: while it
/// holds, no grant is made that another may still hold.
pub(crate) fn agree<'a>(
    before: &Agreed,
    sessions: impl Iterator<Item = Option<&'a SessionRecord>>,
    contested: impl FnOnce() -> bool,
) -> Agreed {
    let (mut mode, mut obeyed, mut longest_lease) = (None::<Mode>, Mode::Exclusive, Duration::ZERO);
    for said in sessions {
        // Of what cannot be read nothing is known: it neither tightens nor loosens the rule.
        let asks = said.map_or(before.mode, |said| said.settings.mode);
        mode = Some(mode.map_or(asks, |mode| mode.stricter(asks)));
        let Some(said) = said else { continue };
        longest_lease = longest_lease.max(said.lease);
        let obeys = match said.status {
            // What it held was given away while its lease lasts: that is the least of the two.
            SessionStatus::Suspected => Mode::Fenced.looser(said.honours),
            SessionStatus::Active
            | SessionStatus::Draining
            | SessionStatus::Released { .. }
            | SessionStatus::Evicted { .. } => said.honours,
        };
        obeyed = obeyed.looser(obeys);
    }
    let mode = mode.unwrap_or(before.mode);
    // What everybody obeys, of what is asked for.
    let common = mode.looser(obeyed);
    let held = before.mode.looser(before.holds);
    let holds = if !common.is_stricter_than(held) || !contested() {
        common
    } else {
        held.looser(common)
    };
    Agreed {
        mode,
        holds,
        longest_lease,
    }
}

/// Whether, by these records, somebody may hold a partition that another was granted: a grant made
/// while the looser mode was in force.
pub(crate) fn is_contested<'a>(
    records: impl Iterator<Item = (&'a AssignmentRecord, Option<&'a SessionRecord>)> + Clone,
) -> bool {
    let mut granted: BTreeMap<&PartitionKey, u32> = BTreeMap::new();
    for (record, _) in records.clone() {
        for grant in &record.granted {
            *granted.entry(&grant.partition).or_default() += 1;
        }
    }
    let mut leaving = records.flat_map(|(record, said)| {
        let held = record.still_held(said);
        held.map(|revoking| &revoking.partition)
    });
    granted.values().any(|&times| times > 1) || leaving.any(|key| granted.contains_key(key))
}

/// Two workers of one group that are not configured alike: this worker's value first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Another mode, and neither of the two declares a change from one to the other.
    Mode {
        /// Its own mode.
        own: Mode,
        /// The other's.
        other: Mode,
    },
    /// Another application.
    Application {
        /// Its own label.
        own: String,
        /// The other's.
        other: String,
    },
    /// Its own lease is longer than the other expects of anybody.
    OwnLease {
        /// Its own lease.
        lease: Duration,
        /// The longest the other expects.
        max_lease: Duration,
    },
    /// The other's lease is longer than this worker expects of anybody.
    OtherLease {
        /// The other's lease.
        lease: Duration,
        /// The longest that is expected.
        max_lease: Duration,
    },
    /// Another strategy: partitions move to and fro with every change of the leader.
    Strategy {
        /// Its own strategy.
        own: StrategyId,
        /// The other's.
        other: StrategyId,
    },
    /// Another partition list: the leader assigns its own.
    List {
        /// Digest of this worker's own list.
        own: u128,
        /// Digest of the other's, or of the one that is in force.
        other: u128,
    },
    /// Another answer to the loss of the bucket: some would stop, others go on.
    OnBucketLost {
        /// Its own answer.
        own: OnBucketLost,
        /// The other's.
        other: OnBucketLost,
    },
    /// Another heartbeat interval: it is noticed later, or more is written.
    Heartbeat {
        /// Its own interval.
        own: Duration,
        /// The other's.
        other: Duration,
    },
    /// Another lease, within what everybody expects: losses are noticed at different speeds.
    Lease {
        /// Its own lease.
        own: Duration,
        /// The other's.
        other: Duration,
    },
    /// Other windows, timeouts or thresholds: the group's pace changes with its leader.
    Leading,
}

impl Difference {
    /// The words of all settings that are compared.
    pub const WORDS: [&'static str; 9] = [
        "mode",
        "application",
        "max_lease",
        "strategy",
        "list",
        "on_bucket_lost",
        "heartbeat_interval",
        "lease",
        "leading",
    ];

    /// Whether it would break a promise, so that a start beside it is refused. The others cost moves
    /// or time.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        match self {
            Self::Mode { .. }
            | Self::Application { .. }
            | Self::OwnLease { .. }
            | Self::OtherLease { .. } => true,
            Self::Strategy { .. }
            | Self::List { .. }
            | Self::OnBucketLost { .. }
            | Self::Heartbeat { .. }
            | Self::Lease { .. }
            | Self::Leading => false,
        }
    }

    /// The setting as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Mode { .. } => "mode",
            Self::Application { .. } => "application",
            Self::OwnLease { .. } | Self::OtherLease { .. } => "max_lease",
            Self::Strategy { .. } => "strategy",
            Self::List { .. } => "list",
            Self::OnBucketLost { .. } => "on_bucket_lost",
            Self::Heartbeat { .. } => "heartbeat_interval",
            Self::Lease { .. } => "lease",
            Self::Leading => "leading",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode { own, other } => write!(
                f,
                "mode = {own} here and {other} there; to roll the group from one to the other, set \
                 rolling_from = {other}"
            ),
            Self::Application { own, other } => write!(
                f,
                "application = \"{own}\" here and \"{other}\" there: use another group name"
            ),
            Self::OwnLease { lease, max_lease } => write!(
                f,
                "lease = {lease:?} here, and max_lease = {max_lease:?} there: raise max_lease \
                 everywhere first"
            ),
            Self::OtherLease { lease, max_lease } => write!(
                f,
                "max_lease = {max_lease:?} here, and lease = {lease:?} there: set max_lease to at \
                 least {lease:?}"
            ),
            Self::Strategy { own, other } => write!(f, "strategy {own} here and {other} there"),
            Self::List { own, other } => write!(
                f,
                "its own source lists other partitions (digest {own:032x}) than the group has \
                 ({other:032x})"
            ),
            Self::OnBucketLost { own, other } => {
                write!(f, "on_bucket_lost = {own} here and {other} there")
            }
            Self::Heartbeat { own, other } => {
                write!(f, "heartbeat_interval = {own:?} here and {other:?} there")
            }
            Self::Lease { own, other } => write!(f, "lease = {own:?} here and {other:?} there"),
            Self::Leading => f.write_str("windows, timeouts or thresholds of a leader differ"),
        }
    }
}

/// A difference, and the worker it is to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disagreement {
    /// The other worker.
    pub worker: WorkerId,
    /// How it differs.
    pub difference: Difference,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (compared with {})", self.difference, self.worker)
    }
}

impl SessionRecord {
    /// How its worker is configured otherwise than another, what would break a promise first.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        compare(self, other)
    }
}

/// How two workers differ, what would break a promise first.
#[must_use]
pub(crate) fn compare(own: &SessionRecord, other: &SessionRecord) -> Vec<Difference> {
    let (mine, theirs) = (&own.settings, &other.settings);
    let mut found = Vec::new();
    let declared = mine.rolling_from == Some(theirs.mode) || theirs.rolling_from == Some(mine.mode);
    if mine.mode != theirs.mode && !declared {
        found.push(Difference::Mode {
            own: mine.mode,
            other: theirs.mode,
        });
    }
    let labelled = !mine.application.is_empty() && !theirs.application.is_empty();
    if labelled && mine.application != theirs.application {
        found.push(Difference::Application {
            own: mine.application.clone(),
            other: theirs.application.clone(),
        });
    }
    if own.lease > theirs.max_lease {
        let (lease, max_lease) = (own.lease, theirs.max_lease);
        found.push(Difference::OwnLease { lease, max_lease });
    }
    if other.lease > mine.max_lease {
        let (lease, max_lease) = (other.lease, mine.max_lease);
        found.push(Difference::OtherLease { lease, max_lease });
    }
    found.extend(costly(own, other));
    found
}

/// The differences that cost moves or time.
fn costly(own: &SessionRecord, other: &SessionRecord) -> impl Iterator<Item = Difference> {
    let (mine, theirs) = (&own.settings, &other.settings);
    let strategy = (mine.strategy != theirs.strategy).then(|| Difference::Strategy {
        own: mine.strategy.clone(),
        other: theirs.strategy.clone(),
    });
    let lost = (mine.on_bucket_lost != theirs.on_bucket_lost).then_some(Difference::OnBucketLost {
        own: mine.on_bucket_lost,
        other: theirs.on_bucket_lost,
    });
    let (ours, others) = (own.heartbeat_interval, other.heartbeat_interval);
    let heartbeat = (ours != others).then_some(Difference::Heartbeat {
        own: ours,
        other: others,
    });
    let lease = (own.lease != other.lease).then_some(Difference::Lease {
        own: own.lease,
        other: other.lease,
    });
    let leading = (mine.leading != theirs.leading).then_some(Difference::Leading);
    [strategy, lost, heartbeat, lease, leading]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests;
