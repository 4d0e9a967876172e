//! Measures planning and prints one JSON line per workload.
//!
//! `cargo bench -p parti-strategy` measures everything; `-- --quick` leaves out the largest group,
//! `-- NAME` measures only workloads whose name contains NAME. Times are medians on one thread from
//! prepared inputs; `go_ms` is the median of the Go library for the nearest workload it has, taken
//! on a two-core machine, and `ratio` is how many times faster this is.

mod cases {
    pub(crate) mod build;
    pub(crate) mod go;
    pub(crate) mod measure;
}

use std::time::Duration;

use cases::build::{self, Case};
use cases::measure::measure;

/// Workers and partitions.
const SIZES: [(u32, u32); 6] = [
    (10, 100),
    (100, 1000),
    (1000, 10_000),
    (1000, 100_000),
    (100, 100_000),
    (10_000, 1_000_000),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too; a smoke run is enough for it.
    let is_smoke = !arguments.iter().any(|argument| argument == "--bench");
    let is_quick = is_smoke || arguments.iter().any(|argument| argument == "--quick");
    let filter = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    let limit = match (is_smoke, is_quick) {
        (true, _) => 1000,
        (false, true) => 100_000,
        (false, false) => u32::MAX,
    };
    let budget = Duration::from_millis(if is_smoke { 0 } else { 250 });
    for (workers, partitions) in SIZES.into_iter().filter(|&(_, count)| count <= limit) {
        for case in build::all(workers, partitions) {
            if filter.is_none_or(|filter| case.name.contains(filter.as_str())) {
                print(&case, workers, partitions, budget);
            }
        }
    }
}

fn print(case: &Case, workers: u32, partitions: u32, budget: Duration) {
    let measured = measure(case, budget);
    let nanos = measured.median.as_nanos() as f64;
    let go = cases::go::median_ms(case.name, workers, partitions);
    let ratio = go.map_or("null".to_owned(), |go| {
        format!("{:.1}", go * 1e6 / nanos.max(1.0))
    });
    let report = &measured.report;
    println!(
        "{{\"strategy\":\"{}\",\"weights\":\"{}\",\"workers\":{workers},\"partitions\":{partitions},\
         \"median_ns\":{nanos},\"min_ns\":{},\"ns_per_partition\":{:.2},\"runs\":{},\
         \"go_ms\":{},\"ratio\":{ratio},\"allocations\":{},\"moved\":{},\"lower_bound\":{},\
         \"moved_weight\":{},\
         \"moved_weight_bound\":{},\"max_load\":{},\"min_load\":{},\"total_weight\":{}}}",
        case.name,
        case.weights.name(),
        measured.least.as_nanos(),
        nanos / f64::from(partitions),
        measured.runs,
        go.map_or("null".to_owned(), |go| go.to_string()),
        measured.allocations,
        report.moved,
        report.lower_bound,
        report.moved_weight,
        report.moved_weight_bound,
        report.max_load,
        report.min_load,
        report.total_weight,
    );
}
