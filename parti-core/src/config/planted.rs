//! Which bug a configuration plants: none, unless the feature `planted` is on and a test asks.
//!
//! It is separate so that the configuration shows no trace of it but one field.

use super::Config;
#[cfg(feature = "planted")]
use super::ConfigBuilder;
use crate::planted::Planted;

#[cfg(feature = "planted")]
impl ConfigBuilder {
    /// Plants a bug in every core with this configuration. For tests of tests.
    pub fn planted(mut self, bug: Planted) -> Self {
        self.planted = Some(bug);
        self
    }
}

impl Config {
    /// Whether this bug is planted.
    #[cfg(feature = "planted")]
    pub(crate) fn planted(&self, bug: Planted) -> bool {
        self.settings.planted == Some(bug)
    }

    /// Without the feature no bug is ever planted.
    #[cfg(not(feature = "planted"))]
    #[expect(clippy::unused_self)]
    pub(crate) const fn planted(&self, _: Planted) -> bool {
        false
    }

    /// What is right, unless this bug is planted.
    pub(crate) fn unless_planted<T>(&self, bug: Planted, right: T, wrong: T) -> T {
        if self.planted(bug) { wrong } else { right }
    }
}
