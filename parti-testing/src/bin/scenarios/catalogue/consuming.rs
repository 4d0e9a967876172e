//! Scenarios of groups that consume a stream by partition.
//!
//! They are separate because all of them are held to more: to the log of a sink that compares tokens, to what
//! handlers were given, and to where each owner began.

use super::{FENCED, Scenario, of};
use crate::consumption::{self, Stream};
use crate::group::{SCALED, Setup, Timing};

const HOLDS: &str = "every message once in the sink and in order by key, tokens rise, nothing skipped; \
                     each owner begins with the first message that was not committed; what was planned \
                     repeats nothing";

const ORDERS: Stream = Stream {
    retention: "limits",
    replicas: 1,
    keys: 64,
    rate: 1_000,
};

/// Everything that happens on one server.
const fn alone(name: &'static str, retention: &'static str) -> Scenario {
    Scenario {
        name,
        problem: "messages are lost, handled twice or out of order when workers or servers fail",
        faults: "a stream is consumed: a join, SIGTERM, all readers deleted (not by interest), kill -9, \
                 SIGSTOP and SIGCONT, a network cut, kill -9 of the server",
        holds: HOLDS,
        setup: Setup {
            partitions: 16,
            stream: Some(Stream {
                retention,
                ..ORDERS
            }),
            ..of(4)
        },
        run: consumption::alone,
    }
}

/// Leaders that change, on three servers.
const fn cluster(name: &'static str, retention: &'static str, replicas: usize) -> Scenario {
    Scenario {
        name,
        problem: "the same, when servers elect other leaders",
        faults: "a join, SIGTERM, leaders of messages and cursors step down, kill -9, a network cut, \
                 kill -9 of the server that leads the stream, all readers deleted",
        holds: HOLDS,
        setup: Setup {
            partitions: 16,
            nodes: 3,
            stream: Some(Stream {
                retention,
                replicas,
                ..ORDERS
            }),
            timing: Timing {
                heartbeat: 2_250,
                lease: 9_000,
                ..SCALED.timing
            },
            ..of(4)
        },
        run: consumption::cluster,
    }
}

/// What runs without being named.
pub(super) static CONSUMING: [Scenario; 4] = [
    alone("consume-limits", "limits"),
    alone("consume-work-queue", "workqueue"),
    alone("consume-interest", "interest"),
    cluster("consume-cluster", "limits", 3),
];

/// Many of them, each with two partitions.
const MANY: Setup = Setup {
    workers: 20,
    partitions: 40,
    stream: Some(Stream {
        keys: 200,
        rate: 4_000,
        ..ORDERS
    }),
    ..FENCED
};

/// What takes long, or is there for its figures.
pub(super) static CONSUMING_BY_NAME: [Scenario; 4] = [
    cluster("cluster-consume-work-queue", "workqueue", 1),
    cluster("cluster-consume-interest", "interest", 1),
    Scenario {
        name: "many-consume-kills",
        problem: "a crash of a consumer holds up its partitions",
        faults: "mode fenced: kill -9 of 4 followers of 20 under load, one after the other",
        holds: HOLDS,
        setup: MANY,
        run: consumption::take_overs,
    },
    Scenario {
        name: "consume-moves",
        problem: "each deployment holds up messages",
        faults: "a join and a SIGTERM under load, 5 times",
        holds: HOLDS,
        setup: Setup {
            partitions: 16,
            stream: Some(Stream {
                keys: 200,
                rate: 4_000,
                ..ORDERS
            }),
            ..of(4)
        },
        run: consumption::moves,
    },
];
