//! Problems: what is wrong with a worker or with its group, as facts with a beginning.
//!
//! They are separate from the notices, which tell that something happened: a problem is the case now.
//! What always holds: each is derived from what the machine knows when asked, none is switched on and
//! off; what only the leader can know it tells everybody in the [`Bulletin`] of its own session, so
//! that every worker shows the same.
//!
//! To add one: keep the fact and since when it holds where it belongs; give it a variant of
//! [`ProblemKind`] (its word, its number in records, whether the leader tells it); add a line to
//! `Member::problems` in `member/problems.rs`, or to `Leader::problems` in `leader/judging/problems.rs`. The
//! facade's table in `parti/src/observe/health.rs` says which condition it is; a test fails until it does.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::model::id::{Term, WorkerId};
use crate::model::time::Instant;

/// The most bytes of the particulars of a problem: they are repeated in every renewal of a leader.
const MAX_DETAIL: usize = 200;

/// What can be the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Partitions have no owner. The count says how many.
    Unowned,
    /// Partitions have no owner because nobody may own them. The count says how many.
    Parked,
    /// The leader named in `head` gives no sign of life, and nobody takes its place.
    LeaderSilent,
    /// One leader follows the other. The count says how many began within the last minute.
    LeadersChange,
    /// The leader has no such contact with the store as judging others takes.
    NotJudging,
    /// Plans fail. The count says how many in a row.
    PlanFailing,
    /// The partition source fails. The count says how often in a row.
    SourceFailing,
    /// Generations cannot be committed. The count says how many in a row.
    CommitFailing,
    /// Workers cannot begin to process what they have. The count says how many partitions.
    HandlerFailing,
    /// Slots are held for replacements of workers that left, and their partitions have no owner. The
    /// count says how many partitions.
    SlotsHeld,
    /// The mode this worker is configured with does not hold in the group.
    ModeNotHeld,
    /// A worker's own partition source lists something else than the group has. The count says for how
    /// many workers.
    OtherList,
    /// Workers are configured differently. The count says in how many settings.
    SettingsDiffer,
    /// A setting of the store, or the server behind it, breaks what the group rests on. The count says
    /// how many do.
    StoreUnfit,
    /// What a leader of a later release tells and this release has no name for: its number.
    Other(u8),
}

impl ProblemKind {
    /// Every kind that has a name, in declaration order.
    pub const ALL: [Self; 14] = [
        Self::Unowned,
        Self::Parked,
        Self::LeaderSilent,
        Self::LeadersChange,
        Self::NotJudging,
        Self::PlanFailing,
        Self::SourceFailing,
        Self::CommitFailing,
        Self::HandlerFailing,
        Self::SlotsHeld,
        Self::ModeNotHeld,
        Self::OtherList,
        Self::SettingsDiffer,
        Self::StoreUnfit,
    ];

    /// The kind as one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unowned => "unowned",
            Self::Parked => "parked",
            Self::LeaderSilent => "leader_silent",
            Self::LeadersChange => "leaders_change",
            Self::NotJudging => "not_judging",
            Self::PlanFailing => "plan_failing",
            Self::SourceFailing => "source_failing",
            Self::CommitFailing => "commit_failing",
            Self::HandlerFailing => "handler_failing",
            Self::SlotsHeld => "slots_held",
            Self::ModeNotHeld => "mode_not_held",
            Self::OtherList => "other_list",
            Self::SettingsDiffer => "settings_differ",
            Self::StoreUnfit => "store_unfit",
            Self::Other(_) => "other",
        }
    }

    /// Its number in records; numbers are never used again.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unowned => 1,
            Self::LeaderSilent => 2,
            Self::LeadersChange => 3,
            Self::NotJudging => 4,
            Self::PlanFailing => 5,
            Self::SourceFailing => 6,
            Self::CommitFailing => 7,
            Self::Parked => 8,
            Self::HandlerFailing => 9,
            Self::SlotsHeld => 20,
            Self::ModeNotHeld => 24,
            Self::OtherList => 25,
            Self::SettingsDiffer => 26,
            Self::StoreUnfit => 21,
            Self::Other(code) => code,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        let named = Self::ALL.into_iter().find(|kind| kind.code() == code);
        named.unwrap_or(Self::Other(code))
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong now.
///
/// Closed: what, since when, how often, in which words and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// Since when, on this worker's own clock.
    pub since: Instant,
    /// How many of what the kind counts.
    pub count: u32,
    /// The particulars in words.
    pub detail: String,
    /// The leader that told it; `None` when this worker knows it by itself.
    pub told_by: Option<WorkerId>,
}

impl Problem {
    /// A problem this worker knows by itself. Particulars that are too long are cut.
    pub(crate) fn new(kind: ProblemKind, since: Instant, count: usize, detail: String) -> Self {
        Self {
            kind,
            since,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            detail: cut(detail),
            told_by: None,
        }
    }

    /// What a leader's session says of it.
    pub(crate) fn told(&self, now: Instant) -> ToldProblem {
        ToldProblem {
            kind: self.kind,
            lasting: now.since(self.since),
            count: self.count,
            detail: self.detail.clone(),
        }
    }
}

/// What a leader tells everybody of the group's problems, in its own session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulletin {
    /// The term in which it leads.
    pub term: Term,
    /// The problems, each kind at most once.
    pub problems: Vec<ToldProblem>,
}

/// A problem as it is told: for how long instead of since when, since clocks are not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldProblem {
    /// What.
    pub kind: ProblemKind,
    /// For how long, on the clock of the leader.
    pub lasting: Duration,
    /// How many of what the kind counts.
    pub count: u32,
    /// The particulars in words.
    pub detail: String,
}

/// Cuts a text to what a record has room for.
fn cut(mut text: String) -> String {
    if text.len() > MAX_DETAIL {
        let end = (0..=MAX_DETAIL).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    /// A number that means two things is read as the wrong alarm by half of the group.
    #[test]
    fn every_kind_has_a_word_and_a_number_of_its_own() {
        let words: BTreeSet<&str> = ProblemKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), ProblemKind::ALL.len());
        for kind in ProblemKind::ALL {
            assert_eq!(ProblemKind::from_code(kind.code()), kind);
        }
        assert_eq!(ProblemKind::from_code(200), ProblemKind::Other(200));
    }

    /// Particulars may quote a key or a server: repeated in every renewal, they must stay small.
    #[test]
    fn particulars_are_cut_between_characters() {
        let long = "\u{e4}".repeat(300);
        let kept = Problem::new(ProblemKind::Unowned, Instant::ORIGIN, 1, long).detail;
        assert!(kept.len() <= MAX_DETAIL + 3 && kept.ends_with("\u{e4}..."));
        let short = "as it is".to_string();
        let kept = Problem::new(ProblemKind::Unowned, Instant::ORIGIN, 1, short).detail;
        assert_eq!(kept, "as it is");
    }
}
