//! What a group under test is like: its size and its times.
//!
//! It is separate from the group because the table of scenarios is made of it. What always holds:
//! these are plain values.

use std::path::PathBuf;

use crate::consumption::Stream;

/// The times of a configuration, in milliseconds; all others follow from them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) heartbeat: u64,
    pub(crate) lease: u64,
    pub(crate) cold: u64,
    /// The window for joins, and the cooldown.
    pub(crate) window: u64,
}

/// What a group is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) workers: usize,
    pub(crate) partitions: usize,
    pub(crate) timing: Timing,
    pub(crate) strategy: &'static str,
    /// The mode, if the scenario is about one.
    pub(crate) mode: Option<Mode>,
    /// How long the end of processing takes.
    pub(crate) drain: u64,
    /// How long it takes to get ready for a partition; 0: nobody prepares.
    pub(crate) warmup: u64,
    /// How often processes are asked whether they run in mode fenced, in milliseconds.
    pub(crate) probes: u64,
    /// How many servers.
    pub(crate) nodes: usize,
    /// For how long a worker that ends holds its slot, instead of a handoff.
    pub(crate) hold: Option<u64>,
    /// How many workers each process is, if they share processes; such have no proxies.
    pub(crate) shared: &'static [usize],
    /// The stream that is consumed, if one is.
    pub(crate) stream: Option<Stream>,
}

/// Lease 3 s: three times that of the preset `fast`, so that a busy machine ends no lease.
pub(crate) const SCALED: Setup = Setup {
    workers: 5,
    partitions: 100,
    timing: Timing {
        heartbeat: 750,
        lease: 3_000,
        cold: 1_500,
        window: 500,
    },
    strategy: "sticky",
    mode: None,
    drain: 0,
    warmup: 0,
    probes: 25,
    nodes: 1,
    hold: None,
    shared: &[],
    stream: None,
};

/// What happens between an old and a new owner of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// The old one ends before the new one begins.
    Exclusive,
    /// The same; but one that does not answer loses what it has before its lease is over.
    Fenced,
    /// The new one begins at once.
    Overlap,
}

impl Mode {
    /// As the worker's option `--mode` takes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Fenced => "fenced",
            Self::Overlap => "overlap",
        }
    }
}

/// What a scenario gets from outside.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) server: PathBuf,
    pub(crate) worker: PathBuf,
    /// Where the histories go.
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) full: bool,
}

impl Timing {
    /// As the worker's option `--set` takes them.
    pub(super) fn settings(self) -> [(&'static str, u64); 7] {
        [
            ("heartbeat_interval", self.heartbeat),
            ("lease", self.lease),
            ("cold_start_window", self.cold),
            ("planned_scale_window", self.window),
            ("min_rebalance_interval", self.window),
            ("drain_timeout", 2_000),
            ("startup_timeout", 60_000),
        ]
    }
}
