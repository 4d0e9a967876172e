//! What a driver is put together from: the user's choices, gathered by the builder.

use std::sync::Arc;

use parti_core::callbacks::Limits;
use parti_core::{AssignmentStrategy, Config, PartitionSource, Store};

use crate::handler::PartitionHandler;
use crate::observe::observer::Observer;
use crate::shell::planted::Bugs;
use crate::system::clock::Clock;
use crate::system::machine::Machine;
use crate::system::random::Randomness;

/// What a driver works with; all of it is the user's choice.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) machine: Option<Machine>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) source: Arc<dyn PartitionSource>,
    pub(crate) strategy: Arc<dyn AssignmentStrategy>,
    pub(crate) handler: Arc<dyn PartitionHandler>,
    pub(crate) limits: Limits,
    pub(crate) observer: Observer,
    pub(crate) randomness: Randomness,
    pub(crate) bugs: Bugs,
}
