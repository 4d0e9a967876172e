//! Callbacks in tokio: carries out what the callback scheduler of the core decides.
//!
//! It is separate from the driver because it is all that production adds to those decisions: guards that
//! other threads look at, and futures that are dropped when they are told to be cut short. What always
//! holds: a guard is invalid before the release of its partition can be taken.

use std::collections::BTreeMap;

use parti_core::callbacks::{Action, Callback, CutReason, End, Limits, Pending, Scheduler};
use parti_core::{Event, Grant, Instant, PartitionKey, Preparation, RevokeCause};
use tokio::sync::oneshot;

use crate::handler::guard::Guard;
use crate::observe::subscription::ManagerNotice;
use crate::shell::planted::{Bugs, ShellBug};

/// What a callback is about.
pub(crate) type Job = parti_core::callbacks::Job<Guard>;

/// A callback to begin now.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) job: Job,
    /// Resolves when the callback is to be cut short.
    pub(crate) cut: oneshot::Receiver<()>,
}

/// A callback that has ended, in whatever way.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) job: Job,
    pub(crate) end: End,
}

/// The callbacks of this worker, and what there is to say of them.
#[derive(Debug)]
pub(crate) struct Callbacks {
    scheduler: Scheduler<Guard>,
    bugs: Bugs,
    /// What runs. A sender is dropped to cut its callback short.
    running: BTreeMap<PartitionKey, oneshot::Sender<()>>,
    calls: Vec<Call>,
    released: Vec<Grant>,
    told: Vec<Event>,
    notices: Vec<ManagerNotice>,
}

impl Callbacks {
    pub(crate) fn new(limits: Limits, bugs: Bugs) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            bugs,
            running: BTreeMap::new(),
            calls: Vec::new(),
            released: Vec::new(),
            told: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// A partition was granted to this worker.
    pub(crate) fn assign(&mut self, now: Instant, guard: Guard) {
        self.scheduler.assign(now, guard.grant().clone(), guard);
        self.follow();
    }

    /// A grant is taken back.
    pub(crate) fn revoke(&mut self, now: Instant, grant: Grant, cause: RevokeCause) {
        self.scheduler.revoke(now, grant, cause);
        self.follow();
    }

    /// Partitions are to be got ready for.
    pub(crate) fn prepare(&mut self, now: Instant, preparations: Vec<Preparation>) {
        for preparation in preparations {
            self.scheduler.prepare(now, preparation);
        }
        self.follow();
    }

    /// Preparations are of no more use.
    pub(crate) fn withdraw(&mut self, preparations: &[Preparation]) {
        for preparation in preparations {
            self.scheduler.withdraw(preparation);
        }
        self.follow();
    }

    /// There is no lease.
    pub(crate) fn end_lease(&mut self) {
        self.scheduler.end_lease();
        self.follow();
    }

    /// A callback has ended.
    pub(crate) fn finish(&mut self, now: Instant, finished: Finished) {
        let key = finished.job.partition();
        self.running.remove(key);
        self.scheduler.finish(now, key, finished.end);
        self.follow();
    }

    /// Time has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.scheduler.expire(now);
        self.follow();
    }

    /// The callbacks to begin now.
    pub(crate) fn calls(&mut self, now: Instant, lease_lasts: bool) -> Vec<Call> {
        self.scheduler.begin(now, lease_lasts);
        self.follow();
        std::mem::take(&mut self.calls)
    }

    /// When [`Callbacks::expire`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.scheduler.poll_timeout()
    }

    /// What is owned and not processed, if anything.
    pub(crate) fn pending(&self) -> Option<Pending> {
        self.scheduler.pending()
    }

    /// Whether no callback runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    /// What has been released since the last call.
    pub(crate) fn take_released(&mut self) -> Vec<Grant> {
        std::mem::take(&mut self.released)
    }

    /// What the core is to know of partitions that cannot be processed here, since the last call.
    pub(crate) fn take_told(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.told)
    }

    /// What there is to tell since the last call.
    pub(crate) fn take_notices(&mut self) -> Vec<ManagerNotice> {
        std::mem::take(&mut self.notices)
    }

    /// Carries out what the scheduler says.
    fn follow(&mut self) {
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Begin(job) => {
                    if let Job::Revoked { ownership, .. } = &job
                        && self.bugs.has(ShellBug::EarlyRelease)
                    {
                        self.released.push(ownership.guard.grant().clone());
                    }
                    let (sender, cut) = oneshot::channel();
                    self.running.insert(job.partition().clone(), sender);
                    self.calls.push(Call { job, cut });
                }
                Action::Cut {
                    partition,
                    callback,
                    why,
                } => {
                    if (callback, why) == (Callback::Assigned, CutReason::Drain) {
                        tracing::warn!(%partition, "on_assigned is cut short to give its partition away");
                    }
                    self.running.remove(&partition);
                }
                Action::Revoking(guard) => guard.begin_revoking(),
                Action::Invalidate(_) if self.bugs.has(ShellBug::ValidAfterRelease) => {}
                Action::Invalidate(guard) => guard.end(),
                Action::Release(grant) => self.released.push(grant),
                Action::Processing { grant, failing } => {
                    self.told.push(Event::Processing { grant, failing });
                }
                Action::Prepared {
                    preparation,
                    failing,
                } => self.told.push(Event::Prepared {
                    preparation,
                    failing,
                }),
                Action::PrepareTimedOut(Preparation { partition, version }) => {
                    let notice = ManagerNotice::PrepareTimedOut { partition, version };
                    self.notices.push(notice);
                }
                Action::AssignFailed {
                    grant: Grant { partition, token },
                    failures,
                    reason,
                    pause,
                } => self.notices.push(ManagerNotice::AssignFailed {
                    partition,
                    token,
                    failures,
                    reason,
                    pause,
                }),
                Action::Panicked {
                    partition,
                    callback,
                    message,
                } => self.notices.push(ManagerNotice::CallbackPanicked {
                    partition,
                    callback,
                    message,
                }),
                Action::DrainTimedOut(Grant { partition, token }) => {
                    let notice = ManagerNotice::DrainTimedOut { partition, token };
                    self.notices.push(notice);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parti_core::Token;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::handler::guard::Lease;
    use crate::system::clock::Clock;

    fn guard(token: u64) -> Guard {
        let partition = PartitionKey::new(["p"]).expect("valid key");
        let token = Token::new(token);
        let lease = Arc::new(Lease::new(Clock::boot()));
        lease.set(Some(Instant::FAR_FUTURE));
        Guard::new(Grant { partition, token }, lease)
    }

    fn begun(callbacks: &mut Callbacks) -> Call {
        let mut calls = callbacks.calls(Instant::ORIGIN, true);
        assert_eq!(calls.len(), 1);
        calls.remove(0)
    }

    fn finish(callbacks: &mut Callbacks, job: Job, end: End) {
        callbacks.finish(Instant::ORIGIN, Finished { job, end });
    }

    /// A guard that says what the scheduler does not decide makes two workers write at once.
    #[test]
    fn guards_follow_the_scheduler_and_are_invalid_before_a_release_is_told() {
        let mut callbacks = Callbacks::new(Limits::new(Duration::from_secs(5)), Bugs::default());
        let guard = guard(1);
        callbacks.assign(Instant::ORIGIN, guard.clone());
        let Call { job, .. } = begun(&mut callbacks);
        finish(&mut callbacks, job, End::Returned);
        let grant = guard.grant().clone();
        callbacks.revoke(Instant::ORIGIN, grant.clone(), RevokeCause::Reassigned);
        assert!(guard.is_valid() && guard.is_revoking());
        let Call { job, .. } = begun(&mut callbacks);
        assert!(callbacks.take_released().is_empty(), "still draining");
        finish(&mut callbacks, job, End::Returned);
        assert!(!guard.is_valid() && callbacks.is_idle());
        assert_eq!(callbacks.take_released(), [grant]);
    }

    /// A future that is not dropped when its time is over keeps its place for ever.
    #[test]
    fn what_is_cut_short_is_told_to_the_task_that_runs_it() {
        let drain = Duration::from_secs(5);
        let mut callbacks = Callbacks::new(Limits::new(drain), Bugs::default());
        let guard = guard(1);
        callbacks.assign(Instant::ORIGIN, guard.clone());
        let mut call = begun(&mut callbacks);
        callbacks.revoke(
            Instant::ORIGIN,
            guard.grant().clone(),
            RevokeCause::Stopping,
        );
        assert_eq!(call.cut.try_recv(), Err(TryRecvError::Empty));
        let over = Instant::ORIGIN + drain;
        assert_eq!(callbacks.deadline(), Some(over));
        callbacks.expire(over);
        assert_eq!(call.cut.try_recv(), Err(TryRecvError::Closed));
        assert!(!guard.is_valid());
        assert_eq!(callbacks.take_released(), [guard.grant().clone()]);
        let late = callbacks.take_notices();
        assert!(matches!(&late[..], [ManagerNotice::DrainTimedOut { .. }]));
        finish(&mut callbacks, call.job, End::Cut);
        assert_eq!(begun(&mut callbacks).job.callback(), Callback::Revoked);
    }
}
