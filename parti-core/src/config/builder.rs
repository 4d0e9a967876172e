//! Setting what is not a plain value, and building.
//!
//! It is separate from the plain setters because each of these says more than "this is the value".

use alloc::boxed::Box;
use alloc::string::ToString;
use core::time::Duration;

use super::{Config, ConfigBuilder, Mode, OnBucketLost, Preset, rules};
use crate::config::error::ConfigError;
use crate::model::id::GroupName;

impl ConfigBuilder {
    /// Takes the timings of a preset for everything that is not set by itself.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// One knob: a crashed worker is detected within `duration`. The lease becomes `duration`, the
    /// heartbeat a quarter of it, all else follows.
    pub fn detect_within(mut self, duration: Duration) -> Self {
        self.detect_within = Some(duration);
        self
    }

    /// What happens between an old and a new owner; default [`Mode::Exclusive`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// What happens when the bucket was deleted, created again, wiped or rolled back while the worker
    /// runs; default [`OnBucketLost::Recreate`].
    pub fn on_bucket_lost(mut self, policy: OnBucketLost) -> Self {
        self.on_bucket_lost = policy;
        self
    }

    /// First and last number of the ID pool; default 0 and 99.
    pub fn worker_id_range(mut self, min: u32, max: u32) -> Self {
        self.worker_id_range = Some((min, max));
        self
    }

    /// The ID to try first, such as the ordinal of a pod. If its last session has not ended yet, it
    /// is waited for, at most for its lease and less than `startup_timeout`; if its holder goes on
    /// renewing, another ID is taken. A process that crashed and was started again gets its slot and
    /// its partitions back that way.
    pub fn worker_id_hint(mut self, hint: &str) -> Self {
        self.worker_id_hint = Some(hint.to_string());
        self
    }

    /// Declares that no process with the hinted ID is running any more when this one starts, so that
    /// its slot is taken at once. Needs `worker_id_hint`; default `false`.
    ///
    /// True where something guarantees it: a pod of a `StatefulSet`, a `systemd` service, anything
    /// that starts a process only after the one before it is gone. A false declaration costs
    /// availability, not safety: in exclusive mode the partitions of the slot are granted again only
    /// when the lease of the former session is over, whatever was declared, and a holder that lives
    /// loses its slot once and takes another. In overlap mode they are granted at once.
    pub fn predecessor_is_dead(mut self, dead: bool) -> Self {
        self.predecessor_is_dead = dead;
        self
    }

    /// Declares that everything the handlers write to refuses a write with a lower token than one it
    /// has seen. [`Mode::Fenced`] cannot be used without it: there two workers may act for one partition
    /// for a moment, and only what they write to can tell who is the later.
    pub fn sinks_compare_tokens(mut self, compare: bool) -> Self {
        self.sinks_compare_tokens = compare;
        self
    }

    /// Adds a label, such as `zone` = `a`.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_string(), value.to_string());
        self
    }

    /// Checks every rule and derives what was not set.
    ///
    /// # Errors
    /// [`ConfigError`] names the fields and values of the first rule broken.
    pub fn build(self) -> Result<Config, ConfigError> {
        let group = GroupName::new(&self.group)?;
        let given = Box::new(self.clone());
        let settings = self.settle()?;
        let config = Config {
            group,
            settings,
            given,
        };
        rules::check(&config)?;
        Ok(config)
    }
}
