//! How the store is used, and how far it is trusted.
//!
//! What always holds: every request goes out here, and how far the store is heard has one answer,
//! [`Heard`](heard::Heard). Degraded mode, who may judge, who may stand and who has to give up its
//! leadership follow from it.

use crate::config::Config;
use crate::model::time::Instant;
use crate::resilience::breaker::{CircuitState, CircuitStatus};
use circuits::{StoreCircuit, WatchCircuit};
use contact::Contact;
use continuity::Continuity;
use health::Health;
use heard::{Heard, Signs};
use probes::Probes;
use watching::Watching;

pub(crate) mod attempt;
pub(crate) mod circuits;
pub(crate) mod contact;
pub(crate) mod continuity;
pub(crate) mod cx;
pub(crate) mod failing;
pub(crate) mod health;
pub(crate) mod heard;
mod hearing;
pub(crate) mod probes;
pub(crate) mod watching;

/// Everything this process knows of its way to the store. What is of one session only begins again
/// with each.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: StoreCircuit,
    watch: WatchCircuit,
    continuity: Continuity,
    watching: Watching,
    contact: Contact,
    health: Health,
    probes: Probes,
    /// Since when the lease of the session has been lost, while nothing may be held for that.
    suspended_at: Option<Instant>,
}

impl Link {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            requests: StoreCircuit::new(config),
            watch: WatchCircuit::new(config),
            continuity: Continuity::default(),
            watching: Watching::idle(config, now),
            contact: Contact::new(now),
            health: Health::default(),
            probes: Probes::default(),
            suspended_at: None,
        }
    }

    /// How far the store is heard.
    pub(crate) fn heard(&self, config: &Config, now: Instant) -> Heard {
        Heard::from(&Signs {
            requests: self.requests.state(),
            watch: self.watch.state(),
            overdue: now >= self.contact.overdue_at(config),
            since: self
                .contact
                .is_held(config, now)
                .then(|| self.contact.since()),
            unheard_since: self.contact.unheard_since(),
        })
    }

    /// Whether the store has been heard for so long that somebody who fell silent with the beginning
    /// could be judged by now.
    pub(crate) fn is_steady(&self, config: &Config, now: Instant) -> bool {
        self.heard(config, now).is_heard() && now >= self.contact.steady_from(config)
    }

    /// This worker's renewals: what was applied, and what came back.
    pub(crate) const fn contact(&self) -> &Contact {
        &self.contact
    }

    /// What was found of other processes by asking them.
    pub(crate) const fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The watch of the session.
    pub(crate) const fn watching(&self) -> &Watching {
        &self.watching
    }

    /// What is known of the history of the bucket.
    pub(crate) const fn history(&self) -> &Continuity {
        &self.continuity
    }

    /// Since when the lease of the session has been lost.
    pub(crate) const fn suspended_at(&self) -> Option<Instant> {
        self.suspended_at
    }

    /// Whether trouble has lasted for long enough to be told.
    pub(crate) const fn is_degraded(&self) -> bool {
        self.health.is_degraded()
    }

    /// The circuit of requests, and the one of the watch.
    pub(crate) const fn circuits(&self) -> (CircuitStatus, CircuitStatus) {
        (self.requests.status(), self.watch.status())
    }

    /// How often the watch has given a sign of life, and how often it failed.
    pub(crate) const fn watched(&self) -> (u64, u64) {
        (self.watch.successes(), self.watch.failures())
    }

    fn requests_are_out(&self) -> bool {
        self.requests.state() == CircuitState::Open
    }
}
