//! What a change would move, on the live state, without making it.
//!
//! It is separate because it puts together what a leader knows from what stands in the bucket. What
//! always holds: whatever the forecast does not know is said with it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use parti::directory::{PartitionState, SessionState, View};
use parti::planning::{Advice, Change, Forecast, advise, situation, what_if};
use parti::strategy::{
    AssignmentStrategy, ConsistentHash, PartitionTable, PlanError, PlanInput, Rendezvous,
    RoundRobin, Sticky, WorkerInfo, WorkerTable,
};
use parti_core::{Partition, PartitionKey, SessionStatus, WorkerId};
use serde_json::json;

use crate::args::{Planned, StrategyName};
use crate::failure::{Exit, Failure};
use crate::look::Look;
use crate::names;
use crate::show::printed;

/// How many moves are named one by one.
const NAMED: usize = 20;

/// The group as a plan sees it, and what is not known of it.
struct Live {
    input: PlanInput,
    notes: Vec<String>,
}

pub(crate) fn run(look: &Look, what: &Planned, as_json: bool) -> Result<String, Failure> {
    let view = look.view();
    let mut live = live(look, &view)?;
    let strategy = strategy(look, what.strategy, &mut live.notes);
    if let Some((from, to)) = what.advise {
        let advice = advise(&*strategy, &live.input, from..=to).map_err(failed)?;
        return Ok(advised(&advice, live.input.workers.len(), as_json));
    }
    let changes = changes(&view, what)?;
    let forecast = what_if(&*strategy, &live.input, &changes).map_err(failed)?;
    let shown = Shown {
        before: loads(&live.input, &forecast),
        forecast: &forecast,
        strategy: strategy.id().as_str().to_owned(),
        notes: &live.notes,
    };
    Ok(if as_json { shown.json() } else { shown.text() })
}

fn failed(error: PlanError) -> Failure {
    Failure::new(Exit::Failed, format!("no plan: {error}"))
}

fn live(look: &Look, view: &View) -> Result<Live, Failure> {
    let mut notes = Vec::new();
    let partitions = partitions(look, view, &mut notes)?;
    let active = view
        .workers
        .iter()
        .filter(|worker| worker.state == SessionState::Known(SessionStatus::Active));
    let workers = active.map(|worker| {
        let session = worker.session.as_ref();
        WorkerInfo {
            capacity: session.map_or(1, |session| session.capacity),
            labels: session
                .map(|session| session.labels.clone())
                .unwrap_or_default(),
            ..WorkerInfo::new(worker.worker.clone())
        }
    });
    let workers = WorkerTable::new(workers.collect()).map_err(failed)?;
    let history = look.directory.history();
    let grants = history.assignments.iter();
    let mut anchors = Vec::new();
    let mut previous = Vec::new();
    for partition in &view.partitions {
        if let PartitionState::Owned { worker, .. } = &partition.state {
            previous.push((partition.partition.clone(), worker.clone()));
        }
    }
    for grant in grants.flat_map(|(_, record)| &record.granted) {
        let rank = partitions.rank_of(&grant.partition);
        anchors.extend(rank.zip(grant.anchor.clone()));
    }
    anchors.sort_unstable();
    anchors.dedup_by_key(|(rank, _)| *rank);
    let moving = view.count(|state| matches!(state, PartitionState::Moving { .. }));
    if moving > 0 {
        notes.push(format!(
            "{moving} partitions are on their way and count as nobody's: plan again when they are there"
        ));
    }
    let mut input =
        situation(Arc::new(workers), Arc::new(partitions), &previous).map_err(failed)?;
    if !input.previous.is_empty() {
        input.anchors = anchors;
    }
    Ok(Live { input, notes })
}

/// The partition list: as the group keeps it, or the names that stand in the records.
fn partitions(
    look: &Look,
    view: &View,
    notes: &mut Vec<String>,
) -> Result<PartitionTable, Failure> {
    let head = look.directory.history().head.as_ref();
    let stored = look.stored_list();
    let stored = stored.filter(|list| head.is_none_or(|head| head.digest == list.digest()));
    let list = match stored {
        Some(list) => list,
        None => {
            let names = view.partitions.iter().map(|it| it.partition.clone());
            let list = PartitionTable::new(names.map(Partition::from).collect());
            list.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?
        }
    };
    if list.is_empty() {
        let message = "the group has no partitions yet, so there is nothing to plan";
        return Err(Failure::new(Exit::NotThere, message));
    }
    if view.nameless > 0 {
        let missing = view.nameless;
        notes.push(format!(
            "{missing} partitions are not known by name and left out"
        ));
    }
    if head.is_some_and(|head| head.weights_digest != list.weights_digest()) {
        notes.push(
            "the group plans with weights that are not in its bucket; here each counts 1: give \
             --weights for the leader's plan"
                .to_owned(),
        );
    }
    Ok(list)
}

/// The strategy that is asked for, or the group's.
fn strategy(
    look: &Look,
    asked: Option<StrategyName>,
    notes: &mut Vec<String>,
) -> Box<dyn AssignmentStrategy> {
    if let Some(asked) = asked {
        return match asked {
            StrategyName::Sticky => Box::new(Sticky::new()),
            StrategyName::RoundRobin => Box::new(RoundRobin::new()),
            StrategyName::Rendezvous => Box::new(Rendezvous::new()),
            StrategyName::ConsistentHash => Box::new(ConsistentHash::new()),
        };
    }
    let known: [Box<dyn AssignmentStrategy>; 4] = [
        Box::new(Sticky::new()),
        Box::new(RoundRobin::new()),
        Box::new(Rendezvous::new()),
        Box::new(ConsistentHash::new()),
    ];
    let head = look.directory.history().head.as_ref();
    let groups = head.map(|head| head.strategy.clone());
    let found = known
        .into_iter()
        .find(|it| groups.as_ref() == Some(&it.id()));
    found.unwrap_or_else(|| {
        if let Some(groups) = groups {
            notes.push(format!(
                "the group's strategy {:?} cannot be made here; this is the default one's plan",
                groups.as_str()
            ));
        }
        Box::new(Sticky::new())
    })
}

fn changes(view: &View, what: &Planned) -> Result<Vec<Change>, Failure> {
    let gone = what.remove.iter().chain(&what.drain);
    let gone: Vec<_> = gone
        .map(|name| names::worker(view, name))
        .collect::<Result<_, _>>()?;
    let mut changes = Vec::new();
    if let Some(file) = &what.weights {
        changes.push(Change::Reweigh(weights(view, file)?));
    }
    let active = |id: &&WorkerId| {
        let found = view.workers.iter().find(|worker| worker.worker == **id);
        found.is_some_and(|it| it.state == SessionState::Known(SessionStatus::Active))
    };
    // A worker that has left already is planned without anyhow.
    let gone: Vec<_> = gone.iter().filter(active).cloned().collect();
    if !gone.is_empty() {
        changes.push(Change::Remove(gone));
    }
    if what.add > 0 {
        changes.push(Change::Join(what.add));
    }
    Ok(changes)
}

/// Reads lines of a partition and its weight.
fn weights(view: &View, file: &Path) -> Result<Vec<(PartitionKey, u64)>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        Failure::new(Exit::Usage, message)
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let weights = lines.map(|(number, line)| {
        let place = format!("{}:{}", file.display(), number + 1);
        let right = || {
            let message =
                format!("{place}: {line:?} is no partition and weight, such as orders/7 12");
            Failure::new(Exit::Usage, message)
        };
        let (name, weight) = line
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or_else(right)?;
        let weight = weight.parse().map_err(|_| right())?;
        let key = names::partition(view, name.trim());
        let key = key.map_err(|failure| Failure {
            message: format!("{place}: {}", failure.message),
            ..failure
        })?;
        Ok((key, weight))
    });
    weights.collect()
}

/// The number of partitions and the weight that each worker has now.
fn loads(input: &PlanInput, now: &Forecast) -> Vec<(WorkerId, u32, u64)> {
    let workers = input.workers.as_slice();
    let mut loads: Vec<_> = workers.iter().map(|it| (it.id.clone(), 0, 0)).collect();
    let weights = now.input.partitions.weights();
    for (&owner, weight) in input.previous.iter().zip(weights) {
        if let Some((_, count, load)) = loads.get_mut(owner as usize) {
            *count += 1;
            *load += weight;
        }
    }
    loads
}

/// A forecast to be shown.
struct Shown<'a> {
    before: Vec<(WorkerId, u32, u64)>,
    forecast: &'a Forecast,
    strategy: String,
    notes: &'a [String],
}

impl Shown<'_> {
    fn spread(&self) -> (u64, u64) {
        let loads = self.before.iter().map(|(_, _, load)| *load);
        let least = loads.clone().min().unwrap_or_default();
        (least, loads.max().unwrap_or_default())
    }

    fn had(&self, worker: &WorkerId) -> (u32, u64) {
        let found = self.before.iter().find(|(id, _, _)| id == worker);
        found.map_or((0, 0), |&(_, count, load)| (count, load))
    }

    fn json(&self) -> String {
        let report = &self.forecast.plan.report;
        let (least, most) = self.spread();
        let workers = self
            .forecast
            .loads()
            .into_iter()
            .map(|(worker, count, load)| {
                let (had, had_load) = self.had(worker);
                json!({
                    "worker": worker.as_str(), "partitions": count, "weight": load,
                    "partitions_before": had, "weight_before": had_load,
                })
            });
        let moves = self.forecast.moves().map(|it| {
            json!({
                "partition": it.partition.key.to_string(),
                "from": it.from.map(ToString::to_string),
                "to": it.to.map(ToString::to_string),
            })
        });
        printed(&json!({
            "strategy": self.strategy,
            "moved": report.moved,
            "lower_bound": report.lower_bound,
            "forced": report.forced,
            "voluntary": report.voluntary,
            "moved_weight": report.moved_weight,
            "unplaced": report.unplaced,
            "before": { "min_load": least, "max_load": most },
            "after": { "min_load": report.min_load, "max_load": report.max_load },
            "workers": workers.collect::<Vec<_>>(),
            "moves": moves.collect::<Vec<_>>(),
            "notes": self.notes,
        }))
    }

    fn text(&self) -> String {
        let report = &self.forecast.plan.report;
        let (least, most) = self.spread();
        let mut text = String::new();
        let _ = writeln!(
            text,
            "moves {} partitions; no plan of this balance moves fewer than {} ({})",
            report.moved, report.lower_bound, self.strategy
        );
        let _ = writeln!(
            text,
            "loads {least} to {most} before, {} to {} after",
            report.min_load, report.max_load
        );
        if report.unplaced > 0 {
            let _ = writeln!(text, "{} partitions would have no owner", report.unplaced);
        }
        for (worker, count, load) in self.forecast.loads() {
            let (had, _) = self.had(worker);
            let change = i64::from(count) - i64::from(had);
            let _ = writeln!(
                text,
                "  {worker}  {count} partitions ({change:+}), load {load}"
            );
        }
        let moves: Vec<_> = self.forecast.moves().collect();
        for step in moves.iter().take(NAMED) {
            let named = |worker: Option<&WorkerId>| {
                worker.map_or_else(|| "nobody".to_owned(), ToString::to_string)
            };
            let (from, to) = (named(step.from), named(step.to));
            let _ = writeln!(text, "  {}  from {from} to {to}", step.partition.key);
        }
        if moves.len() > NAMED {
            let more = moves.len() - NAMED;
            let _ = writeln!(text, "  and {more} more (--json has all)");
        }
        for note in self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

fn advised(advice: &[Advice], present: usize, as_json: bool) -> String {
    if as_json {
        let rows = advice.iter().map(|it| {
            json!({
                "workers": it.workers, "moved": it.report.moved,
                "lower_bound": it.report.lower_bound, "max_load": it.report.max_load,
                "min_load": it.report.min_load, "imbalance": it.imbalance(),
                "present": it.workers as usize == present,
            })
        });
        return printed(&rows.collect());
    }
    let mut text = "workers  moves  max load  min load  imbalance\n".to_owned();
    for it in advice {
        let mark = if it.workers as usize == present {
            "  now"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{:>7}  {:>5}  {:>8}  {:>8}  {:>9.3}{mark}",
            it.workers,
            it.report.moved,
            it.report.max_load,
            it.report.min_load,
            it.imbalance()
        );
    }
    text
}
