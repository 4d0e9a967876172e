//! The metrics of a worker, through the [`metrics`](https://docs.rs/metrics) facade.
//!
//! Install a recorder, such as `parti::prometheus` (feature `prometheus`), *before* a manager is built: its
//! handles are looked up once. Without a recorder nothing is kept,
//! and without the feature `metrics` nothing is measured. Each metric carries the label
//! `group` and those of [`ManagerBuilder::metric_label`](crate::ManagerBuilder::metric_label).
//! `docs/METRICS.md` shows the catalogue with what to make of it.
//!
//! ```
//! use parti::metrics::{CATALOGUE, MetricKind};
//! let margin = CATALOGUE.iter().find(|m| m.name == "parti_lease_margin_seconds");
//! assert_eq!(margin.map(|m| m.kind), Some(MetricKind::Histogram));
//! ```

pub use crate::observe::catalogue::{CATALOGUE, Metric, MetricKind, MetricUnit};
