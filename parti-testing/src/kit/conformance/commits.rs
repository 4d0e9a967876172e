//! Cases of conditional commits: the one thing every safety decision rests on.

use futures_util::future::join_all;
use parti_core::{Expect, Revision, Store, StoreErrorKind};

use super::support::{
    commit, commit_one, expect_eq, fails, get, info, put, tombstone, try_commit, value,
};
use super::{Case, Verdict};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "absent creates a key that was never written",
        why: "nobody could claim an ID in a new bucket",
        run: |store| Box::pin(creates(store)),
    },
    Case {
        name: "absent is refused when the key exists",
        why: "two processes would hold the same ID",
        run: |store| Box::pin(absent_on_existing(store)),
    },
    Case {
        name: "absent writes over a tombstone",
        why: "an ID whose session was collected could never be claimed again",
        run: |store| Box::pin(absent_on_tombstone(store)),
    },
    Case {
        name: "a revision is accepted only if it is the last one of the key",
        why: "a deposed leader would overwrite its successor",
        run: |store| Box::pin(right_revision_only(store)),
    },
    Case {
        name: "the revision of a tombstone can be expected",
        why: "a claim over a collected session could not be conditional",
        run: |store| Box::pin(revision_of_tombstone(store)),
    },
    Case {
        name: "any writes whatever is there",
        why: "a leader could not replace records it owns",
        run: |store| Box::pin(any_writes(store)),
    },
    Case {
        name: "a batch with one broken expectation changes nothing",
        why: "a torn generation gives one partition to two workers",
        run: |store| Box::pin(all_or_nothing(store)),
    },
    Case {
        name: "a batch is applied whole, with rising revisions in its order",
        why: "a worker could not tell which generation its record belongs to",
        run: |store| Box::pin(whole_batch(store)),
    },
    Case {
        name: "a refused commit leaves the revisions as they are",
        why: "a refusal must prove that nothing was written",
        run: |store| Box::pin(refusal_leaves_no_trace(store)),
    },
    Case {
        name: "an empty commit is rejected",
        why: "it would be answered by a success that proves nothing",
        run: |store| Box::pin(rejects_empty(store)),
    },
    Case {
        name: "a commit that writes a key twice is rejected",
        why: "its conditions would contradict each other",
        run: |store| Box::pin(rejects_duplicates(store)),
    },
    Case {
        name: "a value over the announced limit is rejected and nothing is written",
        why: "a leader that retries it for ever does not do its job",
        run: |store| Box::pin(rejects_large_values(store)),
    },
    Case {
        name: "a batch over the announced limit is rejected and nothing is written",
        why: "a large generation would be torn",
        run: |store| Box::pin(rejects_large_batches(store)),
    },
    Case {
        name: "a batch of one hundred writes is one commit",
        why: "a generation of a large group must be atomic",
        run: |store| Box::pin(batch_of_hundred(store)),
    },
    Case {
        name: "a key outside the alphabet is rejected",
        why: "a crafted key could reach outside the bucket",
        run: |store| Box::pin(rejects_bad_keys(store)),
    },
    Case {
        name: "of many concurrent claims of a new key exactly one succeeds",
        why: "a group would have two leaders in one term",
        run: |store| Box::pin(one_winner(store, Expect::Absent, Revision::ZERO)),
    },
    Case {
        name: "of many concurrent updates from one revision exactly one succeeds",
        why: "two generations would have the same predecessor",
        run: |store| Box::pin(one_update(store)),
    },
    Case {
        name: "revisions rise across keys",
        why: "evidence about one key could not be ordered against another",
        run: |store| Box::pin(rising_revisions(store)),
    },
];

async fn creates(store: &dyn Store) -> Verdict {
    let revision = commit_one(store, put("a", "1", Expect::Absent)).await?;
    if revision == Revision::ZERO {
        return Err("the first write has revision zero, which means never written".to_owned());
    }
    expect_eq("a", &value(store, "a").await?, &Some("1".to_owned()))
}

async fn absent_on_existing(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Absent)).await?;
    fails(
        store,
        vec![put("a", "2", Expect::Absent)],
        StoreErrorKind::Refused,
    )
    .await?;
    expect_eq("a", &value(store, "a").await?, &Some("1".to_owned()))
}

async fn absent_on_tombstone(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    commit_one(store, tombstone("a", Expect::Revision(first))).await?;
    expect_eq("a deleted", &value(store, "a").await?, &None)?;
    commit_one(store, put("a", "2", Expect::Absent)).await?;
    expect_eq("a", &value(store, "a").await?, &Some("2".to_owned()))
}

async fn right_revision_only(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    let second = commit_one(store, put("a", "2", Expect::Revision(first))).await?;
    for wrong in [first, second.next(), Revision::ZERO] {
        let write = put("a", "3", Expect::Revision(wrong));
        fails(store, vec![write], StoreErrorKind::Refused).await?;
    }
    let unwritten = put("b", "1", Expect::Revision(second));
    fails(store, vec![unwritten], StoreErrorKind::Refused).await?;
    expect_eq("a", &value(store, "a").await?, &Some("2".to_owned()))
}

async fn revision_of_tombstone(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    let gone = commit_one(store, tombstone("a", Expect::Revision(first))).await?;
    let stale = put("a", "2", Expect::Revision(first));
    fails(store, vec![stale], StoreErrorKind::Refused).await?;
    commit_one(store, put("a", "2", Expect::Revision(gone))).await?;
    expect_eq("a", &value(store, "a").await?, &Some("2".to_owned()))
}

async fn any_writes(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Any)).await?;
    commit_one(store, put("a", "2", Expect::Any)).await?;
    commit_one(store, tombstone("a", Expect::Any)).await?;
    commit_one(store, put("a", "3", Expect::Any)).await?;
    expect_eq("a", &value(store, "a").await?, &Some("3".to_owned()))
}

async fn all_or_nothing(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    for position in 0..3 {
        let mut writes = vec![
            put("a", "2", Expect::Revision(first)),
            put("b", "2", Expect::Any),
        ];
        writes.insert(position, put("c", "2", Expect::Revision(first)));
        fails(store, writes, StoreErrorKind::Refused).await?;
    }
    expect_eq("a", &value(store, "a").await?, &Some("1".to_owned()))?;
    for key in ["b", "c"] {
        expect_eq(key, &value(store, key).await?, &None)?;
    }
    Ok(())
}

async fn whole_batch(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("b", "1", Expect::Absent)).await?;
    let writes = vec![
        put("c", "2", Expect::Absent),
        put("b", "2", Expect::Revision(first)),
        put("a", "2", Expect::Any),
    ];
    let revisions = commit(store, writes).await?;
    if !(first < revisions[0] && revisions.windows(2).all(|pair| pair[0] < pair[1])) {
        return Err(format!("the revisions after {first} are {revisions:?}"));
    }
    for (key, revision) in ["c", "b", "a"].into_iter().zip(revisions) {
        let entry = get(store, key)
            .await?
            .ok_or_else(|| format!("{key} is missing"))?;
        expect_eq(key, &entry.revision, &revision)?;
    }
    Ok(())
}

async fn refusal_leaves_no_trace(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    fails(
        store,
        vec![put("a", "2", Expect::Absent)],
        StoreErrorKind::Refused,
    )
    .await?;
    expect_eq("last revision", &info(store).await?.last_revision, &first)?;
    commit_one(store, put("a", "2", Expect::Revision(first)))
        .await
        .map(|_| ())
}

async fn rejects_empty(store: &dyn Store) -> Verdict {
    fails(store, Vec::new(), StoreErrorKind::Rejected).await
}

async fn rejects_duplicates(store: &dyn Store) -> Verdict {
    let writes = vec![put("a", "1", Expect::Absent), put("a", "2", Expect::Any)];
    fails(store, writes, StoreErrorKind::Rejected).await?;
    expect_eq("a", &value(store, "a").await?, &None)
}

async fn rejects_large_values(store: &dyn Store) -> Verdict {
    let most = info(store).await?.max_value;
    let large = "x".repeat(most.saturating_add(1));
    let writes = vec![put("a", "1", Expect::Any), put("b", &large, Expect::Any)];
    fails(store, writes, StoreErrorKind::Rejected).await?;
    expect_eq("a", &value(store, "a").await?, &None)
}

async fn rejects_large_batches(store: &dyn Store) -> Verdict {
    let most = info(store).await?.max_batch;
    if most == 0 {
        return Err("no commit is allowed at all".to_owned());
    }
    let writes = (0..=most)
        .map(|number| put(&format!("k{number}"), "1", Expect::Any))
        .collect();
    fails(store, writes, StoreErrorKind::Rejected).await?;
    expect_eq("k0", &value(store, "k0").await?, &None)
}

async fn batch_of_hundred(store: &dyn Store) -> Verdict {
    let writes = (0..100)
        .map(|number| put(&format!("k{number}"), "1", Expect::Absent))
        .collect();
    let revisions = commit(store, writes).await?;
    let last = revisions.last().copied().unwrap_or(Revision::ZERO);
    expect_eq("last revision", &info(store).await?.last_revision, &last)?;
    expect_eq("k99", &value(store, "k99").await?, &Some("1".to_owned()))
}

async fn rejects_bad_keys(store: &dyn Store) -> Verdict {
    for key in ["", ".", "a.", ".a", "a..b", "a b", "a*", ">", "a/b", "ä"] {
        let verdict = fails(
            store,
            vec![put(key, "1", Expect::Any)],
            StoreErrorKind::Rejected,
        );
        verdict
            .await
            .map_err(|reason| format!("{key:?} {reason}"))?;
    }
    Ok(())
}

/// Of 64 writers with the same expectation one must succeed, and the key must hold its value. Others
/// may be refused, or be left without an answer; those must not have written.
async fn one_winner(store: &dyn Store, expect: Expect, before: Revision) -> Verdict {
    let names: Vec<String> = (0..64).map(|number| format!("writer-{number}")).collect();
    let attempts = names
        .iter()
        .map(|name| try_commit(store, vec![put("a", name, expect)]));
    let results = join_all(attempts).await;
    let mut winners = Vec::new();
    for (name, result) in names.iter().zip(results) {
        match result {
            Ok(revisions) => winners.push((name, revisions)),
            Err(error) if error.kind == StoreErrorKind::Refused => {}
            Err(error) => return Err(format!("{name} was answered: {error}")),
        }
    }
    let [(winner, revisions)] = winners.as_slice() else {
        return Err(format!("the winners are {winners:?}"));
    };
    if revisions.iter().any(|revision| *revision <= before) {
        return Err(format!("{winner} won at {revisions:?}, not after {before}"));
    }
    expect_eq("a", &value(store, "a").await?.as_ref(), &Some(*winner))
}

async fn one_update(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    one_winner(store, Expect::Revision(first), first).await
}

async fn rising_revisions(store: &dyn Store) -> Verdict {
    let mut last = Revision::ZERO;
    for key in ["b", "a", "c", "a", "b"] {
        let revision = commit_one(store, put(key, "1", Expect::Any)).await?;
        if revision <= last {
            return Err(format!("{key} was written at {revision} after {last}"));
        }
        last = revision;
    }
    Ok(())
}
