//! What happens in a group, as it happens, one line for each thing.
//!
//! It is separate because it does not end by itself. What always holds: when the watch is lost it is
//! set up again, what changed meanwhile is told, and so is that there was a gap.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use parti::directory::Change;
use parti_core::{AuditEntry, Version};
use tokio::time::sleep;

use crate::args::Arguments;
use crate::connect;
use crate::failure::Failure;
use crate::look::Look;
use crate::print;
use crate::show::fields;

/// The pause before a lost watch is set up again.
const PAUSE: Duration = Duration::from_millis(500);

/// Prints the last generations, and goes on if that is asked for.
pub(crate) async fn run(arguments: &Arguments, last: usize, follow: bool) -> Result<(), Failure> {
    let store = connect::group(arguments).await?;
    let limit = arguments.connection.timeout();
    let mut look = Look::at(&store, limit).await?;
    let mut told = Told {
        json: arguments.json,
        versions: BTreeSet::new(),
    };
    let entries = look.view().generations;
    let older = entries.len().saturating_sub(last);
    told.versions
        .extend(entries[..older].iter().map(|entry| entry.version));
    told.generations(&entries);
    if !follow {
        return Ok(());
    }
    loop {
        match look.next().await {
            Ok(changes) => {
                for change in &changes {
                    told.change(change);
                }
                told.generations(&look.directory.history().entries);
            }
            Err(lost) => {
                told.line("watch_lost", &lost.message);
                look = again(&store, limit).await;
                told.line("watching", &"what happened meanwhile is in the generations");
                told.generations(&look.view().generations);
            }
        }
    }
}

async fn again(store: &dyn parti::store::Store, limit: Duration) -> Look {
    loop {
        sleep(PAUSE).await;
        if let Ok(look) = Look::at(store, limit).await {
            return look;
        }
    }
}

/// What has been told already.
struct Told {
    json: bool,
    versions: BTreeSet<Version>,
}

impl Told {
    fn generations(&mut self, entries: &[AuditEntry]) {
        for entry in entries {
            if !self.versions.insert(entry.version) {
                continue;
            }
            if self.json {
                let mut value = fields::entry(entry);
                value["event"] = "generation".into();
                print(&format!("{value}\n"));
            } else {
                print(&format!("{entry}\n"));
            }
        }
        // The ring keeps so many at most.
        while self.versions.len() > 1024 {
            self.versions.pop_first();
        }
    }

    fn change(&self, change: &Change) {
        if self.json {
            return print(&format!("{}\n", fields::change(change)));
        }
        let text = match change {
            Change::Leader { term, leader } => match leader {
                Some(leader) => format!("{leader} leads, term {term}"),
                None => format!("nobody leads, term {term}"),
            },
            Change::Worker { worker, living } => match living {
                true => format!("{worker} is there"),
                false => format!("{worker} has gone"),
            },
            Change::Owner {
                partition,
                from,
                to,
            } => {
                let named = |worker: Option<String>| worker.unwrap_or_else(|| "nobody".to_owned());
                let from = named(from.as_ref().map(ToString::to_string));
                let to = to.as_ref();
                let to = to.map(|(worker, token)| format!("{worker} with token {token}"));
                format!("{partition}: from {from} to {}", named(to))
            }
            Change::Lost(loss) => format!("the history was lost: {loss}"),
            _ => return,
        };
        print(&format!("{text}\n"));
    }

    fn line(&self, event: &str, detail: &dyn Display) {
        if self.json {
            let value = serde_json::json!({ "event": event, "detail": detail.to_string() });
            print(&format!("{value}\n"));
        } else {
            print(&format!("{detail}\n"));
        }
    }
}
