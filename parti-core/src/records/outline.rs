//! What a record says whose body this release cannot read: what its envelope says.
//!
//! A group of two releases meets such records for moments only, since everybody writes what all
//! read. What always holds: what is taken from an envelope never counts for more than the record
//! itself would.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Mode;
use crate::model::id::{Epoch, Formats, Nonce, Version, WriteId};
use crate::model::state::Cause;
use crate::ports::strategy::StrategyId;
use crate::records::agreement::{Agreed, GroupSettings};
use crate::records::carried::Carried;
use crate::records::record::{Head, Parked, Readiness, SessionRecord};
use crate::records::wire::{Envelope, SessionClass, Summary};

/// What every release can read of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionOutline {
    pub(crate) nonce: Nonce,
    /// Zero in the write that created it.
    pub(crate) epoch: Epoch,
    pub(crate) class: SessionClass,
    pub(crate) lease: Duration,
    pub(crate) known: Version,
    pub(crate) reads: Formats,
    /// The longest lease of an earlier session of the slot that may not have ended.
    pub(crate) unproven: Duration,
}

impl SessionOutline {
    pub(crate) fn from_envelope(envelope: &Envelope) -> Option<Self> {
        let Summary::Session {
            epoch,
            class,
            lease,
            known,
            reads,
            unproven,
        } = envelope.summary
        else {
            return None;
        };
        Some(Self {
            nonce: envelope.write.nonce,
            epoch,
            class,
            lease,
            known,
            reads,
            unproven,
        })
    }

    /// A record that claimers treat as they must: a session it may hold partitions for is waited for, and
    /// it has taken in whatever it knows of. Its settings are not known and forbid nothing.
    pub(crate) fn into_record(self, mode: Mode) -> SessionRecord {
        SessionRecord {
            write: WriteId {
                nonce: self.nonce,
                seq: 0,
            },
            epoch: self.epoch,
            status: self.class.status(),
            applied: self.known,
            known: self.known,
            age: Duration::ZERO,
            reads: self.reads,
            draining: Vec::new(),
            capacity: 0,
            labels: BTreeMap::new(),
            heartbeat_interval: Duration::ZERO,
            lease: self.lease.max(self.unproven),
            software: String::new(),
            endpoint: None,
            settings: GroupSettings {
                mode,
                ..GroupSettings::default()
            },
            honours: Mode::Overlap,
            rejections: Vec::new(),
            predecessors: Vec::new(),
            bulletin: None,
            readiness: Readiness::default(),
        }
    }

    pub(crate) fn is_living(&self) -> bool {
        self.class == SessionClass::Living
    }
}

/// The newest format that the writers of all these sessions read, as far as this process can write it.
pub(crate) fn common_format(own: Formats, living: impl Iterator<Item = Formats>) -> u16 {
    let newest = living.map(|reads| reads.newest).min();
    own.nearest(newest.unwrap_or(own.newest))
}

/// The `head` of an envelope. What it does not say is as it was before, as far as that is known.
pub(crate) fn head_after(before: Option<&Head>, envelope: &Envelope) -> Option<Head> {
    let Summary::Head {
        term,
        version,
        format,
        lease,
        ref leader,
    } = envelope.summary
    else {
        return None;
    };
    let before = before.cloned().unwrap_or_else(|| Head {
        write: envelope.write,
        term,
        leader: None,
        version,
        format,
        lease,
        cause: Cause::Takeover,
        planned: Version::ZERO,
        strategy: StrategyId::new(""),
        workers: 0,
        partitions: 0,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        parked: Parked::default(),
        carried: Carried::unknown(lease),
        agreed: Agreed::default(),
    });
    Some(Head {
        write: envelope.write,
        term,
        leader: leader.clone(),
        version,
        format,
        lease,
        ..before
    })
}
