//! Properties of sessions: leases, identities, and who may end them.

pub(in crate::simulator) mod applied;
pub(in crate::simulator) mod contact;
pub(in crate::simulator) mod degraded;
pub(in crate::simulator) mod grace;
pub(in crate::simulator) mod identity;
pub(in crate::simulator) mod lease;
pub(in crate::simulator) mod leases;
pub(in crate::simulator) mod removal;
pub(in crate::simulator) mod states;
pub(in crate::simulator) mod suspected;
