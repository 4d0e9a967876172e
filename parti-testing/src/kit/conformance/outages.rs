//! Cases of outages: what a store says while it is gone, and what is true when it is back.
//!
//! They are separate from the table of [`cases`](super::cases) because they need somebody who can
//! stop the store, a [`Rig`]. What always holds: a case that a rig cannot do is skipped and
//! reported as such, and every wait is for a condition with a deadline.

use core::time::Duration;

use async_trait::async_trait;
use parti_core::{Expect, Revision, Store, StoreErrorKind, StoreOp, Watch, WatchEvent, WatchScope};

use super::support::{
    attempt, commit_one, expect_eq, first_state, get, info, put, try_commit, value,
};
use super::{SuiteReport, Verdict, timer};

/// How long one case may take: a cluster may need half a minute to recover.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long recovery may take.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Why a rig did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unable {
    /// This kind of store has nothing like it; the case is skipped.
    NotHere,
    /// It was tried and failed; the case fails.
    Failed(String),
}

/// A store with somebody who can take it away. The handle stays the same all the time.
///
/// # Cancellation safety
/// A case that takes too long is dropped wherever it is, the action it waits for included, and its rig
/// with it; whatever a rig has started must end with it. An action is bounded by the time of its case.
#[async_trait]
pub trait Rig: Send {
    /// The store as a client has it.
    fn store(&self) -> &dyn Store;

    /// Kills the store, as a crash does. Its data stays.
    ///
    /// # Errors
    /// [`Unable`]; by default there is nothing to kill.
    async fn stop(&mut self) -> Result<(), Unable> {
        Err(Unable::NotHere)
    }

    /// Starts what [`Rig::stop`] or [`Rig::fail_over`] has killed.
    ///
    /// # Errors
    /// [`Unable`].
    async fn start(&mut self) -> Result<(), Unable> {
        Err(Unable::NotHere)
    }

    /// Freezes the store: it answers nothing and closes nothing.
    ///
    /// # Errors
    /// [`Unable`]; by default there is nothing to freeze.
    async fn freeze(&mut self) -> Result<(), Unable> {
        Err(Unable::NotHere)
    }

    /// Ends [`Rig::freeze`].
    ///
    /// # Errors
    /// [`Unable`].
    async fn thaw(&mut self) -> Result<(), Unable> {
        Err(Unable::NotHere)
    }

    /// Kills the replica that leads, so that another takes over.
    ///
    /// # Errors
    /// [`Unable`]; by default there are no replicas.
    async fn fail_over(&mut self) -> Result<(), Unable> {
        Err(Unable::NotHere)
    }

    /// Replaces everything by an empty store with another history.
    ///
    /// # Errors
    /// [`Unable`]; by default it cannot be done.
    async fn recreate(&mut self) -> Result<(), Unable> {
        Err(Unable::NotHere)
    }
}

enum Trouble {
    Skipped,
    Failed(String),
}

impl From<Unable> for Trouble {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::NotHere => Self::Skipped,
            Unable::Failed(why) => Self::Failed(format!("the rig failed: {why}")),
        }
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

#[derive(Clone, Copy)]
enum Case {
    Restart,
    Down,
    RestartedWatch,
    Frozen,
    FrozenWatch,
    FailOver,
    Recreated,
}

const CASES: [(Case, &str, &str); 7] = [
    (
        Case::Restart,
        "what was acknowledged before a crash is there after it, and revisions go on",
        "a generation that was acted on would be undone",
    ),
    (
        Case::Down,
        "a commit to a store that is down is not refused, and what was not sent is never there",
        "an outage would be taken for a lost race",
    ),
    (
        Case::RestartedWatch,
        "a watch goes on after a restart without a gap, or is lost",
        "a worker would keep what was taken from it during the outage",
    ),
    (
        Case::Frozen,
        "a commit to a frozen store is unknown or not sent, and the same again settles it",
        "a writer that believes it failed would act against what is stored later",
    ),
    (
        Case::FrozenWatch,
        "a watch goes on after a freeze without a gap, or is lost",
        "a worker would keep what was taken from it during the freeze",
    ),
    (
        Case::FailOver,
        "after a failover every acknowledged write is there, and revisions and watches go on",
        "a new leader of the store would give a fencing token twice",
    ),
    (
        Case::Recreated,
        "a new history has another creation time, begins again, and ends the watches of the old",
        "a group would wait for revisions that never come",
    ),
];

/// The names of the cases and what breaks without them.
pub fn outage_cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    CASES.iter().map(|(_, name, why)| (*name, *why))
}

/// Runs every case, each on a rig of its own from `make`, whose store must be empty.
///
/// # Cancellation safety
/// Dropping the future abandons the case that is running, and with it its rig. Each case is bounded
/// by two minutes, and fails then; `make` has no deadline.
pub async fn run_outages<R: Rig>(make: impl AsyncFn() -> R) -> SuiteReport {
    let mut report = SuiteReport::default();
    for (case, name, why) in CASES {
        let mut rig = make().await;
        let outcome = timer::within(OUTAGE_TIMEOUT, run(case, &mut rig)).await;
        match outcome {
            Some(Ok(())) => report.add(name, why, Ok(())),
            Some(Err(Trouble::Skipped)) => report.skipped.push(name),
            Some(Err(Trouble::Failed(reason))) => report.add(name, why, Err(reason)),
            None => {
                let reason = format!("not done after {OUTAGE_TIMEOUT:?}");
                report.add(name, why, Err(reason));
            }
        }
    }
    report
}

async fn run(case: Case, rig: &mut dyn Rig) -> Result<(), Trouble> {
    match case {
        Case::Restart => restart(rig).await,
        Case::Down => down(rig).await,
        Case::RestartedWatch => restarted_watch(rig).await,
        Case::Frozen => frozen(rig).await,
        Case::FrozenWatch => frozen_watch(rig).await,
        Case::FailOver => fail_over(rig).await,
        Case::Recreated => recreated(rig).await,
    }
}

async fn restart(rig: &mut dyn Rig) -> Result<(), Trouble> {
    let mut last = Revision::ZERO;
    for number in 0..20 {
        let key = format!("k{number}");
        last = commit_one(rig.store(), put(&key, "1", Expect::Absent)).await?;
    }
    let created = info(rig.store()).await?.created;
    rig.stop().await?;
    rig.start().await?;
    let store = rig.store();
    recovered(store).await?;
    expect_eq("creation time", &info(store).await?.created, &created)?;
    for number in 0..20 {
        let found = value(store, &format!("k{number}")).await?;
        expect_eq("value", &found, &Some("1".to_owned()))?;
    }
    let next = commit_one(store, put("k0", "2", Expect::Any)).await?;
    Ok(after(next, last)?)
}

async fn down(rig: &mut dyn Rig) -> Result<(), Trouble> {
    let first = commit_one(rig.store(), put("a", "1", Expect::Absent)).await?;
    rig.stop().await?;
    let mut not_sent = Vec::new();
    for number in 0..20 {
        let text = format!("down-{number}");
        let write = put(&text, &text, Expect::Absent);
        match attempt(rig.store(), vec![write]).await {
            Err(error) if error.kind == StoreErrorKind::Unavailable => not_sent.push(text),
            Err(error) if error.kind == StoreErrorKind::Unknown => {}
            other => return Err(format!("a dead store answered {other:?}").into()),
        }
    }
    rig.start().await?;
    let store = rig.store();
    recovered(store).await?;
    if not_sent.is_empty() {
        return Err("the store is never told to be out of reach"
            .to_owned()
            .into());
    }
    for key in not_sent {
        expect_eq(&key, &value(store, &key).await?, &None)?;
    }
    let entry = get(store, "a").await?.ok_or("a is gone".to_owned())?;
    Ok(expect_eq("a", &entry.revision, &first)?)
}

async fn restarted_watch(rig: &mut dyn Rig) -> Result<(), Trouble> {
    let mut watch = watching(rig.store()).await?;
    let before = commit_one(rig.store(), put("a", "1", Expect::Absent)).await?;
    rig.stop().await?;
    rig.start().await?;
    let store = rig.store();
    recovered(store).await?;
    commit_one(store, put("b", "1", Expect::Absent)).await?;
    let last = commit_one(store, put("a", "2", Expect::Revision(before))).await?;
    Ok(no_gap(watch.as_mut(), &["a", "b"], last).await?)
}

async fn frozen(rig: &mut dyn Rig) -> Result<(), Trouble> {
    let before = commit_one(rig.store(), put("a", "1", Expect::Absent)).await?;
    rig.freeze().await?;
    let write = put("a", "nonce", Expect::Revision(before));
    let outcome = attempt(rig.store(), vec![write.clone()]).await;
    rig.thaw().await?;
    let store = rig.store();
    match outcome {
        Err(error) if error.kind == StoreErrorKind::Unknown => {}
        Err(error) if error.kind == StoreErrorKind::Unavailable => {
            recovered(store).await?;
            expect_eq("not sent", &value(store, "a").await?, &Some("1".to_owned()))?;
        }
        other => return Err(format!("a frozen store answered {other:?}").into()),
    }
    // Either it is stored by now, or later, or sending the very same again settles it.
    settle(async || {
        drop(attempt(store, vec![write.clone()]).await);
        let found = value(store, "a").await;
        found.is_ok_and(|value| value.as_deref() == Some("nonce"))
    })
    .await?;
    let entry = get(store, "a").await?.ok_or("a is gone".to_owned())?;
    Ok(after(entry.revision, before)?)
}

async fn frozen_watch(rig: &mut dyn Rig) -> Result<(), Trouble> {
    let mut watch = watching(rig.store()).await?;
    rig.freeze().await?;
    drop(attempt(rig.store(), vec![put("a", "1", Expect::Any)]).await);
    rig.thaw().await?;
    let store = rig.store();
    recovered(store).await?;
    commit_one(store, put("a", "2", Expect::Any)).await?;
    let last = commit_one(store, put("b", "2", Expect::Any)).await?;
    Ok(no_gap(watch.as_mut(), &["a", "b"], last).await?)
}

async fn fail_over(rig: &mut dyn Rig) -> Result<(), Trouble> {
    let mut watch = watching(rig.store()).await?;
    let first = commit_one(rig.store(), put("a", "1", Expect::Absent)).await?;
    rig.fail_over().await?;
    let store = rig.store();
    recovered(store).await?;
    let entry = get(store, "a").await?.ok_or("a is gone".to_owned())?;
    expect_eq("a", &entry.revision, &first)?;
    let stale = try_commit(store, vec![put("a", "x", Expect::Absent)]).await;
    if stale.is_ok() {
        return Err("the new leader does not know the key".to_owned().into());
    }
    commit_one(store, put("b", "2", Expect::Absent)).await?;
    let last = commit_one(store, put("a", "2", Expect::Revision(first))).await?;
    after(last, first)?;
    no_gap(watch.as_mut(), &["a", "b"], last).await?;
    rig.start().await?;
    recovered(rig.store()).await?;
    let entry = get(rig.store(), "a").await?.ok_or("a is gone".to_owned())?;
    Ok(expect_eq("a", &entry.revision, &last)?)
}

async fn recreated(rig: &mut dyn Rig) -> Result<(), Trouble> {
    for number in 0..10 {
        let text = number.to_string();
        commit_one(rig.store(), put("a", &text, Expect::Any)).await?;
    }
    let mut watch = watching(rig.store()).await?;
    let created = info(rig.store()).await?.created;
    rig.recreate().await?;
    let store = rig.store();
    settle(async || info(store).await.is_ok_and(|info| info.created != created)).await?;
    expect_eq("a", &get(store, "a").await?, &None)?;
    let first = commit_one(store, put("b", "1", Expect::Absent)).await?;
    if first.get() >= 10 {
        return Err(format!("the new history begins at {first}").into());
    }
    let event = timer::within(RECOVERY_MAX, watch.next()).await;
    match event {
        Some(WatchEvent::Lost { .. }) => Ok(()),
        other => Err(format!("the old watch said {other:?}").into()),
    }
}

async fn watching(store: &dyn Store) -> Result<Box<dyn Watch>, String> {
    let watch = store.watch(WatchScope::All).await;
    let mut watch = watch.map_err(|error| format!("watch: {error}"))?;
    first_state(watch.as_mut()).await?;
    Ok(watch)
}

/// Reads the watch up to the revision: by then every key was shown, or the watch is lost.
async fn no_gap(watch: &mut dyn Watch, keys: &[&str], last: Revision) -> Verdict {
    let mut missing = keys.to_vec();
    loop {
        match timer::within(RECOVERY_MAX, watch.next()).await {
            Some(WatchEvent::Entry(entry)) => {
                missing.retain(|key| *key != entry.key);
                if entry.revision >= last {
                    return expect_eq("missing", &missing, &Vec::new());
                }
            }
            Some(WatchEvent::Lost { .. }) => return Ok(()),
            Some(WatchEvent::CaughtUp { revision }) => {
                return Err(format!("a second mark at {revision}"));
            }
            None => return Err(format!("nothing of {last} after {RECOVERY_MAX:?}")),
        }
    }
}

/// The store takes writes again.
async fn recovered(store: &dyn Store) -> Verdict {
    let write = || vec![put("recovered", "1", Expect::Any)];
    settle(async || {
        let read = store.execute(StoreOp::Info).await;
        read.is_ok() && attempt(store, write()).await.is_ok()
    })
    .await
}

async fn settle(mut condition: impl AsyncFnMut() -> bool) -> Verdict {
    let looks = RECOVERY_MAX.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        if condition().await {
            return Ok(());
        }
        timer::pause(LOOK).await;
    }
    Err(format!("not recovered after {RECOVERY_MAX:?}"))
}

fn after(later: Revision, earlier: Revision) -> Verdict {
    if later > earlier {
        Ok(())
    } else {
        Err(format!("{later} is not after {earlier}"))
    }
}

#[cfg(all(test, feature = "chaos"))]
mod tests;
