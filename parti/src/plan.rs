//! Planning without acting: what a change of a group would move, before anybody makes it.
//!
//! Separate from the manager because it needs no store, no runtime and no group. What always holds:
//! the forecast is the plan that a leader with the same input and strategy would publish.

use std::sync::Arc;

use parti_core::{AssignmentStrategy, PlanError, PlanInput, Partition, PartitionTable, WorkerInfo,
    WorkerTable};
use parti_strategy::{Change, Forecast, what_if};
