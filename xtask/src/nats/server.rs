//! A nats-server as the outer program hands it to the inner one: `--server=version=program`.
//!
//! It is separate because every command with an inner program that needs servers passes them on alike.

use std::path::PathBuf;
use std::str::FromStr;

use super::locate;
use crate::proc::Failure;

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
}

impl Server {
    /// Finds or downloads exactly this version, or the one that tests use.
    pub(crate) fn find(version: Option<&str>) -> Result<Self, Failure> {
        let (name, program) = (version.unwrap_or("default").to_owned(), locate(version)?);
        Ok(Self { name, program })
    }

    /// The option that hands it on.
    pub(crate) fn word(&self) -> String {
        let program = std::path::absolute(&self.program);
        let program = program.unwrap_or_else(|_| self.program.clone());
        format!("--server={}={}", self.name, program.display())
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not version=program"))?;
        let (name, program) = (name.to_owned(), program.into());
        Ok(Self { name, program })
    }
}
