//! `parti repartition`: another number of partitions for a stream that groups consume.
//!
//! It is separate because it is about a stream and not about a group. What always holds: without `--to`
//! nothing is written, and what is begun is gone on with by the same command.

use std::fmt::Write as _;

use parti::jetstream::{
    Condition, ConsumeError, Repartition, RepartitionProgress, plan_repartition, repartition,
    repartition_progress,
};
use serde_json::json;

use crate::args::{Arguments, Repartitioned};
use crate::connect;
use crate::failure::{Exit, Failure};
use crate::show::printed;
use crate::verbs::agreed;

/// Shows how far the groups are, or splits the stream into another number.
pub(crate) async fn run(arguments: &Arguments, asked: &Repartitioned) -> Result<String, Failure> {
    let context = connect::jetstream(&arguments.connection).await?;
    let (stream, json) = (&asked.stream, arguments.json);
    let Some(to) = asked.to else {
        let progress = repartition_progress(&context, stream).await?;
        return Ok(progress_said(&progress, json));
    };
    let plan = plan_repartition(&context, stream, to).await?;
    if !json {
        crate::print(&said(stream, &plan));
    }
    let is_wanted = !asked.dry_run && !plan.was_done;
    if is_wanted && !asked.yes && !agreed()? {
        return Err(Failure::new(Exit::No, "nothing was done"));
    }
    if is_wanted {
        repartition(&context, stream, to).await?;
    }
    if json {
        return Ok(printed(
            &json!({ "stream": stream, "from": plan.from, "to": plan.to,
            "destination": plan.new_destination, "groups": plan.groups, "done": is_wanted }),
        ));
    }
    Ok(match (plan.was_done, asked.dry_run) {
        (true, _) => format!("nothing was to do; `parti repartition {stream}` shows the groups\n"),
        (false, true) => "nothing was done (--dry-run)\n".to_owned(),
        (false, false) => {
            format!("new messages go there; `parti repartition {stream}` shows the groups\n")
        }
    })
}

fn said(stream: &str, plan: &Repartition) -> String {
    let Repartition {
        from,
        to,
        old_destination,
        new_destination,
        groups,
        ..
    } = plan;
    let groups = match &groups[..] {
        [] => "no group".to_owned(),
        some => some.join(", "),
    };
    format!(
        "{stream}: {from} partitions become {to}, for {groups}\n\
         subjects were {old_destination}\n\
         subjects will be {new_destination}\n\
         what is stored already is handled where it is, before new messages of its keys\n"
    )
}

fn progress_said(progress: &[RepartitionProgress], json: bool) -> String {
    if json {
        let rows = progress.iter().map(|group| {
            json!({ "group": group.group, "done": group.is_done, "partitions": group.partitions,
                "waits_for": group.waits_for })
        });
        return printed(&json!({ "groups": rows.collect::<Vec<_>>() }));
    }
    let mut text = String::new();
    for group in progress {
        let state = match (group.is_done, group.partitions, &group.waits_for[..]) {
            (true, ..) => "done".to_owned(),
            (false, 0, _) => "not begun: no leader has said anything".to_owned(),
            (false, _, []) => "waits for a message in the new partitions".to_owned(),
            (false, _, some) => {
                let numbers: Vec<String> = some.iter().map(u32::to_string).collect();
                format!("waits for the old partitions {}", numbers.join(", "))
            }
        };
        let _ = writeln!(text, "{}: {state}", group.group);
    }
    if progress.is_empty() {
        text.push_str("no group consumes this stream\n");
    }
    text
}

impl From<ConsumeError> for Failure {
    fn from(error: ConsumeError) -> Self {
        let exit = match &error {
            ConsumeError::Unavailable { .. } => Exit::NoAnswer,
            ConsumeError::Condition(Condition::StreamMissing { .. }) => Exit::NotThere,
            ConsumeError::Condition(Condition::Refused { .. }) => Exit::NotAllowed,
            ConsumeError::Layout(_) => Exit::Usage,
            ConsumeError::Mismatch { .. } => Exit::Unfit,
            ConsumeError::Condition(_) | _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
