//! Which bug a configuration plants, and which release it plays: none and this one, unless the features
//! `planted` and `releases` are on and a test asks.
//!
//! It is separate so that the configuration shows no trace of it but two fields.

use super::Config;
#[cfg(any(test, feature = "planted", feature = "releases"))]
use super::ConfigBuilder;
use crate::model::id::Formats;
use crate::planted::Planted;

#[cfg(feature = "planted")]
impl ConfigBuilder {
    /// Plants a bug in every core with this configuration. For tests of tests.
    pub fn planted(mut self, bug: Planted) -> Self {
        self.planted = Some(bug);
        self
    }
}

#[cfg(any(test, feature = "releases"))]
impl ConfigBuilder {
    /// Lets every core with this configuration read and write other formats, as another release would.
    /// For tests of updates.
    pub fn formats(mut self, formats: Formats) -> Self {
        self.formats = Some(formats);
        self
    }
}

#[cfg(any(test, feature = "releases"))]
impl Config {
    /// The same configuration of another release.
    #[must_use]
    pub fn with_formats(mut self, formats: Formats) -> Self {
        self.settings.formats = Some(formats);
        self.given.formats = Some(formats);
        self
    }
}

impl Config {
    /// The formats of records that this release reads; it can write the newest.
    #[cfg(any(test, feature = "releases"))]
    pub(crate) fn formats(&self) -> Formats {
        self.settings.formats.unwrap_or(Formats::THIS_RELEASE)
    }

    /// The formats of records that this release reads; it can write the newest.
    #[cfg(not(any(test, feature = "releases")))]
    #[expect(clippy::unused_self)]
    pub(crate) const fn formats(&self) -> Formats {
        Formats::THIS_RELEASE
    }

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
