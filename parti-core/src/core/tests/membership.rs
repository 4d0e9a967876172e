//! Being a member, scripted: from the claim to the last release.

pub(super) mod claims;
pub(super) mod drains;
pub(super) mod holds;
pub(super) mod leaving;
pub(super) mod requests;
pub(super) mod restarts;
pub(super) mod sessions;
pub(super) mod states;
pub(super) mod suspension;
