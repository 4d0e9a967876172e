//! Why a command failed: what people read, and the exit code that scripts read.
//!
//! It is separate because the codes are a promise (docs/CLI.md). What always holds: a message names
//! what was asked for and what would be right.

use std::process::ExitCode;

use parti::nats::OpenError;
use parti_core::{StoreError, StoreErrorKind};
use serde_json::json;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked for.
    Done = 0,
    /// It failed for a reason that has no code of its own.
    Failed = 1,
    /// The arguments cannot be meant. `clap` ends with the same code.
    Usage = 2,
    /// A group, worker or partition that was named is not there.
    NotThere = 3,
    /// The server does not let this login do it.
    NotAllowed = 4,
    /// No server answered in time.
    NoAnswer = 5,
    /// The server or the bucket cannot keep a group.
    Unfit = 6,
    /// The answer is no: a partition without an owner, a doctor that found trouble.
    No = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, message }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self, json: bool) {
        if json {
            let told = json!({ "error": self.message, "exit": self.exit as u8 });
            eprintln!("{told}");
        } else {
            eprintln!("parti: {}", self.message);
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let exit = match error {
            OpenError::InvalidOption { .. } | OpenError::InvalidAddress { .. } => Exit::Usage,
            OpenError::Unreachable { .. } | OpenError::TimedOut { .. } => Exit::NoAnswer,
            OpenError::Unauthorized { .. } | OpenError::Denied { .. } => Exit::NotAllowed,
            OpenError::ServerTooOld { .. }
            | OpenError::JetStreamOff { .. }
            | OpenError::BucketMismatch { .. }
            | OpenError::GroupElsewhere { .. } => Exit::Unfit,
            OpenError::NoBucket { .. } => Exit::NotThere,
            OpenError::Refused { .. } | _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error.kind {
            StoreErrorKind::Unknown | StoreErrorKind::Unavailable => Exit::NoAnswer,
            StoreErrorKind::Rejected => Exit::NotAllowed,
            StoreErrorKind::Missing => Exit::NotThere,
            StoreErrorKind::Refused => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
