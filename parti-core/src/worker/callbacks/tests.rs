//! The callback scheduler as a table: what happens, and what is to be done about it, in words.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::model::id::{Token, Version};
use crate::model::preparation::Preparation;

mod preparing;
mod retrying;

use Happens::*;
use RevokeCause::{IdentityLost, LeaseLost, Reassigned, Stopping};

/// Something that happens to the scheduler.
#[derive(Clone, Debug)]
enum Happens {
    /// So many milliseconds since the start, from here on.
    At(u64),
    Assign(&'static str, u64),
    Revoke(&'static str, u64, RevokeCause),
    /// The shell has room to begin something.
    Begin,
    /// As above, but the lease is over.
    BeginWithoutLease,
    LeaseEnds,
    Prepare(&'static str, u64),
    Withdraw(&'static str, u64),
    Ends(&'static str, End),
}

fn key(name: &str) -> PartitionKey {
    PartitionKey::new([name]).expect("valid key")
}

fn grant(name: &str, token: u64) -> Grant {
    let (partition, token) = (key(name), Token::new(token));
    Grant { partition, token }
}

fn preparation(name: &str, version: u64) -> Preparation {
    let (partition, version) = (key(name), Version::new(version));
    Preparation { partition, version }
}

const DRAIN: Duration = Duration::from_secs(5);

/// A scheduler with two places of each kind, and what it was told last.
struct Played {
    scheduler: Scheduler<u64>,
    now: Instant,
    guards: u64,
}

impl Played {
    fn new() -> Self {
        Self::with(Limits {
            assign: None,
            concurrency: 2,
            ..Limits::new(DRAIN)
        })
    }

    fn with(limits: Limits) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            now: Instant::ORIGIN,
            guards: 0,
        }
    }

    /// Plays what happens, and answers what is to be done. Guards are numbered.
    fn play(&mut self, happens: &[Happens]) -> Vec<String> {
        for what in happens.iter().cloned() {
            match what {
                At(millis) => {
                    self.now = Instant::from_millis(millis);
                    self.scheduler.expire(self.now);
                }
                Assign(name, token) => {
                    self.guards += 1;
                    let grant = grant(name, token);
                    self.scheduler.assign(self.now, grant, self.guards);
                }
                Revoke(name, token, cause) => {
                    self.scheduler.revoke(self.now, grant(name, token), cause);
                }
                Begin => self.scheduler.begin(self.now, true),
                LeaseEnds => self.scheduler.end_lease(),
                Prepare(name, version) => {
                    let preparation = preparation(name, version);
                    self.scheduler.prepare(self.now, preparation);
                }
                Withdraw(name, version) => {
                    self.scheduler.withdraw(&preparation(name, version));
                }
                BeginWithoutLease => self.scheduler.begin(self.now, false),
                Ends(name, end) => self.scheduler.finish(self.now, &key(name), end),
            }
        }
        core::iter::from_fn(|| self.scheduler.poll_action())
            .map(said)
            .collect()
    }

    /// Nothing runs, waits or is timed.
    fn rests(&self) -> bool {
        self.scheduler.is_idle() && self.scheduler.poll_timeout().is_none()
    }
}

fn said(action: Action<u64>) -> String {
    match action {
        Action::Begin(job) => {
            let name = job.callback().as_str();
            match job {
                Job::Assigned { ownership } | Job::Revoked { ownership, .. } => {
                    let Ownership { grant, guard, .. } = ownership;
                    format!("begin {name} {grant:?} with {guard}")
                }
                Job::Prepare { preparation } | Job::PrepareCancelled { preparation } => {
                    format!("begin {name} {preparation:?}")
                }
            }
        }
        Action::Cut {
            partition,
            callback,
            why,
        } => format!("cut {} of {partition}: {why:?}", callback.as_str()),
        Action::Revoking(guard) => format!("{guard} revoking"),
        Action::Invalidate(guard) => format!("{guard} invalid"),
        Action::Release(grant) => format!("release {grant:?}"),
        Action::Processing { grant, failing } => match failing {
            Some(reason) => format!("{grant:?} cannot begin: {reason}"),
            None => format!("{grant:?} has begun"),
        },
        Action::AssignFailed {
            grant,
            failures,
            reason,
            pause,
        } => format!("{grant:?} failed {failures}, again after {pause:?}: {reason}"),
        Action::Panicked {
            partition,
            callback,
            message,
        } => format!("{} of {partition} panicked: {message}", callback.as_str()),
        Action::Prepared {
            preparation,
            failing,
        } => match failing {
            Some(reason) => format!("{preparation:?} cannot be taken: {reason}"),
            None => format!("{preparation:?} is ready"),
        },
        Action::PrepareTimedOut(preparation) => format!("{preparation:?} timed out"),
        Action::DrainTimedOut(grant) => format!("{grant:?} timed out"),
    }
}

fn failed() -> End {
    End::Failed("no database".to_owned())
}

/// Plays rows one after the other; each says what is to be done after it.
#[track_caller]
fn table(played: &mut Played, rows: &[(&[Happens], &[&str])]) {
    for (happens, expected) in rows {
        assert_eq!(played.play(happens), *expected, "after {happens:?}");
    }
}

/// A scheduler that has begun with these.
fn begun(names: &[&'static str]) -> Played {
    let mut played = Played::new();
    for name in names {
        played.play(&[Assign(name, 1), Begin, Ends(name, End::Returned)]);
    }
    played
}

/// Ordinary life; a release before the callback's end would let two workers process at once.
#[test]
fn a_revoked_partition_is_released_when_its_callback_has_ended() {
    let mut played = Played::new();
    table(
        &mut played,
        &[
            (&[Assign("p", 1)], &[]),
            (&[Begin], &["begin on_assigned p@1 with 1"]),
            (&[Ends("p", End::Returned)], &[]),
            (&[Revoke("p", 1, Reassigned)], &["1 revoking"]),
            (&[Begin], &["begin on_revoked p@1 with 1"]),
            (&[At(4999)], &[]),
            (&[Ends("p", End::Returned)], &["1 invalid", "release p@1"]),
            (&[At(60_000), Begin], &[]),
        ],
    );
    assert!(played.rests() && played.scheduler.slots.is_empty());
}

/// A handler that hangs must not keep a partition from the rest of the group for ever.
#[test]
fn a_drain_that_takes_too_long_is_released_with_its_guard_invalid_first() {
    let mut played = begun(&["p"]);
    let gives_up = [
        "1 invalid",
        "release p@1",
        "p@1 timed out",
        "cut on_revoked of p: Limit",
    ];
    table(
        &mut played,
        &[
            (
                &[Revoke("p", 1, Reassigned), Begin],
                &["1 revoking", "begin on_revoked p@1 with 1"],
            ),
            (&[At(4999)], &[]),
            (&[At(5000)], &gives_up),
            (&[Ends("p", End::Cut)], &[]),
        ],
    );
    assert!(played.rests());
}

/// A callback that hangs keeps its place until it has really ended: else more would run than allowed,
/// and the next owner's callback beside the last one of the old.
#[test]
fn the_place_and_the_partition_of_a_hung_callback_are_free_when_its_future_is_dropped() {
    let mut played = begun(&["a", "b", "c"]);
    played.play(&[
        Revoke("a", 1, Reassigned),
        Revoke("b", 1, Reassigned),
        Revoke("c", 1, Reassigned),
        Begin,
    ]);
    played.play(&[At(5000)]);
    table(
        &mut played,
        &[
            (&[Assign("a", 2), Begin], &[]),
            (
                &[Ends("a", End::Cut), Begin],
                &[
                    "begin on_revoked c@1 with 3",
                    "begin on_assigned a@2 with 4",
                ],
            ),
            // It began late and has a limit of its own.
            (&[At(9999)], &[]),
            (&[At(10_000)], &["cut on_revoked of c: Limit"]),
            (&[Ends("c", End::Returned), Ends("b", End::Cut)], &[]),
        ],
    );
}

/// Slow loading must not hold up a handoff; what began must still be told to end.
#[test]
fn a_slow_assignment_is_cut_short_when_its_revocation_has_waited_too_long() {
    let mut played = Played::new();
    played.play(&[Assign("p", 1), Begin]);
    let gives_up = [
        "cut on_assigned of p: Drain",
        "1 invalid",
        "release p@1",
        "p@1 timed out",
    ];
    table(
        &mut played,
        &[
            (&[Revoke("p", 1, Reassigned), Begin], &["1 revoking"]),
            (&[At(5000), Begin], &gives_up),
            (
                &[Ends("p", End::Cut), Begin],
                &["begin on_revoked p@1 with 1"],
            ),
            (&[Ends("p", End::Returned)], &[]),
        ],
    );
    assert!(played.rests());
}

/// Hanging assignments fill their lane; revocations must get through all the same.
#[test]
fn so_many_of_each_kind_run_and_revocations_do_not_wait_for_assignments() {
    let mut played = begun(&["a"]);
    table(
        &mut played,
        &[
            (
                &[Assign("b", 1), Assign("c", 1), Assign("d", 1), Begin],
                &[
                    "begin on_assigned b@1 with 2",
                    "begin on_assigned c@1 with 3",
                ],
            ),
            (
                &[Revoke("a", 1, Stopping), Begin],
                &["1 revoking", "begin on_revoked a@1 with 1"],
            ),
            (
                &[Ends("c", End::Returned), Begin],
                &["begin on_assigned d@1 with 4"],
            ),
        ],
    );
}

/// What never began has nothing to end, and the core waits for its release.
#[test]
fn a_revocation_before_the_turn_of_on_assigned_takes_it_back() {
    let mut played = Played::new();
    let released = ["1 revoking", "1 invalid", "release p@1"];
    table(
        &mut played,
        &[
            (&[Assign("p", 1), BeginWithoutLease], &[]),
            (&[Revoke("p", 1, Reassigned)], &released),
            (&[Begin], &[]),
        ],
    );
    assert!(played.rests() && played.scheduler.slots.is_empty());
}

/// A lost lease may not be relied on for the time of the drain.
#[test]
fn a_lost_lease_invalidates_the_guard_before_the_drain() {
    for cause in [LeaseLost, IdentityLost] {
        let played = begun(&["p"]).play(&[Revoke("p", 1, cause), BeginWithoutLease]);
        assert_eq!(played, ["1 invalid", "begin on_revoked p@1 with 1"]);
    }
}

/// A worker that lost its session while it drained a partition had a valid guard of it again with the
/// next session's lease, beside that of the new owner.
#[test]
fn what_is_being_revoked_when_the_lease_ends_is_invalid_for_good() {
    let mut played = begun(&["p", "q"]);
    played.play(&[Revoke("p", 1, Reassigned), Begin]);
    assert_eq!(played.play(&[LeaseEnds]), ["1 invalid"]);
    let released = played.play(&[Ends("p", End::Returned), LeaseEnds]);
    assert_eq!(released, ["1 invalid", "release p@1"]);
}

/// After a blocked runtime the lease is over before the core has noticed: work would begin that
/// somebody else may be doing already.
#[test]
fn no_assignment_begins_without_a_lease() {
    let mut played = Played::new();
    table(
        &mut played,
        &[
            (&[Assign("p", 1), BeginWithoutLease], &[]),
            (&[Begin], &["begin on_assigned p@1 with 1"]),
        ],
    );
}

/// The guard can become invalid between the turn of the callback and the moment it would begin.
#[test]
fn a_callback_that_found_its_guard_invalid_waits_or_is_released() {
    let mut played = Played::new();
    played.play(&[Assign("p", 1), Begin]);
    table(
        &mut played,
        &[
            (&[Ends("p", End::NotBegun), BeginWithoutLease], &[]),
            (&[Begin], &["begin on_assigned p@1 with 1"]),
            // It may have begun.
            (&[Revoke("p", 1, LeaseLost)], &["1 invalid"]),
            (
                &[Ends("p", End::NotBegun), Begin],
                &["1 invalid", "release p@1"],
            ),
        ],
    );
    assert!(played.rests());
}

/// A core that asks for what is not there must get its answer, or the handoff never ends.
#[test]
fn revoking_what_is_not_held_is_released_at_once() {
    let mut played = Played::new();
    played.play(&[Assign("p", 2)]);
    let released = played.play(&[Revoke("p", 1, Reassigned), Revoke("q", 1, Stopping)]);
    assert_eq!(released, ["release p@1", "release q@1"]);
    assert_eq!(played.play(&[Begin]), ["begin on_assigned p@2 with 1"]);
}

/// A panic that is swallowed is a partition nobody processes and nobody knows of.
#[test]
fn a_panic_is_told_and_counts_as_failed_or_as_returned() {
    let mut played = Played::new();
    played.play(&[Assign("p", 1), Begin]);
    let boom = || "boom".to_owned();
    let assigned = [
        "on_assigned of p panicked: boom",
        "p@1 failed 1, again after 1s: it panicked: boom",
    ];
    let revoked = ["on_revoked of p panicked: boom", "1 invalid", "release p@1"];
    let begins = ["1 revoking", "begin on_revoked p@1 with 1"];
    table(
        &mut played,
        &[
            (&[Ends("p", End::Panicked(boom()))], &assigned),
            (&[Revoke("p", 1, Reassigned), Begin], &begins),
            (&[Ends("p", End::CutPanicking(boom()))], &revoked),
        ],
    );
    assert!(played.rests());
}

/// A session that resumes after a short outage gets its grants again, with the same tokens; a limit
/// left over from before would take them all away a few seconds later.
#[test]
fn the_limit_of_an_ownership_that_was_released_in_time_ends_no_later_one() {
    let mut played = begun(&["p"]);
    played.play(&[
        Revoke("p", 1, LeaseLost),
        Begin,
        Ends("p", End::Returned),
        Assign("p", 1),
        Begin,
        Ends("p", End::Returned),
    ]);
    assert!(played.rests());
    assert_eq!(played.play(&[At(5000), At(10_000)]), [""; 0]);
    assert_eq!(played.play(&[Revoke("p", 1, Stopping)]), ["2 revoking"]);
}

/// As above, when it is the callback itself that ends late.
#[test]
fn a_callback_that_ends_late_releases_no_later_ownership() {
    let mut played = begun(&["p"]);
    played.play(&[Revoke("p", 1, LeaseLost), Begin, At(5000), Assign("p", 1)]);
    table(
        &mut played,
        &[
            (&[Ends("p", End::Returned)], &[]),
            (&[Begin], &["begin on_assigned p@1 with 2"]),
        ],
    );
}

/// A worker that stops must end everything it began, in whatever stage that is, and nothing else.
#[test]
fn a_stop_ends_what_has_begun_and_takes_back_what_has_not() {
    let mut played = begun(&["processed"]);
    played.play(&[Assign("failed", 1), Begin, Ends("failed", failed())]);
    played.play(&["hangs", "begins", "waits"].map(|name| Assign(name, 1)));
    played.play(&[Begin]);
    let names = ["processed", "failed", "hangs", "begins", "waits"];
    let stop = played.play(&names.map(|name| Revoke(name, 1, Stopping)));
    let waiting = ["5 revoking", "5 invalid", "release waits@1"];
    assert_eq!(stop[4..], waiting);
    let first = played.play(&[Begin]);
    assert_eq!(
        first,
        [
            "begin on_revoked processed@1 with 1",
            "begin on_revoked failed@1 with 2"
        ]
    );
    let ended = [
        Ends("processed", End::Returned),
        Ends("failed", End::Returned),
    ];
    assert_eq!(played.play(&ended).len(), 4);
    let second = played.play(&[Ends("begins", End::Returned), Begin]);
    assert_eq!(second, ["begin on_revoked begins@1 with 4"]);
    let hangs = played.play(&[Ends("begins", End::Returned), At(5000)]);
    assert!(hangs.contains(&"cut on_assigned of hangs: Drain".to_owned()));
    assert!(!played.scheduler.is_idle());
    let last = played.play(&[Ends("hangs", End::Cut), Begin]);
    assert_eq!(last, ["begin on_revoked hangs@1 with 3"]);
    played.play(&[Ends("hangs", End::Returned)]);
    assert!(played.rests() && played.scheduler.slots.is_empty());
}

/// A report that comes twice, or for what is not there, would free a place that is taken.
#[test]
fn an_end_that_nobody_waits_for_is_ignored() {
    let mut played = begun(&["p"]);
    let twice = [Ends("p", End::Returned), Ends("q", End::Returned)];
    assert_eq!(played.play(&twice), [""; 0]);
    assert_eq!(played.scheduler.assigning.running, 0);
}
