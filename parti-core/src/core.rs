//! The state machine of one process: events in, effects out.

use alloc::collections::VecDeque;
use alloc::string::String;

use crate::config::Config;
use crate::effect::{Effect, Wake};
use crate::event::Event;
use crate::id::{Term, Version};
use crate::rng::Rng;
use crate::state::State;
use crate::status::Status;
use crate::strategy::StrategyId;
use crate::time::Instant;

/// What a core is told once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The time of the call.
    pub now: Instant,
    /// The wall clock at that time, in milliseconds since 1970. It only keeps versions rising when
    /// a bucket is lost, and dates audit entries; nothing is decided by it.
    pub wall_ms: u64,
    /// The seed of all randomness. Must differ between processes: nonces follow from it.
    pub seed: u128,
    /// The strategy the driver will plan with.
    pub strategy: StrategyId,
    /// Name and version of the software, for operators.
    pub software: String,
}

/// The coordination core of one worker process.
#[derive(Clone, Debug)]
pub struct Core {
    #[allow(dead_code)]
    config: Config,
    #[allow(dead_code)]
    boot: Boot,
    #[allow(dead_code)]
    rng: Rng,
    out: VecDeque<Effect>,
}

impl Core {
    /// A core that has not started.
    #[must_use]
    pub fn new(config: Config, boot: Boot) -> Self {
        let rng = Rng::new(boot.seed);
        Self {
            config,
            boot,
            rng,
            out: VecDeque::new(),
        }
    }

    /// Something happened. Due deadlines fire first, then the event, then whatever it made due.
    pub fn handle(&mut self, now: Instant, event: Event) {
        let _ = (now, event);
    }

    /// Time passed. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next thing to do; drain until `None` after every `handle*`.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// When to call [`Core::handle_timeout`] next, and why. Always later than the last `now`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Wake> {
        None
    }

    /// Where the core stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            state: State::Init,
            worker: None,
            epoch: None,
            nonce: None,
            deadline: None,
            leader: None,
            is_leader: false,
            term: Term::ZERO,
            version: Version::ZERO,
            applied: Version::ZERO,
            assigned: 0,
            ignored_records: 0,
        }
    }
}
