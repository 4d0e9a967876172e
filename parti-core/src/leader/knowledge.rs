//! What a leader knows: the bucket as its watch shows it, and what follows from that.
//!
//! It is separate from judging so that a judgement only reads. What always holds: nothing in here
//! decides anything or writes anything; whatever a judgement could depend on has another generation
//! when it has changed.

use alloc::collections::BTreeSet;
use alloc::string::String;

use crate::config::Config;
use crate::io::notice::HistoryLoss;
use crate::leader::Inauguration;
use crate::leader::judging::suspects::Budget;
use crate::link::contact::Sightings;
use crate::link::cx::Cx;
use crate::model::id::{Nonce, Revision, Version, WorkerId};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::Entry;
use crate::records::record::{Head, SessionRecord, SessionStatus};
use crate::records::seen::Seen;

pub(crate) mod agreement;
pub(crate) mod committed;
pub(crate) mod confirmations;
pub(crate) mod holds;
pub(crate) mod joins;
pub(crate) mod parking;
pub(crate) mod postponed;
pub(crate) mod predecessors;
pub(crate) mod quarantine;
pub(crate) mod releases;
pub(crate) mod suspicions;
pub(crate) mod view;

use agreement::Agreement;
use confirmations::Confirmations;
use joins::{Changing, Joins};
use postponed::PostponedEvictions;
use quarantine::Quarantine;
use view::{News, View};

/// What a leader knows.
#[derive(Clone, Debug)]
pub(crate) struct Knowledge {
    /// The leader itself.
    pub(crate) worker: WorkerId,
    /// The revision at which it was elected, if it follows on itself.
    again: Option<Revision>,
    /// The `head` this leader wrote last.
    pub(crate) head: Head,
    pub(crate) head_revision: Revision,
    pub(crate) view: View,
    pub(crate) joins: Joins,
    /// What living workers have not confirmed.
    pub(crate) confirmations: Confirmations,
    /// Who failed to, and is not planned for.
    pub(crate) quarantine: Quarantine,
    /// Whose eviction was refused, and until when it is not tried again.
    pub(crate) postponed: PostponedEvictions,
    /// Evictions of those who did not answer.
    pub(crate) budget: Budget,
    pub(crate) agreement: Agreement,
    versions: Versions,
    /// The session of the former leader, as observed while following it.
    predecessor: Option<(WorkerId, Revision, Instant)>,
    sightings: Sightings,
    generation: u64,
}

/// The versions around this leader's take-over.
#[derive(Clone, Copy, Debug)]
struct Versions {
    /// The highest version known before this leader's take-over, or told of by a session since.
    found: Version,
    /// The version of the take-over, and of the `head` it was elected over.
    began: Version,
    base: Version,
}

impl Knowledge {
    pub(crate) fn new(cx: &Cx<'_>, start: Inauguration) -> Self {
        let carried = &start.head.carried;
        let waited = carried.unassigned.map(|age| cx.now.saturating_sub(age));
        let waited = cx.unless_planted(Planted::WindowPerLeader, waited, None);
        Self {
            worker: start.worker,
            again: start.again.then_some(start.revision),
            view: View::distrusting((start.known > start.base).then_some(start.base)),
            joins: Joins::since(waited.map(Changing::begun)),
            confirmations: Confirmations::default(),
            quarantine: Quarantine::resumed(cx.now, &carried.quarantined),
            postponed: PostponedEvictions::default(),
            budget: cx.unless_planted(
                Planted::RenewedBudget,
                Budget::resumed(cx.now, carried),
                Budget::default(),
            ),
            agreement: Agreement::new(cx.now, &start.head.agreed),
            versions: Versions {
                found: start.known,
                began: start.head.version,
                base: start.base,
            },
            head: start.head,
            head_revision: start.revision,
            predecessor: start.predecessor,
            sightings: start.sightings,
            generation: 0,
        }
    }

    /// Another number whenever something has changed that a judgement may depend on.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Something has changed that a judgement may depend on.
    pub(crate) const fn changed(&mut self) {
        self.generation += 1;
    }

    /// A snapshot of the watch has ended, which misses nothing up to a revision.
    pub(crate) fn on_caught_up(&mut self, cx: &mut Cx<'_>, revision: Revision) {
        self.view.end_snapshot(cx, revision);
        self.changed();
    }

    /// The watch or a list showed an entry.
    pub(crate) fn on_entry(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>) -> News {
        self.view.hears_since = cx.heard().since();
        let news = self.view.on_entry(cx, seen);
        if news != News::Nothing {
            self.compare_versions(cx, seen);
        }
        if let Some((worker, revision, since)) = &self.predecessor {
            self.view.remember(worker, *revision, *since);
        }
        match news {
            News::Nothing | News::Renewal => {}
            News::Acknowledgement => self.changed(),
            News::Change => {
                if self.view.is_whole() {
                    self.view.note_orphans(cx.now);
                }
                self.changed();
            }
        }
        news
    }

    /// What is wrong with a list that is complete up to a revision.
    pub(crate) fn contradiction(&self, entries: &[Entry], upto: Revision) -> Option<HistoryLoss> {
        self.view.contradiction(entries, upto)
    }

    /// A complete list up to a revision shows exactly these keys.
    pub(crate) fn on_list(&mut self, cx: &mut Cx<'_>, keys: &BTreeSet<String>, upto: Revision) {
        self.view.purge(cx, keys, upto);
        self.view.note_orphans(cx.now);
        self.changed();
    }

    /// Everything before this leader's take-over is known: from now on only this session writes assignments.
    pub(crate) fn become_whole(&mut self, now: Instant, author: Nonce) {
        self.view.note_orphans(now);
        self.view.trust_only(author);
        self.view.suspect(&self.head);
        for (worker, record) in &self.view.records {
            // It was written no later than the first later version was seen.
            let seen = self.sightings.range(record.version..).next();
            let since = seen.map_or(now, |(_, &at)| at);
            self.confirmations.expect(since, worker, record.version);
        }
        self.confirmations.note(now, &self.view);
    }

    /// Time has passed, before the facts are looked at.
    pub(crate) fn poll(&mut self, cx: &Cx<'_>) {
        self.confirmations.note(cx.now, &self.view);
        self.view.lower_formats(cx);
        self.quarantine.expire(cx.now);
    }

    /// The version of the next generation: above every one known, also of a history that is gone.
    pub(crate) fn next_version(&self, cx: &Cx<'_>) -> Version {
        self.head.version.max(cx.known()).next()
    }

    /// Whether nobody has ever been assigned anything, or all who were have left.
    pub(crate) fn is_cold(&self) -> bool {
        !self.view.has_assignments()
    }

    /// Whether all expected workers take part.
    pub(crate) fn is_complete(&self, config: &Config) -> bool {
        let expected = config.expected_workers();
        expected.is_some_and(|n| self.active_workers() >= n as usize)
    }

    fn active_workers(&self) -> usize {
        let records = self
            .view
            .sessions
            .values()
            .filter_map(|s| s.record.as_ref());
        let active = records.filter(|record| record.status == SessionStatus::Active);
        active.count()
    }

    /// What a worker's session says, if it can be read.
    pub(crate) fn said(&self, worker: &WorkerId) -> Option<&SessionRecord> {
        self.view.sessions.get(worker)?.record.as_ref()
    }

    /// A session may tell of versions that this history does not have: between the `head` this leader
    /// found and its own none was ever written, and none after its last. Then the end of the history
    /// is missing, and somebody may rely on a lease of it. A leader that was deposed may think so too;
    /// it cannot write any more.
    ///
    /// An example. A leader found `head` with version 700 and knew of nothing above; it took over with
    /// 10 000, since versions are at least the wall clock, and has committed 10 001:
    ///
    /// * A session tells of 650 or 700: nothing follows, this history has it.
    /// * Of 900: *between*. What was written from 701 to 900 is gone. Records up to 700 are left over from
    ///   before, and their holders may have been told otherwise since.
    /// * Of 10 000 or 10 001: nothing follows, this leader wrote it.
    /// * Of 10 500: *beyond*. The store was rolled back to 10 001 after somebody had gone on to 10 500. All
    ///   records up to 10 001 are left over.
    ///
    /// Had it known of 900 when it took over, then 900 would be no news: the view distrusts records up
    /// to 700 from the beginning.
    fn compare_versions(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>) {
        let Some(outline) = seen.outline() else {
            return;
        };
        let Versions { found, began, base } = self.versions;
        let told = outline.known;
        let between = told > found && told < began;
        let beyond = told > self.head.version.max(found);
        if between || beyond {
            self.versions.found = told;
            let left_over = if beyond { self.head.version } else { base };
            self.view.distrusted = self.view.distrusted.max(Some(left_over));
            let until = cx.now + cx.longest_lease();
            cx.continuity().hold_back(until);
            self.changed();
        }
        cx.learn(told);
    }
}
