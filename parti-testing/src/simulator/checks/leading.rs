//! Properties of leaders: one chain of generations, justified grants, windows and cooldowns.

pub(in crate::simulator) mod chain;
pub(in crate::simulator) mod cooldown;
pub(in crate::simulator) mod justified;
pub(in crate::simulator) mod monotone;
pub(in crate::simulator) mod terms;
pub(in crate::simulator) mod terms_change;
pub(in crate::simulator) mod well_formed;
pub(in crate::simulator) mod window;
