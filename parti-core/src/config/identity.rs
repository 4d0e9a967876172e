//! Who a worker is, as configured: its place in the pool of IDs, and its labels.
//!
//! Separate because it is derived from the settings, which are no identity by themselves.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::Config;
use crate::model::id::WorkerId;

impl Config {
    /// Text before the number in a worker ID.
    #[must_use]
    pub fn worker_id_prefix(&self) -> &str {
        &self.settings.worker_id_prefix
    }

    /// The ID to try first.
    #[must_use]
    pub const fn worker_id_hint(&self) -> Option<&WorkerId> {
        self.settings.worker_id_hint.as_ref()
    }

    /// Labels of this worker.
    #[must_use]
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.settings.labels
    }

    /// Number of IDs in the pool.
    #[must_use]
    pub const fn pool_size(&self) -> u32 {
        self.settings.worker_id_range.1 - self.settings.worker_id_range.0 + 1
    }

    /// The ID of a number of the pool; `None` outside the range.
    #[must_use]
    pub fn worker_id(&self, number: u32) -> Option<WorkerId> {
        let (min, max) = self.settings.worker_id_range;
        let inside = (min..=max).contains(&number);
        WorkerId::numbered(self.worker_id_prefix(), number)
            .ok()
            .filter(|_| inside)
    }
}
