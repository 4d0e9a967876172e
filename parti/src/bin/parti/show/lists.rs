//! Lists of what a group has: workers, partitions, generations; and one partition in full.

use std::fmt::Write as _;

use parti::directory::{PartitionState, PartitionView};
use serde_json::{Value, json};

use super::{fields, printed};
use crate::Answer;
use crate::args::Which;
use crate::failure::{Exit, Failure};
use crate::look::Look;
use crate::names;

pub(crate) fn workers(look: &Look, as_json: bool) -> String {
    let view = look.view();
    if as_json {
        let workers: Vec<_> = view.workers.iter().map(fields::worker).collect();
        return printed(&Value::from(workers));
    }
    let mut text = String::new();
    for worker in &view.workers {
        let _ = write!(
            text,
            "{}  {}  {} partitions",
            worker.worker,
            fields::session_state(worker.state),
            worker.granted
        );
        if let Some(session) = &worker.session {
            let _ = write!(
                text,
                "  capacity {}  lease {:?}  {}",
                session.capacity, session.lease, session.software
            );
            for (name, value) in &session.labels {
                let _ = write!(text, "  {name}={value}");
            }
            if let Some(endpoint) = &session.endpoint {
                let _ = write!(text, "  {endpoint}");
            }
        }
        text.push('\n');
    }
    text
}

pub(crate) fn partitions(look: &Look, which: &Which, as_json: bool) -> Result<String, Failure> {
    let view = look.view();
    let of = which.of.as_ref().map(|name| names::worker(&view, name));
    let of = of.transpose()?;
    let is_meant = |partition: &&PartitionView| match &partition.state {
        PartitionState::Owned { worker, .. } => {
            !which.unowned && !which.moving && of.as_ref().is_none_or(|of| of == worker)
        }
        PartitionState::Moving { waits_for } => {
            !which.unowned && of.as_ref().is_none_or(|of| waits_for.contains(of))
        }
        PartitionState::Unowned { .. } | PartitionState::Parked(_) => !which.moving && of.is_none(),
        _ => true,
    };
    let meant = view.partitions.iter().filter(is_meant);
    if as_json {
        let partitions: Vec<_> = meant.map(fields::partition).collect();
        return Ok(printed(&Value::from(partitions)));
    }
    let mut text = String::new();
    for partition in meant {
        let _ = writeln!(text, "{}  {}", partition.partition, place(&partition.state));
    }
    if view.nameless > 0 && which.of.is_none() && !which.moving {
        let more = view.nameless;
        let _ = writeln!(
            text,
            "{more} more without owner, whose names are not in the bucket"
        );
    }
    Ok(text)
}

/// Where a partition is, in words.
fn place(state: &PartitionState) -> String {
    match state {
        PartitionState::Owned { worker, token, .. } => format!("{worker}  token {token}"),
        PartitionState::Moving { waits_for } => {
            let waits_for: Vec<_> = waits_for.iter().map(|worker| worker.as_str()).collect();
            format!("on its way, waits for {}", waits_for.join(", "))
        }
        PartitionState::Unowned { was, .. } => match was {
            Some(was) => format!("nobody, it was {was}'s"),
            None => "nobody".to_owned(),
        },
        PartitionState::Parked(parking) => {
            format!("parked ({}), it needs {}", parking.reason, parking.needs)
        }
        _ => "unknown".to_owned(),
    }
}

pub(crate) fn owner(look: &Look, name: &str, as_json: bool) -> Result<Answer, Failure> {
    let view = look.view();
    let key = names::partition(&view, name)?;
    let owner = look.directory.owners().owner_of(&key);
    let exit = if owner.is_some() {
        Exit::Done
    } else {
        Exit::No
    };
    let text = if as_json {
        let owner = owner.map(|owner| {
            json!({
                "worker": owner.worker.as_str(),
                "endpoint": owner.endpoint.map(|endpoint| endpoint.to_string()),
                "token": owner.token.get(),
                "version": owner.version.get(),
            })
        });
        printed(&json!({ "partition": key.to_string(), "owner": owner }))
    } else {
        match owner {
            Some(owner) => {
                let endpoint = owner.endpoint.map(|endpoint| format!("  {endpoint}"));
                let endpoint = endpoint.unwrap_or_default();
                format!("{}{endpoint}  token {}\n", owner.worker, owner.token)
            }
            None => {
                let mut all = view.partitions.iter();
                let found = all.find(|partition| partition.partition == key);
                let place = found.map_or_else(String::new, |found| place(&found.state));
                format!("{place}\n")
            }
        }
    };
    Ok(Answer { text, exit })
}

pub(crate) fn explain(look: &Look, name: &str, as_json: bool) -> Result<String, Failure> {
    let key = names::partition(&look.view(), name)?;
    let explanation = look.directory.history().explain(&key);
    Ok(if as_json {
        printed(&fields::explanation(&explanation))
    } else {
        format!("{explanation}\n")
    })
}

pub(crate) fn history(look: &Look, last: usize, as_json: bool) -> String {
    let view = look.view();
    let from = view.generations.len().saturating_sub(last);
    let entries = &view.generations[from..];
    if as_json {
        let entries: Vec<_> = entries.iter().map(fields::entry).collect();
        return printed(&Value::from(entries));
    }
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{entry}");
    }
    text
}
