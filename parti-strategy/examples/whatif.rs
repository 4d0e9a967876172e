//! What would a change of the group move? Answers for a synthetic group, without acting.

use std::process::ExitCode;

use parti_core::{AssignmentStrategy, PlanInput, WorkerId};
use parti_strategy::workload::{Weights, Workload};
use parti_strategy::{
    Change, ConsistentHash, Forecast, Rendezvous, RoundRobin, Sticky, WeightedConsistentHash,
    what_if,
};

const HELP: &str = "\
What would a change of a group move? Plans without acting.

Usage: whatif [OPTIONS] [CHANGES]

Options:
  --workers N       workers before the change, each of capacity 1 [default: 10]
  --partitions N    partitions [default: 1000]
  --weights KIND    equal, u200 or zipf [default: equal]
  --strategy NAME   sticky, consistent-hash, weighted-consistent-hash, rendezvous
                    or round-robin [default: sticky]
  --budget N        at most so many voluntary moves [default: no limit]
  --list            name every partition that moves
  --help            this text

Changes, decided together:
  --join N          N workers join
  --leave N         the last N workers leave
  --remove ID       a worker leaves, such as worker-3; may be repeated

Example: whatif --workers 100 --partitions 10000 --weights u200 --join 1";

struct Options {
    workers: u32,
    partitions: u32,
    weights: Weights,
    strategy: Box<dyn AssignmentStrategy>,
    budget: Option<u32>,
    changes: Vec<Change>,
    lists: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let result = parse(&arguments).and_then(|options| {
        let forecast = forecast(&options).map_err(|error| error.to_string())?;
        show(&options, &forecast);
        Ok(())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("whatif: {reason}\nTry --help.");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        workers: 10,
        partitions: 1000,
        weights: Weights::Equal,
        strategy: Box::new(Sticky::new()),
        budget: None,
        changes: Vec::new(),
        lists: false,
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        if name == "--list" {
            options.lists = true;
            continue;
        }
        let value = rest
            .next()
            .ok_or_else(|| format!("{name} needs a value or is unknown"))?;
        let number = || {
            value
                .parse::<u32>()
                .map_err(|_| format!("{name} needs a number: {value}"))
        };
        match name.as_str() {
            "--workers" => options.workers = number()?,
            "--partitions" => options.partitions = number()?,
            "--weights" => options.weights = weights(value)?,
            "--strategy" => options.strategy = strategy(value)?,
            "--budget" => options.budget = Some(number()?),
            "--join" => options.changes.push(Change::Join(number()?)),
            "--leave" => options.changes.push(Change::Leave(number()?)),
            "--remove" => {
                let id = WorkerId::new(value).map_err(|error| error.to_string())?;
                options.changes.push(Change::Remove(vec![id]));
            }
            _ => return Err(format!("{name} is unknown")),
        }
    }
    Ok(options)
}

fn weights(name: &str) -> Result<Weights, String> {
    let all = [Weights::Equal, Weights::Uniform, Weights::Zipf];
    let found = all.into_iter().find(|weights| weights.name() == name);
    found.ok_or_else(|| format!("weights are equal, u200 or zipf, not {name}"))
}

fn strategy(name: &str) -> Result<Box<dyn AssignmentStrategy>, String> {
    Ok(match name {
        "sticky" => Box::new(Sticky::new()),
        "consistent-hash" => Box::new(ConsistentHash::new()),
        "weighted-consistent-hash" => Box::new(WeightedConsistentHash::new()),
        "rendezvous" => Box::new(Rendezvous::new()),
        "round-robin" => Box::new(RoundRobin::new()),
        _ => return Err(format!("there is no strategy {name}")),
    })
}

fn forecast(options: &Options) -> Result<Forecast, parti_core::PlanError> {
    let group = Workload::new(options.workers, options.partitions, options.weights);
    let mut now = PlanInput::fresh(group.partitions(), group.workers());
    now.previous = options.strategy.plan(&now)?.owners;
    now.budget = options.budget;
    what_if(&*options.strategy, &now, &options.changes)
}

fn show(options: &Options, forecast: &Forecast) {
    let report = &forecast.plan.report;
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    println!("strategy      {}", options.strategy.id());
    println!(
        "workers       {} -> {}",
        options.workers,
        forecast.input.workers.len()
    );
    let count = forecast.plan.owners.len() as u64;
    println!(
        "moved         {} partitions ({:.2} %): {} forced, {} voluntary; at least {}",
        report.moved,
        percent(u64::from(report.moved), count),
        report.forced,
        report.voluntary,
        report.lower_bound
    );
    println!(
        "moved weight  {:.3} %; at least {:.3} %",
        percent(report.moved_weight, report.total_weight),
        percent(report.moved_weight_bound, report.total_weight)
    );
    println!(
        "load          {} to {}, level {}",
        report.min_load, report.max_load, report.level
    );
    println!("giants        {}", report.giants);
    println!("settled       {}", report.settled);
    println!("unplaced      {}", report.unplaced);
    for unmet in &forecast.plan.unmet {
        let (count, needs) = (unmet.unplaced.len(), &unmet.needs);
        println!("              {count}: {}, needs {needs}", unmet.reason);
    }
    if options.lists {
        for change in forecast.moves() {
            let from = change.from.map_or("nobody", WorkerId::as_str);
            let to = change.to.map_or("nobody", WorkerId::as_str);
            println!("{}  {from} -> {to}", change.partition.key);
        }
    }
}
