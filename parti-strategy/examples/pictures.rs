//! Draws the pictures of docs/STRATEGIES.md: what a join, a leave and a rolling restart move.
//!
//! Everything drawn is planned by the strategies themselves, so a picture cannot be wrong about them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use parti_core::{AssignmentStrategy, PlanInput, WorkerTable};
use parti_strategy::workload::{Weights, Workload, worker_table};
use parti_strategy::{ConsistentHash, RoundRobin, Sticky, next_input};

const HELP: &str = "\
Draws the pictures of docs/STRATEGIES.md.

Usage: pictures [FOLDER]

  FOLDER    where join.svg, leave.svg and rolling.svg go [default: docs/pictures]";

const WIDTH: u32 = 860;
const PANEL: u32 = 180;
const KEPT: &str = "#4477aa";
const ARRIVED: &str = "#ee7733";

fn main() -> std::io::Result<()> {
    let argument = std::env::args().nth(1);
    if argument
        .as_deref()
        .is_some_and(|text| text == "--help" || text == "-h")
    {
        println!("{HELP}");
        return Ok(());
    }
    let folder = argument.map_or_else(default_folder, PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let pictures = [
        (
            "join.svg",
            change(
                "A worker joins: 10 → 11 workers, 1000 partitions of weight 1..200",
                0..11,
            ),
        ),
        (
            "leave.svg",
            change(
                "A worker leaves: 10 → 9 workers, 1000 partitions of weight 1..200",
                1..10,
            ),
        ),
        ("rolling.svg", rolling()),
    ];
    for (name, svg) in pictures {
        let path = folder.join(name);
        std::fs::write(&path, svg)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn default_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures")
}

fn strategies() -> Vec<(&'static str, Box<dyn AssignmentStrategy>)> {
    vec![
        ("Sticky", Box::new(Sticky::new())),
        ("ConsistentHash", Box::new(ConsistentHash::new())),
        (
            "ConsistentHash, load bound 5 %",
            Box::new(ConsistentHash::new().with_load_bound(50)),
        ),
        ("RoundRobin", Box::new(RoundRobin::new())),
    ]
}

/// One panel per strategy: the load of each worker afterwards, and what of it has just arrived.
fn change(title: &str, numbers: std::ops::Range<u32>) -> String {
    let group = Workload::new(10, 1000, Weights::Uniform);
    let workers = worker_table(numbers);
    let mut svg = Svg::new(title, strategies().len() as u32);
    for (row, (name, strategy)) in (0..).zip(strategies()) {
        let fresh = PlanInput::fresh(group.partitions(), group.workers());
        let before = strategy.plan(&fresh).expect("a plan");
        let input = next_input(&fresh, &before, Arc::clone(&workers));
        let plan = strategy.plan(&input).expect("a plan");
        let mut bars = vec![(0, 0); workers.len()];
        let owners = plan
            .owners
            .iter()
            .zip(&input.previous)
            .zip(input.partitions.weights());
        for ((&owner, &previous), &weight) in owners {
            let (kept, arrived) = &mut bars[owner as usize];
            *(if owner == previous { kept } else { arrived }) += weight;
        }
        let report = &plan.report;
        let moved = 100.0 * report.moved_weight as f64 / report.total_weight as f64;
        let least = 100.0 * report.moved_weight_bound as f64 / report.total_weight as f64;
        let peak = (report.max_load * workers.len() as u64) as f64 / report.total_weight as f64;
        let bound = if name == "Sticky" {
            format!(" (at least {least:.1} %)")
        } else {
            String::new()
        };
        let caption = format!(
            "{name}: {moved:.1} % of the weight moves{bound}; fullest worker {peak:.2} × mean"
        );
        svg.panel(
            row,
            &caption,
            &bars,
            report.total_weight / workers.len() as u64,
        );
    }
    svg.finish()
}

/// Every worker of ten restarts, one after the other: what moves, and what is back in the end.
fn rolling() -> String {
    let group = Workload::new(10, 1000, Weights::Equal);
    let mut all = strategies();
    all.truncate(2);
    all.insert(
        1,
        (
            "Sticky without anchors and homes",
            Box::new(Sticky::new().without_homes()),
        ),
    );
    let mut svg = Svg::new(
        "Ten workers restart one by one, each leave and each return decided",
        3,
    );
    for (row, (name, strategy)) in (0..).zip(all) {
        let forgets = name.contains("without");
        let mut input = PlanInput::fresh(group.partitions(), group.workers());
        let before = strategy.plan(&input).expect("a plan");
        let (mut plan, mut bars) = (before.clone(), Vec::new());
        for gone in 0..10 {
            let others = worker_table((0..10).filter(|&number| number != gone));
            for workers in [others, group.workers()] {
                input = step(&input, &plan, workers, forgets);
                plan = strategy.plan(&input).expect("a plan");
                bars.push((0, u64::from(plan.report.moved)));
            }
        }
        let same = plan
            .owners
            .iter()
            .zip(&before.owners)
            .filter(|(now, then)| now == then)
            .count();
        let moved: u64 = bars.iter().map(|(_, moved)| moved).sum();
        let caption = format!(
            "{name}: {moved} moves of 1000 partitions in 20 decisions; {} % are where they were",
            same / 10
        );
        svg.panel(row, &caption, &bars, 100);
    }
    svg.finish()
}

fn step(
    input: &PlanInput,
    plan: &parti_core::Plan,
    workers: Arc<WorkerTable>,
    forgets: bool,
) -> PlanInput {
    let mut next = next_input(input, plan, workers);
    if forgets {
        next.anchors.clear();
    }
    next
}

/// A picture of panels below each other.
struct Svg {
    text: String,
}

impl Svg {
    fn new(title: &str, rows: u32) -> Self {
        let height = 70 + rows * PANEL;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
             <text x=\"20\" y=\"28\" font-size=\"16\" font-weight=\"bold\">{title}</text>\n"
        );
        for (x, colour, word) in [(20, KEPT, "stayed"), (110, ARRIVED, "moved")] {
            writeln!(
                text,
                "<rect x=\"{x}\" y=\"42\" width=\"14\" height=\"14\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"54\">{word}</text>",
                x + 20
            )
            .expect("memory");
        }
        writeln!(
            text,
            "<path d=\"M200 49H234\" stroke=\"#555555\" stroke-dasharray=\"5 4\"/>\
             <text x=\"240\" y=\"54\">even share</text>"
        )
        .expect("memory");
        Self { text }
    }

    /// Bars of (stayed, moved), with a line at `mean`.
    fn panel(&mut self, row: u32, caption: &str, bars: &[(u64, u64)], mean: u64) {
        let bottom = f64::from(70 + (row + 1) * PANEL - 20);
        let room = f64::from(PANEL) - 60.0;
        let most = bars
            .iter()
            .map(|(kept, arrived)| kept + arrived)
            .max()
            .unwrap_or(1)
            .max(mean);
        let scale = room / most.max(1) as f64;
        let step = f64::from(WIDTH - 40) / bars.len().max(1) as f64;
        writeln!(
            self.text,
            "<text x=\"20\" y=\"{}\">{caption}</text>",
            70 + row * PANEL + 16
        )
        .expect("memory");
        for (index, &(kept, arrived)) in bars.iter().enumerate() {
            let left = 20.0 + step * index as f64 + 4.0;
            let (kept, arrived) = (kept as f64 * scale, arrived as f64 * scale);
            for (top, height, colour) in [
                (bottom - kept, kept, KEPT),
                (bottom - kept - arrived, arrived, ARRIVED),
            ] {
                writeln!(
                    self.text,
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" \
                     fill=\"{colour}\"/>",
                    step - 8.0
                )
                .expect("memory");
            }
        }
        let line = bottom - mean as f64 * scale;
        writeln!(
            self.text,
            "<path d=\"M20 {line:.1}H{}\" stroke=\"#555555\" stroke-dasharray=\"5 4\"/>\
             <path d=\"M20 {bottom:.1}H{}\" stroke=\"black\"/>",
            WIDTH - 20,
            WIDTH - 20
        )
        .expect("memory");
    }

    fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}
