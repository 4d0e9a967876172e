//! Cases of reads and of the facts a store tells about itself.
//!
//! Reads may be stale by contract; one key that was written by the same client, alone, is shown at
//! once by every backend in a healthy state. A list may come from a replica that lags: it says so
//! by its revision, and is asked for again.

use parti_core::{Expect, Revision, Store, StoreInfo, StoreOp, StoreReply};

use super::support::{
    commit, commit_one, expect_eq, get, info, keys, list, list_from, put, tombstone,
};
use super::{Case, Verdict};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "get of a key that was never written finds nothing",
        why: "an error would keep a new group from starting",
        run: |store| Box::pin(get_nothing(store)),
    },
    Case {
        name: "get gives the last value with its revision",
        why: "a process could not recognise its own write",
        run: |store| Box::pin(get_last(store)),
    },
    Case {
        name: "values are opaque bytes, also empty ones",
        why: "an empty value must not look like a deletion",
        run: |store| Box::pin(opaque_values(store)),
    },
    Case {
        name: "list gives exactly the living keys of the prefix",
        why: "deleted sessions would count as workers",
        run: |store| Box::pin(list_living(store)),
    },
    Case {
        name: "a prefix ends where it says",
        why: "\"w.\" must not list a key \"w\" or \"wx\"",
        run: |store| Box::pin(list_prefix(store)),
    },
    Case {
        name: "the empty prefix lists everything",
        why: "a leader compares the whole bucket with what it knows",
        run: |store| Box::pin(list_all(store)),
    },
    Case {
        name: "list of an empty bucket is empty and has a revision",
        why: "a new group must be able to tell that it is the first",
        run: |store| Box::pin(list_empty(store)),
    },
    Case {
        name: "the revision of a list covers everything written before",
        why: "a list could hide a session and be taken as complete",
        run: |store| Box::pin(list_revision(store)),
    },
    Case {
        name: "info has the last revision, a creation time and sensible limits",
        why: "a lost bucket is recognised by them",
        run: |store| Box::pin(info_facts(store)),
    },
    Case {
        name: "creating a bucket that exists answers its facts and changes nothing",
        why: "workers that find a bucket missing would take it away from each other",
        run: |store| Box::pin(create_existing(store)),
    },
    Case {
        name: "the age of the bucket never falls and its creation time stays",
        why: "a bucket that seems new is taken for one that was lost",
        run: |store| Box::pin(age_rises(store)),
    },
];

async fn create_existing(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Absent)).await?;
    let before = info(store).await?;
    let created = match store.execute(StoreOp::Create).await {
        Ok(StoreReply::Info(info)) => info,
        other => return Err(format!("create: {other:?}")),
    };
    let facts = |info: &StoreInfo| (info.created, info.last_revision);
    expect_eq("the facts", &facts(&created), &facts(&before))?;
    expect_eq("the key", &get(store, "a").await?.is_some(), &true)
}

async fn age_rises(store: &dyn Store) -> Verdict {
    let before = info(store).await?;
    commit_one(store, put("a", "1", Expect::Absent)).await?;
    let after = info(store).await?;
    expect_eq("the creation time", &after.created, &before.created)?;
    if after.age < before.age {
        return Err(format!("{:?} old after {:?}", after.age, before.age));
    }
    Ok(())
}

async fn get_nothing(store: &dyn Store) -> Verdict {
    expect_eq("a", &get(store, "a").await?, &None)
}

async fn get_last(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Any)).await?;
    let second = commit_one(store, put("a", "2", Expect::Any)).await?;
    commit_one(store, put("b", "3", Expect::Any)).await?;
    let entry = get(store, "a").await?.ok_or("a is missing")?;
    expect_eq("key", &entry.key.as_str(), &"a")?;
    expect_eq("revision", &entry.revision, &second)?;
    expect_eq("value", &entry.value, &Some(b"2".to_vec()))
}

async fn opaque_values(store: &dyn Store) -> Verdict {
    let every_byte: Vec<u8> = (0..=255).collect();
    for bytes in [Vec::new(), vec![0], every_byte] {
        let mut write = put("a", "", Expect::Any);
        write.value = Some(bytes.clone());
        commit_one(store, write).await?;
        let entry = get(store, "a").await?.ok_or("a is missing")?;
        expect_eq("value", &entry.value, &Some(bytes))?;
    }
    Ok(())
}

async fn list_living(store: &dyn Store) -> Verdict {
    for key in ["w.a", "w.b", "w.c"] {
        commit_one(store, put(key, "1", Expect::Any)).await?;
    }
    let revision = commit_one(store, put("w.c", "2", Expect::Any)).await?;
    let gone = commit_one(store, tombstone("w.a", Expect::Any)).await?;
    let (entries, _) = list_from(store, "w.", gone).await?;
    expect_eq("keys", &keys(&entries), &vec!["w.b", "w.c"])?;
    expect_eq("value", &entries[1].value, &Some(b"2".to_vec()))?;
    expect_eq("revision", &entries[1].revision, &revision)
}

async fn list_prefix(store: &dyn Store) -> Verdict {
    let mut last = Revision::ZERO;
    for key in ["w", "wx", "w.a", "w.a.b", "v.a", "x.w.a"] {
        last = commit_one(store, put(key, "1", Expect::Any)).await?;
    }
    expect_eq(
        "w.",
        &keys(&list_from(store, "w.", last).await?.0),
        &vec!["w.a", "w.a.b"],
    )?;
    expect_eq(
        "w",
        &keys(&list_from(store, "w", last).await?.0),
        &vec!["w", "w.a", "w.a.b", "wx"],
    )?;
    expect_eq(
        "y",
        &keys(&list_from(store, "y", last).await?.0),
        &Vec::new(),
    )
}

async fn list_all(store: &dyn Store) -> Verdict {
    let mut last = Revision::ZERO;
    for key in ["head", "w.a", "a.a"] {
        last = commit_one(store, put(key, "1", Expect::Any)).await?;
    }
    expect_eq(
        "keys",
        &keys(&list_from(store, "", last).await?.0),
        &vec!["a.a", "head", "w.a"],
    )
}

async fn list_empty(store: &dyn Store) -> Verdict {
    let (entries, revision) = list(store, "").await?;
    expect_eq("keys", &keys(&entries), &Vec::new())?;
    expect_eq("revision", &revision, &Revision::ZERO)
}

async fn list_revision(store: &dyn Store) -> Verdict {
    let writes = vec![put("w.a", "1", Expect::Any), put("w.b", "1", Expect::Any)];
    commit(store, writes).await?;
    let last = commit_one(store, put("x", "1", Expect::Any)).await?;
    let (_, revision) = list(store, "w.").await?;
    // A list may know less than the store, yet never promise more than it shows.
    if revision > last {
        return Err(format!(
            "the list claims {revision}, the last write is {last}"
        ));
    }
    let (entries, _) = list_from(store, "", last).await?;
    let newest = entries.iter().map(|entry| entry.revision).max();
    expect_eq("newest", &newest, &Some(last))
}

async fn info_facts(store: &dyn Store) -> Verdict {
    let before = info(store).await?;
    expect_eq("last revision", &before.last_revision, &Revision::ZERO)?;
    let last = commit_one(store, put("a", "1", Expect::Any)).await?;
    let after = info(store).await?;
    expect_eq("last revision", &after.last_revision, &last)?;
    expect_eq("creation time", &after.created, &before.created)?;
    if after.created == 0 || after.max_batch < 2 || after.max_value < 1024 {
        return Err(format!("nothing can be built on {after:?}"));
    }
    Ok(())
}
