//! Groups that are not all alike, scripted: other settings, other releases.

pub(super) mod agreement;
pub(super) mod releases;
