//! One screen about a group: what somebody needs who was woken up.

use std::fmt::{self, Write as _};

use parti::directory::{PartitionState, SessionState, View};
use parti_core::{AuditEntry, Bulletin, SessionStatus, ToldProblem, Version};
use serde_json::{Value, json};

use super::{ago, date, fields, printed};
use crate::look::Look;

/// How many letters a bar has.
const BAR: usize = 20;
/// How many of a kind are named on one screen.
const NAMED: usize = 8;
/// How many generations are shown.
const LAST: usize = 5;

pub(crate) fn status(look: &Look, as_json: bool) -> String {
    let view = look.view();
    if as_json {
        return printed(&value(look, &view));
    }
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write(&mut text, look, &view);
    text
}

/// When a generation was decided, if the ring still says so.
pub(crate) fn at(view: &View, version: Version) -> Option<u64> {
    let mut entries = view.generations.iter();
    let entry = entries.find(|entry| entry.version == version)?;
    Some(entry.at_ms)
}

/// When the leadership began, as far as the ring reaches back.
pub(crate) fn leading_since(view: &View) -> Option<u64> {
    let term = view.leading.as_ref()?.term;
    let mut of = view.generations.iter().filter(|entry| entry.term == term);
    of.next().map(|entry| entry.at_ms)
}

/// What the leader tells to be wrong.
pub(crate) fn told(view: &View) -> &[ToldProblem] {
    let leader = view.leading.as_ref().and_then(|it| it.leader.as_ref());
    let mut workers = view.workers.iter();
    let session = workers.find(|worker| Some(&worker.worker) == leader);
    let session = session.and_then(|worker| worker.session.as_ref());
    let bulletin: Option<&Bulletin> = session.and_then(|session| session.bulletin.as_ref());
    bulletin.map_or(&[], |bulletin| &bulletin.problems)
}

/// How many partitions are owned, moving, without an owner, parked.
pub(crate) fn counts(view: &View) -> [usize; 4] {
    let parked = view.count(|state| matches!(state, PartitionState::Parked(_)));
    [
        view.count(|state| matches!(state, PartitionState::Owned { .. })),
        view.count(|state| matches!(state, PartitionState::Moving { .. })),
        view.count(|state| matches!(state, PartitionState::Unowned { .. })) + view.nameless,
        parked,
    ]
}

fn last(view: &View) -> &[AuditEntry] {
    &view.generations[view.generations.len().saturating_sub(LAST)..]
}

fn value(look: &Look, view: &View) -> Value {
    let [owned, moving, unowned, parked] = counts(view);
    let handoffs = view.handoffs.iter();
    let leading = view.leading.as_ref();
    let unreadable = view.unreadable.iter();
    json!({
        "store": look.info.version,
        "revision": look.info.last_revision.get(),
        "leading": leading.map(|it| fields::leading(it, leading_since(view))),
        "workers": view.workers.iter().map(fields::worker).collect::<Vec<_>>(),
        "partitions": {
            "owned": owned, "moving": moving, "unowned": unowned, "parked": parked,
            "nameless": view.nameless,
        },
        "handoffs": handoffs.map(|it| fields::handoff(it, at(view, it.since))).collect::<Vec<_>>(),
        "requests": view.requests.iter().map(fields::request).collect::<Vec<_>>(),
        "conditions": told(view).iter().map(fields::problem).collect::<Vec<_>>(),
        "generations": last(view).iter().map(fields::entry).collect::<Vec<_>>(),
        "unreadable": unreadable
            .map(|it| json!({ "key": it.key, "reason": it.reason }))
            .collect::<Vec<_>>(),
    })
}

fn write(f: &mut String, look: &Look, view: &View) -> fmt::Result {
    match &view.leading {
        None => writeln!(f, "leader      none yet")?,
        Some(it) => {
            let leader = it.leader.as_ref().map(ToString::to_string);
            let leader = leader.unwrap_or_else(|| "nobody".to_owned());
            let since = leading_since(view).map(|ms| format!(" since {} ({})", date(ms), ago(ms)));
            let since = since.unwrap_or_default();
            writeln!(f, "leader      {leader}, term {}{since}", it.term)?;
            writeln!(f, "version     {}", it.version)?;
        }
    }
    writeln!(f, "store       {}", look.info.version)?;
    for fault in &look.info.faults {
        writeln!(f, "            UNFIT: {fault}")?;
    }
    let [owned, moving, unowned, parked] = counts(view);
    let all = owned + moving + unowned + parked;
    writeln!(
        f,
        "partitions  {all}: {owned} owned, {moving} moving, {unowned} without owner, {parked} parked"
    )?;
    workers(f, view)?;
    unowned_ones(f, view)?;
    handoffs(f, view)?;
    section(f, "requests and orders", &view.requests, |f, request| {
        let (verb, author) = (request.verb.as_str(), &request.author);
        if !request.verb.is_order() {
            return writeln!(f, "  {verb} by {author}: {}", request.reason);
        }
        let rest = request.rest.map_or_else(
            || "until it is withdrawn".to_owned(),
            |rest| {
                let rest = std::time::Duration::from_secs(rest.as_secs());
                format!("for {} more", humantime::format_duration(rest))
            },
        );
        let (worker, reason) = (&request.worker, &request.reason);
        match &request.wanted {
            Some((partition, once)) => {
                let verb = if *once { "move" } else { verb };
                writeln!(
                    f,
                    "  {verb} of {partition} to {worker} by {author}, {rest}: {reason}"
                )
            }
            None => writeln!(f, "  {verb} of {worker} by {author}, {rest}: {reason}"),
        }
    })?;
    section(f, "conditions, as the leader tells", told(view), |f, it| {
        let lasting =
            humantime::format_duration(std::time::Duration::from_secs(it.lasting.as_secs()));
        writeln!(
            f,
            "  {} ({}) for {lasting}: {}",
            it.kind.as_str(),
            it.count,
            it.detail
        )
    })?;
    section(f, "unreadable", &view.unreadable, |f, it| {
        writeln!(f, "  {}: {}", it.key, it.reason)
    })?;
    section(f, "last generations", last(view), |f, it| {
        writeln!(f, "  {it}")
    })
}

fn section<T>(
    f: &mut String,
    title: &str,
    of: &[T],
    mut show: impl FnMut(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    if of.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    of.iter().take(NAMED).try_for_each(|one| show(f, one))?;
    match of.len().saturating_sub(NAMED) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

fn workers(f: &mut String, view: &View) -> fmt::Result {
    let living = |state: SessionState| matches!(state, SessionState::Known(s) if s.is_living());
    let alive = view.workers.iter().filter(|worker| living(worker.state));
    writeln!(f, "workers     {}", alive.count())?;
    let most = view.workers.iter().map(|worker| worker.granted).max();
    let wide = view
        .workers
        .iter()
        .map(|worker| worker.worker.as_str().len());
    let wide = wide.max().unwrap_or_default();
    let shown: Vec<_> = view
        .workers
        .iter()
        .filter(|worker| living(worker.state) || worker.granted > 0)
        .collect();
    for worker in shown.iter().take(3 * NAMED) {
        let (id, granted) = (worker.worker.as_str(), worker.granted);
        let bar = bar(granted, most.unwrap_or_default());
        write!(f, "  {id:wide$}  {bar} {granted:>6}")?;
        if worker.state != SessionState::Known(SessionStatus::Active) {
            write!(f, "  {}", fields::session_state(worker.state))?;
        }
        if let Some(version) = worker.behind {
            write!(f, "  has not taken in version {version}")?;
        }
        if let Some(session) = &worker.session {
            if session.capacity != 1 {
                write!(f, "  capacity {}", session.capacity)?;
            }
            if !session.draining.is_empty() {
                write!(f, "  ending {}", session.draining.len())?;
            }
            if !session.rejections.is_empty() {
                write!(f, "  cannot process {}", session.rejections.len())?;
            }
            if let Some(endpoint) = &session.endpoint {
                write!(f, "  {endpoint}")?;
            }
        }
        writeln!(f)?;
    }
    match shown.len().saturating_sub(3 * NAMED) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

fn bar(part: usize, most: usize) -> String {
    let full = if most == 0 {
        0
    } else {
        (part * BAR).div_ceil(most)
    };
    (0..BAR)
        .map(|at| if at < full { '\u{2588}' } else { '\u{b7}' })
        .collect()
}

fn unowned_ones(f: &mut String, view: &View) -> fmt::Result {
    let without = view.partitions.iter().filter(|partition| {
        matches!(
            partition.state,
            PartitionState::Unowned { .. } | PartitionState::Parked(_)
        )
    });
    let without: Vec<_> = without.collect();
    section(f, "without owner", &without, |f, it| {
        write!(f, "  {}", it.partition)?;
        if let PartitionState::Parked(parking) = &it.state {
            let (since, reason) = (date(parking.since_ms), parking.reason);
            write!(
                f,
                ": parked since {since} ({reason}), it needs {}",
                parking.needs
            )?;
        }
        if let PartitionState::Unowned { was: Some(was), .. } = &it.state {
            write!(f, ": it was {was}'s")?;
        }
        writeln!(f)
    })?;
    match view.nameless {
        0 => Ok(()),
        more => writeln!(
            f,
            "{more} more without owner, whose names are not in the bucket"
        ),
    }
}

fn handoffs(f: &mut String, view: &View) -> fmt::Result {
    section(f, "handoffs", &view.handoffs, |f, it| {
        let (partition, from) = (&it.partition, &it.from);
        let why = match fields::hold_up(it.hold_up) {
            "not_applied" => "has not taken in that it was taken away",
            "draining" => "is still processing it",
            _ => "has no session; its lease has to end",
        };
        write!(f, "  {partition}: {from} {why}, since version {}", it.since)?;
        match at(view, it.since) {
            Some(ms) => writeln!(f, " ({})", ago(ms)),
            None => writeln!(f),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bar that is empty beside a worker with one partition hides it.
    #[test]
    fn a_bar_shows_the_least_load_and_stays_in_its_place() {
        for (part, most, full) in [(0, 0, 0), (0, 9, 0), (1, 1000, 1), (9, 9, BAR), (5, 10, 10)] {
            let bar = bar(part, most);
            assert_eq!(bar.chars().count(), BAR);
            assert_eq!(bar.matches('\u{2588}').count(), full, "{part} of {most}");
        }
    }
}
