//! The table of scenarios: what each stands for, what is done to the group, and what must hold.
//!
//! What always holds: beyond the last column of the table, every scenario is judged by the rules
//! for all histories, see `Group::judge`. The table in docs/verification/SCENARIOS.md has the same names.

use super::group::{Group, Mode, SCALED, Setup, Step, Timing};
use super::network::splits;
use super::{crashes, external_writes, network, outages, restarts};

mod by_name;
mod consuming;

use by_name::BY_NAME;
use consuming::{CONSUMING, CONSUMING_BY_NAME};

/// One way in which production goes wrong.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// The problem in production.
    pub(super) problem: &'static str,
    /// What is done.
    pub(super) faults: &'static str,
    /// What must hold beyond safety.
    pub(super) holds: &'static str,
    pub(super) setup: Setup,
    pub(super) run: fn(&mut Group) -> Step<()>,
}

const fn of(workers: usize) -> Setup {
    Setup { workers, ..SCALED }
}

/// A handoff that lasts, so that faults can hit it.
const LASTING: Setup = Setup {
    drain: 300,
    ..of(4)
};

/// Getting ready for a partition takes longer than any handoff.
const WARMING: Setup = Setup {
    warmup: 3_000,
    ..of(4)
};

/// Three servers, and a lease that outlives a fail-over of the stream at its usual length.
const REPLICATED: Setup = Setup {
    nodes: 3,
    timing: Timing {
        heartbeat: 3_000,
        lease: 12_000,
        ..SCALED.timing
    },
    ..of(4)
};

/// A lease that nobody wants to wait for.
const FENCED: Setup = Setup {
    mode: Some(Mode::Fenced),
    timing: Timing {
        heartbeat: 3_000,
        lease: 12_000,
        ..SCALED.timing
    },
    ..of(8)
};

static SCENARIOS: [Scenario; 32] = [
    Scenario {
        name: "thundering-herd",
        problem: "the whole deployment restarts at once",
        faults: "kill -9 of all 10, 10 new processes at once",
        holds: "even within 3 leases, at most 4 rebalances",
        setup: of(10),
        run: restarts::thundering_herd,
    },
    Scenario {
        name: "rolling-update",
        problem: "a deployment is scaled to nothing and back",
        faults: "SIGTERM one after another until none is left, then 10 start",
        holds: "no emergency, more than 80 % of the partitions return to their worker ID",
        setup: Setup {
            strategy: "consistent-hash",
            ..of(10)
        },
        run: restarts::rolling_update,
    },
    Scenario {
        name: "rolling-update-held-slots",
        problem: "a new version is rolled out pod by pod",
        faults: "each of 6 ends with its slot held and is replaced",
        holds: "no partition ever moves, no emergency",
        setup: Setup {
            hold: Some(15_000),
            ..of(6)
        },
        run: restarts::rolling_update_with_held_slots,
    },
    Scenario {
        name: "rapid-scaling",
        problem: "an autoscaler triples the group",
        faults: "7 join 3 at once",
        holds: "one rebalance, no emergency",
        setup: Setup {
            timing: Timing {
                window: 3_000,
                ..SCALED.timing
            },
            ..of(3)
        },
        run: restarts::rapid_scaling,
    },
    Scenario {
        name: "concurrent-election",
        problem: "many candidates at once end in no leader, or in two",
        faults: "20 start at once; the leader of 20 is killed",
        holds: "one new term, taken over within a lease",
        setup: of(20),
        run: restarts::concurrent_election,
    },
    Scenario {
        name: "high-churn",
        problem: "a crash loop beside an autoscaler",
        faults: "a join, kill -9 or SIGTERM every 0.4 to 1 s, for 15 s (60 s)",
        holds: "even within 3 leases after the last",
        setup: of(6),
        run: restarts::high_churn,
    },
    Scenario {
        name: "eight-of-ten-die",
        problem: "a zone is lost",
        faults: "kill -9 of 8 of 10",
        holds: "the two own everything within the lease and two windows",
        setup: of(10),
        run: crashes::eight_of_ten_die,
    },
    Scenario {
        name: "cascading-failures",
        problem: "the worker that takes over the load dies of it",
        faults: "kill -9 of one, then of the one that took over most, 2 times (4)",
        holds: "each take-over within a lease",
        setup: of(6),
        run: crashes::cascading_failures,
    },
    Scenario {
        name: "leader-dies-at-each-step",
        problem: "the leader dies in the middle of a rebalance",
        faults: "kill -9 of the leader when a joiner claims, at the commit, at the first revocation, \
                 at the first grant",
        holds: "even within 2 leases, each time",
        setup: LASTING,
        run: crashes::leader_dies_at_each_step,
    },
    Scenario {
        name: "gaining-worker-dies",
        problem: "the target of a handoff dies during it",
        faults: "kill -9 of the joiner when its partitions are being revoked",
        holds: "owned again within a lease and a window",
        setup: LASTING,
        run: crashes::gaining_worker_dies,
    },
    Scenario {
        name: "prepare-rolling",
        problem: "partitions that take long to load have no owner for that long in a deployment",
        faults: "each of 4 is replaced, and getting ready for a partition takes 3 s",
        holds: "no partition is ever without an owner for as long as a warm-up; no emergency",
        setup: WARMING,
        run: restarts::prepare_rolling,
    },
    Scenario {
        name: "prepare-gainer-dies",
        problem: "a joiner dies while it loads what it is to have",
        faults: "kill -9 of the joiner when it gets ready for its first partition",
        holds: "nobody gives up anything",
        setup: WARMING,
        run: crashes::prepare_gainer_dies,
    },
    Scenario {
        name: "fenced-kill",
        problem: "after a crash partitions wait for a lease although the process is known to be gone",
        faults: "mode fenced: kill -9 of a follower",
        holds: "owned again within half a lease",
        setup: FENCED,
        run: crashes::fenced_kill,
    },
    Scenario {
        name: "fenced-leader-kill",
        problem: "the same, and the one that died was to repair it",
        faults: "mode fenced: kill -9 of the leader",
        holds: "owned again within half a lease",
        setup: FENCED,
        run: crashes::fenced_leader_kill,
    },
    Scenario {
        name: "fenced-stop",
        problem: "a process stands still and nobody says that it is gone",
        faults: "mode fenced: SIGSTOP of a follower, SIGCONT when others own what it had",
        holds: "owned again within half a lease; it comes back by itself",
        setup: FENCED,
        run: crashes::fenced_stop,
    },
    Scenario {
        name: "split-brain",
        problem: "a leader that is cut off goes on leading",
        faults: "the leader's proxy holds both directions for more than a lease",
        holds: "taken over within a lease; one leader within 2 leases after the heal",
        setup: of(5),
        run: network::split_brain,
    },
    Scenario {
        name: "gray-failure",
        problem: "slow is taken for dead",
        faults: "leader and follower 40 to 200 ms later in each direction, for 3 leases",
        holds: "no emergency, no rebalance, no election",
        setup: of(5),
        run: network::gray_failure,
    },
    Scenario {
        name: "slow-heartbeats",
        problem: "renewals that come in the last moment",
        faults: "a follower's proxy holds everything for more than half a lease, 3 times",
        holds: "no emergency, no lease lost, no rebalance",
        setup: of(4),
        run: network::slow_heartbeats,
    },
    Scenario {
        name: "two-sides",
        problem: "a partition into two groups, each with a leader",
        faults: "one half cut off, then the other instead, then none",
        holds: "everything owned by the side with the store; one leader within 2 leases",
        setup: of(6),
        run: network::two_sides,
    },
    Scenario {
        name: "leader-cut-during-rebalance",
        problem: "the leader is gone between revoking and granting",
        faults: "the leader's proxy holds everything after it took partitions away",
        holds: "the others own everything within 2 leases",
        setup: LASTING,
        run: network::leader_cut_during_a_rebalance,
    },
    Scenario {
        name: "cut-towards-the-server",
        problem: "one-way loss: a worker hears but is not heard",
        faults: "a follower's, then the leader's requests are held and arrive late",
        holds: "taken over within 2 leases",
        setup: of(4),
        run: network::cut_towards_the_server,
    },
    Scenario {
        name: "cut-towards-the-worker",
        problem: "one-way loss: a worker is heard but hears nothing",
        faults: "a follower's, then the leader's answers are held and arrive late",
        holds: "taken over within 2 leases",
        setup: of(4),
        run: network::cut_towards_the_worker,
    },
    Scenario {
        name: "worker-paused",
        problem: "a long garbage collection or a frozen machine",
        faults: "SIGSTOP of a follower, then of the leader, for more than a lease, SIGCONT",
        holds: "taken over within a lease; a new session afterwards",
        setup: of(4),
        run: outages::worker_paused,
    },
    Scenario {
        name: "server-restarted",
        problem: "the store is upgraded, or down for minutes",
        faults: "kill -9 and restart on its data, at once and after all leases are over",
        holds: "nothing moves; the same owners and sessions, nobody evicted",
        setup: of(4),
        run: outages::server_restarted,
    },
    Scenario {
        name: "server-paused",
        problem: "the store hangs with open connections",
        faults: "SIGSTOP of the server until all leases are over (for a minute more)",
        holds: "the same owners and sessions, nobody evicted",
        setup: of(4),
        run: outages::server_paused,
    },
    Scenario {
        name: "server-clock-steps",
        problem: "a server's clock is set, or the servers' clocks differ",
        faults: "its wall clock an hour ahead, an hour behind; with a join, kill -9, a restart on \
                 messages of the future, STREAM.DELETE",
        holds: "nothing moves for it; taken over within a lease; owned again by itself",
        setup: of(4),
        run: outages::server_clock_steps,
    },
    Scenario {
        name: "stream-leader-killed",
        problem: "a fail-over of the store looks like dead workers",
        faults: "3 servers; kill -9 of the one that leads the stream, once (3 times)",
        holds: "no emergency, no lease lost, nothing moves",
        // The preset `patient`: an election of the stream's leader that has to be repeated takes
        // longer than nine seconds.
        setup: Setup {
            timing: Timing {
                heartbeat: 5_000,
                lease: 20_000,
                ..SCALED.timing
            },
            ..REPLICATED
        },
        run: outages::stream_leader_killed,
    },
    Scenario {
        name: "cluster-split-follower",
        problem: "the cluster splits, and the smaller side goes on answering reads",
        faults: "3 servers; the routes of one that follows the stream are cut, two workers with it, \
                 the group's leader among them in odd seeds",
        holds: "the smaller side stops within a lease, the larger owns everything within 2 leases \
                and 10 s of the stream's fail-over; settled within 2 leases and 10 s after the heal",
        setup: REPLICATED,
        run: splits::a_follower_split_off,
    },
    Scenario {
        name: "cluster-split-leader",
        problem: "the stream's leader is on the smaller side and does not know it",
        faults: "the same with the server that leads the stream",
        holds: "the same",
        setup: REPLICATED,
        run: splits::the_leader_split_off,
    },
    Scenario {
        name: "external-writes",
        problem: "an operator edits the bucket",
        faults: "keys of a running group deleted, overwritten and added, one after another",
        holds: "even and every record repaired within 3 leases of each",
        setup: of(4),
        run: external_writes::external_writes,
    },
    Scenario {
        name: "bucket-deleted",
        problem: "the bucket is deleted under a running group",
        faults: "STREAM.DELETE",
        holds: "nothing is relied on after a lease",
        setup: of(4),
        run: external_writes::bucket_deleted,
    },
    Scenario {
        name: "deleted-and-back",
        problem: "a group whose bucket was deleted has to be restarted by hand",
        faults: "STREAM.DELETE",
        holds: "everything owned again by itself, with higher tokens",
        setup: of(4),
        run: external_writes::bucket_deleted_and_back,
    },
];

/// Those that run if none is named.
pub(super) fn standard() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().chain(&CONSUMING)
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Scenario> {
    standard().chain(&BY_NAME).chain(&CONSUMING_BY_NAME)
}

impl Scenario {
    /// Its row in the table of docs/verification/SCENARIOS.md.
    pub(super) fn row(&self) -> String {
        let (setup, timing) = (&self.setup, &self.setup.timing);
        let nodes = match setup.nodes {
            1 => String::new(),
            nodes => format!(", {nodes} servers"),
        };
        let drain = match setup.drain {
            0 => String::new(),
            drain => format!(", drains {drain} ms"),
        };
        let warmup = match setup.warmup {
            0 => String::new(),
            warmup => format!(", warms up for {warmup} ms"),
        };
        let seconds = timing.lease as f64 / 1000.0;
        format!(
            "| `{}` | {} | {} | {} | {} workers{nodes}, lease {seconds} s{drain}{warmup} |",
            self.name, self.problem, self.faults, self.holds, setup.workers
        )
    }
}

/// The table of docs/verification/SCENARIOS.md.
pub(super) fn table() -> String {
    let head = "| scenario | problem | faults | what must hold | group |\n|---|---|---|---|---|";
    let rows = all().map(Scenario::row);
    let lines: Vec<String> = std::iter::once(head.to_owned()).chain(rows).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::root;

    const BEGIN: &str = "<!-- table: scenarios -->\n";
    const END: &str = "<!-- end -->";

    /// A page that promises a scenario nobody runs. `PARTI_WRITE_DOCS=1` writes it again.
    #[test]
    fn the_table_of_the_page_is_that_of_the_code() {
        let page = root().join("docs/verification/SCENARIOS.md");
        let present = std::fs::read_to_string(&page).expect("the page is there");
        let (before, rest) = present.split_once(BEGIN).expect("the place begins");
        let (_, after) = rest.split_once(END).expect("the place ends");
        let wanted = format!("{before}{BEGIN}{}{END}{after}", table());
        if std::env::var_os("PARTI_WRITE_DOCS").is_some() {
            std::fs::write(page, wanted).expect("writable");
            return;
        }
        assert_eq!(present, wanted, "run it with PARTI_WRITE_DOCS=1");
    }

    /// Two of one name cannot be run alone, and one without a reason is run for nothing.
    #[test]
    fn every_scenario_has_a_name_of_its_own_and_says_what_it_is() {
        let all: Vec<_> = all().collect();
        for (number, one) in all.iter().enumerate() {
            let words = [one.name, one.problem, one.faults, one.holds];
            assert!(words.iter().all(|word| !word.is_empty()), "{}", one.name);
            let later = &all[number + 1..];
            assert!(
                later.iter().all(|other| other.name != one.name),
                "{}",
                one.name
            );
        }
    }
}
