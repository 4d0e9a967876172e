//! Scenarios that are run by name only: they take long, and are there for their figures.

use super::{FENCED, Scenario};
use crate::group::{Mode, SCALED, Setup, Timing};
use crate::{crashes, scale};

/// Enough of them for figures.
const MANY_FENCED: Setup = Setup {
    workers: 20,
    partitions: 1_000,
    ..FENCED
};

const MANY_FENCED_ON_THREE: Setup = Setup {
    nodes: 3,
    ..MANY_FENCED
};

/// A few workers in two processes.
const FEW: Setup = Setup {
    workers: 20,
    partitions: 1_000,
    shared: &[1, 19],
    ..MANY
};

/// As many as share a server in a large deployment, in five processes.
const MANY: Setup = Setup {
    workers: 200,
    partitions: 10_000,
    shared: &[1, 49, 50, 50, 50],
    timing: Timing {
        heartbeat: 2_000,
        lease: 6_000,
        cold: 30_000,
        window: 100,
    },
    ..SCALED
};

/// What probes so often cost; 0: there are none, and leases decide.
const fn cost(name: &'static str, group: Setup, probes: u64) -> Scenario {
    let mode = match probes {
        0 => Mode::Exclusive,
        _ => Mode::Fenced,
    };
    Scenario {
        name,
        problem: "what finds a crash at once costs more than it is worth",
        faults: "none: an idle group; the name says how often each process is asked",
        holds: "figures; the questions are asked",
        setup: Setup {
            mode: Some(mode),
            probes,
            ..group
        },
        run: scale::probe_cost,
    }
}

/// Only by name: what takes long.
pub(super) static BY_NAME: [Scenario; 14] = [
    Scenario {
        name: "many-fenced-kills",
        problem: "as fenced-kill, for figures",
        faults: "mode fenced: kill -9 of 4 followers of 20, one after the other",
        holds: "as fenced-kill",
        setup: MANY_FENCED,
        run: crashes::fenced_kill,
    },
    Scenario {
        name: "many-fenced-leader-kills",
        problem: "as fenced-leader-kill, for figures",
        faults: "mode fenced: kill -9 of the leader of 20, 4 times",
        holds: "as fenced-leader-kill",
        setup: MANY_FENCED,
        run: crashes::fenced_leader_kill,
    },
    Scenario {
        name: "cluster-fenced-kills",
        problem: "as fenced-kill, for figures",
        faults: "as many-fenced-kills, on three servers",
        holds: "as fenced-kill",
        setup: MANY_FENCED_ON_THREE,
        run: crashes::fenced_kill,
    },
    Scenario {
        name: "cluster-fenced-leader-kills",
        problem: "as fenced-leader-kill, for figures",
        faults: "as many-fenced-leader-kills, on three servers",
        holds: "as fenced-leader-kill",
        setup: MANY_FENCED_ON_THREE,
        run: crashes::fenced_leader_kill,
    },
    Scenario {
        name: "many-fenced-stops",
        problem: "as fenced-stop, for figures",
        faults: "mode fenced: SIGSTOP of a follower of 20",
        holds: "as fenced-stop",
        setup: MANY_FENCED,
        run: crashes::fenced_stop,
    },
    Scenario {
        name: "scale",
        problem: "what works for ten workers fails for two hundred",
        faults: "200 workers in 5 processes, 10 000 partitions: start, join, crash, leader's crash, \
                 update of 50",
        holds: "figures; fewer than 0.9 requests a worker and second when idle, nothing moves in \
                the update",
        setup: Setup {
            hold: Some(60_000),
            ..MANY
        },
        run: scale::scale,
    },
    cost("probe-cost-20-workers-none", FEW, 0),
    cost("probe-cost-20-workers-200-ms", FEW, 200),
    cost("probe-cost-20-workers-50-ms", FEW, 50),
    cost("probe-cost-20-workers-25-ms", FEW, 25),
    cost("probe-cost-200-workers-none", MANY, 0),
    cost("probe-cost-200-workers-200-ms", MANY, 200),
    cost("probe-cost-200-workers-50-ms", MANY, 50),
    cost("probe-cost-200-workers-25-ms", MANY, 25),
];
