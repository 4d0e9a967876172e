//! What a change of the list answers when the store does not say what became of it: the truth.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use parti::async_trait;
use parti::sources::{KvSource, KvSourceError, PartitionSource};
use parti::store::{LocalStore, Store, StoreError, StoreErrorKind};
use parti_core::{Entry, StoreOp, StoreReply, Watch, WatchScope};

use crate::{key, numbered, partition};

/// What happens to the next commit.
enum Fate {
    /// It happens, and its answer is lost.
    Unheard,
    /// It does not happen, and nobody knows.
    Lost,
    /// It happens, its answer is lost, and somebody adds this partition before it is read again.
    Overtaken(&'static str),
    /// It does not happen, nobody knows, and somebody adds this partition before it is read again.
    LostToAnother(&'static str),
    Fail(StoreErrorKind),
}

/// A store in memory whose commits and reads go wrong as told.
#[derive(Default)]
struct Fickle {
    store: LocalStore,
    fates: Mutex<VecDeque<Fate>>,
    /// What a read of one key answers instead of the truth.
    stale: Mutex<Option<Entry>>,
}

impl Fickle {
    fn new(fates: impl IntoIterator<Item = Fate>) -> Arc<Self> {
        let fates = Mutex::new(fates.into_iter().collect());
        Arc::new(Self {
            fates,
            ..Self::default()
        })
    }

    fn fate(&self) -> Option<Fate> {
        self.fates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// Another process adds a partition.
    async fn add(&self, name: &str) {
        let other = KvSource::new(self.store.clone());
        other.add(vec![partition(name)]).await.expect("added");
    }

    fn set_stale(&self, entry: Option<Entry>) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }
}

#[async_trait]
impl Store for Fickle {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let stale = self
            .stale
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let (StoreOp::Get { .. }, Some(entry)) = (&op, stale) {
            return Ok(StoreReply::Entry(Some(entry)));
        }
        let is_commit = matches!(op, StoreOp::Commit { .. });
        let Some(fate) = is_commit.then(|| self.fate()).flatten() else {
            return self.store.execute(op).await;
        };
        let kind = match fate {
            Fate::Unheard => {
                self.store.execute(op).await?;
                StoreErrorKind::Unknown
            }
            Fate::Overtaken(name) => {
                self.store.execute(op).await?;
                self.add(name).await;
                StoreErrorKind::Unknown
            }
            Fate::LostToAnother(name) => {
                self.add(name).await;
                StoreErrorKind::Unknown
            }
            Fate::Lost => StoreErrorKind::Unknown,
            Fate::Fail(kind) => kind,
        };
        Err(StoreError::new(kind, "as the script says"))
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(scope).await
    }
}

/// An answer that is lost must neither lose the change nor make it twice.
#[tokio::test(start_paused = true)]
async fn a_change_with_an_unknown_outcome_is_made_exactly_once() {
    let cases = [
        (vec![Fate::Unheard], vec!["p0", "new"]),
        (vec![Fate::Lost], vec!["p0", "new"]),
        (vec![Fate::Lost, Fate::Unheard], vec!["p0", "new"]),
        (vec![Fate::Overtaken("x")], vec!["p0", "new", "x"]),
        (vec![Fate::Fail(StoreErrorKind::Refused)], vec!["p0", "new"]),
        (
            vec![Fate::Fail(StoreErrorKind::Unavailable)],
            vec!["p0", "new"],
        ),
    ];
    for (fates, expected) in cases {
        let store = Fickle::new([]);
        let source = KvSource::new(Arc::clone(&store) as Arc<dyn Store>);
        source.create(numbered(1)).await.expect("stored");
        store.fates.lock().expect("no panic").extend(fates);
        let answered = source.add(vec![partition("new")]).await.expect("added");
        let stored = source.partitions().await.expect("stored");
        assert_eq!(answered, stored);
        let names: Vec<_> = stored.iter().map(|p| p.key.to_string()).collect();
        assert_eq!(names, expected);
    }
}

/// Giving up must say what is known: nothing written, or perhaps written.
#[tokio::test(start_paused = true)]
async fn giving_up_says_what_it_leaves_behind() {
    let repeated = |fate: fn() -> Fate| Fickle::new((0..100).map(move |_| fate()));
    let refused = repeated(|| Fate::Fail(StoreErrorKind::Refused));
    let error = KvSource::new(refused).create(numbered(1)).await;
    assert!(
        matches!(error, Err(KvSourceError::Conflict { tries: 20 })),
        "{error:?}"
    );
    let lost = repeated(|| Fate::Lost);
    let error = KvSource::new(lost).create(numbered(1)).await;
    assert!(
        matches!(error, Err(KvSourceError::Unsettled { .. })),
        "{error:?}"
    );
    let away = repeated(|| Fate::Fail(StoreErrorKind::Unavailable));
    let error = KvSource::new(away).create(numbered(1)).await;
    assert!(matches!(error, Err(KvSourceError::Store(_))), "{error:?}");
    let denied = Fickle::new([Fate::Fail(StoreErrorKind::Rejected)]);
    let error = KvSource::new(denied).create(numbered(1)).await;
    assert!(
        matches!(error, Err(KvSourceError::Store(_))),
        "no second try: {error:?}"
    );
}

/// "Others were first" for a change that is stored makes a program do it again, or undo what it should not.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_given_up_after_an_unclear_try_tells_what_became_of_that() {
    use KvSourceError::{Conflict, Unsettled};
    type Is = fn(&Result<Vec<parti::Partition>, KvSourceError>) -> bool;
    let refusals = || (0..100).map(|_| Fate::Fail(StoreErrorKind::Refused));
    let stored: Is = |answer| answer.is_ok();
    let not_stored: Is = |answer| matches!(answer, Err(Conflict { tries: 20 }));
    let unknown: Is = |answer| matches!(answer, Err(Unsettled { tries: 20, .. }));
    let denied: Is = |answer| matches!(answer, Err(KvSourceError::Store(_)));
    let may_be: Is = |answer| matches!(answer, Err(Unsettled { tries: 2, .. }));
    let reject = || Fate::Fail(StoreErrorKind::Rejected);
    let mut last = refusals().take(19).collect::<Vec<_>>();
    last.push(Fate::Unheard);
    let cases: [(&str, Vec<Fate>, Is); 7] = [
        ("stored by the last try", last, stored),
        ("stored, then others", vec![Fate::Overtaken("x")], stored),
        (
            "others before it",
            [Fate::LostToAnother("x")]
                .into_iter()
                .chain(refusals())
                .collect(),
            not_stored,
        ),
        (
            "it may come yet",
            [Fate::Lost].into_iter().chain(refusals()).collect(),
            unknown,
        ),
        (
            "denied, and it may come yet",
            vec![Fate::Lost, reject()],
            may_be,
        ),
        (
            "denied, and others before it",
            vec![Fate::LostToAnother("x"), reject()],
            denied,
        ),
        ("denied", vec![reject()], denied),
    ];
    for (what, fates, is) in cases {
        let store = Fickle::new([]);
        let source = KvSource::new(Arc::clone(&store) as Arc<dyn Store>);
        source.create(numbered(1)).await.expect("stored");
        store.fates.lock().expect("no panic").extend(fates);
        let answered = source.add(vec![partition("new")]).await;
        assert!(is(&answered), "{what}: {answered:?}");
        let list = source.partitions().await.expect("stored");
        let is_stored = list.iter().any(|p| p.key == key("new"));
        assert_eq!(is_stored, answered.is_ok(), "{what}");
    }
}

/// A program that is told "there is a list already" does not look whether that list is its own.
#[tokio::test(start_paused = true)]
async fn a_mistake_found_after_an_unclear_try_is_told_only_when_that_try_is_ruled_out() {
    let store = Fickle::new([]);
    let source = KvSource::new(Arc::clone(&store) as Arc<dyn Store>);
    source.create(numbered(1)).await.expect("stored");
    let fates = || store.fates.lock().expect("no panic");
    // Another adds the same one first: what is stored proves that the unclear try came too late.
    fates().push_back(Fate::LostToAnother("new"));
    let answered = source.add(vec![partition("new")]).await;
    let listed = KvSourceError::AlreadyListed { key: key("new") };
    assert_eq!(answered, Err(listed));
    // The list is deleted and made again meanwhile: nothing tells what was in between.
    let fresh = Fickle::new([Fate::Unheard]);
    let source = KvSource::new(Arc::clone(&fresh) as Arc<dyn Store>);
    let create = source.create(numbered(2));
    let meanwhile = async {
        tokio::task::yield_now().await;
        let key = "src".to_owned();
        let (value, expect) = (None, parti_core::Expect::Any);
        let writes = vec![parti_core::Write { key, value, expect }];
        let deleted = fresh.store.execute(StoreOp::Commit { writes }).await;
        deleted.expect("deleted");
        let other = KvSource::new(fresh.store.clone());
        other.create(numbered(3)).await.expect("another list");
    };
    let (answered, ()) = tokio::join!(create, meanwhile);
    let unknown = matches!(answered, Err(KvSourceError::Unsettled { tries: 2, .. }));
    assert!(unknown, "{answered:?}");
}

/// A lagging replica must not bring back partitions that were removed a moment ago.
#[tokio::test(start_paused = true)]
async fn a_list_older_than_one_that_was_seen_is_refused() {
    let store = Fickle::new([]);
    let source = KvSource::new(Arc::clone(&store) as Arc<dyn Store>);
    source.create(numbered(3)).await.expect("stored");
    let src = "src".to_owned();
    let old = match store.execute(StoreOp::Get { key: src }).await {
        Ok(StoreReply::Entry(Some(entry))) => entry,
        other => panic!("{other:?}"),
    };
    source.remove(&[key("p0")]).await.expect("removed");
    assert_eq!(source.list().await.expect("there").len(), 2);
    store.set_stale(Some(old));
    let error = source.list().await.expect_err("older").to_string();
    assert!(
        error.contains("revision 1") && error.contains("2 was seen"),
        "{error}"
    );
    store.set_stale(None);
    assert_eq!(source.list().await.expect("there").len(), 2);
}
