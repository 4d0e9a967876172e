//! A partition source of your own: the list stands in a text file, and changes are announced.
//!
//! `file_source --file partitions.txt --nats nats://127.0.0.1:4222`
//!
//! One partition a line: the parts of its key joined by `/`, then a weight if it is not 1. Lines
//! that begin with `#` are comments. Every worker must see the same file, as on a shared volume;
//! only the leader lists it. Replace the file by renaming a new one over it, so that nobody ever
//! reads half of it.
//!
//! ```text
//! # tenant/device group
//! acme/0
//! acme/1 3
//! ```
//!
//! What a source must never do is answer with a part of the list: what is missing is taken from its
//! owner. So everything doubtful here is an error, and the group goes on with the list it has.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clap::Parser;
use parti::sources::{PartitionSource, SourceError};
use parti::{
    Config, Guard, HandlerError, Manager, Partition, PartitionHandler, PartitionKey, Preset,
    RevokeCause, StopMode, async_trait,
};

/// A worker of a group whose partitions stand in a file.
#[derive(Parser)]
struct Arguments {
    /// The file with the partitions, one a line: `part/part weight`.
    #[arg(long)]
    file: PathBuf,
    /// The name of the group.
    #[arg(long, default_value = "demo")]
    group: String,
    /// The NATS server, such as nats://127.0.0.1:4222. Without it the worker is a group of its own.
    #[arg(long)]
    nats: Option<String>,
    /// How often the file is looked at, in milliseconds.
    #[arg(long, default_value_t = 500)]
    every_ms: u64,
    /// Stop after so many seconds; without it, when interrupted.
    #[arg(long)]
    seconds: Option<f64>,
}

/// The source: a file, and what it looked like when it was last looked at.
struct FileSource {
    path: PathBuf,
    every: Duration,
    looks: Mutex<Option<Looks>>,
}

/// What tells one content of a file from another without reading it.
type Looks = (SystemTime, u64);

impl FileSource {
    fn new(path: PathBuf, every: Duration) -> Self {
        let looks = Mutex::new(look(&path));
        Self { path, every, looks }
    }

    /// Whether the file looks other than last time. A file that is gone has not changed: there is
    /// nothing to list.
    fn is_other(&self) -> bool {
        let Some(new) = look(&self.path) else {
            return false;
        };
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.replace(new) != Some(new)
    }
}

#[async_trait]
impl PartitionSource for FileSource {
    async fn list(&self) -> Result<Vec<Partition>, SourceError> {
        let path = self.path.clone();
        let unavailable = |reason: String| SourceError::Unavailable(reason);
        // Reading may block for long on a network volume, so it has a thread of its own.
        let read = tokio::task::spawn_blocking(move || fs::read_to_string(path)).await;
        let text = read
            .unwrap_or_else(|failed| Err(io::Error::other(failed)))
            .map_err(|error| unavailable(format!("{}: {error}", self.path.display())))?;
        parse(&text)
    }

    /// Keeps no state across calls but what the file looked like, so it may be dropped at any time.
    async fn changed(&self) {
        loop {
            tokio::time::sleep(self.every).await;
            if self.is_other() {
                return;
            }
        }
    }
}

fn look(path: &Path) -> Option<Looks> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The partitions in a text. A text that may have been cut off is refused.
fn parse(text: &str) -> Result<Vec<Partition>, SourceError> {
    if !text.ends_with('\n') {
        let reason = "the file is empty or its last line has no end: is it being written?";
        return Err(SourceError::Unavailable(reason.to_owned()));
    }
    let lines = (1..).zip(text.lines().map(str::trim));
    let listed = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    listed
        .map(|(number, line)| {
            let (name, weight) = line.split_once(char::is_whitespace).unwrap_or((line, "1"));
            let weight = weight.trim().parse().map_err(|_| {
                let reason = format!("line {number}: {weight:?} is not a weight");
                SourceError::Unavailable(reason)
            })?;
            Ok(Partition::new(name.split('/'))?.with_weight(weight))
        })
        .collect()
}

/// The work: here only told.
struct Tell;

#[async_trait]
impl PartitionHandler for Tell {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        println!("{partition} is mine, token {}", guard.token());
        Ok(())
    }
    async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause) {
        println!("{partition} with token {} ends: {cause}", guard.token());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let source = FileSource::new(arguments.file, Duration::from_millis(arguments.every_ms));
    // A file that cannot be read is better found now than by a later leader.
    println!("{} partitions in the file", source.list().await?.len());
    let config = Config::builder(&arguments.group)
        .preset(Preset::Fast)
        .build()?;
    let mut builder = Manager::builder(config, source, Tell);
    if let Some(url) = &arguments.nats {
        builder = builder.nats(url);
    }
    let manager = builder.start().await?;
    let seconds = arguments
        .seconds
        .map_or(Duration::MAX, Duration::from_secs_f64);
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        () = tokio::time::sleep(seconds) => {}
    }
    manager.stop(StopMode::Handoff).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a file must not pass for a shorter list.
    #[test]
    fn a_list_is_read_whole_or_refused() {
        let list = parse("# two\nacme/0\n\nacme/1 3\n").expect("a list");
        let shown: Vec<_> = list
            .iter()
            .map(|p| format!("{} {}", p.key, p.weight))
            .collect();
        assert_eq!(shown, ["acme/0 1", "acme/1 3"]);
        for (text, part) in [
            ("", "empty"),
            ("acme/0\nac", "no end"),
            ("acme/0 x\n", "line 1"),
            ("acme//0\n", "part 1"),
        ] {
            let error = parse(text).expect_err(part).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
