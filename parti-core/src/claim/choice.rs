//! Which ID to take: a pure function of what the list shows.
//!
//! A seat may be taken when its session has ended for certain: released, evicted after a full lease
//! of silence, or seen unchanged for a full lease on the own clock. The seat of the own former session
//! may be taken at once: whoever was cut off keeps its ID. Ended seats come before unused
//! ones, because they may still own partitions: a replacement inherits them and nothing moves. Held
//! ones come first of all, since what they own waits for the replacement; that of an evicted one
//! does not.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::id::{Revision, WorkerId};
use crate::record::{SessionRecord, SessionStatus};
use crate::store::Expect;
use crate::time::Instant;

/// How many holders an error names.
const NAMED_HOLDERS: usize = 5;

/// A seat as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) revision: Revision,
    /// What was written then.
    pub(crate) value: Vec<u8>,
    /// Whether its session was this process's own, which it has given up.
    pub(crate) own: bool,
    /// When this revision was first seen, on the own clock.
    pub(crate) since: Instant,
    pub(crate) status: SessionStatus,
    pub(crate) lease: Duration,
    /// Whether the same session was seen at an earlier revision: its process lives.
    pub(crate) renewed: bool,
    /// What it says, if it can be read.
    pub(crate) record: Option<SessionRecord>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Write this ID under this condition.
    Take { worker: WorkerId, expect: Expect },
    /// Every seat is taken; one of them may become free at `until`.
    Wait {
        until: Instant,
        holders: Vec<WorkerId>,
    },
}

/// When a seat may be taken.
fn free_at(config: &Config, seat: &Seat) -> Instant {
    if seat.own {
        return Instant::ORIGIN;
    }
    match seat.status {
        SessionStatus::Released { .. } | SessionStatus::Evicted { silent: true } => Instant::ORIGIN,
        SessionStatus::Active
        | SessionStatus::Draining
        | SessionStatus::Evicted { silent: false } => {
            let own = config.clock_drift_ppm();
            let said = seat.record.as_ref();
            let drift_ppm = said.map_or(own, |said| said.settings.clock_drift_ppm);
            seat.since + config.outlasts(seat.lease, drift_ppm)
        }
    }
}

pub(crate) fn choose(
    config: &Config,
    preferred: Option<&WorkerId>,
    seats: &BTreeMap<WorkerId, Seat>,
    now: Instant,
) -> Choice {
    let (min, max) = config.worker_id_range();
    let pool = || (min..=max).filter_map(|number| config.worker_id(number));
    let take = |worker: WorkerId| {
        let expect = seats
            .get(&worker)
            .map_or(Expect::Absent, |s| Expect::Revision(s.revision));
        Choice::Take { worker, expect }
    };
    let is_free = |worker: &WorkerId| {
        seats
            .get(worker)
            .is_none_or(|seat| free_at(config, seat) <= now)
    };
    if let Some(worker) = preferred.filter(|worker| is_free(worker)) {
        return take(worker.clone());
    }
    let held = pool().find(|worker| {
        let status = seats.get(worker).map(|seat| seat.status);
        matches!(status, Some(SessionStatus::Released { hold }) if !hold.is_zero())
    });
    let ended = || {
        pool().find(|worker| {
            seats
                .get(worker)
                .is_some_and(|seat| free_at(config, seat) == Instant::ORIGIN)
        })
    };
    let unused = || pool().find(|worker| !seats.contains_key(worker));
    let silent = || pool().find(is_free);
    let ended = held.or_else(ended);
    if let Some(worker) = ended.or_else(unused).or_else(silent) {
        return take(worker);
    }
    let taken = pool()
        .filter_map(|worker| seats.get(&worker))
        .map(|seat| free_at(config, seat));
    let until = taken.min().unwrap_or(Instant::FAR_FUTURE);
    Choice::Wait {
        until,
        holders: pool().take(NAMED_HOLDERS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: SessionStatus = SessionStatus::Active;
    const RELEASED: SessionStatus = SessionStatus::Released {
        hold: Duration::ZERO,
    };

    fn id(number: u32) -> WorkerId {
        WorkerId::numbered("worker", number).expect("valid")
    }

    fn check(seats: &[(u32, SessionStatus, u64)], hint: Option<u32>, now_ms: u64) -> Choice {
        let config = Config::builder("g")
            .worker_id_range(0, 2)
            .build()
            .expect("coherent");
        let seats = seats.iter().map(|&(number, status, since)| {
            let revision = Revision::new(u64::from(number) + 10);
            let (since, lease) = (Instant::from_millis(since), config.lease());
            (
                id(number),
                Seat {
                    revision,
                    value: Vec::new(),
                    own: false,
                    since,
                    status,
                    lease,
                    renewed: false,
                    record: None,
                },
            )
        });
        let seats = seats.collect();
        choose(
            &config,
            hint.map(id).as_ref(),
            &seats,
            Instant::from_millis(now_ms),
        )
    }

    fn take(number: u32, expect: Option<u64>) -> Choice {
        let expect = expect.map_or(Expect::Absent, |r| Expect::Revision(Revision::new(r)));
        Choice::Take {
            worker: id(number),
            expect,
        }
    }

    /// A seat taken too early makes two processes with one identity; one passed over moves partitions.
    #[test]
    fn ended_seats_come_first_then_unused_then_silent_ones() {
        let evicted = |silent| SessionStatus::Evicted { silent };
        assert_eq!(check(&[], None, 0), take(0, None));
        assert_eq!(check(&[(0, ACTIVE, 0)], None, 100), take(1, None));
        assert_eq!(check(&[(2, RELEASED, 0)], None, 100), take(2, Some(12)));
        assert_eq!(
            check(&[(2, evicted(true), 0)], None, 100),
            take(2, Some(12))
        );
        assert_eq!(check(&[(2, evicted(false), 0)], None, 100), take(0, None));
        assert_eq!(
            check(&[(0, ACTIVE, 0), (2, RELEASED, 0)], Some(1), 100),
            take(1, None)
        );
        assert_eq!(check(&[(1, ACTIVE, 0)], Some(1), 100), take(0, None));
        let full = [(0, ACTIVE, 0), (1, ACTIVE, 500), (2, ACTIVE, 0)];
        assert_eq!(check(&full, None, 6_000), take(0, Some(10)));
        assert_eq!(check(&full, Some(1), 6_500), take(1, Some(11)));
    }

    /// A replacement that takes the seat of a crashed worker instead lets the hold run out, and the
    /// partitions move after all.
    #[test]
    fn a_held_seat_comes_before_those_of_the_crashed() {
        let evicted = SessionStatus::Evicted { silent: true };
        let hold = Duration::from_secs(1);
        let held = SessionStatus::Released { hold };
        let seats = [(0, evicted, 0), (1, RELEASED, 0), (2, held, 0)];
        assert_eq!(check(&seats, None, 100), take(2, Some(12)));
        assert_eq!(check(&seats[..2], None, 100), take(0, Some(10)));
    }

    /// A worker that was cut off while alive would go on under another ID, and whoever counts its
    /// failures would lose count.
    #[test]
    fn the_own_former_seat_may_be_taken_at_once() {
        let config = Config::builder("g").build().expect("coherent");
        let seat = |own| Seat {
            revision: Revision::new(10),
            value: Vec::new(),
            own,
            since: Instant::ORIGIN,
            status: SessionStatus::Evicted { silent: false },
            lease: config.lease(),
            renewed: false,
            record: None,
        };
        let choose = |own| {
            let seats = BTreeMap::from([(id(3), seat(own))]);
            super::choose(&config, Some(&id(3)), &seats, Instant::from_millis(1))
        };
        assert_eq!(choose(true), take(3, Some(10)));
        assert_eq!(choose(false), take(0, None));
    }

    /// A full pool must say when to look again and who holds it.
    #[test]
    fn a_full_pool_waits_for_the_first_lease_to_end() {
        let full = [
            (0, ACTIVE, 300),
            (1, ACTIVE, 100),
            (2, SessionStatus::Draining, 200),
        ];
        let holders = (0..3).map(id).collect();
        let until = Instant::from_millis(6_100);
        assert_eq!(check(&full, None, 6_099), Choice::Wait { until, holders });
    }
}
