//! One scenario after the other: progress, verdicts and the table.
//!
//! What always holds: one line when a scenario begins and one when it ends on standard error, and
//! the table or the JSON lines alone on standard output.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::catalogue::{Scenario, all, standard};
use super::group::{Ask, Group};
use super::{Failure, Server, Task};
use crate::failure::root;

/// What came out of one scenario.
struct Row {
    scenario: &'static Scenario,
    server: String,
    seed: u64,
    seconds: f64,
    /// What did not hold; empty when all is well.
    reasons: Vec<String>,
    figures: Vec<(&'static str, u64)>,
    folder: PathBuf,
}

/// Runs everything in this process.
pub(crate) fn run(args: &Task) -> Result<(), Failure> {
    let chosen = chosen(&args.name)?;
    let begun = Instant::now();
    let seeds = args.seed..args.seed + args.seeds;
    let rounds = seeds.flat_map(|seed| args.server.iter().map(move |server| (server, seed)));
    let works = rounds.flat_map(|round| chosen.iter().map(move |one| (round, *one)));
    let works: VecDeque<((&Server, u64), &'static Scenario)> = works.collect();
    let count = works.len();
    let (queue, rows) = (Mutex::new(works), Mutex::new(Vec::new()));
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some((round, scenario)) = next() {
                    let row = run_one(args, round, scenario);
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    rows.push(row);
                    told(&rows[rows.len() - 1], rows.len(), count);
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    if args.json {
        rows.iter().for_each(|row| println!("{}", to_json(row)));
    } else {
        table(&rows);
    }
    eprintln!("    everything in {:.1} s", begun.elapsed().as_secs_f64());
    verdict(args, &rows, count)
}

fn verdict(args: &Task, rows: &[Row], count: usize) -> Result<(), Failure> {
    let bad = rows.iter().filter(|row| !row.reasons.is_empty());
    let bad: Vec<&str> = bad.map(|row| row.scenario.name).collect();
    if bad.is_empty() && rows.len() == count {
        return Ok(());
    }
    let what = format!(
        "{} of {count} did not end as they must: {}",
        bad.len(),
        bad.join(", ")
    );
    let again = format!(
        "cargo xtask scenarios --mode {} --seed {} --seeds {} --name {}",
        args.mode.name(),
        args.seed,
        args.seeds,
        bad.join(",")
    );
    Err(Failure::new(what, again))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Failure> {
    let wanted = |one: &&Scenario| names.iter().any(|name| one.name.contains(name));
    let chosen: Vec<&'static Scenario> = match names {
        [] => standard().collect(),
        _ => all().filter(wanted).collect(),
    };
    if chosen.is_empty() {
        let known: Vec<&str> = all().map(|one| one.name).collect();
        let what = format!("no scenario is named like {}", names.join(", "));
        return Err(Failure::new(
            what,
            format!("use one of {}", known.join(", ")),
        ));
    }
    Ok(chosen)
}

fn run_one(args: &Task, (server, seed): (&Server, u64), scenario: &'static Scenario) -> Row {
    eprintln!("==> {} on nats {}, seed {seed}", scenario.name, server.name);
    let begun = Instant::now();
    let run = format!("{}-{}-{seed}", scenario.name, server.name);
    let folder = target_dir().join("scenarios").join(run);
    // What an earlier run left there would be mixed up with this one's.
    drop(std::fs::remove_dir_all(&folder));
    let ask = Ask {
        server: server.program.clone(),
        worker: args.worker.clone(),
        folder: folder.clone(),
        seed,
        mode: args.mode,
        full: args.full,
    };
    let run = || judged(ask, scenario);
    let joined = thread::scope(|scope| scope.spawn(run).join());
    let (reasons, figures) =
        joined.unwrap_or_else(|_| (vec!["the scenario itself panicked".to_owned()], Vec::new()));
    if reasons.is_empty() {
        drop(std::fs::remove_dir_all(&folder));
    }
    Row {
        scenario,
        server: server.name.clone(),
        seed,
        seconds: begun.elapsed().as_secs_f64(),
        reasons,
        figures,
        folder,
    }
}

/// What did not hold, and the figures.
fn judged(ask: Ask, scenario: &Scenario) -> (Vec<String>, Vec<(&'static str, u64)>) {
    let mut group = match Group::start(ask, scenario.setup) {
        Ok(group) => group,
        Err(reason) => return (vec![reason], Vec::new()),
    };
    let ended = (scenario.run)(&mut group);
    let mut reasons: Vec<String> = ended.err().into_iter().collect();
    reasons.extend(group.consumed());
    reasons.extend(group.judge());
    (reasons, group.figures().to_vec())
}

fn told(row: &Row, done: usize, count: usize) {
    let name = row.scenario.name;
    let word = if row.reasons.is_empty() {
        "ok"
    } else {
        "FAILED"
    };
    let (server, seed) = (&row.server, row.seed);
    eprintln!(
        "    {done}/{count} {name}, nats {server}, seed {seed}: {word} in {:.1} s",
        row.seconds
    );
    for reason in row.reasons.iter().take(10) {
        eprintln!("        {reason}");
    }
    if !row.reasons.is_empty() {
        eprintln!("        histories: {}", row.folder.display());
    }
}

fn table(rows: &[Row]) {
    println!(
        "{:<28} {:<8} {:>6} {:>7}  figures",
        "scenario", "server", "ok", "seconds"
    );
    for row in rows {
        let ok = if row.reasons.is_empty() {
            "ok"
        } else {
            "FAILED"
        };
        let figures = row.figures.iter();
        let figures: Vec<_> = figures
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        println!(
            "{:<28} {:<8} {ok:>6} {:>7.1}  {}",
            row.scenario.name,
            row.server,
            row.seconds,
            figures.join(", ")
        );
    }
}

fn to_json(row: &Row) -> Value {
    let mut line = Map::new();
    let ok = row.reasons.is_empty();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("scenario", json!(row.scenario.name));
    put("ok", json!(ok));
    put("server", json!(row.server));
    put("seed", json!(row.seed));
    put("seconds", json!(row.seconds));
    for (name, _) in &row.figures {
        // What was measured several times is a list.
        let all = row.figures.iter().filter(|(other, _)| other == name);
        let all: Vec<u64> = all.map(|(_, value)| *value).collect();
        match all[..] {
            [one] => put(name, json!(one)),
            _ => put(name, json!(all)),
        }
    }
    if !ok {
        put("reasons", json!(row.reasons));
        put("histories", json!(row.folder.display().to_string()));
    }
    Value::Object(line)
}

/// Where histories are kept: beside everything else that is built.
fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}
