//! Lines of the trace about what a core is told and asks for.
//!
//! They are built only when a trace is kept.

use parti_core::{Event, StoreOp, StoreReply, WatchEvent};

use crate::simulator::checks::Process;
use crate::simulator::group::node::Input;

pub(super) fn describe(process: Process, input: &Input) -> Option<String> {
    match input {
        Input::Event(event) => Some(format!("{process} <- {}", brief_event(event))),
        Input::Timeout => Some(format!("{process} <- time")),
        Input::Released(_) => None,
    }
}

fn brief_event(event: &Event) -> String {
    match event {
        Event::Store {
            op,
            result: Ok(StoreReply::Entry(entry)),
        } => match entry {
            Some(entry) => format!("{op}: {}@{}", entry.key, entry.revision),
            None => format!("{op}: no entry"),
        },
        Event::Store {
            op,
            result:
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                }),
        } => {
            let keys: Vec<_> = entries
                .iter()
                .map(|entry| format!("{}@{}", entry.key, entry.revision))
                .collect();
            format!("{op}: up to {last_revision}: {}", keys.join(" "))
        }
        Event::Store {
            op,
            result: Ok(StoreReply::Committed { revisions }),
        } => {
            let revisions: Vec<_> = revisions.iter().map(|revision| revision.get()).collect();
            format!("{op}: committed at {revisions:?}")
        }
        Event::Store { op, result } => format!("{op}: {result:?}"),
        Event::Watch {
            id,
            event: WatchEvent::Entry(entry),
        } => {
            let gone = if entry.value.is_none() {
                " deleted"
            } else {
                ""
            };
            format!("{id}: {}@{}{gone}", entry.key, entry.revision)
        }
        Event::Partitions {
            result: Ok(list), ..
        } => format!("{} partitions", list.len()),
        Event::Planned { .. } => "a plan".to_owned(),
        Event::Watch { .. }
        | Event::Partitions { .. }
        | Event::Start
        | Event::Released { .. }
        | Event::Processing { .. }
        | Event::Prepared { .. }
        | Event::Answering { .. }
        | Event::Probed { .. }
        | Event::SourceChanged
        | Event::Refresh { .. }
        | Event::Trigger { .. }
        | Event::ClockJumped { .. }
        | Event::Stop { .. } => format!("{event:?}"),
    }
}

pub(super) fn brief(request: &StoreOp) -> String {
    match request {
        StoreOp::Commit { writes } => {
            let writes: Vec<_> = writes
                .iter()
                .map(|write| format!("{} if {:?}", write.key, write.expect))
                .collect();
            format!("commit {}", writes.join(", "))
        }
        StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Info | StoreOp::Create => {
            format!("{request:?}")
        }
    }
}
