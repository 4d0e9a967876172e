//! Pins and moves: where operators want partitions. All of them are in one record.
//!
//! It is separate because that record is read before it is written: another operator's pins stay in it, and a
//! write that was overtaken is refused by the store and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use parti::directory::{PartitionState, Request, Verb, View};
use parti::store::{Expect, Store, StoreOp, StoreReply};
use parti_core::{Control, PartitionKey, Pin, Record, WorkerId, WriteId, control_key, wire};

use super::{Prepared, Step, author, carry_out, group, lasts, nonce};
use crate::args::{Arguments, Given, Wanted};
use crate::failure::{Exit, Failure};
use crate::look::Look;
use crate::{connect, names};

/// The record as it is.
struct Stored {
    key: String,
    expect: Expect,
    pins: Vec<Pin>,
}

/// Orders a partition at a worker: for a while, or once.
pub(crate) async fn give(
    arguments: &Arguments,
    wanted: &Wanted,
    once: bool,
) -> Result<String, Failure> {
    let given = &wanted.given;
    let (lasts, author) = (lasts(given)?, author(given));
    let store = connect::group_to_change(arguments).await?;
    let look = Look::at(&store, arguments.connection.timeout()).await?;
    let view = look.view();
    let partition = names::partition(&view, &wanted.partition)?;
    let worker = names::worker(&view, &wanted.worker)?;
    conflict(&view, &partition, &worker, once)?;
    let mut stored = read(&store).await?;
    stored.pins.retain(|pin| pin.partition != partition);
    if stored.pins.len() >= Pin::MOST {
        let message = format!(
            "there are {} pins and moves, and no more may be: `parti cancel pin PARTITION` withdraws one",
            Pin::MOST
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let reason = given.reason.clone().unwrap_or_default();
    stored.pins.push(Pin {
        partition: partition.clone(),
        worker: worker.clone(),
        once,
        author: author.clone(),
        reason: reason.clone(),
        since_ms: None,
        lasts: Some(lasts),
    });
    let said = said(&partition, &worker, once, lasts);
    let preview = preview(&view, &partition, &worker);
    let step = stored.written(author, reason, said)?;
    let prepared = Prepared {
        store,
        step,
        preview,
    };
    carry_out(arguments, &prepared, given).await
}

/// Takes the order about a partition back.
pub(crate) async fn cancel(
    arguments: &Arguments,
    verb: &str,
    partition: Option<&str>,
    given: &Given,
) -> Result<String, Failure> {
    let store = connect::group_to_change(arguments).await?;
    let mut stored = read(&store).await?;
    let known: Vec<String> = stored
        .pins
        .iter()
        .map(|pin| pin.partition.to_string())
        .collect();
    let Some(name) = partition else {
        let message = format!(
            "name the partition; there are orders about: {}",
            known.join(", ")
        );
        return Err(Failure::new(Exit::Usage, message));
    };
    let meant = |pin: &Pin| pin.partition.to_string() == name || pin.partition.encoded() == name;
    if !stored.pins.iter().any(meant) {
        let message = match &known[..] {
            [] => format!("there is no {verb} in force"),
            some => format!(
                "there is no {verb} of {name}; there is one of: {}",
                names::nearest(name, some)
            ),
        };
        return Err(Failure::new(Exit::NotThere, message));
    }
    stored.pins.retain(|pin| !meant(pin));
    let said = format!("withdraw {verb} of {name}");
    let step = stored.written(
        author(given),
        given.reason.clone().unwrap_or_default(),
        said,
    )?;
    let prepared = Prepared {
        store,
        step,
        preview: String::new(),
    };
    carry_out(arguments, &prepared, given).await
}

async fn read(store: &Arc<dyn Store>) -> Result<Stored, Failure> {
    let key = control_key(Verb::Pin, &group());
    let reply = store.execute(StoreOp::Get { key: key.clone() }).await?;
    let StoreReply::Entry(entry) = reply else {
        return Err(Failure::new(
            Exit::Failed,
            "the store answered something else",
        ));
    };
    let Some((entry, value)) = entry.and_then(|entry| Some((entry.clone(), entry.value?))) else {
        let (expect, pins) = (Expect::Absent, Vec::new());
        return Ok(Stored { key, expect, pins });
    };
    let Ok(Record::Control(control)) = wire::decode(&value) else {
        let message = format!("{key} cannot be read: it is of another release, or damaged");
        return Err(Failure::new(Exit::Failed, message));
    };
    // What is written again keeps the time it was given at.
    let pins = control.pins.into_iter().map(|pin| Pin {
        since_ms: pin.since_ms.or(Some(entry.at_ms)),
        ..pin
    });
    Ok(Stored {
        key,
        expect: Expect::Revision(entry.revision),
        pins: pins.collect(),
    })
}

impl Stored {
    fn written(self, author: String, reason: String, said: String) -> Result<Step, Failure> {
        let record = Record::Control(Control {
            write: WriteId {
                nonce: nonce()?,
                seq: 1,
            },
            author,
            reason,
            lasts: None,
            pins: self.pins.clone(),
        });
        Ok(Step {
            key: self.key,
            value: (!self.pins.is_empty()).then(|| wire::encode(&record)),
            expect: self.expect,
            said,
        })
    }
}

fn said(partition: &PartitionKey, worker: &WorkerId, once: bool, lasts: Duration) -> String {
    let verb = if once { "move" } else { "pin" };
    let lasts = humantime::format_duration(lasts);
    format!("{verb} {partition} to {worker}, for at most {lasts}")
}

fn owner<'a>(view: &'a View, partition: &PartitionKey) -> Option<&'a WorkerId> {
    let of = view
        .partitions
        .iter()
        .find(|of| of.partition == *partition)?;
    if let PartitionState::Owned { worker, .. } = &of.state {
        return Some(worker);
    }
    None
}

fn preview(view: &View, partition: &PartitionKey, worker: &WorkerId) -> String {
    match owner(view, partition) {
        Some(owner) if owner == worker => "moves nothing: it is there\n".to_owned(),
        Some(owner) => format!("moves {partition} from {owner} to {worker}\n"),
        None => format!("gives {partition} to {worker}\n"),
    }
}

/// What contradicts the order, if anything does.
fn conflict(
    view: &View,
    partition: &PartitionKey,
    worker: &WorkerId,
    once: bool,
) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(Exit::Usage, message));
    let holds = |request: &&Request| match request.verb {
        Verb::Freeze => true,
        Verb::Drain | Verb::Cordon | Verb::Evict => request.worker == *worker,
        Verb::Pin | Verb::Refresh | Verb::Trigger | Verb::StepDown => false,
    };
    if let Some(request) = view.requests.iter().find(holds) {
        let (verb, about) = (request.verb.as_str(), &request.worker);
        return refuse(format!(
            "there is a {verb} of {about}, and nothing would move: `parti cancel {verb} {about}` first"
        ));
    }
    if once && owner(view, partition) == Some(worker) {
        return refuse(format!(
            "{worker} owns {partition} already; to keep it there, use `pin`"
        ));
    }
    Ok(())
}
