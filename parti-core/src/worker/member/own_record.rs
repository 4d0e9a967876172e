//! This worker's assignment: taken in as a whole, also when it is stored in pieces.
//!
//! A watch follows the manifest alone; its pieces are read when it names some that are not known. What
//! always holds: only a record that is complete is taken in and acknowledged, and only a newer one than
//! the last.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Member;
use super::reconcile::Reading;
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::OpOwner;
use crate::link::circuits::Gate;
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Nonce, Revision, Version};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::StoreOp;
use crate::records::assembly::Assembly;
use crate::records::keys::{piece_key, pieces_prefix};
use crate::records::record::{AssignmentRecord, Record};
use crate::records::seen::{Content, Seen};
use crate::worker::context::WorkerCx;

/// More missing pieces than this are read with one list of all.
const MANY: usize = 8;

/// What is known of this worker's assignment while it is in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnRecord {
    stored: Assembly,
    /// At which revision each piece was seen last, and the manifest.
    revisions: BTreeMap<u32, Revision>,
    revision: Revision,
    /// When to read what is missing.
    read_at: Option<Instant>,
}

impl OwnRecord {
    pub(super) fn wake(&self) -> Option<Wake> {
        self.read_at.map(|at| Wake::new(at, WakeReason::Reconcile))
    }

    /// The version of a manifest whose pieces are not all there.
    fn awaited(&self) -> Version {
        let manifest = self.stored.manifest().filter(|_| self.read_at.is_some());
        manifest
            .map(|manifest| manifest.version)
            .unwrap_or_default()
    }
}

impl Member {
    /// Takes in a record of this worker's assignment, if it is for this session and newer.
    pub(super) fn take_in(&mut self, cx: &mut WorkerCx<'_>, seen: &Seen<'_>) {
        let record = match seen.content() {
            Content::Nothing => return,
            Content::Record(record) => &**record,
            Content::Unreadable { reason, .. } => return cx.ignore(seen, reason),
        };
        match record {
            Record::Assignment(record) => {
                if self.is_news(cx, (record.epoch, record.session, record.version), seen) {
                    self.own_record = OwnRecord::default();
                    self.apply(cx, record, seen.revision());
                }
            }
            Record::Manifest(manifest) => {
                if self.is_news(
                    cx,
                    (manifest.epoch, manifest.session, manifest.version),
                    seen,
                ) {
                    self.own_record.stored.expect(Some(manifest.clone()));
                    self.own_record.revision = seen.revision();
                    self.own_record.read_at = Some(cx.now);
                    self.assemble(cx);
                }
            }
            Record::Head(_)
            | Record::Session(_)
            | Record::Piece(_)
            | Record::Audit(_)
            | Record::Control(_)
            | Record::Source(_)
            | Record::Parked(_)
            | Record::Suspicion(_) => {}
        }
    }

    fn is_news(
        &self,
        cx: &mut WorkerCx<'_>,
        (epoch, session, version): (Epoch, Nonce, Version),
        seen: &Seen<'_>,
    ) -> bool {
        if epoch != self.session.epoch && !cx.planted(Planted::NameWithoutEpoch) {
            if epoch > self.session.epoch {
                let reason = alloc::format!("it is for the later session {epoch}");
                cx.ignore(seen, &reason);
            }
            return false;
        }
        // The store was rolled back, and somebody claimed the slot at the revision of this session's claim.
        if session != self.session.nonce && !cx.planted(Planted::NameWithoutEpoch) {
            cx.ignore(seen, "it is for another session of the same epoch");
            return false;
        }
        let known = cx.holdings.applied().max(self.own_record.awaited());
        version > known || cx.planted(Planted::OldRecord)
    }

    /// Takes in a piece of this worker's assignment.
    pub(super) fn on_piece(&mut self, cx: &mut WorkerCx<'_>, number: u32, seen: &Seen<'_>) {
        let known = self.own_record.revisions.entry(number).or_default();
        if seen.revision() <= *known {
            return;
        }
        *known = seen.revision();
        match seen.content() {
            Content::Record(record) => {
                if let Record::Piece(piece) = &**record {
                    // In which format it is stored is of interest to the leader alone.
                    self.own_record.stored.take(number, 0, piece.clone());
                }
            }
            Content::Unreadable { reason, .. } => {
                cx.ignore(seen, reason);
                self.own_record.stored.spoil(number);
            }
            Content::Nothing => self.own_record.stored.lose(number),
        }
        self.assemble(cx);
    }

    /// Takes in what is awaited once all of it is there.
    fn assemble(&mut self, cx: &mut WorkerCx<'_>) {
        if self.own_record.read_at.is_none() {
            return;
        }
        let stored = &self.own_record.stored;
        let unmatched = || {
            stored
                .unmatched()
                .filter(|_| cx.planted(Planted::MixedPieces))
        };
        let Some(record) = stored.whole().or_else(unmatched) else {
            return;
        };
        self.own_record.read_at = None;
        let of_no_use: Vec<u32> = stored.leftovers().collect();
        for number in of_no_use {
            self.own_record.stored.lose(number);
        }
        self.apply(cx, &record, self.own_record.revision);
    }

    fn apply(&mut self, cx: &mut WorkerCx<'_>, record: &AssignmentRecord, revision: Revision) {
        cx.learn(record.version);
        self.record_revision = revision;
        if let Some(departure) = &mut self.departure {
            departure.note_unowned(&record.revoking);
        }
        cx.holdings.take_in(&mut cx.cx, record);
        self.session.acknowledge_soon(cx);
    }

    /// Reads the pieces that are missing, again and again until all are there.
    pub(super) fn poll_pieces(&mut self, cx: &mut Cx<'_>) {
        if self.own_record.read_at.is_none_or(|at| cx.now < at) {
            return;
        }
        self.own_record.read_at = Some(cx.now + cx.config().heartbeat_interval());
        if cx.gate(OpOwner::Reconcile) != Gate::Free {
            return;
        }
        let worker = &self.session.worker;
        let missing: Vec<u32> = self.own_record.stored.missing().collect();
        if missing.len() > MANY {
            let prefix = pieces_prefix(worker);
            let op = cx.store(OpOwner::Reconcile, StoreOp::List { prefix });
            return self.reconcile.reads(op, Reading::Pieces);
        }
        for number in missing {
            let key = piece_key(worker, number);
            let op = cx.store(OpOwner::Reconcile, StoreOp::Get { key });
            self.reconcile.reads(op, Reading::Record);
        }
    }
}
