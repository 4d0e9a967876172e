//! Draws the pictures of docs/STRATEGIES.md: what a join, a leave and a rolling restart move.
//!
//! Everything drawn is planned by the strategies themselves, so a picture cannot be wrong about them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use parti_core::{AssignmentStrategy, Plan, PlanInput, WorkerTable};
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
    let words = ["stayed", "moved here", "even share"];
    let mut svg = Svg::new(title, words, strategies().len() as u32);
    for (row, (name, strategy)) in (0..).zip(strategies()) {
        let fresh = PlanInput::fresh(group.partitions(), group.workers());
        let before = strategy.plan(&fresh).expect("a plan");
        let input = next_input(&fresh, &before, Arc::clone(&workers));
        let plan = strategy.plan(&input).expect("a plan");
        let name_of = |worker: &parti_core::WorkerInfo| match group.workers().index_of(&worker.id) {
            Some(_) => worker.id.to_string(),
            None => "new".into(),
        };
        let labels = workers.as_slice().iter().map(name_of);
        let mut bars: Vec<Bar> = labels.map(Bar::new).collect();
        let owners = plan
            .owners
            .iter()
            .zip(&input.previous)
            .zip(input.partitions.weights());
        for ((&owner, &previous), &weight) in owners {
            let Some(bar) = bars.get_mut(owner as usize) else {
                continue;
            };
            *(if owner == previous {
                &mut bar.stayed
            } else {
                &mut bar.moved
            }) += weight;
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
        let mean = report.total_weight / workers.len() as u64;
        svg.panel(
            row,
            &caption,
            &bars,
            Scale {
                mean,
                top: mean * 5 / 4,
            },
        );
    }
    svg.finish()
}

/// Every worker of ten restarts, one after the other: how much is where it was in the beginning.
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
    let title = "Ten workers restart one by one: where 1000 partitions are after each decision";
    let words = ["where they were at first", "elsewhere", "all"];
    let mut svg = Svg::new(title, words, 3);
    for (row, (name, strategy)) in (0..).zip(all) {
        let forgets = name.contains("without");
        let mut input = PlanInput::fresh(group.partitions(), group.workers());
        let before = strategy.plan(&input).expect("a plan");
        let (mut plan, mut bars, mut moved) = (before.clone(), Vec::new(), 0);
        for gone in 0..10 {
            let others = worker_table((0..10).filter(|&number| number != gone));
            let turns = [
                (format!("{gone} out"), others),
                (format!("{gone} back"), group.workers()),
            ];
            for (label, workers) in turns {
                input = step(&input, &plan, workers, forgets);
                plan = strategy.plan(&input).expect("a plan");
                moved += plan.report.moved;
                let stayed = at_home(&input, &plan, &group, &before);
                bars.push(Bar {
                    label,
                    stayed,
                    moved: 1000 - stayed,
                });
            }
        }
        let same = at_home(&input, &plan, &group, &before) / 10;
        let caption = format!(
            "{name}: {moved} moves in 20 decisions; in the end {same} % are where they were"
        );
        let scale = Scale {
            mean: 1000,
            top: 1000,
        };
        svg.panel(row, &caption, &bars, scale);
    }
    svg.finish()
}

/// How many partitions have the worker they had in the plan of the whole group.
fn at_home(input: &PlanInput, plan: &Plan, group: &Workload, before: &Plan) -> u64 {
    let workers = group.workers();
    let is_home = |(now, then): &(&u32, &u32)| input.workers.get(**now) == workers.get(**then);
    plan.owners
        .iter()
        .zip(&before.owners)
        .filter(is_home)
        .count() as u64
}

fn step(input: &PlanInput, plan: &Plan, workers: Arc<WorkerTable>, forgets: bool) -> PlanInput {
    let mut next = next_input(input, plan, workers);
    if forgets {
        next.anchors.clear();
    }
    next
}

/// What one bar shows, from the bottom up.
struct Bar {
    label: String,
    stayed: u64,
    moved: u64,
}

impl Bar {
    fn new(label: String) -> Self {
        let (stayed, moved) = (0, 0);
        Self {
            label,
            stayed,
            moved,
        }
    }
}

/// Where the dashed line is, and what fills a panel; the same in all panels of a picture.
#[derive(Clone, Copy)]
struct Scale {
    mean: u64,
    top: u64,
}

/// A picture of panels below each other.
struct Svg {
    text: String,
}

impl Svg {
    fn new(title: &str, words: [&str; 3], rows: u32) -> Self {
        let height = 70 + rows * PANEL;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
             <text x=\"20\" y=\"28\" font-size=\"16\" font-weight=\"bold\">{title}</text>\n"
        );
        let [stayed, moved, line] = words;
        let mut x = 20;
        for (colour, word) in [(KEPT, stayed), (ARRIVED, moved)] {
            writeln!(
                text,
                "<rect x=\"{x}\" y=\"42\" width=\"14\" height=\"14\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"54\">{word}</text>",
                x + 20
            )
            .expect("memory");
            x += 50 + 7 * word.len();
        }
        writeln!(
            text,
            "<path d=\"M{x} 49h34\" stroke=\"#555555\" stroke-dasharray=\"5 4\"/>\
             <text x=\"{}\" y=\"54\">{line}</text>",
            x + 40
        )
        .expect("memory");
        Self { text }
    }

    /// Bars with their labels below, and the dashed line.
    fn panel(&mut self, row: u32, caption: &str, bars: &[Bar], scale: Scale) {
        let bottom = f64::from(70 + (row + 1) * PANEL - 34);
        let unit = (f64::from(PANEL) - 62.0) / scale.top.max(1) as f64;
        let step = f64::from(WIDTH - 40) / bars.len().max(1) as f64;
        let caption_y = 70 + row * PANEL + 16;
        let caption = format!("<text x=\"20\" y=\"{caption_y}\">{caption}</text>");
        writeln!(self.text, "{caption}").expect("memory");
        for (index, bar) in bars.iter().enumerate() {
            let left = 20.0 + step * index as f64 + 3.0;
            let (stayed, moved) = (bar.stayed as f64 * unit, bar.moved as f64 * unit);
            let parts = [
                (bottom - stayed, stayed, KEPT),
                (bottom - stayed - moved, moved, ARRIVED),
            ];
            for (top, height, colour) in parts.iter().filter(|(_, height, _)| *height > 0.0) {
                let width = step - 6.0;
                writeln!(
                    self.text,
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
                     height=\"{height:.1}\" fill=\"{colour}\"/>"
                )
                .expect("memory");
            }
            let (middle, below) = (left + step / 2.0 - 3.0, bottom + 14.0);
            writeln!(
                self.text,
                "<text x=\"{middle:.1}\" y=\"{below:.1}\" font-size=\"10\" \
                 text-anchor=\"middle\">{}</text>",
                bar.label
            )
            .expect("memory");
        }
        let (line, right) = (bottom - scale.mean as f64 * unit, WIDTH - 20);
        writeln!(
            self.text,
            "<path d=\"M20 {line:.1}H{right}\" stroke=\"#555555\" stroke-dasharray=\"5 4\"/>\
             <path d=\"M20 {bottom:.1}H{right}\" stroke=\"black\"/>"
        )
        .expect("memory");
    }

    fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}
