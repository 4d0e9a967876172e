//! How long each step took, for the table at the end of a long run.
//!
//! Separate because a slow run is only made faster by somebody who sees where its time goes. What always
//! holds: steps stand in the order in which they began, those within a step below it and further in.

use std::cell::Cell;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static STEPS: Mutex<Vec<Step>> = Mutex::new(Vec::new());

thread_local! {
    /// How many steps of this thread are under way.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// The kernel counts processor time for programs in hundredths of a second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// One step that has ended.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    name: String,
    depth: usize,
    began: Instant,
    wall: Duration,
    /// Processor seconds of all programs that ended meanwhile, on systems that tell.
    busy: Option<f64>,
}

/// Does something and remembers how long it took.
pub(crate) fn measured<T>(name: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    let (began, before) = (Instant::now(), busy());
    let outcome = work();
    let wall = began.elapsed();
    DEPTH.set(depth);
    let busy = busy().zip(before).map(|(now, before)| now - before);
    let name = name.to_owned();
    let step = Step {
        name,
        depth,
        began,
        wall,
        busy,
    };
    let mut steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner);
    steps.push(step);
    (outcome, wall)
}

/// The table of all steps so far.
pub(crate) fn table() -> String {
    let steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    rendered(steps)
}

fn rendered(mut steps: Vec<Step>) -> String {
    steps.sort_by_key(|step| (step.began, step.depth));
    let head = format!("{:<64} {:>8} {:>12}", "step", "time", "processors");
    let rows = steps.iter().map(row);
    let lines: Vec<String> = std::iter::once(head).chain(rows).collect();
    lines.join("\n")
}

fn row(step: &Step) -> String {
    let name = format!("{:indent$}{}", "", step.name, indent = 2 * step.depth);
    let wall = step.wall.as_secs_f64();
    let busy = step.busy.map(|busy| format!("{busy:.1} s"));
    format!(
        "{name:<64} {wall:>6.1} s {:>12}",
        busy.as_deref().unwrap_or("?")
    )
}

/// The processor seconds of all our programs that have ended, where `/proc` tells.
fn busy() -> Option<f64> {
    seconds(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Reads them from such a file. The second field is a name in parentheses, in which anything may stand.
fn seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(13);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (next()?, next()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table in the order in which steps ended would show a part before what it is a part of.
    #[test]
    fn a_part_stands_below_its_step() {
        let began = Instant::now();
        let step = |name: &str, depth, after, busy| Step {
            name: name.to_owned(),
            depth,
            began: began + Duration::from_secs(after),
            wall: Duration::from_millis(1500),
            busy,
        };
        let ended = vec![
            step("part", 1, 0, None),
            step("whole", 0, 0, Some(2.25)),
            step("next", 0, 2, Some(0.0)),
        ];
        let table = rendered(ended);
        let names: Vec<&str> = table
            .lines()
            .filter_map(|l| l.split("  ").find(|w| !w.is_empty()))
            .collect();
        assert_eq!(names, ["step", "whole", "part", "next"], "{table}");
        assert!(
            table.contains("  part ") && table.contains("1.5 s"),
            "{table}"
        );
    }

    /// A program's name with a blank in it would shift every field.
    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 5 6 1250 250 20 0 1 0 99";
        assert_eq!(seconds(stat), Some(15.0));
        assert_eq!(seconds("7 (a"), None);
    }
}
