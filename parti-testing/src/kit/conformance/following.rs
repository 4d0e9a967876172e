//! Cases of watches that are slow, narrow, or begin in the middle of changes.

use core::time::Duration;
use std::collections::BTreeMap;

use futures_util::future::join;
use parti_core::{Expect, Revision, Store, Watch, WatchEvent, WatchScope};

use super::support::{
    commit, commit_one, entry_from, expect_eq, first_state, keys, put, tombstone, watch,
};
use super::{Case, Verdict, timer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a watch of no keys is caught up and then silent",
        why: "it would be taken for a watch of everything",
        run: |store| Box::pin(no_keys(store)),
    },
    Case {
        name: "a key may be named twice in a scope",
        why: "a leader watches its own record and that of the leader",
        run: |store| Box::pin(named_twice(store)),
    },
    Case {
        name: "a new watch shows the last write of each key and none before it",
        why: "a new leader would act on records that were replaced",
        run: |store| Box::pin(last_only(store)),
    },
    Case {
        name: "a watch that is not read for long misses no last value",
        why: "a worker that was busy would keep an assignment that was taken away",
        run: |store| Box::pin(slow_reader(store)),
    },
    Case {
        name: "a watch that begins while keys are rewritten loses none of them",
        why: "sessions are renewed all the time; a missing one would be taken for dead",
        run: |store| Box::pin(rewritten(store)),
    },
    Case {
        name: "a deletion and what is written after it come in this order",
        why: "a session that was claimed again would be taken for collected",
        run: |store| Box::pin(deleted_and_written(store)),
    },
    Case {
        name: "giving up the wait for an event loses none",
        why: "a driver that waits for several things would miss an assignment",
        run: |store| Box::pin(given_up(store)),
    },
];

async fn no_keys(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Any)).await?;
    let mut watch = watch(store, WatchScope::Keys(Vec::new())).await?;
    let (entries, _) = first_state(watch.as_mut()).await?;
    expect_eq("entries", &keys(&entries), &Vec::new())?;
    commit_one(store, put("a", "2", Expect::Any)).await?;
    let event = timer::within(Duration::from_millis(100), watch.next()).await;
    expect_eq("event", &event, &None)
}

async fn named_twice(store: &dyn Store) -> Verdict {
    let names = ["a", "b", "a"].map(str::to_owned).to_vec();
    let mut watch = watch(store, WatchScope::Keys(names)).await?;
    first_state(watch.as_mut()).await?;
    for key in ["a", "b"] {
        let revision = commit_one(store, put(key, "1", Expect::Any)).await?;
        let entry = entry_from(watch.as_mut(), revision).await?;
        expect_eq("key", &entry.key.as_str(), &key)?;
    }
    Ok(())
}

async fn last_only(store: &dyn Store) -> Verdict {
    for round in 0..10 {
        for key in ["a", "b", "c"] {
            commit_one(store, put(key, &round.to_string(), Expect::Any)).await?;
        }
    }
    let mut watch = watch(store, WatchScope::All).await?;
    let (mut entries, _) = first_state(watch.as_mut()).await?;
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries.dedup();
    expect_eq("keys", &keys(&entries), &vec!["a", "b", "c"])?;
    for entry in entries {
        expect_eq(&entry.key, &entry.value, &Some(b"9".to_vec()))?;
    }
    Ok(())
}

async fn slow_reader(store: &dyn Store) -> Verdict {
    let mut watch = watch(store, WatchScope::All).await?;
    let mut last = Vec::new();
    for round in 0..20 {
        let name = |number| format!("k.{number}");
        let text = round.to_string();
        let writes = (0..100).map(|number| put(&name(number), &text, Expect::Any));
        last = commit(store, writes.collect()).await?;
    }
    let wanted = last.last().copied().unwrap_or(Revision::ZERO);
    let mut shown = BTreeMap::new();
    let mut highest = Revision::ZERO;
    while highest < wanted {
        match watch.next().await {
            WatchEvent::Entry(entry) => {
                highest = highest.max(entry.revision);
                shown.insert(entry.key, entry.revision);
            }
            // Also as the first event: the watch may have begun after all of it was read.
            WatchEvent::CaughtUp { .. } => {}
            WatchEvent::Lost { reason } => return Err(format!("the watch was lost: {reason}")),
        }
    }
    let mut revisions: Vec<_> = shown.into_values().collect();
    revisions.sort_unstable();
    expect_eq("last revisions", &revisions, &last)
}

async fn rewritten(store: &dyn Store) -> Verdict {
    let name = |number: u32| format!("w.{number}");
    let born = (0..50).map(|number| put(&name(number), "0", Expect::Absent));
    let born = commit(store, born.collect()).await?;
    let writing = async {
        for number in 0..200 {
            commit_one(store, put(&name(number % 50), "1", Expect::Any)).await?;
        }
        commit_one(store, put("last", "1", Expect::Any)).await
    };
    let watching = async {
        let mut watches = Vec::new();
        for _ in 0..5 {
            let mut watch = watch(store, WatchScope::All).await?;
            let (entries, _) = first_state(watch.as_mut()).await?;
            watches.push((watch, entries));
        }
        Ok::<_, String>(watches)
    };
    let (last, watches) = join(writing, watching).await;
    let last = last?;
    for (mut watch, entries) in watches? {
        // A key that was rewritten while the present was delivered may come after the mark.
        let mut shown: BTreeMap<String, Revision> = BTreeMap::new();
        for entry in entries {
            shown.insert(entry.key, entry.revision);
        }
        while shown.get("last") != Some(&last) {
            let entry = entry_from(watch.as_mut(), Revision::ZERO).await?;
            shown.insert(entry.key, entry.revision);
        }
        expect_eq("keys", &shown.len(), &51)?;
        let newest = born.last().copied().unwrap_or(Revision::ZERO);
        if let Some(old) = shown.iter().find(|(_, revision)| **revision <= newest) {
            return Err(format!("the last write of {old:?} was not shown"));
        }
    }
    Ok(())
}

async fn deleted_and_written(store: &dyn Store) -> Verdict {
    let mut watch = watch(store, WatchScope::All).await?;
    first_state(watch.as_mut()).await?;
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    let gone = commit_one(store, tombstone("a", Expect::Revision(first))).await?;
    let again = commit_one(store, put("a", "2", Expect::Absent)).await?;
    let mut seen = Revision::ZERO;
    while seen < again {
        let entry = entry_from(watch.as_mut(), seen.next()).await?;
        seen = entry.revision;
        let wanted = match seen {
            revision if revision == first => Some(b"1".to_vec()),
            revision if revision == gone => None,
            _ => Some(b"2".to_vec()),
        };
        expect_eq("value", &entry.value, &wanted)?;
    }
    expect_eq("last", &seen, &again)
}

async fn given_up(store: &dyn Store) -> Verdict {
    let mut watch = watch(store, WatchScope::All).await?;
    first_state(watch.as_mut()).await?;
    let mut last = Revision::ZERO;
    for number in 0..30_u64 {
        let key = format!("k.{number}");
        last = commit_one(store, put(&key, "1", Expect::Absent)).await?;
    }
    let mut shown = Vec::new();
    while shown.last() != Some(&last) {
        let patience = Duration::from_micros(20);
        match timer::within(patience, next_entry(watch.as_mut())).await {
            None => {}
            Some(revision) => shown.push(revision?),
        }
    }
    expect_eq("rising", &shown.is_sorted(), &true)?;
    // Entries may be repeated.
    shown.dedup();
    expect_eq("shown", &shown.len(), &30)
}

async fn next_entry(watch: &mut dyn Watch) -> Result<Revision, String> {
    match watch.next().await {
        WatchEvent::Entry(entry) => Ok(entry.revision),
        other @ (WatchEvent::CaughtUp { .. } | WatchEvent::Lost { .. }) => {
            Err(format!("{other:?} instead of an entry"))
        }
    }
}
