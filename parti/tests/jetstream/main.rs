//! Groups that consume streams of a real server by partition.

mod batches;
mod conditions;
mod faults;
mod flow;
mod limits;
mod moves;
mod outputs;
mod ownership;
mod repartition;
mod replicas;
mod sink;
mod support;
