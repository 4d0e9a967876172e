//! One session as the leader sees it: at which revision, since when, and for how long it counts.

use alloc::collections::BTreeMap;

use crate::model::id::{Epoch, Revision};
use crate::model::time::Instant;
use crate::ports::store::Expect;
use crate::records::outline::SessionOutline;
use crate::records::record::SessionRecord;

/// A worker's session as the leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct SessionView {
    pub(crate) revision: Revision,
    /// When this revision was first seen, on this worker's clock.
    pub(crate) since: Instant,
    /// When this session began, as far as is known: never earlier than it did.
    pub(crate) began: Instant,
    /// When the worker itself was last heard of; an eviction does not count.
    pub(crate) heard: Instant,
    /// Since when it says what it says of its assignment and of itself.
    pub(crate) said: Instant,
    /// `None` when the key holds no readable session.
    pub(crate) record: Option<SessionRecord>,
    /// What its envelope says when another release wrote it.
    pub(crate) unread: Option<SessionOutline>,
    /// What an eviction must expect of the key.
    pub(crate) expect: Expect,
    /// When each earlier session of the slot that this one names has ended for certain.
    pub(crate) ends: BTreeMap<Epoch, Instant>,
}
