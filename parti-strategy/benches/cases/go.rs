//! What the Go library needs for the same workload.
//!
//! Medians of its own code on a two-core machine, in milliseconds; the sticky strategy, which it
//! does not have, is compared with its consistent hash, which plans the same change.

/// The median for a workload, if it was measured.
pub(crate) fn median_ms(case: &str, workers: u32, partitions: u32) -> Option<f64> {
    let column = match (workers, partitions) {
        (10, 100) => 0,
        (100, 1000) => 1,
        (1000, 10_000) => 2,
        (1000, 100_000) => 3,
        (100, 100_000) => 4,
        (10_000, 1_000_000) => 5,
        _ => return None,
    };
    let ring = [0.197, 2.3, 27.6, 58.0, 20.5, 1040.0];
    let nothing = f64::NAN;
    let row = match case {
        "round-robin" => [0.015, 0.069, 1.1, 8.5, nothing, 158.0],
        "weighted-consistent-hash" => [0.189, 2.2, 26.0, 52.6, nothing, 1670.0],
        _ if case.starts_with("consistent-hash") || case.starts_with("sticky") => ring,
        _ => return None,
    };
    Some(row[column]).filter(|median| !median.is_nan())
}
