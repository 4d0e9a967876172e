//! What this process may process: the fold of assignment records into assign and revoke effects.
//!
//! What always holds: per partition, assignments and revocations alternate, and the next assignment
//! comes only after the release of the one before; while suspended nothing is assigned.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::io::effect::{Effect, RevokeCause};
use crate::io::grant::Grant;
use crate::io::notice::Notice;
use crate::link::cx::Cx;
use crate::model::id::{Token, Version};
use crate::model::partition::PartitionKey;
use crate::model::preparation::Preparation;
use crate::planted::Planted;
use crate::records::record::{AssignmentRecord, Prepared, RejectedAt};
use crate::worker::preparations::Preparations;
use crate::worker::rejections::Rejections;

/// The partitions of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    /// What the last record grants.
    wanted: BTreeMap<PartitionKey, Token>,
    /// What the driver processes or is ending.
    held: BTreeMap<PartitionKey, Held>,
    /// What is still ending of a session before the present one.
    former: BTreeSet<PartitionKey>,
    /// The version of the last record taken in, of the present session.
    applied: Version,
    suspended: bool,
    /// How many partitions are being processed.
    processing: usize,
    /// What could not be begun.
    rejections: Rejections,
    /// What is got ready for.
    preparations: Preparations,
    /// Whether anything changed since the last check.
    touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Processing(Token),
    Ending(Token),
}

impl Held {
    const fn token(self) -> Token {
        match self {
            Self::Processing(token) | Self::Ending(token) => token,
        }
    }
}

impl Holdings {
    pub(crate) const fn applied(&self) -> Version {
        self.applied
    }

    /// How many partitions are being processed.
    pub(crate) const fn assigned(&self) -> usize {
        self.processing
    }

    /// Whether nothing is processed or ending.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the last record grants nothing and nothing is processed or ending.
    pub(crate) fn is_drained(&self) -> bool {
        self.held.is_empty() && self.wanted.is_empty()
    }

    /// Everything processed or ending.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &PartitionKey> {
        self.held.keys()
    }

    /// Whether callbacks of an earlier session still run.
    pub(crate) fn is_ending_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// Partitions that were taken away and whose processing has not ended yet.
    pub(crate) fn draining(&self) -> Vec<PartitionKey> {
        // What is processed is wanted. Every renewal asks: only what is ending is worth a look.
        if self.processing == self.held.len() {
            return Vec::new();
        }
        let taken_away = self.held.iter().filter(|&(key, held)| {
            matches!(held, Held::Ending(_)) && !self.wanted.contains_key(key)
        });
        taken_away.map(|(key, _)| key.clone()).collect()
    }

    /// Whether the processing of something could be begun, in the end. Whether that is news.
    pub(crate) fn note_processing(
        &mut self,
        cx: &Cx<'_>,
        grant: &Grant,
        failing: Option<String>,
    ) -> bool {
        let (key, token) = (&grant.partition, grant.token);
        if self.held.get(key) != Some(&Held::Processing(token)) {
            return false;
        }
        match failing {
            Some(reason) => {
                let first = cx.config().rejection_quarantine();
                let failed = (key, token, RejectedAt::Processing);
                self.rejections.fail(cx.now, failed, reason, first);
            }
            None => self.rejections.begun(key),
        }
        true
    }

    /// A preparation has ended. Whether that is news.
    pub(crate) fn prepared(
        &mut self,
        cx: &Cx<'_>,
        preparation: &Preparation,
        failing: Option<String>,
    ) -> bool {
        let rejections = &mut self.rejections;
        self.preparations
            .ended(cx, preparation, failing, rejections)
    }

    /// Preparations that have ended.
    pub(crate) fn told_prepared(&self, max_value: usize) -> Vec<Prepared> {
        self.preparations.told(max_value)
    }

    /// What could not be begun.
    pub(crate) const fn rejections(&self) -> &Rejections {
        &self.rejections
    }

    /// Takes in a record of the present session that is newer than the last.
    pub(crate) fn take_in(&mut self, cx: &mut Cx<'_>, record: &AssignmentRecord) {
        self.applied = record.version;
        self.touched = true;
        self.wanted = record
            .granted
            .iter()
            .map(|g| (g.partition.clone(), g.token))
            .collect();
        let (wanted, mut revoked) = (&self.wanted, Vec::new());
        for (partition, held) in &mut self.held {
            let Held::Processing(token) = *held else {
                continue;
            };
            if wanted.get(partition) != Some(&token) {
                if cx.planted(Planted::RejectedGoesRound) {
                    self.rejections.begun(partition);
                }
                self.rejections.taken_away(cx.now, partition);
                *held = Held::Ending(token);
                revoked.push(Grant {
                    partition: partition.clone(),
                    token,
                });
            }
        }
        let removed = revoked.len();
        self.processing -= removed;
        if cx.planted(Planted::SkippedRelease) && wanted.keys().any(|p| !self.held.contains_key(p))
        {
            revoked.clear();
        }
        revoke(cx, revoked, RevokeCause::Reassigned);
        let added = self.assign(cx);
        let (wanted, rejections) = (&self.wanted, &mut self.rejections);
        let is_granted = |key: &PartitionKey| wanted.contains_key(key);
        let listed = &record.preparing;
        self.preparations
            .take_in(cx, listed, is_granted, rejections);
        if added + removed > 0 {
            let (version, total) = (self.applied, self.assigned());
            cx.notify(Notice::AssignmentChanged {
                version,
                added,
                removed,
                total,
            });
        }
    }

    /// The driver has ended some processing. Whether anything was released.
    pub(crate) fn released(&mut self, cx: &mut Cx<'_>, grants: &[Grant]) -> bool {
        let mut any = false;
        for grant in grants {
            if self.held.get(&grant.partition) == Some(&Held::Ending(grant.token)) {
                self.held.remove(&grant.partition);
                self.former.remove(&grant.partition);
                any = true;
                self.touched = true;
            }
        }
        if any {
            // What came back while its processing was ending begins again only now.
            self.assign_and_tell(cx);
        }
        any
    }

    /// The session may not be relied on: everything is revoked, nothing assigned until `resume`.
    pub(crate) fn suspend(&mut self, cx: &mut Cx<'_>, cause: RevokeCause) {
        self.suspended = true;
        self.touched = true;
        let mut revoked = Vec::new();
        for (partition, held) in &mut self.held {
            if let Held::Processing(token) = *held {
                self.rejections.taken_away(cx.now, partition);
                *held = Held::Ending(token);
                revoked.push(Grant {
                    partition: partition.clone(),
                    token,
                });
            }
        }
        let removed = revoked.len();
        self.processing -= removed;
        revoke(cx, revoked, cause);
        if removed > 0 {
            let version = self.applied;
            cx.notify(Notice::AssignmentChanged {
                version,
                added: 0,
                removed,
                total: 0,
            });
        }
    }

    /// The same session is valid again: what its last record grants is assigned again.
    pub(crate) fn resume(&mut self, cx: &mut Cx<'_>) {
        self.suspended = false;
        self.touched = true;
        self.assign_and_tell(cx);
    }

    /// Assigns what is granted and free, and tells of it.
    fn assign_and_tell(&mut self, cx: &mut Cx<'_>) {
        let added = self.assign(cx);
        if added > 0 {
            let (version, total) = (self.applied, self.assigned());
            cx.notify(Notice::AssignmentChanged {
                version,
                added,
                removed: 0,
                total,
            });
        }
    }

    /// The session is over: everything is revoked and its record forgotten.
    pub(crate) fn forget(&mut self, cx: &mut Cx<'_>, cause: RevokeCause) {
        self.suspend(cx, cause);
        self.preparations.withdraw_all(cx, &mut self.rejections);
        self.wanted.clear();
        self.former = self.held.keys().cloned().collect();
        self.applied = Version::ZERO;
    }

    /// Gives up everything although the session goes on, as when stopping.
    pub(crate) fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.suspend(cx, RevokeCause::Stopping);
        self.preparations.withdraw_all(cx, &mut self.rejections);
        self.wanted.clear();
    }

    /// A new session begins with nothing.
    pub(crate) const fn begin(&mut self) {
        self.suspended = false;
        self.touched = true;
    }

    fn assign(&mut self, cx: &mut Cx<'_>) -> usize {
        if self.suspended {
            return 0;
        }
        let free = self
            .wanted
            .iter()
            .filter(|(partition, _)| !self.held.contains_key(*partition));
        let grants: Vec<Grant> = free
            .map(|(partition, &token)| Grant {
                partition: partition.clone(),
                token,
            })
            .collect();
        let added = grants.len();
        self.processing += added;
        for grant in &grants {
            let rejections = &mut self.rejections;
            self.preparations.assigned(&grant.partition, rejections);
            self.rejections.given(&grant.partition);
            self.held
                .insert(grant.partition.clone(), Held::Processing(grant.token));
        }
        if added > 0 {
            cx.push(Effect::Assign { grants });
        }
        added
    }

    /// What must hold after every step.
    pub(crate) fn check(&mut self) {
        if !core::mem::take(&mut self.touched) {
            return;
        }
        let processing = self
            .held
            .values()
            .filter(|held| matches!(held, Held::Processing(_)));
        assert_eq!(
            processing.count(),
            self.processing,
            "the count of partitions is off"
        );
        for (partition, held) in &self.held {
            if let Held::Processing(token) = *held {
                assert!(
                    !self.suspended,
                    "{partition} is processed without a valid session"
                );
                assert_eq!(
                    self.wanted.get(partition),
                    Some(&token),
                    "{partition}: not granted"
                );
            }
            assert!(
                held.token() > Token::ZERO,
                "{partition} is held without a token"
            );
        }
    }
}

fn revoke(cx: &mut Cx<'_>, grants: Vec<Grant>, cause: RevokeCause) {
    if !grants.is_empty() {
        cx.push(Effect::Revoke { grants, cause });
    }
}

#[cfg(test)]
mod tests;
