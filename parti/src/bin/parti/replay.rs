//! `export` and `replay`: a group into a file, and looks at it from there.
//!
//! What always holds: an existing file is not written over, and each line is on its way to the disk when it
//! was seen, so that a recording that is interrupted is one up to there.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parti::store::{Store, StoreOp, StoreReply, Watch, WatchEvent, WatchScope};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::args::{Arguments, Command, Played, Viewed};
use crate::failure::{Exit, Failure};
use crate::look::Look;
use crate::look::recording::{Recording, event_line, header_line};
use crate::show::printed;
use crate::{Answer, answer, connect, top};

/// The pause before a lost watch is set up again.
const PAUSE: Duration = Duration::from_millis(500);

/// Writes what the group's bucket holds into a file, and for some time what happens to it.
pub(crate) async fn export(
    arguments: &Arguments,
    file: &Path,
    lasting: Duration,
) -> Result<String, Failure> {
    let store = connect::group(arguments).await?;
    let group = connect::name(arguments).await?;
    let limit = arguments.connection.timeout();
    let info = timeout(limit, store.execute(StoreOp::Info)).await;
    let StoreReply::Info(info) = info.map_err(|_| silent(limit))?? else {
        let message = "the store does not say what it is";
        return Err(Failure::new(Exit::Failed, message));
    };
    let mut watch = watch(&*store, limit).await?;
    let created = OpenOptions::new().write(true).create_new(true).open(file);
    let mut out = created.map_err(|error| unwritten(file, &error))?;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let began_ms = wall.map_or(0, |wall| {
        u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
    });
    let (begun, mut records) = (Instant::now(), 0_u64);
    let mut line = header_line(group.as_str(), began_ms, &info);
    let until = begun + lasting;
    let mut is_complete = false;
    loop {
        let written = out.write_all(line.as_bytes());
        written.map_err(|error| unwritten(file, &error))?;
        let event = if is_complete {
            match timeout_at(until, watch.next()).await {
                Ok(event) => event,
                Err(_) => break,
            }
        } else {
            let event = timeout(limit, watch.next()).await;
            event.map_err(|_| silent(limit))?
        };
        line = event_line(begun.elapsed(), &event);
        match event {
            WatchEvent::Entry(_) => records += 1,
            WatchEvent::CaughtUp { .. } => is_complete = true,
            WatchEvent::Lost { .. } if Instant::now() >= until => {}
            WatchEvent::Lost { .. } => {
                sleep(PAUSE).await;
                is_complete = false;
                watch = self::watch(&*store, limit).await?;
            }
        }
    }
    let seconds = begun.elapsed().as_secs();
    let file = file.display().to_string();
    Ok(if arguments.json {
        let group = group.as_str();
        printed(&json!({ "file": file, "group": group, "records": records, "seconds": seconds }))
    } else {
        format!(
            "{file}: {records} records of {group} in {seconds} s; look at it with `parti replay`\n"
        )
    })
}

async fn watch(store: &dyn Store, limit: Duration) -> Result<Box<dyn Watch>, Failure> {
    let watch = timeout(limit, store.watch(WatchScope::All)).await;
    Ok(watch.map_err(|_| silent(limit))??)
}

fn silent(limit: Duration) -> Failure {
    let message = format!("the server did not answer within {limit:?} (--timeout)");
    Failure::new(Exit::NoAnswer, message)
}

fn unwritten(file: &Path, error: &std::io::Error) -> Failure {
    let file = file.display();
    if error.kind() == ErrorKind::AlreadyExists {
        let message = format!("{file} is there already; name a file that is not");
        return Failure::new(Exit::Usage, message);
    }
    Failure::new(Exit::Failed, format!("{file} cannot be written: {error}"))
}

/// Shows a recording as it was at some time of it, or plays it.
pub(crate) async fn replay(arguments: &Arguments, played: &Played) -> Result<Answer, Failure> {
    let text = fs::read_to_string(&played.file).map_err(|error| {
        let is_missing = error.kind() == ErrorKind::NotFound;
        let exit = if is_missing {
            Exit::NotThere
        } else {
            Exit::Usage
        };
        Failure::new(exit, format!("{}: {error}", played.file.display()))
    })?;
    let recording = Recording::read(&text)?;
    let length = recording.length();
    if let Some(at) = played.at.filter(|at| *at > length) {
        let message = format!("--at {at:?}: the recording lasts {length:?}");
        return Err(Failure::new(Exit::Usage, message));
    }
    let (group, speed) = (recording.group.clone(), played.speed);
    if let Some(Viewed::Top { no_colours }) = &played.view {
        let look = Look::recorded(recording, played.at.unwrap_or_default(), speed)?;
        top::replay(group, look, !no_colours).await?;
        return Ok(String::new().into());
    }
    let look = Look::recorded(recording, played.at.unwrap_or(length), speed)?;
    let command = match played.view.clone() {
        None | Some(Viewed::Status | Viewed::Top { .. }) => Command::Status { name: None },
        Some(Viewed::Workers) => Command::Workers,
        Some(Viewed::Partitions(which)) => Command::Partitions(which),
        Some(Viewed::Owner { key }) => Command::Owner { key },
        Some(Viewed::Explain { key }) => Command::Explain { key },
        Some(Viewed::History { last }) => Command::History { last },
        Some(Viewed::Plan(planned)) => Command::Plan(planned),
    };
    answer(&command, &look, arguments.json)
}
