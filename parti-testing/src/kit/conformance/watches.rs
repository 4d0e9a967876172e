//! Cases of watches: first the present, then one mark, then every key's changes in order.
//!
//! Intermediate values may be skipped and entries repeated, so a case waits for what must come and
//! never counts.

use parti_core::{Expect, Revision, Store, WatchScope};

use super::support::{
    commit, commit_one, entry_from, expect_eq, first_state, keys, put, tombstone, watch,
};
use super::{Case, Verdict};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a watch of an empty bucket is caught up at once",
        why: "the first worker of a group would wait for ever",
        run: |store| Box::pin(empty_bucket(store)),
    },
    Case {
        name: "a watch of keys that do not exist is caught up at once",
        why: "a worker without an assignment would wait for ever",
        run: |store| Box::pin(empty_scope(store)),
    },
    Case {
        name: "a watch begins with the present entries and not with deleted ones",
        why: "a new leader would decide on part of the group",
        run: |store| Box::pin(present_entries(store)),
    },
    Case {
        name: "the mark covers what was written before the watch",
        why: "a leader waits for its own write to come back before it decides",
        run: |store| Box::pin(mark_revision(store)),
    },
    Case {
        name: "changes come in the order of their revisions",
        why: "an old assignment would be taken for a new one",
        run: |store| Box::pin(ordered(store)),
    },
    Case {
        name: "a deletion comes as an entry without a value",
        why: "a collected session would count as a worker for ever",
        run: |store| Box::pin(deletions(store)),
    },
    Case {
        name: "a watch of keys shows these keys only",
        why: "every worker would receive what is meant for all others",
        run: |store| Box::pin(scope_keys(store)),
    },
    Case {
        name: "a key of the scope that appears later is shown",
        why: "a worker would never see its first assignment",
        run: |store| Box::pin(appears_later(store)),
    },
    Case {
        name: "two watches see the same",
        why: "a leader and a follower in one process share a connection",
        run: |store| Box::pin(two_watches(store)),
    },
    Case {
        name: "dropping a watch disturbs nobody",
        why: "a leader that steps down would blind its own process",
        run: |store| Box::pin(dropped(store)),
    },
    Case {
        name: "every write of a batch is shown",
        why: "a generation would reach only some of its workers",
        run: |store| Box::pin(batches(store)),
    },
];

fn these(keys: &[&str]) -> WatchScope {
    WatchScope::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
}

async fn empty_bucket(store: &dyn Store) -> Verdict {
    let mut watch = watch(store, WatchScope::All).await?;
    let (entries, revision) = first_state(watch.as_mut()).await?;
    expect_eq("entries", &keys(&entries), &Vec::new())?;
    expect_eq("revision", &revision, &Revision::ZERO)
}

async fn empty_scope(store: &dyn Store) -> Verdict {
    let last = commit_one(store, put("x", "1", Expect::Any)).await?;
    let mut watch = watch(store, these(&["a", "b"])).await?;
    let (entries, revision) = first_state(watch.as_mut()).await?;
    expect_eq("entries", &keys(&entries), &Vec::new())?;
    if revision > last {
        return Err(format!(
            "the mark is at {revision}, the last write at {last}"
        ));
    }
    Ok(())
}

async fn present_entries(store: &dyn Store) -> Verdict {
    for key in ["a", "b", "c"] {
        commit_one(store, put(key, "1", Expect::Any)).await?;
    }
    let revision = commit_one(store, put("a", "2", Expect::Any)).await?;
    commit_one(store, tombstone("b", Expect::Any)).await?;
    let mut watch = watch(store, WatchScope::All).await?;
    let (mut entries, _) = first_state(watch.as_mut()).await?;
    entries.retain(|entry| entry.value.is_some());
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries.dedup();
    expect_eq("keys", &keys(&entries), &vec!["a", "c"])?;
    expect_eq("value", &entries[0].value, &Some(b"2".to_vec()))?;
    expect_eq("revision", &entries[0].revision, &revision)
}

async fn mark_revision(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Any)).await?;
    let last = commit_one(store, put("b", "1", Expect::Any)).await?;
    let mut watch = watch(store, WatchScope::All).await?;
    let (_, revision) = first_state(watch.as_mut()).await?;
    expect_eq("revision", &revision, &last)
}

async fn ordered(store: &dyn Store) -> Verdict {
    let mut watch = watch(store, WatchScope::All).await?;
    first_state(watch.as_mut()).await?;
    let mut last = Revision::ZERO;
    for number in 0..50 {
        let (key, value) = (format!("k{}", number % 3), number.to_string());
        last = commit_one(store, put(&key, &value, Expect::Any)).await?;
    }
    let mut seen = Revision::ZERO;
    while seen < last {
        // Anything lower than what was seen is a repetition, which is skipped here.
        let entry = entry_from(watch.as_mut(), seen.next()).await?;
        seen = entry.revision;
        if seen == last {
            expect_eq("last value", &entry.value, &Some(b"49".to_vec()))?;
        }
    }
    Ok(())
}

async fn deletions(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Any)).await?;
    let mut watch = watch(store, WatchScope::All).await?;
    first_state(watch.as_mut()).await?;
    let gone = commit_one(store, tombstone("a", Expect::Any)).await?;
    let entry = entry_from(watch.as_mut(), gone).await?;
    expect_eq("key", &entry.key.as_str(), &"a")?;
    expect_eq("revision", &entry.revision, &gone)?;
    expect_eq("value", &entry.value, &None)
}

async fn scope_keys(store: &dyn Store) -> Verdict {
    commit_one(store, put("w.b", "0", Expect::Any)).await?;
    let mut watch = watch(store, these(&["w.a", "head"])).await?;
    let (entries, _) = first_state(watch.as_mut()).await?;
    expect_eq("entries", &keys(&entries), &Vec::new())?;
    for key in ["w", "w.b", "w.a.x", "a"] {
        commit_one(store, put(key, "1", Expect::Any)).await?;
    }
    let first = commit_one(store, put("w.a", "1", Expect::Any)).await?;
    commit_one(store, put("w.b", "2", Expect::Any)).await?;
    let second = commit_one(store, put("head", "1", Expect::Any)).await?;
    let entry = entry_from(watch.as_mut(), Revision::ZERO).await?;
    expect_eq(
        "first",
        &(entry.key.as_str(), entry.revision),
        &("w.a", first),
    )?;
    let entry = entry_from(watch.as_mut(), first.next()).await?;
    expect_eq(
        "second",
        &(entry.key.as_str(), entry.revision),
        &("head", second),
    )
}

async fn appears_later(store: &dyn Store) -> Verdict {
    let mut watch = watch(store, these(&["a"])).await?;
    first_state(watch.as_mut()).await?;
    let revision = commit_one(store, put("a", "1", Expect::Absent)).await?;
    let entry = entry_from(watch.as_mut(), revision).await?;
    expect_eq("value", &entry.value, &Some(b"1".to_vec()))
}

async fn two_watches(store: &dyn Store) -> Verdict {
    let mut one = watch(store, WatchScope::All).await?;
    let mut other = watch(store, these(&["a"])).await?;
    first_state(one.as_mut()).await?;
    first_state(other.as_mut()).await?;
    let revision = commit_one(store, put("a", "1", Expect::Any)).await?;
    let seen = entry_from(one.as_mut(), revision).await?;
    expect_eq("entry", &seen, &entry_from(other.as_mut(), revision).await?)
}

async fn dropped(store: &dyn Store) -> Verdict {
    let mut one = watch(store, WatchScope::All).await?;
    let other = watch(store, WatchScope::All).await?;
    first_state(one.as_mut()).await?;
    drop(other);
    let revision = commit_one(store, put("a", "1", Expect::Any)).await?;
    entry_from(one.as_mut(), revision).await.map(|_| ())
}

async fn batches(store: &dyn Store) -> Verdict {
    let mut watch = watch(store, WatchScope::All).await?;
    first_state(watch.as_mut()).await?;
    let writes = ["a", "b", "c"]
        .map(|key| put(key, "1", Expect::Absent))
        .to_vec();
    let revisions = commit(store, writes).await?;
    for revision in revisions {
        let entry = entry_from(watch.as_mut(), revision).await?;
        expect_eq("revision", &entry.revision, &revision)?;
    }
    Ok(())
}
