//! The finer settings of a [`Config`](crate::Config), and a configuration from files or the environment.
//!
//! With the feature `serde`, `Settings` is read by any format of serde, and from environment variables.
//! What always holds: wherever settings come from, the same rules and the same errors apply.

#[doc(inline)]
pub use parti_core::{DegradedPreset, DegradedSettings, OnBucketLost};

#[cfg(feature = "serde")]
mod environment;
#[cfg(feature = "serde")]
mod settings;

#[cfg(feature = "serde")]
pub use settings::{Settings, SettingsError};
